"""Segments from what others found: masks, boxes, label maps, and segmenters' results.

A pixel counts as selected from 1/255 on. What hangs together, corners included, is one segment; what lies in a hole of
another belongs to that one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import RangeError, ShapeError
from ..types import AnyArray, BBox, FloatArray, SegmentResult
from .resample import as_array, as_masks
from .segs import Seg, Segs, cut_masks

__all__ = [
    "label_things",
    "make_crop_region",
    "segs_from_boxes",
    "segs_from_film",
    "segs_from_labels",
    "segs_from_masks",
    "segs_from_results",
]

_LEVEL = 1 / 255


def make_crop_region(size_hw: tuple[int, int], bbox: BBox, factor: float, min_size: int = 0) -> BBox:
    """The region around a box: `factor` times its size, moved into the frame where it would reach beyond.

    >>> make_crop_region((96, 128), (30, 20, 60, 40), 1.5)
    (22, 15, 67, 45)

    Args:
        size_hw: Height and width of the frame.
        bbox: (x1, y1, x2, y2) in pixels, half-open.
        factor: 1: the box itself.
        min_size: Sides are at least this many pixels.

    Raises:
        RangeError: The factor is below 1, or no number.
    """
    if not 1 <= factor < math.inf:  # written so that NaN fails too
        raise RangeError("crop_factor", expected="1 or more", got=f"{factor:g}", hint="usual: 3")
    x1, x2 = _span(bbox[0], bbox[2], size_hw[1], factor, min_size)
    y1, y2 = _span(bbox[1], bbox[3], size_hw[0], factor, min_size)
    return x1, y1, x2, y2


def _span(start: int, stop: int, limit: int, factor: float, min_size: int) -> tuple[int, int]:
    size = max((stop - start) * factor, min_size)
    first = int(start + (stop - start) / 2 - size / 2)
    if first < 0:
        return 0, int(min(limit, size))
    if first + size > limit:
        return int(max(0, limit - size)), limit
    return first, int(min(limit, first + size))


def segs_from_masks(
    masks: Any,
    *,
    combined: bool = False,
    crop_factor: float = 3.0,
    bbox_fill: bool = False,
    drop_size: int = 10,
    contour_fill: bool = False,
    label: str = "A",
    compat: bool = False,
) -> Segs:
    """A segment for each thing in each mask.

    Args:
        masks: (H, W) or (n, H, W) float in [0, 1], 1 = selected.
        combined: All that is selected in a mask is one segment.
        crop_factor: How many times as large as its box a crop is.
        bbox_fill: Select the whole box.
        drop_size: Things not larger than this many pixels in both axes are left out.
        contour_fill: Fill the outline; without it holes and gray values stay.
        label: Their label.
        compat: The original's order, from the bottom up; and its boxes of combined masks, which are a pixel short, are
            never left out, and are filled at another place.

    Raises:
        ShapeError, RangeError: Not masks.
    """
    stack = as_masks(masks)
    size_hw = (stack.shape[1], stack.shape[2])
    items = []
    for mask in stack:
        for bbox, thing in _combined(mask) if combined else _things(mask, reverse=compat):
            if combined and compat:
                items.append(_combined_compat(mask, bbox, crop_factor, bbox_fill, label))
                continue
            if min(bbox[2] - bbox[0], bbox[3] - bbox[1]) <= drop_size:
                continue
            shown = thing.astype(np.float32) if contour_fill and not combined else mask * thing
            region = make_crop_region(size_hw, bbox, crop_factor)
            cropped = np.array(cut_masks(shown, region))
            if bbox_fill:
                cut_masks(cropped, _within(bbox, region))[...] = 1
            items.append(Seg(None, cropped, 1.0, region, bbox, label))
    return Segs(size_hw, tuple(each for each in items if min(each.size_hw) > 0))


def _combined(mask: FloatArray) -> Iterator[tuple[BBox, AnyArray]]:
    selected = mask > 0
    rows, columns = np.flatnonzero(selected.any(axis=1)), np.flatnonzero(selected.any(axis=0))
    if rows.size:
        box = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
        yield box, np.ones_like(selected)


def _combined_compat(mask: FloatArray, bbox: BBox, crop_factor: float, bbox_fill: bool, label: str) -> Seg:
    short = (bbox[0], bbox[1], bbox[2] - 1, bbox[3] - 1)
    region = make_crop_region((mask.shape[0], mask.shape[1]), short, crop_factor)
    cropped = np.array(cut_masks(mask, region))
    if bbox_fill:
        cut_masks(cropped, short)[...] = 1
    return Seg(None, cropped, 1.0, region, short, label)


def _things(mask: FloatArray, *, reverse: bool = False) -> Iterator[tuple[BBox, AnyArray]]:
    """The box of each thing, and its outline filled."""
    labels, slices = label_things(mask >= _LEVEL)
    order = list(enumerate(slices, start=1))
    for index, (rows, columns) in reversed(order) if reverse else order:
        yield (columns.start, rows.start, columns.stop, rows.stop), labels == index


def label_things(selected: AnyArray) -> tuple[AnyArray, list[Any]]:
    """A label for each pixel, 0 = nothing, and the (rows, columns) slices of each label; holes are filled.

    Args:
        selected: (H, W) bool.
    """
    from scipy.ndimage import binary_fill_holes, find_objects, label

    labels, _ = label(binary_fill_holes(selected), np.ones((3, 3), bool))
    return labels, find_objects(labels)


def _within(bbox: BBox, region: BBox) -> BBox:
    x1, y1 = region[:2]
    return bbox[0] - x1, bbox[1] - y1, bbox[2] - x1, bbox[3] - y1


def segs_from_film(
    masks: Any,
    *,
    combined: bool = False,
    crop_factor: float = 3.0,
    drop_size: int = 10,
    label: str = "A",
    compat: bool = False,
) -> Segs:
    """A segment for each thing in a film, in a crop that holds it in all frames; its masks change from frame to frame.

    Things that touch in any frame are one. What moves far is better followed: `track_subject`.

    Args:
        masks: (F, H, W) float in [0, 1], 1 = selected; one mask for each frame.
        combined: All that is selected is one segment.
        crop_factor: How many times as large as its box a crop is.
        drop_size: Things not larger than this many pixels in both axes are left out.
        label: Their label.
        compat: As in the original, a segment's masks hold all that is selected in its crop, neighbours included; and
            what `segs_from_masks` says.

    Raises:
        ShapeError, RangeError: Not masks.
    """
    stack = as_masks(masks)
    found = segs_from_masks(
        stack.max(axis=0),
        combined=combined,
        crop_factor=crop_factor,
        drop_size=drop_size,
        contour_fill=len(stack) > 1,
        label=label,
        compat=compat,
    )
    if len(stack) == 1:
        return found

    def filmed(seg: Seg) -> Seg:
        own = np.ones_like(seg.cropped_mask) if combined or compat else seg.cropped_mask
        return Seg(None, cut_masks(stack, seg.crop_region) * own, 1.0, seg.crop_region, seg.bbox, label)

    return Segs(found.size_hw, tuple(filmed(each) for each in found))


def segs_from_boxes(
    boxes: Any,
    size_hw: tuple[int, int],
    *,
    masks: Any = None,
    scores: Sequence[float] | None = None,
    labels: Sequence[str] | None = None,
    crop_factor: float = 3.0,
) -> Segs:
    """A segment for each box.

    Args:
        boxes: (n, 4) x1, y1, x2, y2 in pixels, half-open; cut off at the frame.
        size_hw: Height and width of the frame.
        masks: (n, H, W) float in [0, 1] over the frame; None: each box is its own mask.
        scores: The confidence of each; None: 1.
        labels: The label of each; None: `A`.
        crop_factor: How many times as large as its box a crop is.

    Raises:
        ShapeError: As many masks, scores or labels as there are not boxes, masks of another size than the frame's, or
            boxes of other than four numbers.
        RangeError: A box outside the frame or without a size.
    """
    corners = as_array(boxes)
    corners = corners.reshape(0, 4) if not corners.size else corners
    if corners.ndim != 2 or corners.shape[1] != 4:
        raise ShapeError("boxes", expected="(n, 4)", got=str(corners.shape), hint="x1, y1, x2, y2 of each")
    for name, given in (("masks", masks), ("scores", scores), ("labels", labels)):
        if given is not None and len(given) != len(corners):
            raise ShapeError(name, expected=f"{len(corners)}, one a box", got=str(len(given)))
    drawn = None if masks is None or not len(corners) else as_masks(masks)
    if drawn is not None and drawn.shape[1:] != tuple(size_hw):
        raise ShapeError("masks", expected=f"of the frame's size {size_hw}", got=str(drawn.shape[1:]))
    items = []
    for index, corner in enumerate(corners):
        bbox = _inside(corner, size_hw, index)
        region = make_crop_region(size_hw, bbox, crop_factor)
        if drawn is not None:
            cropped = np.array(cut_masks(drawn[index], region))
        else:
            cropped = np.zeros((region[3] - region[1], region[2] - region[0]), np.float32)
            cut_masks(cropped, _within(bbox, region))[...] = 1
        score = 1.0 if scores is None else float(scores[index])
        items.append(Seg(None, cropped, score, region, bbox, "A" if labels is None else labels[index]))
    return Segs(size_hw, tuple(items))


def _inside(corner: AnyArray, size_hw: tuple[int, int], index: int) -> BBox:
    height, width = size_hw
    x1, y1, x2, y2 = np.rint(np.clip(corner.astype(float), 0, (width, height, width, height)))
    if not (x1 < x2 and y1 < y2):  # written so that NaN fails too
        raise RangeError(
            f"box {index}", expected=f"inside {height} x {width} (H x W) and not empty", got=str(corner.tolist())
        )
    return int(x1), int(y1), int(x2), int(y2)


def segs_from_labels(
    labels: Any, names: Sequence[str] = (), *, background: int | None = 0, crop_factor: float = 3.0, drop_size: int = 10
) -> Segs:
    """A segment for each thing of each class in a label map, or in a film of them.

    Args:
        labels: (H, W) or (F, H, W) integer, the class of each pixel.
        names: The name of each class; without one it is its number.
        background: The class that is left out; None: none.
        crop_factor: How many times as large as its box a crop is.
        drop_size: Things not larger than this many pixels in both axes are left out.

    Raises:
        ShapeError: Other axes.
        RangeError: Not integers.
    """
    classes = as_array(labels)
    if classes.ndim not in (2, 3) or not classes.size:
        raise ShapeError("labels", expected="(H, W) or (F, H, W)", got=str(classes.shape), hint="take the winner first")
    if classes.dtype.kind not in "iu":
        raise RangeError("labels", expected="integers", got=str(classes.dtype), hint="take the winner first")
    items: list[Seg] = []
    for index in np.unique(classes):
        if index == background:
            continue
        name = names[index] if 0 <= index < len(names) else str(index)
        chosen = (classes == index).astype(np.float32)
        items += segs_from_film(
            chosen if chosen.ndim == 3 else chosen[None], crop_factor=crop_factor, drop_size=drop_size, label=name
        )
    return Segs((classes.shape[-2], classes.shape[-1]), tuple(items))


def segs_from_results(
    results: SegmentResult | Sequence[SegmentResult],
    *,
    parts: Sequence[str] | None = None,
    threshold: float = 0.5,
    crop_factor: float = 3.0,
    drop_size: int = 10,
) -> Segs:
    """Segments of what a segmenter found in the frames of a film, one result a frame.

    Args:
        results: One result, or one for each frame.
        parts: Which parts, such as `face`; None: the mask.
        threshold: Below it a pixel is not selected, so that faint traces do not join things; above, it keeps its value.
        crop_factor: How many times as large as its box a crop is.
        drop_size: Things not larger than this many pixels in both axes are left out.

    Raises:
        ShapeError: There is no result, or they have different sizes.
        RangeError: A result does not know a part.
    """
    each = [results] if isinstance(results, SegmentResult) else list(results)
    if not each or len({result.size_hw for result in each}) > 1:
        raise ShapeError("results", expected="one a frame, all of one size", got=str([r.size_hw for r in each]))
    items: list[Seg] = []
    for part in parts if parts is not None else (None,):
        stack = np.stack([_part_mask(result, part) for result in each])
        stack[stack < threshold] = 0
        label = part or "A"
        items += segs_from_film(stack, crop_factor=crop_factor, drop_size=drop_size, label=label)
    return Segs(each[0].size_hw, tuple(items))


def _part_mask(result: SegmentResult, part: str | None) -> FloatArray:
    if part is None:
        return result.mask
    if part not in result.masks:
        raise RangeError("part", expected=f"one of {', '.join(result.masks) or 'none'}", got=repr(part))
    return result.masks[part]
