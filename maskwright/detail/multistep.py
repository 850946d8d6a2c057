"""Samplers that remember: each step also leans on what the last steps saw.

References: Lu et al. 2022 (arXiv:2211.01095) for DPM-Solver++, Zhang & Chen 2022 (arXiv:2204.13902) for ipndm and deis,
Zhang et al. 2023 (arXiv:2308.02157) for res_multistep, Permenter & Yuan 2023 (arXiv:2306.04848) for
gradient_estimation, Cui et al. 2023 (arXiv:2309.06169) for er_sde. The variants are those of ComfyUI.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from .stepping import Denoise, Noise, Steps, slope_of, split

__all__ = [
    "deis",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "dpmpp_2m_sde_heun",
    "dpmpp_3m_sde",
    "er_sde",
    "gradient_estimation",
    "ipndm",
    "ipndm_v",
    "lms",
    "res_multistep",
    "res_multistep_ancestral",
]


def lms(denoise: Denoise, x: Any, sigmas: Sequence[float], _noise: Noise) -> Steps:
    """Linear multistep of order 4: the polynomial through the last slopes, integrated over the step."""
    slopes: list[Any] = []
    for step, (sigma, to) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma, step)
        slopes = [slope_of(x, denoised, sigma), *slopes][:4]
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


def dpmpp_2m(denoise: Denoise, x: Any, sigmas: Sequence[float], noise: Noise) -> Steps:
    """Order 2, without noise."""
    return dpmpp_2m_sde(denoise, x, sigmas, noise, eta=0)


def dpmpp_2m_sde(
    denoise: Denoise, x: Any, sigmas: Sequence[float], noise: Noise, *, eta: float = 1, heun: bool = False
) -> Steps:
    """Order 2 with the midpoint's correction, or with Heun's."""
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


def dpmpp_2m_sde_heun(denoise: Denoise, x: Any, sigmas: Sequence[float], noise: Noise) -> Steps:
    """The same with Heun's correction."""
    return dpmpp_2m_sde(denoise, x, sigmas, noise, heun=True)


def dpmpp_3m_sde(denoise: Denoise, x: Any, sigmas: Sequence[float], noise: Noise) -> Steps:
    """Order 3."""
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


def ipndm(denoise: Denoise, x: Any, sigmas: Sequence[float], _noise: Noise) -> Steps:
    """Adams-Bashforth of order 4 with the coefficients of even steps."""
    shares = ([1.0], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24])
    slopes: list[Any] = []
    for step, (sigma, to) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma, step)
        slopes = [slope_of(x, denoised, sigma), *slopes][:4]
        if to > 0:
            mean = sum(share * slope for share, slope in zip(shares[len(slopes) - 1], slopes, strict=True))
            x = x + mean * (to - sigma)
        else:
            x = denoised
        yield x, denoised


def deis(denoise: Denoise, x: Any, sigmas: Sequence[float], _noise: Noise) -> Steps:
    """Order 3: the polynomial through the last slopes in the time of a variance-preserving diffusion, integrated."""
    slopes: list[Any] = []
    for step, (sigma, to) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma, step)
        slopes = [slope_of(x, denoised, sigma), *slopes][:3]
        shares = [to - sigma]
        if to > 0:
            shares = _integrated_in_time(sigmas[step::-1][: len(slopes)], sigma, to)
        x = x + sum(share * slope for share, slope in zip(shares, slopes, strict=False))
        yield x, denoised


# The diffusion whose time deis counts in: its noise grows from level 0.002 at time 0.001 to level 80 at time 1.
_FROM, _TO, _START = math.log1p(0.002**2), math.log1p(80.0**2), 1e-3
_RATE = 2 * (_FROM / _START - _TO) / (_START - 1)
_FIRST = _TO - _RATE / 2


def _time_of(sigma: float) -> float:
    return (math.sqrt(_FIRST**2 + 2 * _RATE * math.log1p(sigma**2)) - _FIRST) / _RATE


def _integrated_in_time(levels: Sequence[float], start: float, stop: float) -> list[float]:
    """The integral over the level of each Lagrange polynomial in time, by Gauss and Legendre."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    first, last = _time_of(start), _time_of(stop)
    at = (first + last) / 2 + (last - first) / 2 * nodes
    kept = np.exp(-(_RATE * at**2 / 2 + _FIRST * at))
    rise = (_RATE * at + _FIRST) / (2 * np.sqrt(kept * (1 - kept)))  # of the level with time
    times = [_time_of(level) for level in levels]
    shares = []
    for index, time in enumerate(times):
        others = [other for place, other in enumerate(times) if place != index]
        basis = np.prod([(at - other) / (time - other) for other in others], axis=0)
        shares.append(float((weights * rise * basis).sum() * (last - first) / 2))
    return shares


def res_multistep(denoise: Denoise, x: Any, sigmas: Sequence[float], noise: Noise, *, ancestral: bool = False) -> Steps:
    """An exponential integrator of order 2, through the last two clean pictures."""
    old, reached = None, 0.0
    for step, (sigma, to) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma, step)
        down, up = split(sigma, to) if ancestral else (to, 0.0)
        if down == 0 or old is None:
            x = x + slope_of(x, denoised, sigma) * (down - sigma)
        else:
            width = math.log(sigma / down)
            back = math.log(sigmas[step - 1] / reached)
            decay = -math.expm1(-width)
            lean = (1 - decay / width) * width / back
            x = x * (1 - decay) + denoised * (decay + lean) - old * lean
        if up > 0:
            x = x + noise(sigma, to) * up
        old, reached = denoised, down
        yield x, denoised


def res_multistep_ancestral(denoise: Denoise, x: Any, sigmas: Sequence[float], noise: Noise) -> Steps:
    """The same with noise after each step."""
    return res_multistep(denoise, x, sigmas, noise, ancestral=True)


def gradient_estimation(denoise: Denoise, x: Any, sigmas: Sequence[float], _noise: Noise) -> Steps:
    """Euler, with the change of the slope since the last step added to it."""
    old = None
    for step, (sigma, to) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma, step)
        slope = slope_of(x, denoised, sigma)
        leaning = slope if old is None else 2 * slope - old
        x = x + leaning * (to - sigma) if to > 0 else denoised
        old = slope
        yield x, denoised


def er_sde(denoise: Denoise, x: Any, sigmas: Sequence[float], noise: Noise) -> Steps:
    """The extended reverse-time SDE of order 3, its integrals summed over 200 parts of a step."""
    older: list[Any] = []  # what the last step saw: the clean picture, and how fast it changed with the level
    for step, (sigma, to) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma, step)
        if to > 0:
            ratio = float(_spread_at(to) / _spread_at(sigma))
            x, seen = x * ratio + denoised * (1 - ratio), [denoised]
            at = to + np.arange(200) * (sigma - to) / 200
            shares = (sigma - to) / 200 * _spread_at(to) / _spread_at(at)
            if older:
                first = (denoised - older[0]) / (sigma - sigmas[step - 1])
                x = x + first * float(to - sigma + shares.sum())
                seen.append(first)
            if len(older) > 1:
                second = (first - older[1]) * 2 / (sigma - sigmas[step - 2])
                x = x + second * float((to - sigma) ** 2 / 2 + (shares * (at - sigma)).sum())
            x = x + noise(sigma, to) * math.sqrt(max(to**2 - sigma**2 * ratio**2, 0))
            older = seen
        else:
            x = denoised
        yield x, denoised


def _spread_at(level: Any) -> Any:
    """How much noise er_sde keeps at a level."""
    return level * (np.exp(level**0.3) + 10)


def ipndm_v(denoise: Denoise, x: Any, sigmas: Sequence[float], _noise: Noise) -> Steps:
    """Adams and Bashforth for steps of any width, with the coefficients of github.com/zju-pi/diff-sampler."""
    slopes: list[Any] = []
    for step, (sigma, to) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma, step)
        slopes = [slope_of(x, denoised, sigma), *slopes][:4]
        if to > 0:
            widths = [b - a for a, b in pairwise(sigmas[max(step - 3, 0) : step + 2])][::-1]
            shares = _shares_of_widths(*widths)
            x = x + sum(share * slope for share, slope in zip(shares, slopes, strict=True)) * (to - sigma)
        else:
            x = denoised
        yield x, denoised


def _shares_of_widths(now: float, *before: float) -> list[float]:
    """What each of the last slopes counts, by the widths of this step and of the one, two or three before it.

    Those of three slopes are Adams and Bashforth's where steps are even, those of four nearly. They stay as they were
    published, because results are compared.
    """
    if not before:
        return [1.0]
    one = before[0]
    shares = [1 + now / one / 2, -now / one / 2]
    if len(before) == 1:
        return shares
    two, both = before[1], one + before[1]
    third = (1 - now**2 / (3 * one * both)) / 2
    shares = [shares[0] + third, shares[1] - (1 + one / two) * third, third * one / two]
    if len(before) == 2:
        return shares
    three = before[2]
    near, far = now + one, now + both
    fourth = (1 - now / (3 * near)) / 2 + (1 - now / (2 * near)) * now / (6 * far)
    fourth *= now * near * far / (one * both * (both + three))
    bend = one * both / (two * (two + three))
    added = [1.0, -(1 + one / two + bend), one / two + bend * (1 + two / three), -bend * one / two]
    return [share + fourth * factor for share, factor in zip([*shares, 0.0], added, strict=True)]
