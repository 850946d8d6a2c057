"""Weights out of ONNX files into networks of ours.

Exports rename and merge: names are lost, normalisations are part of convolutions. A layer is therefore known by its
place: what it sees, and how it looks at it. Only a file whose whole wiring is that of a network gives its weights.
What a dynamic quantiser has left of a network is computed as its file says, in whole numbers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import nn

from ..errors import ModelError
from ..networks.blocks import NestedU
from ..networks.quantized import QuantizedConv2d, round_in_order
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
_FLOAT = (1,)  # TensorProto.data_type, as Cast names it
_HINT = 'run it with ONNX Runtime: pip install "maskwright[cpu]"'

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
        steps: Of weights that are multiplied as whole numbers: which of them is 0, and what a step is worth.
    """

    place: _Place
    weight: _Array
    bias: _Array | None
    norm: tuple[tuple[_Array, ...], float] | None = None
    steps: tuple[int, float] | None = None


def load_onnx_network(path: Path, network: str | None = None) -> tuple[str, nn.Module]:
    """The name of the network in an ONNX file, and our network with its weights, in evaluation mode.

    Args:
        path: The ONNX file.
        network: The only one to consider; None: all that are known.

    Raises:
        ModelError: The file cannot be read, or is wired like none of them.
    """
    name, exact, found = _recognise(read_graph(path), path, relatives(network))
    built = build_bare(name)
    replaced: dict[nn.Module, nn.Module] = {}
    for layer, source in zip(trace_layers(built), found, strict=True):
        _carry(layer, source, replaced, path)
    replace_modules(built, replaced)
    _fill_unused(built)
    if any(layer.steps for layer in found):
        if not isinstance(built, NestedU):
            raise ModelError(f"{path} with weights of 8 bits", expected="U-2-Net or IS-Net", got=name, hint=_HINT)
        round_in_order(built)
    if not exact:
        _check_widths(built, path)
    return name, built.eval().requires_grad_(False)


def _recognise(graph: OnnxGraph, path: Path, names: Sequence[str]) -> tuple[str, bool, list[_Found]]:
    """The network, whether it has exactly these widths, and its layers in the order in which it computes."""
    for order in (_as_listed, _as_reached):
        found = _find_layers(graph, order(graph), path)
        match = _compare([layer.place for layer in found], names)
        if match is not None:
            return *match, found
    raise ModelError(
        f"network in {path}",
        expected=f"wired like {' or '.join(names)}",
        got=f"{len(found)} layers wired otherwise",
        hint=_HINT,
    )


def _compare(places: list[_Place], names: Sequence[str]) -> tuple[str, bool] | None:
    """The network that has these places, and whether it has exactly these widths."""
    for name in names:
        if _places_of(name) == places:
            return name, True
    bare = [_without_widths(place) for place in places]
    for name in names:  # narrower relatives, such as a distilled U-2-Net
        own = _places_of(name)
        if bare == [_without_widths(place) for place in own] and _ends(places) == _ends(own):
            return name, False
    return None


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
    bias = None if source.bias is None else _tensor(source.bias)
    if source.steps is not None and isinstance(module, nn.Conv2d):
        replaced[module] = QuantizedConv2d(module, torch.from_numpy(source.weight.copy()), *source.steps, bias)
    else:
        module.weight = _parameter(_tensor(source.weight))
        module.bias = None if bias is None else _parameter(bias)
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
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"{path}: widths of its layers do not fit together ({error})", hint="fetch it again"
        ) from error


def _find_layers(graph: OnnxGraph, listed: Sequence[OnnxNode], path: Path) -> list[_Found]:
    """The layers with weights, in the order of a list of the operators, each with what it sees."""
    wires = _Wires(graph, path)
    layers = [node for node in listed if _has_weights(node, wires)]
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
            values = tuple(wires.require(name) for name in node.inputs[1:5])
            norms[seen[0]] = values, node.floats.get("epsilon", _EPSILON)
        elif node.op in ("QuantizeLinear", "DequantizeLinear") and seen:
            raise ModelError(f"{path}: what its layers see", expected="not rounded", got=node.op, hint=_HINT)
        # The scale that comes beside a map of whole numbers is no map.
        outputs = node.outputs[:1] if node.op == "DynamicQuantizeLinear" else node.outputs
        sources.update(dict.fromkeys(outputs, seen))
    return [_read_layer(node, looks[number], norms.get(number), wires) for number, node in enumerate(layers)]


def _as_listed(graph: OnnxGraph) -> Sequence[OnnxNode]:
    return graph.nodes


def _as_reached(graph: OnnxGraph) -> Sequence[OnnxNode]:
    """The operators as they are reached from the outputs: in our networks the order of computing.

    Tools that change a file may list its operators in any other order in which each comes after those it needs.
    """
    makers = {name: node for node in graph.nodes for name in node.outputs}
    reached: dict[int, OnnxNode] = {}
    waiting = [(name, False) for name in reversed(graph.outputs)]
    while waiting:
        name, is_ready = waiting.pop()
        node = makers.get(name)
        if node is None or id(node) in reached:
            continue
        if is_ready:
            reached[id(node)] = node
        else:
            waiting.append((name, True))
            waiting += [(needed, False) for needed in reversed(node.inputs)]
    return [*reached.values()]


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


def _has_weights(node: OnnxNode, wires: _Wires) -> bool:
    if len(node.inputs) < 2:
        return False
    return node.op in ("Conv", "ConvInteger") or (node.op in ("Gemm", "MatMul") and wires.has(node.inputs[1]))


def _read_layer(
    node: OnnxNode, seen: tuple[int, ...], norm: tuple[tuple[_Array, ...], float] | None, wires: _Wires
) -> _Found:
    weight = wires.require(node.inputs[1])
    steps = bias = None
    if node.op == "ConvInteger":
        steps, bias = _read_steps(node, wires)
    elif len(node.inputs) > 2 and node.inputs[2]:
        bias = wires.require(node.inputs[2])
    look: tuple[int, ...] = ()
    if node.op in ("Conv", "ConvInteger"):
        defaults = {"strides": (1, 1), "dilations": (1, 1), "pads": (0, 0, 0, 0), "group": (1,)}
        look = tuple(integer for name, default in defaults.items() for integer in node.integers.get(name, default))
    elif node.integers.get("transB") != (1,):
        weight = weight.T
    return _Found(_Place(weight.shape, look, seen), weight, bias, norm, steps)


def _read_steps(node: OnnxNode, wires: _Wires) -> tuple[tuple[int, float], _Array | None]:
    """Zero and step of the weights of a convolution in whole numbers, and its bias, from the operators around it.

    DynamicQuantizeLinear stands before it; Cast, Mul by the product of both steps, and Add of the bias after it.
    """
    picture = wires.maker(node.inputs[0], "DynamicQuantizeLinear")
    if len(picture.outputs) != 3 or not node.outputs:
        raise wires.refuse(f"operators around weights {node.inputs[1]}")
    cast = wires.user(node.outputs[0], "Cast")
    product = wires.user(cast.outputs[0], "Mul")
    scales = wires.maker(wires.other(product, cast.outputs[0]), "Mul")
    scale = wires.require(wires.other(scales, picture.outputs[1]))
    weight = wires.require(node.inputs[1])
    zero = wires.require(node.inputs[3]) if len(node.inputs) > 3 else np.zeros(1, weight.dtype)
    if not (
        node.inputs[2:3] == picture.outputs[2:]
        and cast.integers.get("to") == _FLOAT
        and weight.dtype == zero.dtype
        and weight.dtype in (np.uint8, np.int8)
        and weight.size
        and (scale.size, zero.size) == (1, 1)
    ):
        raise wires.refuse(f"operators around weights {node.inputs[1]}")
    return (int(zero.ravel()[0]), float(scale.ravel()[0])), _read_bias(product, len(weight), wires)


def _read_bias(product: OnnxNode, channels: int, wires: _Wires) -> _Array | None:
    """What is added to each channel, if that is what comes next."""
    users = wires.users[product.outputs[0]]
    if len(users) != 1 or users[0].op != "Add":
        return None
    name = wires.other(users[0], product.outputs[0])
    if not wires.has(name):
        return None  # another map
    bias = wires.require(name)
    if bias.size != channels or bias.shape[-3:] != (channels, 1, 1):
        raise wires.refuse(f"bias {name}")
    return bias.ravel()


class _Wires:
    """What makes and what uses each value of a graph.

    Constants are found through the operators that exporters and quantisers put before them.
    """

    def __init__(self, graph: OnnxGraph, path: Path) -> None:
        self._graph = graph
        self._path = path
        self._makers = {name: node for node in graph.nodes for name in node.outputs}
        self.users: defaultdict[str, list[OnnxNode]] = defaultdict(list)
        for node in graph.nodes:
            for name in node.inputs:
                self.users[name].append(node)

    def refuse(self, what: str) -> ModelError:
        """The error that this is not what a dynamic quantiser writes."""
        return ModelError(
            f"{self._path}: {what}", expected="as a dynamic quantiser writes it", got="otherwise", hint=_HINT
        )

    def maker(self, name: str, op: str) -> OnnxNode:
        """The operator of this type that makes a value."""
        node = self._makers.get(name)
        if node is None or node.op != op:
            raise self.refuse(f"what makes {name}")
        return node

    def user(self, name: str, op: str) -> OnnxNode:
        """The operator of this type that alone uses a value."""
        users = self.users[name]
        if len(users) != 1 or users[0].op != op or not users[0].outputs:
            raise self.refuse(f"what uses {name}")
        return users[0]

    def other(self, node: OnnxNode, name: str) -> str:
        """Of two inputs the one that is not this."""
        rest = [*node.inputs]
        if name not in rest or len(rest) != 2:
            raise self.refuse(f"what uses {name}")
        rest.remove(name)
        return rest[0]

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
                hint=_HINT,
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
        if node.op not in ("Identity", "Cast", "Transpose", "Reshape", "DequantizeLinear"):
            return None
        values = [self._find(each, steps - 1) for each in node.inputs]
        if not values or any(value is None for value in values):
            return None
        try:
            return _apply(node, [value for value in values if value is not None])
        except (ValueError, IndexError, TypeError) as error:
            raise ModelError(
                f"{self._path}: weights {name} cannot be read ({error})", hint="export it again"
            ) from error


def _apply(node: OnnxNode, values: list[_Array]) -> _Array:
    first = values[0]
    if node.op == "Transpose":
        turned: _Array = first.transpose(node.integers.get("perm", tuple(range(first.ndim))[::-1]))
        return turned
    if node.op == "Reshape":
        return first.reshape([int(side) for side in values[1]])
    if node.op == "DequantizeLinear":
        along = [1] * first.ndim
        along[node.integers.get("axis", (1,))[0] if values[1].size > 1 else 0] = -1
        scale, *zero = (np.asarray(value, np.float32).reshape(along) for value in values[1:])
        shifted = first.astype(np.float32) - (zero[0] if zero else np.float32(0))
        widened: _Array = np.multiply(shifted, scale, dtype=np.float32)
        return widened
    return first
