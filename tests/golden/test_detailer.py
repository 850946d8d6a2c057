"""The detailer with compat against the original node's output, and the samplers against ComfyUI's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from maskwright.detail import DetailOptions, SampleJob, Seg, Segs, detail, sample, sampling  # noqa: E402
from maskwright.detail.diffusers_steppers import EQUIVALENTS  # noqa: E402
from maskwright.detail.steppers import SAMPLERS  # noqa: E402
from tests.support.toy import SCALE, ToyBackend, ToyModel, toy_frames  # noqa: E402

BROWNIAN = Path(__file__).with_name("brownian.npz")
BASE = DetailOptions(guide_size=96, seed=1, steps=4, cfg=3.0, scheduler="normal", noise_mask_feather=0, compat=True)
CASES = {
    "A": BASE,
    "B": replace(BASE, noise_mask_feather=5),
    "E1": replace(BASE, guide_size_for="crop_region"),
    "E2": replace(BASE, max_size=128),
    "U": BASE,
}


def _segs(case):
    mask = np.zeros((64, 64), np.float32)
    mask[16:48, 16:48] = 1
    if case == "U":
        mask[:] = 1
    return Segs((96, 128), (Seg(None, mask, 1.0, (32, 16, 96, 80), (48, 32, 80, 64), "A"),))


@pytest.mark.parametrize("case", CASES)
def test_the_originals_pictures_exactly(case, shared):
    golden = np.load(shared / "golden" / "detailer_open.npz")[case]
    picture = detail(toy_frames(), _segs(case), ToyBackend(), CASES[case])[0].cropped_image
    assert np.array_equal(np.rint(picture * 255).astype(np.uint8), golden)


@pytest.mark.parametrize("case", CASES)
def test_the_corrected_way_is_another(case, shared):
    golden = np.load(shared / "golden" / "detailer_open.npz")[case]
    options = replace(CASES[case], compat=False)
    picture = detail(toy_frames(), _segs(case), ToyBackend(), options)[0].cropped_image
    assert 0 < np.abs(picture - golden / 255).mean() < 0.05


def test_four_calls_at_the_originals_timesteps():
    backend = ToyBackend()
    detail(toy_frames(), _segs("A"), backend, BASE)
    assert [backend.model.table.timestep(sigma) for _, sigma in backend.model.calls] == [428, 285, 143, 0]
    assert backend.jobs[0].latents.shape == (3, 4, 24, 24)


def _sampled(name):
    options = DetailOptions(
        seed=1, steps=8, denoise=1.0, cfg=3.0, sampler_name=name, scheduler="normal", noise_mask_feather=0
    )
    if SAMPLERS[name].noise == "fresh":
        options = replace(options, compat=True)  # the noise of the steps from the seed of the start's
    latents, mask = np.zeros((3, 4, 8, 8), np.float32), np.ones((1, 64, 64), np.float32)
    return sample(SampleJob(latents, mask, 1, options, (0, 0, 64, 64), (64, 64), (64, 64)), ToyModel()) * SCALE


def _difference(name, shared):
    golden = np.load(shared / "golden" / "samplers_normal.npz")[f"normal/{name}"]
    return np.abs(_sampled(name) - golden).max() / np.abs(golden).max()


@pytest.mark.parametrize("name", [name for name, sampler in SAMPLERS.items() if sampler.noise != "brownian"])
def test_comfyuis_samplers(name, shared):
    if name in EQUIVALENTS:
        pytest.importorskip("diffusers")
    assert _difference(name, shared) < 2e-5


class _Recorded:
    """The Brownian path that ComfyUI's samplers drew (torchsde 0.2.6, entropy 1): see `regenerate_samplers.py`."""

    def __init__(self, name):
        with np.load(BROWNIAN) as file:
            self.steps = iter(file["two_a_step" if name == "dpmpp_sde" else "one_a_step"])

    def __call__(self, sigma, to):
        return torch.from_numpy(next(self.steps))


@pytest.mark.parametrize("name", [name for name, sampler in SAMPLERS.items() if sampler.noise == "brownian"])
def test_comfyuis_stochastic_samplers_on_the_same_path(name, shared, monkeypatch):
    monkeypatch.setattr(sampling, "_Brownian", lambda seed, like: _Recorded(name))
    assert _difference(name, shared) < 2e-5


def _picture(case, refiner=None, **changes):
    backend = ToyBackend(refiner=refiner)
    return detail(toy_frames(), _segs(case), backend, replace(BASE, **changes))[0].cropped_image


def _corner(case, **changes):
    return np.abs(_picture(case, **changes) - toy_frames()[:, 16:80, 32:96])[:, :8, :8].max()


def test_what_was_measured_on_the_originals_refiner():
    alone = _picture("A", noise_mask_feather=5)
    split = _picture("A", ToyModel(), noise_mask_feather=5, refiner_ratio=0.5)
    assert np.abs(alone - split).max() == pytest.approx(0.545, abs=5e-4)
    assert np.abs(alone - split).mean() == pytest.approx(0.028, abs=5e-4)
    for ratio in (0, 0.2, 0.5):
        assert np.array_equal(_picture("U", ToyModel(), refiner_ratio=ratio), _picture("U"))
    assert _picture("U").mean() == pytest.approx(0.182, abs=5e-4)
    assert _picture("U", ToyModel(), refiner_ratio=1.0).mean() == pytest.approx(0.039, abs=5e-4)


def test_what_was_measured_on_the_originals_corners():
    assert _corner("A") == pytest.approx(0.029, abs=5e-4)  # resampling alone
    assert _corner("A", guide_size=99) == pytest.approx(0.061, abs=5e-4)  # stretched from 192 to 198
    assert _corner("A", noise_mask_feather=5) == pytest.approx(0.069, abs=5e-4)  # the last step redraws all


def test_corrected_corners_are_resampling_alone():
    for changes in ({}, {"guide_size": 99}, {"noise_mask_feather": 5}):
        assert _corner("A", compat=False, **changes) < 0.035
