"""The networks as plain PyTorch modules, under the parameter names of their published checkpoints.

This folder needs PyTorch and imports nothing else; no network here opens a file. Each returns a tuple whose first
entry is what a segmenter uses, and says in its docstring whether that is a probability or a logit.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from .anime_unet import AnimeUNet
from .isnet import ISNet
from .modnet import MODNet
from .parts import PartsNet
from .trace import fold_norms
from .u2net import U2NET, U2NETP

__all__ = ["NETWORKS", "U2NET", "U2NETP", "AnimeUNet", "ISNet", "MODNet", "PartsNet", "build_network", "fold_norms"]

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "isnet": ISNet,
    "isnet_base": lambda: ISNet(sides=1),
    "u2net": U2NET,
    "u2netp": U2NETP,
    "u2net_cloth": lambda: U2NET(classes=4),
    "anime_unet": AnimeUNet,
    "modnet": MODNet,
    "maskwright_parts": PartsNet,
}


def build_network(name: str) -> nn.Module:
    """A network in evaluation mode with random weights. No file is touched.

    Args:
        name: One of `NETWORKS`: `isnet`; `isnet_base`, the same with side 1 only; `u2net`; `u2netp`; `u2net_cloth`,
            u2net with 4 classes; `anime_unet`; `modnet`; `maskwright_parts`.

    Raises:
        ValueError: No such network.
    """
    if name not in NETWORKS:
        raise ValueError(f"network must be one of {', '.join(NETWORKS)}, got {name!r}")
    return NETWORKS[name]().eval()
