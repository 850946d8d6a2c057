"""Networks that a dynamic quantiser has brought to 8 bits: whole numbers in the convolutions, and set rounding between.

What is rounded to 255 steps makes much of little: one bit that a sum or an enlarged map is off becomes a whole step
somewhere, and a few layers on it is seen in the result. So every step here rounds as ONNX Runtime's does.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .blocks import NestedU

__all__ = ["QuantizedConv2d", "resize_in_order", "round_in_order"]

_STEPS = 255  # from the least number of 8 bits to the largest
_EXACT = 1 << 24  # up to here float32 holds every whole number


class QuantizedConv2d(nn.Module):
    """A convolution in whole numbers: its weights have 8 bits, and its input is brought to 8 bits by its own range.

    Computes for each picture of a batch by itself what DynamicQuantizeLinear, ConvInteger, Cast, Mul and Add compute
    one after the other. Its sums are exact: float32 adds up no more channels at a time than it can without rounding.

    Args:
        like: The convolution whose place it takes, of one group.
        weight: (outputs, inputs, height, width), uint8 or int8.
        zero: Which of these numbers stands for 0.
        scale: What a step of them is worth.
        bias: (outputs,) float32; None: there is none.

    Reference:
        https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html
    """

    def __init__(self, like: nn.Conv2d, weight: Tensor, zero: int, scale: float, bias: Tensor | None) -> None:
        super().__init__()
        # Parameters, so that whatever moves and counts a network's weights finds them; no tensors for the two numbers,
        # which half precision would round.
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self._zero, self._scale = zero, scale
        self._look: dict[str, Any] = {"stride": like.stride, "padding": like.padding, "dilation": like.dilation}
        self._at_once = _channels_at_once(weight.int() - zero)

    def forward(self, x: Tensor) -> Tensor:
        """The convolution's output, (N, outputs, H, W).

        Args:
            x: (N, inputs, H, W).
        """
        steps, scale = _quantize(x.float())
        kernel = self.weight.float() - self._zero
        parts = zip(*(torch.split(whole, self._at_once, 1) for whole in (steps, kernel)), strict=True)
        sums = self._convolve(*next(parts))
        for part in parts:  # beyond 2^24 the sums go on in whole numbers
            sums = sums.int().add_(self._convolve(*part).int())
        out = sums.float() * (scale * self._scale)
        return (out if self.bias is None else out + self.bias.float()[:, None, None]).to(x.dtype)

    def _convolve(self, steps: Tensor, kernel: Tensor) -> Tensor:
        # Rounded, because a graphics card may choose an algorithm that computes with fractions in between.
        return nn.functional.conv2d(steps, kernel, **self._look).round_()


def _channels_at_once(kernel: Tensor) -> int:
    """Of how many input channels the sums stay below 2^24, whatever the picture."""
    reach = kernel.abs().sum((2, 3)) * _STEPS  # (outputs, inputs)
    count: int = reach.shape[1]
    while count > 1 and any(int(part.sum(1).max()) > _EXACT for part in torch.split(reach, count, 1)):
        count = (count + 1) // 2
    return count


def _quantize(x: Tensor) -> tuple[Tensor, Tensor]:
    """Each picture in steps of its own range, 0 staying 0; what a step is worth, (N, 1, 1, 1)."""
    low = x.amin((1, 2, 3), keepdim=True).clamp(max=0)
    scale = (x.amax((1, 2, 3), keepdim=True).clamp(min=0) - low) / _STEPS
    scale[scale == 0] = 1
    zero = (-low / scale).clamp(0, _STEPS).round()
    return (x / scale).round_().clamp_(-zero, _STEPS - zero), scale


def resize_in_order(x: Tensor, like: Tensor) -> Tensor:
    """`x` at the height and width of `like`, bilinear; the four neighbours are added in ONNX Runtime's order."""
    (top, bottom, up, down), (left, right, before, after) = (
        _neighbours(x.shape[side], like.shape[side], x.device) for side in (2, 3)
    )
    maps = x.permute(0, 2, 3, 1).contiguous()  # (N, h, w, C): a pixel's channels are copied as one piece
    near, far = maps.index_select(2, left), maps.index_select(2, right)  # (N, h, W, C)
    out = near.index_select(1, top).mul_((up[:, None] * before)[..., None])  # (N, H, W, C)
    out += far.index_select(1, top).mul_((up[:, None] * after)[..., None])
    out += near.index_select(1, bottom).mul_((down[:, None] * before)[..., None])
    out += far.index_select(1, bottom).mul_((down[:, None] * after)[..., None])
    return out.permute(0, 3, 1, 2)  # (N, C, H, W)


def _neighbours(inputs: int, outputs: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """For each place of an output the two inputs around it, and the share of each."""
    places = ((torch.arange(outputs, device=device) + 0.5) / (outputs / inputs) - 0.5).clamp(0, inputs - 1)
    first = places.long()
    second = (first + 1).clamp(max=inputs - 1)
    at_end = first == second
    return first, second, (second - places).masked_fill(at_end, 0.5), (places - first).masked_fill(at_end, 0.5)


def round_in_order(network: NestedU) -> None:
    """Have a network, changed in place, round its enlarged maps as ONNX Runtime does."""
    for part in network.modules():
        if hasattr(part, "resize"):
            vars(part)["resize"] = resize_in_order
