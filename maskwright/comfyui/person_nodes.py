"""The parts of people: the drop-in `APersonMaskGenerator`, and each part as a mask of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..person import PersonOptions, PersonSegmenter, open_person
from .convert import image_to_arrays, make_empty_mask, stack_rows
from .host import each, open_store
from .inputs import COMPAT, DOWNLOAD, choice, fraction, socket, switch, whole

if TYPE_CHECKING:
    from torch import Tensor

    from ..person import Combine

__all__ = ["PERSON_MODELS", "PersonMask", "PersonParts", "open_node_person"]

_PARTS = ("face", "hair", "body", "clothes", "background", "accessories")
PERSON_MODELS = ("auto", "selfie-multiclass", "maskwright-parts", "silhouette")
_CONFIDENCE = {"default": 0.4, "min": 0.01, "max": 1.0, "step": 0.01}


def _select(default: bool, what: str) -> Any:
    return switch(default, f"Select {what}.", label_on="enabled", label_off="disabled")


def open_node_person(model: str, compat: bool, download: bool) -> PersonSegmenter:
    """The model, on the CPU: these networks are small."""
    name = None if model == "auto" else model
    return open_person(name, device="cpu", compat=compat, store=open_store(download=download))


class PersonMask:
    """One mask of the chosen parts of people."""

    CATEGORY = "A Person Mask Generator - David Bielejeski"
    DESCRIPTION = "Selects parts of the people in pictures: face, hair, body (other skin), clothes, accessories."
    FUNCTION = "generate_mask"
    RETURN_TYPES = ("MASK",)
    RETURN_NAMES = ("masks",)
    OUTPUT_TOOLTIPS = ("The union of the chosen parts, 1 = selected.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        combine = "max: a pixel is surely one of the parts; sum: surely any of them, even if it is not clear which."
        return {
            "required": {"images": socket("IMAGE", "The pictures.")},
            "optional": {
                "face_mask": _select(True, "the skin of faces"),
                "background_mask": _select(False, "everything that is no person"),
                "hair_mask": _select(False, "hair"),
                "body_mask": _select(False, "skin that is not the face"),
                "clothes_mask": _select(False, "clothes"),
                "confidence": (
                    "FLOAT",
                    {**_CONFIDENCE, "tooltip": "A pixel is selected where a part is more probable than this."},
                ),
                "refine_mask": switch(True, "Look again at a crop around what was found, for finer edges."),
                "compat": COMPAT,
                "accessories_mask": _select(False, "bags, hats, glasses and other things people carry"),
                "soft": switch(False, "Give probabilities instead of a hard mask; confidence is not used."),
                "combine": choice(["max", "sum"], combine),
                "tiles": whole(0, "Pixels: also look at squares of this side, for small people. 0: no."),
                "model": choice(PERSON_MODELS, "What tells the parts apart. auto: the best that is on this machine."),
                "download": DOWNLOAD,
            },
        }

    def generate_mask(
        self,
        images: Tensor,
        confidence: float = 0.4,
        refine_mask: bool = True,
        compat: bool = False,
        soft: bool = False,
        combine: Combine = "max",
        tiles: int = 0,
        model: str = "auto",
        download: bool = False,
        **selected: bool,
    ) -> tuple[Tensor]:
        """The masks."""
        chosen = {**dict.fromkeys(_PARTS, False), "face": True}
        chosen |= {name.removesuffix("_mask"): value for name, value in selected.items()}
        parts = tuple(part for part in _PARTS if chosen[part])
        if not (parts and len(images)):
            return (make_empty_mask(images).new_zeros(images.shape[:3]),)
        options = PersonOptions(parts, confidence, soft, combine, refine=refine_mask, tiles=tiles)
        segmenter = open_node_person(model, compat, download)
        pictures = each(image_to_arrays(images), len(images))
        return (stack_rows(([segmenter(picture, options).mask] for picture in pictures), len(images))[0],)


class PersonParts:
    """Each part of people as a mask of its own."""

    CATEGORY = "Maskwright"
    DESCRIPTION = "Tells the parts of people apart: one soft mask for each."
    FUNCTION = "run"
    RETURN_TYPES = ("MASK",) * len(_PARTS)
    RETURN_NAMES = _PARTS
    OUTPUT_TOOLTIPS = tuple(f"How probable {part} is in each pixel." for part in _PARTS)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        return {
            "required": {"image": socket("IMAGE", "The pictures.")},
            "optional": {
                "soft": switch(True, "Give probabilities; off: hard masks."),
                "confidence": fraction(0.4, "With soft off: selected where a part is more probable than this."),
                "refine": switch(True, "Look again at crops around what was found, for finer edges."),
                "model": choice(PERSON_MODELS, "What tells the parts apart. auto: the best that is on this machine."),
                "download": DOWNLOAD,
            },
        }

    def run(
        self,
        image: Tensor,
        soft: bool = True,
        confidence: float = 0.4,
        refine: bool = True,
        model: str = "auto",
        download: bool = False,
    ) -> tuple[Tensor, ...]:
        """The masks, in the order of the parts."""
        if not len(image):
            return (make_empty_mask(image),) * len(_PARTS)
        options = PersonOptions(_PARTS, confidence, soft, refine=refine)
        segmenter = open_node_person(model, False, download)
        found = (segmenter(picture, options).masks for picture in each(image_to_arrays(image), len(image)))
        return stack_rows(([masks[part] for part in _PARTS] for masks in found), len(image))
