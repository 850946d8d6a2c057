"""What every runtime looks like from outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from ..types import AnyArray, FloatArray

__all__ = ["Engine"]


@runtime_checkable
class Engine(Protocol):
    """A network that is ready to compute. Safe to share between threads.

    Attributes:
        name: The runtime and its version.
        device: Where it computes, such as `cpu` or `cuda:0`.
        input_shape: (N, 3, H, W) of the input; None where any size goes.
    """

    name: str
    device: str
    input_shape: tuple[int | None, int | None, int | None, int | None]

    def run(self, batch: FloatArray, outputs: Sequence[int] = (0,)) -> list[AnyArray]:
        """The named outputs.

        Args:
            batch: (N, 3, H, W) float32, as the model's recipe scales it.
            outputs: Indices of the outputs wanted.

        Raises:
            EngineFailed: The runtime stopped while computing.
        """
        ...

    def close(self) -> None:
        """Give memory back. The engine must not be used afterwards."""
        ...
