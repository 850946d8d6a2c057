"""Networks of ours as ONNX files, for machines without PyTorch."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import EngineUnavailable, ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..types import FloatArray

__all__ = ["export_onnx"]

_logger = logging.getLogger(__name__)

_TOLERANCE = 1e-4  # between PyTorch and ONNX Runtime, on outputs in [0, 1]


def export_onnx(network: nn.Module, path: Path, size_hw: tuple[int, int] | None = None) -> None:
    """Write the network's first output as an ONNX file and see that ONNX Runtime, if it is here, computes the same.

    Args:
        network: A network in evaluation mode.
        path: Where to write.
        size_hw: Height and width its input will have, in pixels; None: any that the network takes, in any number.

    Raises:
        EngineUnavailable: PyTorch, onnx or onnxscript is not installed.
        ModelError: The file computes something else.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
        import torch
    except ImportError as error:
        raise EngineUnavailable(f"{error.name} is not installed", hint='pip install "maskwright[export]"') from error
    free = torch.export.Dim.DYNAMIC
    shapes = None if size_hw else ({0: free, 2: free, 3: free},)
    batch = torch.randn((1 if size_hw else 2, 3, *(size_hw or (64, 96))), generator=torch.Generator().manual_seed(0))
    log = logging.getLogger("torch.onnx")
    level = log.level
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        warnings.simplefilter("ignore")  # of the exporter about itself
        log.setLevel(logging.ERROR)
        try:
            program = torch.export.export(_first_output(network), (batch,), dynamic_shapes=shapes)
            torch.onnx.export(
                program, (), path, input_names=["input"], output_names=["output"], external_data=False, verbose=False
            )
        finally:
            log.setLevel(level)
        _compare(path, batch.numpy(), network(batch)[0].numpy())


def _first_output(network: nn.Module) -> nn.Module:
    from torch import nn

    class FirstOutput(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Tensor) -> Tensor:
            first: Tensor = self.network(x)[0]
            return first

    return FirstOutput().eval()


def _compare(path: Path, batch: FloatArray, wanted: FloatArray) -> None:
    from ..engines.onnx import OnnxEngine

    try:
        engine = OnnxEngine(path, "cpu")
    except EngineUnavailable as error:
        _logger.warning("%s was written and not checked: %s", path, error.what)
        return
    difference = float(abs(engine.run(batch)[0] - wanted).max())
    engine.close()
    if difference > _TOLERANCE:
        raise ModelError(
            f"{path.name} in ONNX Runtime", expected=f"within {_TOLERANCE} of PyTorch", got=f"{difference:.1e}"
        )
