"""MODNet."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .blocks import make_conv_norm

__all__ = ["MODNet"]

# MobileNetV2: expansion, output channels, how many blocks, stride of the first.
_BACKBONE = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def _scale(x: Tensor, factor: float) -> Tensor:
    return nn.functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


class _InvertedResidual(nn.Module):
    """MobileNetV2's block, its layers in one flat row."""

    def __init__(self, inputs: int, outputs: int, stride: int, expand: int) -> None:
        super().__init__()
        wide = inputs * expand
        widen = [*make_conv_norm(inputs, wide, 1), nn.ReLU6(inplace=True)] if expand > 1 else []
        self.conv = nn.Sequential(
            *widen,
            *make_conv_norm(wide, wide, 3, stride=stride, groups=wide),
            nn.ReLU6(inplace=True),
            *make_conv_norm(wide, outputs, 1),
        )
        self._residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv(x)
        return x + result if self._residual else result


class _MobileNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        blocks: list[nn.Module] = [nn.Sequential(*make_conv_norm(3, 32, 3, stride=2), nn.ReLU6(inplace=True))]
        channels = 32
        for expand, outputs, count, stride in _BACKBONE:
            for number in range(count):
                blocks.append(_InvertedResidual(channels, outputs, stride if number == 0 else 1, expand))
                channels = outputs
        blocks.append(nn.Sequential(*make_conv_norm(channels, 1280, 1), nn.ReLU6(inplace=True)))
        self.features = nn.Sequential(*blocks)


class _Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = _MobileNet()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """16 channels at 1/2, 24 at 1/4, 1280 at 1/32."""
        features = self.model.features
        half = features[:2](x)
        quarter = features[2:4](half)
        return half, quarter, features[4:](quarter)


class _HalfNorm(nn.Module):
    """The first half of the channels normalised over the data seen in training, the others over the picture."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bnorm = nn.BatchNorm2d(channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        half = self.bnorm.num_features
        return torch.cat((self.bnorm(x[:, :half]), nn.functional.instance_norm(x[:, half:])), 1)


class _Conv(nn.Module):
    """Convolution; with `norm` also `_HalfNorm` and ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, norm: bool = True) -> None:
        super().__init__()
        conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2)
        after = [_HalfNorm(outputs), nn.ReLU(inplace=True)] if norm else []
        self.layers = nn.Sequential(conv, *after)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layers(x)
        return result


class _Squeeze(nn.Module):
    """Channels weighted by what the whole picture shows."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(1280, 320, bias=False), nn.ReLU(inplace=True), nn.Linear(320, 1280, bias=False), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        weights: Tensor = self.fc(x.mean((2, 3)))  # (N, 1280)
        return x * weights[:, :, None, None]


class _LowBranch(nn.Module):
    """What is a person at all: semantics at low resolution."""

    def __init__(self, backbone: _Backbone) -> None:
        super().__init__()
        self.backbone = backbone  # also MODNet's own; published checkpoints hold it twice
        self.se_block = _Squeeze()
        self.conv_lr16x = _Conv(1280, 96, 5)
        self.conv_lr8x = _Conv(96, 32, 5)
        self.conv_lr = _Conv(32, 1, 3, 2, norm=False)  # a head for training

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        half, quarter, deep = self.backbone(x)
        deep = self.conv_lr16x(_scale(self.se_block(deep), 2))
        return half, quarter, self.conv_lr8x(_scale(deep, 2))


class _HighBranch(nn.Module):
    """Where the edge runs: detail at high resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.tohr_enc2x = _Conv(16, 32, 1)
        self.conv_enc2x = _Conv(35, 32, 3, 2)
        self.tohr_enc4x = _Conv(24, 32, 1)
        self.conv_enc4x = _Conv(64, 64, 3)
        self.conv_hr4x = nn.Sequential(_Conv(99, 64, 3), _Conv(64, 64, 3), _Conv(64, 32, 3))
        self.conv_hr2x = nn.Sequential(_Conv(64, 64, 3), _Conv(64, 32, 3), _Conv(32, 32, 3), _Conv(32, 32, 3))
        self.conv_hr = nn.Sequential(_Conv(35, 32, 3), _Conv(32, 1, 1, norm=False))  # a head for training

    def forward(self, x: Tensor, half: Tensor, quarter: Tensor, low: Tensor) -> Tensor:
        half = self.tohr_enc2x(half)
        detail = self.conv_enc2x(torch.cat((_scale(x, 0.5), half), 1))
        detail = self.conv_enc4x(torch.cat((detail, self.tohr_enc4x(quarter)), 1))
        detail = self.conv_hr4x(torch.cat((detail, _scale(low, 2), _scale(x, 0.25)), 1))
        result: Tensor = self.conv_hr2x(torch.cat((_scale(detail, 2), half), 1))
        return result


class _FusionBranch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv_lr4x = _Conv(32, 32, 5)
        self.conv_f2x = _Conv(64, 32, 3)
        self.conv_f = nn.Sequential(_Conv(35, 16, 3), _Conv(16, 1, 1, norm=False))

    def forward(self, x: Tensor, low: Tensor, detail: Tensor) -> Tensor:
        low = self.conv_lr4x(_scale(low, 2))
        fused = self.conv_f2x(torch.cat((_scale(low, 2), detail), 1))
        logits: Tensor = self.conv_f(torch.cat((_scale(fused, 2), x), 1))
        return logits


class MODNet(nn.Module):
    """MODNet, portrait matting without a trimap.

    The first and only output is opacity, (N, 1, H, W) in [0, 1]; the sigmoid is part of the network.

    Reference:
        Ke et al., MODNet: Real-Time Trimap-Free Portrait Matting via Objective Decomposition, 2022.
    """

    def __init__(self) -> None:
        super().__init__()
        self.backbone = _Backbone()
        self.lr_branch = _LowBranch(self.backbone)
        self.hr_branch = _HighBranch()
        self.f_branch = _FusionBranch()

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Opacity.

        Args:
            x: (N, 3, H, W) in [-1, 1]; height and width multiples of 32.
        """
        half, quarter, low = self.lr_branch(x)
        detail = self.hr_branch(x, half, quarter, low)
        return (torch.sigmoid(self.f_branch(x, low, detail)),)
