from __future__ import annotations

import io
import json

import numpy as np
import pytest

from maskwright.detail import Follow, Seg, Segs, load_segs, save_segs
from maskwright.errors import InputError, MediaError, RangeError


def _segs():
    follow = Follow(((0, 0, 4, 4), (1, 0, 5, 4)), (2, 3))
    return Segs(
        (20, 30),
        (
            Seg(None, np.random.default_rng(0).random((6, 8)), 0.25, (4, 2, 12, 8), (6.5, 4, 10, 6), "face"),
            Seg(np.ones((2, 4, 4, 3), np.uint8), None, 1.0, (0, 0, 5, 4), (0, 0, 3, 2), "ä", follow=follow),
        ),
    )


def test_there_and_back(tmp_path):
    path = save_segs(_segs(), tmp_path / "segs.npz")
    back = load_segs(path)
    assert back.size_hw == (20, 30)
    for ours, theirs in zip(_segs(), back, strict=True):
        for name in ("confidence", "crop_region", "bbox", "label", "follow", "control_net_wrapper"):
            assert getattr(ours, name) == getattr(theirs, name)
        for name in ("cropped_image", "cropped_mask"):
            left, right = getattr(ours, name), getattr(theirs, name)
            assert (left is None) == (right is None)
            assert left is None or (left.dtype == right.dtype and np.array_equal(left, right))


def test_nothing_at_all(tmp_path):
    assert len(load_segs(save_segs(Segs((3, 4)), tmp_path / "segs.npz"))) == 0


def test_control_nets_stay_out(tmp_path):
    seg = Seg(None, None, 1.0, (0, 0, 1, 1), (0, 0, 1, 1), "A", object())
    with pytest.raises(InputError, match="segment 0 has ControlNets, which cannot be saved"):
        save_segs(Segs((3, 4), (seg,)), tmp_path / "segs.npz")


def test_no_such_file(tmp_path):
    with pytest.raises(MediaError, match=r"cannot be read \(No such file"):
        load_segs(tmp_path / "none.npz")


def _npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no archive",
        _npz(other=np.zeros(2)),
        _npz(header=np.frombuffer(b"{", np.uint8)),
        _npz(header=np.frombuffer(b"[]", np.uint8)),
        _npz(header=np.frombuffer(json.dumps({"format": "maskwright-segs", "version": 9}).encode(), np.uint8)),
        _npz(header=np.array([{"pickled": 1}], dtype=object)),
    ],
)
def test_other_files(tmp_path, content):
    (tmp_path / "other.npz").write_bytes(content)
    with pytest.raises(MediaError, match="must be a file that save_segs wrote"):
        load_segs(tmp_path / "other.npz")


def test_places_are_checked(tmp_path):
    segs = Segs((20, 30), (Seg(None, None, 1.0, (0, 0, 40, 4), (0, 0, 3, 2), "A"),))
    with pytest.raises(RangeError, match="crop_region of segment 0 must be inside the frame"):
        load_segs(save_segs(segs, tmp_path / "segs.npz"))
