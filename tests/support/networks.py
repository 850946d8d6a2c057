"""Networks with random weights of the published shapes, saved as their publishers save them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

__all__ = ["PREFIXES", "make_batch", "write_checkpoint"]

# What stands before every parameter's name in the published checkpoint.
PREFIXES = {"modnet": "module.", "isnet": "net."}


def write_checkpoint(path: Path, network: str, *, prefix: str | None = None) -> Path:
    """A checkpoint of a network with random weights; equal calls write equal weights.

    Norms get the statistics of what they meet: else values fade out layer by layer, into numbers so small that
    processors are slow with them.

    Args:
        path: Where to write.
        network: A name `build_network` knows.
        prefix: What to put before every name; None: what the publisher puts there.
    """
    import torch

    from maskwright.networks import build_network

    torch.manual_seed(7)
    built = build_network(network)
    for part in built.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.train().momentum = 1.0
    with torch.no_grad():
        built(torch.rand(1, 3, 256, 256))
    start = PREFIXES.get(network, "") if prefix is None else prefix
    state = {f"{start}{name}": value for name, value in built.state_dict().items()}
    torch.save(state, path)
    return path


def make_batch(count: int, side: int, seed: int = 0) -> np.ndarray:
    """(count, 3, side, side) float32, as a recipe would scale it."""
    return np.random.default_rng(seed).standard_normal((count, 3, side, side)).astype(np.float32)
