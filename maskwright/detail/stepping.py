"""What the steps of all samplers share: their shape, and how levels are divided.

A stepper is a generator. It is given a denoiser, the noisy latents, the levels and a source of noise, and yields after
each step the latents and what the step's first look took for the clean picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .resample import load_torch

__all__ = ["Denoise", "Noise", "Stepper", "Steps", "between", "halfway", "slope_of", "split"]

Denoise = Callable[[Any, float, int], Any]  # latents, level, index of the step -> clean latents
Noise = Callable[[float, float], Any]  # from one level to the next: standard normal
Steps = Iterator[tuple[Any, Any]]
Stepper = Callable[[Denoise, Any, Sequence[float], Noise], Steps]


def slope_of(x: Any, denoised: Any, sigma: float) -> Any:
    """How latents change with their level: the noise that the model sees in them."""
    return (x - denoised) / sigma


# What follows is in float32 and in ComfyUI's order, because the last bit of a level can decide. An ancestral step's
# middle is the level it leads to; where that lies between two timesteps, the bit says which of them the network is
# told. And a Brownian path moves by the root of it.


def split(sigma: float, to: float) -> tuple[float, float]:
    """How far an ancestral step goes down, and how much noise brings it up to `to` again."""
    start, end = np.float32(sigma) ** 2, np.float32(to) ** 2
    up = min(np.float32(to), np.sqrt(max(end * (start - end) / start, np.float32(0))))
    return float(np.sqrt(max(end - up**2, np.float32(0)))), float(up)


def between(sigma: float, to: float, share: float = 0.5) -> float:
    """The level at a share of the way between two, measured in logarithms."""
    torch = load_torch()
    start, end = torch.tensor([sigma, to], dtype=torch.float32).log()
    return float(start.lerp(end, share).exp())


def halfway(sigma: float, to: float) -> float:
    """The level in the middle as the DPM-Solvers count: half a step on from the first."""
    torch = load_torch()
    start, end = torch.tensor([sigma, to], dtype=torch.float32).log()
    return float((start + (end - start) / 2).exp())
