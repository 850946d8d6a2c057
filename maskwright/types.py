"""Array conventions, the result of a segmentation, and the checks every strict entry uses.

| word | shape | dtype | range |
|---|---|---|---|
| image | (H, W, 3) | uint8, uint16, or float in [0, 1] | RGB, not premultiplied |
| mask | (H, W) | float32 | 0 = not selected, 1 = selected |
| alpha | (H, W) | float32 | 0 = transparent, 1 = opaque |
| trimap | (H, W) | float32 | 0 = background, 0.5 = unknown, 1 = foreground |
| labels | (H, W) | integer | index of the winning class |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .errors import RangeError, ShapeError

__all__ = [
    "AnyArray",
    "BBox",
    "FloatArray",
    "Provenance",
    "SegmentResult",
    "check_image",
    "check_mask",
    "check_same_size",
    "to_8_bit",
]

AnyArray: TypeAlias = NDArray[Any]
BBox: TypeAlias = tuple[int, int, int, int]  # (x1, y1, x2, y2) in pixels, half-open
FloatArray: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class Provenance:
    """What computed a result.

    Attributes:
        model: The catalog name.
        weights: The weights file's name, or "" where an engine was handed in.
        sha256: The weights' hash as lower-case hex, or "" where unknown.
        engine: The runtime, such as `onnxruntime 1.23.0`.
        device: Where it ran, such as `cpu` or `cuda:0`.
        compat: Whether the original's numbers were asked for.
    """

    model: str
    weights: str = ""
    sha256: str = ""
    engine: str = ""
    device: str = ""
    compat: bool = False


class _WhenRead:
    """A dataclass field whose value may be given as a function: it is called when the field is first read."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return None  # the field's default
        value = vars(instance)[self._name]
        if callable(value):
            value = vars(instance)[self._name] = value()
        return value

    def __set__(self, instance: Any, value: Any) -> None:
        vars(instance)[self._name] = value


_when_read: Any = _WhenRead()


@dataclass(frozen=True, eq=False)
class SegmentResult:
    """What a segmenter says of one picture.

    Attributes:
        mask: (H, W) float32 in [0, 1], 1 = selected.
        masks: Part name to mask, each (H, W) float32 in [0, 1]. Empty for one-map models.
        labels: (H, W) integer class map, where the family has one. May be given as a function, which is called when
            it is first read.
        label_names: Name of each index in `labels`.
        probabilities: Label to probability, each (H, W) float32 in [0, 1], made when it is read; keep what you read
            twice. Empty for one-map models.
        provenance: Model, weights, hash, engine and device that gave this.
    """

    mask: FloatArray
    provenance: Provenance
    masks: Mapping[str, FloatArray] = field(default_factory=dict)
    labels: AnyArray | None = _when_read
    label_names: tuple[str, ...] = ()
    probabilities: Mapping[str, FloatArray] = field(default_factory=dict)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.mask.shape
        return height, width


def check_image(image: AnyArray, name: str = "image") -> AnyArray:
    """The same array, if it is an image.

    Args:
        image: (H, W, 3) uint8, uint16, or float in [0, 1]; RGB.
        name: What to call it in an error.

    Raises:
        ShapeError: Not three axes, not three channels, or no pixels.
        RangeError: Another dtype, or a float outside [0, 1] or not finite.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ShapeError(
            name, expected="(H, W, 3) with at least one pixel", got=str(image.shape), hint="convert it to RGB first"
        )
    if image.dtype in (np.uint8, np.uint16):
        return image
    if image.dtype.kind != "f":
        raise RangeError(
            name, expected="uint8, uint16 or float", got=str(image.dtype), hint="use image.astype('uint8')"
        )
    return _check_unit(image, name)


def check_mask(mask: AnyArray, name: str = "mask") -> FloatArray:
    """The mask as float32, if it is one.

    Args:
        mask: (H, W) float in [0, 1], or bool.
        name: What to call it in an error.

    Raises:
        ShapeError: Not two axes, or no pixels.
        RangeError: Another dtype, or values outside [0, 1] or not finite.
    """
    if mask.ndim != 2 or mask.size == 0:
        raise ShapeError(
            name, expected="(H, W) with at least one pixel", got=str(mask.shape), hint="take one channel, mask[..., 0]"
        )
    if mask.dtype == np.bool_:
        return mask.astype(np.float32)
    if mask.dtype.kind != "f":
        raise RangeError(name, expected="float in [0, 1] or bool", got=str(mask.dtype), hint="divide by 255 first")
    return np.asarray(_check_unit(mask, name), dtype=np.float32)


def check_same_size(a: AnyArray, b: AnyArray, names: tuple[str, str]) -> None:
    """Nothing, if both arrays have the same height and width.

    Raises:
        ShapeError: They differ.
    """
    if a.shape[:2] != b.shape[:2]:
        raise ShapeError(
            f"{names[1]} size", expected=f"that of {names[0]}, {a.shape[:2]}", got=str(b.shape[:2]), hint="resize one"
        )


def to_8_bit(values: AnyArray) -> AnyArray:
    """The same picture in 8 bits; an 8-bit one as it is.

    Args:
        values: Any shape, uint8 or uint16.
    """
    if values.dtype == np.uint8:
        return values
    rounded: AnyArray = np.round(values / np.float32(257)).astype(np.uint8)
    return rounded


def _check_unit(values: AnyArray, name: str) -> AnyArray:
    low, high = float(values.min()), float(values.max())
    if not (low >= 0.0 and high <= 1.0):  # written so that NaN fails too
        raise RangeError(name, expected="in [0, 1]", got=f"[{low:g}, {high:g}]", hint="scale it, or clip it")
    return values
