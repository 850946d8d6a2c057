"""Write a checkpoint's averaged weights as an ONNX file: stored in half precision, computed in single."""

from __future__ import annotations

import argparse
import hashlib
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import torch
from ccp import CLASSES
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from maskwright.networks.parts import PartsNet

_OPSET = 17


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    network = PartsNet(len(CLASSES))
    network.load_state_dict(torch.load(options.checkpoint, weights_only=True)["average"])
    _fold(network.eval())
    model = _traced(network, options.output)
    _halve(model)
    onnx.checker.check_model(model)
    onnx.save(model, options.output)
    content = options.output.read_bytes()
    print(f"{options.output}: {len(content):,} bytes, sha256 {hashlib.sha256(content).hexdigest()}")


def _fold(module: nn.Module) -> None:
    """Put each normalization into the convolution before it."""
    for child in module.children():
        _fold(child)
    if not isinstance(module, nn.Sequential):
        return
    layers = list(module)
    for index, (first, second) in enumerate(pairwise(layers)):
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
            module[index], module[index + 1] = fuse_conv_bn_eval(first, second), nn.Identity()


def _traced(network: nn.Module, path: Path) -> onnx.ModelProto:
    free = {0: "batch", 2: "height", 3: "width"}
    torch.onnx.export(
        network,
        (torch.zeros(1, 3, 256, 192),),
        path,
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": free, "logits": free},
        opset_version=_OPSET,
        dynamo=False,
    )
    return onnx.load(path)


def _halve(model: onnx.ModelProto) -> None:
    """Store the weights as float16 and turn them back before they are used; runtimes do that once, at the start."""
    graph = model.graph
    casts = []
    for weights in graph.initializer:
        if weights.data_type != TensorProto.FLOAT or np.prod(weights.dims) < 64:
            continue
        values, name = numpy_helper.to_array(weights), weights.name
        weights.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


if __name__ == "__main__":
    main()
