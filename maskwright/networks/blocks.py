"""What several networks are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

__all__ = ["NestedU", "make_conv_norm", "resize_like"]

# How deep the U of each stage is; 0 stands for one that dilates instead of shrinking.
_ENCODER_DEPTHS = (7, 6, 5, 4, 0, 0)
_DECODER_DEPTHS = (0, 4, 5, 6, 7)

_Resize: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def resize_like(x: Tensor, like: Tensor) -> Tensor:
    """`x` at the height and width of `like`, bilinear."""
    return nn.functional.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)


def _pool(x: Tensor) -> Tensor:
    return nn.functional.max_pool2d(x, 2, stride=2, ceil_mode=True)


class _Conv(nn.Module):
    """Convolution 3×3 that keeps the size, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv_s1 = nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation)
        self.bn_s1 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(self.bn_s1(self.conv_s1(x)), inplace=True)


class _ResidualU(nn.Module):
    """A small U-Net that is added to its own input (RSU-4 to RSU-7)."""

    resize: _Resize = staticmethod(resize_like)

    def __init__(self, depth: int, inputs: int, middle: int, outputs: int) -> None:
        super().__init__()
        self._depth = depth
        self.rebnconvin = _Conv(inputs, outputs)
        for level in range(1, depth):
            self.add_module(f"rebnconv{level}", _Conv(outputs if level == 1 else middle, middle))
        self.add_module(f"rebnconv{depth}", _Conv(middle, middle, dilation=2))
        for level in range(depth - 1, 0, -1):
            self.add_module(f"rebnconv{level}d", _Conv(2 * middle, outputs if level == 1 else middle))

    def forward(self, x: Tensor) -> Tensor:
        start: Tensor = self.rebnconvin(x)
        deepest = self._depth - 1
        x, skips = start, []
        for level in range(1, self._depth):
            x = self.get_submodule(f"rebnconv{level}")(x)
            skips.append(x)
            if level < deepest:
                x = _pool(x)
        x = self.get_submodule(f"rebnconv{self._depth}")(x)
        for level in range(deepest, 0, -1):
            skip = skips.pop()
            if level < deepest:
                x = self.resize(x, skip)
            x = self.get_submodule(f"rebnconv{level}d")(torch.cat((x, skip), 1))
        return x + start


class _DilatedU(nn.Module):
    """The same at one size: it sees farther by dilation (RSU-4F)."""

    def __init__(self, inputs: int, middle: int, outputs: int) -> None:
        super().__init__()
        self.rebnconvin = _Conv(inputs, outputs)
        self.rebnconv1 = _Conv(outputs, middle)
        self.rebnconv2 = _Conv(middle, middle, dilation=2)
        self.rebnconv3 = _Conv(middle, middle, dilation=4)
        self.rebnconv4 = _Conv(middle, middle, dilation=8)
        self.rebnconv3d = _Conv(2 * middle, middle, dilation=4)
        self.rebnconv2d = _Conv(2 * middle, middle, dilation=2)
        self.rebnconv1d = _Conv(2 * middle, outputs)

    def forward(self, x: Tensor) -> Tensor:
        start: Tensor = self.rebnconvin(x)
        first = self.rebnconv1(start)
        second = self.rebnconv2(first)
        third = self.rebnconv3(second)
        x = self.rebnconv3d(torch.cat((self.rebnconv4(third), third), 1))
        x = self.rebnconv2d(torch.cat((x, second), 1))
        x = self.rebnconv1d(torch.cat((x, first), 1))
        return x + start


def _make_stage(depth: int, inputs: int, middle: int, outputs: int) -> nn.Module:
    return _ResidualU(depth, inputs, middle, outputs) if depth else _DilatedU(inputs, middle, outputs)


class NestedU(nn.Module):
    """The U of U's that U-2-Net and IS-Net share, with a map read off at each scale.

    Args:
        inputs: Channels of the first stage's input.
        encoder: (middle, output) channels of stage 1 to 6.
        decoder: (middle, output) channels of stage 5d to 1d.
        classes: Channels of each side's map.
        sides: How many sides there are, counted from the finest.

    Attributes:
        resize: How a map is brought to another's height and width.
    """

    resize: _Resize = staticmethod(resize_like)

    def __init__(
        self,
        inputs: int,
        encoder: Sequence[tuple[int, int]],
        decoder: Sequence[tuple[int, int]],
        classes: int = 1,
        sides: int = 6,
    ) -> None:
        super().__init__()
        skips, channels = [], inputs
        for number, (depth, (middle, outputs)) in enumerate(zip(_ENCODER_DEPTHS, encoder, strict=True), start=1):
            self.add_module(f"stage{number}", _make_stage(depth, channels, middle, outputs))
            skips.append(channels := outputs)
        read = [skips.pop()]  # channels of what the sides look at, from the coarsest to the finest
        for number, depth, (middle, outputs) in zip(range(5, 0, -1), _DECODER_DEPTHS, decoder, strict=True):
            self.add_module(f"stage{number}d", _make_stage(depth, read[-1] + skips.pop(), middle, outputs))
            read.append(outputs)
        for number, channels in zip(range(1, sides + 1), reversed(read), strict=False):
            self.add_module(f"side{number}", nn.Conv2d(channels, classes, 3, padding=1))
        self._sides = sides

    def read_sides(self, x: Tensor) -> list[Tensor]:
        """The sides' maps of logits, from the finest to the coarsest, each at its own scale."""
        skips = []
        for number in range(1, 7):
            x = self.get_submodule(f"stage{number}")(x if number == 1 else _pool(x))
            skips.append(x)
        read = [skips.pop()]
        for number in range(5, 0, -1):
            skip = skips.pop()
            x = torch.cat((self.resize(read[-1], skip), skip), 1)
            read.append(self.get_submodule(f"stage{number}d")(x))
        return [self.get_submodule(f"side{number}")(read[-number]) for number in range(1, self._sides + 1)]


def make_conv_norm(inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution without bias and batch normalisation, the pair that MobileNetV2 is made of."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]
