"""Cutting films for jobs; tests/doors/test_server.py cuts a real one."""

import numpy as np
import pytest

from maskwright.cutout_options import CutoutOptions
from maskwright.errors import TooManyPixels
from maskwright.server.film import make_film_cutter
from tests.support.clips import write_clip


def test_large_frames_are_refused_before_one_is_decoded(tmp_path):
    clip = write_clip(tmp_path / "in.mkv", [np.zeros((24, 32, 3), np.uint8)])
    with pytest.raises(TooManyPixels, match="a frame must be at most 700 pixels, got 32×24"):
        make_film_cutter(700)(clip, tmp_path / "out.webm", None, CutoutOptions(), print)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]
