"""Samplers and schedules against ComfyUI's own results: `regenerate_samplers.py` wrote them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from maskwright.detail import DetailOptions, SampleJob, SigmaTable, make_sigmas, sample, sampling  # noqa: E402
from maskwright.detail.diffusers_steppers import EQUIVALENTS  # noqa: E402
from maskwright.detail.schedules import make_schedule  # noqa: E402
from maskwright.detail.steppers import SAMPLERS  # noqa: E402
from tests.support.sampler_cases import CASES, CFG, LEVELS, SEED, STEPS, latents  # noqa: E402
from tests.support.toy import ToyModel  # noqa: E402

FOLDER = Path(__file__).parent
TABLE = SigmaTable.scaled_linear()


@pytest.fixture(scope="module")
def known():
    with np.load(FOLDER / "samplers.npz") as file:
        return dict(file)


def _apart(name, scheduler, steps, known, monkeypatch):
    """The largest difference from ComfyUI's last latents, as a share of the largest."""
    levels, last, *_ = (known[f"{name} {scheduler} {steps} {part}"] for part in ("levels", "latents"))
    drawn = iter(known.get(f"{name} {scheduler} {steps} noise", ()))
    monkeypatch.setattr(sampling._Walk, "_noise_source", lambda walk: lambda *way: torch.from_numpy(next(drawn)))
    options = DetailOptions(seed=SEED, steps=STEPS, denoise=1.0, cfg=CFG, sampler_name=name, noise_mask_feather=0)
    job = SampleJob(latents(), np.ones((1, 16, 16), np.float32), SEED, options, (0, 0, 16, 16), (16, 16), (16, 16))
    ours = sample(job, ToyModel(cfg=CFG), schedule=lambda _: levels)
    assert next(drawn, None) is None or SAMPLERS[name].noise == "none"  # all the noise was asked for
    return np.abs(ours - last).max() / np.abs(last).max()


@pytest.mark.parametrize(("scheduler", "steps"), CASES)
@pytest.mark.parametrize("name", SAMPLERS)
def test_comfyuis_latents(name, scheduler, steps, known, monkeypatch):
    if name in EQUIVALENTS:
        pytest.importorskip("diffusers")
    assert _apart(name, scheduler, steps, known, monkeypatch) < 2e-5


def test_comfyuis_levels():
    with np.load(FOLDER / "schedules.npz") as file:
        for name in ("simple", "sgm_uniform", "karras", "exponential", "ddim_uniform", "beta", "normal",
                     "linear_quadratic", "kl_optimal"):  # fmt: skip
            for steps in LEVELS:
                theirs = file[f"{name} {steps}"]
                if np.isfinite(theirs).all():  # kl_optimal of 1 step is not
                    # Other processors round an exponential otherwise; in one process they are equal to the bit.
                    assert np.allclose(make_sigmas(TABLE, name, steps), theirs, rtol=3e-7, atol=0)


@pytest.mark.parametrize("name", ["euler", "dpm_2"])
def test_levels_between_two_timesteps_fall_to_the_same_side(name, known):
    """The last bit of a level decides, and of its logarithm."""
    steps = 6 if name == "dpm_2" else 7
    ours = make_schedule(TABLE, name, "normal", steps)[-STEPS - 1 : -1]
    theirs = known[f"{name} normal {steps} levels"][:-1]
    assert [TABLE.timestep(float(one)) for one in ours] == [TABLE.timestep(float(one)) for one in theirs]
