from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from maskwright.detail.schedules import SigmaTable, make_sigmas  # noqa: E402
from maskwright.detail.stepping import between, halfway, slope_of, split  # noqa: E402


def test_slope_is_the_noise():
    assert slope_of(7.0, 1.0, 2.0) == 3


def test_an_ancestral_step_ends_where_a_plain_one_does():
    for sigma, to in ((14.6, 6.7), (3.5, 3.4), (0.44, 0.029)):
        down, up = split(sigma, to)
        assert 0 < down < to
        assert down**2 + up**2 == pytest.approx(to**2, rel=1e-6)
        assert down == pytest.approx(to**2 / sigma, rel=1e-3)
    assert split(0.5, 0.0) == (0, 0)
    assert split(0.5, 0.5) == (0.5, 0)


def test_between_and_halfway():
    assert between(8.0, 1.0, 1 / 3) == pytest.approx(4, rel=1e-6)
    assert between(9.0, 4.0) == pytest.approx(6, rel=1e-6)
    assert halfway(9.0, 4.0) == pytest.approx(6, rel=1e-6)


def test_levels_are_float32():
    for value in (*split(14.6, 6.7), between(14.6, 6.7), halfway(14.6, 6.7)):
        assert value == np.float32(value)


def test_the_middle_of_an_ancestral_step_is_the_level_it_leads_to():
    """Which is why its last bits matter where that level lies between two timesteps."""
    table = SigmaTable.scaled_linear()
    sigmas = [float(sigma) for sigma in make_sigmas(table, "normal", 7)]
    for sigma, to in pairwise(sigmas[:-1]):
        assert math.isclose(halfway(sigma, split(sigma, to)[0]), to, rel_tol=1e-5)
    ties = [sigma for sigma in sigmas[:-1] if _apart(table, sigma) < 1e-4]
    assert len(ties) == 3  # at timesteps 832.5, 499.5 and 166.5


def _apart(table, sigma):
    """How far from the middle of two timesteps a level is, as a share of their distance."""
    near = np.sort(np.abs(table.logs.astype(float) - math.log(sigma)))[:2]
    return (near[1] - near[0]) / (near[1] + near[0])
