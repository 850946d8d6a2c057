"""A ControlNet put on segments."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..detail import Seg, Segs
from ..detail.resample import as_frames, resize_frames
from ..types import FloatArray
from .control import SegControlNet
from .convert import as_image, segs_to_value
from .inputs import Declaration, fraction, socket

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ApplyControlNet"]


class ApplyControlNet:
    """A ControlNet put on segments."""

    CATEGORY = "ImpactPack/Util"
    DESCRIPTION = (
        "Puts a ControlNet on segments, for a detailer to use: after those that they have. Advanced-ControlNet applies "
        "it where that pack is loaded, else ComfyUI's own node."
    )
    FUNCTION = "doit"
    RETURN_TYPES = ("SEGS",)
    RETURN_NAMES = ("SEGS",)
    OUTPUT_TOOLTIPS = ("The segments with the ControlNet.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        share = "Share of the noise after which it {}: 0 at the first step, 1 at the last."
        picture = "What it is shown, over the whole frame: one picture, or one a frame. Left out: the frames."
        optional: dict[str, Declaration] = {
            "segs_preprocessor": socket("SEGS_PREPROCESSOR", "Makes of each crop what the ControlNet is shown."),
            "control_image": socket("IMAGE", picture),
            "start_percent": fraction(0.0, share.format("begins"), step=0.001),
            "end_percent": fraction(1.0, share.format("ends"), step=0.001),
            "vae": socket("VAE", "For ControlNets that look at latents."),
        }
        return {
            "required": {
                "segs": socket("SEGS", "The segments."),
                "control_net": socket("CONTROL_NET", "The ControlNet."),
                "strength": fraction(1.0, "How strongly it leads: 0 not at all, 1 as trained.", high=10.0),
            },
            "optional": optional,
        }

    def doit(
        self,
        segs: Any,
        control_net: Any,
        strength: float,
        segs_preprocessor: Any = None,
        control_image: Tensor | None = None,
        **settings: Any,
    ) -> tuple[Any]:
        """The segments with the ControlNet."""
        given = Segs.from_tuple(segs)
        pictures = None
        if control_image is not None and len(control_image):
            pictures = resize_frames(as_frames(as_image(control_image), "control_image"), given.size_hw)

        def controlled(seg: Seg) -> Seg:
            crop = None if pictures is None else _crop(pictures, seg)
            net = SegControlNet(control_net, strength, **settings, preprocessor=segs_preprocessor, control_image=crop)
            net.prev_control_net = seg.control_net_wrapper
            return replace(seg, control_net_wrapper=net)

        return (segs_to_value(replace(given, items=tuple(controlled(seg) for seg in given))),)


def _crop(pictures: FloatArray, seg: Seg) -> FloatArray:
    """(n, h, w, C): what of the pictures lies in a segment's crop, wherever it is."""
    regions = [seg.region_at(frame) for frame in range(max(seg.places, len(pictures)))]
    return np.stack([pictures[frame % len(pictures), y1:y2, x1:x2] for frame, (x1, y1, x2, y2) in enumerate(regions)])
