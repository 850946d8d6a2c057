"""Segments of a film or a picture: where each lies, its mask, and what stands in its crop.

A `Seg` has the fields of the SEGS convention of ComfyUI packs, in its order; `Segs.from_tuple` and `Segs.to_tuple`
convert without loss. Arrays stay as they came (NumPy or torch) until a function here needs them.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ..errors import OptionError, RangeError, ShapeError
from ..refine import masks as mask_work
from ..types import AnyArray, BBox, FloatArray, check_mask
from .resample import as_array, as_masks, resize_frames, resize_masks, to_float

__all__ = [
    "SEG",
    "Follow",
    "Seg",
    "Segs",
    "SortKey",
    "as_bbox",
    "as_region",
    "check_places",
    "combine_segs",
    "cut_masks",
    "dilate_segs",
    "filter_segs",
    "intersect_segs",
    "order_segs",
    "scale_segs",
    "segs_to_mask",
    "segs_to_masks",
    "size_hw_of",
]

SortKey = Literal["area", "width", "height", "x1", "y1", "x2", "y2", "confidence"]

# The record other packs use; its field names are theirs.
SEG = namedtuple(
    "SEG",
    ["cropped_image", "cropped_mask", "confidence", "crop_region", "bbox", "label", "control_net_wrapper"],
    defaults=[None],
)


class _MovingSEG(SEG):
    """The record of a segment in a crop that does not move, which knows the one that does.

    Whoever makes a new record of it keeps what is in its fields, and loses what moves.
    """

    moving: Any = None


@dataclass(frozen=True)
class Follow:
    """A crop that follows its subject.

    Attributes:
        regions: For each frame (x1, y1, x2, y2) in pixels, half-open, inside the frame, all of one size.
        subject_hw: Height and width of the subject's box, which guide_size looks at.
    """

    regions: tuple[BBox, ...]
    subject_hw: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Seg:
    """One segment.

    Attributes:
        cropped_image: None, or (n, h, w, 3 or 4) float in [0, 1] or uint8: what stands in the crop, frame by frame.
        cropped_mask: (h, w) or (n, h, w) float in [0, 1] over the crop, 1 = selected. None: all of it.
        confidence: In [0, 1].
        crop_region: (x1, y1, x2, y2) in pixels of the frame, half-open, inside it.
        bbox: The subject's box, (x1, y1, x2, y2) in pixels, half-open. Detectors of other packs give fractions.
        label: What it is.
        control_net_wrapper: Handed through to the backend as it is.
        follow: Where the crop lies in each frame, if it moves; then mask and image have its size, and `crop_region`
            is the union.
    """

    cropped_image: Any
    cropped_mask: Any
    confidence: float
    crop_region: BBox
    bbox: BBox
    label: str
    control_net_wrapper: Any = None
    follow: Follow | None = None

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the crop."""
        return size_hw_of(self.region_at(0))

    @property
    def subject_hw(self) -> tuple[int, int]:
        """Height and width of the subject's box."""
        return self.follow.subject_hw if self.follow else size_hw_of(self.bbox)

    @property
    def places(self) -> int:
        """Where the crop lies is said for this many frames; 1: once for all."""
        return len(self.follow.regions) if self.follow else 1

    def region_at(self, frame: int) -> BBox:
        """Where the crop lies in a frame."""
        return self.follow.regions[frame % self.places] if self.follow else self.crop_region

    def masks(self) -> FloatArray:
        """(n, h, w) float32, the mask in one form; ones where there is none.

        Raises:
            ShapeError: Its axes or its size do not fit the crop.
            RangeError: Values outside [0, 1].
        """
        if self.cropped_mask is None:
            return np.ones((1, *self.size_hw), np.float32)
        masks = as_masks(self.cropped_mask, f"mask of segment {self.label!r}")
        if masks.shape[1:] != self.size_hw:
            raise ShapeError(
                f"mask of segment {self.label!r}",
                expected=f"of its crop's size {self.size_hw}",
                got=str(masks.shape[1:]),
                hint="resize the mask, or scale_segs after the frames were resized",
            )
        return masks

    def still(self) -> Seg:
        """The same in a crop that does not move: the union of all places. Its picture is left out."""
        if self.follow is None:
            return self
        x1, y1, x2, y2 = self.crop_region
        masks, regions = self.masks(), self.follow.regions
        still = np.zeros((len(regions), y2 - y1, x2 - x1), np.float32)
        for index, (left, top, right, bottom) in enumerate(regions):
            mask = masks[index if len(masks) > 1 else 0]
            still[index, top - y1 : bottom - y1, left - x1 : right - x1] = mask
        return replace(self, cropped_image=None, cropped_mask=still, follow=None)


@dataclass(frozen=True, eq=False)
class Segs:
    """Segments of frames of one size.

    Attributes:
        size_hw: Height and width of the frames.
        items: The segments, in the order they are worked on.
    """

    size_hw: tuple[int, int]
    items: tuple[Seg, ...] = ()

    def __iter__(self) -> Iterator[Seg]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Seg:
        return self.items[index]

    @classmethod
    def from_tuple(cls, segs: Any) -> Segs:
        """Segments from the convention `((H, W), [SEG, ...])` of other packs; `Segs` as they are.

        Raises:
            ShapeError: It is built otherwise.
        """
        if isinstance(segs, cls):
            return segs
        try:
            (height, width), records = segs
            return cls((int(height), int(width)), tuple(_seg(record) for record in records))
        except (TypeError, ValueError, AttributeError) as error:
            raise ShapeError(
                "segments", expected="((H, W), [SEG, ...])", got=type(segs).__name__, hint=f"they miss: {error}"
            ) from error

    def to_tuple(self) -> tuple[tuple[int, int], list[Any]]:
        """The convention of other packs.

        There a crop that moves is one that does not; `from_tuple` finds the one that moves again.
        """
        return self.size_hw, [_record(each) for each in self.items]

    def check(self, *, compat: bool = False) -> Segs:
        """The same, if every crop lies inside the frame and every box has a size.

        Args:
            compat: A crop may end beyond the frame, as some that the original's rule scaled do.

        Raises:
            RangeError: A crop or a box that does not.
        """
        for index, each in enumerate(self.check_regions(compat=compat).items):
            if not all(side >= 1 for side in each.subject_hw):  # written so that NaN fails too
                raise RangeError(
                    f"bbox of segment {index}",
                    expected="at least 1 pixel wide and high",
                    got=str(each.bbox),
                    hint="leave such segments out with filter_segs",
                )
        return self

    def check_regions(self, *, compat: bool = False) -> Segs:
        """The same, if every crop lies inside the frame.

        Args:
            compat: As for `check`.

        Raises:
            RangeError: A crop that does not, or one whose size changes where it moves.
        """
        for index, each in enumerate(self.items):
            regions = each.follow.regions if each.follow else (each.crop_region,)
            if len({size_hw_of(region) for region in regions}) != 1:
                raise RangeError(f"crops of segment {index}", expected="of one size", hint="use track_subject")
            for region in regions:
                inside = self.cut_off(region) if compat else region
                _check_inside(inside, self.size_hw, f"crop_region of segment {index}")
        return self

    def cut_off(self, region: BBox) -> BBox:
        """What of a region does not lie beyond the frame's far edges."""
        height, width = self.size_hw
        return region[0], region[1], min(region[2], width), min(region[3], height)


def _seg(record: Any) -> Seg:
    moving = getattr(record, "moving", None)
    if isinstance(moving, Seg):
        return moving
    seg = Seg(*(getattr(record, name) for name in SEG._fields))
    return replace(seg, crop_region=as_region(seg.crop_region), bbox=as_bbox(seg.bbox))


def _record(seg: Seg) -> Any:
    still = seg.still()
    fields = (getattr(still, name) for name in SEG._fields)
    if still is seg:
        return SEG(*fields)
    record = _MovingSEG(*fields)
    record.moving = seg
    return record


def check_places(seg: Seg, frames: int) -> None:
    """Nothing, if a segment that moves does so in this many frames.

    Raises:
        ShapeError: It does in more or fewer.
    """
    if seg.places not in (1, frames):
        raise ShapeError(
            f"frames for segment {seg.label!r}, which moves",
            expected=str(seg.places),
            got=str(frames),
            hint="use the frames it was tracked in",
        )


def _check_inside(region: BBox, size_hw: tuple[int, int], name: str) -> None:
    x1, y1, x2, y2 = region
    if not (0 <= x1 < x2 <= size_hw[1] and 0 <= y1 < y2 <= size_hw[0]):
        raise RangeError(
            name,
            expected=f"inside the frame of {size_hw[0]} x {size_hw[1]} (H x W) and not empty",
            got=str(region),
            hint="give (x1, y1, x2, y2) in pixels, half-open",
        )


def as_region(values: Any) -> BBox:
    """Four whole numbers of any kind as Python's."""
    x1, y1, x2, y2 = (int(value) for value in values)
    return x1, y1, x2, y2


def as_bbox(values: Any) -> BBox:
    """Four numbers of any kind as Python's, whole where they are: a fraction says how far a crop is enlarged."""
    numbers = (float(value) for value in values)
    x1, y1, x2, y2 = (int(number) if number.is_integer() else number for number in numbers)
    return x1, y1, x2, y2  # type: ignore[return-value]


def size_hw_of(box: BBox) -> tuple[int, int]:
    """Height and width of a box."""
    return box[3] - box[1], box[2] - box[0]


def scale_segs(segs: Segs, size_hw: tuple[int, int], *, compat: bool = False) -> Segs:
    """The same segments on frames of another size.

    Edges are rounded to the nearest pixel, and no segment becomes empty.

    Args:
        segs: What to scale.
        size_hw: Height and width of the new frames.
        compat: The original's rule: the first corner by the width's factor, the second by the height's, cut off.
    """
    height, width = segs.size_hw
    if (height, width) == tuple(size_hw) or not height or not width:
        return segs
    scale = (size_hw[1] / width, size_hw[0] / height)
    return Segs((int(size_hw[0]), int(size_hw[1])), tuple(_scaled(each, scale, size_hw, compat) for each in segs))


def _scaled(seg: Seg, scale: tuple[float, float], size_hw: tuple[int, int], compat: bool) -> Seg:
    def box(values: BBox) -> BBox:
        if compat:
            x1, y1, x2, y2 = values
            factor_x, factor_y = scale
            return int(x1 * factor_x), int(y1 * factor_x), int(x2 * factor_y), int(y2 * factor_y)
        return _scaled_box(values, scale, size_hw)

    follow = seg.follow
    if follow is not None:
        sizes = [box(region) for region in follow.regions]
        height, width = size_hw_of(sizes[0])  # rounding must not make them differ
        follow = Follow(
            tuple(_moved(region, (height, width), size_hw) for region in sizes),
            (max(1, round(follow.subject_hw[0] * scale[1])), max(1, round(follow.subject_hw[1] * scale[0]))),
        )
    new = replace(seg, crop_region=box(seg.crop_region), bbox=box(seg.bbox), follow=follow)
    image, mask = seg.cropped_image, seg.cropped_mask
    if min(new.size_hw) < 1:
        return new
    if mask is not None:
        still = as_array(mask).ndim == 2
        mask = resize_masks(as_masks(mask), new.size_hw, compat=compat)
        mask = mask[0] if still else mask
    if image is not None:
        image = resize_frames(as_array(image), new.size_hw, eight_bit=compat)
    return replace(new, cropped_image=image, cropped_mask=mask)


def _scaled_box(values: BBox, scale: tuple[float, float], size_hw: tuple[int, int]) -> BBox:
    x1, x2 = _scaled_span(values[0], values[2], scale[0], size_hw[1])
    y1, y2 = _scaled_span(values[1], values[3], scale[1], size_hw[0])
    return x1, y1, x2, y2


def _scaled_span(start: int, stop: int, factor: float, limit: int) -> tuple[int, int]:
    first = min(max(round(start * factor), 0), limit - 1)
    return first, min(max(round(stop * factor), first + 1), limit)


def _moved(region: BBox, crop_hw: tuple[int, int], size_hw: tuple[int, int]) -> BBox:
    height, width = crop_hw
    x1, y1 = min(region[0], size_hw[1] - width), min(region[1], size_hw[0] - height)
    return x1, y1, x1 + width, y1 + height


def _measure(seg: Seg, by: SortKey) -> float:
    x1, y1, x2, y2 = seg.bbox
    height, width = seg.subject_hw
    measures = {"area": height * width, "width": width, "height": height, "x1": x1, "y1": y1, "x2": x2, "y2": y2}
    if by != "confidence" and by not in measures:
        raise OptionError("by", expected=f"{', '.join(measures)} or confidence", got=repr(by), hint="usual: area")
    return seg.confidence if by == "confidence" else measures[by]


def filter_segs(
    segs: Segs,
    *,
    labels: Sequence[str] | None = None,
    by: SortKey = "area",
    low: float | None = None,
    high: float | None = None,
    keep: Callable[[Seg], bool] | None = None,
) -> Segs:
    """The segments that pass: of these labels, and measured between low and high, both included.

    Args:
        segs: What to choose from.
        labels: Their labels; `eyes` also means `left_eyes` and `right_eyes`. None, or `all` among them: any.
        by: What is measured, in pixels or square pixels of the box.
        low: The least; None: any.
        high: The most; None: any.
        keep: A question of your own.

    Raises:
        OptionError: There is no such measure.
    """

    def passes(seg: Seg) -> bool:
        value = _measure(seg, by)
        named = labels is None or "all" in labels or _has_label(seg.label, labels)
        return named and (low is None or value >= low) and (high is None or value <= high) and (not keep or keep(seg))

    return replace(segs, items=tuple(each for each in segs if passes(each)))


def _has_label(label: str, labels: Sequence[str]) -> bool:
    return label in labels or label.removeprefix("left_").removeprefix("right_") in labels


def order_segs(
    segs: Segs, by: SortKey = "area", *, descending: bool = True, start: int = 0, count: int | None = None
) -> Segs:
    """The segments in order, and of those `count` from `start` on.

    Equal ones keep their order.

    Raises:
        OptionError: There is no such measure.
    """
    ordered = sorted(segs, key=lambda seg: _measure(seg, by), reverse=descending)
    return replace(segs, items=tuple(ordered[start : None if count is None else start + count]))


def dilate_segs(segs: Segs, pixels: float) -> Segs:
    """Each segment's mask grown inside its crop; below 0: shrunk.

    Args:
        segs: What to change.
        pixels: How far an edge moves.
    """
    work = mask_work.grow if pixels >= 0 else mask_work.shrink
    return _with_masks(segs, lambda _seg, masks: np.stack([work(mask, abs(pixels)) for mask in masks]))


def intersect_segs(segs: Segs, mask: AnyArray | Segs, *, subtract: bool = False) -> Segs:
    """Each segment's mask where it meets a mask too; a segment of which nothing stays is left out.

    Args:
        segs: What to change.
        mask: (H, W) or (F, H, W) float in [0, 1] over the frames, 1 = selected; or other segments.
        subtract: Take the mask away instead.

    Raises:
        ShapeError: The mask has another size, or another number of frames.
    """
    others = segs_to_masks(mask) if isinstance(mask, Segs) else as_masks(mask)
    if others.shape[1:] != tuple(segs.size_hw):
        raise ShapeError(
            "mask to intersect with", expected=f"{segs.size_hw}", got=str(others.shape[1:]), hint="resize it first"
        )

    def met(seg: Seg, masks: FloatArray) -> FloatArray:
        count = max(len(masks), len(others), seg.places)
        if len(masks) not in (1, count) or len(others) not in (1, count):
            raise ShapeError("mask frames", expected=f"1 or {len(masks)}", got=str(len(others)), hint="use as many")
        parts = [cut_masks(others[index % len(others)], seg.region_at(index)) for index in range(count)]
        how: mask_work.Combination = "subtract" if subtract else "intersect"
        return np.stack([mask_work.combine(masks[index % len(masks)], part, how) for index, part in enumerate(parts)])

    changed = _with_masks(segs, met)
    return replace(changed, items=tuple(each for each in changed if as_array(each.cropped_mask).any()))


def cut_masks(masks: AnyArray, region: BBox) -> AnyArray:
    """(..., h, w): what of masks lies in a region; a view of them."""
    x1, y1, x2, y2 = region
    part: AnyArray = masks[..., y1:y2, x1:x2]
    return part


def _with_masks(segs: Segs, change: Callable[[Seg, FloatArray], FloatArray]) -> Segs:
    def changed(seg: Seg) -> Seg:
        still = seg.cropped_mask is None or as_array(seg.cropped_mask).ndim == 2
        masks = change(seg, seg.masks())
        return replace(seg, cropped_mask=masks[0] if still and len(masks) == 1 else masks)

    return replace(segs, items=tuple(changed(each) for each in segs))


def combine_segs(first: Segs, *others: Segs) -> Segs:
    """All segments, one after the other; others' are scaled to the first's frames."""
    scaled = (scale_segs(each, first.size_hw) for each in others)
    return replace(first, items=first.items + tuple(seg for each in scaled for seg in each))


def segs_to_masks(segs: Segs, frames: int | None = None, *, compat: bool = False) -> FloatArray:
    """(F, H, W) float32: in each frame, all segments' masks together; where they meet, the larger value.

    Args:
        segs: What to draw.
        frames: How many; None: as many as the segment with the most has, at least 1.
        compat: The original's union: the bits of 8-bit values, cut off.

    Raises:
        ShapeError: A segment has another number of masks, more than 1.
        RangeError: A crop outside the frame.
    """
    masks = [seg.masks() for seg in segs.check_regions()]
    lengths = [max(len(mask), seg.places) for seg, mask in zip(segs, masks, strict=True)]
    count = max(lengths, default=1) if frames is None else frames
    unite = np.bitwise_or if compat else np.maximum
    drawn: AnyArray = np.zeros((count, *segs.size_hw), np.uint8 if compat else np.float32)
    for seg, mask, length in zip(segs, masks, lengths, strict=True):
        if length not in (1, count):
            raise ShapeError(
                f"masks of segment {seg.label!r}", expected=f"1 or {count}", got=str(length), hint="give frames"
            )
        values = (mask * 255).astype(np.uint8) if compat else mask
        for index in range(count):
            into = cut_masks(drawn[index], seg.region_at(index))
            unite(into, values[index % len(mask)], out=into)
    return to_float(drawn)


def segs_to_mask(segs: Segs) -> FloatArray:
    """(H, W) float32: all segments' masks of all frames together."""
    mask: FloatArray = segs_to_masks(segs).max(axis=0)
    return check_mask(mask)
