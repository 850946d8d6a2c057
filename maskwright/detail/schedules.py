"""Noise levels: a model's table, and how a sampler's steps are spaced on it.

All schedules are those of ComfyUI: `steps` levels from high to low, then 0. They are the same to the last bit where
torch is the same, because torch computes them in float32 in the order that ComfyUI does: `normal` and `sgm_uniform` put
levels exactly between two timesteps of the model, and there the last bit says which of them the network is told.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import OptionError, RangeError
from ..types import AnyArray, FloatArray
from .gits import COEFFICIENTS, gits_levels
from .resample import load_torch

__all__ = ["SCHEDULERS", "SigmaTable", "check_scheduler", "make_schedule", "make_sigmas"]

# Samplers that would take two steps to the same level: they get one more, and the last but one is dropped.
_DROP_PENULTIMATE = {"dpm_2", "dpm_2_ancestral", "uni_pc", "uni_pc_bh2"}

# Align Your Steps, https://research.nvidia.com/labs/toronto-ai/AlignYourSteps/howto.html
_ALIGN_YOUR_STEPS = {
    "AYS SD1": (
        14.6146412293, 6.4745760956, 3.8636745985, 2.6946151520, 1.8841921177, 1.3943805092, 0.9642583904,
        0.6523686016, 0.3977456272, 0.1515232662, 0.0291671582,
    ),
    "AYS SDXL": (
        14.6146412293, 6.3184485287, 3.7681790315, 2.1811480769, 1.3405244945, 0.8620721141, 0.5550693289,
        0.3798540708, 0.2332364134, 0.1114188177, 0.0291671582,
    ),
    "AYS SVD": (700.00, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class SigmaTable:
    """The noise levels a model was trained on.

    Attributes:
        sigmas: (n,) float32, rising; the index is the model's timestep.
        logs: (n,) float32, their natural logarithms; None: taken from `sigmas`. Whoever knows the levels in float64 has
            better ones, which differ in the last bit.
    """

    sigmas: FloatArray
    logs: FloatArray | None = None

    def __post_init__(self) -> None:
        levels = self.sigmas
        if levels.ndim != 1 or len(levels) < 2 or not (levels[0] > 0 and (np.diff(levels) > 0).all()):
            raise RangeError("sigmas", expected="one axis of rising levels above 0", got=str(levels.shape))
        if self.logs is None:
            object.__setattr__(self, "logs", np.log(levels.astype(np.float64)).astype(np.float32))

    @classmethod
    def from_betas(cls, betas: AnyArray) -> SigmaTable:
        """The table of a model that was trained with these betas, (n,) float64."""
        kept = np.cumprod(1.0 - np.asarray(betas, np.float64))
        levels = np.sqrt((1 - kept) / kept)
        return cls(levels.astype(np.float32), np.log(levels).astype(np.float32))

    @classmethod
    def scaled_linear(cls, start: float = 0.00085, end: float = 0.012, count: int = 1000) -> SigmaTable:
        """The table of Stable Diffusion 1.5: betas that rise as the square of a line."""
        return cls.from_betas(np.linspace(start**0.5, end**0.5, count) ** 2)

    @property
    def sigma_min(self) -> float:
        """The lowest level."""
        return float(self.sigmas[0])

    @property
    def sigma_max(self) -> float:
        """The highest level."""
        return float(self.sigmas[-1])

    def timestep(self, sigma: float) -> int:
        """The index whose level is nearest to sigma, measured in logarithms; of two equally near the lower one."""
        torch = load_torch()
        level = torch.tensor(sigma, dtype=torch.float32).log()
        return int((level - torch.from_numpy(self.logs)).abs().argmin())

    def sigma(self, timestep: Any) -> Any:
        """(n,) float32 torch, levels at timesteps that may lie between two indices."""
        torch = load_torch()
        position = torch.as_tensor(timestep, dtype=torch.float32).clamp(0, len(self.sigmas) - 1)
        logs, weight = torch.from_numpy(self.logs), position.frac()
        return ((1 - weight) * logs[position.floor().long()] + weight * logs[position.ceil().long()]).exp()


def _normal(table: SigmaTable, steps: int) -> FloatArray:
    return _append_zero(table.sigma(_spread(table, steps)))


def _sgm_uniform(table: SigmaTable, steps: int) -> FloatArray:
    return _append_zero(table.sigma(_spread(table, steps + 1)[:-1]))


def _spread(table: SigmaTable, count: int) -> Any:
    torch = load_torch()
    return torch.linspace(table.timestep(table.sigma_max), table.timestep(table.sigma_min), count)


def _simple(table: SigmaTable, steps: int) -> Any:
    stride = len(table.sigmas) / steps
    return _append_zero([table.sigmas[-(1 + int(step * stride))] for step in range(steps)])


def _ddim_uniform(table: SigmaTable, steps: int) -> FloatArray:
    return _append_zero(table.sigmas[1 :: max(len(table.sigmas) // steps, 1)][::-1])


def _karras(table: SigmaTable, steps: int) -> FloatArray:
    torch = load_torch()
    low, high = table.sigma_min ** (1 / 7), table.sigma_max ** (1 / 7)
    return _append_zero((high + torch.linspace(0, 1, steps) * (low - high)) ** 7.0)


def _exponential(table: SigmaTable, steps: int) -> FloatArray:
    torch = load_torch()
    return _append_zero(torch.linspace(math.log(table.sigma_max), math.log(table.sigma_min), steps).exp())


def _beta(table: SigmaTable, steps: int) -> FloatArray:
    """Quantiles of a beta distribution over the timesteps, https://arxiv.org/abs/2407.12173."""
    from scipy.stats import beta

    quantiles = beta.ppf(1 - np.linspace(0, 1, steps, endpoint=False), 0.6, 0.6)
    timesteps = np.rint(quantiles * (len(table.sigmas) - 1)).astype(int)
    kept = np.append(True, np.diff(timesteps) != 0)  # never two steps on one level
    return _append_zero(table.sigmas[timesteps[kept]])


def _linear_quadratic(table: SigmaTable, steps: int, threshold: float = 0.025) -> FloatArray:
    """Small even steps, then growing ones, as Mochi does."""
    if steps == 1:
        return _float32([table.sigma_max, 0])
    linear = steps // 2
    quadratic = steps - linear
    excess = linear - threshold * steps
    curve = excess / (linear * quadratic**2)
    slope = threshold / linear - 2 * excess / quadratic**2
    done = [step * threshold / linear for step in range(linear)]
    done += [curve * step**2 + slope * step + curve * linear**2 for step in range(linear, steps)]
    left: FloatArray = _float32([1 - share for share in (*done, 1.0)]) * np.float32(table.sigma_max)
    return left


def _kl_optimal(table: SigmaTable, steps: int) -> FloatArray:
    """Even steps of the levels' arcus tangens, https://arxiv.org/abs/2404.14507."""
    torch = load_torch()
    share = torch.arange(steps, dtype=torch.float32) / max(steps - 1, 1)
    return _append_zero((share * math.atan(table.sigma_min) + (1 - share) * math.atan(table.sigma_max)).tan())


def _append_zero(levels: Any) -> FloatArray:
    return np.append(_float32(levels), np.float32(0))


def _float32(levels: Any) -> FloatArray:
    return np.asarray(levels, np.float32)


_MADE: dict[str, Callable[[SigmaTable, int], FloatArray]] = {
    "simple": _simple,
    "sgm_uniform": _sgm_uniform,
    "karras": _karras,
    "exponential": _exponential,
    "ddim_uniform": _ddim_uniform,
    "beta": _beta,
    "normal": _normal,
    "linear_quadratic": _linear_quadratic,
    "kl_optimal": _kl_optimal,
}

SCHEDULERS = (*_MADE, *_ALIGN_YOUR_STEPS, "GITS[coeff=1.2]")


def make_sigmas(table: SigmaTable, scheduler: str, steps: int) -> FloatArray:
    """The levels of `steps` steps, from high to low, then 0.

    Args:
        table: The model's.
        scheduler: One of `SCHEDULERS`; GITS also with its other coefficients, 0.8 to 1.5 by 0.05.
        steps: 1 or more. `beta` and `ddim_uniform` may give fewer or more levels, as in the original.

    Raises:
        OptionError: There is no such schedule.
        EngineUnavailable: Torch is not installed.
    """
    check_scheduler(scheduler)
    if scheduler in _ALIGN_YOUR_STEPS:
        return _aligned(_ALIGN_YOUR_STEPS[scheduler], steps)
    coefficient = _gits_coefficient(scheduler)
    if coefficient is not None:
        return _aligned(gits_levels(coefficient, steps), steps)
    return _MADE[scheduler](table, steps)


def check_scheduler(scheduler: str) -> None:
    """See that there is a schedule of this name.

    Raises:
        OptionError: There is none.
    """
    if scheduler not in SCHEDULERS and _gits_coefficient(scheduler) is None:
        raise OptionError(
            "scheduler",
            expected=f"one of {', '.join(SCHEDULERS)}",
            got=repr(scheduler),
            hint="hand other levels in as a schedule function",
        )


def _gits_coefficient(scheduler: str) -> float | None:
    """The coefficient in a name such as `GITS[coeff=1.2]`; None where it is no such name."""
    return next((one for one in COEFFICIENTS if scheduler == f"GITS[coeff={one:g}]"), None)


def _aligned(levels: tuple[float, ...], steps: int) -> FloatArray:
    """A table of levels, interpolated in logarithms to another number of steps."""
    sigmas = np.array(levels)
    if len(sigmas) != steps + 1:
        places = np.linspace(0, 1, steps + 1), np.linspace(0, 1, len(sigmas))
        sigmas = np.exp(np.interp(*places, np.log(sigmas[::-1])))[::-1].copy()
    sigmas[-1] = 0
    return sigmas.astype(np.float32)


def make_schedule(table: SigmaTable, sampler_name: str, scheduler: str, steps: int) -> FloatArray:
    """The levels a sampler walks down: those of `make_sigmas`, but where the sampler wants others.

    Raises:
        OptionError: There is no such schedule.
        EngineUnavailable: Torch is not installed.
    """
    if sampler_name not in _DROP_PENULTIMATE:
        return make_sigmas(table, scheduler, steps)
    return np.delete(make_sigmas(table, scheduler, steps + 1), -2)
