"""ONNX files of networks with random weights of published shapes, checked against ONNX Runtime."""

import logging
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from maskwright.errors import EngineUnavailable, ModelError  # noqa: E402
from maskwright.models import export  # noqa: E402
from maskwright.models.convert import load_network  # noqa: E402
from maskwright.models.export import export_onnx  # noqa: E402
from maskwright.networks import build_network  # noqa: E402
from tests.support.exports import randomize, run_onnx  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def check(name, path, sizes, size_hw=None):
    torch.manual_seed(4)
    network = randomize(build_network(name))
    export_onnx(network, path, size_hw)
    for number, size in enumerate(sizes):
        batch = np.random.default_rng(number).standard_normal((1, 3, *size), np.float32)
        with torch.inference_mode():
            wanted = network(torch.from_numpy(batch))[0].numpy()
        assert abs(run_onnx(path, batch) - wanted).max() < 1e-4


def test_u2netp_at_a_fixed_size_agrees_and_gives_its_weights_back(tmp_path):
    path = tmp_path / "u2netp.onnx"
    check("u2netp", path, [(64, 96)], (64, 96))
    assert load_network(path)[0] == "u2netp"
    assert [each.name for each in tmp_path.iterdir()] == ["u2netp.onnx"]  # the weights are in it


def test_the_face_network_at_any_size_agrees(tmp_path):
    check("anime_unet", tmp_path / "anime.onnx", [(64, 96), (128, 64)])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["isnet", "isnet_base", "u2net", "u2net_cloth"])
def test_each_large_network_agrees(name, tmp_path):
    check(name, tmp_path / "network.onnx", [(64, 96)], (64, 96))


@pytest.mark.slow
def test_modnet_at_any_size_agrees(tmp_path):
    check("modnet", tmp_path / "modnet.onnx", [(64, 96), (96, 64)])


@pytest.fixture
def tiny():
    """A network of one layer: what is tested here is not the exporter."""

    class Tiny(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 1, 3, padding=1)

        def forward(self, x):
            return (torch.sigmoid(self.conv(x)),)

    return Tiny().eval()


def test_a_file_that_computes_something_else_is_refused(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "_TOLERANCE", -1)
    with pytest.raises(ModelError, match=r"x\.onnx in ONNX Runtime must be within -1 of PyTorch, got "):
        export_onnx(tiny, tmp_path / "x.onnx", (32, 32))


def test_without_onnx_runtime_it_is_said_that_nothing_was_checked(tiny, tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with caplog.at_level(logging.WARNING):
        export_onnx(tiny, tmp_path / "x.onnx", (32, 32))
    assert "was written and not checked: ONNX Runtime is not installed" in caplog.text


@pytest.mark.parametrize("library", ["onnx", "onnxscript", "torch"])
def test_a_library_that_is_missing(library, tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(EngineUnavailable, match=rf'{library} is not installed; pip install "maskwright\[export\]"'):
        export_onnx(tiny, tmp_path / "x.onnx")
