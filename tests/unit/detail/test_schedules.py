from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from maskwright.detail.schedules import SCHEDULERS, SigmaTable, make_schedule, make_sigmas  # noqa: E402
from maskwright.errors import OptionError, RangeError  # noqa: E402

SD = SigmaTable.scaled_linear()


class TestTable:
    def test_stable_diffusions_levels(self):
        assert SD.sigma_max == pytest.approx(14.6146, abs=1e-4)
        assert SD.sigma_min == pytest.approx(0.0292, abs=1e-4)

    def test_timesteps_and_back(self):
        for timestep in (0, 1, 428, 999):
            assert SD.timestep(float(SD.sigmas[timestep])) == timestep
            assert SD.sigma(timestep) == pytest.approx(SD.sigmas[timestep], rel=1e-6)
        between = math.sqrt(float(SD.sigmas[10]) * float(SD.sigmas[11]))
        assert float(SD.sigma(10.5)) == pytest.approx(between, rel=1e-6)
        assert float(SD.sigma(5000)) == pytest.approx(SD.sigma_max)

    @pytest.mark.parametrize("levels", [[1.0], [0.0, 1.0], [2.0, 1.0], [[1.0, 2.0]], [1.0, np.nan]])
    def test_levels_rise(self, levels):
        with pytest.raises(RangeError, match="sigmas must be one axis of rising levels above 0"):
            SigmaTable(np.array(levels, np.float32))


class TestSchedules:
    # The first two were printed by ComfyUI for 8 steps; the others follow from their formulas.
    KNOWN = (
        ("normal", [14.6146, 6.678, 3.5221, 2.0606, 1.2768, 0.7913, 0.4397, 0.0292, 0]),
        ("sgm_uniform", [14.6146, 7.302]),
        ("beta", [14.6146, 10.48]),
        ("AYS SD1", [14.6146]),
        ("GITS[coeff=0.85]", [14.6146, 12.2309, 8.7585, 7.4900, 5.5854, 3.1957, 1.8488, 0.8033, 0]),
    )

    @pytest.mark.parametrize(("scheduler", "levels"), KNOWN)
    def test_known_levels(self, scheduler, levels):
        assert np.allclose(make_sigmas(SD, scheduler, 8)[: len(levels)], levels, atol=6e-3 if len(levels) < 9 else 6e-5)

    @pytest.mark.parametrize("scheduler", SCHEDULERS)
    @pytest.mark.parametrize("steps", [1, 2, 3, 10, 20, 57])
    def test_they_fall_to_0(self, scheduler, steps):
        sigmas = make_sigmas(SD, scheduler, steps)
        assert sigmas.dtype == np.float32
        assert sigmas[-1] == 0
        assert (np.diff(sigmas) < 0).all()
        if scheduler not in ("beta", "ddim_uniform"):
            assert len(sigmas) == steps + 1

    def test_simple_takes_the_table(self):
        assert np.array_equal(make_sigmas(SD, "simple", 4), [*SD.sigmas[[999, 749, 499, 249]], 0])

    def test_ddim_uniform_takes_the_table(self):
        assert np.array_equal(make_sigmas(SD, "ddim_uniform", 4), [*SD.sigmas[[751, 501, 251, 1]], 0])

    def test_beta_never_stays_on_a_level(self):
        assert len(make_sigmas(SD, "beta", 400)) < 401

    def test_karras_is_even_in_the_seventh_root(self):
        roots = make_sigmas(SD, "karras", 9)[:-1].astype(float) ** (1 / 7)
        assert np.allclose(np.diff(roots, 2), 0, atol=1e-6)

    def test_exponential_and_kl_optimal_are_even_in_theirs(self):
        assert np.allclose(np.diff(np.log(make_sigmas(SD, "exponential", 9)[:-1]), 2), 0, atol=1e-5)
        assert np.allclose(np.diff(np.arctan(make_sigmas(SD, "kl_optimal", 9)[:-1]), 2), 0, atol=1e-5)

    def test_linear_quadratic_starts_small_and_even(self):
        share = 1 - make_sigmas(SD, "linear_quadratic", 20) / SD.sigma_max
        assert np.allclose(np.diff(share[:10], 2), 0, atol=1e-6)
        assert share[10] == pytest.approx(0.025, abs=1e-6)

    def test_the_ten_steps_of_ays_are_the_table(self):
        assert make_sigmas(SD, "AYS SDXL", 10)[1] == pytest.approx(6.3184485287)
        assert make_sigmas(SD, "AYS SVD", 25)[0] == 700

    def test_unknown_ones_are_listed(self):
        with pytest.raises(
            OptionError,
            match=r"scheduler must be one of simple, sgm_uniform, .*GITS\[coeff=1.2\], got 'GITS\[coeff=2\]'",
        ):
            make_sigmas(SD, "GITS[coeff=2]", 8)


def test_some_samplers_drop_the_last_but_one():
    assert np.array_equal(make_schedule(SD, "euler", "normal", 8), make_sigmas(SD, "normal", 8))
    dropped = make_schedule(SD, "dpm_2", "normal", 8)
    assert np.array_equal(dropped, [*make_sigmas(SD, "normal", 9)[:8], 0])
