"""Segments' pictures into frames, and previews of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import OptionError, ShapeError
from ..types import AnyArray, BBox, FloatArray, check_same_size
from .resample import as_frames, blur_masks, resize_masks, to_float, unite_masks
from .segs import Seg, Segs, check_places, scale_segs

__all__ = ["crop_pictures", "paste", "previews"]


def paste(
    frames: Any,
    segs: Any,
    *,
    feather: int = 5,
    alpha: int = 255,
    reference: Any = None,
    out: AnyArray | None = None,
    compat: bool = False,
) -> AnyArray:
    """The frames with each segment's pictures where its mask is, in the segments' order.

    One picture or mask serves all frames. Where the mask is 0, the feather included, a frame keeps its values.

    Args:
        frames: (F, H, W, 3 or 4) float in [0, 1] or uint8; NumPy or torch.
        segs: `Segs`, or the tuple of other packs. A segment without pictures is left out.
        feather: Pixels over which a mask's edge is softened.
        alpha: How opaque, 0 to 255.
        reference: (1 or F, H, W, 3 or 4), taken instead of the segments' pictures.
        out: Where to write, of the frames' shape and dtype; may be the frames. None: a new array.
        compat: Segments of frames of another size are scaled by the original's rule, and blurred in its sums.

    Raises:
        OptionError: feather below 0, or alpha outside 0 to 255.
        ShapeError: As many pictures as neither 1 nor the frames, an `out` or reference of another size, or a segment
            that moves in another number of frames.
        RangeError: A crop outside the frame.
    """
    if not (feather >= 0 and 0 <= alpha <= 255):  # written so that NaN fails too
        raise OptionError(
            "feather and alpha", expected="0 or more, and 0 to 255", got=f"{feather}, {alpha}", hint="usual: 5, 255"
        )
    frames = as_frames(frames)
    if out is None:
        out = np.array(frames)
    elif out is not frames:
        if out.shape != frames.shape or out.dtype != frames.dtype:
            raise ShapeError("out", expected=f"{frames.dtype} {frames.shape}", got=f"{out.dtype} {out.shape}")
        out[...] = frames
    if reference is not None:
        reference = _checked_count(as_frames(reference, "reference"), len(frames), "reference")
        check_same_size(frames[0], reference[0], ("frames", "reference"))
    placed = scale_segs(Segs.from_tuple(segs), frames.shape[1:3], compat=compat)
    for seg in placed.check_regions(compat=compat):
        if reference is not None or seg.cropped_image is not None:
            check_places(seg, len(out))
            masks = blur_masks(unite_masks(seg.masks(), len(out)), feather, compat=compat)
            _paste_seg(out, seg, reference, masks * np.float32(alpha / 255))
    return out


def _checked_count(pictures: AnyArray, frames: int, name: str) -> AnyArray:
    if len(pictures) not in (1, frames):
        raise ShapeError(name, expected=f"1 or {frames} pictures", got=str(len(pictures)), hint="give one a frame")
    return pictures


def _paste_seg(out: AnyArray, seg: Seg, reference: AnyArray | None, masks: FloatArray) -> None:
    count, pictures = len(out), None
    if reference is None:
        name = f"pictures of segment {seg.label!r}"
        pictures = _checked_count(as_frames(seg.cropped_image, name), count, name)
    for index in range(count):
        region = seg.region_at(index)
        if pictures is not None:
            picture = pictures[index % len(pictures)]
        else:
            picture = _part(reference[index % len(reference)], region)  # type: ignore[index, arg-type]
        mask = masks[index % len(masks)]
        if mask.shape != picture.shape[:2]:
            mask = resize_masks(mask[None], (picture.shape[0], picture.shape[1]))[0]
        _blend(out[index], picture, mask, region[0], region[1])


def _part(picture: AnyArray, region: BBox) -> AnyArray:
    x1, y1, x2, y2 = region
    return picture[y1:y2, x1:x2]


def _blend(frame: AnyArray, picture: AnyArray, mask: FloatArray, x1: int, y1: int) -> None:
    """Lay a picture over a frame at a place, in place; what reaches beyond the frame is cut off."""
    height, width = min(len(picture), len(frame) - y1), min(picture.shape[1], frame.shape[1] - x1)
    channels = min(frame.shape[2], picture.shape[2])
    under = frame[y1 : y1 + height, x1 : x1 + width, :channels]
    low, high = to_float(under), to_float(picture[:height, :width, :channels])
    share = mask[:height, :width, None]
    # Each half is measured from its own end, so that 0 and 1 give exactly what lies under and over.
    mixed = np.where(share < 0.5, low + share * (high - low), high - (1 - share) * (high - low))
    if frame.dtype == np.uint8:
        under[...] = np.where(share > 0, np.rint(mixed * np.float32(255)), under)
    else:
        under[...] = np.where(share > 0, mixed, under)


def crop_pictures(segs: Any, frames: Any = None) -> list[FloatArray]:
    """Each segment's own pictures, or its crop of the frames; (n, h, w, 3 or 4) float32.

    Args:
        segs: `Segs`, or the tuple of other packs.
        frames: (F, H, W, 3 or 4), for segments without pictures; None: those give black.
    """
    given = None if frames is None else as_frames(frames)
    segs = Segs.from_tuple(segs)
    segs = segs if given is None else scale_segs(segs, given.shape[1:3])
    return [_pictures(seg, given) for seg in segs]


def _pictures(seg: Seg, frames: AnyArray | None) -> FloatArray:
    if seg.cropped_image is not None:
        return to_float(as_frames(seg.cropped_image))
    if frames is None:
        return np.zeros((1, *seg.size_hw, 3), np.float32)
    check_places(seg, len(frames))
    return np.stack([to_float(_part(frame, seg.region_at(index))) for index, frame in enumerate(frames)])


def previews(segs: Any, frames: Any = None, *, min_alpha: float = 0.2) -> list[FloatArray]:
    """(n, h, w, 4) float32 for each segment: its pictures, as opaque as its mask.

    Args:
        segs: `Segs`, or the tuple of other packs.
        frames: As for `crop_pictures`.
        min_alpha: Opacity where the mask is 0, so that the surroundings can be seen.
    """
    given = None if frames is None else as_frames(frames)
    segs = Segs.from_tuple(segs)
    segs = segs if given is None else scale_segs(segs, given.shape[1:3])
    shown = []
    for seg in segs:
        pictures, masks = _pictures(seg, given), seg.masks()
        count = len(pictures) if len(pictures) > 1 else len(masks)
        masks = unite_masks(masks, count)
        alpha = np.maximum(masks, np.float32(min_alpha))[..., None]
        both = [np.concatenate([pictures[i % len(pictures)][..., :3], alpha[i % len(alpha)]], 2) for i in range(count)]
        shown.append(np.stack(both))
    return shown
