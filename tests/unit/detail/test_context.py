from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.detail import DetailOptions
from maskwright.detail.context import windows_of
from maskwright.errors import OptionError


def _frames(count, step=0, **options):
    return [window for window, _ in windows_of(count, step, DetailOptions(**options))]


def test_short_films_are_one_window():
    assert _frames(5) == [(0, 1, 2, 3, 4)]
    assert _frames(5, context_length=5, context_overlap=4) == [(0, 1, 2, 3, 4)]


def test_static_windows_end_with_the_film():
    assert _frames(7, context_length=4, context_overlap=1) == [(0, 1, 2, 3), (3, 4, 5, 6)]
    assert _frames(6, context_length=4, context_overlap=1) == [(0, 1, 2, 3), (2, 3, 4, 5)]


def test_batched_windows_share_nothing():
    assert _frames(5, context_length=2, context_overlap=0, context_schedule="batched") == [(0, 1), (2, 3), (4,)]


def test_looped_windows_go_round():
    windows = _frames(6, 1, context_length=4, context_overlap=1, context_schedule="looped")
    assert windows == [(3, 4, 5, 0), (0, 1, 2, 3)]


def test_uniform_windows_do_not():
    for step in range(9):
        for window in _frames(10, step, context_length=4, context_overlap=1, context_schedule="uniform"):
            assert list(window) == sorted(window)


@given(
    st.integers(1, 60),
    st.integers(0, 40),
    st.integers(1, 20),
    st.integers(0, 19),
    st.sampled_from(["static", "batched", "looped", "uniform"]),
    st.sampled_from(["flat", "pyramid"]),
)
def test_every_frame_is_seen(count, step, length, overlap, schedule, weights):
    options = DetailOptions(
        context_length=length,
        context_overlap=min(overlap, length - 1),
        context_schedule=schedule,
        context_weights=weights,
    )
    windows = windows_of(count, step, options)
    assert {frame for frames, _ in windows for frame in frames} == set(range(count))
    for frames, shares in windows:
        assert len(set(frames)) == len(frames) == len(shares) <= max(length, 1)
        assert min(shares) > 0


def test_weights():
    options = DetailOptions(context_length=4, context_overlap=2)
    assert windows_of(6, 0, options)[0][1] == (1, 2, 2, 1)


def test_the_overlap_is_shorter_than_the_window():
    with pytest.raises(OptionError, match="context_overlap must be less than context_length, 4, got 4"):
        _frames(9, context_length=4, context_overlap=4)
