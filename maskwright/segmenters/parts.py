"""K class maps: what each pixel belongs to."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from ..errors import EngineFailed
from ..geometry import Placement, unplace
from ..types import AnyArray, FloatArray, SegmentResult
from .base import Segmenter

__all__ = ["PartsSegmenter"]


class PartsSegmenter(Segmenter):
    """A model that tells several classes apart.

    Attributes:
        soft: Whether results carry the probability of every label instead of hard masks of the parts.
    """

    soft = False

    def finish(self, output: AnyArray, placement: Placement) -> SegmentResult:
        """The winning class of each pixel, a mask for each part, and their union.

        Args:
            output: (K, h, w) float32, one map per label of the card.
            placement: Where the picture lay in the input.

        Raises:
            EngineFailed: Another number of maps.
        """
        names = self.card.labels
        if len(output) != len(names):
            raise EngineFailed(
                f"output of {self.card.name}",
                expected=f"{len(names)} class maps",
                got=str(len(output)),
                hint="these weights are not of this model's family",
            )
        if self.soft:
            return self._finish_soft(output, placement)
        make_labels = self._labels_as_original if self.post.labels_resized else self._labels
        labels = make_labels(output, placement)
        masks = {part: (labels == names.index(part)).astype(np.float32) for part in self.card.parts}
        return SegmentResult(
            mask=np.maximum.reduce(list(masks.values())),
            masks=masks,
            labels=labels,
            label_names=names,
            provenance=self.provenance,
        )

    def _finish_soft(self, output: AnyArray, placement: Placement) -> SegmentResult:
        """The probability of every label; the mask is that of any of the parts."""
        names = self.card.labels
        planes = [np.clip(plane, 0, 1, out=plane) for plane in self._planes(output, placement)]
        masks = dict(zip(names, planes, strict=True))
        return SegmentResult(
            mask=np.clip(sum(masks[part] for part in self.card.parts), 0, 1),
            masks=masks,
            labels=np.argmax(planes, axis=0).astype(np.uint8),
            label_names=names,
            provenance=self.provenance,
        )

    def _labels(self, output: AnyArray, placement: Placement) -> AnyArray:
        """Probabilities brought to the picture's size, then the winner: no ghost outlines of other classes."""
        best = np.full(placement.image_hw, -np.inf, np.float32)
        labels = np.zeros(placement.image_hw, np.uint8)
        for index, plane in enumerate(self._planes(output, placement)):
            labels[plane > best] = index
            np.maximum(best, plane, out=best)
        return labels

    def _planes(self, output: AnyArray, placement: Placement) -> Iterator[FloatArray]:
        """Each class's probability at the picture's size, one at a time: K large maps at once would cost memory."""
        if self.post.activation == "softmax":
            raised = np.exp(output - output.max(axis=0))
            output = raised / raised.sum(axis=0)
        for plane in output:
            yield unplace(np.ascontiguousarray(plane, dtype=np.float32), placement, self.post.kernel)

    def _labels_as_original(self, output: AnyArray, placement: Placement) -> AnyArray:
        """The winner first, then Lanczos on its index: what rembg does, ghosts and all."""
        picture = Image.fromarray(output.argmax(axis=0).astype(np.uint8))
        resized: AnyArray = np.asarray(picture.resize(placement.image_hw[::-1], Image.Resampling.LANCZOS))
        return resized
