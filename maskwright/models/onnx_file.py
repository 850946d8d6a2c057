"""What stands in an ONNX file: its operators and its tensors, read without any library for it.

Only what it takes to find weights again is read. Nothing is run, every length is checked against what encloses it
before it is believed, and a tensor is decoded when it is asked for.

Reference:
    https://github.com/onnx/onnx/blob/main/onnx/onnx.proto; https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ..errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["OnnxGraph", "OnnxNode", "OnnxTensor", "read_graph"]

_MAX_SIZE = (2 << 30) - 1  # bytes, the most a protobuf message may have
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_FIXED = {_FIXED64: 8, _FIXED32: 4}  # wire type -> bytes
_EXTERNAL = 1  # TensorProto.data_location
_BFLOAT16 = 16

# TensorProto.data_type -> NumPy's name; the fields for values that are not raw.
_DTYPES = {1: "<f4", 2: "<u1", 3: "<i1", 6: "<i4", 7: "<i8", 10: "<f2", 11: "<f8", _BFLOAT16: "<u2"}
_FLOAT_DATA, _INT32_DATA, _INT64_DATA, _DOUBLE_DATA = 4, 5, 7, 10
_VALUES_IN = {1: _FLOAT_DATA, 7: _INT64_DATA, 11: _DOUBLE_DATA}  # all others: _INT32_DATA

_Field: TypeAlias = tuple[int, int, "int | memoryview"]


class _Malformed(Exception):
    """The bytes are no message, or are cut off."""


@dataclass(frozen=True)
class OnnxTensor:
    """A constant, not yet decoded.

    Attributes:
        shape: Its lengths.
        kind: TensorProto.data_type.
        raw: Its values in little-endian order, if they are stored so.
        values: Fields that hold them otherwise.
    """

    shape: tuple[int, ...]
    kind: int
    raw: memoryview | None
    values: tuple[_Field, ...] = field(repr=False)

    def decode(self) -> NDArray[np.generic]:
        """The values in their own type; bfloat16 as float32.

        Raises:
            ModelError: The type is none of numbers, or the values do not fill the shape.
        """
        if self.kind not in _DTYPES:
            raise ModelError("type of an ONNX tensor", expected=f"one of {sorted(_DTYPES)}", got=str(self.kind))
        dtype = np.dtype(_DTYPES[self.kind])
        try:
            flat = self._decode_flat(dtype) if self.raw is None else np.frombuffer(self.raw, dtype)
        except (_Malformed, ValueError, OverflowError) as error:
            raise ModelError(f"values of an ONNX tensor cannot be read ({error})") from error
        if flat.size != prod(self.shape):
            raise ModelError("an ONNX tensor", expected=f"{prod(self.shape)} values", got=str(flat.size))
        if self.kind == _BFLOAT16:
            flat = (flat.astype(np.uint32) << 16).view(np.float32)
        return flat.reshape(self.shape)

    def _decode_flat(self, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
        wanted = _VALUES_IN.get(self.kind, _INT32_DATA)
        found = [(wire, value) for number, wire, value in self.values if number == wanted]
        if wanted in (_FLOAT_DATA, _DOUBLE_DATA):
            return np.frombuffer(b"".join(value for _, value in found if isinstance(value, memoryview)), dtype)
        integers = [integer for wire, value in found for integer in _integers(wire, value)]
        if self.kind in (10, _BFLOAT16):  # stored by their bits
            return np.array(integers, np.uint16).view(dtype)
        return np.array(integers, np.int64).astype(dtype)


@dataclass(frozen=True)
class OnnxNode:
    """One operator.

    Attributes:
        op: Its type.
        inputs: Names of what it takes; "" for one left out.
        outputs: Names of what it gives.
        integers: Attributes that are whole numbers, each as a tuple.
        floats: Attributes that are one real number.
        tensors: Attributes that are constants.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    integers: Mapping[str, tuple[int, ...]]
    floats: Mapping[str, float]
    tensors: Mapping[str, OnnxTensor]


@dataclass(frozen=True)
class OnnxGraph:
    """A network as its file states it.

    Attributes:
        nodes: Its operators, in the order of computing.
        constants: Its tensors by name.
        inputs: Names of what it takes, without the constants.
        outputs: Names of what it gives.
    """

    nodes: tuple[OnnxNode, ...]
    constants: Mapping[str, OnnxTensor]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def read_graph(path: Path) -> OnnxGraph:
    """The graph in an ONNX file.

    Raises:
        ModelError: It cannot be read, is none, is cut off, or keeps its values in other files.
    """
    try:
        size = path.stat().st_size
        if size > _MAX_SIZE:
            raise ModelError(f"{path}", expected=f"an ONNX file of at most {_MAX_SIZE:,} bytes", got=f"{size:,}")
        data = memoryview(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror or type(error).__name__})") from error
    try:
        graphs = [_view(value) for number, _, value in _fields(data) if number == 7]
        if len(graphs) != 1:
            raise _Malformed("there is no graph in it" if not graphs else "there are several graphs in it")
        return _read_graph(graphs[0])
    except _Malformed as error:
        raise ModelError(f"{path} is not a whole ONNX file ({error})", hint="fetch or export it again") from error


def _read_graph(data: memoryview) -> OnnxGraph:
    nodes: list[OnnxNode] = []
    constants: dict[str, OnnxTensor] = {}
    inputs: list[str] = []
    outputs: list[str] = []
    for number, _, value in _fields(data):
        if number == 1:
            nodes.append(_read_node(_view(value)))
        elif number == 5:
            name, tensor = _read_tensor(_view(value))
            constants[name] = tensor
        elif number in (11, 12):
            names = [_text(inner) for field_number, _, inner in _fields(_view(value)) if field_number == 1]
            (inputs if number == 11 else outputs).extend(names)
    return OnnxGraph(tuple(nodes), constants, tuple(name for name in inputs if name not in constants), tuple(outputs))


def _read_node(data: memoryview) -> OnnxNode:
    inputs: list[str] = []
    outputs: list[str] = []
    op = ""
    integers: dict[str, tuple[int, ...]] = {}
    floats: dict[str, float] = {}
    tensors: dict[str, OnnxTensor] = {}
    for number, _, value in _fields(data):
        if number == 1:
            inputs.append(_text(value))
        elif number == 2:
            outputs.append(_text(value))
        elif number == 4:
            op = _text(value)
        elif number == 5:
            _read_attribute(_view(value), integers, floats, tensors)
    return OnnxNode(op, tuple(inputs), tuple(outputs), integers, floats, tensors)


def _read_attribute(
    data: memoryview, integers: dict[str, tuple[int, ...]], floats: dict[str, float], tensors: dict[str, OnnxTensor]
) -> None:
    name, numbers = "", []
    fields = list(_fields(data))
    for number, wire, value in fields:
        if number == 1:
            name = _text(value)
        elif number in (3, 8):
            numbers += _integers(wire, value)
    for number, wire, value in fields:
        if number == 2 and wire == _FIXED32:
            floats[name] = float(np.frombuffer(_view(value), "<f4")[0])
        elif number == 5:
            tensors[name] = _read_tensor(_view(value))[1]
    if numbers:
        integers[name] = tuple(numbers)


def _read_tensor(data: memoryview) -> tuple[str, OnnxTensor]:
    """A tensor and its name."""
    name, kind, raw = "", 0, None
    shape: list[int] = []
    values = []
    for number, wire, value in _fields(data):
        if number == 1:
            shape += _integers(wire, value)
        elif number == 2:
            kind = _integer(value)
        elif number == 8:
            name = _text(value)
        elif number == 9:
            raw = _view(value)
        elif number in (_FLOAT_DATA, _INT32_DATA, _INT64_DATA, _DOUBLE_DATA):
            values.append((number, wire, value))
        elif number == 13 or (number == 14 and value == _EXTERNAL):
            raise ModelError(
                f"values of {name or 'a tensor'} are kept in another file",
                expected="an ONNX file that is whole by itself",
                hint="save it again with its weights inside",
            )
    if any(side < 0 for side in shape):
        raise _Malformed(f"{name} has a negative length")
    return name, OnnxTensor(tuple(shape), kind, raw, tuple(values))


def _fields(data: memoryview) -> Iterator[_Field]:
    """Number, wire type and value of each field of a message; strings, messages and fixed numbers as their bytes."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            integer, position = _varint(data, position)
            yield number, wire, integer
            continue
        if wire == _BYTES:
            size, position = _varint(data, position)
        elif wire in _FIXED:
            size = _FIXED[wire]
        else:
            raise _Malformed(f"no message: wire type {wire}")
        if size > len(data) - position:
            raise _Malformed("it is cut off")
        yield number, wire, data[position : position + size]
        position += size


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    """An unsigned integer and the position after it."""
    result = 0
    for count in range(10):  # bytes that 64 bits take at most
        if position + count >= len(data):
            raise _Malformed("it is cut off")
        byte = data[position + count]
        result |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return result & (1 << 64) - 1, position + count + 1
    raise _Malformed("no message: a number without end")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _integer(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise _Malformed("no message: bytes instead of a number")
    return _signed(value)


def _integers(wire: int, value: int | memoryview) -> list[int]:
    """The numbers of a repeated field: one, or many packed together."""
    if isinstance(value, int):
        return [_signed(value)]
    if wire != _BYTES:
        raise _Malformed("no message: fixed bytes instead of numbers")
    found, position = [], 0
    while position < len(value):
        number, position = _varint(value, position)
        found.append(_signed(number))
    return found


def _view(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise _Malformed("no message: a number instead of bytes")
    return value


def _text(value: int | memoryview) -> str:
    return str(_view(value), "utf-8", "replace")
