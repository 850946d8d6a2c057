"""A closed-form network and VAE: what they do can be said in three lines, and needs no weights."""

from __future__ import annotations

import numpy as np
import torch

from maskwright.detail.backend import Sampled, SampleJob
from maskwright.detail.sampling import denoised_from, guided, sample, scaled_input
from maskwright.detail.schedules import SigmaTable

SCALE = 0.18215


class ToyModel:
    """Predicts 0.3 x + 0.1 (mean over the batch) + 0.2 sin(t / 200) + half the prompt's mean."""

    latent_scale = SCALE
    device = torch.device("cpu")

    def __init__(self, positive=0.4, negative=-0.2, cfg=3.0):
        self.table = SigmaTable.scaled_linear()
        self.prompts, self.cfg = (positive, negative), cfg
        self.calls = []

    def denoise(self, x, sigma, frames):
        self.calls.append((tuple(frames), sigma))
        timestep = self.table.timestep(sigma)
        shown = torch.cat([scaled_input(x, sigma)] * 2)
        prompt = torch.tensor(self.prompts, dtype=torch.float32).repeat_interleave(len(x)).reshape(-1, 1, 1, 1)
        wave = 0.2 * torch.sin(torch.tensor(timestep / 200.0))
        noise = 0.30 * shown + 0.10 * shown.mean(0, keepdim=True) + wave + 0.5 * prompt
        positive, negative = denoised_from(noise, torch.cat([x, x]), sigma).chunk(2)
        return guided(negative, positive, self.cfg)


class ToyBackend:
    """The toy network between a VAE that averages cells of 8 x 8 pixels."""

    multiple = 8

    def __init__(self, refiner=None, cfg=3.0):
        self.model, self.refiner = ToyModel(cfg=cfg), refiner
        self.encoded, self.jobs = [], []

    def encode(self, images):
        self.encoded.append(images.shape)
        x = torch.from_numpy(np.ascontiguousarray(images)).movedim(-1, 1) * 2 - 1
        cells = torch.nn.functional.avg_pool2d(x, 8)
        return (torch.cat([cells, cells.mean(1, keepdim=True)], 1) / SCALE).numpy()

    def sample(self, job: SampleJob) -> Sampled:
        self.jobs.append(job)
        return Sampled(sample(job, self.model, self.refiner))

    def decode(self, latents):
        x = torch.from_numpy(np.ascontiguousarray(latents))[:, :3] * SCALE
        x = torch.nn.functional.interpolate(x, scale_factor=8, mode="nearest")
        return ((x + 1) / 2).clamp(0, 1).movedim(1, -1).contiguous().numpy()


def toy_frames(count=3, height=96, width=128):
    """(F, H, W, 3) float32 waves."""
    f, y, x, c = np.meshgrid(*(np.arange(n) for n in (count, height, width, 3)), indexing="ij")
    return (0.5 + 0.4 * np.sin(0.11 * x + 0.7 * c + 0.3 * f) * np.cos(0.07 * y - 0.2 * f)).astype(np.float32)
