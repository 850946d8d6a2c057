"""How probable each class is at each pixel, brought to the picture's size only when it is asked for.

A map is made each time it is read, so that K large ones never stand in memory unless a caller keeps them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ..decisions import exceeds, largest
from ..geometry import Placement, crop_to_box, resize_map
from ..models.card import Kernel
from ..tiles import Patch
from ..types import AnyArray, FloatArray

__all__ = ["NetworkProbabilities", "PatchedProbabilities", "Probabilities"]


class Probabilities(Mapping[str, FloatArray]):
    """Label to probability, (H, W) float32 in [0, 1]; a new array each time.

    Args:
        labels: The names, in the order of the classes.
        size_hw: Height and width of the picture in pixels.
    """

    def __init__(self, labels: Sequence[str], size_hw: tuple[int, int]) -> None:
        self.labels = tuple(labels)
        self.size_hw = size_hw

    @abstractmethod
    def __getitem__(self, label: str) -> FloatArray: ...

    def __iter__(self) -> Iterator[str]:
        return iter(self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __contains__(self, label: object) -> bool:
        return label in self.labels  # without making a map

    def above(self, label: str, level: float) -> AnyArray:
        """(H, W) bool: where a class is more probable than this.

        Args:
            label: Which class.
            level: In [0, 1]; a pixel of exactly this value is not above it.
        """
        selected: AnyArray = self[label] > np.float32(level)
        return selected

    def winners(self) -> AnyArray:
        """(H, W) uint8: the index of the most probable class, the first of equals."""
        return _winners(map(self.__getitem__, self.labels), self.size_hw)


class NetworkProbabilities(Probabilities):
    """A network's small maps, as probabilities of the picture's pixels.

    Args:
        labels: Name of each map.
        maps: (K, h, w) float32 over the network's input.
        placement: Where the picture lay in the input.
        kernel: The kernel that brings them to the picture's size.
    """

    def __init__(self, labels: Sequence[str], maps: AnyArray, placement: Placement, kernel: Kernel) -> None:
        super().__init__(labels, placement.image_hw)
        self._maps = np.ascontiguousarray(crop_to_box(maps, placement), dtype=np.float32)
        self._kernel = kernel

    def _map_of(self, label: str) -> FloatArray:
        if label not in self.labels:
            raise KeyError(label)
        plane: FloatArray = self._maps[self.labels.index(label)]
        return plane

    def __getitem__(self, label: str) -> FloatArray:
        plane = resize_map(self._map_of(label), self.size_hw, self._kernel)
        return np.clip(plane, 0, 1, out=plane)  # in place: at 50 megapixels a copy weighs 200 MB

    def above(self, label: str, level: float) -> AnyArray:
        """As of any probabilities, without making the large map where that can be."""
        decided = exceeds(self._map_of(label), self.size_hw, level) if self._kernel == "bilinear" else None
        return super().above(label, level) if decided is None else decided

    def winners(self) -> AnyArray:
        """As of any probabilities, without making the large maps where that can be.

        Maps are brought to the picture's size before they are compared: no ghost outlines of other classes.
        """
        decided = largest(self._maps, self.size_hw) if self._kernel == "bilinear" else None
        if decided is not None:
            return decided
        return _winners((resize_map(plane, self.size_hw, self._kernel) for plane in self._maps), self.size_hw)


class PatchedProbabilities(Probabilities):
    """Probabilities of a picture, and of parts of it that were looked at by themselves.

    Args:
        whole: Those of the picture; None: where no patch lies, every class has probability 0.
        size_hw: Height and width of the picture in pixels.
        patches: Each patch, and the probabilities of its pixels. The weights of all add up to 1 at most.
        share: (H, W) float32 in [0, 1]: how much the patches count at all; None: as their weights say.
    """

    def __init__(
        self,
        whole: Probabilities | None,
        size_hw: tuple[int, int],
        patches: Sequence[tuple[Patch, Probabilities]],
        share: FloatArray | None = None,
    ) -> None:
        super().__init__((whole or patches[0][1]).labels if whole or patches else (), size_hw)
        self._whole = whole
        self._patches = patches
        self._share = share

    def __getitem__(self, label: str) -> FloatArray:
        if label not in self.labels:
            raise KeyError(label)
        before = np.zeros(self.size_hw, np.float32) if self._whole is None else self._whole[label]
        plane = np.array(before)
        for patch, found in self._patches:
            x1, y1, x2, y2 = patch.bbox
            box = (slice(y1, y2), slice(x1, x2))
            weight = patch.weight if self._share is None else patch.weight * self._share[box]
            plane[box] += weight * (found[label] - before[box])
        return np.clip(plane, 0, 1, out=plane)


def _winners(planes: Iterator[FloatArray], size_hw: tuple[int, int]) -> AnyArray:
    best = np.full(size_hw, -np.inf, np.float32)
    labels = np.zeros(size_hw, np.uint8)
    for index, plane in enumerate(planes):
        np.copyto(labels, index, where=plane > best)
        np.maximum(best, plane, out=best)
    return labels
