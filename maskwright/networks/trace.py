"""How a network is wired: its layers with weights, in the order in which they compute, and what feeds each."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

__all__ = ["IMAGE", "Layer", "fold_norms", "replace_modules", "trace_layers"]

IMAGE = -1  # the number of the network's own input among sources
_PROBE = (1, 3, 32, 32)  # the smallest input that all networks take
_COMMUTING = ("AddBackward0", "MulBackward0")

_Node: TypeAlias = Any  # of autograd's graph


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer in its place.

    Attributes:
        module: The layer.
        norm: The batch normalisation that follows it, if one does.
        sources: The numbers of the layers whose outputs it sees, in the order of its channels, as they come through
            everything that has no weights; where outputs were added or multiplied, in ascending order.
    """

    module: nn.Conv2d | nn.Linear
    norm: nn.BatchNorm2d | None
    sources: tuple[int, ...]


def trace_layers(network: nn.Module) -> list[Layer]:
    """The layers that take part in computing; heads for training are not among them.

    A copy of the network is run once on a small input to see it, with weights that are one zero each: it takes no
    memory, and the network itself is not touched. (The device `meta` would compute nothing, but is slower.)
    """
    met: list[tuple[nn.Module, Tensor]] = []
    with torch.inference_mode(False), torch.enable_grad():
        shadow = _copy_without_weights(network)
        origins = dict(zip(shadow.modules(), network.modules(), strict=True))
        for module in shadow.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear, nn.BatchNorm2d)):
                module.register_forward_hook(lambda module, _, output: met.append((module, output)))
        image = torch.zeros(_PROBE, requires_grad=True)
        shadow(image)
        return _make_layers([(origins[module], output.grad_fn) for module, output in met], image)


def _copy_without_weights(network: nn.Module) -> nn.Module:
    bare: dict[int, object] = {  # what deepcopy takes for copied already
        id(value): nn.Parameter(torch.zeros(()).expand(value.shape)) for value in network.parameters()
    }
    bare |= {id(value): torch.zeros(()).expand(value.shape) for value in network.buffers()}
    return deepcopy(network, bare)


def _make_layers(nodes: list[tuple[nn.Module, _Node]], image: Tensor) -> list[Layer]:
    places: dict[_Node, int] = {}
    layers: list[Layer] = []
    for module, node in nodes:
        if isinstance(module, nn.BatchNorm2d):
            last = layers[-1]
            layers[-1] = Layer(last.module, module, last.sources)
        elif isinstance(module, (nn.Conv2d, nn.Linear)):
            layers.append(Layer(module, None, _inputs_of(node, places, image)))
            places[node] = len(layers) - 1
    return layers


def _inputs_of(node: _Node, places: Mapping[_Node, int], image: Tensor) -> tuple[int, ...]:
    found: list[int] = []
    for previous, _ in node.next_functions:
        if previous in places:
            found.append(places[previous])
        elif getattr(previous, "variable", None) is image:
            found.append(IMAGE)
        elif previous is not None:
            found += _inputs_of(previous, places, image)
    return tuple(sorted(found) if node.name() in _COMMUTING else found)


def fold_norms(network: nn.Module) -> nn.Module:
    """The network, changed in place: normalisations that directly follow a convolution become part of it.

    It computes the same up to rounding, reads less memory, and no longer has the published parameter names.
    """
    gone: dict[nn.Module, nn.Module] = {}
    for layer in trace_layers(network):
        conv, norm = layer.module, layer.norm
        if isinstance(conv, nn.Conv2d) and norm is not None and norm.num_features == conv.out_channels:
            fused = fuse_conv_bn_eval(conv, norm)
            conv.weight, conv.bias = fused.weight, fused.bias
            gone[norm] = nn.Identity()
    replace_modules(network, gone)
    return network


def replace_modules(network: nn.Module, others: Mapping[nn.Module, nn.Module]) -> None:
    """Put other modules in the places of some, wherever these stand."""
    for parent in network.modules():
        for name, child in parent.named_children():
            if child in others:
                setattr(parent, name, others[child])
