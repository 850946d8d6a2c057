"""Redrawing inside masks across frames: segments, the detailer, sampling.

`detail` redraws each segment and `paste` puts the pictures back; `redraw` does both. What redraws is a
`DetailBackend`; `EchoBackend` is one that needs no weights. Torch is needed by `sampling` and by `compat`, and loaded
when they are used.
"""

from __future__ import annotations

from .backend import DetailBackend, EchoBackend, Sampled, SampleJob
from .detailer import Detailed, SegPlan, detail, iter_detail, plan_detail, redraw
from .drawing import draw_segs
from .files import load_segs, save_segs
from .options import DetailOptions
from .pasting import crop_pictures, paste, previews
from .producers import (
    make_crop_region,
    segs_from_boxes,
    segs_from_film,
    segs_from_labels,
    segs_from_masks,
    segs_from_results,
)
from .sampling import SamplingModel, plan_steps, sample
from .schedules import SCHEDULERS, SigmaTable, make_sigmas
from .segs import (
    Follow,
    Seg,
    Segs,
    combine_segs,
    dilate_segs,
    filter_segs,
    intersect_segs,
    order_segs,
    scale_segs,
    segs_to_mask,
    segs_to_masks,
)
from .steppers import SAMPLERS
from .tracking import track_subject

__all__ = [
    "SAMPLERS",
    "SCHEDULERS",
    "DetailBackend",
    "DetailOptions",
    "Detailed",
    "EchoBackend",
    "Follow",
    "SampleJob",
    "Sampled",
    "SamplingModel",
    "Seg",
    "SegPlan",
    "Segs",
    "SigmaTable",
    "combine_segs",
    "crop_pictures",
    "detail",
    "dilate_segs",
    "draw_segs",
    "filter_segs",
    "intersect_segs",
    "iter_detail",
    "load_segs",
    "make_crop_region",
    "make_sigmas",
    "order_segs",
    "paste",
    "plan_detail",
    "plan_steps",
    "previews",
    "redraw",
    "sample",
    "save_segs",
    "scale_segs",
    "segs_from_boxes",
    "segs_from_film",
    "segs_from_labels",
    "segs_from_masks",
    "segs_from_results",
    "segs_to_mask",
    "segs_to_masks",
    "track_subject",
]
