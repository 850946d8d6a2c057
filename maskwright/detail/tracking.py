"""One subject followed through a film, in a crop of one size that moves smoothly with it.

A crop that holds a walking person in all frames holds mostly street. One that follows redraws the person alone, as
large as can be, and does not shake.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import RangeError
from ..types import AnyArray, BBox, FloatArray
from .producers import label_things
from .resample import as_masks
from .segs import Follow, Seg, Segs, cut_masks

__all__ = ["track_subject"]


def track_subject(
    masks: Any,
    *,
    point: tuple[float, float] | None = None,
    whole: bool = False,
    crop_factor: float = 1.5,
    smoothing: float = 4.0,
    threshold: float = 0.1,
    label: str = "A",
) -> Segs:
    """One segment whose crop follows the subject; none where nothing is selected. `detail` and `paste` move with it.

    The crop's size is that of the largest box, times the factor. Its middle is the box's, smoothed over frames, and
    interpolated where the subject is hidden; the box never leaves the crop, and the crop never leaves the frame.

    Args:
        masks: (F, H, W) float in [0, 1], 1 = selected; one mask for each frame.
        point: x, y in pixels of the first frame with anything in it: the subject is what lies nearest. None: what is
            largest there.
        whole: All that is selected in a frame is the subject; nothing is told apart.
        crop_factor: How many times as large as the subject's largest box the crop is.
        smoothing: Standard deviation of the Gaussian over the frames, in frames; 0: none.
        threshold: Above it a pixel belongs to something.
        label: The segment's label.

    Raises:
        ShapeError, RangeError: Not masks.
        RangeError: A number out of its range.
    """
    stack = as_masks(masks)
    if not (1 <= crop_factor < np.inf and 0 <= smoothing < np.inf):  # written so that NaN fails too
        raise RangeError(
            "crop_factor and smoothing", expected="1 or more, and 0 or more", got=f"{crop_factor:g}, {smoothing:g}"
        )
    size_hw = (stack.shape[1], stack.shape[2])
    boxes, kept = _followed(stack, point, whole, threshold)
    seen = [box for box in boxes if box is not None]
    if not seen:
        return Segs(size_hw)
    subject_hw = max(box[3] - box[1] for box in seen), max(box[2] - box[0] for box in seen)
    rows, columns = (
        min(limit, int(np.ceil(side * crop_factor / 8)) * 8) for side, limit in zip(subject_hw, size_hw, strict=True)
    )
    tops = _placed(boxes, 1, rows, size_hw[0], smoothing)
    lefts = _placed(boxes, 0, columns, size_hw[1], smoothing)
    regions = tuple(
        (int(left), int(top), int(left) + columns, int(top) + rows) for left, top in zip(lefts, tops, strict=True)
    )
    cropped = np.stack([cut_masks(mask, region) for mask, region in zip(kept, regions, strict=True)])
    seg = Seg(None, cropped, 1.0, _around(regions), _around(seen), label, follow=Follow(regions, subject_hw))
    return Segs(size_hw, (seg,))


def _around(boxes: Any) -> BBox:
    corners = np.array(boxes)
    x1, y1 = corners[:, :2].min(axis=0)
    x2, y2 = corners[:, 2:].max(axis=0)
    return int(x1), int(y1), int(x2), int(y2)


def _placed(boxes: list[BBox | None], axis: int, side: int, limit: int, smoothing: float) -> AnyArray:
    """Where the crop begins along one axis, in each frame."""
    frames = [index for index, box in enumerate(boxes) if box is not None]
    starts, stops = (np.array([box[place] for box in boxes if box is not None]) for place in (axis, axis + 2))
    middles = np.interp(np.arange(len(boxes)), frames, (starts + stops) / 2)
    begins = np.rint(_smoothed(middles, smoothing) - side / 2).astype(int)
    begins[frames] = np.clip(begins[frames], stops - side, starts)
    placed: AnyArray = begins.clip(0, limit - side)
    return placed


def _smoothed(path: AnyArray, sigma: float) -> AnyArray:
    """In each frame, the value there of the line that fits the frames around best, weighted by a Gaussian.

    A plain average would stop short at both ends of the film: a steady walk stays a steady walk.
    """
    from scipy.ndimage import correlate1d

    reach = min(int(4 * sigma + 0.5), len(path) - 1)
    if not reach:
        return path
    offsets = np.arange(-reach, reach + 1)
    taps = np.exp(-((offsets / sigma) ** 2) / 2)
    inside = np.ones(len(path))
    weight, first, second, values, moments = (
        correlate1d(line, taps * offsets**power, mode="constant")
        for line, power in ((inside, 0), (inside, 1), (inside, 2), (path, 0), (path, 1))
    )
    smoothed: AnyArray = (second * values - first * moments) / (weight * second - first**2)
    return smoothed


@dataclass(frozen=True)
class _Seen:
    """The subject where it was seen last.

    Attributes:
        frame: Which frame that was.
        shape: (H, W) bool, its pixels.
        middle: x, y in pixels.
        speed: x, y in pixels a frame, averaged.
        size: Its longer side in pixels.
    """

    frame: int
    shape: AnyArray
    middle: AnyArray
    speed: AnyArray
    size: int

    def then(self, frame: int, shape: AnyArray, box: BBox) -> _Seen:
        """The same subject in a later frame."""
        middle, size = _measured(box)
        speed = (self.speed + (middle - self.middle) / (frame - self.frame)) / 2
        return _Seen(frame, shape, middle, speed, size)


def _measured(box: BBox) -> tuple[AnyArray, int]:
    x1, y1, x2, y2 = box
    return np.array([x1 + x2, y1 + y2]) / 2, max(x2 - x1, y2 - y1)


def _followed(
    stack: FloatArray, point: tuple[float, float] | None, whole: bool, threshold: float
) -> tuple[list[BBox | None], FloatArray]:
    """The subject's box in each frame, None where it is hidden, and each mask without the other things."""
    kept = np.zeros_like(stack)
    boxes: list[BBox | None] = []
    seen: _Seen | None = None
    for index, mask in enumerate(stack):
        labels, slices = label_things(mask > threshold)
        things = [(columns.start, rows.start, columns.stop, rows.stop) for rows, columns in slices]
        if whole and things:
            boxes.append(_around(things))
            kept[index] = mask
            continue
        chosen = None if not things else _first(labels, point) if seen is None else _next(labels, things, seen, index)
        boxes.append(None if chosen is None else things[chosen])
        if chosen is not None:
            shape = labels == chosen + 1
            middle, size = _measured(things[chosen])
            start = _Seen(index, shape, middle, np.zeros(2), size)
            seen = start if seen is None else seen.then(index, shape, things[chosen])
            # What is faint belongs to its surroundings: only the other things are taken away.
            kept[index] = np.where((labels == 0) | shape, mask, 0)
    return boxes, kept


def _first(labels: AnyArray, point: tuple[float, float] | None) -> int:
    if point is None:
        return int(np.bincount(labels.ravel())[1:].argmax())
    rows, columns = np.nonzero(labels)
    nearest = np.hypot(columns - point[0], rows - point[1]).argmin()
    return int(labels[rows[nearest], columns[nearest]]) - 1


def _next(labels: AnyArray, things: list[BBox], seen: _Seen, frame: int) -> int | None:
    """Which thing the subject is now: in the next frame what overlaps its shape most; else what is most alike.

    Alike is what is between half and twice as large, and lies near where its speed would have brought it: within its
    longer side, for each frame it was hidden.
    """
    gap = frame - seen.frame
    overlap = np.bincount(labels[seen.shape], minlength=len(things) + 1)[1:]
    if gap == 1 and overlap.any():
        return int(overlap.argmax())
    expected = seen.middle + seen.speed * gap
    unlike = []
    for thing in things:
        middle, size = _measured(thing)
        ratio = size / seen.size
        unlike.append(float(np.hypot(*(middle - expected))) / seen.size if 0.5 <= ratio <= 2 else np.inf)
    nearest = int(np.argmin(unlike))
    return nearest if unlike[nearest] <= gap else None
