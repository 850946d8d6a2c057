import logging
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install .[torch]")

from maskwright.engines import base as engine_base  # noqa: E402
from maskwright.engines import open_engine, release_engines  # noqa: E402
from maskwright.engines.base import Device  # noqa: E402
from maskwright.engines.torch import TorchEngine, _to_half, available_devices  # noqa: E402
from maskwright.errors import EngineFailed, EngineUnavailable, OptionError, ShapeError  # noqa: E402
from tests.support.networks import make_batch, write_checkpoint  # noqa: E402

no_cuda = pytest.mark.skipif("cuda" in available_devices(), reason="this machine has CUDA")


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.setattr(engine_base, "_warned", set())
    release_engines()
    yield
    release_engines()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("torch") / "UNet.pth", "anime_unet")


class Mean(torch.nn.Module):
    """Two outputs: the mean of the channels, and that plus one."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(3)
        self.conv = torch.nn.Conv2d(3, 1, 1, bias=False)
        torch.nn.init.constant_(self.conv.weight, 1 / 3)
        self.eval()

    def forward(self, x):
        mean = self.conv(self.norm(x))
        return mean, mean + 1


class TestFile:
    def test_it_computes_what_the_network_says(self, checkpoint):
        from maskwright.models.convert import load_network

        batch = make_batch(1, 64)
        with torch.inference_mode():
            expected = load_network(checkpoint)[1](torch.from_numpy(batch))[0].numpy()
        (result,) = TorchEngine(checkpoint).run(batch)
        assert result.dtype == np.float32
        assert result.shape == (1, 7, 64, 64)
        assert np.array_equal(result, expected)

    def test_it_says_what_it_is(self, checkpoint):
        engine = TorchEngine(checkpoint, "cpu")
        assert engine.name == f"torch {torch.__version__.partition('+')[0]}"
        assert engine.device == "cpu"
        assert engine.input_shape == (None, 3, None, None)

    def test_a_file_that_is_no_network_is_refused(self, tmp_path):
        path = tmp_path / "page.pth"
        path.write_bytes(b"<html>not found</html>")
        with pytest.raises(EngineFailed, match=r"page\.pth"):
            TorchEngine(path)

    def test_the_weights_of_another_network_are_refused(self, checkpoint):
        with pytest.raises(EngineFailed, match=r"UNet\.pth.*must be .*of isnet"):
            TorchEngine(checkpoint, network="isnet")

    def test_a_network_that_stops_says_why(self, checkpoint):
        with pytest.raises(EngineFailed, match=r"UNet\.pth stopped while computing \(Sizes of tensors must match"):
            TorchEngine(checkpoint).run(make_batch(1, 50))  # not a multiple of 32

    def test_another_number_of_channels_is_refused(self, checkpoint):
        with pytest.raises(ShapeError, match=r"network input must be \(any, 3, any, any\), got \(1, 4, 8, 8\)"):
            TorchEngine(checkpoint).run(np.zeros((1, 4, 8, 8), np.float32))

    def test_u2netp_s_onnx_file_gives_what_onnx_runtime_gives(self, u2netp_store):
        path = u2netp_store / "models" / "u2netp.onnx"
        batch = make_batch(2, 320)
        together = open_engine(path, "torch", network="u2netp", device="cpu").run(batch)[0]
        ours = open_engine(path, "onnx", device="cpu")
        each = np.concatenate([ours.run(batch[index : index + 1])[0] for index in range(2)])
        assert together.shape == each.shape
        assert np.abs(together - each).max() < 1e-4


class TestModule:
    def test_outputs_are_named_by_index(self):
        batch = make_batch(2, 8)
        first, second = TorchEngine.from_module(Mean(), "cpu").run(batch, (0, 1))
        assert np.allclose(first, batch.mean(axis=1, keepdims=True), atol=1e-4)
        assert np.allclose(second, first + 1)

    def test_an_output_that_is_not_there_is_refused(self):
        with pytest.raises(EngineFailed, match=r"Mean: output must be below 2, got 5"):
            TorchEngine.from_module(Mean(), "cpu").run(make_batch(1, 8), (5,))

    def test_a_picture_gets_the_same_numbers_in_any_company(self):
        batch = make_batch(3, 16)
        engine = TorchEngine.from_module(Mean(), "cpu")
        together = engine.run(batch)[0]
        assert all(np.array_equal(engine.run(batch[n : n + 1])[0][0], together[n]) for n in range(3))

    def test_a_module_that_fits_is_shared(self):
        module = Mean()
        assert TorchEngine.from_module(module, "cpu")._module is module

    def test_a_module_in_training_is_copied_and_stays_as_it_is(self):
        module = Mean().train()
        engine = TorchEngine.from_module(module, "cpu")
        before = module.norm.running_mean.clone()
        engine.run(make_batch(1, 8) + 5)
        assert module.training
        assert torch.equal(module.norm.running_mean, before)
        assert all(value.requires_grad for value in module.parameters())

    def test_a_module_elsewhere_is_copied_and_not_moved(self):
        module = Mean().to("meta")  # a device that every PyTorch has
        with pytest.raises(EngineFailed, match=r"stopped while computing \(Cannot copy out of meta tensor"):
            TorchEngine.from_module(module, "cpu")
        assert {value.device.type for value in module.parameters()} == {"meta"}

    def test_many_threads_share_one_engine(self):
        engine = TorchEngine.from_module(Mean(), "cpu", threads=1)
        batches = [make_batch(1, 32, seed) for seed in range(16)]
        expected = [engine.run(batch)[0] for batch in batches]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda batch: engine.run(batch)[0], batches))
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))

    def test_too_little_memory_is_said_with_a_cure(self):
        class Greedy(torch.nn.Module):
            def forward(self, x):
                return torch.empty(1 << 50)

        with pytest.raises(EngineFailed, match=r"Greedy needs more memory than cpu has free .*smaller picture"):
            TorchEngine.from_module(Greedy().eval(), "cpu").run(make_batch(1, 8))

    def test_half_precision_keeps_norms_in_float32(self):
        half = _to_half(Mean())
        assert half.conv.weight.dtype == torch.float16
        assert half.norm.weight.dtype == half.norm.running_mean.dtype == torch.float32

    def test_half_precision_is_for_graphics_cards_alone(self):
        module = Mean()
        engine = TorchEngine.from_module(module, "cpu", half=True)
        assert engine._module is module
        assert engine.run(make_batch(1, 8))[0].dtype == np.float32

    def test_closing_lets_go_of_the_network(self):
        import weakref

        module = Mean()
        gone = weakref.ref(module)
        engine = TorchEngine.from_module(module, "cpu")
        del module
        assert gone() is not None
        engine.close()
        assert gone() is None


class TestDevice:
    @no_cuda
    @pytest.mark.parametrize("words", ["auto", "cpu", "cpu!", "auto!"])
    def test_words_that_mean_the_cpu_are_one_device(self, words):
        assert TorchEngine.resolve_device(words) == Device("cpu", 0, False)

    def test_a_device_nobody_knows_is_refused(self):
        with pytest.raises(OptionError, match="device must be one of auto, cpu, cuda"):
            TorchEngine.resolve_device("abacus")

    @no_cuda
    def test_insisting_on_a_device_that_is_not_there_fails(self):
        with pytest.raises(EngineUnavailable, match=r"device cuda cannot be had: this PyTorch finds cpu.*leave the !"):
            TorchEngine.resolve_device("cuda:1!")

    def test_insisting_on_what_pytorch_has_not_fails(self):
        with pytest.raises(EngineUnavailable, match="device openvino cannot be had"):
            TorchEngine.resolve_device("openvino!")

    def test_an_index_past_the_end_fails_too(self):
        with pytest.raises(EngineUnavailable, match=r"device cpu cannot be had: the index ends at 0"):
            TorchEngine.resolve_device("cpu:3!")

    @no_cuda
    def test_without_insisting_it_says_once_that_it_runs_on_the_cpu(self, caplog):
        with caplog.at_level(logging.WARNING):
            assert TorchEngine.from_module(Mean(), "cuda").device == "cpu"
            assert TorchEngine.from_module(Mean(), "gpu").device == "cpu"
        assert len([record for record in caplog.records if "running on the CPU" in record.message]) == 1

    @pytest.mark.gpu
    @pytest.mark.skipif("cuda" not in available_devices(), reason="this machine has no CUDA")
    @pytest.mark.parametrize("half", [False, True])
    def test_cuda_agrees_with_the_cpu(self, checkpoint, half):
        batch = make_batch(2, 128)
        ours = TorchEngine(checkpoint, "cuda!", half=half).run(batch)[0]
        assert np.abs(ours - TorchEngine(checkpoint, "cpu").run(batch)[0]).max() < (0.05 if half else 0.01)

    def test_without_pytorch_the_extra_is_named(self, checkpoint, monkeypatch):
        monkeypatch.setitem(sys.modules, "torch", None)
        with pytest.raises(EngineUnavailable, match=r"PyTorch is not installed.*maskwright\[torch\]"):
            TorchEngine(checkpoint)


class TestThreads:
    def test_the_number_is_set_back(self):
        seen = []

        class Watch(torch.nn.Module):
            def forward(self, x):
                seen.append(torch.get_num_threads())
                return x

        before = torch.get_num_threads()
        TorchEngine.from_module(Watch().eval(), "cpu", threads=before + 1).run(make_batch(1, 8))
        assert seen == [before + 1]
        assert torch.get_num_threads() == before

    def test_the_last_who_borrowed_it_sets_it_back(self):
        before = torch.get_num_threads()
        inside, go_on = threading.Barrier(3), threading.Event()

        class Wait(torch.nn.Module):
            def forward(self, x):
                inside.wait(10)
                assert go_on.wait(10)
                return x

        engines = [TorchEngine.from_module(Wait().eval(), "cpu", threads=before + more) for more in (1, 2)]
        runs = [threading.Thread(target=engine.run, args=(make_batch(1, 8),)) for engine in engines]
        for run in runs:
            run.start()
        inside.wait(10)
        go_on.set()
        for run in runs:
            run.join(10)
        assert torch.get_num_threads() == before

    def test_they_come_from_the_environment(self, monkeypatch):
        monkeypatch.setenv("MASKWRIGHT_THREADS", "many")
        with pytest.raises(OptionError, match="MASKWRIGHT_THREADS must be a whole number"):
            TorchEngine.from_module(Mean(), "cpu")
