"""Anime faces: the drop-in `AnimeFace_SemSegPreprocessor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..anime import PALETTE, AnimeSegmenter, AnimeSize, color_labels
from ..geometry import fit_placement
from ..models.catalog import find_card
from ..types import AnyArray, SegmentResult
from .convert import image_to_arrays, make_empty_image, stack_rows
from .host import each, open_node_segmenter
from .inputs import COMPAT, DEVICE_MODE, DOWNLOAD, choice, socket, switch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["AnimeFaceSegmenter"]

_PARTS = tuple(PALETTE)


class AnimeFaceSegmenter:
    """The parts of an anime face, as a map of colours."""

    CATEGORY = "ControlNet Preprocessors/Semantic Segmentation"
    DESCRIPTION = "Tells the parts of anime faces apart, and finds the character."
    FUNCTION = "execute"
    RETURN_TYPES = ("IMAGE", "MASK", *("MASK",) * len(_PARTS))
    RETURN_NAMES = ("IMAGE", "ABG_CHARACTER_MASK (MASK)", *_PARTS)
    OUTPUT_TOOLTIPS = (
        "The map: yellow background, blue hair, red eyes, white mouth, green face, cyan skin, magenta clothes.",
        "The character, 1 = character; all 1 where the background stays.",
        *(f"The probability of {part} in each pixel." for part in _PARTS),
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        resolution = {"default": 512, "min": 512, "max": 512, "step": 64}
        return {
            "required": {"image": socket("IMAGE", "The pictures. What is transparent in them is shown on white.")},
            "optional": {
                "remove_background_using_abg": switch(True, "Find the character first, and look at it on white."),
                "resolution": ("INT", {**resolution, "tooltip": "Pixels of the shorter side; the network knows 512."}),
                "compat": COMPAT,
                "output_size": choice(
                    ["network", "picture"], "Size of all outputs: the network's, by resolution, or the picture's."
                ),
                "download": DOWNLOAD,
                "device_mode": DEVICE_MODE,
            },
        }

    def execute(
        self,
        image: Tensor,
        remove_background_using_abg: bool = True,
        resolution: int = 512,  # noqa: ARG002 - the seed's input, which knows one value
        compat: bool = False,
        output_size: AnimeSize = "network",
        download: bool = False,
        device_mode: str = "AUTO",
        **_: Any,
    ) -> tuple[Tensor, ...]:
        """The map, the character, and the probability of each part."""
        if not len(image):
            return _make_empty(image, output_size)
        place: dict[str, Any] = {"download": download, "device_mode": device_mode}
        face = open_node_segmenter("anime-face", compat=compat, **place)
        character = None
        if remove_background_using_abg:
            character = open_node_segmenter("isnet-anime", compat="controlnet-aux" if compat else False, **place)
        segmenter = AnimeSegmenter(face, character, compat=compat)
        pictures = each(image_to_arrays(image), len(image), face, character)
        found = (segmenter(picture, size=output_size) for picture in pictures)
        return stack_rows(map(_arrays, found), len(image))


def _arrays(result: SegmentResult) -> tuple[AnyArray, ...]:
    """What the outputs are of a picture."""
    labels = np.asarray(result.labels)  # the face network's family has them
    return color_labels(labels), result.mask, *(result.masks[part] for part in _PARTS)


def _make_empty(image: Tensor, output_size: AnimeSize) -> tuple[Tensor, ...]:
    """No maps and no masks, in the size they would have."""
    none = make_empty_image(image)
    size_hw = int(image.shape[1]), int(image.shape[2])
    if output_size == "network":
        pre = find_card("anime-face").recipe.pre
        size_hw = fit_placement(size_hw, pre.size_hw, pre.fit).box_hw
    maps = none.new_zeros((0, *size_hw, 3))
    return maps, *[maps[..., 0]] * (1 + len(_PARTS))
