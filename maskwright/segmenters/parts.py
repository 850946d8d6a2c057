"""K class maps: what each pixel belongs to."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ..errors import EngineFailed
from ..geometry import Placement
from ..types import AnyArray, SegmentResult
from .base import Segmenter, activate
from .probabilities import NetworkProbabilities

__all__ = ["PartsSegmenter"]

_TOLERANCE = 1e-3  # by which the probabilities of a pixel may miss 1


class PartsSegmenter(Segmenter):
    """A model that tells several classes apart."""

    def find_probabilities(self, image: AnyArray) -> NetworkProbabilities:
        """How probable each label is, and nothing else: for those who want few of the maps.

        Args:
            image: (H, W, 3) uint8 RGB.

        Raises:
            ShapeError: Another array.
            EngineFailed: The network stopped, or gave another number of maps.
        """
        prepared = self.prepare(image)
        return self._read(self.compute([prepared])[0], prepared.placement)

    def finish(self, output: AnyArray, placement: Placement) -> SegmentResult:
        """The winning class of each pixel, a mask for each part, and their union.

        Args:
            output: (K, h, w) float32, one map per label of the card.
            placement: Where the picture lay in the input.

        Raises:
            EngineFailed: Another number of maps.
        """
        names = self.card.labels
        probabilities = self._read(output, placement)
        labels = _labels_as_original(output, placement) if self.post.labels_resized else probabilities.winners()
        masks = {part: (labels == names.index(part)).astype(np.float32) for part in self.card.parts}
        return SegmentResult(
            mask=np.maximum.reduce(list(masks.values())),
            masks=masks,
            labels=labels,
            label_names=names,
            probabilities=probabilities,
            provenance=self.provenance,
        )

    def _read(self, output: AnyArray, placement: Placement) -> NetworkProbabilities:
        names = self.card.labels
        if len(output) != len(names):
            raise EngineFailed(
                f"output of {self.card.name}",
                expected=f"{len(names)} class maps",
                got=str(len(output)),
                hint="these weights are not of this model's family",
            )
        maps = activate(output, self.post.activation)
        if self.recipe.from_file and self.post.activation == "none" and _are_logits(maps):
            maps = activate(output, "softmax")
        return NetworkProbabilities(names, maps, placement, self.post.kernel)


def _are_logits(maps: AnyArray) -> bool:
    """Whether the classes of some pixel do not add up to 1."""
    return bool(np.abs(maps.sum(axis=0) - 1).max() > _TOLERANCE)


def _labels_as_original(output: AnyArray, placement: Placement) -> AnyArray:
    """The winner first, then Lanczos on its index: what rembg does, ghosts and all."""
    picture = Image.fromarray(output.argmax(axis=0).astype(np.uint8))
    resized: AnyArray = np.asarray(picture.resize(placement.image_hw[::-1], Image.Resampling.LANCZOS))
    return resized
