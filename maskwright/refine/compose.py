"""From colours and opacity to the cut-out, and onto a background.

Cut-outs are straight: the colour of a pixel is the subject's own, whatever its opacity. The last part of the
file is for compatibility with rembg, whose plain cut-outs are darkened by their opacity instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import OptionError, RangeError, ShapeError
from ..types import AnyArray, FloatArray, check_image, check_mask, check_same_size
from .alpha import estimate_alpha
from .foreground import estimate_foreground
from .trimap import make_trimap

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "alpha_matting_cutout_compat",
    "decontaminate_cutout_compat",
    "extend_colors",
    "make_rgba",
    "over_color",
    "over_color_compat",
    "over_image",
    "premultiplied_cutout",
]

_BLOCK = 1 << 15  # pixels at a time: what is in between stays in the cache
_DTYPES: dict[int, np.dtype[Any]] = {8: np.dtype(np.uint8), 16: np.dtype(np.uint16)}


def make_rgba(
    image: AnyArray,
    alpha: AnyArray,
    *,
    foreground: AnyArray | None = None,
    keep_hidden: bool = False,
    depth: int = 8,
) -> AnyArray:
    """The cut-out: colours with their opacity, straight.

    Args:
        image: (H, W, 3) uint8, uint16, or float in [0, 1]; RGB.
        alpha: (H, W) float in [0, 1], 0 = transparent, 1 = opaque.
        foreground: (H, W, 3) uint8, uint16, or float in [0, 1]; RGB to use instead of the image's.
        keep_hidden: Keep the colours of fully transparent pixels; otherwise they become black.
        depth: Bits per channel.

    Returns:
        (H, W, 4) uint8, or uint16 with depth 16; RGBA, not premultiplied, every value rounded.

    Raises:
        ShapeError: The arrays are no image, alpha and foreground of one size.
        RangeError: Values outside their range or not finite.
        OptionError: No such depth.

    Example:
        >>> make_rgba(np.full((1, 2, 3), 200, np.uint8), np.array([[0.0, 0.5]]))
        array([[[  0,   0,   0,   0],
                [200, 200, 200, 128]]], dtype=uint8)
    """
    check_image(image)
    alpha = check_mask(alpha, "alpha")
    check_same_size(image, alpha, ("image", "alpha"))
    if foreground is not None:
        check_image(foreground, "foreground")
        check_same_size(image, foreground, ("image", "foreground"))
    if depth not in _DTYPES:
        raise OptionError("depth", expected="8 or 16", got=repr(depth), hint="leave it at 8")
    dtype = _DTYPES[depth]
    colors = image if foreground is None else foreground
    rgba = np.empty((*alpha.shape, 4), dtype=dtype)  # (H, W), (H, W, 3) -> (H, W, 4)
    for rows in _row_blocks(alpha):
        opacity = _quantized(alpha[rows], dtype)
        seen = np.ones_like(opacity) if keep_hidden else (opacity != 0).astype(dtype)
        for channel in range(3):
            _write_color(rgba[rows, :, channel], colors[rows, :, channel], seen)
        rgba[rows, :, 3] = opacity
    return rgba


def extend_colors(rgba: AnyArray) -> AnyArray:
    """The cut-out with its colours continued where nothing is to be seen, for codecs that blend colours of neighbours.

    Nothing of a background comes back: what is transparent takes the mean of the subject's colours around, over ever
    larger blocks.

    Args:
        rgba: (H, W, 4) uint8 or uint16; RGBA, not premultiplied.

    Returns:
        (H, W, 4) in rgba's dtype. Where alpha is above 0 it is as it was.

    Raises:
        ShapeError, RangeError: It is no such array.

    Example:
        >>> extend_colors(np.array([[[9, 8, 7, 255], [0, 0, 0, 0]]], np.uint8))[0, 1].tolist()
        [9, 8, 7, 0]
    """
    _check_rgba(rgba)
    hidden = rgba[..., 3] == 0
    if not hidden.any() or hidden.all():
        return rgba
    words = np.ascontiguousarray(rgba).view(np.uint32 if rgba.dtype.itemsize == 1 else np.uint64)[..., 0]
    visible = np.where(hidden, words.dtype.type(0), words)  # a pixel is one number: four times as fast
    weight = _block_sums((~hidden).view(np.uint8)[..., np.newaxis])[..., 0]
    means = np.rint(_filled(_block_sums(_pixels(visible, rgba.dtype)), weight)).astype(rgba.dtype)
    means[..., 3] = 0
    spread = means.view(words.dtype)[..., 0].repeat(4, axis=0).repeat(4, axis=1)[: hidden.shape[0], : hidden.shape[1]]
    return _pixels(np.where(hidden, spread, words), rgba.dtype)


def _pixels(words: AnyArray, dtype: np.dtype[Any]) -> AnyArray:
    """(H, W, 4) of pixels that are one number each."""
    return words[..., np.newaxis].view(dtype)


def _filled(sums: FloatArray, weight: FloatArray) -> FloatArray:
    """(h, w, C) means of weighted colours; where there is no weight, over the smallest blocks around that hold any."""
    if not (weight > 0).all():
        (height, width), channels = weight.shape, sums.shape[2]
        margin = ((0, -height % 4), (0, -width % 4))
        blocks = (-(-height // 4), 4, -(-width // 4), 4)
        larger = np.pad(weight, margin).reshape(blocks).sum(axis=(1, 3))
        around = _filled(np.pad(sums, (*margin, (0, 0))).reshape(*blocks, channels).sum(axis=(1, 3)), larger)
        around = around.repeat(4, axis=0).repeat(4, axis=1)[:height, :width]
        sums = np.where(weight[..., np.newaxis] > 0, sums, around)
        weight = np.where(weight > 0, weight, np.float32(1))
    means: FloatArray = sums / weight[..., np.newaxis]
    return means


def _block_sums(pixels: AnyArray) -> FloatArray:
    """(H / 4, W / 4, C) sums over blocks of 4 × 4 pixels of uint8 or uint16, which are exact in float32."""
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((0, -height % 4), (0, -width % 4), (0, 0)))
    wide = np.uint16 if pixels.dtype.itemsize == 1 else np.uint32
    rows = sum((padded[step::4] for step in range(1, 4)), padded[::4].astype(wide))
    columns: AnyArray = sum((rows[:, step::4] for step in range(1, 4)), rows[:, ::4])
    return columns.astype(np.float32)


def over_color(rgba: AnyArray, color: tuple[int, int, int, int], coverage: AnyArray | None = None) -> AnyArray:
    """The cut-out laid over a colour.

    Args:
        rgba: (H, W, 4) uint8 or uint16; RGBA, not premultiplied.
        color: Red, green, blue, alpha, each 0 to 255 also for a uint16 cut-out. Alpha 0 leaves the
            cut-out as it is.
        coverage: (H, W) float in [0, 1]: how much of the colour is where; None: all of it everywhere.

    Returns:
        (H, W, 4) in rgba's dtype; RGBA, not premultiplied, every value rounded. Where nothing is to be seen it
        stays as it was.

    Raises:
        ShapeError: Not an (H, W, 4) array, not four numbers, or a coverage of another size.
        RangeError: Another dtype, or a number outside 0 to 255 or [0, 1].

    Example:
        >>> over_color(np.array([[[200, 0, 0, 51]]], np.uint8), (0, 100, 0, 255))
        array([[[ 40,  80,   0, 255]]], dtype=uint8)

    Reference:
        Porter, Duff: Compositing Digital Images. SIGGRAPH 1984 (the operator "over").
    """
    _check_rgba(rgba)
    _check_color(color)
    if color[3] == 0:
        return np.array(rgba)
    scale = np.iinfo(rgba.dtype).max // 255
    colors = [np.asarray(value * scale) for value in color[:3]]
    if coverage is None:
        return _over(rgba, colors, np.asarray(color[3] * scale))
    coverage = check_mask(coverage, "coverage")
    check_same_size(rgba, coverage, ("rgba", "coverage"))
    return _over(rgba, colors, _quantized(coverage * np.float32(color[3] / 255), rgba.dtype))


def over_image(rgba: AnyArray, image: AnyArray, opacity: AnyArray | None = None) -> AnyArray:
    """The cut-out laid over a picture.

    Args:
        rgba: (H, W, 4) uint8 or uint16; RGBA, not premultiplied.
        image: (H, W, 3) uint8, uint16, or float in [0, 1]; RGB.
        opacity: (H, W) float in [0, 1]: the picture's own; None: opaque.

    Returns:
        (H, W, 4) in rgba's dtype, as by `over_color`.

    Raises:
        ShapeError: Not an (H, W, 4) array, or the others are of another size.
        RangeError: Another dtype, or values outside their range.

    Example:
        >>> over_image(np.array([[[200, 0, 0, 51]]], np.uint8), np.array([[[0, 100, 0]]], np.uint8))
        array([[[ 40,  80,   0, 255]]], dtype=uint8)
    """
    _check_rgba(rgba)
    check_image(image)
    check_same_size(rgba, image, ("rgba", "image"))
    colors = np.empty(image.shape, rgba.dtype)
    _write_color(colors, image, np.asarray(1, rgba.dtype))
    planes = [colors[..., channel] for channel in range(3)]
    if opacity is None:
        return _over(rgba, planes, np.asarray(np.iinfo(rgba.dtype).max))
    opacity = check_mask(opacity, "opacity")
    check_same_size(rgba, opacity, ("rgba", "opacity"))
    return _over(rgba, planes, _quantized(opacity, rgba.dtype))


def _over(rgba: AnyArray, colors: Sequence[AnyArray], under: AnyArray) -> AnyArray:
    """The cut-out over colours with an opacity, each one number or (H, W) numbers in the range of rgba's dtype."""
    top = np.iinfo(rgba.dtype).max
    # Wide enough that the products of three channels are exact.
    wide: type[np.floating[Any]] = np.float32 if top == 255 else np.float64
    result = np.empty_like(rgba)
    for rows in _row_blocks(rgba):
        here = [(plane[rows] if plane.ndim else plane).astype(wide) for plane in (*colors, under)]
        opacity: AnyArray = rgba[rows, :, 3].astype(wide)
        below = here.pop() * (top - opacity)
        opacity *= top
        total = opacity + below
        result[rows, :, 3] = np.rint(total / top)
        unseen = np.asarray(total == 0 if under.ndim else False)  # a colour that is everywhere is seen everywhere
        np.maximum(total, 1, out=total)
        for channel, value in enumerate(here):
            result[rows, :, channel] = np.rint((opacity * rgba[rows, :, channel] + below * value) / total)
        if unseen.any():
            np.copyto(result[rows], rgba[rows], where=unseen[..., np.newaxis])
    return result


def _row_blocks(pixels: AnyArray) -> Iterator[slice]:
    """Slices of rows with some ten thousand pixels each."""
    height, width = pixels.shape[:2]
    step = max(1, _BLOCK // width)
    for start in range(0, height, step):
        yield slice(start, start + step)


def _quantized(values: AnyArray, dtype: np.dtype[Any]) -> AnyArray:
    """Floats in [0, 1] as integers of the full range, rounded."""
    wide = np.float32 if dtype.itemsize == 1 else np.float64
    quantized: AnyArray = np.rint(np.multiply(values, np.iinfo(dtype).max, dtype=wide)).astype(dtype)
    return quantized


def _write_color(into: AnyArray, channel: AnyArray, seen: AnyArray) -> None:
    """One channel brought to the depth of `into`, times `seen`, which is 0 or 1."""
    if channel.dtype.kind == "f":
        channel = _quantized(channel, into.dtype)
    elif channel.dtype.itemsize > into.dtype.itemsize:
        channel = ((channel.astype(np.uint32) + 128) // 257).astype(np.uint8)  # 257 is odd: there are no ties
    elif channel.dtype.itemsize < into.dtype.itemsize:
        seen = seen * np.uint16(257)
    np.multiply(channel, seen, out=into)


def _check_rgba(rgba: AnyArray) -> None:
    if rgba.ndim != 3 or rgba.shape[2] != 4 or rgba.size == 0:
        raise ShapeError(
            "rgba",
            expected="(H, W, 4) with at least one pixel",
            got=str(rgba.shape),
            hint="make it with make_rgba",
        )
    if rgba.dtype not in _DTYPES.values():
        raise RangeError("rgba", expected="uint8 or uint16", got=str(rgba.dtype), hint="make it with make_rgba")


def _check_color(color: tuple[int, ...]) -> None:
    if len(color) != 4:
        raise ShapeError("color", expected="four numbers", got=str(len(color)), hint="add an alpha of 255")
    if not all(0 <= value <= 255 for value in color):
        raise RangeError("color", expected="within 0 to 255", got=str(tuple(color)), hint="use 8-bit values")


# Compatibility with rembg 2.0.86: PIL pictures in and out, the same bytes.


def premultiplied_cutout(image: Image, mask: Image) -> Image:
    """The plain cut-out of rembg: colours multiplied by the mask.

    Args:
        image: A PIL picture of mode RGB or RGBA.
        mask: A PIL picture of mode L and the same size, 255 = selected.

    Returns:
        A PIL picture of mode RGBA.

    Reference:
        rembg 2.0.86, `naive_cutout`.
    """
    from PIL import Image as PilImage

    return PilImage.composite(image, PilImage.new("RGBA", image.size, 0), mask)


def over_color_compat(cutout: Image, color: tuple[int, int, int, int]) -> Image:
    """The cut-out laid over a colour, rounded as PIL does.

    Args:
        cutout: A PIL picture of mode RGBA, read as not premultiplied.
        color: Red, green, blue, alpha, each 0 to 255.

    Returns:
        A PIL picture of mode RGBA.

    Reference:
        rembg 2.0.86, `apply_background_color`.
    """
    from PIL import Image as PilImage

    return PilImage.alpha_composite(PilImage.new("RGBA", cutout.size, tuple(color)), cutout)


def decontaminate_cutout_compat(image: Image, mask: Image) -> Image:
    """The cut-out of rembg with estimated foreground colours.

    Args:
        image: A PIL picture of any mode; read as RGB.
        mask: A PIL picture of the same size; read as L, 255 = selected.

    Returns:
        A PIL picture of mode RGBA, not premultiplied, values cut off rather than rounded.

    Reference:
        rembg 2.0.86, `decontaminate_cutout`.
    """
    alpha = np.asarray(mask.convert("L")) / 255.0
    return _truncated_cutout(estimate_foreground(np.asarray(image.convert("RGB")), alpha, compat=True), alpha)


def alpha_matting_cutout_compat(
    image: Image, mask: Image, foreground_threshold: float, background_threshold: float, erode_size: int
) -> Image:
    """The cut-out of rembg by closed-form matting, to within the precision at which its solver stops.

    Args:
        image: A PIL picture of any mode; read as RGB.
        mask: A PIL picture of mode L and the same size, 255 = selected.
        foreground_threshold: Above this, in units of 1/255, the mask is surely foreground.
        background_threshold: Below this, in units of 1/255, the mask is surely background.
        erode_size: Side in pixels of the square by which both are eroded, 0 or more.

    Returns:
        A PIL picture of mode RGBA, not premultiplied, values cut off rather than rounded.

    Raises:
        EmptyTrimap: There is no foreground or no background left; rembg decontaminates instead.

    Reference:
        rembg 2.0.86, `alpha_matting_cutout`.
    """
    colors = np.asarray(image.convert("RGB"))
    trimap = make_trimap(
        np.asarray(mask) / 255.0,
        foreground_threshold=foreground_threshold,
        background_threshold=background_threshold,
        erode_size=erode_size,
        compat=True,
    )
    alpha = estimate_alpha(colors, trimap, compat=True)
    return _truncated_cutout(estimate_foreground(colors, alpha, compat=True), alpha)


def _truncated_cutout(foreground: FloatArray, alpha: AnyArray) -> Image:
    from PIL import Image as PilImage

    cutout = np.dstack([foreground.astype(np.float64), alpha])  # (H, W, 3), (H, W) -> (H, W, 4)
    return PilImage.fromarray(np.clip(cutout * 255, 0, 255).astype(np.uint8))
