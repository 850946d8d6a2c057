"""Nodes that select a subject by a model: the drop-in `ImageSegmentation`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from ..imageio import Cutout, load_image
from ..pipeline import CutoutOptions, cut_with
from ..types import AnyArray
from .convert import image_to_arrays, make_empty_image, make_empty_mask, stack_rows
from .host import each, open_node_segmenter
from .inputs import COMPAT, DEVICE_MODE, DOWNLOAD, choice, socket

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ImageSegmentation"]

_logger = logging.getLogger(__name__)

_GARMENTS = ("upper", "lower", "full")
_MODELS = (
    "u2net",
    "u2netp",
    "u2net_human_seg",
    "u2net_cloth_seg",
    "silueta",
    "isnet-general-use",
    "isnetis",
    "modnet-p",
    "modnet-w",
)


class ImageSegmentation:
    """Background removal by one of nine models."""

    CATEGORY = "image/segmentation"
    FUNCTION = "node"
    RETURN_TYPES = ("IMAGE", "MASK", "MASK", "MASK", "MASK")
    RETURN_NAMES = ("IMAGE", "mask", "upper", "lower", "full")
    OUTPUT_TOOLTIPS = (
        "The cut-outs: RGBA, straight alpha.",
        "The opacity of each cut-out, 1 = subject.",
        "u2net_cloth_seg: clothes of the upper body; empty with other models.",
        "u2net_cloth_seg: clothes of the lower body; empty with other models.",
        "u2net_cloth_seg: clothes of the whole body; empty with other models.",
    )
    DESCRIPTION = "Removes the background of pictures."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        return {
            "required": {
                "images": socket("IMAGE", "The pictures to cut out. What is transparent in them stays so."),
                "model": choice(_MODELS, "What finds the subject."),
                "alpha_matting": choice(
                    ["true", "false"], "Find the exact opacity of edges and the subject's own colours there."
                ),
                "alpha_matting_foreground_threshold": (
                    "INT",
                    {"default": 240, "max": 250, "step": 5, "tooltip": "0 to 255: above it the mask is sure subject."},
                ),
                "alpha_matting_background_threshold": (
                    "INT",
                    {
                        "default": 20,
                        "max": 250,
                        "step": 5,
                        "tooltip": "0 to 255: below it the mask is sure background. 0 leaves alpha matting out.",
                    },
                ),
                "alpha_matting_erode_size": (
                    "INT",
                    {"default": 10, "step": 1, "tooltip": "Pixels by which both sure zones are eroded; 0 for none."},
                ),
                "post_process_mask": choice(["false", "true"], "Smooth the mask and make its edge hard."),
            },
            "optional": {
                "compat": COMPAT,
                "trimap": choice(
                    ["numbers", "auto"],
                    "Where alpha matting works: by the three numbers above, or by the mask's softness.",
                ),
                "download": DOWNLOAD,
                "segmenter": socket("MaskwrightSegmenter", "A loaded model, used instead of the one named above."),
                "device_mode": DEVICE_MODE,
            },
        }

    def node(
        self,
        images: Tensor,
        model: str,
        alpha_matting: str | bool,
        alpha_matting_foreground_threshold: int,
        alpha_matting_background_threshold: int,
        alpha_matting_erode_size: int,
        post_process_mask: str | bool,
        compat: bool = False,
        trimap: str = "numbers",
        download: bool = False,
        segmenter: Any = None,
        device_mode: str = "AUTO",
    ) -> tuple[Tensor, ...]:
        """The cut-outs, their opacity, and the garments of the clothes model."""
        numbers = (
            alpha_matting_foreground_threshold,
            alpha_matting_background_threshold,
            max(0, alpha_matting_erode_size),
        )
        matting = _is_on(alpha_matting)
        if matting and numbers[1] < 1 and trimap == "numbers":
            _logger.warning(
                "ImageSegmentation: no pixel lies below a background threshold of 0: alpha matting left out"
            )
            matting = False
        given = numbers if matting and trimap == "numbers" else (None, None, None)
        options = CutoutOptions(
            alpha_matting=matting,
            alpha_matting_foreground_threshold=given[0],
            alpha_matting_background_threshold=given[1],
            alpha_matting_erode_size=given[2],
            post_process_mask=_is_on(post_process_mask),
            compat=compat,
        )
        if not len(images):
            empty = make_empty_mask(images)
            return make_empty_image(images, 4), empty, empty, empty, empty
        if segmenter is None:
            segmenter = open_node_segmenter(model, compat=compat, download=download, device_mode=device_mode)
        pictures = each(image_to_arrays(images), len(images), segmenter)
        cutouts = (cut_with(segmenter, load_image(picture), options) for picture in pictures)
        return stack_rows(map(_arrays, cutouts), len(images))


def _is_on(value: str | bool) -> bool:
    """What the seed's combo of strings means; a real boolean is taken too."""
    return value if isinstance(value, bool) else value == "true"


def _arrays(cutout: Cutout) -> tuple[AnyArray, ...]:
    """What the outputs are of a picture. Garments are all zero where the model does not tell parts apart."""
    garments = (cutout.masks.get(part, np.zeros_like(cutout.mask)) for part in _GARMENTS)
    return cutout.rgba, cutout.alpha, *garments
