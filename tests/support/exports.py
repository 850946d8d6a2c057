"""ONNX files of our networks, written the way published ones were."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

__all__ = ["quantize", "randomize", "run_onnx", "write_old_export"]


def write_old_export(network: Any, path: Path) -> Path:
    """The network's outputs as PyTorch's exporter for TorchScript writes them, as it wrote the files people have.

    Names are lost, norms are folded into convolutions, sizes are computed by chains of operators.
    """
    import torch

    image = torch.zeros(1, 3, 64, 96)
    axes = {"input": {2: "height", 3: "width"}}
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (image,), path, dynamo=False, input_names=["input"], dynamic_axes=axes)
    return path


def quantize(source: Path, target: Path, kind: str = "QUInt8") -> Path:
    """An ONNX file with weights of 8 bits, as ONNX Runtime's tools make it: optimised first, then quantised.

    Made so of u2net's published file, it has the size of silueta's to within what the tools' versions differ.
    """
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    quantize_dynamic(target, target, weight_type=QuantType[kind])
    return target


def run_onnx(path: Path, batch: Any) -> Any:
    """The first output, by ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: batch})[0]


def randomize(network: Any, seed: int = 0) -> Any:
    """The network with statistics of normalisations as after training.

    With zeros and ones, as they are made, signals fade from layer to layer, and a norm over the picture near the end
    makes rounding visible.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.2, generator=generator)
    return network
