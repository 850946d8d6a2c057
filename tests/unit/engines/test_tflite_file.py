"""The notes inside a TFLite file, read without a library."""

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("ai_edge_litert", reason="graphs are built with its schema: pip install 'maskwright[person]'")

from maskwright.engines.base import Metadata
from maskwright.engines.tflite_file import is_tflite, read_metadata
from maskwright.errors import EngineFailed
from tests.support.tflite import PERSON_KERNEL, make_metadata, write_tflite

HERE = Path("small.tflite")


def written(tmp_path, **values):
    return write_tflite(tmp_path / "small.tflite", size_hw=(4, 4), kernel=PERSON_KERNEL, **values).read_bytes()


@pytest.mark.parametrize("activation", ["none", "sigmoid", "softmax"])
def test_it_reads_what_was_written(tmp_path, activation):
    data = written(tmp_path, mean=[127.5], std=[64.0], activation=activation)
    assert is_tflite(data)
    assert read_metadata(HERE, data) == Metadata((127.5,) * 3, (64.0,) * 3, activation)


def test_each_channel_may_have_its_own(tmp_path):
    data = written(tmp_path, mean=[1, 2, 3], std=[4, 5, 6])
    assert read_metadata(HERE, data) == Metadata((1, 2, 3), (4, 5, 6), "none")


def test_a_file_without_notes_says_nothing(tmp_path):
    assert read_metadata(HERE, written(tmp_path, activation=None)) == Metadata()


@pytest.mark.parametrize(("mean", "std"), [([1, 2], [3]), ([1], [0]), ([1], [-1]), ([float("nan")], [1]), ([], [1])])
def test_a_normalisation_that_makes_no_sense_is_refused(tmp_path, mean, std):
    with pytest.raises(EngineFailed, match="normalisation in the metadata must be 1 or 3 numbers, the deviation above"):
        read_metadata(HERE, written(tmp_path, mean=mean, std=std))


def test_an_unknown_activation_is_refused(tmp_path, monkeypatch):
    from tests.support import tflite

    monkeypatch.setitem(tflite._ACTIVATIONS, "cubic", 7)
    with pytest.raises(
        EngineFailed, match="activation in the metadata must be none or sigmoid or softmax, got number 7"
    ):
        read_metadata(HERE, written(tmp_path, activation="cubic"))


def test_addresses_beyond_the_file_are_refused(tmp_path):
    data = bytearray(written(tmp_path))
    data[:4] = struct.pack("<I", 1 << 30)
    with pytest.raises(EngineFailed, match=r"small\.tflite: the metadata are damaged"):
        read_metadata(HERE, bytes(data))


def test_an_address_before_the_file_is_refused(tmp_path):
    data = bytearray(written(tmp_path))
    root = struct.unpack_from("<I", data)[0]
    struct.pack_into("<i", data, root, 1 << 30)  # the list of fields would start before the file
    with pytest.raises(EngineFailed, match="the metadata are damaged"):
        read_metadata(HERE, bytes(data))


@given(st.data())
def test_damage_is_refused_or_harmless(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzz.tflite"
    if not path.exists():
        write_tflite(path, size_hw=(4, 4), kernel=PERSON_KERNEL)
    raw = bytearray(path.read_bytes())
    notes = raw.find(make_metadata([0.0], [255.0], "none")[:40])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(raw) - 1) | st.integers(max(notes, 0), min(notes + 500, len(raw) - 1)))
        raw[at] = data.draw(st.integers(0, 255))
    raw = raw[: data.draw(st.integers(4, len(raw)))]
    try:
        found = read_metadata(HERE, bytes(raw))
    except EngineFailed:
        return
    assert found.mean is None or np.isfinite(found.mean).all()
