"""Edge work on masks: trimaps, exact opacity, pure colours, and the cut-out itself.

Arrays in, new arrays out; no model, no engine, no files. SciPy is loaded by the first function that needs it.
"""

from __future__ import annotations

from .alpha import estimate_alpha
from .compose import make_rgba, over_color
from .foreground import estimate_foreground
from .masks import (
    feather,
    fill_holes,
    grow,
    invert,
    keep_largest,
    make_trimap,
    post_process,
    remove_islands,
    shrink,
    smooth,
    threshold,
)
from .skin import split_skin

__all__ = [
    "estimate_alpha",
    "estimate_foreground",
    "feather",
    "fill_holes",
    "grow",
    "invert",
    "keep_largest",
    "make_rgba",
    "make_trimap",
    "over_color",
    "post_process",
    "remove_islands",
    "shrink",
    "smooth",
    "split_skin",
    "threshold",
]
