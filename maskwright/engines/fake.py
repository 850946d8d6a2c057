"""An engine without a network, so that tests and trials need neither weights nor a runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..types import AnyArray, FloatArray

__all__ = ["FakeEngine"]


def _brightness(batch: FloatArray) -> list[AnyArray]:
    """The mean of the channels, squashed to (0, 1): bright is selected."""
    return [1 / (1 + np.exp(-batch.mean(axis=1, keepdims=True)))]  # (N, 1, H, W)


class FakeEngine:
    """An engine that applies a function.

    >>> import numpy as np
    >>> FakeEngine().run(np.zeros((1, 3, 4, 4), np.float32))[0].shape
    (1, 1, 4, 4)

    Args:
        function: (N, 3, H, W) float32 to a list of outputs. By default one map, (N, 1, H, W): how bright a pixel is.
        input_shape: What the network would accept; None for any.
    """

    def __init__(
        self,
        function: Callable[[FloatArray], list[AnyArray]] = _brightness,
        input_shape: tuple[int | None, int | None, int | None, int | None] = (None, 3, None, None),
    ) -> None:
        self.name = "fake"
        self.device = "cpu"
        self.input_shape = input_shape
        self.calls: list[tuple[int, ...]] = []
        self._function = function

    def run(self, batch: FloatArray, outputs: Sequence[int] = (0,)) -> list[AnyArray]:
        """The named outputs of the function; the batch's shape is noted in `calls`."""
        self.calls.append(batch.shape)
        results = self._function(batch)
        return [results[index] for index in outputs]

    def close(self) -> None:
        """Nothing to give back."""
