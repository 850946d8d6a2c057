from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from maskwright.detail.diffusers_steppers import EQUIVALENTS  # noqa: E402
from maskwright.detail.schedules import SigmaTable, make_schedule  # noqa: E402
from maskwright.detail.steppers import SAMPLERS, find_sampler  # noqa: E402
from maskwright.errors import OptionError  # noqa: E402

SD = SigmaTable.scaled_linear()
LOOSE = {"euler": 0.06, "ddim": 0.06, "heunpp2": 0.03, "gradient_estimation": 0.03}  # of the first order
DETERMINISTIC = sorted(name for name, sampler in SAMPLERS.items() if sampler.noise == "none")


def _walk(name, steps, denoise, start=None, noise=lambda sigma, to: torch.zeros(1, 2)):
    sigmas = [float(sigma) for sigma in make_schedule(SD, name, "karras", steps)]
    x = torch.tensor([[1.0, -2.0]]) * sigmas[0] if start is None else start
    seen = list(SAMPLERS[name].stepper(denoise, x, sigmas, noise))
    return seen, sigmas


def _gaussian(variance=0.25):
    """The perfect denoiser of Gaussian data around 0."""
    return lambda x, sigma, step: x * variance / (variance + sigma**2)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_they_follow_the_exact_solution(name):
    seen, sigmas = _walk(name, 60, _gaussian())
    exact = np.array([1.0, -2.0]) * sigmas[0] * math.sqrt(0.25 / (0.25 + sigmas[0] ** 2))
    assert np.allclose(seen[-1][0], exact, rtol=LOOSE.get(name, 0.01))


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_one_result_for_each_step(name):
    steps = []

    def denoise(x, sigma, step):
        steps.append(step)
        return x * 0 + 7

    seen, sigmas = _walk(name, 6, denoise)
    assert len(seen) == len(sigmas) - 1 == 6
    assert sorted(set(steps)) == list(range(6))
    assert steps == sorted(steps)
    assert np.allclose(seen[-1][0], 7, atol=0.01 if name in EQUIVALENTS else 1e-6)  # those stop just above 0
    assert all(np.allclose(clean, 7) for _, clean in seen)


@pytest.mark.parametrize("name", sorted(set(SAMPLERS) - set(DETERMINISTIC)))
def test_noise_keeps_the_datas_spread(name):
    random = np.random.default_rng(0)
    sigmas = [float(sigma) for sigma in make_schedule(SD, name, "karras", 60)]
    x = random.standard_normal(4000) * math.sqrt(0.25 + sigmas[0] ** 2)
    stepper = SAMPLERS[name].stepper(_gaussian(), x, sigmas, lambda sigma, to: random.standard_normal(4000))
    final = list(stepper)[-1][0]
    # lcm and the two-draw dpmpp_sde are not made to keep it exactly.
    assert final.std() == pytest.approx(0.5, rel=0.08 if name not in ("lcm", "dpmpp_sde") else 0.6)


def test_gpu_names_are_the_same():
    assert find_sampler("dpmpp_2m_sde_gpu") is SAMPLERS["dpmpp_2m_sde"]


def test_the_required_ones_are_here():
    required = "euler euler_ancestral heun dpm_2 lms dpmpp_2m dpmpp_2s_ancestral dpmpp_2m_sde ddim lcm"
    assert set(required.split()) <= set(SAMPLERS)


def test_unknown_ones_are_listed():
    with pytest.raises(OptionError, match=r"sampler_name must be one of euler, .*uni_pc_bh2, got 'sa_solver'"):
        find_sampler("sa_solver")
