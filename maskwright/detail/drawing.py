"""Segments drawn on the frames they lie in: which there are, where, and what they are called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..types import BBox, FloatArray
from .resample import as_frames, to_float, unite_masks
from .segs import Seg, Segs, check_places, scale_segs

__all__ = ["draw_segs"]

# Okabe and Ito's colours, which people who see few colours can tell apart as well.
_COLORS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))
_LINES = 400  # a line is as thick as the picture's shorter side divided by this
_TEXTS = 40  # and letters as high as by this
_LEAST_TEXT = 10  # pixels


def draw_segs(frames: Any, segs: Any, *, opacity: float = 0.4, names: bool = True) -> Iterator[FloatArray]:
    """Each frame, (H, W, 3) float32 in [0, 1], with every segment's mask, box and crop in a colour of its own.

    The box is drawn thick, the crop thin. Segments are scaled to the frames. One frame is made at a time.

    Args:
        frames: (F, H, W, 3 or 4) float in [0, 1] or uint8; NumPy or torch.
        segs: `Segs`, or the tuple of other packs.
        opacity: Of the masks, 0 to 1.
        names: Write each segment's number, label and confidence at its box.

    Raises:
        ShapeError: A segment moves in another number of frames.
    """
    given = as_frames(frames)
    scaled = scale_segs(Segs.from_tuple(segs), given.shape[1:3])
    for seg in scaled:
        check_places(seg, len(given))
    masks = [unite_masks(seg.masks(), len(given)) for seg in scaled]
    for index, frame in enumerate(given):
        colors = to_float(frame[..., :3]).copy()
        for number, seg in enumerate(scaled):
            x1, y1, x2, y2 = seg.region_at(index)
            under = colors[y1:y2, x1:x2]
            share = masks[number][index % len(masks[number])][..., None] * np.float32(opacity)
            under += share * (np.array(_color(number), np.float32) / 255 - under)
        yield _with_boxes(colors, scaled, index, names)


def _color(number: int) -> tuple[int, int, int]:
    return _COLORS[number % len(_COLORS)]


def _with_boxes(colors: FloatArray, segs: Segs, frame: int, names: bool) -> FloatArray:
    shorter = min(colors.shape[:2])
    thick = max(1, round(shorter / _LINES))
    picture = Image.fromarray(np.rint(colors.clip(0, 1) * 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(max(_LEAST_TEXT, shorter / _TEXTS))
    for number, seg in enumerate(segs):
        color, region = _color(number), seg.region_at(frame)
        draw.rectangle(_last_pixels(region), outline=color, width=thick)
        if seg.follow is None:  # one that moves has no box of its own in each frame
            draw.rectangle(_last_pixels(seg.bbox), outline=color, width=2 * thick)
        if names:
            _write(draw, _name(number, seg), region if seg.follow else seg.bbox, color, font)
    drawn: FloatArray = np.asarray(picture, np.float32) / np.float32(255)
    return drawn


def _last_pixels(box: BBox) -> BBox:
    """Pillow's box includes its last pixels."""
    return box[0], box[1], max(box[0], box[2] - 1), max(box[1], box[3] - 1)


def _name(number: int, seg: Seg) -> str:
    return f"{number + 1} {seg.label} {seg.confidence:.2f}"


def _write(draw: Any, text: str, box: BBox, color: tuple[int, int, int], font: Any) -> None:
    """A plate with the text above the box, or in it where there is no room above."""
    left, top, right, bottom = draw.textbbox((0, 0), text, font)
    x, y = box[0], box[1] - (bottom + top)
    y = box[1] if y < 0 else y
    draw.rectangle((x, y, x + right + left, y + bottom + top), fill=color)
    draw.text((x, y), text, "black", font)
