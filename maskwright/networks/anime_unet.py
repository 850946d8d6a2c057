"""The U-Net for parts of anime faces."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .blocks import make_conv_norm

__all__ = ["AnimeUNet"]


def _conv_norm(inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(*make_conv_norm(inputs, outputs, kernel, stride=stride, groups=groups), nn.ReLU6(inplace=True))


class _InvertedResidual(nn.Module):
    """MobileNetV2's block: widen, filter each channel, narrow."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, expand: int = 6) -> None:
        super().__init__()
        wide = inputs * expand
        widen = [_conv_norm(inputs, wide, 1)] if expand > 1 else []
        self.conv = nn.Sequential(
            *widen, _conv_norm(wide, wide, 3, stride=stride, groups=wide), *make_conv_norm(wide, outputs, 1)
        )
        self._residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv(x)
        return x + result if self._residual else result


def _encode(inputs: int, *blocks: tuple[int, int]) -> nn.Sequential:
    """Blocks by their (output channels, stride)."""
    made = []
    for outputs, stride in blocks:
        made.append(_InvertedResidual(inputs, outputs, stride))
        inputs = outputs
    return nn.Sequential(*made)


def _decode(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.UpsamplingNearest2d(scale_factor=2),
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.InstanceNorm2d(outputs),
        nn.LeakyReLU(0.1, inplace=True),
        nn.Dropout(0.2),
    )


class AnimeUNet(nn.Module):
    """A U-Net over MobileNetV2 for seven parts of anime faces.

    The first and only output is the probability of each class, (N, 7, H, W), which sum to 1: background, hair, eye,
    mouth, face, skin, clothes.

    Reference:
        https://github.com/siyeong0/Anime-Face-Segmentation
    """

    def __init__(self) -> None:
        super().__init__()
        self.en_block0 = nn.Sequential(_conv_norm(3, 32, 3, stride=2), _InvertedResidual(32, 16, expand=1))
        self.en_block1 = _encode(16, (24, 2), (24, 1))
        self.en_block2 = _encode(24, (32, 2), (32, 1), (32, 1))
        self.en_block3 = _encode(32, (64, 2), (64, 1), (64, 1), (64, 1), (96, 1), (96, 1), (96, 1))
        self.en_block4 = _encode(96, (160, 2), (160, 1), (160, 1))
        self.de_block4 = _decode(160, 96)
        self.de_block3 = _decode(192, 32)
        self.de_block2 = _decode(64, 24)
        self.de_block1 = _decode(48, 16)
        self.de_block0 = nn.Sequential(
            nn.UpsamplingNearest2d(scale_factor=2), nn.Conv2d(32, 7, 3, padding=1), nn.Softmax(1)
        )

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Probabilities of the seven classes.

        Args:
            x: (N, 3, H, W) in [0, 1]; height and width multiples of 32.
        """
        half = self.en_block0(x)
        quarter = self.en_block1(half)
        eighth = self.en_block2(quarter)
        sixteenth = self.en_block3(eighth)
        x = self.de_block4(self.en_block4(sixteenth))
        x = self.de_block3(torch.cat((x, sixteenth), 1))
        x = self.de_block2(torch.cat((x, eighth), 1))
        x = self.de_block1(torch.cat((x, quarter), 1))
        return (self.de_block0(torch.cat((x, half), 1)),)  # (N, 7, H, W)
