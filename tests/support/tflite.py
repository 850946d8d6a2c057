"""Small TFLite graphs with metadata: a 1×1 convolution of the picture's colours, and what a publisher writes beside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["PERSON_KERNEL", "make_metadata", "write_person_graph", "write_tflite"]

# Six planes that follow the colours, in the order background, hair, body, face, clothes, accessories: black, blue,
# green, red, white and gray pictures have another winner each.
PERSON_KERNEL = np.array(
    [[-6, -6, -6], [-4, -4, 8], [-4, 8, -4], [8, -4, -4], [3, 3, 3], [0, 0, 0]],
    np.float32,
)
_ACTIVATIONS = {"none": 0, "sigmoid": 1, "softmax": 2}


def write_person_graph(path: Path, *, side: int = 256, activation: str = "softmax", squash: bool = False) -> Path:
    """A graph of the signature of selfie_multiclass_256x256: (1, side, side, 3) to six planes."""
    return write_tflite(path, size_hw=(side, side), kernel=PERSON_KERNEL, activation=activation, squash=squash)


def write_tflite(
    path: Path,
    *,
    size_hw: tuple[int, int] | None = (256, 256),
    kernel: np.ndarray,
    bias: Sequence[float] | None = None,
    squash: bool = False,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (255.0,),
    activation: str | None = "none",
    rank: int = 4,
    quantized: bool = False,
) -> Path:
    """A convolution of one pixel's colours, optionally with a softmax behind it.

    Args:
        path: Where to write.
        size_hw: Height and width of the input; None: free.
        kernel: (K, 3) float32, what each plane makes of R, G, B.
        bias: K numbers added; None: zeros.
        squash: Whether a softmax over the planes ends the graph.
        mean: As the metadata state it, in units of 0 to 255.
        std: The same.
        activation: As the metadata state it; None: the file has no metadata.
        rank: 4, or another number of axes of the input, for a graph that takes no picture.
        quantized: Whether the input is 8-bit, for a graph that takes no float.
    """
    from ai_edge_litert import schema_py_generated as schema

    count = len(kernel)
    height, width = size_hw or (1, 1)
    model = schema.ModelT()
    model.version, model.description = 3, b"small"
    model.buffers = [schema.BufferT(), _buffer(schema, kernel), _buffer(schema, np.array(bias or [0] * count))]
    taken = [1, height, width, 3][:rank]
    tensors = [
        _tensor(schema, "image", taken, 0, schema.TensorType.UINT8 if quantized else schema.TensorType.FLOAT32),
        _tensor(schema, "kernel", [count, 1, 1, 3], 1),
        _tensor(schema, "bias", [count], 2),
        _tensor(schema, "map", [1, height, width, count], 0),
        _tensor(schema, "squashed", [1, height, width, count], 0),
    ]
    if size_hw is None:
        for index in (0, 3, 4):
            tensors[index].shapeSignature = [1, -1, -1, tensors[index].shape[-1]]
    graph = schema.SubGraphT()
    graph.name, graph.tensors = b"main", tensors
    graph.operators, model.operatorCodes = [], []
    if rank == 4 and not quantized:
        _append(schema, model, graph, "CONV_2D", [0, 1, 2], [3], _convolution(schema))
        if squash:
            _append(schema, model, graph, "SOFTMAX", [3], [4], _softmax(schema))
    graph.inputs = [0]
    graph.outputs = [len(graph.operators) + 2] if graph.operators else [0]
    model.subgraphs = [graph]
    if activation is not None:
        note = schema.MetadataT()
        note.name, note.buffer = b"TFLITE_METADATA", len(model.buffers)
        model.metadata = [note]
        model.buffers.append(_buffer(schema, np.frombuffer(make_metadata(mean, std, activation), np.uint8)))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_pack(model.Pack, b"TFL3"))
    return path


def _buffer(schema: Any, values: np.ndarray) -> Any:
    buffer = schema.BufferT()
    raw = values if values.dtype == np.uint8 else values.astype(np.float32)
    buffer.data = np.frombuffer(raw.tobytes(), np.uint8)
    return buffer


def _tensor(schema: Any, name: str, shape: list[int], buffer: int, kind: int | None = None) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer = name.encode(), shape, buffer
    tensor.type = schema.TensorType.FLOAT32 if kind is None else kind
    return tensor


def _append(
    schema: Any, model: Any, graph: Any, name: str, inputs: list[int], outputs: list[int], options: tuple[int, Any]
) -> None:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = len(model.operatorCodes), inputs, outputs
    operator.builtinOptionsType, operator.builtinOptions = options
    model.operatorCodes.append(code)
    graph.operators.append(operator)


def _convolution(schema: Any) -> tuple[int, Any]:
    options = schema.Conv2DOptionsT()
    options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
    return schema.BuiltinOptions.Conv2DOptions, options


def _softmax(schema: Any) -> tuple[int, Any]:
    options = schema.SoftmaxOptionsT()
    options.beta = 1.0
    return schema.BuiltinOptions.SoftmaxOptions, options


def _pack(write: Callable[[Any], int], identifier: bytes) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(4096)
    builder.Finish(write(builder), file_identifier=identifier)
    return bytes(builder.Output())


def make_metadata(mean: Sequence[float], std: Sequence[float], activation: str) -> bytes:
    """A metadata buffer as the publisher's writer makes it: normalisation of the input, activation of the output.

    Reference: metadata_schema.fbs of tflite-support, image_segmenter_metadata_schema.fbs of MediaPipe.
    """

    def write_options(builder: Any) -> int:
        builder.StartObject(2)
        builder.PrependUint8Slot(0, _ACTIVATIONS[activation], 0)
        return builder.EndObject()

    def write(builder: Any) -> int:
        data = builder.CreateByteVector(_pack(write_options, b"V001"))
        custom = _table(builder, 2, {0: builder.CreateString("SEGMENTER_METADATA"), 1: data})
        numbers = _table(builder, 2, {0: _floats(builder, mean), 1: _floats(builder, std)})
        builder.StartObject(2)
        builder.PrependUint8Slot(0, 1, 0)  # NormalizationOptions
        builder.PrependUOffsetTRelativeSlot(1, numbers, 0)
        units = _vector(builder, [builder.EndObject()])
        taken = _table(builder, 7, {0: builder.CreateString("image"), 4: units})
        given = _table(builder, 7, {0: builder.CreateString("map")})
        graph = _table(
            builder, 10, {2: _vector(builder, [taken]), 3: _vector(builder, [given]), 9: _vector(builder, [custom])}
        )
        return _table(builder, 8, {0: builder.CreateString("small"), 3: _vector(builder, [graph])})

    return _pack(write, b"M001")


def _table(builder: Any, slots: int, values: dict[int, int]) -> int:
    builder.StartObject(slots)
    for slot, offset in values.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    return builder.EndObject()


def _vector(builder: Any, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _floats(builder: Any, values: Sequence[float]) -> int:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return builder.EndVector()
