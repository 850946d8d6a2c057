import numpy as np
import pytest

from maskwright.engines.base import Device, check_batch, choose_threads, first_line, parse_device
from maskwright.errors import OptionError, ShapeError


@pytest.mark.parametrize(
    ("words", "device"),
    [
        ("auto", Device("auto", 0, False)),
        ("CPU", Device("cpu", 0, False)),
        ("gpu", Device("cuda", 0, False)),
        ("cuda:2!", Device("cuda", 2, True)),
        ("dml", Device("directml", 0, False)),
        ("mps!", Device("mps", 0, True)),
    ],
)
def test_devices_are_read_as_people_write_them(words, device):
    assert parse_device(words) == device


@pytest.mark.parametrize("words", ["", "tpu", "cuda:x", "cuda:-1"])
def test_unknown_devices_are_refused(words):
    with pytest.raises(OptionError, match="device must be one of auto, cpu, cuda"):
        parse_device(words)


def test_threads_are_taken_from_the_caller_then_from_the_environment(monkeypatch):
    monkeypatch.setenv("MASKWRIGHT_THREADS", "3")
    assert choose_threads(5) == 5
    assert choose_threads(None) == 3
    monkeypatch.delenv("MASKWRIGHT_THREADS")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert choose_threads(None) == 2
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert choose_threads(None) == 0


def test_a_batch_must_fit_where_the_network_insists():
    check_batch(np.zeros((4, 3, 8, 8), np.float32), (None, 3, 8, None))
    with pytest.raises(ShapeError, match=r"network input must be \(any, 3, 8, any\), got \(1, 3, 9, 8\)"):
        check_batch(np.zeros((1, 3, 9, 8), np.float32), (None, 3, 8, None))


def test_only_the_first_line_of_a_runtimes_words_is_kept():
    assert first_line(ValueError("\n one\ntwo")) == "one"
    assert first_line(ValueError("")) == "ValueError"
