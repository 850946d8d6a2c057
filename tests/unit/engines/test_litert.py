import logging
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed: pip install 'maskwright[person]'")

from maskwright.engines import base as engine_base
from maskwright.engines import open_engine, release_engines
from maskwright.engines.litert import LiteRTEngine
from maskwright.errors import EngineFailed, EngineUnavailable, OptionError, ShapeError
from tests.support.tflite import PERSON_KERNEL, write_person_graph, write_tflite


@pytest.fixture
def graph(tmp_path):
    return write_tflite(tmp_path / "small.tflite", size_hw=(37, 50), kernel=PERSON_KERNEL, bias=range(6))


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.setattr(engine_base, "_warned", set())
    release_engines()
    yield
    release_engines()


def expected_of(batch):
    planes = np.einsum("nchw,kc->nkhw", batch.astype(np.float64), PERSON_KERNEL)
    return planes + np.arange(6).reshape(1, 6, 1, 1)


def test_it_computes_what_the_graph_says_with_the_channels_first(graph):
    batch = np.random.default_rng(0).random((1, 3, 37, 50), np.float32)
    (result,) = LiteRTEngine(graph).run(batch)
    assert result.dtype == np.float32
    assert result.flags.c_contiguous
    assert np.allclose(result, expected_of(batch), atol=1e-4)


def test_it_says_what_it_is(graph):
    engine = open_engine(graph, "tflite")
    assert engine.name.startswith("litert ")
    assert engine.device == "cpu"
    assert engine.input_shape == (1, 3, 37, 50)
    assert engine.metadata.activation == "none"


def test_a_graph_of_any_size_takes_any_size(tmp_path):
    engine = LiteRTEngine(write_tflite(tmp_path / "free.tflite", size_hw=None, kernel=PERSON_KERNEL, bias=range(6)))
    assert engine.input_shape == (1, 3, None, None)
    for size_hw in [(5, 7), (20, 3), (20, 3), (5, 7)]:
        batch = np.random.default_rng(1).random((1, 3, *size_hw), np.float32)
        assert np.allclose(engine.run(batch)[0], expected_of(batch), atol=1e-4)


def test_threads_share_an_engine(graph):
    engine = LiteRTEngine(graph)
    batches = [np.full((1, 3, 37, 50), value, np.float32) for value in np.linspace(0, 1, 16)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda batch: engine.run(batch)[0], batches))
    assert all(np.allclose(got, expected_of(batch), atol=1e-4) for got, batch in zip(results, batches, strict=True))


def test_another_shape_is_refused(graph):
    with pytest.raises(ShapeError, match=r"network input must be \(1, 3, 37, 50\), got \(1, 3, 9, 8\)"):
        LiteRTEngine(graph).run(np.zeros((1, 3, 9, 8), np.float32))


def test_an_output_that_is_not_there_is_refused(graph):
    with pytest.raises(EngineFailed, match="output must be below 1, got 2"):
        LiteRTEngine(graph).run(np.zeros((1, 3, 37, 50), np.float32), (0, 2))


@pytest.mark.parametrize(
    ("values", "got"), [({"rank": 3}, r"\(1, 256, 256\) float32"), ({"quantized": True}, r"\(1, 256, 256, 3\) uint8")]
)
def test_a_network_that_takes_no_picture_is_refused(tmp_path, values, got):
    path = write_tflite(tmp_path / "other.tflite", kernel=PERSON_KERNEL, **values)
    with pytest.raises(EngineFailed, match=rf"the first input must be \(N, H, W, 3\) float32, got {got}"):
        LiteRTEngine(path)


@pytest.mark.parametrize("data", [b"", b"TFL3", b"PK\3\4 something else", b"\x08\x03\x12\x07pytorch" * 20])
def test_a_file_of_another_kind_is_refused(tmp_path, data):
    path = tmp_path / "other.tflite"
    path.write_bytes(data)
    with pytest.raises(EngineFailed, match=r"not a network that LiteRT can load \(it does not begin as a TFLite"):
        LiteRTEngine(path)


@pytest.mark.parametrize("kept", [8, 60, 400])
def test_a_file_that_is_cut_off_is_refused(graph, kept):
    graph.write_bytes(graph.read_bytes()[:kept])
    with pytest.raises(EngineFailed, match="not a network that LiteRT can load"):
        LiteRTEngine(graph)


def test_a_run_that_stops_says_so(graph, monkeypatch):
    engine = LiteRTEngine(graph)
    monkeypatch.setattr(engine, "_input", 99)  # no such tensor
    with pytest.raises(EngineFailed, match=r"small\.tflite stopped while computing"):
        engine.run(np.zeros((1, 3, 37, 50), np.float32))


def test_another_device_falls_back_once(graph, caplog):
    with caplog.at_level(logging.WARNING):
        assert LiteRTEngine(graph, "cuda").device == "cpu"
        LiteRTEngine(graph, "cuda")
    assert caplog.text.count("device cuda cannot be had (LiteRT runs on the CPU here)") == 1


def test_a_device_that_is_insisted_on_fails(graph):
    with pytest.raises(EngineUnavailable, match="device cuda cannot be had: LiteRT runs on the CPU here"):
        LiteRTEngine(graph, "cuda!")
    assert LiteRTEngine(graph, "cpu!").device == "cpu"
    with pytest.raises(OptionError, match="device must be one of auto"):
        LiteRTEngine(graph, "abacus")


def test_without_litert_the_extra_is_named(graph, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(EngineUnavailable, match=r'LiteRT is not installed; pip install "maskwright\[person\]"'):
        LiteRTEngine(graph)


def test_what_litert_only_tells_is_kept_from_stderr(tmp_path, run_python):
    path = write_person_graph(tmp_path / "six.tflite")
    code = (
        "import sys; from pathlib import Path; from maskwright.engines.litert import LiteRTEngine, _quiet\n"
        "import os\n"
        "LiteRTEngine(Path(sys.argv[1]))\n"
        "with _quiet(): os.write(2, b'INFO: chatter\\nERROR: grave\\n')\n"
    )
    done = run_python("-c", code, path)
    assert done.returncode == 0
    assert done.stderr.endswith("ERROR: grave\n")
    assert "INFO" not in done.stderr


def test_without_stderr_it_opens_all_the_same(tmp_path, run_python):
    path = write_person_graph(tmp_path / "six.tflite")
    code = (
        "import os, sys; from pathlib import Path; from maskwright.engines.litert import LiteRTEngine\n"
        "os.close(2)\n"
        "print(LiteRTEngine(Path(sys.argv[1])).input_shape)\n"
    )
    assert run_python("-c", code, path).stdout == "(1, 3, 256, 256)\n"
