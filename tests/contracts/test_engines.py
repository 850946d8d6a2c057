"""What every engine promises, run over all of them on the same function: the mean of the channels, squashed."""

import numpy as np
import pytest

from maskwright.engines import Engine, FakeEngine
from maskwright.engines.onnx import OnnxEngine
from maskwright.errors import EngineFailed
from maskwright.segmenters import open_segmenter
from tests.support.graphs import write_graph
from tests.support.networks import make_batch


def open_fake(folder):
    def both(batch):
        mean = (1 / (1 + np.exp(-batch.mean(axis=1, keepdims=True)))).astype(np.float32)
        return [mean, mean + 1]

    return FakeEngine(both)


def open_onnx(folder):
    return OnnxEngine(write_graph(folder / "mean.onnx", size_hw=None, outputs=2, batch=None), "cpu")


def open_torch(folder):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from maskwright.engines.torch import TorchEngine

    class Mean(torch.nn.Module):
        def forward(self, x):
            mean = torch.sigmoid(x.mean(1, keepdim=True))
            return mean, mean + 1

    return TorchEngine.from_module(Mean().eval(), "cpu")


@pytest.fixture(params=[open_fake, open_onnx, open_torch], ids=["fake", "onnx", "torch"])
def engine(request, tmp_path):
    opened = request.param(tmp_path)
    yield opened
    opened.close()


class TestEngine:
    def test_it_is_one(self, engine):
        assert isinstance(engine, Engine)
        assert engine.name
        assert engine.device == "cpu"
        assert engine.input_shape == (None, 3, None, None)

    @pytest.mark.parametrize("shape", [(1, 3, 8, 8), (3, 3, 5, 7), (1, 3, 1, 1)])
    def test_outputs_are_float32_arrays_of_the_batch_s_size(self, engine, shape):
        batch = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        results = engine.run(batch, (1, 0))
        expected = 1 / (1 + np.exp(-batch.mean(axis=1, keepdims=True)))
        assert [result.dtype for result in results] == [np.float32, np.float32]
        assert np.allclose(results[1], expected, atol=1e-6)
        assert np.allclose(results[0], expected + 1, atol=1e-6)

    def test_the_batch_is_not_changed_and_the_result_is_the_caller_s(self, engine):
        batch = make_batch(2, 8)
        before = batch.copy()
        (first,) = engine.run(batch)
        kept = first.copy()
        engine.run(batch + 1)
        first += 0  # writable
        assert np.array_equal(batch, before)
        assert np.array_equal(first, kept)

    def test_a_batch_that_is_not_contiguous_is_the_same(self, engine):
        batch = make_batch(2, 8)
        turned = np.ascontiguousarray(batch.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        assert np.array_equal(engine.run(turned)[0], engine.run(batch)[0])

    def test_the_same_batch_gives_the_same_bytes(self, engine):
        batch = make_batch(1, 32)
        assert engine.run(batch)[0].tobytes() == engine.run(batch)[0].tobytes()

    def test_a_segmenter_takes_it(self, engine):
        image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
        result = open_segmenter("isnet-general-use", engine=engine)(image)
        assert result.mask.shape == (20, 30)
        assert result.provenance.engine == engine.name


@pytest.mark.parametrize("open_one", [open_onnx, open_torch], ids=["onnx", "torch"])
def test_an_output_that_is_not_there_is_refused_by_every_runtime(open_one, tmp_path):
    with pytest.raises(EngineFailed, match="output must be below 2, got 2"):
        open_one(tmp_path).run(make_batch(1, 8), (2,))
