"""Small ONNX graphs with the signatures of the catalog's networks, built from a few operators."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from maskwright.models import ModelCard
from tests.support.tflite import write_tflite

__all__ = ["write_card_graph", "write_graph"]


def write_graph(
    path: Path,
    *,
    size_hw: tuple[int, int] | None,
    channels: int = 1,
    outputs: int = 1,
    batch: int | None = 1,
    squash: bool = True,
    half: bool = False,
) -> Path:
    """A 1×1 convolution: channel k answers to colour k of the input (R, G, B, then their mean).

    Args:
        path: Where to write.
        size_hw: Fixed height and width of the input; None: any.
        channels: Channels of each output.
        outputs: How many outputs; output i is the first one plus i.
        batch: Fixed batch size; None: any.
        squash: Whether a sigmoid ends the graph.
        half: Whether input and weights are float16.
    """
    dtype, element = (np.float16, TensorProto.FLOAT16) if half else (np.float32, TensorProto.FLOAT)
    kernel = np.zeros((channels, 3, 1, 1), dtype)
    for channel in range(channels):
        kernel[channel] = 1 / 3 if channel == 3 or channels == 1 else 0
        if channels > 1 and channel < 3:
            kernel[channel, channel] = 1
    height, width = size_hw or ("height", "width")
    shape = [batch or "batch", 3, height, width]
    nodes = [helper.make_node("Conv", ["image", "kernel"], ["map"])]
    last = "map"
    if squash:
        nodes.append(helper.make_node("Sigmoid", ["map"], ["squashed"]))
        last = "squashed"
    initializers = [numpy_helper.from_array(kernel, "kernel")]
    results = []
    for index in range(outputs):
        initializers.append(numpy_helper.from_array(np.array(index, dtype), f"shift{index}"))
        nodes.append(helper.make_node("Add", [last, f"shift{index}"], [f"out{index}"]))
        results.append(helper.make_tensor_value_info(f"out{index}", element, [shape[0], channels, *shape[2:]]))
    graph = helper.make_graph(
        nodes, "small", [helper.make_tensor_value_info("image", element, shape)], results, initializers
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def write_card_graph(path: Path, card: ModelCard) -> Path:
    """A small graph with the signature of this row's network."""
    if card.weights and card.weights[0].runtime == "tflite":
        kernel = np.random.default_rng(0).standard_normal((len(card.labels) or 1, 3))
        if not card.labels:
            kernel = np.full((1, 3), 1 / 3)  # the mean of the colours
        return write_tflite(path.with_suffix(".tflite"), size_hw=card.recipe.pre.size_hw, kernel=kernel)
    free = card.recipe.pre.fit in ("shorter-side", "shorter-side-pad")
    return write_graph(
        path,
        size_hw=None if free else card.recipe.pre.size_hw,
        channels=len(card.labels) or 1,
        outputs=card.recipe.post.output + 1,
        squash=card.recipe.post.activation == "none" and not card.labels,
    )
