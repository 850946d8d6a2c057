"""One soft map: what stands out."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ..geometry import Placement, unplace
from ..models.card import Kernel, Postprocess
from ..types import AnyArray, FloatArray, SegmentResult
from .base import Segmenter, activate
from .probabilities import NetworkProbabilities, Probabilities

__all__ = ["SILHOUETTE_LABELS", "SaliencySegmenter", "finish_map"]

SILHOUETTE_LABELS = ("background", "person")


class SaliencySegmenter(Segmenter):
    """A model whose output is one map of how much each pixel belongs to the subject."""

    def find_probabilities(self, image: AnyArray) -> Probabilities:
        """How probable it is that a pixel is background or subject, called person here.

        Args:
            image: (H, W, 3) uint8 RGB.

        Raises:
            ShapeError: Another array.
            EngineFailed: The network stopped.
        """
        prepared = self.prepare(image)
        prediction, placement = self.compute([prepared])[0][0], prepared.placement
        if self.post.quantized or self.post.resized_first:
            prediction = finish_map(self, prediction, placement)
            placement = Placement(placement.image_hw, placement.image_hw, placement.image_hw)
        else:
            prediction = _squash(prediction, self.post)
        maps = np.stack([1 - prediction, prediction])
        return NetworkProbabilities(SILHOUETTE_LABELS, maps, placement, self.post.kernel)

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
    if post.resized_first:
        prediction = unplace(np.asarray(activate(prediction, post.activation), np.float32), placement, post.kernel)
        placement = Placement(placement.image_hw, placement.image_hw, placement.image_hw)
        prediction = _stretch(prediction) if post.min_max else prediction
    else:
        prediction = _squash(prediction, post)
    if post.quantized:
        return _resize_quantized(prediction, placement, post.kernel)
    mask = unplace(np.asarray(prediction, np.float32), placement, post.kernel)
    return np.clip(mask, 0, 1, out=mask)  # in place: at 50 megapixels a copy weighs 200 MB


def _squash(prediction: AnyArray, post: Postprocess) -> AnyArray:
    """The network's answer as the map it stands for, in its own size."""
    prediction = activate(prediction, post.activation)
    return _stretch(prediction) if post.min_max else prediction


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
