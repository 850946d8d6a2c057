"""From frame to frame: how the picture moved, and masks that do not flicker.

Motion is found on small pictures, coarse to fine, and said backwards: where each pixel of a frame is in another one.
What it carries over counts only where the colours agree, so that nothing is smeared over what was hidden, and hair
least of all: its detail is always that of the frame itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ShapeError
from ..geometry import resize, resize_map
from ..types import AnyArray, FloatArray, check_image, check_same_size, to_8_bit
from .guided import scaled_hw, unit_colors

__all__ = [
    "REACH",
    "Glance",
    "Motion",
    "add_change",
    "carry",
    "estimate_motion",
    "follow",
    "glance",
    "small_frame",
    "small_mask",
    "steady_changes",
]

REACH = 2  # frames before and after one that have a say in its mask

_SIDE = 512  # pixels; the longer side at which masks are carried
_FLOW_SIDE = 256  # pixels; the longer side at which motion is found
_LEAST = 16  # pixels; the shorter side of the coarsest picture
_ROUNDS = 3  # of Lucas and Kanade's step at each size
_WINDOW = 2.0  # pixels; standard deviation of the window whose pixels move together
_STIFF = 1e-4  # resists motion where there is nothing to see
_LONGEST = 1.5  # pixels; of one step
_ASIDE = 5  # pixels; from how far a neighbour's motion may be taken over
_STILL = 0.95  # a pixel that explains its surroundings nearly as well at rest is at rest
_TURNS = 4  # rounds in which a motion is turned round
_AGREE = 0.07  # a difference of colours, of the full range, at which another frame counts for 1/e
_CUT = 0.35  # of the frame agrees at least, where it is the same scene
_NEAR = 3  # pixels; side of the square whose masks another frame's may have without being flicker


@dataclass(frozen=True, eq=False)
class Motion:
    """Where the pixels of one frame are in another.

    Attributes:
        flow: (2, h, w) float32, rows and columns: where each pixel is there, less where it is here, in pixels.
        trust: (h, w) float32 in [0, 1], how far the colours agree.
        is_cut: Whether the frames show different scenes.
    """

    flow: FloatArray
    trust: FloatArray
    is_cut: bool


@dataclass(frozen=True, eq=False)
class Glance:
    """What is kept of a frame while it has a say in those around it.

    Attributes:
        frame: (h, w, 3) uint8, from `small_frame`.
        masks: Name to mask, each (h, w) float32 in [0, 1].
        before: Where its pixels are in the frame before; None for a first one.
        here: Where the pixels of the frame before are in this one; None for a first one.
    """

    frame: AnyArray
    masks: Mapping[str, FloatArray]
    before: Motion | None = None
    here: Motion | None = None


def glance(image: AnyArray, masks: Mapping[str, FloatArray], last: Glance | None = None) -> Glance:
    """What is kept of a frame.

    Args:
        image: (H, W, 3) uint8, uint16, or float in [0, 1]; RGB.
        masks: Name to mask, each (H, W) float32 in [0, 1].
        last: What was kept of the frame before; None: there is none.

    Raises:
        ShapeError, RangeError: It is no image, or the frames differ in size.
    """
    frame = small_frame(image)
    small = {name: small_mask(mask, frame.shape[:2]) for name, mask in masks.items()}
    if last is None:
        return Glance(frame, small)
    before = follow(last.frame, frame)
    return Glance(frame, small, before, _turned_round(before, last.frame, frame))


def small_frame(image: AnyArray) -> AnyArray:
    """The frame as it is kept for others: (h, w, 3) uint8, its longer side at most 512 pixels.

    Args:
        image: (H, W, 3) uint8, uint16, or float in [0, 1]; RGB.

    Raises:
        ShapeError, RangeError: It is no image.
    """
    check_image(image)
    picture = to_8_bit(image) if image.dtype.kind == "u" else np.rint(image * np.float32(255)).astype(np.uint8)
    size_hw = scaled_hw(picture.shape[:2], _SIDE)
    return picture if picture.shape[:2] == size_hw else resize(picture, size_hw, "area")


def small_mask(mask: FloatArray, size_hw: tuple[int, ...]) -> FloatArray:
    """The mask at the size at which it is carried.

    Args:
        mask: (H, W) float32 in [0, 1].
        size_hw: Height and width of `small_frame`.
    """
    height, width = size_hw
    if mask.shape == (height, width):
        return mask
    small: FloatArray = resize_map(mask, (height, width), "area").clip(0, 1)
    return small


def follow(before: AnyArray, after: AnyArray) -> Motion:
    """Where the pixels of a frame were in the one before it.

    Args:
        before: (h, w, 3) uint8, from `small_frame`.
        after: The same, of the frame itself.

    Raises:
        ShapeError, RangeError: Not two images of one size.
    """
    check_image(before, "before")
    check_image(after, "after")
    check_same_size(before, after, ("before", "after"))
    size_hw = scaled_hw(after.shape[:2], _FLOW_SIDE)
    flow = _enlarged(estimate_motion(_shrunk(before, size_hw), _shrunk(after, size_hw)), after.shape[:2])
    trust = _trust(before, after, flow)
    return Motion(flow, trust, is_cut=float(trust.mean()) < _CUT)


def carry(values: FloatArray, motion: Motion) -> FloatArray:
    """A map of the other frame, moved to where its pixels are in this one; beyond the frame its border goes on.

    Args:
        values: (h, w) float32.
        motion: From `follow`, of the same size.

    Raises:
        ShapeError: Another size.
    """
    if values.shape != motion.trust.shape:
        raise ShapeError(
            "values", expected=f"{motion.trust.shape}, as the motion", got=str(values.shape), hint="shrink it alike"
        )
    carried: FloatArray = _sampled(values[np.newaxis], motion.flow)[0]
    return carried


def steady_changes(window: Sequence[Glance], at: int) -> dict[str, FloatArray]:
    """What is to be added to each small mask of a frame so that it does not flicker, (h, w) float32.

    The median in time along the motion: of the frame's own mask and those of up to two frames before and two after,
    each of which counts as far as its colours agree, up to a cut. What lies within the values of the frame's own mask
    close by is no flicker but an edge, and stays.

    Args:
        window: Frames one after the other, from `glance`.
        at: The place of the frame in it.

    Reference:
        Dubois, Sabri: Noise reduction in image sequences using motion-compensated temporal filtering. IEEE
        Transactions on Communications 32(7), 1984 (filtering along the motion).
    """
    from scipy.ndimage import maximum_filter, minimum_filter

    here = window[at]
    others = [*_seen_from(window, at, -1), *_seen_from(window, at, 1)]
    changes: dict[str, FloatArray] = {}
    for name, mask in here.masks.items():
        values = np.stack([mask, *(_sampled(other.masks[name][np.newaxis], flow)[0] for other, flow, _ in others)])
        low, high = minimum_filter(mask, _NEAR), maximum_filter(mask, _NEAR)
        unlike = ((values < low) | (values > high)).any(axis=0)  # elsewhere the median lies within, too
        weights = np.stack([np.ones(int(unlike.sum()), np.float32), *(trust[unlike] for *_, trust in others)])
        middle = _weighted_median(values[:, unlike], weights)
        changes[name] = np.zeros_like(mask)
        changes[name][unlike] = middle - middle.clip(low[unlike], high[unlike])
    return changes


def add_change(mask: FloatArray, change: FloatArray) -> FloatArray:
    """A mask with a change that was found on its small copy.

    Args:
        mask: (H, W) float32 in [0, 1].
        change: (h, w) float32.
    """
    if change.shape != mask.shape:
        change = resize_map(change, mask.shape, "bilinear")
    changed: FloatArray = (mask + change).clip(0, 1)
    return changed


def _seen_from(window: Sequence[Glance], at: int, way: int) -> list[tuple[Glance, FloatArray, FloatArray]]:
    """The frames on one side up to a cut: each with where this frame's pixels are there, and how far to trust that."""
    seen: list[tuple[Glance, FloatArray, FloatArray]] = []
    flow: FloatArray | None = None
    for place in range(at + way, at + way * (REACH + 1), way):
        if not 0 <= place < len(window):
            break
        motion = window[place + 1].before if way < 0 else window[place].here
        if motion is None or motion.is_cut:
            break
        if flow is None:
            flow, trust = motion.flow, motion.trust
        else:
            flow = flow + _sampled(motion.flow, flow)
            trust = _trust(window[place].frame, window[at].frame, flow)
        seen.append((window[place], flow, trust))
    return seen


def _turned_round(motion: Motion, before: AnyArray, after: AnyArray) -> Motion:
    """Where the pixels of the frame before are in this one."""
    flow = -motion.flow
    for _ in range(_TURNS):
        flow = -_sampled(motion.flow, flow)
    return Motion(flow, _trust(after, before, flow), motion.is_cut)


def _weighted_median(values: FloatArray, weights: FloatArray) -> FloatArray:
    """(pixels,) the value at which half of the weight is reached; values and weights are (N, pixels)."""
    order = np.argsort(values, axis=0, kind="stable")
    total = np.take_along_axis(weights, order, axis=0).cumsum(axis=0)
    place = (total < total[-1] / 2).sum(axis=0)
    chosen = np.take_along_axis(order, place[np.newaxis], axis=0)
    middle: FloatArray = np.take_along_axis(values, chosen, axis=0)[0]
    return middle


def estimate_motion(before: AnyArray, after: AnyArray) -> FloatArray:
    """Where each pixel of `after` was in `before`, less where it is.

    Steps of Lucas and Kanade from coarse to fine. At each size a pixel may take over the motion of one some pixels
    aside, if that explains its surroundings better: so edges of motion stay edges.

    Args:
        before: (h, w, 3) uint8, uint16, or float in [0, 1]; RGB.
        after: The same, of the same size.

    Returns:
        (2, h, w) float32, rows and columns, pixels.

    Raises:
        ShapeError, RangeError: Not two images of one size.

    Reference:
        Lucas, Kanade: An iterative image registration technique with an application to stereo vision. IJCAI 1981.

    Example:
        >>> y, x = np.mgrid[:48, :64]
        >>> waves = np.repeat((np.sin(x / 4) * np.cos(y / 5) / 2 + 0.5)[..., None], 3, axis=2)
        >>> estimate_motion(waves, np.roll(waves, 3, axis=1))[:, 20:28, 30:34].mean(axis=(1, 2)).round(1).tolist()
        [0.0, -3.0]
    """
    check_image(before, "before")
    check_image(after, "after")
    check_same_size(before, after, ("before", "after"))
    flow = np.zeros((2, 1, 1), np.float32)
    for size_hw in _sizes(after.shape[:2]):
        old, new = (np.moveaxis(unit_colors(_shrunk(each, size_hw)), 2, 0) for each in (before, after))
        flow = _enlarged(flow, size_hw)
        for _ in range(_ROUNDS):
            flow = flow + _step(_sampled(old, flow), new)
        flow = _taken_over(old, new, flow)
    return flow


def _sizes(size_hw: tuple[int, ...]) -> list[tuple[int, int]]:
    """Heights and widths, each about twice the one before, up to the one given."""
    height, width = size_hw
    sizes = [(height, width)]
    while min(sizes[0]) >= 2 * _LEAST:
        sizes.insert(0, (-(-sizes[0][0] // 2), -(-sizes[0][1] // 2)))
    return sizes


def _shrunk(image: AnyArray, size_hw: tuple[int, int]) -> AnyArray:
    picture = image if image.dtype == np.uint8 else small_frame(image)
    return picture if picture.shape[:2] == size_hw else resize(picture, size_hw, "area")


def _enlarged(flow: FloatArray, size_hw: tuple[int, int]) -> FloatArray:
    """(2, h, w) the same motion in pixels of another size."""
    if flow.shape[1:] == size_hw:
        return flow
    factors = [new / old for new, old in zip(size_hw, flow.shape[1:], strict=True)]
    return np.stack(
        [resize_map(part, size_hw, "bilinear") * np.float32(f) for part, f in zip(flow, factors, strict=True)]
    )


def _step(moved: FloatArray, after: FloatArray) -> FloatArray:
    """(2, h, w) how much further the pixels must be looked for: least squares in a window around each."""
    from scipy.ndimage import gaussian_filter

    around = np.pad(moved, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = (around[:, 2:, 1:-1] - around[:, :-2, 1:-1]) / 2
    columns = (around[:, 1:-1, 2:] - around[:, 1:-1, :-2]) / 2
    missed = after - moved
    products = (rows * rows, rows * columns, columns * columns, rows * missed, columns * missed)
    rr, rc, cc, rm, cm = (gaussian_filter(each.sum(axis=0), _WINDOW, truncate=2) for each in products)
    rr, cc = rr + np.float32(_STIFF), cc + np.float32(_STIFF)
    step = np.stack([cc * rm - rc * cm, rr * cm - rc * rm]) / (rr * cc - rc * rc)
    limited: FloatArray = (step / np.maximum(1, np.hypot(*step) / np.float32(_LONGEST))).astype(np.float32)
    return limited


def _taken_over(before: FloatArray, after: FloatArray, flow: FloatArray) -> FloatArray:
    """The motion, or that of a pixel some pixels aside where it explains a pixel and those around it better."""
    _, height, width = flow.shape
    best, least = np.zeros_like(flow), np.float32(_STILL) * _misfit(before, after, np.zeros_like(flow))
    misfit = _misfit(before, after, flow)
    best, least = np.where(misfit < least, flow, best), np.minimum(misfit, least)
    for down, right in ((-_ASIDE, 0), (_ASIDE, 0), (0, -_ASIDE), (0, _ASIDE)):
        rows = (np.arange(height) + down).clip(0, height - 1)
        columns = (np.arange(width) + right).clip(0, width - 1)
        other = flow[:, rows][:, :, columns]
        misfit = _misfit(before, after, other)
        better = misfit < least
        best, least = np.where(better, other, best), np.where(better, misfit, least)
    return best


def _misfit(before: FloatArray, after: FloatArray, flow: FloatArray) -> FloatArray:
    """(h, w) mean difference of colours around each pixel."""
    from scipy.ndimage import uniform_filter

    misfit: FloatArray = uniform_filter(np.abs(_sampled(before, flow) - after).mean(axis=0), 3, mode="nearest")
    return misfit


def _trust(there: AnyArray, here: AnyArray, flow: FloatArray) -> FloatArray:
    """(h, w) in [0, 1] how far the colours that the motion points to agree with those of the frame."""
    from scipy.ndimage import uniform_filter

    old, new = (np.moveaxis(unit_colors(each), 2, 0) for each in (there, here))  # (3, h, w)
    difference = uniform_filter(np.abs(_sampled(old, flow) - new).mean(axis=0), 3, mode="nearest")
    trust: FloatArray = np.exp(-np.square(difference / np.float32(_AGREE))) * _inside(flow)
    return trust


def _places(flow: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Rows and columns that the motion points to."""
    _, height, width = flow.shape
    return flow[0] + np.arange(height, dtype=np.float32)[:, np.newaxis], flow[1] + np.arange(width, dtype=np.float32)


def _inside(flow: FloatArray) -> AnyArray:
    """(h, w) bool: where the motion points into the frame."""
    rows, columns = _places(flow)
    _, height, width = flow.shape
    return np.asarray((rows >= -0.5) & (rows <= height - 0.5) & (columns >= -0.5) & (columns <= width - 0.5))


def _sampled(planes: FloatArray, flow: FloatArray) -> FloatArray:
    """(C, h, w) the planes at the places that the motion points to, bilinear."""
    count, height, width = planes.shape
    rows, columns = _places(flow)
    rows, columns = rows.clip(0, height - 1), columns.clip(0, width - 1)
    top = np.minimum(rows.astype(np.intp), max(height - 2, 0))
    left = np.minimum(columns.astype(np.intp), max(width - 2, 0))
    down, right = (rows - top).astype(np.float32), (columns - left).astype(np.float32)
    below, beside = (width if height > 1 else 0), (1 if width > 1 else 0)
    first = (top * width + left).ravel()
    flat = planes.reshape(count, -1)
    corners = [flat.take(first + step, axis=1).reshape(planes.shape) for step in (0, beside, below, below + beside)]
    upper = corners[0] + right * (corners[1] - corners[0])
    lower = corners[2] + right * (corners[3] - corners[2])
    sampled: FloatArray = upper + down * (lower - upper)
    return sampled
