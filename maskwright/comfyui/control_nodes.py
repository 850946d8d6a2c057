"""ControlNets on segments: what the SEGS convention calls a `control_net_wrapper`, and the node that puts it there."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..detail import Seg, Segs
from ..detail.resample import as_frames, resize_frames
from ..errors import EngineUnavailable, ShapeError
from ..types import FloatArray
from .convert import as_image, segs_to_value
from .inputs import Declaration, fraction, socket
from .sampling import find_advanced_controlnet

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ApplyControlNet", "SegControlNet"]


@dataclass(eq=False)
class SegControlNet:
    """A ControlNet on a segment, with the names that detailers of all packs call.

    Attributes:
        control_net: ComfyUI's.
        strength: 0 nothing, 1 as trained.
        start_percent: Share of the noise after which it begins.
        end_percent: Share of the noise after which it ends.
        vae: For ControlNets that look at latents.
        preprocessor: Makes the picture to be shown; None: the frames themselves.
        control_image: (1 or F, h, w, 3) float32 in [0, 1], the crop of a picture of the user's own; None: none.
        prev_control_net: What the segment had before; it is applied first.
    """

    control_net: Any
    strength: float
    start_percent: float = 0.0
    end_percent: float = 1.0
    vae: Any = None
    preprocessor: Any = None
    control_image: Any = None
    prev_control_net: Any = None

    def apply(
        self, positive: Any, negative: Any, image: Tensor, mask: Any = None, use_acn: bool = False
    ) -> tuple[Any, Any, list[Any]]:
        """The prompts with the ControlNets of the chain, and what each is shown.

        Args:
            positive: ComfyUI's conditioning.
            negative: The same.
            image: (F, H, W, 3) float32 in [0, 1]: the crop, at the size that is redrawn.
            mask: (n, h, w), for the preprocessor.
            use_acn: Whether Advanced-ControlNet applies it, frame by frame; else ComfyUI's own node, whose batch the
                frames are too.

        Raises:
            EngineUnavailable: Advanced-ControlNet is asked for and not there.
            ShapeError: As many pictures as neither 1 nor the frames.
        """
        earlier: list[Any] = []
        if self.prev_control_net is not None:
            positive, negative, earlier = self.prev_control_net.apply(positive, negative, image, mask, use_acn=use_acn)
        shown = self._shown(image, mask)
        node, vae = _find_node(use_acn)
        both = node().apply_controlnet(
            positive=positive,
            negative=negative,
            control_net=self.control_net,
            image=shown,
            strength=self.strength,
            start_percent=self.start_percent,
            end_percent=self.end_percent,
            **({} if self.vae is None else {vae: self.vae}),
        )
        return both[0], both[1], [*earlier, shown]

    def doit_ipadapter(self, model: Any) -> tuple[Any, list[Any]]:
        """The model with the IPAdapters of the chain, and what those are shown."""
        adapt = getattr(self.prev_control_net, "doit_ipadapter", None)
        adapted: tuple[Any, list[Any]] = (model, []) if adapt is None else adapt(model)
        return adapted

    def _shown(self, image: Tensor, mask: Any) -> Tensor:
        """(1 or F, H, W, 3), of the size of the frames."""
        import torch

        own = self.control_image
        if own is None:
            own = image if self.preprocessor is None else self.preprocessor.apply(image, mask)
        pictures = as_frames(own, "control_image")
        if len(pictures) not in (1, len(image)):
            expected = f"1 or {len(image)} pictures"
            raise ShapeError("control_image", expected=expected, got=str(len(pictures)), hint="give one a frame")
        resized = resize_frames(pictures[..., :3], (image.shape[1], image.shape[2]))
        return torch.from_numpy(resized)


def _find_node(advanced: bool) -> tuple[Any, str]:
    """The node that applies a ControlNet, and the name of its input for a VAE."""
    if not advanced:
        return sys.modules["nodes"].ControlNetApplyAdvanced, "vae"
    node = find_advanced_controlnet()
    if node is None:
        raise EngineUnavailable("the pack Advanced-ControlNet is not loaded", hint="install it, or turn compat off")
    return node, "vae_optional"


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
