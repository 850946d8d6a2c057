"""The nodes that stand around the detailer in saved workflows: BASIC_PIPE, SEGS from masks, paste, preview, mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..detail.pasting import crop_pictures, paste, previews
from ..detail.producers import segs_from_film, segs_from_masks
from ..detail.segs import Segs, segs_to_mask, segs_to_masks
from ..types import AnyArray, FloatArray
from .convert import SegsValue, arrays_to_image, as_image, mask_to_arrays, segs_to_value
from .host import each, show
from .inputs import COMPAT, Declaration, fraction, socket, switch, whole

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "SEGS_OUT",
    "FilmToSegs",
    "MaskToSegs",
    "PasteSegs",
    "PreviewSegs",
    "SegsToMask",
    "ToBasicPipe",
    "declare_crop_factor",
    "declare_drop_size",
    "empty_preview",
]

SEGS_OUT = "The segments."
_SEGS = socket("SEGS", "The segments.")
_SINGLE = "MASK to SEGS for AnimateDiff does so with a single mask only."
_SURE = 0.1  # a mask of one frame is made hard at it
_NOTHING = (1, 64, 64, 3)  # the picture that stands for none

_PIPE: dict[str, Declaration] = {
    "model": socket("MODEL", "The diffusion model."),
    "clip": socket("CLIP", "Its text encoder."),
    "vae": socket("VAE", "What makes latents of pictures, and pictures of latents."),
    "positive": socket("CONDITIONING", "What shall be seen."),
    "negative": socket("CONDITIONING", "What shall not be seen."),
}


class ToBasicPipe:
    """Five values as one."""

    CATEGORY = "ImpactPack/Pipe"
    DESCRIPTION = "Packs model, text encoder, VAE and both prompts into one line."
    FUNCTION = "doit"
    RETURN_TYPES = ("BASIC_PIPE",)
    RETURN_NAMES = ("basic_pipe",)
    OUTPUT_TOOLTIPS = ("All five, in this order.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        return {"required": dict(_PIPE)}

    def doit(self, model: Any, clip: Any, vae: Any, positive: Any, negative: Any) -> tuple[tuple[Any, ...]]:
        """The five values."""
        return ((model, clip, vae, positive, negative),)


class _FromMask:
    """What both nodes that make SEGS of masks have in common."""

    CATEGORY = "ImpactPack/Operation"
    FUNCTION = "doit"
    RETURN_TYPES = ("SEGS",)
    RETURN_NAMES = ("SEGS",)
    OUTPUT_TOOLTIPS = (SEGS_OUT,)
    work: Callable[..., Segs]  # of masks, (B, H, W) float32 in [0, 1], and the inputs by name

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        return {
            "required": {
                "mask": socket("MASK", "The masks, 1 = selected."),
                "combined": switch(False, "All that is selected is one segment."),
                "crop_factor": declare_crop_factor(3.0),
                "bbox_fill": switch(False, f"Select the whole box; {_SINGLE}"),
                "drop_size": declare_drop_size(),
                "contour_fill": switch(False, f"Fill outlines: no holes, no gray; {_SINGLE}"),
            },
            "optional": {"compat": COMPAT},
        }

    def doit(
        self,
        mask: Tensor,
        combined: bool,
        crop_factor: float,
        bbox_fill: bool,
        drop_size: int,
        contour_fill: bool = False,
        compat: bool = False,
    ) -> tuple[SegsValue]:
        """The segments."""
        masks = list(mask_to_arrays(mask))
        if not masks:
            return (((int(mask.shape[-2]), int(mask.shape[-1])), []),)
        found = self.work(
            np.stack(masks),
            combined=combined,
            crop_factor=crop_factor,
            bbox_fill=bbox_fill,
            drop_size=drop_size,
            contour_fill=contour_fill,
            compat=compat,
        )
        return (segs_to_value(found),)


def declare_crop_factor(default: float) -> Declaration:
    """How large crops are."""
    text = "How many times as large as its box a crop is."
    return "FLOAT", {"default": default, "min": 1.0, "max": 100, "step": 0.1, "tooltip": text}


def declare_drop_size() -> Declaration:
    """What is too small."""
    return whole(10, "Pixels: things that are not both wider and higher are left out.", low=1)


class MaskToSegs(_FromMask):
    """Segments of the things in masks."""

    DESCRIPTION = "Makes a segment of each thing in each mask: what hangs together."
    work = staticmethod(segs_from_masks)


def _film_to_segs(masks: FloatArray, *, bbox_fill: bool, contour_fill: bool, combined: bool, **rest: Any) -> Segs:
    """A mask of one frame is made hard, and looked at once more, as in the original."""
    if len(masks) > 1:
        return segs_from_film(masks, combined=combined, **rest)
    first = segs_from_masks(masks, combined=combined, bbox_fill=bbox_fill, contour_fill=contour_fill, **rest)
    hard = (segs_to_mask(first) > _SURE).astype(np.float32)
    return segs_from_masks(hard, contour_fill=contour_fill, **rest)


class FilmToSegs(_FromMask):
    """Segments of the things in a film of masks."""

    DESCRIPTION = (
        "Makes a segment of each thing in a film, in a crop that holds it in all frames, with a mask for each frame."
    )
    work = staticmethod(_film_to_segs)


class PasteSegs:
    """Segments' pictures back into the frames."""

    CATEGORY = "ImpactPack/Detailer"
    DESCRIPTION = "Pastes the segments' pictures into the frames, where their masks are. Moving crops move."
    FUNCTION = "doit"
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("IMAGE",)
    OUTPUT_TOOLTIPS = ("The frames with the segments' pictures.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        reference = "Whole frames to take instead of the segments' pictures; one for all, or one for each frame."
        return {
            "required": {
                "image": socket("IMAGE", "The frames. Their alpha stays."),
                "segs": socket("SEGS", "The segments, with one picture for all frames or one for each."),
                "feather": whole(5, "Pixels over which a mask's edge is softened.", high=100),
                "alpha": whole(255, "How opaque, 0 to 255.", high=255),
            },
            "optional": {"ref_image_opt": socket("IMAGE", reference), "compat": COMPAT},
        }

    def doit(
        self,
        image: Tensor,
        segs: Any,
        feather: int = 5,
        alpha: int = 255,
        ref_image_opt: Tensor | None = None,
        compat: bool = False,
    ) -> tuple[Tensor]:
        """The frames with the segments' pictures."""
        import torch

        opened = Segs.from_tuple(segs)
        image = as_image(image)
        if not len(image):
            return (image,)
        reference = None if ref_image_opt is None else as_image(ref_image_opt)
        pasted = paste(image, opened, feather=feather, alpha=alpha, reference=reference, compat=compat)
        return (torch.from_numpy(pasted),)


class PreviewSegs:
    """A look at each segment."""

    CATEGORY = "ImpactPack/Util"
    DESCRIPTION = "Shows each segment's pictures, as opaque as its mask. A segment without pictures is white."
    FUNCTION = "doit"
    OUTPUT_NODE = True
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("IMAGE",)
    OUTPUT_IS_LIST = (True,)
    OUTPUT_TOOLTIPS = ("The pictures of each segment on black.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        return {
            "required": {
                "segs": _SEGS,
                "alpha_mode": switch(True, "Off: the whole crop, opaque."),
                "min_alpha": fraction(0.2, "Opacity where the mask is 0, so that the surroundings can be seen."),
            },
            "optional": {
                "fallback_image_opt": socket("IMAGE", "The frames, for segments without pictures of their own."),
                "compat": COMPAT,
            },
        }

    def doit(
        self,
        segs: Any,
        alpha_mode: bool = True,
        min_alpha: float = 0.2,
        fallback_image_opt: Tensor | None = None,
        compat: bool = False,
    ) -> dict[str, Any]:
        """The pictures on black, shown at the node with their alpha."""
        frames = None if fallback_image_opt is None or not len(fallback_image_opt) else as_image(fallback_image_opt)
        shown, results = [], []
        opened = Segs.from_tuple(segs)
        for seg in each(opened, len(opened)):
            one = replace(opened, items=(seg if frames is not None else _with_pictures(seg),))
            (pictures,) = previews(one, frames, min_alpha=min_alpha) if alpha_mode else crop_pictures(one, frames)
            shown += show(arrays_to_image(list(pictures))).get("images", [])
            results.append(_on_black(one, frames, pictures, compat))
        return {"ui": {"images": shown} if shown else {}, "result": (results or [empty_preview()],)}


def _with_pictures(seg: Any) -> Any:
    """A segment that has none shows its mask."""
    if seg.cropped_image is not None:
        return seg
    return replace(seg, cropped_image=np.ones((1, *seg.size_hw, 3), np.float32))


def _on_black(one: Segs, frames: Any, pictures: AnyArray, compat: bool) -> Tensor:
    if pictures.shape[3] == 4 and compat:  # the original's result knows no least opacity
        (pictures,) = previews(one, frames, min_alpha=0)
    if pictures.shape[3] == 4:
        pictures = pictures[..., :3] * pictures[..., 3:]
    return arrays_to_image(list(pictures))


def empty_preview() -> Tensor:
    """IMAGE that stands for none: a list of a node must not be empty."""
    import torch

    return torch.zeros(_NOTHING)


class SegsToMask:
    """All segments as one mask."""

    CATEGORY = "ImpactPack/Operation"
    DESCRIPTION = "Draws all segments into one mask; into one for each frame, where they have a mask for each."
    FUNCTION = "doit"
    RETURN_TYPES = ("MASK",)
    RETURN_NAMES = ("MASK",)
    OUTPUT_TOOLTIPS = ("The masks, 1 = selected.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        return {"required": {"segs": _SEGS}, "optional": {"compat": COMPAT}}

    def doit(self, segs: Any, compat: bool = False) -> tuple[Tensor]:
        """The masks."""
        import torch

        return (torch.from_numpy(segs_to_masks(Segs.from_tuple(segs), compat=compat)),)
