import numpy as np

from maskwright.engines import Engine, FakeEngine


def test_it_is_an_engine():
    assert isinstance(FakeEngine(), Engine)


def test_bright_is_selected_and_calls_are_noted():
    engine = FakeEngine()
    batch = np.zeros((1, 3, 2, 2), np.float32)
    batch[..., 1] = 4
    (result,) = engine.run(batch)
    assert result[0, 0, 0, 1] > 0.9 > result[0, 0, 0, 0]
    assert engine.calls == [(1, 3, 2, 2)]


def test_any_function_may_stand_in():
    engine = FakeEngine(lambda batch: [batch, batch + 1])
    assert engine.run(np.zeros((1, 3, 1, 1), np.float32), (1,))[0].max() == 1
