"""What alpha matting may cost, and what is done for that: decided from numbers alone, before anything is solved.

The same picture, mask and budget give the same plan on every machine: seconds are turned into work by fixed rates,
measured on two cores of 2.5 GHz. On a faster machine a budget of seconds is not used up.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..errors import OptionError

__all__ = ["Budget", "MattingPlan", "parse_budget", "plan_exact", "plan_refinement"]

FINEST = 512  # pixels; the longer side at which alpha is solved for where nothing limits it
EXACT_PIXELS = 1_000_000  # unknown pixels up to which a trimap is solved exactly where nothing limits it

_LEAST = 128  # pixels; below this side the guided filter does as well
_BASE = 0.1  # seconds for whatever is done
_FULL = 0.1  # seconds for a million pixels of the picture: shrinking, merging the edge, and its colours
_COARSE = 8.0  # seconds for a million pixels solved coarse to fine
_EXACT = 18.0  # seconds for a million pixels solved exactly
_LEVELS = 4 / 3  # all levels together, each with a quarter of the next one's pixels
_TEXT = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(s|mp)?", re.IGNORECASE)


class Budget(NamedTuple):
    """What matting may cost; what is None is not limited.

    Attributes:
        seconds: Time, by the fixed rates of this file.
        megapixels: Millions of pixels solved for.
    """

    seconds: float | None = None
    megapixels: float | None = None


@dataclass(frozen=True)
class MattingPlan:
    """What is done.

    Attributes:
        side: Longer side at which alpha is solved for, in pixels; 0: by the guided filter; None: exactly.
        note: What was given up, "" where nothing was.
    """

    side: int | None
    note: str = ""


def parse_budget(budget: float | str | None) -> Budget:
    """A budget from seconds, or from text: `2`, `2s` or `0.1mp`.

    >>> parse_budget("2s"), parse_budget("0.1mp").megapixels
    (Budget(seconds=2.0, megapixels=None), 0.1)

    Args:
        budget: Seconds; or text, seconds or millions of pixels solved for. None: no limit.

    Raises:
        OptionError: It is neither, or not above 0.
    """
    if budget is None:
        return Budget()
    found = _TEXT.fullmatch(budget.strip()) if isinstance(budget, str) else None
    if found:
        value, unit = float(found[1]), (found[2] or "s").lower()
    elif isinstance(budget, (int, float, np.number)) and not isinstance(budget, bool):
        value, unit = float(budget), "s"
    else:
        value, unit = math.nan, ""
    if not 0 < value < math.inf:
        raise OptionError(
            "budget", expected="seconds or megapixels above 0", got=repr(budget), hint="write it as 2, 2s or 0.1mp"
        )
    return Budget(value) if unit == "s" else Budget(megapixels=value)


def plan_refinement(size_hw: tuple[int, ...], open_pixels: int, budget: Budget) -> MattingPlan:
    """How fine alpha is solved for where the trimap is automatic: as fine as the budget allows.

    Args:
        size_hw: Height and width of the picture.
        open_pixels: How many pixels are open at a longer side of 512 pixels.
        budget: What it may cost.
    """
    allowed = _allowed(size_hw, budget, _COARSE)
    side = FINEST
    while side >= _LEAST:
        if open_pixels * (side / FINEST) ** 2 * _LEVELS <= allowed:
            break
        side //= 2
    if side == FINEST:
        return MattingPlan(FINEST)
    way = f"opacity solved at {side} instead of {FINEST} pixels" if side >= _LEAST else "opacity by the guided filter"
    return MattingPlan(side if side >= _LEAST else 0, f"budget: {way}")


def plan_exact(size_hw: tuple[int, ...], unknown: int, budget: Budget) -> MattingPlan:
    """Whether a trimap is solved exactly or coarse to fine.

    Args:
        size_hw: Height and width of the picture.
        unknown: How many pixels of the trimap are unknown.
        budget: What it may cost.
    """
    if unknown <= min(EXACT_PIXELS, _allowed(size_hw, budget, _EXACT)):
        return MattingPlan(None)
    factor = min(1.0, FINEST / max(size_hw))
    plan = plan_refinement(size_hw, round(unknown * factor**2), budget)
    why = "budget" if budget != Budget() else "size"
    return plan if plan.note else MattingPlan(FINEST, f"{why}: {unknown} unknown pixels solved at {FINEST} pixels")


def _allowed(size_hw: tuple[int, ...], budget: Budget, rate: float) -> float:
    """Pixels that may be solved for, at a rate of seconds for a million."""
    if budget.megapixels is not None:
        return budget.megapixels * 1e6
    if budget.seconds is None:
        return math.inf
    fixed = _BASE + _FULL * math.prod(size_hw) / 1e6
    return max(0.0, budget.seconds - fixed) / rate * 1e6
