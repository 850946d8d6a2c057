"""How far a mask is from the truth: overlap, mean errors, edges, and the errors of the matting literature.

Every function takes a prediction and the truth, both (H, W) float in [0, 1] or bool, 1 = selected, of the same size,
and gives one number for one picture. Nothing is stretched: a map that never reaches 1 is judged as it is.

| function | best | unit |
|---|---|---|
| `iou`, `f_measure`, `boundary_f`, `s_measure` | 1 | share, from 0 to 1 |
| `mae`, `mse`, `boundary_error` | 0 | of the full range, from 0 to 1 |
| `sad`, `gradient_error`, `connectivity_error` | 0 | sums over pixels, in thousands: they grow with the picture |
| `temporal_error`, `warping_error` | 0 | of the full range, from 0 to 1; from one frame of a clip to the next |

Where a hard truth is needed, a pixel of 0.5 and above is selected. The matting errors take a `region`; the unknown zone
of a trimap, `trimap == 0.5`, gives them as alphamatting.com counts them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from .errors import OptionError, RangeError, ShapeError
from .types import AnyArray, check_mask, check_same_size

__all__ = [
    "FKind",
    "boundary_error",
    "boundary_f",
    "connectivity_error",
    "f_curve",
    "f_measure",
    "gradient_error",
    "iou",
    "mae",
    "mse",
    "s_measure",
    "sad",
    "temporal_error",
    "warping_error",
]

FKind = Literal["max", "mean", "adaptive"]

_Bits: TypeAlias = NDArray[np.bool_]
_Double: TypeAlias = NDArray[np.float64]

_LEVEL = 0.5  # from here on a pixel of the truth is selected
_THOUSAND = 1000.0
_SIGMA = 1.4  # of the gradient error, pixels
_SMALLEST = 0.01  # where its Gaussian is cut off
_LEVELS = np.arange(11, dtype=np.float32) / np.float32(10)  # of the connectivity error
_LOOSE = 0.15  # what hangs less loose than this is taken to be connected


def iou(prediction: AnyArray, truth: AnyArray, *, level: float | None = 0.5) -> float:
    """Intersection over union, from 0 to 1; 1 where both select nothing.

    Args:
        prediction: (H, W) float in [0, 1] or bool, 1 = selected.
        truth: The same.
        level: From here on a pixel of either is selected. None: soft, the sum of the smaller values over the sum of the
            larger ones, which for masks of zeros and ones is the same.

    Raises:
        ShapeError, RangeError: Not two masks of one size, or the level is not from 0 to 1.

    Examples:
        >>> iou(np.array([[1.0, 1.0, 0.0]]), np.array([[0.0, 1.0, 1.0]]))
        0.3333333333333333
        >>> iou(np.array([[0.5, 1.0]]), np.array([[1.0, 1.0]]), level=None)
        0.75
    """
    a, b = _pair(prediction, truth)
    if level is not None:
        if not 0 <= level <= 1:
            raise RangeError("level", expected="from 0 to 1", got=repr(level), hint="0.5 is usual, None is soft")
        a, b = (a >= level).astype(np.float64), (b >= level).astype(np.float64)
    union = float(np.maximum(a, b).sum())
    return float(np.minimum(a, b).sum()) / union if union else 1.0


def mae(prediction: AnyArray, truth: AnyArray, *, region: AnyArray | None = None) -> float:
    """Mean absolute error, from 0 to 1.

    Args:
        prediction: (H, W) float in [0, 1] or bool, 1 = selected.
        truth: The same.
        region: (H, W) bool, the pixels that count; None: all.

    Raises:
        ShapeError, RangeError: Not two masks of one size, or no such region.

    Examples:
        >>> mae(np.array([[0.5, 1.0]]), np.array([[1.0, 1.0]]))
        0.25
    """
    a, b = _pair(prediction, truth)
    return float(_within(np.abs(a - b), region).mean())


def mse(prediction: AnyArray, truth: AnyArray, *, region: AnyArray | None = None) -> float:
    """Mean squared error, from 0 to 1.

    Args:
        prediction: (H, W) float in [0, 1] or bool, 1 = selected.
        truth: The same.
        region: (H, W) bool, the pixels that count; None: all.

    Raises:
        ShapeError, RangeError: Not two masks of one size, or no such region.

    Examples:
        >>> mse(np.array([[0.5, 1.0]]), np.array([[1.0, 1.0]]))
        0.125
    """
    a, b = _pair(prediction, truth)
    return float(_within((a - b) ** 2, region).mean())


def sad(prediction: AnyArray, truth: AnyArray, *, region: AnyArray | None = None) -> float:
    """Sum of absolute differences, in thousands of pixels.

    Args:
        prediction: (H, W) float in [0, 1] or bool, 1 = opaque.
        truth: The same.
        region: (H, W) bool, the pixels that count; None: all.

    Raises:
        ShapeError, RangeError: Not two masks of one size, or no such region.

    Examples:
        >>> sad(np.zeros((50, 40)), np.ones((50, 40)))
        2.0
    """
    a, b = _pair(prediction, truth)
    return float(_within(np.abs(a - b), region).sum()) / _THOUSAND


def temporal_error(predictions: Sequence[AnyArray], truths: Sequence[AnyArray]) -> float:
    """How much more or less masks change from frame to frame than the true ones do, from 0 to 1: dtSSD.

    The mean over frames of the root of the mean squared difference between both changes; papers state it times 100.

    Args:
        predictions: The masks of a clip, each (H, W) float in [0, 1] or bool, 1 = opaque.
        truths: The same.

    Raises:
        ShapeError, RangeError: Not masks of one size, or not as many of both, two at least.

    Reference:
        Erofeev et al., Perceptually motivated benchmark for video matting, BMVC 2015.

    Examples:
        >>> still = [np.zeros((2, 2)), np.zeros((2, 2))]
        >>> temporal_error([np.zeros((2, 2)), np.ones((2, 2))], still), temporal_error(still, still)
        (1.0, 0.0)
    """
    if len(predictions) != len(truths) or len(truths) < 2:
        raise RangeError(
            "the clip",
            expected="two frames or more",
            got=f"{len(predictions)} and {len(truths)}",
            hint="one truth each",
        )
    pairs = [_pair(prediction, truth) for prediction, truth in zip(predictions, truths, strict=True)]
    changes = [((b - a) - (d - c)) ** 2 for (a, c), (b, d) in pairwise(pairs)]
    return float(np.mean([math.sqrt(change.mean()) for change in changes]))


def warping_error(mask: AnyArray, carried: AnyArray, trust: AnyArray) -> float:
    """How much a mask differs from that of the frame before moved along with the picture, from 0 to 1: its flicker.

    The mean absolute difference, in which each pixel counts as much as the motion is to be trusted there.

    Args:
        mask: (H, W) float in [0, 1] or bool, 1 = selected.
        carried: The same, of the frame before, from `refine.temporal.carry`.
        trust: (H, W) float in [0, 1].

    Raises:
        ShapeError, RangeError: Not masks of one size.

    Reference:
        Lai et al., Learning blind video temporal consistency, ECCV 2018 (there squared, and of colours).

    Examples:
        >>> warping_error(np.array([[1.0, 0.0]]), np.array([[0.0, 0.5]]), np.array([[1.0, 0.0]]))
        1.0
    """
    a, b = _pair(mask, carried)
    weight, _ = _pair(trust, mask)
    total = float(weight.sum())
    return float((np.abs(a - b) * weight).sum()) / total if total else 0.0


def f_curve(prediction: AnyArray, truth: AnyArray, *, beta_squared: float = 0.3) -> _Double:
    """(256,) F-measures, from 0 to 1, of the prediction cut at 0, 1, …, 255 of 255.

    The prediction is rounded to 8 bits, as it would be when it is saved. The maximum that papers state for a data set
    is that of the mean of its pictures' curves.

    Args:
        prediction: (H, W) float in [0, 1] or bool, 1 = selected.
        truth: The same; it counts as hard.
        beta_squared: Weight of recall against precision; below 1 precision counts more.

    Raises:
        ShapeError, RangeError: Not two masks of one size, or the weight is not above 0.

    Examples:
        >>> f_curve(np.array([[0.0, 0.5, 1.0]]), np.array([[0, 0, 1]], bool))[[0, 1, 255]].round(3)
        array([0.394, 0.565, 1.   ])
    """
    a, b = _pair(prediction, truth)
    _check_beta(beta_squared)
    hard = b >= _LEVEL
    values = np.rint(a * 255).astype(np.intp)
    hits, misses = (np.bincount(values[zone], minlength=256)[::-1].cumsum()[::-1] for zone in (hard, ~hard))
    if not hard.any():
        return np.full(256, float(not values.any()))
    return _f(hits, hits + misses, hard.sum(), beta_squared)


def f_measure(
    prediction: AnyArray, truth: AnyArray, *, kind: FKind | float = "max", beta_squared: float = 0.3
) -> float:
    """The F-measure of salient object detection, from 0 to 1.

    Where the truth selects nothing it is 1 for a prediction that is 0 everywhere, else 0.

    Args:
        prediction: (H, W) float in [0, 1] or bool, 1 = selected.
        truth: The same; it counts as hard.
        kind: `max` or `mean` over the 256 levels of `f_curve`; `adaptive`, cut at twice the prediction's mean, at most
            at 1; or a level from 0 to 1.
        beta_squared: Weight of recall against precision; below 1 precision counts more.

    Raises:
        ShapeError, RangeError: Not two masks of one size, or a number is out of its range.
        OptionError: There is no such kind.

    Reference:
        Achanta et al., Frequency-tuned salient region detection, CVPR 2009.

    Examples:
        >>> truth = np.array([[0, 0, 1, 1]], bool)
        >>> f_measure(np.array([[0.0, 0.2, 0.4, 0.9]]), truth)
        1.0
        >>> round(f_measure(np.array([[0.0, 0.2, 0.4, 0.9]]), truth, kind=0.5), 4)
        0.8125
    """
    a, b = _pair(prediction, truth)
    if kind in ("max", "mean"):
        curve = f_curve(a, b, beta_squared=beta_squared)
        return float(curve.max() if kind == "max" else curve.mean())
    _check_beta(beta_squared)
    level = _level_of(kind, a)
    hard = b >= _LEVEL
    if not hard.any():
        return float(not a.any())
    found = a >= level
    return float(_f((found & hard).sum(), found.sum(), hard.sum(), beta_squared))


def boundary_f(prediction: AnyArray, truth: AnyArray, *, tolerance: float | None = None) -> float:
    """How well two outlines lie on each other, from 0 to 1: the boundary F of the DAVIS benchmark.

    Precision is the share of the prediction's outline that runs within the tolerance of the true one, recall the
    reverse; the result is their harmonic mean. Without any outline in either it is 1, with one in only one of them 0.

    Args:
        prediction: (H, W) float in [0, 1] or bool, 1 = selected; cut at 0.5.
        truth: The same.
        tolerance: Pixels between outlines that still count as the same. None: 0.8 % of the diagonal, rounded up.

    Raises:
        ShapeError, RangeError: Not two masks of one size, or a negative tolerance.

    Reference:
        Perazzi et al., A benchmark dataset and evaluation methodology for video object segmentation, CVPR 2016.

    Examples:
        >>> truth = np.zeros((9, 9)); truth[2:7, 2:7] = 1
        >>> boundary_f(np.roll(truth, 2, axis=1), truth, tolerance=2), boundary_f(truth * 0, truth)
        (1.0, 0.0)
    """
    from scipy.ndimage import distance_transform_edt

    a, b = _pair(prediction, truth)
    if tolerance is None:
        tolerance = math.ceil(0.008 * math.hypot(*a.shape))
    _check_pixels(tolerance, "tolerance")
    first, second = _outline(a >= _LEVEL), _outline(b >= _LEVEL)
    if not (first.any() and second.any()):
        return float(first.any() == second.any())
    precision = float((distance_transform_edt(~second)[first] <= tolerance).mean())
    recall = float((distance_transform_edt(~first)[second] <= tolerance).mean())
    both = precision + recall
    return 2 * precision * recall / both if both else 0.0


def boundary_error(prediction: AnyArray, truth: AnyArray, *, width: float = 10) -> float:
    """Mean absolute error near the true edge, from 0 to 1; NaN where the truth has no edge.

    Args:
        prediction: (H, W) float in [0, 1] or bool, 1 = selected.
        truth: The same; its edge lies where it crosses 0.5.
        width: Pixels to either side of the edge that count, at least 1.

    Raises:
        ShapeError, RangeError: Not two masks of one size, or the width is below 1.

    Examples:
        >>> truth = np.array([[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]])
        >>> boundary_error(np.array([[1.0, 0.0, 0.5, 1.0, 1.0, 1.0]]), truth, width=1)
        0.25
    """
    from scipy.ndimage import distance_transform_edt

    a, b = _pair(prediction, truth)
    _check_pixels(width, "width", least=1)
    hard = b >= _LEVEL
    if hard.all() or not hard.any():
        return math.nan
    near = np.where(hard, distance_transform_edt(hard), distance_transform_edt(~hard)) <= width
    return float(np.abs(a - b)[near].mean())


def gradient_error(prediction: AnyArray, truth: AnyArray, *, region: AnyArray | None = None) -> float:
    """Sum of squared differences between the steepness of both mattes, in thousands.

    Steepness is the length of the gradient by first derivatives of a Gaussian of sigma 1.4 pixels, cut off where it
    falls below 0.01 and scaled to a sum of squares of 1; beyond the frame the border goes on.

    Args:
        prediction: (H, W) float in [0, 1] or bool, 1 = opaque.
        truth: The same.
        region: (H, W) bool, the pixels that count; None: all.

    Raises:
        ShapeError, RangeError: Not two masks of one size, or no such region.

    Reference:
        Rhemann et al., A perceptually motivated online benchmark for image matting, CVPR 2009.

    Examples:
        >>> truth = np.zeros((20, 20)); truth[:, 10:] = 1
        >>> gradient_error(truth, truth), gradient_error(truth * 0, truth) > 0
        (0.0, True)
    """
    a, b = _pair(prediction, truth)
    return float(_within((_steepness(a) - _steepness(b)) ** 2, region).sum()) / _THOUSAND


def connectivity_error(prediction: AnyArray, truth: AnyArray, *, region: AnyArray | None = None) -> float:
    """Sum of differences in how well pixels hang together with the subject, in thousands.

    The subject at a level is the largest island, of pixels that touch by their sides, in which both mattes reach that
    level; levels are 0.1 apart. A pixel is connected up to the last level at which it belongs to the subject; what its
    alpha exceeds that by is loose, if it is 0.15 or more.

    Args:
        prediction: (H, W) float in [0, 1] or bool, 1 = opaque.
        truth: The same.
        region: (H, W) bool, the pixels that count; None: all.

    Raises:
        ShapeError, RangeError: Not two masks of one size, or no such region.

    Reference:
        Rhemann et al., A perceptually motivated online benchmark for image matting, CVPR 2009.

    Examples:
        >>> truth = np.ones((30, 100)); loose = truth.copy(); loose[:, 60] = 0
        >>> connectivity_error(truth, truth), connectivity_error(loose, truth)
        (0.0, 0.03)
    """
    a, b = _pair(prediction, truth)
    connected = _connected_up_to(np.minimum(a, b))
    loose_a, loose_b = (np.where(alpha - connected >= _LOOSE, alpha - connected, 0) for alpha in (a, b))
    return float(_within(np.abs(loose_a - loose_b), region).sum()) / _THOUSAND


def s_measure(prediction: AnyArray, truth: AnyArray) -> float:
    """Likeness in structure, from 0 to 1: the mean of a score by zones and one by the quarters around the subject.

    Args:
        prediction: (H, W) float in [0, 1] or bool, 1 = selected.
        truth: The same; it counts as hard.

    Raises:
        ShapeError, RangeError: Not two masks of one size.

    Reference:
        Fan et al., Structure-measure: a new way to evaluate foreground maps, ICCV 2017.

    Examples:
        >>> truth = np.zeros((8, 8)); truth[2:6, 2:6] = 1
        >>> round(s_measure(truth, truth), 6), round(s_measure(1 - truth, truth), 6)
        (1.0, 0.0)
    """
    a, b = _pair(prediction, truth)
    hard = b >= _LEVEL
    if hard.all() or not hard.any():
        return float(a.mean() if hard.all() else 1 - a.mean())
    share = hard.mean()
    by_zone = _evenness(a[hard]) * share + _evenness(1 - a[~hard]) * (1 - share)
    row, column = (round(float(axis.mean())) + 1 for axis in np.nonzero(hard))
    quarters = [
        (rows, columns)
        for rows in (slice(0, row), slice(row, None))
        for columns in (slice(0, column), slice(column, None))
        if hard[rows, columns].size
    ]
    by_quarter = sum(hard[each].size / hard.size * _likeness(a[each], hard[each]) for each in quarters)
    return max(0.0, float(by_zone + by_quarter) / 2)


def _pair(prediction: AnyArray, truth: AnyArray) -> tuple[_Double, _Double]:
    """Both as float64, which sums of millions of pixels need; checked and of one size."""
    a, b = check_mask(prediction, "prediction"), check_mask(truth, "truth")
    check_same_size(b, a, ("truth", "prediction"))
    return a.astype(np.float64), b.astype(np.float64)


def _within(values: _Double, region: AnyArray | None) -> _Double:
    if region is None:
        return values
    if region.shape != values.shape or region.dtype != np.bool_:
        raise ShapeError(
            "region", expected=f"{values.shape} bool", got=f"{region.shape} {region.dtype}", hint="trimap == 0.5 is one"
        )
    if not region.any():
        raise RangeError("region", expected="at least one pixel", got="none", hint="leave it out to count all pixels")
    return values[region]


def _check_beta(beta_squared: float) -> None:
    if not (beta_squared > 0 and math.isfinite(beta_squared)):
        raise RangeError("beta_squared", expected="above 0", got=repr(beta_squared), hint="0.3 is usual for saliency")


def _check_pixels(pixels: float, name: str, least: float = 0) -> None:
    if not (pixels >= least and math.isfinite(pixels)):
        raise RangeError(name, expected=f"at least {least:g} pixels", got=repr(pixels), hint="leave it out")


def _level_of(kind: str | float, prediction: _Double) -> float:
    if kind == "adaptive":
        return min(2 * float(prediction.mean()), 1.0)
    if isinstance(kind, str):
        raise OptionError("kind", expected=", ".join(get_args(FKind)), got=repr(kind), hint="or a level, such as 0.5")
    if not 0 <= kind <= 1:
        raise RangeError("the level", expected="from 0 to 1", got=repr(kind), hint="0.5 is the middle")
    return float(kind)


def _f(hits: Any, found: Any, there: Any, beta_squared: float) -> _Double:
    """(1 + b) P R / (b P + R), multiplied out so that nothing divides by a count that may be 0."""
    return np.asarray((1 + beta_squared) * hits / (beta_squared * there + found))


def _outline(selected: _Bits) -> _Bits:
    """Pixels that differ from the one to the right, below, or both: an outline one pixel wide."""
    padded = np.pad(selected, ((0, 1), (0, 1)), mode="edge")
    here = padded[:-1, :-1]
    return np.asarray((here != padded[:-1, 1:]) | (here != padded[1:, :-1]) | (here != padded[1:, 1:]))


def _steepness(alpha: _Double) -> _Double:
    from scipy.ndimage import convolve1d

    radius = math.ceil(_SIGMA * math.sqrt(-2 * math.log(math.sqrt(2 * math.pi) * _SIGMA * _SMALLEST)))
    x = np.arange(-radius, radius + 1)
    gaussian = np.exp(-(x**2) / (2 * _SIGMA**2))
    gaussian, derivative = (kernel / np.linalg.norm(kernel) for kernel in (gaussian, x * gaussian))

    def along(axis: int) -> _Double:
        smooth: _Double = convolve1d(alpha, gaussian, 1 - axis, mode="nearest")
        return np.asarray(convolve1d(smooth, derivative, axis, mode="nearest"))

    return np.hypot(along(0), along(1))


def _connected_up_to(both: _Double) -> _Double:
    """(H, W), the last level up to which each pixel belongs to the subject; `both` is the smaller of two mattes."""
    from scipy.ndimage import label

    connected = np.ones_like(both)
    here = np.ones(both.shape, bool)
    for below, level in pairwise(_LEVELS):
        labels, count = label(both.astype(np.float32) >= level)
        largest = np.bincount(labels.ravel())[1:].argmax() + 1 if count else -1
        lost = here & (labels != largest)
        connected[lost] = below
        here &= ~lost
    return connected


def _evenness(values: _Double) -> float:
    """How near to 1, and how much alike, the values of one zone are."""
    mean = values.mean()
    spread = values.std(ddof=1) if values.size > 1 else 0.0
    return float(2 * mean / (mean**2 + 1 + spread))


def _likeness(a: _Double, hard: _Bits) -> float:
    """The structural similarity of two blocks, as one window."""
    b = hard.astype(np.float64)
    mean_a, mean_b = a.mean(), b.mean()
    count = max(a.size - 1, 1)
    variances = (((a - mean_a) ** 2).sum() + ((b - mean_b) ** 2).sum()) / count
    covariance = ((a - mean_a) * (b - mean_b)).sum() / count
    top = 4 * mean_a * mean_b * covariance
    bottom = (mean_a**2 + mean_b**2) * variances
    if top == 0:
        return float(bottom == 0)
    return float(top / bottom)
