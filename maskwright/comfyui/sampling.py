"""A detailer's backend on ComfyUI: the model, the VAE and the prompts of a BASIC_PIPE, and ComfyUI's own samplers.

Frames are the batch of latents, which is time to a model that knows time, such as one of AnimateDiff-Evolved. Models
are loaded, moved and freed by ComfyUI: everything here goes through its public functions.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..detail.backend import Sampled, SampleJob
from ..detail.sampling import crop_condition_mask, mask_on_latents, plan_steps, step_threshold, take_levels
from ..detail.schedules import SCHEDULERS, SigmaTable, make_schedule
from ..detail.steppers import SAMPLERS
from ..errors import OptionError, ShapeError
from ..types import BBox, FloatArray
from .control import fit_chain, knows_advanced

__all__ = ["BasicPipe", "ComfyBackend", "list_samplers", "list_schedulers", "read_table"]

_TILE, _OVERLAP = 512, 64  # pixels, those of ComfyUI's tiled nodes


class BasicPipe(NamedTuple):
    """A BASIC_PIPE by names."""

    model: Any
    clip: Any
    vae: Any
    positive: Any
    negative: Any

    @classmethod
    def from_tuple(cls, pipe: Any, name: str = "basic_pipe") -> BasicPipe:
        """The pipe, if it can sample.

        Raises:
            ShapeError: It is built otherwise, or its model or a prompt is missing.
        """
        if not isinstance(pipe, (tuple, list)) or len(pipe) != 5:
            got = f"{len(pipe)} values" if isinstance(pipe, (tuple, list)) else type(pipe).__name__
            raise ShapeError(name, expected="(model, clip, vae, positive, negative)", got=got, hint="use To Basic Pipe")
        made = cls(*pipe)
        if made.model is None:
            raise ShapeError(f"model of {name}", expected="a model", got="none", hint="connect a MODEL")
        for part in ("positive", "negative"):
            if not isinstance(getattr(made, part), (tuple, list)):
                got = repr(getattr(made, part))
                raise ShapeError(f"{part} of {name}", expected="conditioning", got=got, hint="encode a prompt for it")
        return made


def list_samplers() -> list[str]:
    """The names of ComfyUI's samplers; of ours outside ComfyUI."""
    known = _samplers()
    return list(SAMPLERS) if known is None else list(known.KSampler.SAMPLERS)


def list_schedulers() -> list[str]:
    """The names of ComfyUI's schedules, then of those that only we have."""
    known = _samplers()
    own = list(SCHEDULERS) if known is None else list(known.KSampler.SCHEDULERS)
    return own + [name for name in SCHEDULERS if name not in own]


def _samplers() -> Any:
    return sys.modules.get("comfy.samplers")


class ComfyBackend:
    """Redraws with the models of a BASIC_PIPE.

    Frames go through the VAE one at a time, so that a picture does not depend on how many are beside it, and Cancel is
    heard between them.

    Args:
        pipe: (model, clip, vae, positive, negative); the clip is not used.
        refiner: A pipe that takes the last share of the steps; its vae is not used.
        schedule: Gives the levels instead of the scheduler, as (model, name of the sampler, steps) -> sigmas.
        tiled: Whether the VAE works in tiles, for pictures that it has no room for at once.

    Raises:
        ShapeError: A pipe that is built otherwise, or lacks something.
    """

    def __init__(
        self, pipe: Any, refiner: Any = None, *, schedule: Callable[..., Any] | None = None, tiled: bool = False
    ) -> None:
        self.pipe = BasicPipe.from_tuple(pipe)
        if self.pipe.vae is None:
            raise ShapeError("vae of basic_pipe", expected="a VAE", got="none", hint="connect a VAE")
        self.refiner = None if refiner is None else BasicPipe.from_tuple(refiner, "refiner_basic_pipe_opt")
        self.schedule = schedule
        self.tiled = tiled

    @property
    def multiple(self) -> int:
        """Pixels per latent cell of the VAE."""
        return int(self.pipe.vae.spacial_compression_encode())

    def encode(self, images: FloatArray) -> FloatArray:
        """The VAE's latents, (n, C, h, w)."""
        import torch
        from comfy import model_management

        vae, parts = self.pipe.vae, []
        with torch.inference_mode():
            for image in torch.from_numpy(np.ascontiguousarray(images, np.float32))[:, None]:
                model_management.throw_exception_if_processing_interrupted()
                if self.tiled:
                    latent = vae.encode_tiled(image, tile_x=_TILE, tile_y=_TILE, overlap=_OVERLAP)
                else:
                    latent = vae.encode(image)
                parts.append(latent[:, :, 0] if latent.ndim == 5 else latent)  # (1, C, h, w)
            latents: FloatArray = torch.cat(parts).float().cpu().numpy()
        return latents

    def decode(self, latents: FloatArray) -> FloatArray:
        """The VAE's pictures, (n, H, W, 3)."""
        import torch
        from comfy import model_management

        vae, parts = self.pipe.vae, []
        cell = self.multiple
        with torch.inference_mode():
            for one in torch.from_numpy(np.ascontiguousarray(latents, np.float32))[:, None]:
                model_management.throw_exception_if_processing_interrupted()
                latent = one[:, :, None] if getattr(vae, "latent_dim", 2) == 3 else one
                if self.tiled:
                    tile, overlap = _TILE // cell, _OVERLAP // cell
                    image = vae.decode_tiled(latent, tile_x=tile, tile_y=tile, overlap=overlap)
                else:
                    image = vae.decode(latent)
                parts.append((image[:, 0] if image.ndim == 5 else image)[..., :3])  # (1, H, W, 3)
            images: FloatArray = torch.cat(parts).float().cpu().numpy()
        return images

    def sample(self, job: SampleJob) -> Sampled:
        """The latents redrawn by ComfyUI's sampler of that name.

        Raises:
            OptionError: There is no such sampler or schedule; or windows are asked for, which belong to the model here.
            DetailError: The schedule gives no levels.
        """
        import torch

        options = job.options
        if options.context_length is not None:
            raise OptionError(
                "context_length", expected="None", got=str(options.context_length), hint="give the model its windows"
            )
        _check_name("sampler_name", options.sampler_name, list_samplers())
        if self.schedule is None:
            _check_name("scheduler", options.scheduler, list_schedulers())
        with torch.inference_mode():
            return _Run(self, job).run()


def _check_name(option: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise OptionError(option, expected=f"one of {', '.join(known)}", got=repr(name), hint="use one of these")


def read_table(model: Any) -> SigmaTable:
    """The noise levels a MODEL was trained on."""
    sampling = model.get_model_object("model_sampling")
    logs = getattr(sampling, "log_sigmas", None)  # made from levels in float64, of which `sigmas` are the rounded ones
    return SigmaTable(_as_float32(sampling.sigmas), None if logs is None else _as_float32(logs))


def _as_float32(values: Any) -> FloatArray:
    array: FloatArray = values.detach().float().cpu().numpy()
    return array


class _Stage(NamedTuple):
    """Who takes a part of the steps, told what."""

    model: Any
    positive: Any
    negative: Any


class _Run:
    """One job's way through ComfyUI's sampling."""

    def __init__(self, backend: ComfyBackend, job: SampleJob) -> None:
        import torch
        from comfy import sample

        self.backend, self.job, self.options = backend, job, job.options
        self.compat = job.options.compat
        latents = torch.from_numpy(np.ascontiguousarray(job.latents, np.float32))
        self.latents = sample.fix_empty_latent_channels(backend.pipe.model, latents)
        mask = mask_on_latents(job.mask, latents, job.options)  # (n, 1, h, w)
        self.mask = mask if self.latents.ndim == 4 else mask[:, :, None]

    def run(self) -> Sampled:
        """The latents, and what ControlNets were shown."""
        base, images = self._controlled(self._stage(self.backend.pipe))
        refiner, options = self._refiner(), self.options
        plan = plan_steps(
            options.steps, options.denoise, options.refiner_ratio if refiner else None, compat=self.compat
        )
        total = self._total(base.model, plan.scheduled)
        levels = take_levels(total, plan)
        self.ends = min((level for level in total if level > 0), default=0.0), max(total)
        base = base._replace(model=self._softened(base.model, levels))
        if refiner is None:
            latents = self._walk([(base, levels)])
        elif self.compat:
            latents = self._walk_compat((base, levels[: plan.base + 1]), (refiner, levels[plan.base :]))
        else:
            refiner = refiner._replace(model=self._softened(refiner.model, levels))
            latents = self._walk([(base, levels[: plan.base + 1]), (refiner, levels[plan.base :])])
        return Sampled(latents.float().cpu().numpy().reshape(self.job.latents.shape), tuple(images))

    def _stage(self, pipe: BasicPipe, *, cropped: bool = True) -> _Stage:
        """A pipe's model, and its prompts with their masks cropped as the frames are."""
        if not cropped:
            return _Stage(pipe.model, pipe.positive, pipe.negative)
        return _Stage(pipe.model, self._cropped(pipe.positive), self._cropped(pipe.negative))

    def _cropped(self, conditioning: Any) -> list[Any]:
        def crop(details: dict[str, Any]) -> dict[str, Any]:
            return details if details.get("mask") is None else {**details, "mask": self._cropped_mask(details["mask"])}

        return [[prompt, crop(details)] for prompt, details in conditioning]

    def _cropped_mask(self, mask: Any) -> Any:
        """The part of a prompt's mask that lies over the crop; one for each frame where the crop moves."""
        import torch

        job = self.job

        def part_at(mask: Any, region: BBox) -> Any:
            return crop_condition_mask(mask, region, job.frame_hw, job.crop_hw, compat=self.compat)

        if job.regions is None or self.compat:
            return part_at(mask, job.crop_region)
        parts = [part_at(mask[frame % len(mask)][None], region) for frame, region in enumerate(job.regions)]
        size = parts[0].shape[-2:]  # rounding may make them differ by a pixel
        fitted = [torch.nn.functional.interpolate(part[None], size=size, mode="bilinear")[0] for part in parts]
        return torch.cat(fitted)

    def _refiner(self) -> _Stage | None:
        pipe = self.backend.refiner
        if pipe is None or (self.compat and pipe.clip is None):
            return None
        return self._stage(pipe, cropped=not self.compat)

    def _controlled(self, stage: _Stage) -> tuple[_Stage, list[Any]]:
        """The stage with the segment's ControlNets and IPAdapters, and what those were shown."""
        import torch

        job, wrapper = self.job, self.job.control
        if wrapper is None:
            return stage, []
        frames = torch.from_numpy(np.ascontiguousarray(job.control_frames, np.float32))
        mask = torch.from_numpy(np.ascontiguousarray(job.control_mask, np.float32))
        if self.compat:
            positive, negative, images = wrapper.apply(
                stage.positive, stage.negative, frames, mask, use_acn=knows_advanced(wrapper)
            )
            return stage._replace(positive=positive, negative=negative), list(images)
        chain = fit_chain(wrapper, (frames.shape[1], frames.shape[2]))
        positive, negative, images = chain.apply(stage.positive, stage.negative, frames, mask)
        model, adapted = chain.doit_ipadapter(stage.model)
        return _Stage(model, positive, negative), [*images, *adapted]

    def _total(self, model: Any, steps: int) -> list[float]:
        """All levels of the schedule, those that are left out among them."""
        from comfy import samplers

        name, scheduler = self.options.sampler_name, self.options.scheduler
        if self.backend.schedule is not None:
            given = self.backend.schedule(model, name, steps)
        elif scheduler in samplers.KSampler.SCHEDULERS:
            given = samplers.KSampler(model, steps, "cpu", name, scheduler, model_options=model.model_options).sigmas
        else:
            given = make_schedule(read_table(model), name, scheduler, steps)
        return [float(level) for level in given]

    def _softened(self, model: Any, levels: list[float]) -> Any:
        """The model, with a soft mask that says from which step on a pixel is redrawn (differential diffusion)."""
        if self.options.noise_mask_feather <= 0 or "denoise_mask_function" in model.model_options:
            return model

        def mask_at(sigma: Any, mask: Any, extra_options: dict[str, Any]) -> Any:
            table = _LiveTable(extra_options["model"].inner_model.model_sampling)
            run = [float(level) for level in extra_options["sigmas"]] if self.compat else levels
            hard = mask >= step_threshold(table, float(sigma[0]), run, compat=self.compat)
            return (hard if self.compat else hard & (mask > 0)).to(mask.dtype)

        model = model.clone()
        model.set_model_denoise_mask_function(mask_at)
        return model

    def _walk(self, stages: Sequence[tuple[_Stage, list[float]]]) -> Any:
        """One walk down the levels, whoever takes the steps; untouched where the mask is 0."""
        relay, done, latents = _Relay(), 0, self.latents
        for stage, levels in stages:
            if len(levels) > 1:
                latents = self._sample(stage, levels, relay, done=done)
                done += len(levels) - 1
        return latents if self.compat else latents.where(self.mask > 0, self.latents)

    def _walk_compat(self, base: tuple[_Stage, list[float]], refiner: tuple[_Stage, list[float]]) -> Any:
        """The original's two runs, the second on a blend of the first's noisy end with the clean latents."""
        noisy = self.latents
        if len(base[1]) > 1:
            noisy = self._sample(*base, _Relay(), leave_noise=True)
        blended = noisy * self.mask + self.latents * (1 - self.mask)
        if len(refiner[1]) < 2:
            return blended
        return self._sample(*refiner, _Relay(), done=len(base[1]) - 1, start=blended)

    def _sample(
        self,
        stage: _Stage,
        levels: list[float],
        relay: _Relay,
        *,
        done: int = 0,
        start: Any = None,
        leave_noise: bool = False,
    ) -> Any:
        """ComfyUI's sampling over some levels.

        Args:
            stage: Who.
            levels: From where to where.
            relay: Where the walk goes on, if it does.
            done: Steps taken before.
            start: Latents to go on from without noise of their own; None: from the noise, or where the walk was.
            leave_noise: Whether the noise of the last level stays, where `compat` else gives the last clean picture.
        """
        import torch
        from comfy import sample, samplers, utils

        job, clean = self.job, None

        def report(step: int, denoised: Any, _x: Any, _total: int) -> None:
            nonlocal clean
            clean = denoised
            job.on_step(min(done + step + 1, self.options.steps))

        # A model that makes noise of its own, as one of AnimateDiff-Evolved may, knows by zeros that a walk goes on.
        latents = self.latents if start is None else start
        fresh = start is None and relay.latents is None
        redrawn = sample.sample_custom(
            stage.model,
            sample.prepare_noise(latents, job.seed) if fresh else torch.zeros_like(latents),
            self.options.cfg,
            self._relayed(samplers.sampler_object(self.options.sampler_name), relay),
            torch.tensor(levels),
            stage.positive,
            stage.negative,
            latents,
            noise_mask=self.mask,
            callback=report,
            disable_pbar=not utils.PROGRESS_BAR_ENABLED,
            seed=min(job.seed, 2**64 - 2),  # some samplers add one
        )
        if self.compat and not leave_noise and clean is not None:
            return stage.model.model.process_latent_out(clean.cpu())
        return redrawn.cpu()  # ComfyUI may keep it on the graphics card

    def _relayed(self, sampler: Any, relay: _Relay) -> Any:
        """The sampler, going on where another stopped, with the same noise."""
        function = sampler.sampler_function
        draws = "noise_sampler" in inspect.signature(function).parameters

        def go_on(model: Any, x: Any, sigmas: Any, **settings: Any) -> Any:
            if relay.latents is not None:
                x, model.noise = relay.latents, relay.background
            relay.background = model.noise
            if draws:
                relay.noise = relay.noise or self._noise(x)
                settings["noise_sampler"] = relay.noise
            relay.latents = function(model, x, sigmas, **settings)
            return relay.latents

        sampler.sampler_function = go_on
        return sampler

    def _noise(self, x: Any) -> Any:
        """The source of the noise that a sampler adds on its way; None: its own."""
        from comfy.k_diffusion import sampling

        name, seed = self.options.sampler_name, self.job.seed
        known = SAMPLERS.get(name.removesuffix("_gpu"))
        if known and known.noise == "brownian":
            return sampling.BrownianTreeNoiseSampler(x, *self.ends, seed=seed, cpu=not name.endswith("_gpu"))
        # From the same seed the noise of the start would come again.
        return None if self.compat else sampling.default_noise_sampler(x, seed=(seed + 1) % 2**64)


@dataclass(eq=False)
class _Relay:
    """What one sampler leaves to the next.

    Attributes:
        latents: Where it stopped, in the model's own scale.
        background: The noise of what is not redrawn.
        noise: The source of the noise that is added on the way.
    """

    latents: Any = None
    background: Any = None
    noise: Any = None


@dataclass(frozen=True)
class _LiveTable:
    """The levels of a model that is sampling."""

    sampling: Any

    @property
    def sigma_min(self) -> float:
        return float(self.sampling.sigma_min)

    def timestep(self, sigma: float) -> float:
        """How far towards noise a level lies, as the model counts."""
        import torch

        levels = self.sampling.sigmas
        return float(self.sampling.timestep(torch.tensor(sigma, dtype=levels.dtype, device=levels.device)))
