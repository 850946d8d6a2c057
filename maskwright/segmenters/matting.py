"""Direct alpha: networks that were trained to give opacity itself."""

from __future__ import annotations

from .saliency import SaliencySegmenter

__all__ = ["MattingSegmenter"]


class MattingSegmenter(SaliencySegmenter):
    """A model whose one map is opacity, used as its recipe says; matting on top of it is seldom needed."""
