"""The factory: one engine for all who ask for the same, a bound on how many, and who runs what."""

import subprocess
import sys

import pytest

from maskwright import engines
from maskwright.engines import (
    RUNTIMES,
    is_installed,
    open_engine,
    release_engines,
    runs_on,
    runtimes_for,
)
from maskwright.engines import base as engine_base
from maskwright.engines import onnx as onnx_engine
from maskwright.engines.onnx import OnnxEngine
from maskwright.errors import EngineFailed, EngineUnavailable, OptionError
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


@pytest.mark.parametrize(
    ("name", "runtimes"),
    [
        ("u2net.onnx", ("onnx", "torch")),
        ("isnetis.CKPT", ("torch",)),
        ("RMBG-1.4.bin", ("torch",)),
        ("net.safetensors", ("torch",)),
        ("notes.txt", ()),
    ],
)
def test_a_file_s_name_says_who_reads_it(name, runtimes):
    assert runtimes_for(name) == runtimes


def test_what_is_installed_is_found_out_without_importing_it(monkeypatch):
    code = (
        "import sys\nfrom maskwright.engines import is_installed, RUNTIMES\n"
        "[is_installed(name) for name in RUNTIMES]\n"
        "print([r.library for r in RUNTIMES.values() if r.library in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert not is_installed("coffee")
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    assert not any(map(is_installed, RUNTIMES))


def test_words_for_the_same_device_share_an_engine(graph):
    words = [word for word in ("auto", "cpu", "cpu!") if OnnxEngine.resolve_device(word).name == "cpu"]
    assert len({id(open_engine(graph, device=word)) for word in words}) == 1


def test_equal_threads_share_an_engine(graph, monkeypatch):
    before = open_engine(graph, threads=2)
    monkeypatch.setenv("MASKWRIGHT_THREADS", "2")
    assert open_engine(graph) is before
    assert open_engine(graph, threads=1) is not before


def test_a_wrong_device_is_said_before_a_wrong_file(tmp_path):
    with pytest.raises(OptionError, match="device must be one of auto"):
        open_engine(tmp_path / "none.onnx", device="abacus")


def test_runs_on_asks_without_falling_back(caplog):
    assert runs_on("onnx", "cpu")
    assert runs_on("onnx", "auto")
    assert runs_on("onnx", "directml") == ("directml" in onnx_engine.available_devices())
    assert not caplog.records


def test_released_engines_are_opened_anew(graph):
    before = open_engine(graph)
    release_engines()
    assert open_engine(graph) is not before


def test_a_second_call_is_warm(graph):
    assert open_engine(graph) is open_engine(graph)


def test_a_changed_file_is_loaded_anew(graph):
    before = open_engine(graph)
    write_graph(graph, size_hw=(8, 8), outputs=3)
    assert open_engine(graph) is not before


def test_the_engines_kept_are_bounded(tmp_path):
    paths = [write_graph(tmp_path / f"{n}.onnx", size_hw=(4, 4)) for n in range(engines._BOUND + 2)]
    first = open_engine(paths[0])
    for path in paths[1:]:
        open_engine(path)
    assert len(engines._kept) == engines._BOUND
    assert open_engine(paths[0]) is not first


def test_a_file_of_another_runtime_is_refused(tmp_path):
    with pytest.raises(
        EngineUnavailable, match=r"runtime of net\.abc must be one of onnx, torch, tflite, got 'abacus'"
    ):
        open_engine(tmp_path / "net.abc", "abacus")


def test_a_warm_engine_does_not_wait_while_another_is_loaded(tmp_path, monkeypatch):
    import threading

    warm = write_graph(tmp_path / "warm.onnx", size_hw=(4, 4))
    cold = write_graph(tmp_path / "cold.onnx", size_hw=(4, 4))
    first = open_engine(warm)
    go_on, began = threading.Event(), threading.Event()

    class Slow(OnnxEngine):
        def __init__(self, *arguments):
            began.set()
            assert go_on.wait(10)
            super().__init__(*arguments)

    monkeypatch.setattr(onnx_engine, "OnnxEngine", Slow)
    results = []
    threads = [threading.Thread(target=lambda: results.append(open_engine(cold))) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert began.wait(10)
    assert open_engine(warm) is first
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert len(results) == 2
    assert results[0] is results[1]


def test_a_file_that_failed_is_tried_again(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"half a download")
    with pytest.raises(EngineFailed, match="is not a network"):
        open_engine(path)
    write_graph(path, size_hw=(4, 4))
    assert open_engine(path).input_shape == (1, 3, 4, 4)
