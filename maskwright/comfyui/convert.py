"""ComfyUI's values and ours.

IMAGE is a float32 tensor (B, H, W, C) in [0, 1], MASK one of (B, H, W), 1 = selected; both on the CPU. Values beyond
[0, 1], as upscalers make them, are clipped, then rounded to 8 bits where a network or a cut-out wants them so.
SEGS is ((H, W), [SEG, ...]) as other packs make it, see `detail.segs`.
ComfyUI's LoadImage gives 1 - alpha as its MASK: `InvertMask` after it makes that a mask in our sense.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from ..detail.segs import Segs
from ..errors import RangeError, ShapeError
from ..types import AnyArray, FloatArray

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "SegsValue",
    "arrays_to_image",
    "arrays_to_mask",
    "image_to_arrays",
    "image_to_colors",
    "make_empty_image",
    "make_empty_mask",
    "mask_to_arrays",
    "segs_to_value",
    "spread",
    "work_on_segs",
]

_CHANNELS = (1, 2, 3, 4)
_Item = TypeVar("_Item")
SegsValue: TypeAlias = tuple[tuple[int, int], list[Any]]


def image_to_arrays(image: Tensor) -> Iterator[AnyArray]:
    """The pictures of a batch, one at a time, in 8 bits.

    Args:
        image: (B, H, W, C) float; C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA (alpha straight).

    Yields:
        (H, W, 3) uint8 RGB, or (H, W, 4) uint8 RGBA where the batch has an alpha.

    Raises:
        ShapeError: Another number of axes or channels, or pictures without pixels.
        RangeError: A picture that holds NaN or infinity.
    """
    for picture in _pictures(image):
        yield np.rint(picture * np.float32(255)).astype(np.uint8)  # half to even, as NumPy and Torch do


def image_to_colors(image: Tensor) -> Iterator[FloatArray]:
    """The colours of the pictures of a batch, as exact as they came: (H, W, 3) float32 in [0, 1].

    Args:
        image: As for `image_to_arrays`; an alpha is left out.

    Raises:
        ShapeError, RangeError: As `image_to_arrays`.
    """
    for picture in _pictures(image):
        yield np.ascontiguousarray(picture[..., :3])


def _pictures(image: Tensor) -> Iterator[FloatArray]:
    """(H, W, 3) or (H, W, 4) float32, clipped to [0, 1]."""
    if image.ndim != 4 or image.shape[3] not in _CHANNELS or 0 in image.shape[1:3]:
        raise ShapeError(
            "IMAGE",
            expected="(B, H, W, C) with 1 to 4 channels and at least one pixel",
            got=str(tuple(image.shape)),
            hint="connect an IMAGE output",
        )
    for number, one in enumerate(image):
        picture: FloatArray = one.detach().cpu().float().numpy()
        if not np.isfinite(picture).all():
            raise RangeError(
                f"picture {number} of IMAGE",
                expected="finite numbers",
                got="NaN or infinity",
                hint="look at the node before this one",
            )
        picture = picture.clip(0, 1)
        if picture.shape[2] == 1:
            picture = picture.repeat(3, axis=2)
        elif picture.shape[2] == 2:
            picture = picture[..., [0, 0, 0, 1]]
        yield picture


def mask_to_arrays(mask: Tensor) -> Iterator[FloatArray]:
    """The masks of a batch, one at a time: (H, W) float32 in [0, 1].

    Args:
        mask: (B, H, W) float; (H, W) and (B, 1, H, W), which some packs hand out, are taken for it.

    Raises:
        ShapeError: Another array.
        RangeError: A mask that holds NaN or infinity.
    """
    if mask.ndim == 2:
        mask = mask[None]  # (1, H, W)
    if mask.ndim == 4 and mask.shape[1] == 1:
        mask = mask[:, 0]  # (B, H, W)
    if mask.ndim != 3 or 0 in mask.shape[1:]:
        raise ShapeError(
            "MASK",
            expected="(B, H, W) with at least one pixel",
            got=str(tuple(mask.shape)),
            hint="connect a MASK output",
        )
    for number, one in enumerate(mask):
        values: FloatArray = one.detach().cpu().float().numpy()
        if not np.isfinite(values).all():
            raise RangeError(
                f"mask {number} of MASK",
                expected="finite numbers",
                got="NaN or infinity",
                hint="look at the node before this one",
            )
        yield values.clip(0, 1)


def spread(items: Sequence[_Item], count: int, name: str) -> Sequence[_Item]:
    """As many items as wanted: one stands for all.

    Raises:
        ShapeError: Another count.
    """
    if len(items) == 1:
        return [items[0]] * count
    if len(items) != count:
        raise ShapeError(name, expected=f"1 or {count}", got=str(len(items)), hint="give one for all, or one for each")
    return items


def arrays_to_image(pictures: Sequence[AnyArray]) -> Tensor:
    """IMAGE of pictures of one size: (B, H, W, C) float32.

    Args:
        pictures: Each (H, W, C) uint8, or float in [0, 1]; at least one.
    """
    import torch

    first = pictures[0]
    image = torch.empty((len(pictures), *first.shape), dtype=torch.float32)
    for number, picture in enumerate(pictures):
        values = picture / np.float32(255) if picture.dtype == np.uint8 else picture
        image[number] = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
    return image


def arrays_to_mask(masks: Sequence[FloatArray]) -> Tensor:
    """MASK of masks of one size: (B, H, W) float32.

    Args:
        masks: Each (H, W) float32 in [0, 1]; at least one.
    """
    import torch

    return torch.from_numpy(np.stack(masks).astype(np.float32, copy=False))


def make_empty_image(image: Tensor, channels: int = 3) -> Tensor:
    """IMAGE of no pictures, of the size of another: (0, H, W, channels)."""
    return image.new_zeros((0, *image.shape[1:3], channels))


def make_empty_mask(image: Tensor) -> Tensor:
    """MASK of no masks, of the size of an IMAGE: (0, H, W)."""
    return image.new_zeros((0, *image.shape[1:3]))


def segs_to_value(segs: Segs, records: Mapping[int, Any] = MappingProxyType({})) -> SegsValue:
    """SEGS of segments. Masks of several frames are tensors, regions lists, as other packs make them.

    Args:
        segs: The segments.
        records: By `id`, the records of segments that came in, which go out as they are.
    """
    size_hw, made = segs.to_tuple()
    return size_hw, [records.get(id(seg)) or _as_others(made[index]) for index, seg in enumerate(segs)]


def _as_others(record: Any) -> Any:
    import torch

    mask = record.cropped_mask
    if isinstance(mask, np.ndarray) and mask.ndim == 3:
        mask = torch.from_numpy(mask if mask.flags.writeable else mask.copy())
    changed = record._replace(cropped_mask=mask, crop_region=list(record.crop_region))
    if getattr(record, "moving", None) is not None:
        changed.moving = record.moving
    return changed


def work_on_segs(work: Callable[..., Segs], *given: Any) -> SegsValue:
    """SEGS of what `work` makes of those given. A segment that it leaves alone goes out as the record that came in.

    Raises:
        ShapeError: Something else was given.
    """
    opened = [Segs.from_tuple(each) for each in given]
    pairs = (pair for segs, (_, records) in zip(opened, given, strict=True) for pair in zip(segs, records, strict=True))
    return segs_to_value(work(*opened), {id(seg): record for seg, record in pairs})
