from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from maskwright.detail import multistep  # noqa: E402

LEVELS = [8.0, 5.0, 3.0, 2.0, 1.2, 0.7, 0.3, 0.0]


def _last(stepper, denoise, x=3.0, levels=LEVELS):
    return list(stepper(denoise, x, levels, lambda sigma, to: 0.0))


@pytest.mark.parametrize("name", ["lms", "ipndm", "deis", "gradient_estimation", "res_multistep"])
def test_a_slope_that_stays_is_followed_exactly(name):
    seen = _last(getattr(multistep, name), lambda x, sigma, step: x - 0.25 * sigma)
    for (x, _), to in zip(seen, LEVELS[1:], strict=True):
        assert x == pytest.approx(3 - 0.25 * (8 - to), rel=2e-4 if name == "deis" else 1e-6)


def test_lms_follows_slopes_that_are_cubic():
    seen = _last(multistep.lms, lambda x, sigma, step: x - sigma * sigma**3)
    for place in range(4, len(LEVELS) - 1):  # from then on it has four slopes
        gained = seen[place - 1][0] - seen[place - 2][0]
        assert gained == pytest.approx((LEVELS[place] ** 4 - LEVELS[place - 1] ** 4) / 4, rel=1e-6)


def test_deis_integrates_in_the_time_of_its_diffusion():
    shares = multistep._integrated_in_time([3.0, 5.0, 8.0], 3.0, 2.0)
    levels = np.linspace(3.0, 2.0, 200_001)
    middle = (levels[1:] + levels[:-1]) / 2
    at, times = (np.array([multistep._time_of(one) for one in of]) for of in (middle[::50], [3.0, 5.0, 8.0]))
    for index, time in enumerate(times):
        others = np.delete(times, index)
        basis = np.prod([(at - other) / (time - other) for other in others], axis=0)
        assert shares[index] == pytest.approx(-basis.mean(), rel=1e-3)
    assert multistep._time_of(0.002) == pytest.approx(1e-3)
    assert multistep._time_of(80.0) == pytest.approx(1)


def test_three_even_steps_make_ipndm_of_ipndm_v():
    assert multistep._shares_of_widths(-1.0, -1.0) == pytest.approx([3 / 2, -1 / 2])
    assert multistep._shares_of_widths(-1.0, -1.0, -1.0) == pytest.approx([23 / 12, -16 / 12, 5 / 12])
    assert sum(multistep._shares_of_widths(-1.0, -1.0, -1.0, -1.0)) == pytest.approx(1)
    assert sum(multistep._shares_of_widths(-0.5, -1.0, -2.0)) == pytest.approx(1)


def test_er_sde_keeps_what_has_no_noise():
    assert _last(multistep.er_sde, lambda x, sigma, step: 2.0)[-1][0] == 2
    assert multistep._spread_at(1.0) == pytest.approx(math.e + 10)
