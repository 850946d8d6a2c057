"""PartsNet: a small network that names the parts of a person at every pixel.

Encoder: the first 13 blocks of EfficientNet-Lite0 (stride 32), whose published ImageNet weights it can start from.
Decoder: a feature pyramid of depthwise-separable convolutions down to stride 2, and a bilinear step to full size.
Any input size works whose sides are multiples of 32.

Reference:
    Tan, Le: EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks (2019), and the Lite variants
    published with it; Lin et al.: Feature Pyramid Networks for Object Detection (2017).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["PartsNet"]

# Per block: expansion, kernel, stride, output channels.
_BLOCKS = (
    (1, 3, 1, 16),
    (6, 3, 2, 24),
    (6, 3, 1, 24),
    (6, 5, 2, 40),
    (6, 5, 1, 40),
    (6, 3, 2, 80),
    (6, 3, 1, 80),
    (6, 3, 1, 80),
    (6, 5, 1, 112),
    (6, 5, 1, 112),
    (6, 5, 1, 112),
    (6, 5, 2, 192),
    (6, 5, 1, 192),
)
_STEM_CHANNELS = 32
_TAPS = (0, 2, 4, 10, 12)  # the last block at stride 2, 4, 8, 16, 32
_WIDTHS = (16, 32, 64, 96, 128)  # the decoder's channels at these strides


class PartsNet(nn.Module):
    """The parts of a person: one map per class, of the size of the picture."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.encoder = _Encoder()
        taps = [_BLOCKS[tap][3] for tap in _TAPS]
        self.context = _Context(taps[-1], _WIDTHS[-1])
        self.merges = nn.ModuleList(
            _Merge(skip, deep, width) for skip, deep, width in zip(taps[:-1], _WIDTHS[1:], _WIDTHS[:-1], strict=True)
        )
        self.head = nn.Conv2d(_WIDTHS[0], classes, 3, padding=1)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """One map of logits per class, (N, classes, H, W), alone in a tuple; softmax gives probabilities.

        Args:
            images: (N, 3, H, W) float RGB in [-1, 1]; the sides are multiples of 32.
        """
        *skips, deepest = self.encoder(images)
        features = self.context(deepest)
        for merge, skip in zip(reversed(self.merges), reversed(skips), strict=True):
            features = merge(features, skip)
        return (_doubled(self.head(features)),)


class _Encoder(nn.Module):
    """The start of EfficientNet-Lite0. Its state dict has the published one's order, not its names."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _convolution(3, _STEM_CHANNELS, 3, stride=2)
        blocks, channels = [], _STEM_CHANNELS
        for expansion, kernel, stride, width in _BLOCKS:
            blocks.append(_InvertedResidual(channels, expansion, kernel, stride, width))
            channels = width
        self.blocks = nn.ModuleList(blocks)

    def forward(self, images: Tensor) -> list[Tensor]:
        features = self.stem(images)
        tapped = []
        for index, block in enumerate(self.blocks):
            features = block(features)
            if index in _TAPS:
                tapped.append(features)
        return tapped


class _InvertedResidual(nn.Module):
    """Expand, filter each channel, project; added to the input where the shapes agree."""

    def __init__(self, channels: int, expansion: int, kernel: int, stride: int, width: int) -> None:
        super().__init__()
        wide = channels * expansion
        expand = [_convolution(channels, wide, 1)] if expansion > 1 else []
        filtering = _convolution(wide, wide, kernel, stride=stride, groups=wide)
        project = nn.Sequential(nn.Conv2d(wide, width, 1, bias=False), _norm(width))
        self.layers = nn.Sequential(*expand, filtering, project)
        self.residual = stride == 1 and channels == width

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.layers(features)
        return features + out if self.residual else out


class _Context(nn.Module):
    """The deepest features, weighed channel by channel with what the whole picture shows."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.local = _convolution(channels, width, 1)
        self.gate = nn.Conv2d(channels, width, 1)
        self.smooth = _separable(width, width)

    def forward(self, features: Tensor) -> Tensor:
        whole = features.mean((2, 3), keepdim=True)  # (N, C, 1, 1)
        out: Tensor = self.smooth(self.local(features) * torch.sigmoid(self.gate(whole)))
        return out


class _Merge(nn.Module):
    """Deep features at twice their size plus the encoder's at that size."""

    def __init__(self, skip: int, deep: int, width: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(deep, width, 1, bias=False)
        self.lateral = nn.Sequential(nn.Conv2d(skip, width, 1, bias=False), _norm(width))
        self.smooth = _separable(width, width)

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        out: Tensor = self.smooth(_doubled(self.narrow(deep)) + self.lateral(skip))
        return out


def _doubled(features: Tensor) -> Tensor:
    return functional.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)


def _separable(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(_convolution(channels, channels, 3, groups=channels), _convolution(channels, width, 1))


def _convolution(channels: int, width: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, normalization and ReLU6, padded as the published weights were trained.

    At stride 2 one pixel less stands before the picture than behind it.
    """
    before = (kernel - stride) // 2
    padding = (before, kernel - stride - before) * 2
    pad = [] if stride == 1 else [nn.ZeroPad2d(padding)]
    convolution = nn.Conv2d(
        channels, width, kernel, stride, padding=kernel // 2 if stride == 1 else 0, groups=groups, bias=False
    )
    return nn.Sequential(*pad, convolution, _norm(width), nn.ReLU6(inplace=True))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
