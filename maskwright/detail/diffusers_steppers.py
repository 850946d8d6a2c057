"""Samplers that schedulers of Diffusers take the steps of, where they were measured to agree with ComfyUI's.

A scheduler is given our levels instead of its own, and clean latents instead of noise. It counts latents of unit
variance. Measured against ComfyUI 0.3.64 over all schedules, as a share of the largest latent.
`benchmarks/detail_samplers.py` measures again, the schedulers that are not here too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import EngineUnavailable
from .resample import load_torch
from .stepping import Denoise, Noise, Steps

__all__ = ["EQUIVALENTS", "Equivalent", "import_diffusers"]


@dataclass(frozen=True)
class Equivalent:
    """A scheduler of Diffusers, as a sampler of ComfyUI.

    Attributes:
        scheduler: Its class.
        settings: What it is made with. An order is lowered where there are fewer steps.
        last: The level that stands for 0.
        measured: The largest difference from ComfyUI's final latents.
    """

    scheduler: str
    settings: Mapping[str, Any]
    last: float = 0.0
    measured: float = math.inf

    def walk(self, denoise: Denoise, x: Any, sigmas: Sequence[float], _noise: Noise) -> Steps:
        """The stepper.

        Raises:
            EngineUnavailable: Diffusers is not installed.
        """
        torch, levels = load_torch(), [sigma or self.last for sigma in sigmas]
        steps = len(levels) - 1
        settings = {
            name: min(value, max(steps - 1, 1)) if name.endswith("_order") else value
            for name, value in self.settings.items()
        }
        scheduler = getattr(import_diffusers(), self.scheduler)(**settings, prediction_type="sample")
        scheduler.num_inference_steps, scheduler.timesteps = steps, torch.arange(steps)
        scheduler.sigmas = torch.tensor(levels)
        scheduler.set_begin_index(0)
        for step, sigma in enumerate(levels[:-1]):
            denoised = denoise(x, sigma, step)
            even = x / math.sqrt(sigma**2 + 1)
            even = scheduler.step(denoised, scheduler.timesteps[step], even, return_dict=False)[0]
            x = even * math.sqrt(levels[step + 1] ** 2 + 1)
            yield x, denoised


EQUIVALENTS = {
    "uni_pc": Equivalent("UniPCMultistepScheduler", {"solver_order": 3, "solver_type": "bh1"}, 0.001, 8e-5),
    "uni_pc_bh2": Equivalent("UniPCMultistepScheduler", {"solver_order": 3, "solver_type": "bh2"}, 0.001, 8e-5),
}


def import_diffusers() -> Any:
    """Diffusers.

    Raises:
        EngineUnavailable: It is not installed.
    """
    try:
        import diffusers
    except ImportError as error:
        raise EngineUnavailable(f"{error.name} is not installed", hint='pip install "maskwright[detail]"') from error
    return diffusers
