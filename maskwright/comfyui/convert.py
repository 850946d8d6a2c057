"""ComfyUI's values and ours.

IMAGE is a float32 tensor (B, H, W, C) in [0, 1], MASK one of (B, H, W), 1 = selected; both on the CPU. Values beyond
[0, 1], as upscalers make them, are clipped, then rounded to 8 bits where a network or a cut-out wants them so.
SEGS is ((H, W), [SEG, ...]) as other packs make it, see `detail.segs`.
ComfyUI's LoadImage gives 1 - alpha as its MASK: `InvertMask` after it makes that a mask in our sense.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
    "as_image",
    "as_mask",
    "image_to_arrays",
    "image_to_colors",
    "make_empty_image",
    "make_empty_mask",
    "mask_to_arrays",
    "segs_to_value",
    "spread",
    "stack_rows",
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
    _check_image(image)
    for number, one in enumerate(image):
        picture: FloatArray = one.detach().cpu().float().numpy()
        _check_finite(picture, f"picture {number} of IMAGE")
        yield _with_colors(picture.clip(0, 1))


def as_image(image: Tensor) -> Tensor:
    """A batch as it is, values beyond [0, 1] too, in one form: (B, H, W, 3 or 4) float32 on the CPU.

    Args:
        image: As for `image_to_arrays`.

    Raises:
        ShapeError, RangeError: As `image_to_arrays`.
    """
    _check_image(image)
    image = image.detach().cpu().float()
    for number, one in enumerate(image):
        _check_finite(one.numpy(), f"picture {number} of IMAGE")
    colored: Tensor = _with_colors(image)
    return colored


def _check_image(image: Tensor) -> None:
    if image.ndim != 4 or image.shape[3] not in _CHANNELS or 0 in image.shape[1:3]:
        raise ShapeError(
            "IMAGE",
            expected="(B, H, W, C) with 1 to 4 channels and at least one pixel",
            got=str(tuple(image.shape)),
            hint="connect an IMAGE output",
        )


def _check_finite(values: FloatArray, name: str) -> None:
    if not np.isfinite(values).all():
        raise RangeError(
            name, expected="finite numbers", got="NaN or infinity", hint="look at the node before this one"
        )


def _with_colors(picture: Any) -> Any:
    """Gray as RGB, gray and alpha as RGBA; RGB and RGBA as they are. Of arrays and of tensors."""
    channels = {1: [0, 0, 0], 2: [0, 0, 0, 1]}.get(picture.shape[-1])
    return picture if channels is None else picture[..., channels]


def as_mask(mask: Tensor) -> Tensor:
    """A batch of masks as it is, values beyond [0, 1] too, in one form: (B, H, W) float32 on the CPU.

    Args:
        mask: (B, H, W) float; (H, W) and (B, 1, H, W), which some packs hand out, are taken for it.

    Raises:
        ShapeError: Another array.
    """
    given = tuple(mask.shape)
    if mask.ndim == 2:
        mask = mask[None]  # (1, H, W)
    if mask.ndim == 4 and mask.shape[1] == 1:
        mask = mask[:, 0]  # (B, H, W)
    if mask.ndim != 3 or 0 in mask.shape[1:]:
        raise ShapeError(
            "MASK", expected="(B, H, W) with at least one pixel", got=str(given), hint="connect a MASK output"
        )
    return mask.detach().cpu().float()


def mask_to_arrays(mask: Tensor) -> Iterator[FloatArray]:
    """The masks of a batch, one at a time: (H, W) float32 in [0, 1].

    Args:
        mask: As for `as_mask`.

    Raises:
        ShapeError: As `as_mask`.
        RangeError: A mask that holds NaN or infinity.
    """
    for number, one in enumerate(as_mask(mask)):
        values: FloatArray = one.numpy()
        _check_finite(values, f"mask {number} of MASK")
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


def stack_rows(rows: Iterable[Sequence[AnyArray]], count: int) -> tuple[Tensor, ...]:
    """IMAGE and MASK outputs of what a node makes of each picture; only one picture's arrays are held at a time.

    Args:
        rows: For each picture its arrays, in the order of the outputs: (H, W) masks and (H, W, C) pictures, uint8 or
            float in [0, 1]; each output's of one size.
        count: How many pictures they are; at least one.
    """
    import torch

    outputs: list[FloatArray] = []
    for number, row in enumerate(rows):
        outputs = outputs or [np.zeros((count, *values.shape), np.float32) for values in row]
        for output, values in zip(outputs, row, strict=True):
            if values.any():  # what is never written to takes no memory
                output[number] = values / np.float32(255) if values.dtype == np.uint8 else values
    return tuple(torch.from_numpy(output) for output in outputs)


def make_empty_image(image: Tensor, channels: int = 3) -> Tensor:
    """IMAGE of no pictures, of the size of another: (0, H, W, channels).

    Raises:
        ShapeError: As `image_to_arrays`.
    """
    import torch

    _check_image(image)
    return torch.zeros(0, *image.shape[1:3], channels)


def make_empty_mask(image: Tensor) -> Tensor:
    """MASK of no masks, of the size of an IMAGE: (0, H, W).

    Raises:
        ShapeError: As `image_to_arrays`.
    """
    return make_empty_image(image)[..., 0]


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
