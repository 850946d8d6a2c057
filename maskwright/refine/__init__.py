"""Edge work on masks: trimaps, exact opacity, pure colours, and the cut-out itself.

Arrays in, new arrays out; no model, no engine, no files. SciPy is loaded by the first function that needs it.
"""

from __future__ import annotations

from .alpha import estimate_alpha
from .colors import match_foreground
from .compose import make_rgba, over_color, over_image
from .foreground import estimate_foreground
from .guided import guided_alpha
from .layers import blur_background, make_outline, make_shadow
from .masks import (
    combine,
    feather,
    fill_holes,
    grow,
    invert,
    keep_largest,
    post_process,
    remove_islands,
    shrink,
    smooth,
    threshold,
)
from .matting import match_alpha, refine_alpha
from .shapes import make_annotation, mask_to_polygons, mask_to_rle, rle_to_mask
from .skin import split_skin
from .temporal import estimate_motion
from .trimap import make_trimap

__all__ = [
    "blur_background",
    "combine",
    "estimate_alpha",
    "estimate_foreground",
    "estimate_motion",
    "feather",
    "fill_holes",
    "grow",
    "guided_alpha",
    "invert",
    "keep_largest",
    "make_annotation",
    "make_outline",
    "make_rgba",
    "make_shadow",
    "make_trimap",
    "mask_to_polygons",
    "mask_to_rle",
    "match_alpha",
    "match_foreground",
    "over_color",
    "over_image",
    "post_process",
    "refine_alpha",
    "remove_islands",
    "rle_to_mask",
    "shrink",
    "smooth",
    "split_skin",
    "threshold",
]
