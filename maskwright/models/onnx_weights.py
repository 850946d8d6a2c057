"""Weights out of ONNX files into networks of ours.

Exports rename and merge: names are lost, normalisations are part of convolutions. A layer is therefore known by its
place: what it sees, and how it looks at it. Only a file whose whole wiring is that of a network gives its weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import nn

from ..errors import ModelError
from ..networks.trace import IMAGE, Layer, replace_modules, trace_layers
from .known import build_bare, relatives
from .onnx_file import OnnxGraph, OnnxNode, read_graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["load_onnx_network"]

_JOINING = ("Concat", "Add", "Mul", "Sum")  # operators that let all their inputs through; others: the first
_COMMUTING = ("Add", "Mul", "Sum")
_MAX_SOURCES = 1024  # of one layer; more is no network, but a file made to fill the memory
_MAX_STEPS = 16  # from a layer's input to the constant behind it
_EPSILON = 1e-5  # of BatchNormalization, where none is stated

_Array: TypeAlias = "NDArray[np.generic]"


@dataclass(frozen=True)
class _Place:
    """What must agree for a layer of a file to be a layer of ours.

    Attributes:
        shape: Of its weights: outputs, inputs, kernel height and width.
        look: Strides, dilations, paddings, groups; empty for a linear layer.
        sources: As in `networks.trace.Layer`.
    """

    shape: tuple[int, ...]
    look: tuple[int, ...]
    sources: tuple[int, ...]


@dataclass
class _Found:
    """A layer of a file.

    Attributes:
        place: Where it stands.
        weight: Its weights as PyTorch orders them.
        bias: Its bias, if it has one.
        norm: Scale, shift, mean and variance of a normalisation that was kept; its epsilon.
    """

    place: _Place
    weight: _Array
    bias: _Array | None
    norm: tuple[tuple[_Array, ...], float] | None = None


def load_onnx_network(path: Path, network: str | None = None) -> tuple[str, nn.Module]:
    """The name of the network in an ONNX file, and our network with its weights, in evaluation mode.

    Args:
        path: The ONNX file.
        network: The only one to consider; None: all that are known.

    Raises:
        ModelError: The file cannot be read, or is wired like none of them.
    """
    found = _find_layers(read_graph(path), path)
    name, exact = _recognise([layer.place for layer in found], path, network)
    built = build_bare(name)
    replaced: dict[nn.Module, nn.Module] = {}
    for layer, source in zip(trace_layers(built), found, strict=True):
        _carry(layer, source, replaced, path)
    replace_modules(built, replaced)
    _fill_unused(built)
    if not exact:
        _check_widths(built, path)
    return name, built.eval().requires_grad_(False)


def _recognise(places: list[_Place], path: Path, network: str | None) -> tuple[str, bool]:
    """The network, and whether it has exactly these widths."""
    names = relatives(network)
    for name in names:
        if _places_of(name) == places:
            return name, True
    bare = [_without_widths(place) for place in places]
    for name in names:  # narrower relatives, such as a distilled U-2-Net
        own = _places_of(name)
        if bare == [_without_widths(place) for place in own] and _ends(places) == _ends(own):
            return name, False
    raise ModelError(
        f"network in {path}",
        expected=f"wired like {' or '.join(names)}",
        got=f"{len(places)} layers wired otherwise",
        hint='run it with ONNX Runtime: pip install "maskwright[cpu]"',
    )


def _without_widths(place: _Place) -> _Place:
    return _Place(place.shape[2:], place.look, place.sources)


def _ends(places: list[_Place]) -> tuple[int, int]:
    """Channels of the picture and of the last map."""
    return places[0].shape[1], places[-1].shape[0]


@lru_cache
def _places_of(name: str) -> list[_Place]:
    return [_place_of(layer) for layer in trace_layers(build_bare(name))]


def _place_of(layer: Layer) -> _Place:
    module = layer.module
    look: tuple[int, ...] = ()
    if isinstance(module, nn.Conv2d):
        padding = module.padding if isinstance(module.padding, tuple) else ()
        look = (*module.stride, *module.dilation, *padding, *padding, module.groups)
    return _Place(tuple(module.weight.shape), look, layer.sources)


def _carry(layer: Layer, source: _Found, replaced: dict[nn.Module, nn.Module], path: Path) -> None:
    """Give a layer, and the normalisation after it, what the file has for them."""
    module, norm = layer.module, layer.norm
    module.weight = _parameter(_tensor(source.weight))
    module.bias = None if source.bias is None else _parameter(_tensor(source.bias))
    if norm is None:
        return
    if source.norm is not None:
        values, norm.eps = source.norm
        scale, shift, mean, variance = (_tensor(value) for value in values)
        norm.weight, norm.bias = _parameter(scale), _parameter(shift)
        norm.running_mean, norm.running_var = mean, variance
    elif isinstance(module, nn.Conv2d) and norm.num_features == module.out_channels:
        replaced[norm] = nn.Identity()  # it is part of the convolution
    else:
        raise ModelError(f"{path}: a normalisation of half of the channels", expected="kept in the file", got="none")


def _tensor(values: _Array) -> torch.Tensor:
    return torch.from_numpy(np.array(values, np.float32))


def _parameter(values: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(values, requires_grad=False)


def _fill_unused(network: nn.Module) -> None:
    """Zeros for what an export leaves out because only training needs it."""
    for module in network.modules():
        held: Mapping[str, torch.Tensor | None]
        for held in (module._parameters, module._buffers):
            for name, value in [*held.items()]:
                if value is not None and value.is_meta:
                    zeros = torch.zeros(value.shape, dtype=value.dtype)
                    setattr(module, name, _parameter(zeros) if held is module._parameters else zeros)


def _check_widths(network: nn.Module, path: Path) -> None:
    try:
        with torch.inference_mode():
            network(torch.zeros(1, 3, 64, 64))
    except RuntimeError as error:
        raise ModelError(
            f"{path}: widths of its layers do not fit together ({error})", hint="fetch it again"
        ) from error


def _find_layers(graph: OnnxGraph, path: Path) -> list[_Found]:
    """The layers with weights, in the order in which the file lists them, each with what it sees."""
    constants = _Constants(graph, path)
    layers = [node for node in graph.nodes if _has_weights(node, constants)]
    numbers = {id(node): number for number, node in enumerate(layers)}
    norms: dict[int, tuple[tuple[_Array, ...], float]] = {}
    looks: dict[int, tuple[int, ...]] = {}
    sources: dict[str, tuple[int, ...]] = dict.fromkeys(graph.inputs, (IMAGE,))
    for node in _sorted_nodes(graph, path):
        seen = _sources_of(node, sources, path)
        number = numbers.get(id(node))
        if number is not None:
            looks[number], seen = seen, (number,)
        elif node.op == "BatchNormalization" and len(set(seen)) == 1 and len(node.inputs) >= 5:
            values = tuple(constants.require(name) for name in node.inputs[1:5])
            norms[seen[0]] = values, node.floats.get("epsilon", _EPSILON)
        sources.update(dict.fromkeys(node.outputs, seen))
    return [_read_layer(node, looks[number], norms.get(number), constants) for number, node in enumerate(layers)]


def _sorted_nodes(graph: OnnxGraph, path: Path) -> Iterator[OnnxNode]:
    """The operators, each after those it depends on: some tools append what they insert at the end of a file."""
    makers = {name: number for number, node in enumerate(graph.nodes) for name in node.outputs}
    needs = {
        number: [makers[name] for name in node.inputs if name in makers] for number, node in enumerate(graph.nodes)
    }
    try:
        yield from (graph.nodes[number] for number in TopologicalSorter(needs).static_order())
    except CycleError as error:
        raise ModelError(f"{path} is wired in a circle", hint="fetch or export it again") from error


def _sources_of(node: OnnxNode, sources: Mapping[str, tuple[int, ...]], path: Path) -> tuple[int, ...]:
    names = node.inputs if node.op in _JOINING else node.inputs[:1]
    seen = [source for name in names for source in sources.get(name, ())]
    if len(seen) > _MAX_SOURCES:
        raise ModelError(f"{path}: what a layer sees", expected=f"at most {_MAX_SOURCES} others", got=str(len(seen)))
    return tuple(sorted(seen) if node.op in _COMMUTING else seen)


def _has_weights(node: OnnxNode, constants: _Constants) -> bool:
    if len(node.inputs) < 2:
        return False
    return node.op == "Conv" or (node.op in ("Gemm", "MatMul") and constants.has(node.inputs[1]))


def _read_layer(
    node: OnnxNode, seen: tuple[int, ...], norm: tuple[tuple[_Array, ...], float] | None, constants: _Constants
) -> _Found:
    weight = constants.require(node.inputs[1])
    bias = constants.require(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    look: tuple[int, ...] = ()
    if node.op == "Conv":
        defaults = {"strides": (1, 1), "dilations": (1, 1), "pads": (0, 0, 0, 0), "group": (1,)}
        look = tuple(integer for name, default in defaults.items() for integer in node.integers.get(name, default))
    elif node.integers.get("transB") != (1,):
        weight = weight.T
    return _Found(_Place(weight.shape, look, seen), weight, bias, norm)


class _Constants:
    """The constants of a graph, through the operators that exporters and quantisers put before them."""

    def __init__(self, graph: OnnxGraph, path: Path) -> None:
        self._graph = graph
        self._path = path
        self._makers = {name: node for node in graph.nodes for name in node.outputs}

    def has(self, name: str) -> bool:
        """Whether there is a constant behind this name."""
        return self._find(name, _MAX_STEPS) is not None

    def require(self, name: str) -> _Array:
        """The constant behind this name."""
        value = self._find(name, _MAX_STEPS)
        if value is None:
            raise ModelError(
                f"{self._path}: weights {name}",
                expected="constants",
                got="something that is computed",
                hint='run it with ONNX Runtime: pip install "maskwright[cpu]"',
            )
        return value

    def _find(self, name: str, steps: int) -> _Array | None:
        if name in self._graph.constants:
            return self._graph.constants[name].decode()
        node = self._makers.get(name)
        if node is None or not steps:
            return None
        if node.op == "Constant":
            return node.tensors["value"].decode() if "value" in node.tensors else None
        if node.op not in ("Identity", "Cast", "Transpose", "DequantizeLinear"):
            return None
        values = [self._find(each, steps - 1) for each in node.inputs]
        if not values or any(value is None for value in values):
            return None
        return _apply(node, [value for value in values if value is not None])


def _apply(node: OnnxNode, values: list[_Array]) -> _Array:
    first = values[0]
    if node.op == "Transpose":
        turned: _Array = first.transpose(node.integers.get("perm", tuple(range(first.ndim))[::-1]))
        return turned
    if node.op == "DequantizeLinear":
        along = [1] * first.ndim
        along[node.integers.get("axis", (1,))[0] if values[1].size > 1 else 0] = -1
        scale, *zero = (np.asarray(value, np.float32).reshape(along) for value in values[1:])
        shifted = first.astype(np.float32) - (zero[0] if zero else np.float32(0))
        widened: _Array = np.multiply(shifted, scale, dtype=np.float32)
        return widened
    return first
