"""Clips: read, cut out frame by frame, and written, with exact times and their sound."""

from __future__ import annotations

from .codecs import CODECS
from .cutting import VideoReport, cut_video
from .options import VideoOptions
from .plan import VideoPlan, plan_video
from .reader import ClipInfo, Frame, VideoReader
from .steps import RecurrentSegmenter

__all__ = [
    "CODECS",
    "ClipInfo",
    "Frame",
    "RecurrentSegmenter",
    "VideoOptions",
    "VideoPlan",
    "VideoReader",
    "VideoReport",
    "cut_video",
    "plan_video",
]
