"""What of ComfyUI a detailer calls, in few lines: samplers, schedules, noise masks, around the closed-form network.

The arithmetic is ComfyUI's, so that the goldens of the original node come out of it too.
"""

from __future__ import annotations

import math
import sys
import types
from itertools import pairwise

import torch

from maskwright.detail.schedules import SigmaTable, make_schedule
from tests.support.toy import SCALE, ToyBackend


def sample_euler(model, x, sigmas, extra_args, callback, disable):
    for step, (sigma, to) in enumerate(pairwise(sigmas)):
        denoised = model(x, sigma, **extra_args)
        callback({"i": step, "denoised": denoised, "x": x})
        x = x + (x - denoised) / sigma * (to - sigma)
    return x


def sample_euler_ancestral(model, x, sigmas, extra_args, callback, disable, noise_sampler=None):
    noise_sampler = noise_sampler or default_noise_sampler(x, extra_args["seed"])
    for step, (sigma, to) in enumerate(pairwise(sigmas)):
        denoised = model(x, sigma, **extra_args)
        callback({"i": step, "denoised": denoised, "x": x})
        up = min(to, (to**2 * (sigma**2 - to**2) / sigma**2) ** 0.5)
        x = x + (x - denoised) / sigma * ((to**2 - up**2) ** 0.5 - sigma)
        x = x + noise_sampler(sigma, to) * up if to > 0 else denoised
    return x


def default_noise_sampler(x, seed=None):
    generator = torch.Generator().manual_seed(seed)
    return lambda _sigma, _to: torch.randn(x.shape, generator=generator)


class BrownianTreeNoiseSampler:
    """Counts on what it was made, and gives noise that depends on nothing else."""

    made: list = []  # noqa: RUF012

    def __init__(self, x, sigma_min, sigma_max, seed, cpu):
        self.made.append((float(sigma_min), float(sigma_max), seed, cpu))
        self.noise = default_noise_sampler(x, seed)

    def __call__(self, sigma, to):
        return self.noise(sigma, to)


class KSAMPLER:
    """A sampler as ComfyUI holds one."""

    def __init__(self, sampler_function, random=False):
        self.sampler_function, self.random = sampler_function, random


def sampler_object(name):
    if name == "ddim":
        return KSAMPLER(sample_euler, random=True)
    return KSAMPLER(sample_euler_ancestral if name in ("euler_ancestral", "dpmpp_sde") else sample_euler)


class KSampler:
    SAMPLERS = ("euler", "euler_ancestral", "dpmpp_sde", "ddim")
    SCHEDULERS = ("simple", "normal")

    def __init__(self, model, steps, device, sampler, scheduler, denoise=None, model_options=None):
        self.sigmas = torch.from_numpy(make_schedule(SigmaTable.scaled_linear(), sampler, scheduler, steps))


class ModelSampling:
    """The noise levels, as ComfyUI's models hold them."""

    def __init__(self):
        self.table = SigmaTable.scaled_linear()
        self.sigmas, self.log_sigmas = (torch.from_numpy(each) for each in (self.table.sigmas, self.table.logs))
        self.sigma_min = self.sigmas[0]

    def timestep(self, sigma):
        return torch.tensor(self.table.timestep(float(sigma)))


class Model:
    """A MODEL: a patcher around the closed-form network."""

    load_device = torch.device("cpu")

    def __init__(self, shift=0.0):
        self.model_options, self.shift = {}, shift
        self.model = types.SimpleNamespace(process_latent_out=lambda x: x / SCALE)
        self.sampling = ModelSampling()
        self.calls = []

    def clone(self):
        other = Model(self.shift)
        other.model_options, other.calls = dict(self.model_options), self.calls
        return other

    def get_model_object(self, name):
        assert name == "model_sampling"
        return self.sampling

    def set_model_denoise_mask_function(self, function):
        self.model_options["denoise_mask_function"] = function

    def denoise(self, x, sigma, prompts, cfg):
        self.calls.append((len(x), float(sigma)))
        timestep = self.sampling.table.timestep(float(sigma))
        shown = torch.cat([x / (sigma**2 + 1) ** 0.5] * 2)
        values = torch.stack([_prompt(one, x) for one in prompts]).reshape(-1, 1, *x.shape[2:]) + self.shift
        noise = 0.30 * shown + 0.10 * shown.mean(0, keepdim=True)
        noise = noise + 0.2 * torch.sin(torch.tensor(timestep / 200.0)) + 0.5 * values
        positive, negative = (torch.cat([x, x]) - noise * sigma).chunk(2)
        return negative + (positive - negative) * cfg


def _prompt(conditioning, x):
    """(F, h, w): the mean of the prompts, each where its mask is."""
    total, weight = torch.zeros(len(x), *x.shape[2:]), torch.zeros(len(x), *x.shape[2:])
    for values, details in conditioning:
        mask = details.get("mask", torch.ones(1, *x.shape[2:]))
        mask = torch.nn.functional.interpolate(mask[:, None], size=x.shape[2:], mode="bilinear")[:, 0]
        total, weight = total + values.mean() * mask, weight + mask
    return total / weight.clamp(min=1e-9)


class _Masked:
    """A denoiser that keeps the original where the mask is not."""

    def __init__(self, model, prompts, cfg, sigmas):
        self.model, self.prompts, self.cfg, self.sigmas = model, prompts, cfg, sigmas
        self.inner_model = types.SimpleNamespace(inner_model=types.SimpleNamespace(model_sampling=model.sampling))

    def __call__(self, x, sigma, denoise_mask, model_options, seed):
        mask = denoise_mask
        if "denoise_mask_function" in model_options:
            extra = {"model": self.inner_model, "sigmas": self.sigmas}
            mask = model_options["denoise_mask_function"](sigma[None], mask, extra_options=extra)
        x = x * mask + (self.latent_image + self.noise * sigma) * (1 - mask)
        return self.model.denoise(x, sigma, self.prompts, self.cfg) * mask + self.latent_image * (1 - mask)


def sample_custom(
    model, noise, cfg, sampler, sigmas, positive, negative, latent_image, noise_mask=None, callback=None,
    disable_pbar=False, seed=None,
):  # fmt: skip
    masked = _Masked(model, (positive, negative), cfg, sigmas)
    masked.latent_image, masked.noise = latent_image * SCALE, noise
    if sampler.random:
        masked.noise = torch.randn(noise.shape, generator=torch.Generator().manual_seed(seed + 1))
    mask = torch.nn.functional.interpolate(noise_mask, size=noise.shape[2:], mode="bilinear")
    mask = mask.repeat(math.ceil(len(noise) / len(mask)), noise.shape[1], 1, 1)[: len(noise)]
    first, top = sigmas[0], model.sampling.sigmas[-1]
    full = first > top or math.isclose(first, top, rel_tol=1e-5)
    x = noise * ((1 + first**2) ** 0.5 if full else first) + masked.latent_image
    samples = sampler.sampler_function(
        masked,
        x,
        sigmas,
        extra_args={"model_options": model.model_options, "seed": seed, "denoise_mask": mask},
        callback=lambda step: callback(step["i"], step["denoised"], step["x"], len(sigmas) - 1),
        disable=disable_pbar,
    )
    return samples / SCALE


def prepare_noise(latents, seed):
    return torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed))


class Vae:
    """A VAE that averages cells of 8 x 8 pixels; with `film` its latents have an axis of time, as those for films."""

    def __init__(self, film=False):
        self.toy, self.tiles, self.latent_dim = ToyBackend(), [], 3 if film else 2

    def spacial_compression_encode(self):
        return 8

    def encode(self, pixels):
        height, width = (side // 8 * 8 for side in pixels.shape[1:3])
        top, left = (pixels.shape[1] - height) // 2, (pixels.shape[2] - width) // 2
        latents = torch.from_numpy(self.toy.encode(pixels[:, top : top + height, left : left + width].numpy()))
        return latents[:, :, None] if self.latent_dim == 3 else latents

    def decode(self, latents):
        if self.latent_dim == 3:
            return torch.from_numpy(self.toy.decode(latents[:, :, 0].numpy()))[None]
        return torch.from_numpy(self.toy.decode(latents.numpy()))

    def encode_tiled(self, pixels, tile_x, tile_y, overlap):
        self.tiles.append((tile_x, tile_y, overlap))
        return self.encode(pixels)

    def decode_tiled(self, latents, tile_x, tile_y, overlap):
        self.tiles.append((tile_x, tile_y, overlap))
        return self.decode(latents)


def make_pipe(vae=None, shift=0.0):
    """A BASIC_PIPE of the closed-form network."""
    positive, negative = ([[torch.full((1, 1, 4), value), {}]] for value in (0.4, -0.2))
    return Model(shift), object(), vae or Vae(), positive, negative


def install(monkeypatch):
    """Put the modules where ComfyUI's would be; those of `comfy.model_management` and `comfy.utils` are there."""
    this = sys.modules[__name__]
    sys.modules["comfy.utils"].PROGRESS_BAR_ENABLED = False
    made = {
        "comfy": types.ModuleType("comfy"),
        "comfy.sample": types.ModuleType("comfy.sample"),
        "comfy.samplers": types.ModuleType("comfy.samplers"),
        "comfy.k_diffusion": types.ModuleType("comfy.k_diffusion"),
        "comfy.k_diffusion.sampling": types.ModuleType("comfy.k_diffusion.sampling"),
    }
    for name, module in made.items():
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("sample", "samplers", "k_diffusion", "utils", "model_management"):
        setattr(made["comfy"], name, sys.modules[f"comfy.{name}"])
    made["comfy.k_diffusion"].sampling = made["comfy.k_diffusion.sampling"]
    made["comfy.sample"].fix_empty_latent_channels = lambda _model, latents: latents
    for module, names in {
        "comfy.sample": ("prepare_noise", "sample_custom"),
        "comfy.samplers": ("KSampler", "KSAMPLER", "sampler_object"),
        "comfy.k_diffusion.sampling": ("default_noise_sampler", "BrownianTreeNoiseSampler"),
    }.items():
        for name in names:
            setattr(made[module], name, getattr(this, name))
