"""IS-Net."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .blocks import NestedU

__all__ = ["ISNet"]

_ENCODER = ((32, 64), (32, 128), (64, 256), (128, 512), (256, 512), (256, 512))
_DECODER = ((256, 512), (128, 256), (64, 128), (32, 64), (16, 64))


class ISNet(NestedU):
    """IS-Net, as trained for DIS, on anime (isnetis) and for RMBG 1.4.

    The first output is the probability of the foreground, (N, 1, H, W) in [0, 1]; the sigmoid is part of the network
    here, also where a repository applies it afterwards. The coarser sides follow, at the same size.

    Args:
        sides: 6, or 1 for checkpoints that have kept the finest side only.

    Reference:
        Qin et al., Highly Accurate Dichotomous Image Segmentation, 2022.
    """

    def __init__(self, sides: int = 6) -> None:
        super().__init__(64, _ENCODER, _DECODER, sides=sides)
        self.conv_in = nn.Conv2d(3, 64, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Probabilities of each side, the finest first.

        Args:
            x: (N, 3, H, W), scaled by the model's recipe; any height and width.
        """
        sides = self.read_sides(self.conv_in(x))
        return tuple(torch.sigmoid(self.resize(side, x)) for side in sides)  # (N, 1, H, W) each
