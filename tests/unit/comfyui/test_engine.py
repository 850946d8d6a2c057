"""Networks in the memory ComfyUI manages, with a stand-in for its graphics card."""

import gc
import types

import numpy as np
import pytest
import torch

from maskwright.comfyui import engine as room
from maskwright.comfyui.engine import ManagedEngine, find_device, open_managed, open_module, rest
from maskwright.comfyui.host import each, place_of
from maskwright.engines.torch import TorchEngine
from maskwright.errors import EngineFailed
from tests.support.card import Patcher, put_card
from tests.support.graphs import write_graph
from tests.support.networks import make_batch, write_checkpoint

BATCH = make_batch(1, 64)


@pytest.fixture
def card(monkeypatch):
    room._load.cache_clear()
    return put_card(monkeypatch)


@pytest.fixture
def module():
    return Doubling()


class Doubling(torch.nn.Module):
    """Doubles, once it has failed by these errors."""

    def __init__(self, errors=()):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(2.0))
        self.errors = list(errors)
        self.eval()

    def forward(self, x):
        if self.errors:
            raise self.errors.pop(0)
        return x * self.scale


def test_a_network_computes_on_the_card_and_says_how_much_room_it_needs(card, module):
    managed = ManagedEngine(module)
    assert np.array_equal(managed.run(BATCH)[0], 2 * BATCH)
    assert managed.device == "cuda:0"
    assert card.asked == [{"memory_required": 64 * 64 * 2048, "force_full_load": True}]


@pytest.mark.parametrize("stay", [True, False])
def test_when_the_pictures_are_done_it_stays_only_where_it_may(card, module, stay):
    segmenter = types.SimpleNamespace(engine=ManagedEngine(module, stay=stay))
    for number in each([1, 2], 2, segmenter, None):
        segmenter.engine.run(BATCH)
        assert len(card.on_card()) == 1, number  # also between pictures: it is not moved for each of them
    assert len(card.on_card()) == stay
    assert card.emptied == (not stay)


def test_cancel_and_errors_leave_nothing_on_the_card(card, module):
    class Interrupted(Exception):
        pass

    def cancel():
        if card.asked:
            raise Interrupted

    card.throw_exception_if_processing_interrupted = cancel
    segmenter = types.SimpleNamespace(engine=ManagedEngine(module, stay=False))
    with pytest.raises(Interrupted):
        [segmenter.engine.run(BATCH) for _ in each([1, 2], 2, segmenter)]
    assert not card.on_card()
    broken = ManagedEngine(Doubling([RuntimeError("no such kernel")]))
    with pytest.raises(EngineFailed, match="stopped while computing"):
        broken.run(BATCH)
    assert not card.on_card()


def test_comfyui_may_free_it_and_the_next_run_brings_it_back(card, module):
    managed = ManagedEngine(module)
    first = managed.run(BATCH)[0]
    card.unload_all_models()
    assert not card.on_card()
    assert np.array_equal(managed.run(BATCH)[0], first)
    assert len(card.on_card()) == 1


def test_a_network_can_be_freed_as_long_as_it_lives(card):
    module = Doubling()
    ManagedEngine(module).run(BATCH)
    ManagedEngine(module).run(BATCH)
    gc.collect()
    assert len(card.on_card()) == 1  # which fails where the patcher is gone before the module
    del module
    gc.collect()
    assert not card.on_card()


def test_a_copy_of_a_network_is_another_network(card, module):
    from copy import deepcopy

    ManagedEngine(module).run(BATCH)
    ManagedEngine(deepcopy(module)).run(BATCH)
    gc.collect()
    assert [patcher.model for patcher in card.on_card()] == [module]


def test_for_lack_of_memory_everything_else_leaves_the_card(card):
    other = Patcher(torch.nn.Identity(), card.place, torch.device("cpu"))
    card.load_models_gpu([other])
    managed = ManagedEngine(Doubling([torch.OutOfMemoryError("CUDA out of memory.")]))
    assert np.array_equal(managed.run(BATCH)[0], 2 * BATCH)
    assert not other.on_card
    assert len(card.on_card()) == 1


def test_memory_that_does_not_suffice_is_an_error_with_a_cure(card):
    lack = [torch.OutOfMemoryError("CUDA out of memory.") for _ in range(2)]
    with pytest.raises(EngineFailed, match="cuda:0 has too little memory for a picture; choose CPU as device_mode"):
        ManagedEngine(Doubling(lack)).run(BATCH)
    assert not card.on_card()
    then = [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("no such kernel")]
    with pytest.raises(EngineFailed, match="no such kernel"):
        ManagedEngine(Doubling(then)).run(BATCH)


def test_on_the_card_pytorch_runs_what_it_can_from_files_read_once(card, tmp_path, monkeypatch):
    path = write_checkpoint(tmp_path / "u2netp.pth", "u2netp")
    read = []
    load = room.load_network
    monkeypatch.setattr(room, "load_network", lambda *given: read.append(given) or load(*given))
    for _ in range(2):
        managed = open_managed(path, "torch", network="u2netp", device="cuda:0")
        assert isinstance(managed, ManagedEngine)
    assert len(read) == 1
    assert not isinstance(open_managed(path, "torch", network="u2netp", device="cpu"), ManagedEngine)
    graph = write_graph(tmp_path / "own.onnx", size_hw=(64, 64))
    assert not isinstance(open_managed(graph, "onnx", device="cuda:0"), ManagedEngine)  # no network of ours
    monkeypatch.setattr(room, "load_network", lambda *_: ("u2netp", Doubling()))
    assert isinstance(open_managed(graph, "onnx", network="u2netp", device="cuda:0"), ManagedEngine)


def test_a_network_in_half_precision_is_copied_once_and_left_as_it_is(card):
    half = Doubling().half()
    managed = [open_module(half, "cuda:0", stay=False) for _ in range(2)]
    assert [np.array_equal(one.run(BATCH)[0], 2 * BATCH) for one in managed] == [True, True]
    assert half.scale.dtype == torch.float16
    assert len(card.on_card()) == 1
    assert list(half.state_dict()) == ["scale"]
    rest(managed[0])
    assert not card.on_card()
    assert isinstance(open_module(half, "cpu"), TorchEngine)


@pytest.mark.parametrize(
    ("kind", "device"), [("cuda:0", "cuda:0"), ("cuda:1", "cuda:1"), ("mps", "mps"), ("xpu:0", "cpu"), ("cpu", "cpu")]
)
def test_comfyui_s_device_in_our_words(card, monkeypatch, kind, device):
    card.place = torch.device(kind)
    monkeypatch.setattr(torch.version, "hip", None)
    assert find_device() == device
    assert place_of("Prefer GPU") == (device, True)
    assert place_of("CPU") == ("cpu", False)
    if kind == "cuda:0":
        monkeypatch.setattr(torch.version, "hip", "6.4")
        assert find_device() == "rocm:0"


def test_outside_comfyui_nothing_is_managed(monkeypatch, module):
    import sys

    monkeypatch.delitem(sys.modules, "comfy.model_management", raising=False)
    assert place_of("AUTO") == ("auto", False)
    assert isinstance(open_module(module, "auto"), TorchEngine)
