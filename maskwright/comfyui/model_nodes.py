"""Any model of the catalog, held open: a loader, and what can be done with it."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from ..cutout_options import CutoutOptions
from ..imageio import load_image
from ..models.catalog import catalog
from ..options import option_kind, option_text
from ..pipeline import cut_with
from ..segmenters import Segmenter
from .convert import image_to_arrays, make_empty_image, make_empty_mask, stack_rows
from .host import each, open_node_segmenter
from .inputs import DEVICE_MODE, DOWNLOAD, Declaration, choice, socket

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CutOut", "LoadModel", "Segment"]

_SHOWN = (
    "alpha_matting",
    "decontaminate",
    "threshold",
    "grow",
    "feather",
    "fill_holes",
    "min_area",
    "keep_largest",
    "smooth",
    "invert",
)
_KINDS = {"bool": "BOOLEAN", "int": "INT", "float": "FLOAT"}
_LARGEST = 16384  # pixels, ComfyUI's own limit of a picture's side


class LoadModel:
    """A model of the catalog."""

    CATEGORY = "Maskwright"
    DESCRIPTION = "Opens a model of the catalog, for the nodes that take a segmenter."
    FUNCTION = "run"
    RETURN_TYPES = ("MaskwrightSegmenter",)
    RETURN_NAMES = ("segmenter",)
    OUTPUT_TOOLTIPS = ("The model, ready to use.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        names = [card.name for card in catalog() if card.weights]
        return {
            "required": {"model": choice(names, "The model's name.")},
            "optional": {"download": DOWNLOAD, "device_mode": DEVICE_MODE},
        }

    def run(self, model: str, download: bool = False, device_mode: str = "AUTO") -> tuple[Segmenter]:
        """The model."""
        return (open_node_segmenter(model, download=download, device_mode=device_mode),)


class Segment:
    """A model's own mask."""

    CATEGORY = "Maskwright"
    DESCRIPTION = "Selects the subject of pictures: the model's mask as it is, soft."
    FUNCTION = "run"
    RETURN_TYPES = ("MASK",)
    RETURN_NAMES = ("mask",)
    OUTPUT_TOOLTIPS = ("The masks, 1 = selected.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        return {
            "required": {
                "image": socket("IMAGE", "The pictures."),
                "segmenter": socket("MaskwrightSegmenter", "The model, from Load Model."),
            }
        }

    def run(self, image: Tensor, segmenter: Segmenter) -> tuple[Tensor]:
        """The masks."""
        if not len(image):
            return (make_empty_mask(image),)
        pictures = each(image_to_arrays(image), len(image), segmenter)
        return (stack_rows(([segmenter(picture).mask] for picture in pictures), len(image))[0],)


class CutOut:
    """A cut-out with the library's options."""

    CATEGORY = "Maskwright"
    DESCRIPTION = "Removes the background of pictures, with work on the mask and its edges."
    FUNCTION = "run"
    RETURN_TYPES = ("IMAGE", "MASK")
    RETURN_NAMES = ("cutout", "alpha")
    OUTPUT_TOOLTIPS = ("The cut-outs: RGBA, straight alpha.", "Their opacity, 1 = opaque.")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        return {
            "required": {
                "image": socket("IMAGE", "The pictures. What is transparent in them stays so."),
                "segmenter": socket("MaskwrightSegmenter", "The model, from Load Model."),
            },
            "optional": {field.name: _declare(field) for field in fields(CutoutOptions) if field.name in _SHOWN},
        }

    def run(self, image: Tensor, segmenter: Segmenter, **values: Any) -> tuple[Tensor, ...]:
        """The cut-outs and their opacity."""
        if not values.get("threshold"):
            values["threshold"] = None  # a widget has no empty value
        options = CutoutOptions(**values)
        if not len(image):
            return make_empty_image(image, 4), make_empty_mask(image)
        pictures = each(image_to_arrays(image), len(image), segmenter)
        cutouts = (cut_with(segmenter, load_image(picture), options) for picture in pictures)
        return stack_rows(((one.rgba, one.alpha) for one in cutouts), len(image))


def _declare(field: Any) -> Declaration:
    """An option of the library as an input."""
    kind = option_kind(field)
    options: dict[str, Any] = {"default": field.default if field.default is not None else 0.0}
    if kind != "bool":
        low, high = field.metadata["low"], field.metadata["high"]
        unit = high is not None
        options |= {"min": -_LARGEST if low is None else low, "max": high if unit else _LARGEST}
        options["step"] = 0.01 if unit else 1 if kind == "int" else 0.5
    text = option_text(field).replace("None:", "0:")
    return _KINDS[kind], {**options, "tooltip": text}
