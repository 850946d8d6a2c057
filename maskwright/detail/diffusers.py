"""Redrawing with Stable Diffusion on this machine, through the networks of Diffusers.

The networks are Diffusers', the walk down the noise levels is `sampling.sample`: its pipelines know no mask, draw other
noise, and cannot hand over to a refiner in the middle.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..engines.torch import TorchEngine, empty_cache
from ..errors import DetailError, EngineFailed, RangeError, ShapeError
from ..types import AnyArray, FloatArray
from .backend import Sampled, SampleJob
from .diffusers_files import BETA_SCHEDULES, Pipe, load_controlnet, load_pipe, quiet
from .diffusers_prompts import Prompts, load_prompts, save_prompts
from .resample import as_frames, load_torch, resize_frames, to_float
from .sampling import ScheduleFunction, denoised_from, guided, sample, scaled_input
from .schedules import SigmaTable
from .segs import Segs

__all__ = [
    "BETA_SCHEDULES",
    "ControlNet",
    "DiffusersBackend",
    "Pipe",
    "Prompts",
    "load_controlnet",
    "load_pipe",
    "load_prompts",
    "save_prompts",
    "with_controls",
]


_TILE = 512  # pixels, as ComfyUI's tiled nodes have it


@dataclass(frozen=True, eq=False)
class ControlNet:
    """A ControlNet as a segment carries it; several, in a tuple, add up.

    Attributes:
        model: Diffusers' `ControlNetModel`, of `load_controlnet`.
        strength: What its answers are multiplied by.
        start: From when on it counts, as a share of the levels the model was trained on: 0, pure noise, to 1.
        end: Until when.
        frames: (F, H, W, 3) float in [0, 1] or uint8: what it is shown, over the whole frames. One picture serves all
            frames; None: it is shown the crops themselves.

    Raises:
        RangeError: A strength that is no number, or a start and end that are no shares in this order.
    """

    model: Any
    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0
    frames: AnyArray | None = None

    def __post_init__(self) -> None:
        if not np.isfinite(self.strength):
            raise RangeError("strength of a ControlNet", expected="a number", got=f"{self.strength:g}", hint="usual: 1")
        if not 0 <= self.start <= self.end <= 1:
            raise RangeError(
                "start and end of a ControlNet", expected="from 0 to 1, in order", got=f"{self.start:g}, {self.end:g}"
            )


def with_controls(segs: Segs, *controls: ControlNet) -> Segs:
    """The segments, each with these ControlNets instead of its own."""
    return Segs(segs.size_hw, tuple(replace(seg, control_net_wrapper=controls or None) for seg in segs))


class DiffusersBackend:
    """A `DetailBackend` on networks of Diffusers: Stable Diffusion 1.5 or SDXL, with or without AnimateDiff.

    Without motion, frames go through the UNet some at a time. With it, the frames of a window are one film, and a film
    longer than the network can see needs `context_length`. The VAE computes in float32, as SDXL's must.

    Args:
        pipe: The networks. They are moved to the device and to the precision.
        refiner: The networks that take the last steps.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`; with ! at the end it fails where the device cannot be had.
        half: Compute the UNet and ControlNets in float16; None: on CUDA and ROCm alone.
        batch: Frames that a UNet without motion sees at a time.
        tiled: Whether the VAE works in tiles of 512 pixels, for pictures that it has no room for at once.
        schedule: Gives the noise levels of so many steps instead of the scheduler's.

    Attributes:
        device: Where it computes.
        multiple: Pixels per latent cell.

    Raises:
        EngineUnavailable: The device is not here.
        OptionError: No such device.
    """

    def __init__(
        self,
        pipe: Pipe,
        refiner: Pipe | None = None,
        *,
        device: str = "auto",
        half: bool | None = None,
        batch: int = 8,
        tiled: bool = False,
        schedule: ScheduleFunction | None = None,
    ) -> None:
        torch = load_torch()
        resolved = TorchEngine.resolve_device(device)
        on_graphics = resolved.name in ("cuda", "rocm")
        self.device = torch.device(f"cuda:{resolved.index}" if on_graphics else resolved.name)
        self.dtype = torch.float16 if (on_graphics if half is None else half) else torch.float32
        self.batch, self.schedule = batch, schedule
        self.multiple = 2 ** (len(pipe.vae.config.block_out_channels) - 1)
        self._pipes = [pipe] if refiner is None else [pipe, refiner]
        with quiet():
            self._vae = pipe.vae.to(self.device, torch.float32)
            if tiled:
                self._vae.enable_tiling()
                self._vae.tile_sample_min_size, self._vae.tile_latent_min_size = _TILE, _TILE // self.multiple
            for each in self._pipes:
                each.unet.to(self.device, self.dtype)

    def __enter__(self) -> DiffusersBackend:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the networks' memory back. What the caller still holds of them stays."""
        self._vae, self._pipes = None, []
        empty_cache()

    def encode(self, images: FloatArray) -> FloatArray:
        """The likeliest latents, without noise of the VAE's own.

        Raises:
            EngineFailed: The memory is too small.
            DetailError: The backend is closed.
        """
        torch, vae = load_torch(), self._opened()
        with torch.inference_mode(), _computing(self.device):
            x = torch.from_numpy(np.ascontiguousarray(images, np.float32)).to(self.device).movedim(-1, 1) * 2 - 1
            latents: FloatArray = vae.encode(x).latent_dist.mode().cpu().numpy()
        return latents

    def decode(self, latents: FloatArray) -> FloatArray:
        """Pictures of latents.

        Raises:
            EngineFailed: The memory is too small.
            DetailError: The backend is closed.
        """
        torch, vae = load_torch(), self._opened()
        with torch.inference_mode(), _computing(self.device):
            x = vae.decode(torch.from_numpy(np.ascontiguousarray(latents, np.float32)).to(self.device)).sample
            images: FloatArray = ((x + 1) / 2).clamp(0, 1).movedim(1, -1).cpu().numpy()
        return images

    def sample(self, job: SampleJob) -> Sampled:
        """The latents redrawn, ControlNets and refiner included.

        Raises:
            OptionError: There is no such sampler or schedule.
            DetailError: The film is longer than the network can see; the backend is closed.
            ShapeError: What a ControlNet is to be shown does not fit the film.
            EngineFailed: The memory is too small.
        """
        self._opened()
        shown = [_shown(control, job) for control in job.control or ()]
        networks = [self._network(pipe, job, shown) for pipe in self._pipes]
        return Sampled(sample(job, *networks, schedule=self.schedule), tuple(shown))

    def _opened(self) -> Any:
        if self._vae is None:
            raise DetailError("the backend is closed", hint="open another one")
        return self._vae

    def _network(self, pipe: Pipe, job: SampleJob, shown: Sequence[FloatArray]) -> _Network:
        seen = min(len(job.latents), job.options.context_length or len(job.latents))
        if pipe.longest is not None and seen > pipe.longest:
            raise DetailError(
                "frames that the model sees together",
                expected=f"at most {pipe.longest}",
                got=str(seen),
                hint=f"set context_length to {min(16, pipe.longest)}",
            )
        torch = load_torch()
        hints = [torch.from_numpy(each).movedim(-1, 1).to(self.device, self.dtype) for each in shown]
        with quiet():
            for control in job.control or ():
                control.model.to(self.device, self.dtype)
        controls = list(zip(job.control or (), hints, strict=True))
        scale = float(self._opened().config.scaling_factor)
        return _Network(pipe, job.options.cfg, self.device, self.dtype, self.batch, scale, _size_of(job), controls)


def _size_of(job: SampleJob) -> tuple[int, int]:
    height, width = job.mask.shape[1:]
    return height, width


def _shown(control: ControlNet, job: SampleJob) -> FloatArray:
    """(F, H, W, 3) what a ControlNet is shown, at the size that is redrawn."""
    size_hw, count = _size_of(job), len(job.latents)
    if control.frames is None:
        shown = job.control_frames
    else:
        hints = as_frames(control.frames, "frames of a ControlNet")
        if len(hints) not in (1, count):
            raise ShapeError("frames of a ControlNet", expected=f"1 or {count}", got=str(len(hints)))
        regions = job.regions or (job.crop_region,) * count
        shown = np.stack([_cut(hints[index % len(hints)], regions[index], job, size_hw) for index in range(count)])
    return np.ascontiguousarray(shown, np.float32)


def _cut(hint: AnyArray, region: Sequence[int], job: SampleJob, size_hw: tuple[int, int]) -> FloatArray:
    """The part of a hint that lies over a crop, at the size that is redrawn."""
    rows, columns = hint.shape[0] / job.frame_hw[0], hint.shape[1] / job.frame_hw[1]
    x1, x2 = (round(x * columns) for x in region[::2])
    y1, y2 = (round(y * rows) for y in region[1::2])
    part = hint[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1), :3]
    resized: FloatArray = resize_frames(to_float(part)[None], size_hw).clip(0, 1)[0]
    return resized


@contextmanager
def _computing(device: Any) -> Iterator[None]:
    """Errors of torch as ours."""
    try:
        yield
    except RuntimeError as error:
        empty_cache()
        text = str(error).partition("\n")[0]
        hint = "try a smaller max_size, chunk or context_length, or another device"
        raise EngineFailed(f"the network stopped on {device} ({text})", hint=hint) from error


@dataclass(frozen=True, eq=False)
class _Network:
    """A UNet with its prompts, as sampling sees it."""

    pipe: Pipe
    cfg: float
    device: Any
    dtype: Any
    batch: int
    latent_scale: float
    size_hw: tuple[int, int]
    controls: list[tuple[ControlNet, Any]] = field(default_factory=list)

    @property
    def table(self) -> SigmaTable:
        return self.pipe.table

    def denoise(self, x: Any, sigma: float, frames: Sequence[int]) -> Any:
        """The clean latents, guidance included; `cfg` 1 asks for the positive prompt alone."""
        timestep = self.table.timestep(sigma)
        together = len(x) if self.pipe.longest is not None else self.batch
        outputs = []
        for start in range(0, len(x), together):
            part = slice(start, start + together)
            with _computing(self.device):
                outputs.append(self._predicted(scaled_input(x[part], sigma), timestep, list(frames[part])))
        torch = load_torch()
        clean = [denoised_from(output, x, sigma, self.pipe.prediction) for output in torch.cat(outputs, dim=1)]
        return clean[0] if self.cfg == 1 else guided(clean[0], clean[1], self.cfg)

    def _predicted(self, x: Any, timestep: int, frames: list[int]) -> Any:
        """(prompts, n, C, h, w) float32: the answer to the negative and the positive prompt, or to the latter alone."""
        torch, prompts = load_torch(), self.pipe.prompts
        both = self.cfg != 1
        rows = [prompts.negative, prompts.positive] if both else [prompts.positive]
        texts = torch.cat(rows).to(self.device, self.dtype)
        shown = x.to(self.dtype).repeat(len(rows), 1, 1, 1)  # (prompts * n, C, h, w)
        each = texts.repeat_interleave(len(x), dim=0)
        size = self._size_rows(rows)
        facts = None if size is None else {name: value.repeat_interleave(len(x), 0) for name, value in size.items()}
        residuals = self._controlled(shown, timestep, each, facts, frames)
        if self.pipe.longest is None:
            output = self.pipe.unet(shown, timestep, each, added_cond_kwargs=facts, **residuals).sample
        else:
            film = shown.unflatten(0, (len(rows), len(x))).transpose(1, 2)  # (prompts, C, n, h, w)
            output = self.pipe.unet(film, timestep, each, added_cond_kwargs=size, **residuals).sample
            output = output.transpose(1, 2).flatten(0, 1)
        return output.float().unflatten(0, (len(rows), len(x)))

    def _size_rows(self, rows: Sequence[Any]) -> dict[str, Any] | None:
        """What SDXL is told besides: the prompts in one row, and the picture's size. Its refiner: a score instead."""
        if not self.pipe.is_sdxl:
            return None
        torch, prompts, config = load_torch(), self.pipe.prompts, self.pipe.unet.config
        pooled = torch.cat([prompts.pooled_negative, prompts.pooled_positive][-len(rows) :])
        wide = config.projection_class_embeddings_input_dim - pooled.shape[1]
        six = wide // config.addition_time_embed_dim == 6
        scores = ([2.5], [6.0])[-len(rows) :]
        times = [[*self.size_hw, 0, 0, *(self.size_hw if six else score)] for score in scores]
        return {
            "text_embeds": pooled.to(self.device, self.dtype),
            "time_ids": torch.tensor(times, dtype=torch.float32).to(self.device, self.dtype),
        }

    def _controlled(
        self, shown: Any, timestep: int, texts: Any, facts: dict[str, Any] | None, frames: list[int]
    ) -> dict[str, Any]:
        """What the ControlNets of this moment add to the UNet's layers."""
        moment = 1 - timestep / (len(self.table.sigmas) - 1)
        found: list[list[Any]] = []
        for control, hints in self.controls:
            if not control.start <= moment <= control.end or control.strength == 0:
                continue
            hint = hints[frames].repeat(len(shown) // len(frames), 1, 1, 1)
            down, middle = control.model(
                shown, timestep, texts, hint, control.strength, added_cond_kwargs=facts, return_dict=False
            )
            found.append([*down, middle])
        if not found:
            return {}
        total = [sum(parts[1:], parts[0]) for parts in zip(*found, strict=True)]
        return {"down_block_additional_residuals": total[:-1], "mid_block_additional_residual": total[-1]}
