import logging
import sys

import numpy as np
import pytest

from maskwright.engines import base as engine_base
from maskwright.engines import release_engines
from maskwright.engines.onnx import OnnxEngine, available_devices
from maskwright.errors import EngineFailed, EngineUnavailable, OptionError, ShapeError
from tests.support.graphs import write_graph


@pytest.fixture
def graph(tmp_path):
    return write_graph(tmp_path / "small.onnx", size_hw=(8, 8), outputs=2)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.setattr(engine_base, "_warned", set())
    release_engines()
    yield
    release_engines()


def test_it_computes_what_the_graph_says(graph):
    batch = np.random.default_rng(0).random((1, 3, 8, 8), np.float32)
    first, second = OnnxEngine(graph).run(batch, (0, 1))
    expected = 1 / (1 + np.exp(-batch.mean(axis=1, keepdims=True)))
    assert np.allclose(first, expected, atol=1e-6)
    assert np.allclose(second, expected + 1, atol=1e-6)


def test_it_says_what_it_is(graph):
    engine = OnnxEngine(graph)
    assert engine.name.startswith("onnxruntime ")
    assert engine.device == "cpu"
    assert engine.input_shape == (1, 3, 8, 8)


def test_free_axes_are_none(tmp_path):
    engine = OnnxEngine(write_graph(tmp_path / "free.onnx", size_hw=None, batch=None))
    assert engine.input_shape == (None, 3, None, None)
    assert engine.run(np.zeros((3, 3, 5, 7), np.float32))[0].shape == (3, 1, 5, 7)


def test_half_precision_is_converted_both_ways(tmp_path):
    engine = OnnxEngine(write_graph(tmp_path / "half.onnx", size_hw=(4, 4), half=True))
    (result,) = engine.run(np.ones((1, 3, 4, 4), np.float32))
    assert result.dtype == np.float32
    assert np.allclose(result, 1 / (1 + np.exp(-1)), atol=2e-3)


def test_another_shape_is_refused(graph):
    with pytest.raises(ShapeError, match=r"network input must be \(1, 3, 8, 8\), got \(1, 3, 9, 8\)"):
        OnnxEngine(graph).run(np.zeros((1, 3, 9, 8), np.float32))


def test_an_output_that_is_not_there_is_refused(graph):
    with pytest.raises(EngineFailed, match="output must be below 2, got 5"):
        OnnxEngine(graph).run(np.zeros((1, 3, 8, 8), np.float32), (5,))


def test_a_file_that_is_no_network_is_refused(tmp_path):
    path = tmp_path / "page.onnx"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(EngineFailed, match=r"page\.onnx is not a network.*--weights"):
        OnnxEngine(path)


def test_a_network_that_takes_no_picture_is_refused(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "flat", [value], [result])
    path = tmp_path / "flat.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    with pytest.raises(EngineFailed, match=r"first input must be \(N, 3, H, W\), got \[1, 3\]"):
        OnnxEngine(path)


def test_a_device_nobody_knows_is_refused(graph):
    with pytest.raises(OptionError, match="device must be one of auto, cpu, cuda"):
        OnnxEngine(graph, "abacus")


@pytest.mark.skipif("cuda" in available_devices(), reason="this machine has CUDA")
def test_insisting_on_a_device_that_is_not_there_fails(graph):
    with pytest.raises(EngineUnavailable, match=r"device cuda cannot be had.*leave the ! away"):
        OnnxEngine(graph, "cuda:1!")


@pytest.mark.skipif("cuda" in available_devices(), reason="this machine has CUDA")
def test_without_insisting_it_says_once_that_it_runs_on_the_cpu(graph, caplog):
    with caplog.at_level(logging.WARNING):
        assert OnnxEngine(graph, "cuda").device == "cpu"
        assert OnnxEngine(graph, "gpu").device == "cpu"
    assert [record.message for record in caplog.records if "running on the CPU" in record.message] == [
        caplog.records[0].message
    ]


def test_without_a_runtime_both_extras_are_named(graph, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineUnavailable, match=r"maskwright\[cpu\].*maskwright\[gpu\].*never both"):
        OnnxEngine(graph)


def test_threads_come_from_the_environment(graph, monkeypatch):
    monkeypatch.setenv("MASKWRIGHT_THREADS", "many")
    with pytest.raises(OptionError, match="MASKWRIGHT_THREADS must be a whole number"):
        OnnxEngine(graph)
    monkeypatch.setenv("MASKWRIGHT_THREADS", "1")
    assert OnnxEngine(graph)._session.get_session_options().intra_op_num_threads == 1
