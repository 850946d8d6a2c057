"""Cutting films for jobs, where PyAV is installed."""

from __future__ import annotations

from pathlib import Path

from ..cutout_options import CutoutOptions
from ..errors import EngineUnavailable, TooManyPixels
from ..segmenters import Segmenter
from ..video import VideoReader, cut_video
from ..video.library import load_av
from .job_api import FilmCutter
from .jobs import Progress

__all__ = ["make_film_cutter"]


def make_film_cutter(max_pixels: int) -> FilmCutter | None:
    """What cuts films; None where PyAV is not installed.

    Args:
        max_pixels: The largest frame that is decoded.
    """
    try:
        load_av()
    except EngineUnavailable:
        return None

    def cut(source: Path, target: Path, model: Segmenter, options: CutoutOptions, progress: Progress) -> None:
        with VideoReader(source) as reader:
            height, width = reader.info.size_hw
        if height * width > max_pixels:
            raise TooManyPixels(
                "a frame", expected=f"at most {max_pixels} pixels", got=f"{width}×{height}", hint="send a smaller film"
            )
        cut_video(source, target, model=model, options=options, progress=progress)

    return cut
