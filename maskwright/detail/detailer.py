"""Redrawing segments: crop, encode, sample, decode, and back to the crop's size.

`plan_detail` says what will be done to each segment; `iter_detail` does it, one segment after the other and some frames
at a time, so that memory grows neither with the number of segments nor with the frames being resized; `detail` gathers
the results, and `redraw` pastes each at once instead of keeping it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import DetailError, RangeError, ShapeError
from ..types import AnyArray, FloatArray
from .backend import DetailBackend, SampleJob
from .options import DetailOptions
from .pasting import paste
from .resample import (
    as_frames,
    blur_masks,
    resize_frames,
    resize_masks,
    to_float,
    to_storage,
    unite_masks,
)
from .segs import Seg, Segs, scale_segs, size_hw_of

__all__ = ["Detailed", "Progress", "SegPlan", "detail", "iter_detail", "plan_detail", "redraw"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SegPlan:
    """What will be done to one segment.

    Attributes:
        index: Which one.
        frames: How many pictures are redrawn.
        crop_hw: Height and width of the crop.
        resized_hw: Height and width it is resized to.
        encoded_hw: Height and width of the middle of it that is encoded: multiples of what the backend wants.
        seed: Of the noise.
        skipped: Why nothing is done; "" where it is redrawn.
        work: Units of progress it takes: each frame encoded, each step, each frame decoded.
    """

    index: int
    frames: int
    crop_hw: tuple[int, int]
    resized_hw: tuple[int, int]
    encoded_hw: tuple[int, int]
    seed: int
    skipped: str
    work: int


@dataclass(frozen=True, eq=False)
class Detailed:
    """One segment, redrawn.

    Attributes:
        seg: The same segment with its redrawn pictures, (F, h, w, 3 or 4), and without its ControlNets.
        plan: What was done.
        control_images: What its ControlNets were shown.
    """

    seg: Seg
    plan: SegPlan
    control_images: tuple[AnyArray, ...] = ()


def plan_detail(
    segs: Segs, frames: int, options: DetailOptions | None = None, *, multiple: int = 8
) -> tuple[SegPlan, ...]:
    """What will be done to each segment. Nothing is computed but sizes.

    Args:
        segs: On frames of the film's size.
        frames: Frames of the film.
        options: How it is redrawn; None: as usual.
        multiple: What the sides of encoded pictures are multiples of.

    Raises:
        RangeError: A crop outside the frame, or a box without a size.
        ShapeError: A crop that follows its subject over another number of frames; pictures of a segment that do not
            fit the film.
    """
    options = options or DetailOptions()
    segs.check(compat=options.compat)
    sizes = (size_hw_of(segs.cut_off(seg.region_at(0))) for seg in segs)
    return tuple(
        _plan(seg, index, size, frames, options, multiple)
        for index, (seg, size) in enumerate(zip(segs, sizes, strict=True))
    )


def _plan(
    seg: Seg, index: int, crop_hw: tuple[int, int], frames: int, options: DetailOptions, multiple: int
) -> SegPlan:
    if seg.follow and len(seg.follow.regions) != frames:
        raise ShapeError(
            f"places of segment {index}", expected=f"{frames}, one a frame", got=str(len(seg.follow.regions))
        )
    own = _own_pictures(seg, options)
    if own is not None:
        crop_hw = (own.shape[1], own.shape[2])
        frames = len(own) * frames if options.compat else _checked_count(len(own), frames, index)
    resized_hw = _resized(crop_hw, seg.subject_hw, options, multiple)
    encoded_hw = (resized_hw[0] // multiple * multiple, resized_hw[1] // multiple * multiple)
    if not min(encoded_hw):
        raise RangeError(
            f"crop of segment {index}",
            expected=f"{multiple} pixels or more a side",
            got=str(crop_hw),
            hint="compat off",
        )
    seed = (options.seed + index * options.seed_per_seg) % 2**64
    skipped = "" if frames else "there are no frames"
    if frames and not options.compat and not seg.masks().any():
        skipped = "its mask is empty"
    work = 0 if skipped else 2 * frames + options.steps
    return SegPlan(index, frames, crop_hw, resized_hw, encoded_hw, seed, skipped, work)


def _own_pictures(seg: Seg, options: DetailOptions) -> AnyArray | None:
    """The segment's own pictures, where they are what is redrawn."""
    if seg.cropped_image is None or not (options.compat or options.source == "segs"):
        return None
    return as_frames(seg.cropped_image, f"pictures of segment {seg.label!r}")


def _checked_count(own: int, frames: int, index: int) -> int:
    if own != frames:
        raise ShapeError(
            f"pictures of segment {index}", expected=f"{frames}, one a frame", got=str(own), hint="use source='frames'"
        )
    return frames


def _resized(
    crop_hw: tuple[int, int], subject_hw: tuple[int, int], options: DetailOptions, multiple: int
) -> tuple[int, int]:
    """The size a crop is redrawn at."""
    scale = options.guide_size / min(subject_hw if options.guide_size_for == "bbox" else crop_hw)
    if options.compat:
        return _resized_compat(crop_hw, scale, options.max_size)
    most = options.max_size / max(crop_hw)
    scale = max(scale, 1.0)
    scale = min(scale, most if options.allow_downscale else max(most, 1.0))
    rows, columns = (max(1, round(side * scale / multiple)) for side in crop_hw)
    if scale <= most:  # rounding to whole cells must not go past it
        rows, columns = (min(cells, max(1, int(options.max_size / multiple))) for cells in (rows, columns))
    return rows * multiple, columns * multiple


def _resized_compat(crop_hw: tuple[int, int], scale: float, max_size: float) -> tuple[int, int]:
    """The original's size: cut off instead of rounded, of any parity, and never smaller than the crop."""
    height, width = crop_hw
    rows, columns = int(height * scale), int(width * scale)
    if max(rows, columns) > max_size:
        scale *= max_size / max(rows, columns)
        rows, columns = int(height * scale), int(width * scale)
    return crop_hw if scale <= 1 or not rows or not columns else (rows, columns)


def detail(
    frames: Any,
    segs: Any,
    backend: DetailBackend,
    options: DetailOptions | None = None,
    *,
    progress: Progress | None = None,
) -> Segs:
    """The segments, each with its pictures redrawn; `paste` puts them into the frames.

    Args:
        frames: (F, H, W, 3 or 4) float in [0, 1] or uint8, RGB or RGBA; NumPy or torch.
        segs: What to redraw: `Segs`, or the tuple of other packs. Scaled to the frames where they were made on others.
        backend: What redraws.
        options: How; None: as usual.
        progress: Told the units of work done and those there are, between frames and steps. It raises to interrupt.

    Raises:
        InputError: Frames, segments or masks of wrong shape or range.
        DetailError: The backend gave back something of another shape.
    """
    frames = as_frames(frames)
    done = iter_detail(frames, segs, backend, options, progress=progress)
    return Segs((frames.shape[1], frames.shape[2]), tuple(each.seg for each in done))


def _ignore(_done: Detailed) -> None:
    """What is done with a segment that nobody asked for."""


def redraw(
    frames: Any,
    segs: Any,
    backend: DetailBackend,
    options: DetailOptions | None = None,
    *,
    feather: int = 5,
    alpha: int = 255,
    progress: Progress | None = None,
    seen: Callable[[Detailed], None] = _ignore,
) -> AnyArray:
    """The frames with every segment redrawn and pasted, each before the next one is cropped.

    Only one segment's pictures are held at a time.

    Args:
        frames: As for `detail`; they are copied.
        segs: As for `detail`.
        backend: What redraws.
        options: How; None: as usual.
        feather: As for `paste`.
        alpha: As for `paste`.
        progress: As for `detail`.
        seen: Shown each segment once it is pasted; what it keeps, stays in memory.

    Raises:
        InputError, DetailError: As for `detail`.
    """
    out = np.array(as_frames(frames))
    for each in iter_detail(out, segs, backend, options, progress=progress):
        if not each.plan.skipped:
            paste(out, Segs((out.shape[1], out.shape[2]), (each.seg,)), feather=feather, alpha=alpha, out=out)
        seen(each)
        del each  # or its pictures would stay until the next ones are done
    return out


def iter_detail(
    frames: Any,
    segs: Any,
    backend: DetailBackend,
    options: DetailOptions | None = None,
    *,
    progress: Progress | None = None,
) -> Iterator[Detailed]:
    """Each segment as it is redrawn, with what its ControlNets were shown.

    The frames are read when a segment's turn comes: what was changed in them until then is seen.

    Args:
        frames: As for `detail`.
        segs: As for `detail`.
        backend: As for `detail`.
        options: As for `detail`.
        progress: As for `detail`.

    Raises:
        InputError, DetailError: As for `detail`.
    """
    options = options or DetailOptions()
    frames = as_frames(frames)
    placed = scale_segs(Segs.from_tuple(segs), frames.shape[1:3], compat=options.compat)
    plans = plan_detail(placed, len(frames), options, multiple=backend.multiple)
    total, done = sum(plan.work for plan in plans), 0
    for seg, plan in zip(placed, plans, strict=True):
        work = _Work(frames, seg, plan, backend, options, _counter(progress, done, total))
        yield work.run()
        done += plan.work


def _counter(progress: Progress | None, before: int, total: int) -> Callable[[int], None]:
    def report(units: int) -> None:
        if progress is not None:
            progress(before + units, total)

    return report


@dataclass(frozen=True, eq=False)
class _Work:
    """One segment's way through the backend."""

    frames: AnyArray
    seg: Seg
    plan: SegPlan
    backend: DetailBackend
    options: DetailOptions
    report: Callable[[int], None]

    def run(self) -> Detailed:
        plan, count = self.plan, self.plan.frames
        if plan.skipped:
            pictures = self._stored(self._pictures(slice(0, count)))
            return Detailed(self._with(pictures), plan)
        job = self._job(self._encoded())
        sampled = self.backend.sample(job)
        if sampled.latents.shape != job.latents.shape:
            raise DetailError(
                "sampled latents", expected=f"of shape {job.latents.shape}", got=str(sampled.latents.shape)
            )
        return Detailed(self._with(self._decoded(sampled.latents)), plan, tuple(sampled.control_images))

    def _chunks(self) -> Iterator[slice]:
        for start in range(0, self.plan.frames, self.options.chunk):
            yield slice(start, min(start + self.options.chunk, self.plan.frames))

    def _pictures(self, chunk: slice) -> AnyArray:
        """The crops of some frames, as they are."""
        own = _own_pictures(self.seg, self.options)
        if own is not None:
            pictures: AnyArray = own[np.arange(chunk.start, chunk.stop) % len(own)]
            return pictures
        if self.seg.follow is None:
            x1, y1, x2, y2 = self.seg.crop_region
            crops: AnyArray = self.frames[chunk, y1:y2, x1:x2]
            return crops
        regions = self.seg.follow.regions[chunk]
        parts = [self.frames[chunk.start + index, r[1] : r[3], r[0] : r[2]] for index, r in enumerate(regions)]
        return np.stack(parts) if parts else self.frames[:0, : self.seg.size_hw[0], : self.seg.size_hw[1]]

    def _enlarged(self, chunk: slice) -> FloatArray:
        """Some frames' crops in colour, at the size they are redrawn at."""
        colours = to_float(self._pictures(chunk)[..., :3])
        if not np.isfinite(colours).all():
            raise RangeError("frames", expected="finite", got="NaN or infinity", hint="numpy.nan_to_num replaces them")
        if not self.options.compat:
            colours = colours.clip(0, 1)
        return resize_frames(colours, self.plan.resized_hw, eight_bit=self.options.compat)

    def _encoded(self) -> FloatArray:
        latents: FloatArray | None = None
        for chunk in self._chunks():
            cut = _middle(self._enlarged(chunk), self.plan.encoded_hw)
            part = np.asarray(self.backend.encode(cut), np.float32)
            if part.ndim != 4 or len(part) != chunk.stop - chunk.start:
                raise DetailError("encoded latents", expected="(n, C, h, w), one a frame", got=str(part.shape))
            if latents is None:
                latents = np.empty((self.plan.frames, *part.shape[1:]), np.float32)
            latents[chunk] = part
            self.report(chunk.stop)
        if latents is None:
            raise DetailError("frames to encode", expected="1 or more", got="0")
        return latents

    def _job(self, latents: FloatArray) -> SampleJob:
        seg, plan, options = self.seg, self.plan, self.options
        noise_mask, control_mask = self._masks()
        control = seg.control_net_wrapper
        every = slice(0, plan.frames)
        shown = None
        if control is not None:
            shown = to_float(self._pictures(every)[..., :3]) if options.compat else self._enlarged(every)
        return SampleJob(
            latents=latents,
            mask=noise_mask,
            seed=plan.seed,
            options=options,
            crop_region=seg.crop_region,
            frame_hw=(self.frames.shape[1], self.frames.shape[2]),
            crop_hw=plan.crop_hw,
            control=control,
            control_frames=shown,
            control_mask=None if control is None else control_mask,
            regions=seg.follow.regions if seg.follow else None,
            on_step=lambda step: self.report(plan.frames + step),
        )

    def _masks(self) -> tuple[FloatArray, FloatArray]:
        """Where noise goes, at the size that is redrawn and at the crop's own."""
        masks, reach = self.seg.masks(), self.options.noise_mask_feather
        count, size_hw = self.plan.frames, self.plan.resized_hw
        if self.options.compat:
            soft = blur_masks(masks, reach, compat=True)
            return unite_masks(resize_masks(soft, size_hw, compat=True), count, compat=True), soft
        hard = unite_masks(masks, count)
        if not reach:
            return resize_masks(hard, size_hw), hard
        soft = blur_masks(hard, reach, sigma=max(reach / 3, 0.5))
        peaks = hard.max(axis=(1, 2), keepdims=True)  # small subjects reach them too, so that no step is lost
        return _to_peaks(resize_masks(soft, size_hw), peaks), _to_peaks(soft, peaks)

    def _decoded(self, latents: FloatArray) -> AnyArray:
        plan = self.plan
        out = np.empty((plan.frames, *plan.crop_hw, 3), self.options.storage)
        for chunk in self._chunks():
            pictures = np.asarray(self.backend.decode(latents[chunk]), np.float32)
            if pictures.shape != (chunk.stop - chunk.start, *plan.encoded_hw, 3):
                expected = f"of shape {(chunk.stop - chunk.start, *plan.encoded_hw, 3)}"
                raise DetailError("decoded pictures", expected=expected, got=str(pictures.shape))
            resized = resize_frames(pictures.clip(0, 1), plan.crop_hw, eight_bit=self.options.compat)
            out[chunk] = to_storage(resized, self.options.storage)
            self.report(plan.frames + self.options.steps + chunk.stop)
        return self._with_alpha(out)

    def _with_alpha(self, pictures: AnyArray) -> AnyArray:
        """The pictures with the frames' own opacity, where they have one."""
        if self.options.compat or self.frames.shape[3] == 3 or _own_pictures(self.seg, self.options) is not None:
            return pictures
        alpha = self._stored(self._pictures(slice(0, self.plan.frames))[..., 3:])
        return np.concatenate([pictures, alpha], axis=3)

    def _stored(self, pictures: AnyArray) -> AnyArray:
        return np.array(to_storage(to_float(pictures), self.options.storage))

    def _with(self, pictures: AnyArray) -> Seg:
        return replace(self.seg, cropped_image=pictures, control_net_wrapper=None)


def _to_peaks(masks: FloatArray, peaks: FloatArray) -> FloatArray:
    tops = masks.max(axis=(1, 2), keepdims=True)
    scaled: FloatArray = masks / np.where(tops > 0, tops, np.float32(1)) * peaks
    return scaled


def _middle(images: FloatArray, size_hw: tuple[int, int]) -> FloatArray:
    """The middle of (n, H, W, C) pictures."""
    top, left = (images.shape[1] - size_hw[0]) // 2, (images.shape[2] - size_hw[1]) // 2
    return images[:, top : top + size_hw[0], left : left + size_hw[1]]
