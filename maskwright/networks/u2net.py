"""U-2-Net, large and small."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .blocks import NestedU

__all__ = ["U2NET", "U2NETP"]

_ENCODER = ((32, 64), (32, 128), (64, 256), (128, 512), (256, 512), (256, 512))
_DECODER = ((256, 512), (128, 256), (64, 128), (32, 64), (16, 64))


class U2NET(NestedU):
    """U-2-Net.

    With one class the first output is the probability of what stands out, (N, 1, H, W) in [0, 1]. With more it is
    logits, (N, classes, H, W), because the recipe of such a model takes the softmax after resizing. The six sides
    that were fused into it follow, at the same size.

    Args:
        classes: 1, or 4 for clothes.
        encoder: (middle, output) channels of stage 1 to 6.
        decoder: (middle, output) channels of stage 5d to 1d.

    Reference:
        Qin et al., U2-Net: Going Deeper with Nested U-Structure for Salient Object Detection, 2020.
    """

    def __init__(
        self,
        classes: int = 1,
        encoder: Sequence[tuple[int, int]] = _ENCODER,
        decoder: Sequence[tuple[int, int]] = _DECODER,
    ) -> None:
        super().__init__(3, encoder, decoder, classes)
        self.outconv = nn.Conv2d(6 * classes, classes, 1)
        self._squash = torch.sigmoid if classes == 1 else nn.Identity()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The fused map and its six sides, the finest first.

        Args:
            x: (N, 3, H, W), scaled by the model's recipe; any height and width.
        """
        finest, *coarser = self.read_sides(x)
        sides = [finest, *(self.resize(side, finest) for side in coarser)]  # (N, classes, H, W) each
        return tuple(self._squash(logits) for logits in (self.outconv(torch.cat(sides, 1)), *sides))


class U2NETP(U2NET):
    """The small U-2-Net: the same wiring, 16 channels inside each stage and 64 between them."""

    def __init__(self) -> None:
        super().__init__(encoder=((16, 64),) * 6, decoder=((16, 64),) * 5)
