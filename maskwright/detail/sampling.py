"""From encoded frames to redrawn ones: noise, masks, the steps of a model and its refiner, windows over long films.

For backends that bring a network and no loop. Torch is needed when something is sampled, not before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..errors import DetailError
from ..types import BBox, FloatArray
from .backend import SampleJob
from .context import windows_of
from .options import DetailOptions
from .resample import load_torch
from .schedules import SigmaTable, make_schedule
from .steppers import SAMPLERS, Sampler, find_sampler
from .stepping import Noise

__all__ = [
    "SAMPLERS",
    "SamplingModel",
    "StepPlan",
    "crop_condition_mask",
    "denoised_from",
    "guided",
    "mask_on_latents",
    "plan_steps",
    "sample",
    "scaled_input",
    "step_threshold",
    "take_levels",
]

ScheduleFunction = Callable[[int], Any]


class SamplingModel(Protocol):
    """A network as sampling sees it, with its prompts bound."""

    @property
    def table(self) -> SigmaTable:
        """The noise levels it was trained on."""

    @property
    def latent_scale(self) -> float:
        """What encoded latents are multiplied by before the network sees them, 0.18215 for Stable Diffusion 1.5."""

    @property
    def device(self) -> Any:
        """The torch device it computes on."""

    def denoise(self, x: Any, sigma: float, frames: Sequence[int]) -> Any:
        """The clean latents in (n, C, h, w) noisy ones of this level, guidance included.

        Args:
            x: float32, clean latents plus noise times sigma.
            sigma: The level.
            frames: Which frame of the film each is.
        """


@dataclass(frozen=True)
class StepPlan:
    """Which steps of a schedule are taken, and by whom.

    Attributes:
        scheduled: Steps the schedule is made for.
        start: The first of them that is taken; all after it are too.
        base: How many of those the base model takes. The refiner takes the rest.
    """

    scheduled: int
    start: int
    base: int


def plan_steps(steps: int, denoise: float, refiner_ratio: float | None = None, *, compat: bool = False) -> StepPlan:
    """Which steps are taken.

    >>> plan_steps(20, 0.5, 0.8)
    StepPlan(scheduled=40, start=20, base=4)

    Args:
        steps: How many are really taken.
        denoise: From 1, everything, towards 0: the schedule is longer and only its end is taken.
        refiner_ratio: The refiner's share; None: there is no refiner.
        compat: The original's rounding of the share, which falls short by a step where the product does.
    """
    scheduled = math.floor(steps / denoise)
    if refiner_ratio is None:
        base = steps
    elif compat:
        base = math.floor(steps * (1 - refiner_ratio))
    else:
        base = steps - math.floor(steps * refiner_ratio + 0.5)
    return StepPlan(scheduled, scheduled - steps, base)


def sample(
    job: SampleJob,
    model: SamplingModel,
    refiner: SamplingModel | None = None,
    *,
    schedule: ScheduleFunction | None = None,
) -> FloatArray:
    """The job's latents, redrawn where its mask is.

    The refiner takes over in the middle of the walk: noise, mask and original stay the same, so that a refiner that
    is the base model changes nothing. Where the mask is 0 the latents are untouched.

    Args:
        job: What to redraw and how.
        model: The network.
        refiner: The network that takes the last share of the steps.
        schedule: Gives the levels of so many steps instead of the scheduler's.

    Raises:
        OptionError: There is no such sampler or schedule.
        DetailError: The schedule function gives no levels.
        EngineUnavailable: Torch is not installed; or Diffusers, for a sampler that goes through it.
    """
    torch = load_torch()
    options = job.options
    sampler = find_sampler(options.sampler_name)
    plan = plan_steps(options.steps, options.denoise, options.refiner_ratio if refiner else None, compat=options.compat)
    sigmas = _levels(job, model, plan, schedule)
    with torch.inference_mode():
        latents = torch.from_numpy(np.ascontiguousarray(job.latents, np.float32)).to(model.device)
        mask = mask_on_latents(job.mask, latents, options)
        if options.compat and refiner is not None:
            redrawn = _sample_compat(job, (model, refiner), sampler, (sigmas, plan.base), latents, mask)
        else:
            walk = _Walk(job, (model, refiner or model), sampler, sigmas, plan.base, latents, mask)
            redrawn = walk.run()
        result: FloatArray = redrawn.float().cpu().numpy()
    return result


def _levels(job: SampleJob, model: SamplingModel, plan: StepPlan, schedule: ScheduleFunction | None) -> list[float]:
    options = job.options
    if schedule is None:
        levels = make_schedule(model.table, options.sampler_name, options.scheduler, plan.scheduled)
    else:
        given = schedule(plan.scheduled)
        levels = np.asarray(given.detach().cpu() if hasattr(given, "detach") else given, np.float32)
    return take_levels(levels, plan)


def take_levels(levels: Sequence[float] | FloatArray, plan: StepPlan) -> list[float]:
    """The levels that are walked down, of all of a schedule.

    Raises:
        DetailError: There are none, or one is not finite.
    """
    taken = [float(level) for level in levels[plan.start :]]
    if len(taken) < 2 or not all(map(math.isfinite, taken)):
        raise DetailError(
            "the schedule", expected=f"at least {plan.start + 2} finite levels", got=str(len(levels)), hint="more steps"
        )
    return taken


def mask_on_latents(mask: FloatArray, latents: Any, options: DetailOptions) -> Any:
    """(F, 1, h, w) float32 torch, on the latents' device: a mask of pictures over the latents' cells.

    A feathered mask says from which step on a pixel is redrawn: it keeps its peaks, for between two cells a small
    subject's would be lost, and with it the first steps. The original loses them.

    Args:
        mask: (1 or F, H, W) float32 in [0, 1], 1 = redraw.
        latents: (F, C, h, w) torch.
        options: Whether it is feathered, and the original's way.
    """
    torch = load_torch()
    pixels = torch.from_numpy(np.ascontiguousarray(mask, np.float32))[:, None]
    cells = torch.nn.functional.interpolate(pixels, size=latents.shape[-2:], mode="bilinear")
    if options.noise_mask_feather and not options.compat:
        peaks, tops = (values.amax(dim=(2, 3), keepdim=True) for values in (pixels, cells))
        cells = cells / tops.where(tops > 0, 1) * peaks
    return cells.expand(len(latents), -1, -1, -1).to(latents.device)


def _randn(seed: int, like: Any) -> Any:
    """Noise drawn on the processor, the same on every device."""
    torch = load_torch()
    generator = torch.Generator("cpu").manual_seed(seed % 2**64)
    return torch.randn(like.shape, generator=generator, dtype=torch.float32).to(like.device)


@dataclass(eq=False)
class _Walk:
    """One walk down the levels, over latents as they were encoded.

    Attributes:
        models: The base model, and who takes over after `base` steps.
        noisy: Whether noise is put on the latents first.
        soft: Whether a soft mask says when a pixel is redrawn (differential diffusion).
    """

    job: SampleJob
    models: tuple[SamplingModel, SamplingModel]
    sampler: Sampler
    sigmas: list[float]
    base: int
    latents: Any
    mask: Any
    noisy: bool = True
    soft: bool = True
    done: int = 0

    def run(self, *, leave_noise: bool = False) -> Any:
        """Latents as encoded; with `leave_noise` as noisy as the last level says."""
        job, scale, compat = self.job, self.models[0].latent_scale, self.job.options.compat
        self.original = self.latents * scale
        noise = _randn(job.seed, self.latents) if self.noisy else self.latents * 0
        self.background = _randn(job.seed + 1, noise) if self.noisy and self.sampler.redraws_background else noise
        x = denoised = self._start(noise)
        stepper = self.sampler.stepper(self._denoise, x, self.sigmas, self._noise_source())
        for step, latest in enumerate(stepper):
            x, denoised = latest
            job.on_step(self.done + step + 1)
        redrawn = (denoised if compat and not leave_noise else x) / scale
        if compat:
            return redrawn
        return redrawn.where(self.mask > 0, self.latents)

    def _start(self, noise: Any) -> Any:
        first, top = self.sigmas[0], self.models[0].table.sigma_max
        full = first > top or math.isclose(first, top, rel_tol=1e-5)
        return noise * (math.sqrt(1 + first**2) if full else first) + self.original

    def _denoise(self, x: Any, sigma: float, step: int) -> Any:
        """What the model takes for clean, with the original where the mask is not."""
        model = self.models[step >= self.base]
        mask = self._mask_at(sigma)
        rest = 1 - mask
        x = x * mask + (self.background * sigma + self.original) * rest
        clean = _in_windows(model, x, sigma, step, self.job.options)
        return clean * mask + self.original * rest

    def _mask_at(self, sigma: float) -> Any:
        options = self.job.options
        if not self.soft or options.noise_mask_feather <= 0:
            return self.mask
        table = self.models[0].table
        level = step_threshold(table, sigma, self.sigmas, compat=options.compat)
        hard = self.mask >= level
        return (hard if options.compat else hard & (self.mask > 0)).float()

    def _noise_source(self) -> Noise:
        torch = load_torch()
        options, like = self.job.options, self.latents
        if self.sampler.noise == "brownian":
            return _Brownian(self.job.seed, like)
        # The original draws the noise of the steps from the start's seed, so that the start's noise comes again.
        seed = (self.job.seed if options.compat else self.job.seed + 1) % 2**64
        generator = torch.Generator("cpu").manual_seed(seed)
        return lambda _sigma, _to: torch.randn(like.shape, generator=generator).to(like.device)


def _sample_compat(
    job: SampleJob,
    models: tuple[SamplingModel, SamplingModel],
    sampler: Sampler,
    way: tuple[list[float], int],
    latents: Any,
    mask: Any,
) -> Any:
    """The original's two runs, the second on a blend of the first's noisy end with the clean latents."""
    sigmas, base = way
    noisy = latents
    if base > 0:
        first = _Walk(job, (models[0], models[0]), sampler, sigmas[: base + 1], base, latents, mask)
        noisy = first.run(leave_noise=True)
    blended = noisy * mask + latents * (1 - mask)
    if len(sigmas[base:]) < 2:
        return blended
    refiner = (models[1], models[1])
    return _Walk(job, refiner, sampler, sigmas[base:], 0, blended, mask, noisy=False, soft=False, done=base).run()


class _Timesteps(Protocol):
    """How far towards noise levels lie."""

    @property
    def sigma_min(self) -> float:
        """The lowest level."""

    def timestep(self, sigma: float) -> float:
        """Where a level lies, as the model counts."""


def step_threshold(table: _Timesteps, sigma: float, sigmas: Sequence[float], *, compat: bool = False) -> float:
    """From which value on a soft mask is redrawn at this level: 1 at the first step, falling towards 0.

    Args:
        table: The model's.
        sigma: The level of this step.
        sigmas: All levels of the run.
        compat: Not a number where the run has one level only, so that nothing is redrawn, as in the original.
    """
    first, last = table.timestep(sigmas[0]), table.timestep(max(table.sigma_min, sigmas[-1]))
    if first == last:
        return math.nan if compat else 0.5
    return (table.timestep(sigma) - last) / (first - last)


def _in_windows(model: SamplingModel, x: Any, sigma: float, step: int, options: Any) -> Any:
    """What the model says of all frames, averaged where windows overlap."""
    windows = windows_of(len(x), step, options)
    if len(windows) == 1:
        return model.denoise(x, sigma, windows[0][0])
    total, weight = x * 0, x.new_zeros((len(x), 1, 1, 1))
    for frames, weights in windows:
        share = x.new_tensor(weights).reshape(-1, 1, 1, 1)
        total.index_add_(0, _indices(x, frames), model.denoise(x[list(frames)], sigma, frames) * share)
        weight.index_add_(0, _indices(x, frames), share)
    return total / weight


def _indices(x: Any, frames: Sequence[int]) -> Any:
    torch = load_torch()
    return torch.tensor(list(frames), device=x.device)


class _Brownian:
    """Steps of one Brownian path over the levels, scaled to unit variance. Steps may lie inside one another."""

    def __init__(self, seed: int, like: Any) -> None:
        torch = load_torch()
        self._generator = torch.Generator("cpu").manual_seed(seed % 2**64)
        self._like = like
        self._path: dict[float, Any] = {}  # level -> the path there, relative to the first level asked for

    def __call__(self, sigma: float, to: float) -> Any:
        self._path = {level: value for level, value in self._path.items() if level <= sigma}
        return (self._at(to) - self._at(sigma)) / math.sqrt(abs(to - sigma))

    def _at(self, level: float) -> Any:
        torch = load_torch()
        if level in self._path:
            return self._path[level]
        above = min((known for known in self._path if known > level), default=None)
        below = max((known for known in self._path if known < level), default=None)
        draw = torch.randn(self._like.shape, generator=self._generator).to(self._like.device)
        if above is None and below is None:
            value = draw * 0
        elif above is None or below is None:
            near = above if below is None else below
            value = self._path[near] + draw * math.sqrt(abs(near - level))  # type: ignore[index, operator]
        else:
            share = (above - level) / (above - below)
            middle = self._path[above] * (1 - share) + self._path[below] * share
            value = middle + draw * math.sqrt((above - level) * (level - below) / (above - below))
        self._path[level] = value
        return value


def scaled_input(x: Any, sigma: float) -> Any:
    """What a network that predicts noise or velocity is shown: unit variance."""
    return x / math.sqrt(sigma**2 + 1)


def denoised_from(output: Any, x: Any, sigma: float, prediction: str = "epsilon") -> Any:
    """The clean latents, from a network's output on `scaled_input(x, sigma)`.

    Args:
        output: What the network gave.
        x: The noisy latents before scaling.
        sigma: Their level.
        prediction: `epsilon`, or `v_prediction`.
    """
    if prediction == "v_prediction":
        return x / (sigma**2 + 1) - output * (sigma / math.sqrt(sigma**2 + 1))
    return x - output * sigma


def guided(uncond: Any, cond: Any, cfg: float) -> Any:
    """Classifier-free guidance: away from one answer, past the other."""
    return uncond + (cond - uncond) * cfg


def crop_condition_mask(
    mask: Any, crop_region: BBox, frame_hw: tuple[int, int], crop_hw: tuple[int, int], *, compat: bool = False
) -> Any:
    """The part of a prompt's mask that lies over a crop.

    Args:
        mask: (B, mh, mw), of any size, over the frame.
        crop_region: The crop, in pixels of the frame.
        frame_hw: Height and width of the frame.
        crop_hw: Height and width of the crop.
        compat: The original's rule: measured by the crop instead of the frame, and with the axes swapped.
    """
    height, width = mask.shape[-2:]
    if compat:
        scale = (height / crop_hw[0], width / crop_hw[1])
        x1, y1, x2, y2 = (round(value * scale[index % 2]) for index, value in enumerate(crop_region))
    else:
        scale = (width / frame_hw[1], height / frame_hw[0])
        x1, y1, x2, y2 = (round(value * scale[index % 2]) for index, value in enumerate(crop_region))
        x1, y1 = min(x1, width - 1), min(y1, height - 1)
        x2, y2 = max(x2, x1 + 1), max(y2, y1 + 1)
    return mask[..., y1:y2, x1:x2]
