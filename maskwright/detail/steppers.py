"""Samplers: each walks down the noise levels, one step at a time.

A stepper is a generator. It is given a denoiser, the noisy latents, the levels and a source of noise, and yields after
each step the latents and what the step's first look took for the clean picture. References: Karras et al. 2022
(arXiv:2206.00364) for Euler, Heun and dpm_2; Lu et al. 2022 (arXiv:2211.01095) for DPM-Solver++; Liu et al. 2022
(arXiv:2202.09778) for ipndm; Luo et al. 2023 (arXiv:2310.04378) for lcm. The variants are those of k-diffusion.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from ..errors import OptionError

__all__ = ["SAMPLERS", "Denoise", "Noise", "Sampler", "Stepper", "find_sampler"]

Denoise = Callable[[Any, float, int], Any]  # latents, level, index of the step -> clean latents
Noise = Callable[[float, float], Any]  # from one level to the next: standard normal
Steps = Iterator[tuple[Any, Any]]
Stepper = Callable[[Denoise, Any, Sequence[float], Noise], Steps]


def _slope(x: Any, denoised: Any, sigma: float) -> Any:
    return (x - denoised) / sigma


def _split(sigma: float, to: float) -> tuple[float, float]:
    """How far an ancestral step goes down, and how much noise brings it up to `to` again."""
    up = min(to, math.sqrt(max(to**2 * (sigma**2 - to**2) / sigma**2, 0)))
    return math.sqrt(max(to**2 - up**2, 0)), up


def _euler(denoise: Denoise, x: Any, sigmas: Sequence[float], _noise: Noise) -> Steps:
    for step, (sigma, to) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma, step)
        x = x + _slope(x, denoised, sigma) * (to - sigma)
        yield x, denoised


def _euler_ancestral(denoise: Denoise, x: Any, sigmas: Sequence[float], noise: Noise) -> Steps:
    for step, (sigma, to) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma, step)
        down, up = _split(sigma, to)
        x = x + _slope(x, denoised, sigma) * (down - sigma) if to > 0 else denoised
        if to > 0:
            x = x + noise(sigma, to) * up
        yield x, denoised


def _heun(denoise: Denoise, x: Any, sigmas: Sequence[float], _noise: Noise) -> Steps:
    for step, (sigma, to) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma, step)
        slope, width = _slope(x, denoised, sigma), to - sigma
        guess = x + slope * width
        if to > 0:
            guess = x + (slope + _slope(guess, denoise(guess, to, step), to)) / 2 * width
        x = guess
        yield x, denoised


def _dpm_2_to(denoise: Denoise, x: Any, sigma: float, down: float, step: int) -> tuple[Any, Any]:
    """One step by the slope at the geometric middle of both levels."""
    denoised = denoise(x, sigma, step)
    slope = _slope(x, denoised, sigma)
    if down > 0:
        middle = math.sqrt(sigma * down)
        guess = x + slope * (middle - sigma)
        slope = _slope(guess, denoise(guess, middle, step), middle)
    return x + slope * (down - sigma), denoised


def _dpm_2(denoise: Denoise, x: Any, sigmas: Sequence[float], _noise: Noise) -> Steps:
    for step, (sigma, to) in enumerate(pairwise(sigmas)):
        x, denoised = _dpm_2_to(denoise, x, sigma, to, step)
        yield x, denoised


def _dpm_2_ancestral(denoise: Denoise, x: Any, sigmas: Sequence[float], noise: Noise) -> Steps:
    for step, (sigma, to) in enumerate(pairwise(sigmas)):
        down, up = _split(sigma, to)
        x, denoised = _dpm_2_to(denoise, x, sigma, down, step)
        if to > 0:
            x = x + noise(sigma, to) * up
        yield x, denoised


def _lms(denoise: Denoise, x: Any, sigmas: Sequence[float], _noise: Noise) -> Steps:
    """Linear multistep of order 4: the polynomial through the last slopes, integrated over the step."""
    slopes: list[Any] = []
    for step, (sigma, to) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma, step)
        slopes = [_slope(x, denoised, sigma), *slopes][:4]
        levels = sigmas[step::-1][: len(slopes)]
        if to > 0:
            shares = _integrated(levels, sigma, to)
            x = x + sum(share * slope for share, slope in zip(shares, slopes, strict=True))
        else:
            x = denoised
        yield x, denoised


def _integrated(levels: Sequence[float], start: float, stop: float) -> list[float]:
    """The integral of each Lagrange polynomial on these levels."""
    from numpy.polynomial import Polynomial

    shares = []
    for index, level in enumerate(levels):
        others = [other for place, other in enumerate(levels) if place != index]
        integral = Polynomial.fromroots(others).integ() if others else Polynomial([0, 1])
        shares.append(float((integral(stop) - integral(start)) / np.prod([level - other for other in others])))
    return shares


def _dpmpp_2m(denoise: Denoise, x: Any, sigmas: Sequence[float], noise: Noise) -> Steps:
    return _dpmpp_2m_sde(denoise, x, sigmas, noise, eta=0)


def _dpmpp_2m_sde(
    denoise: Denoise, x: Any, sigmas: Sequence[float], noise: Noise, *, eta: float = 1, heun: bool = False
) -> Steps:
    old, last = None, 0.0
    for step, (sigma, to) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma, step)
        if to > 0:
            width = math.log(sigma / to)
            decay = -math.expm1(-width * (1 + eta))
            x, clean = x * (to / sigma * math.exp(-width * eta)) + denoised * decay, denoised
            if old is not None:
                share = 1 - decay / (width * (1 + eta)) if heun else decay / 2
                x = x + (clean - old) * (share * width / last)
            if eta:
                x = x + noise(sigma, to) * (to * math.sqrt(-math.expm1(-2 * width * eta)))
            last = width
        else:
            x = denoised
        old = denoised
        yield x, denoised


def _dpmpp_2m_sde_heun(denoise: Denoise, x: Any, sigmas: Sequence[float], noise: Noise) -> Steps:
    return _dpmpp_2m_sde(denoise, x, sigmas, noise, heun=True)


def _dpmpp_3m_sde(denoise: Denoise, x: Any, sigmas: Sequence[float], noise: Noise) -> Steps:
    older: list[tuple[Any, float]] = []  # clean latents of the last steps, newest first, and the step's width after
    for step, (sigma, to) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma, step)
        if to > 0:
            width = math.log(sigma / to)
            twice = 2 * width
            decay = math.expm1(-twice)
            x = x * math.exp(-twice) - denoised * decay
            x = x + _third_order(denoised, older, width, decay / twice + 1)
            x = x + noise(sigma, to) * (to * math.sqrt(-math.expm1(-twice)))
            older = [(denoised, width), *older][:2]
        else:
            x = denoised
        yield x, denoised


def _third_order(denoised: Any, older: list[tuple[Any, float]], width: float, first: float) -> Any:
    """What the last one or two steps add to a step of dpmpp_3m_sde."""
    if not older:
        return 0.0
    near = older[0][1] / width
    slope = (denoised - older[0][0]) / near
    if len(older) == 1:
        return slope * first
    far = older[1][1] / width
    before = (older[0][0] - older[1][0]) / far
    bend = (slope - before) / (near + far)
    return (slope + bend * near) * first - bend * (first / (2 * width) - 0.5)


def _dpmpp_2s_ancestral(denoise: Denoise, x: Any, sigmas: Sequence[float], noise: Noise) -> Steps:
    for step, (sigma, to) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma, step)
        down, up = _split(sigma, to)
        if down > 0:
            middle = math.sqrt(sigma * down)
            guess = x * (middle / sigma) + denoised * (1 - middle / sigma)
            x = x * (down / sigma) + denoise(guess, middle, step) * (1 - down / sigma)
        else:
            x = x + _slope(x, denoised, sigma) * (down - sigma)
        if to > 0:
            x = x + noise(sigma, to) * up
        yield x, denoised


def _dpmpp_sde(denoise: Denoise, x: Any, sigmas: Sequence[float], noise: Noise) -> Steps:
    for step, (sigma, to) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma, step)
        if to > 0:
            middle = math.sqrt(sigma * to)
            down, up = _split(sigma, middle)
            guess = x * (down / sigma) + denoised * (1 - down / sigma) + noise(sigma, middle) * up
            second = denoise(guess, middle, step)
            down, up = _split(sigma, to)
            x = x * (down / sigma) + second * (1 - down / sigma) + noise(sigma, to) * up
        else:
            x = x + _slope(x, denoised, sigma) * (to - sigma)
        yield x, denoised


def _ipndm(denoise: Denoise, x: Any, sigmas: Sequence[float], _noise: Noise) -> Steps:
    """Adams-Bashforth of order 4 with the coefficients of even steps."""
    shares = ([1.0], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24])
    slopes: list[Any] = []
    for step, (sigma, to) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma, step)
        slopes = [_slope(x, denoised, sigma), *slopes][:4]
        if to > 0:
            mean = sum(share * slope for share, slope in zip(shares[len(slopes) - 1], slopes, strict=True))
            x = x + mean * (to - sigma)
        else:
            x = denoised
        yield x, denoised


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
    "dpm_2": Sampler(_dpm_2),
    "dpm_2_ancestral": Sampler(_dpm_2_ancestral, "fresh"),
    "lms": Sampler(_lms),
    "dpmpp_2s_ancestral": Sampler(_dpmpp_2s_ancestral, "fresh"),
    "dpmpp_sde": Sampler(_dpmpp_sde, "brownian"),
    "dpmpp_2m": Sampler(_dpmpp_2m),
    "dpmpp_2m_sde": Sampler(_dpmpp_2m_sde, "brownian"),
    "dpmpp_2m_sde_heun": Sampler(_dpmpp_2m_sde_heun, "brownian"),
    "dpmpp_3m_sde": Sampler(_dpmpp_3m_sde, "brownian"),
    "ddpm": Sampler(_euler_ancestral, "fresh"),
    "lcm": Sampler(_lcm, "fresh"),
    "ipndm": Sampler(_ipndm),
    "ddim": Sampler(_euler, redraws_background=True),
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
