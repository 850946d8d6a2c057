"""Arrays of any framework in one form, and how frames and masks are resized and blurred."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from ..errors import EngineUnavailable, RangeError, ShapeError
from ..geometry import resize_map
from ..types import AnyArray, FloatArray

__all__ = [
    "as_array",
    "as_frames",
    "as_masks",
    "blur_masks",
    "load_torch",
    "resize_frames",
    "resize_masks",
    "to_float",
    "to_storage",
    "unite_masks",
]

_SIGMA = 10.0  # pixels; the original's blur has it whatever its reach
_ROUNDING = 1e-5  # what others' blurs and resizings may go past 0 and 1
_SELECTED = 0.1  # from above this on a united mask is 1


def load_torch() -> Any:
    """The module torch, imported when it is needed.

    Raises:
        EngineUnavailable: It is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise EngineUnavailable("torch is not installed", hint='pip install "maskwright[torch]"') from error
    return torch


def as_array(values: Any) -> AnyArray:
    """The values as a NumPy array, of a torch tensor on any device too.

    Raises:
        ShapeError: They are several arrays of different sizes.
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float() if str(values.dtype) == "torch.bfloat16" else values  # NumPy knows none
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ShapeError("arrays", expected="of one size", got="several", hint="resize them first") from error


def as_frames(frames: Any, name: str = "frames") -> AnyArray:
    """(F, H, W, 3 or 4) float32 or uint8, if they are frames; one picture becomes one frame.

    Raises:
        ShapeError: Other axes or channels, or no pixels.
        RangeError: Another dtype.
    """
    array = as_array(frames)
    array = array[None] if array.ndim == 3 else array
    if array.ndim != 4 or array.shape[3] not in (3, 4) or 0 in array.shape[1:]:
        raise ShapeError(name, expected="(F, H, W, 3) or (F, H, W, 4)", got=str(array.shape), hint="stack RGB pictures")
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f":
        raise RangeError(name, expected="uint8 or float in [0, 1]", got=str(array.dtype), hint="divide first")
    return array.astype(np.float32, copy=False)


def as_masks(masks: Any, name: str = "mask") -> FloatArray:
    """(n, H, W) float32 in [0, 1], if they are masks; one mask becomes a stack of one.

    Raises:
        ShapeError: Other axes, or no pixels.
        RangeError: Values outside [0, 1].
    """
    array = as_array(masks)
    array = array[None] if array.ndim == 2 else array
    if array.ndim != 3 or not array.size:
        raise ShapeError(name, expected="(H, W) or (F, H, W)", got=str(array.shape), hint="take one channel")
    if array.dtype.kind not in "fb":
        raise RangeError(name, expected="float in [0, 1] or bool", got=str(array.dtype), hint="divide by 255 first")
    low, high = float(array.min()), float(array.max())
    if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):  # written so that NaN fails too
        raise RangeError(name, expected="in [0, 1]", got=f"[{low:g}, {high:g}]", hint="scale it, or clip it")
    values = array.astype(np.float32, copy=False)
    return values if low >= 0 and high <= 1 else values.clip(0, 1)


def to_float(images: AnyArray) -> FloatArray:
    """The same pictures as float32 in [0, 1], of any storage."""
    if images.dtype == np.uint8:
        scaled: FloatArray = images.astype(np.float32) / np.float32(255)
        return scaled
    return images.astype(np.float32, copy=False)


def to_storage(images: FloatArray, dtype: str) -> AnyArray:
    """Pictures in [0, 1] as float32, float16 or rounded to uint8."""
    if dtype == "uint8":
        rounded: AnyArray = np.rint(images.clip(0, 1) * np.float32(255)).astype(np.uint8)
        return rounded
    return images.astype(dtype, copy=False)


def resize_frames(images: AnyArray, size_hw: tuple[int, int], *, eight_bit: bool = False) -> FloatArray:
    """(n, h, w, C) float32 in [0, 1] by Lanczos.

    Args:
        images: (n, H, W, C) float or uint8.
        size_hw: Height and width wanted, in pixels.
        eight_bit: Through 8 bits, cut off, even where the size stays: the original's way.
    """
    values = to_float(images)
    if eight_bit:
        levels = np.clip(np.float32(255) * values, 0, 255).astype(np.uint8)
        resized = [Image.fromarray(level).resize(size_hw[::-1], Image.Resampling.LANCZOS) for level in levels]
        out = np.empty((len(values), *size_hw, values.shape[3]), np.float32)
        for index, picture in enumerate(resized):
            out[index] = np.asarray(picture).astype(np.float32) / np.float32(255)
        return out
    if values.shape[1:3] == tuple(size_hw):
        return values
    out = np.empty((len(values), *size_hw, values.shape[3]), np.float32)
    for index, value in enumerate(values):
        for channel in range(values.shape[3]):
            out[index, ..., channel] = resize_map(value[..., channel], size_hw, "lanczos")
    return out.clip(0, 1, out=out)


def resize_masks(masks: FloatArray, size_hw: tuple[int, int], *, compat: bool = False) -> FloatArray:
    """(n, h, w) float32, bilinear between pixel centres.

    Args:
        masks: (n, h, w) float32 in [0, 1].
        size_hw: The new height and width.
        compat: By torch, as the original does: its last digit shows where pictures are cut to 8 bits.
    """
    if compat and len(masks):
        torch = load_torch()
        stack = torch.from_numpy(np.ascontiguousarray(masks, np.float32))[:, None]
        resized: FloatArray = torch.nn.functional.interpolate(stack, size=size_hw, mode="bilinear")[:, 0].numpy()
        return resized
    return np.stack([resize_map(mask, size_hw, "bilinear") for mask in masks])


def blur_masks(masks: FloatArray, reach: int, *, sigma: float = _SIGMA, compat: bool = False) -> FloatArray:
    """(n, h, w) float32, blurred by a Gaussian that ends after `reach` pixels, mirrored at the border.

    Where the mask is too small for it, the kernel shrinks to half its shorter side.

    Args:
        masks: (n, h, w) float32 in [0, 1].
        reach: Pixels; 0: as they are.
        sigma: Of the Gaussian, in pixels.
        compat: Sum all weights in float32, by torch, as the original does. What is 1 all around then comes out a last
            digit below or above 1, and below 1 it misses the first step of differential diffusion.
    """
    size, shorter = 2 * reach + 1, min(masks.shape[1:])
    if shorter <= size:
        size = shorter // 2 + (shorter // 2 + 1) % 2
    if reach <= 0 or size < 3:
        return masks
    offsets = np.arange(size) - size // 2
    taps = np.exp(-(offsets**2) / (2 * sigma * sigma))
    if compat:
        return _blurred_compat(masks, taps.astype(np.float32))
    return _blurred(masks, taps / taps.sum())


def _blurred(masks: FloatArray, taps: AnyArray) -> FloatArray:
    from scipy.ndimage import correlate1d

    blurred = masks.astype(np.float64)  # so that what is 1 all around stays exactly 1 in float32
    for axis in (1, 2):
        blurred = correlate1d(blurred, taps, axis=axis, mode="mirror")
    clipped: FloatArray = blurred.astype(np.float32).clip(0, 1)
    return clipped


def _blurred_compat(masks: FloatArray, taps: FloatArray) -> FloatArray:
    torch = load_torch()
    line = torch.from_numpy(taps)
    line = line / line.sum()
    stack = torch.nn.functional.pad(torch.from_numpy(masks)[:, None], [len(taps) // 2] * 4, mode="reflect")
    blurred: FloatArray = torch.nn.functional.conv2d(stack, (line[:, None] @ line[None])[None, None])[:, 0].numpy()
    return blurred


def unite_masks(masks: FloatArray, count: int, *, compat: bool = False) -> FloatArray:
    """(1 or count, h, w): the masks, if there are as many as frames or one; else one hard mask of all together.

    Args:
        masks: (n, h, w) float32 in [0, 1].
        count: Frames.
        compat: The original's union of 8-bit values, in which the first mask is lost.
    """
    if len(masks) in (1, count):
        return masks
    if compat:
        levels = [masks[0].astype(np.uint8), *((mask * 255).astype(np.uint8) for mask in masks[1:])]
        united = np.bitwise_or.reduce(levels).astype(np.float32) / np.float32(255)
    else:
        united = masks.max(axis=0)
    hard: FloatArray = (united > _SELECTED).astype(np.float32)[None]
    return hard
