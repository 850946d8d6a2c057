"""What lies under a cut-out: an outline, a soft shadow, a blurred background; and colours as people write them.

The layers are masks of their own: `compose.over_color` and `compose.over_image` lay the cut-out over them.
"""

from __future__ import annotations

import math

import numpy as np

from ..errors import OptionError, RangeError
from ..geometry import make_bbox, resize_map
from ..types import AnyArray, FloatArray, check_image, check_mask, check_same_size

__all__ = ["blur_background", "make_outline", "make_shadow", "parse_background", "parse_color"]

_LEVEL = 0.5  # the subject's edge runs where its alpha crosses this
_SEEN = 1e-3  # the least weight with which a blur sees anything
_WIDER = 8  # how much wider the next blur is
_NARROW = 4.0  # pixels; a blur with a standard deviation of this much is smooth enough to be enlarged


def make_outline(alpha: AnyArray, width: float) -> FloatArray:
    """The subject and all that is within `width` of its edge: what an outline covers, under the subject too.

    The edge runs where alpha crosses 0.5, between two pixels by linear interpolation. Distances to it are exact, and
    the outline's rim is antialiased.

    Args:
        alpha: (H, W) float in [0, 1] or bool, 1 = opaque.
        width: Distance in pixels, 0 or more.

    Raises:
        ShapeError, RangeError: Not an alpha, or a negative width.

    Example:
        >>> make_outline(np.array([[1.0, 1.0, 0.0, 0.0, 0.0, 0.0]]), 2.5)
        array([[1. , 1. , 1. , 1. , 0.5, 0. ]], dtype=float32)
    """
    from scipy.ndimage import distance_transform_edt

    alpha = check_mask(alpha, "alpha")
    reach = math.ceil(_checked_reach(width, "width")) + 2
    bbox = make_bbox(alpha, _LEVEL)
    covered = np.array(alpha)
    if bbox is None or width == 0:
        return covered
    window = np.s_[max(bbox[1] - reach, 0) : bbox[3] + reach, max(bbox[0] - reach, 0) : bbox[2] + reach]
    near = alpha[window]
    distance = distance_transform_edt(near < _LEVEL)  # to the middle of a pixel that lies inside: a little too far
    rim = (distance > width - 0.5) & (distance < width + 2) & (distance > 0)
    cover = np.where(distance <= width, np.float32(1), np.float32(0))
    cover[rim] = (width + 0.5 - _edge_distances(near, np.argwhere(rim))).clip(0, 1)
    np.maximum(near, cover, out=covered[window])
    return covered


def _edge_distances(alpha: FloatArray, pixels: AnyArray) -> AnyArray:
    """How far each of the pixels (N, 2) is from the nearest point where alpha crosses the level between two others."""
    from scipy.spatial import KDTree

    inside = alpha >= _LEVEL
    points = []
    for axis in (0, 1):
        low, high = (alpha[:-1], alpha[1:]) if axis == 0 else (alpha[:, :-1], alpha[:, 1:])
        at = np.argwhere(np.diff(inside, axis=axis)).astype(np.float64)
        a, b = (side[tuple(at.T.astype(np.intp))].astype(np.float64) for side in (low, high))
        at[:, axis] += (_LEVEL - a) / (b - a)
        points.append(at)
    found: AnyArray = KDTree(np.concatenate(points)).query(pixels)[0]
    return found


def make_shadow(alpha: AnyArray, offset: tuple[int, int], blur: float) -> FloatArray:
    """The shadow of a subject on a wall behind it. What the frame cuts off is taken to go on beyond it.

    Args:
        alpha: (H, W) float in [0, 1] or bool, 1 = opaque.
        offset: Pixels to the right and down.
        blur: Pixels over which the shadow's edge is softened, 0 or more.

    Returns:
        (H, W) float32 in [0, 1], 1 = full shadow.

    Raises:
        ShapeError, RangeError: Not an alpha, or a negative blur.

    Example:
        >>> make_shadow(np.array([[0.0, 1.0, 0.0, 0.0]]), (2, 0), 0)
        array([[0., 0., 0., 1.]], dtype=float32)
    """
    alpha = check_mask(alpha, "alpha")
    sigma = _checked_reach(blur, "blur") / 2
    height, width = alpha.shape
    rows = (np.arange(height) - offset[1]).clip(0, height - 1)
    columns = (np.arange(width) - offset[0]).clip(0, width - 1)
    return _blurred(alpha[np.ix_(rows, columns)], sigma).clip(0, 1)


def blur_background(image: AnyArray, alpha: AnyArray, radius: float) -> AnyArray:
    """The picture out of focus, without the subject's colours: near it only what lies around is averaged.

    Args:
        image: (H, W, 3) uint8 or uint16; RGB.
        alpha: (H, W) float in [0, 1], 1 = subject.
        radius: Standard deviation of the blur in pixels, 0 or more.

    Returns:
        (H, W, 3) in the image's dtype.

    Raises:
        ShapeError, RangeError: Not an image and an alpha of one size, or a negative radius.
    """
    check_image(image)
    alpha = check_mask(alpha, "alpha")
    check_same_size(image, alpha, ("image", "alpha"))
    sigma = _checked_reach(radius, "radius")
    blurred = np.array(image)
    around = (1 - alpha) ** 4  # a pixel that is half the subject shows its colour too
    small_hw, sigma = _reduced(alpha.shape, sigma)
    small = resize_map(around, small_hw, "area")
    scales = _scales(small, sigma) if sigma else []
    if not scales:
        return blurred
    weight = sum(share * _blurred(small, scale) for share, scale in scales)
    for channel in range(3):
        seen = resize_map(image[..., channel] * around, small_hw, "area")
        values = sum(share * _blurred(seen, scale) for share, scale in scales) / weight
        values = resize_map(values, alpha.shape, "bilinear")
        blurred[..., channel] = np.rint(values).clip(0, np.iinfo(image.dtype).max)
    return blurred


def _scales(around: FloatArray, sigma: float) -> list[tuple[np.float32, float]]:
    """Shares and widths of blurs that reach every pixel: deep inside a subject only wider ones see what is around.

    The wider ones have a share that does not count where a narrower one sees anything.
    """
    scales: list[tuple[np.float32, float]] = []
    reached = np.zeros_like(around)
    while not (reached > _SEEN).all():
        scale = sigma * _WIDER ** len(scales)
        if scale > _WIDER * max(around.shape):
            return []
        scales.append((np.float32(_SEEN ** len(scales)), scale))
        np.maximum(reached, _blurred(around, scale), out=reached)
    return scales


def _blurred(values: FloatArray, sigma: float) -> FloatArray:
    """A Gaussian blur; a wide one on a smaller copy, which holds all that such a blur leaves."""
    from scipy.ndimage import gaussian_filter

    small_hw, small_sigma = _reduced(values.shape, sigma)
    small = gaussian_filter(resize_map(values, small_hw, "area"), small_sigma, mode="nearest")
    return resize_map(small, values.shape, "bilinear")


def _reduced(size_hw: tuple[int, ...], sigma: float) -> tuple[tuple[int, int], float]:
    """The size of a copy that is large enough for a blur, and the blur's standard deviation there."""
    factor = max(1, int(sigma / _NARROW))
    height, width = size_hw
    return (math.ceil(height / factor), math.ceil(width / factor)), sigma / factor


def _checked_reach(value: float, name: str) -> float:
    if not 0 <= value < np.inf:
        raise RangeError(name, expected="0 or more pixels", got=f"{value:g}", hint="use 0 to leave it out")
    return float(value)


def parse_color(text: str) -> tuple[int, int, int, int]:
    """Red, green, blue and alpha, 0 to 255 each.

    >>> parse_color("#ff8000"), parse_color("white"), parse_color("10,20,30,128")
    ((255, 128, 0, 255), (255, 255, 255, 255), (10, 20, 30, 128))

    Args:
        text: A name of the web, `#rgb`, `#rrggbb`, `#rrggbbaa`, or three or four numbers with commas between.

    Raises:
        OptionError: It is none of these.
    """
    from PIL import ImageColor

    try:
        numbers = (
            [int(part) for part in text.split(",")] if "," in text and "(" not in text else ImageColor.getrgb(text)
        )
    except (ValueError, AttributeError):
        numbers = []
    if len(numbers) not in (3, 4) or not all(0 <= number <= 255 for number in numbers):
        raise OptionError(
            "a colour", expected="a name, #rrggbb or R,G,B", got=repr(text), hint="such as white or #ff8800"
        )
    red, green, blue, *rest = numbers
    return red, green, blue, rest[0] if rest else 255


def parse_background(text: str) -> tuple[int, int, int, int] | float:
    """What a text asks for: a colour as four numbers, or the radius of a blur in pixels, 0 where it has none.

    Args:
        text: A colour as for `parse_color`, `blur`, or `blur:RADIUS`.

    Raises:
        OptionError: It is neither.
    """
    word, colon, radius = text.partition(":")
    if word != "blur":
        return parse_color(text)
    try:
        value = float(radius) if colon else 0.0
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1e5 or (colon and value == 0):
        raise OptionError("background", expected="blur or blur:RADIUS", got=repr(text), hint="such as blur:20")
    return value
