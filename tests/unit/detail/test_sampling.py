from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from maskwright.detail import DetailOptions, SampleJob, detail  # noqa: E402
from maskwright.detail.sampling import (  # noqa: E402
    SAMPLERS,
    _Brownian,
    crop_condition_mask,
    denoised_from,
    guided,
    mask_on_latents,
    plan_steps,
    sample,
    scaled_input,
    step_threshold,
)
from maskwright.detail.schedules import SigmaTable  # noqa: E402
from maskwright.errors import DetailError, OptionError  # noqa: E402
from tests.support.toy import ToyBackend, ToyModel  # noqa: E402
from tests.unit.detail.test_detailer import seg, segs  # noqa: E402
from tests.unit.detail.test_pasting import waves  # noqa: E402

QUICK = DetailOptions(seed=1, steps=4, cfg=3.0, scheduler="normal", noise_mask_feather=0)
FULL = np.ones((1, 64, 64), np.float32)


def _half():
    mask = np.zeros((1, 64, 64), np.float32)
    mask[:, :, 32:] = 1
    return mask


def _soft():
    return np.broadcast_to(np.linspace(0, 1, 64, dtype=np.float32), (1, 64, 64)).copy()


def _job(options=QUICK, mask=FULL, frames=3, **fields):
    latents = np.random.default_rng(0).standard_normal((frames, 4, 8, 8)).astype(np.float32)
    return SampleJob(latents, mask, options.seed, options, (0, 0, 64, 64), (64, 64), (64, 64), **fields)


class TestPlan:
    @pytest.mark.parametrize(
        ("steps", "denoise", "scheduled"), [(20, 0.5, 40), (7, 0.07, 99), (4, 1.0, 4), (1, 0.3, 3)]
    )
    def test_the_schedule_is_longer(self, steps, denoise, scheduled):
        plan = plan_steps(steps, denoise)
        assert (plan.scheduled, plan.start, plan.base) == (scheduled, scheduled - steps, steps)

    @pytest.mark.parametrize(
        ("ratio", "base", "compat"), [(0.8, 4, 3), (0, 20, 20), (1, 0, 0), (0.5, 10, 10), (0.96, 1, 0)]
    )
    def test_the_refiners_share(self, ratio, base, compat):
        assert plan_steps(20, 0.5, ratio).base == base
        assert plan_steps(20, 0.5, ratio, compat=True).base == compat


class TestMask:
    @pytest.mark.parametrize("name", sorted(SAMPLERS))
    @pytest.mark.parametrize("feather", [0, 5])
    def test_0_is_untouched_bit_for_bit(self, name, feather):
        job = _job(replace(QUICK, sampler_name=name, noise_mask_feather=feather), _half())
        out = sample(job, ToyModel())
        assert np.array_equal(out[..., :3], job.latents[..., :3])
        assert (out[..., 5:] != job.latents[..., 5:]).mean() > 0.99

    def test_compat_redraws_0_at_the_last_soft_step(self):
        job = _job(replace(QUICK, noise_mask_feather=5, compat=True), _half())
        assert not np.array_equal(sample(job, ToyModel())[..., :3], job.latents[..., :3])

    def test_soft_masks_redraw_less_where_they_are_less(self):
        job = _job(replace(QUICK, noise_mask_feather=5, steps=12), _soft())
        moved = np.abs(sample(job, ToyModel()) - job.latents).mean(axis=(0, 1, 2))
        assert moved[0] < moved[3] < moved[7]

    def test_one_for_each_frame(self):
        masks = np.concatenate([FULL * 0, FULL, FULL])
        job = _job(QUICK, masks)
        out = sample(job, ToyModel())
        assert [np.array_equal(a, b) for a, b in zip(out, job.latents, strict=True)] == [True, False, False]

    def test_a_small_feathered_subject_keeps_its_peak_and_so_the_first_step(self):
        mask = np.zeros((3, 64, 64), np.float32)
        mask[0, 28:32, 28:32], mask[1, 28:32, 28:32] = 1, 0.5  # its peak lies between the cells' middles
        options = replace(QUICK, noise_mask_feather=5)
        latents = torch.zeros(3, 4, 8, 8)
        assert mask_on_latents(mask, latents, options).amax(dim=(1, 2, 3)).tolist() == [1, 0.5, 0]
        for other in (replace(options, compat=True), replace(options, noise_mask_feather=0)):
            assert mask_on_latents(mask, latents, other).max() < 1
        seen = []

        class Watched(ToyModel):
            def denoise(self, x, sigma, frames):
                seen.append(x[0].std())
                return super().denoise(x, sigma, frames)

        job = _job(replace(options, sampler_name="ddim"), mask)  # whose background has another noise
        sample(job, Watched())
        first = seen[0]
        sample(replace(job, mask=np.zeros_like(mask)), Watched())
        assert first != seen[4]  # something is redrawn at the first step

    def test_threshold_falls_from_1_to_0(self):
        table = SigmaTable.scaled_linear()
        sigmas = [float(table.sigmas[index]) for index in (900, 600, 300, 0)] + [0.0]
        steps = [step_threshold(table, sigma, sigmas) for sigma in sigmas[:-1]]
        assert steps == pytest.approx([1, 2 / 3, 1 / 3, 0])
        assert step_threshold(table, sigmas[3], sigmas[3:]) == 0.5
        assert math.isnan(step_threshold(table, sigmas[3], sigmas[3:], compat=True))


class TestSeeds:
    @pytest.mark.parametrize("name", sorted(SAMPLERS))
    def test_they_repeat(self, name):
        job = _job(replace(QUICK, sampler_name=name))
        first, second = sample(job, ToyModel()), sample(job, ToyModel())
        assert np.array_equal(first, second)
        assert not np.array_equal(first, sample(replace(job, seed=2), ToyModel()))

    def test_the_largest(self):
        job = replace(_job(replace(QUICK, sampler_name="euler_ancestral")), seed=2**64 - 1)
        assert np.isfinite(sample(job, ToyModel())).all()

    @pytest.mark.parametrize("compat", [False, True])
    def test_ancestral_steps_repeat_the_starts_noise_in_compat_alone(self, compat):
        """With a model that takes all for 0, what is walked is noise alone."""

        class Nothing(ToyModel):
            def denoise(self, x, sigma, frames):
                seen.append(x)
                return x * 0

        seen = []
        options = replace(QUICK, sampler_name="euler_ancestral", compat=compat, denoise=1.0)
        sample(replace(_job(options), latents=np.zeros((3, 4, 8, 8), np.float32)), Nothing())
        start, second = seen[0].flatten(), seen[1].flatten()
        assert float(torch.corrcoef(torch.stack([start, second]))[0, 1] > 0.99) == compat

    def test_the_background_of_ddim_has_noise_of_its_own(self):
        results = [sample(_job(replace(QUICK, sampler_name=name), _soft()), ToyModel()) for name in ("ddim", "euler")]
        full = [sample(_job(replace(QUICK, sampler_name=name)), ToyModel()) for name in ("ddim", "euler")]
        assert not np.array_equal(*results)
        assert np.array_equal(*full)


class TestRefiner:
    @pytest.mark.parametrize("name", sorted(SAMPLERS))
    @pytest.mark.parametrize("mask", [FULL, _soft()], ids=["full", "soft"])
    def test_the_base_as_refiner_changes_nothing(self, name, mask):
        options = replace(QUICK, sampler_name=name, noise_mask_feather=5)
        alone = sample(_job(options, mask), ToyModel())
        for ratio in (0.0, 0.2, 0.5, 1.0):
            job = _job(replace(options, refiner_ratio=ratio), mask)
            assert np.array_equal(sample(job, ToyModel(), ToyModel()), alone)

    def test_each_takes_its_steps(self):
        base, refiner = ToyModel(), ToyModel(positive=0.1)
        seen = []
        sample(_job(replace(QUICK, refiner_ratio=0.25), on_step=seen.append), base, refiner)
        assert (len(base.calls), len(refiner.calls)) == (3, 1)
        assert seen == [1, 2, 3, 4]

    def test_alone_it_gets_noise(self):
        job = _job(replace(QUICK, refiner_ratio=1.0))
        assert np.array_equal(sample(job, ToyModel(), ToyModel(positive=0.1)), sample(job, ToyModel(positive=0.1)))

    def test_in_compat_with_a_full_mask_it_is_the_same_too(self):
        options = replace(QUICK, compat=True)
        alone = sample(_job(options), ToyModel())
        for ratio in (0.0, 0.2, 0.5):
            seen = []
            job = _job(replace(options, refiner_ratio=ratio), on_step=seen.append)
            assert np.allclose(sample(job, ToyModel(), ToyModel()), alone, atol=2e-6)
            assert seen == [1, 2, 3, 4]

    def test_in_compat_it_blends_noise_in_and_gets_none_alone(self):
        options = replace(QUICK, compat=True, noise_mask_feather=5, denoise=1.0)
        alone = sample(_job(options, _soft()), ToyModel())
        split = sample(_job(replace(options, refiner_ratio=0.5), _soft()), ToyModel(), ToyModel())
        assert np.abs(split - alone).max() > 0.1
        last = replace(options, refiner_ratio=1.0, noise_mask_feather=0)
        assert np.abs(sample(_job(last), ToyModel(), ToyModel()) - sample(_job(last), ToyModel())).max() > 0.1


class TestWindows:
    def test_each_call_sees_a_window(self):
        model = ToyModel()
        options = replace(QUICK, context_length=4, context_overlap=2, steps=1)
        out = sample(_job(options, frames=8), model)
        assert [frames for frames, _ in model.calls] == [(0, 1, 2, 3), (2, 3, 4, 5), (4, 5, 6, 7)]
        assert np.isfinite(out).all()
        assert out.shape == (8, 4, 8, 8)

    def test_a_model_without_time_does_not_notice(self):
        class Still(ToyModel):
            def denoise(self, x, sigma, frames):
                self.calls.append(frames)
                return x / (1 + sigma**2)

        for schedule in ("static", "batched", "looped", "uniform"):
            options = replace(QUICK, context_length=4, context_overlap=1, context_schedule=schedule)
            whole = sample(_job(replace(options, context_length=None), frames=9), Still())
            assert np.allclose(sample(_job(options, frames=9), Still()), whole, atol=1e-5)


class TestSchedule:
    def test_levels_of_ones_own(self):
        model = ToyModel()
        sample(_job(replace(QUICK, steps=2)), model, schedule=lambda steps: torch.tensor([9.0, 5.0, 3.0, 1.0, 0.0]))
        assert [sigma for _, sigma in model.calls] == [3, 1]

    @pytest.mark.parametrize("levels", [[], [3.0], [1.0] * 8 + [math.nan] * 2])
    def test_too_few(self, levels):
        with pytest.raises(DetailError, match="the schedule must be at least 6 finite levels"):
            sample(_job(), ToyModel(), schedule=lambda steps: levels)

    def test_unknown_sampler(self):
        with pytest.raises(OptionError, match="sampler_name must be one of"):
            sample(_job(replace(QUICK, sampler_name="sa_solver")), ToyModel())


class TestBrownian:
    def test_parts_add_up(self):
        like = torch.zeros(20000)
        path = _Brownian(3, like)
        middle, whole = path(9.0, 5.0), path(9.0, 1.0)
        rest = path(5.0, 1.0)
        assert torch.allclose(whole * math.sqrt(8), middle * 2 + rest * 2, atol=1e-5)
        for part in (middle, whole, rest):
            assert float(part.std()) == pytest.approx(1, abs=0.03)

    def test_between_known_levels_too(self):
        path = _Brownian(3, torch.zeros(20000))
        whole = path(9.0, 1.0)
        first, second = path(9.0, 4.0), path(4.0, 1.0)
        assert torch.allclose(whole * math.sqrt(8), first * math.sqrt(5) + second * math.sqrt(3), atol=1e-5)
        assert float((first * second).mean()) == pytest.approx(0, abs=0.03)


class TestFormulas:
    def test_noise_and_velocity_say_the_same(self):
        clean, noise, sigma = torch.rand(9), torch.randn(9), 2.5
        x = clean + noise * sigma
        velocity = (noise - clean * sigma) / math.sqrt(sigma**2 + 1)
        assert torch.allclose(denoised_from(noise, x, sigma), clean, atol=1e-5)
        assert torch.allclose(denoised_from(velocity, x, sigma, "v_prediction"), clean, atol=1e-5)

    def test_input_has_unit_variance(self):
        assert float(scaled_input(torch.tensor(5.0), 0.0)) == 5
        assert float(scaled_input(torch.tensor(5.0), math.sqrt(24))) == pytest.approx(1)

    def test_guidance(self):
        assert guided(1.0, 3.0, 1.0) == 3
        assert guided(1.0, 3.0, 2.0) == 5


class TestConditionMask:
    def test_the_part_over_the_crop(self):
        mask = np.zeros((2, 48, 64))
        mask[:, 8:40, 16:48] = 1
        part = crop_condition_mask(mask, (32, 16, 96, 80), (96, 128), (64, 64))
        assert part.shape == (2, 32, 32)
        assert part.min() == 1

    def test_never_empty(self):
        part = crop_condition_mask(np.zeros((1, 2, 2)), (126, 94, 128, 96), (96, 128), (2, 2))
        assert part.shape == (1, 1, 1)

    def test_compat_measures_by_the_crop_and_swaps(self):
        part = crop_condition_mask(np.zeros((1, 96, 128)), (32, 16, 96, 80), (96, 128), (64, 64), compat=True)
        assert part.shape == (1, 64, 80)


class TestDetailer:
    def test_where_the_mask_is_0_the_frames_stay(self):
        from maskwright.detail import redraw

        masks = np.stack([np.zeros((64, 64)), np.ones((64, 64)), np.zeros((64, 64))]).astype(np.float32)
        frames = waves()
        out = redraw(frames, segs(seg(masks)), ToyBackend(), replace(QUICK, guide_size=64), feather=0)
        assert [np.array_equal(a, b) for a, b in zip(out, frames, strict=True)] == [True, False, True]

    def test_equal_segments_have_equal_noise_unless_asked(self):
        for own in (False, True):
            options = replace(QUICK, guide_size=64, seed_per_seg=own)
            first, second = detail(waves(), segs(seg(), seg()), ToyBackend(), options)
            assert np.array_equal(first.cropped_image, second.cropped_image) != own
