"""The networks that a weights file may be of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ModelError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["build_bare", "relatives"]


def relatives(network: str | None) -> list[str]:
    """The networks that a file may hold where this one is asked for; None: all.

    IS-Net with its finest side alone gives the same first output, and is published under the same names.

    Raises:
        ModelError: There is no such network.
    """
    from ..networks import NETWORKS

    found = [
        name for name in NETWORKS if network is None or name.removesuffix("_base") == network.removesuffix("_base")
    ]
    if not found:
        raise ModelError("network", expected=f"one of {', '.join(NETWORKS)}", got=repr(network))
    return found


def build_bare(name: str) -> nn.Module:
    """A network in evaluation mode whose weights are not there yet: they take no memory and no time."""
    import torch

    from ..networks import build_network

    with torch.inference_mode(False), torch.device("meta"):
        return build_network(name)
