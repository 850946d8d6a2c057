"""Samplers: each walks down the noise levels, one step at a time.

Here are those that look at one step alone, and the names of all. References: Karras et al. 2022 (arXiv:2206.00364) for
Euler, Heun and dpm_2; Lu et al. 2022 (arXiv:2211.01095) for DPM-Solver++; Gonzalez et al. 2023 (arXiv:2305.14267) for
seeds_2 and seeds_3; Luo et al. 2023 (arXiv:2310.04378) for lcm; github.com/Carzit/sd-webui-samplers-scheduler for
heunpp2. The variants are those of ComfyUI.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from ..errors import OptionError
from . import multistep
from .diffusers_steppers import EQUIVALENTS
from .stepping import Denoise, Noise, Stepper, Steps, between, halfway, slope_of, split

__all__ = ["SAMPLERS", "Sampler", "find_sampler"]


def _euler(denoise: Denoise, x: Any, sigmas: Sequence[float], _noise: Noise) -> Steps:
    for step, (sigma, to) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma, step)
        x = x + slope_of(x, denoised, sigma) * (to - sigma)
        yield x, denoised


def _euler_ancestral(denoise: Denoise, x: Any, sigmas: Sequence[float], noise: Noise) -> Steps:
    for step, (sigma, to) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma, step)
        down, up = split(sigma, to)
        x = x + slope_of(x, denoised, sigma) * (down - sigma) if to > 0 else denoised
        if to > 0:
            x = x + noise(sigma, to) * up
        yield x, denoised


def _heun(denoise: Denoise, x: Any, sigmas: Sequence[float], _noise: Noise) -> Steps:
    for step, (sigma, to) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma, step)
        slope, width = slope_of(x, denoised, sigma), to - sigma
        guess = x + slope * width
        if to > 0:
            guess = x + (slope + slope_of(guess, denoise(guess, to, step), to)) / 2 * width
        x = guess
        yield x, denoised


def _heunpp2(denoise: Denoise, x: Any, sigmas: Sequence[float], _noise: Noise) -> Steps:
    """Heun with up to two slopes ahead, each counting as its level's share of the first level."""
    for step, (sigma, to) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma, step)
        slope = latest = mean = slope_of(x, denoised, sigma)
        ahead = [level for level in sigmas[step + 1 : step + 3] if level != sigmas[-1]]
        guess, at = x, sigma
        for level in ahead:
            guess, at = guess + latest * (level - at), level
            latest = slope_of(guess, denoise(guess, level, step), level)
            mean = mean + (latest - slope) * (level / sigmas[0] / (len(ahead) + 1))
        x = x + mean * (to - sigma)
        yield x, denoised


def _dpm_2_to(denoise: Denoise, x: Any, sigma: float, down: float, step: int) -> tuple[Any, Any]:
    """One step by the slope at the geometric middle of both levels."""
    denoised = denoise(x, sigma, step)
    slope = slope_of(x, denoised, sigma)
    if down > 0:
        middle = between(sigma, down)
        guess = x + slope * (middle - sigma)
        slope = slope_of(guess, denoise(guess, middle, step), middle)
    return x + slope * (down - sigma), denoised


def _dpm_2(denoise: Denoise, x: Any, sigmas: Sequence[float], _noise: Noise) -> Steps:
    for step, (sigma, to) in enumerate(pairwise(sigmas)):
        x, denoised = _dpm_2_to(denoise, x, sigma, to, step)
        yield x, denoised


def _dpm_2_ancestral(denoise: Denoise, x: Any, sigmas: Sequence[float], noise: Noise) -> Steps:
    for step, (sigma, to) in enumerate(pairwise(sigmas)):
        down, up = split(sigma, to)
        x, denoised = _dpm_2_to(denoise, x, sigma, down, step)
        if to > 0:
            x = x + noise(sigma, to) * up
        yield x, denoised


def _dpmpp_2s_ancestral(denoise: Denoise, x: Any, sigmas: Sequence[float], noise: Noise) -> Steps:
    for step, (sigma, to) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma, step)
        down, up = split(sigma, to)
        if down > 0:
            middle = halfway(sigma, down)
            guess = x * (middle / sigma) + denoised * (1 - middle / sigma)
            x = x * (down / sigma) + denoise(guess, middle, step) * (1 - down / sigma)
        else:
            x = x + slope_of(x, denoised, sigma) * (down - sigma)
        if to > 0:
            x = x + noise(sigma, to) * up
        yield x, denoised


def _dpmpp_sde(denoise: Denoise, x: Any, sigmas: Sequence[float], noise: Noise) -> Steps:
    for step, (sigma, to) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma, step)
        if to > 0:
            middle = halfway(sigma, to)
            down, up = split(sigma, middle)
            guess = x * (down / sigma) + denoised * (1 - down / sigma) + noise(sigma, middle) * up
            second = denoise(guess, middle, step)
            down, up = split(sigma, to)
            x = x * (down / sigma) + second * (1 - down / sigma) + noise(sigma, to) * up
        else:
            x = x + slope_of(x, denoised, sigma) * (to - sigma)
        yield x, denoised


def _seeds_2(denoise: Denoise, x: Any, sigmas: Sequence[float], noise: Noise) -> Steps:
    """Two looks a step: the noise of the first is part of that of the step."""
    for step, (sigma, to) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma, step)
        if to > 0:
            middle = between(sigma, to)
            drawn = noise(sigma, middle) * math.sqrt(1 - (middle / sigma) ** 2)
            keep = (middle / sigma) ** 2
            seen = denoise(x * keep + denoised * (1 - keep) + drawn * middle, middle, step)
            drawn = _more_noise(drawn, noise(middle, to), to / middle)
            keep = (to / sigma) ** 2
            x = x * keep + seen * (1 - keep) + drawn * to
        else:
            x = denoised
        yield x, denoised


def _seeds_3(denoise: Denoise, x: Any, sigmas: Sequence[float], noise: Noise) -> Steps:
    """Three looks a step, at its thirds."""
    for step, (sigma, to) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma, step)
        if to > 0:
            first, second = between(sigma, to, 1 / 3), between(sigma, to, 2 / 3)
            drawn = noise(sigma, first) * math.sqrt(1 - (first / sigma) ** 2)
            keep = (first / sigma) ** 2
            seen = denoise(x * keep + denoised * (1 - keep) + drawn * first, first, step)
            drawn = _more_noise(drawn, noise(first, second), second / first)
            guess = _leaning(x, denoised, seen, sigma, second, 2) + drawn * second
            seen = denoise(guess, second, step)
            drawn = _more_noise(drawn, noise(second, to), to / second)
            x = _leaning(x, denoised, seen, sigma, to, 1.5) + drawn * to
        else:
            x = denoised
        yield x, denoised


def _more_noise(drawn: Any, fresh: Any, ratio: float) -> Any:
    """Noise carried down to a level of this ratio, and brought up to what belongs there."""
    return drawn * ratio + fresh * math.sqrt(1 - ratio**2)


def _leaning(x: Any, denoised: Any, seen: Any, sigma: float, to: float, weight: float) -> Any:
    """A step from the clean latents seen first towards those seen on the way, without its noise."""
    keep, width = (to / sigma) ** 2, 2 * math.log(sigma / to)
    lean = weight * (1 - (1 - keep) / width)
    return x * keep + denoised * (1 - keep - lean) + seen * lean


def _lcm(denoise: Denoise, x: Any, sigmas: Sequence[float], noise: Noise) -> Steps:
    for step, (sigma, to) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma, step)
        x = denoised + noise(sigma, to) * to if to > 0 else denoised
        yield x, denoised


@dataclass(frozen=True)
class Sampler:
    """A way down the noise levels.

    Attributes:
        stepper: The generator that takes the steps.
        noise: `none`; `fresh`, new noise for each step; or `brownian`, one path whose steps add up.
        redraws_background: Whether what is not redrawn gets noise of its own.
    """

    stepper: Stepper
    noise: Literal["none", "fresh", "brownian"] = "none"
    redraws_background: bool = False


SAMPLERS = {
    "euler": Sampler(_euler),
    "euler_ancestral": Sampler(_euler_ancestral, "fresh"),
    "heun": Sampler(_heun),
    "heunpp2": Sampler(_heunpp2),
    "dpm_2": Sampler(_dpm_2),
    "dpm_2_ancestral": Sampler(_dpm_2_ancestral, "fresh"),
    "lms": Sampler(multistep.lms),
    "dpmpp_2s_ancestral": Sampler(_dpmpp_2s_ancestral, "fresh"),
    "dpmpp_sde": Sampler(_dpmpp_sde, "brownian"),
    "dpmpp_2m": Sampler(multistep.dpmpp_2m),
    "dpmpp_2m_sde": Sampler(multistep.dpmpp_2m_sde, "brownian"),
    "dpmpp_2m_sde_heun": Sampler(multistep.dpmpp_2m_sde_heun, "brownian"),
    "dpmpp_3m_sde": Sampler(multistep.dpmpp_3m_sde, "brownian"),
    "ddpm": Sampler(_euler_ancestral, "fresh"),
    "lcm": Sampler(_lcm, "fresh"),
    "ipndm": Sampler(multistep.ipndm),
    "ipndm_v": Sampler(multistep.ipndm_v),
    "deis": Sampler(multistep.deis),
    "res_multistep": Sampler(multistep.res_multistep),
    "res_multistep_ancestral": Sampler(multistep.res_multistep_ancestral, "fresh"),
    "gradient_estimation": Sampler(multistep.gradient_estimation),
    "er_sde": Sampler(multistep.er_sde, "fresh"),
    "seeds_2": Sampler(_seeds_2, "fresh"),
    "seeds_3": Sampler(_seeds_3, "fresh"),
    "ddim": Sampler(_euler, redraws_background=True),
    **{name: Sampler(equivalent.walk) for name, equivalent in EQUIVALENTS.items()},
}


def find_sampler(name: str) -> Sampler:
    """The sampler of this name; a name's ending `_gpu` changes nothing.

    Raises:
        OptionError: It is not among those here.
    """
    sampler = SAMPLERS.get(name.removesuffix("_gpu"))
    if sampler is None:
        raise OptionError(
            "sampler_name", expected=f"one of {', '.join(SAMPLERS)}", got=repr(name), hint="use one of these"
        )
    return sampler
