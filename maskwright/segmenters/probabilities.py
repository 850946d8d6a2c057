"""How probable each class is at each pixel, brought to the picture's size only when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ..decisions import exceeds, largest
from ..geometry import Placement, crop_to_box, resize_map
from ..models.card import Kernel
from ..types import AnyArray, FloatArray

__all__ = ["Probabilities"]


class Probabilities(Mapping[str, FloatArray]):
    """Label to probability, (H, W) float32 in [0, 1].

    It holds the network's small maps. A large one is made each time it is read, so that K of them never stand in
    memory unless a caller keeps them.

    Args:
        labels: Name of each map.
        maps: (K, h, w) float32 over the network's input.
        placement: Where the picture lay in the input.
        kernel: The kernel that brings them to the picture's size.
    """

    def __init__(self, labels: tuple[str, ...], maps: AnyArray, placement: Placement, kernel: Kernel) -> None:
        self._index = {label: index for index, label in enumerate(labels)}
        self._maps = np.ascontiguousarray(crop_to_box(maps, placement), dtype=np.float32)
        self._kernel = kernel
        self.size_hw = placement.image_hw

    def __getitem__(self, label: str) -> FloatArray:
        plane = resize_map(self._maps[self._index[label]], self.size_hw, self._kernel)
        return np.clip(plane, 0, 1, out=plane)  # in place: at 50 megapixels a copy weighs 200 MB

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def above(self, label: str, level: float) -> AnyArray:
        """(H, W) bool: where a class is more probable than this.

        Args:
            label: Which class.
            level: In [0, 1]; a pixel of exactly this value is not above it.
        """
        plane = self._maps[self._index[label]]
        decided = exceeds(plane, self.size_hw, level) if self._kernel == "bilinear" else None
        return self[label] > np.float32(level) if decided is None else decided

    def winners(self) -> AnyArray:
        """(H, W) uint8: the index of the most probable class, the first of equals.

        Probabilities are brought to the picture's size before they are compared: no ghost outlines of other classes.
        """
        decided = largest(self._maps, self.size_hw) if self._kernel == "bilinear" else None
        if decided is not None:
            return decided
        best = np.full(self.size_hw, -np.inf, np.float32)
        labels = np.zeros(self.size_hw, np.uint8)
        for index, small in enumerate(self._maps):
            plane = resize_map(small, self.size_hw, self._kernel)
            np.copyto(labels, index, where=plane > best)
            np.maximum(best, plane, out=best)
        return labels
