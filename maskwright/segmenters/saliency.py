"""One soft map: what stands out."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ..geometry import Placement, unplace
from ..models.card import Kernel
from ..types import AnyArray, FloatArray, SegmentResult
from .base import Segmenter, activate

__all__ = ["SaliencySegmenter", "finish_map"]


class SaliencySegmenter(Segmenter):
    """A model whose output is one map of how much each pixel belongs to the subject."""

    def finish(self, output: AnyArray, placement: Placement) -> SegmentResult:
        """The map at the picture's size.

        Args:
            output: (C, h, w) float32; the first channel is the map.
            placement: Where the picture lay in the input.
        """
        return SegmentResult(mask=finish_map(self, output[0], placement), provenance=self.provenance)


def finish_map(segmenter: Segmenter, prediction: AnyArray, placement: Placement) -> FloatArray:
    """A network's map as a mask, by the segmenter's recipe.

    Args:
        segmenter: Whose recipe to follow.
        prediction: (h, w) float32.
        placement: Where the picture lay in the input.
    """
    post = segmenter.post
    prediction = activate(prediction, post.activation)
    if post.resized_first:
        prediction = unplace(np.asarray(prediction, np.float32), placement, post.kernel)
        placement = Placement(placement.image_hw, placement.image_hw, placement.image_hw)
    if post.min_max:
        prediction = _stretch(prediction)
    if post.quantized:
        return _resize_quantized(prediction, placement, post.kernel)
    mask = unplace(np.asarray(prediction, np.float32), placement, post.kernel)
    return np.clip(mask, 0, 1, out=mask)  # in place: at 50 megapixels a copy weighs 200 MB


def _stretch(prediction: AnyArray) -> AnyArray:
    """The map stretched to [0, 1]; a flat one holds no subject and becomes 0."""
    low, high = prediction.min(), prediction.max()
    if high == low:
        return np.zeros_like(prediction)
    stretched: AnyArray = (prediction - low) / (high - low)
    return stretched


def _resize_quantized(prediction: AnyArray, placement: Placement, kernel: Kernel) -> FloatArray:
    """The originals' way: cut to 8 bits, then Pillow's resize on those; exactly k / 255 comes out."""
    method = {"lanczos": Image.Resampling.LANCZOS}.get(kernel, Image.Resampling.BILINEAR)
    picture = Image.fromarray((prediction * 255).astype(np.uint8))
    resized = np.asarray(picture.resize(placement.image_hw[::-1], method))
    scaled: FloatArray = resized.astype(np.float32) / np.float32(255)
    return scaled
