"""Nodes that work on masks: one pure function of `refine` each, applied to every mask of a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from ..refine import masks
from ..refine.masks import Combination
from ..types import FloatArray
from .convert import as_mask, mask_to_arrays, spread, stack_rows
from .host import each
from .inputs import Declaration, choice, fraction, pixels, socket, switch, whole

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "CombineMasks",
    "FeatherMask",
    "FillHoles",
    "GrowMask",
    "MaskNode",
    "RemoveIslands",
    "SmoothMask",
    "ThresholdMask",
]

_LARGEST_AREA = 1 << 30  # square pixels


class MaskNode:
    """A node that turns each mask of a batch into another of the same size."""

    CATEGORY = "Maskwright/mask"
    FUNCTION = "run"
    RETURN_TYPES = ("MASK",)
    RETURN_NAMES = ("mask",)
    OUTPUT_TOOLTIPS = ("The masks, 1 = selected.",)
    INPUTS: ClassVar[dict[str, Declaration]]
    work: Callable[..., FloatArray]  # of one mask, (H, W) float32 in [0, 1], and the inputs by name

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        return {"required": {"mask": socket("MASK", "The masks to work on, 1 = selected."), **cls.INPUTS}}

    def run(self, mask: Tensor, **values: Any) -> tuple[Tensor]:
        """The masks after the work."""
        masks = as_mask(mask)
        if not len(masks):
            return (masks,)
        worked = ([self.work(one, **values)] for one in each(mask_to_arrays(masks), len(masks)))
        return (stack_rows(worked, len(masks))[0],)


class ThresholdMask(MaskNode):
    """Make masks hard."""

    DESCRIPTION = "Makes a mask hard: 1 from the level up, 0 below it."
    INPUTS: ClassVar = {"level": fraction(0.5, "Where the mask turns from 0 to 1.", step=0.001)}
    work = staticmethod(masks.threshold)


def _resize(mask: FloatArray, pixels: float) -> FloatArray:
    return masks.grow(mask, pixels) if pixels >= 0 else masks.shrink(mask, -pixels)


class GrowMask(MaskNode):
    """Grow or shrink masks by an exact distance."""

    DESCRIPTION = "Grows a mask by an exact distance, or shrinks it where the number is negative. Soft edges stay soft."
    INPUTS: ClassVar = {"pixels": pixels(4.0, "How far the mask grows; negative shrinks it.", low=-16384.0)}
    work = staticmethod(_resize)


class FeatherMask(MaskNode):
    """Soften the edges of masks."""

    DESCRIPTION = "Softens a mask's edge: on both sides of the outline, only inside, or only outside."
    INPUTS: ClassVar = {
        "pixels": pixels(8.0, "Width of the soft edge."),
        "side": choice(["centered", "inside", "outside"], "On which side of the outline the soft edge lies."),
    }
    work = staticmethod(masks.feather)


class SmoothMask(MaskNode):
    """Flatten the bumps of an outline."""

    DESCRIPTION = "Flattens bumps and notches of a mask's outline."
    INPUTS: ClassVar = {"pixels": pixels(3.0, "Bumps and notches smaller than this are flattened.")}
    work = staticmethod(masks.smooth)


class FillHoles(MaskNode):
    """Fill the holes of masks."""

    DESCRIPTION = "Fills the holes of a mask up to an area."
    INPUTS: ClassVar = {"area": whole(1000, "Square pixels: holes up to this area are filled.", high=_LARGEST_AREA)}
    work = staticmethod(masks.fill_holes)


def _keep_large(mask: FloatArray, area: int, keep_largest: bool) -> FloatArray:
    mask = masks.remove_islands(mask, area)
    return masks.keep_largest(mask) if keep_largest else mask


class RemoveIslands(MaskNode):
    """Remove small islands from masks."""

    DESCRIPTION = "Removes islands of a mask that are smaller than an area, or all but the largest."
    INPUTS: ClassVar = {
        "area": whole(1000, "Square pixels: islands smaller than this are removed.", high=_LARGEST_AREA),
        "keep_largest": switch(False, "Keep only the largest island."),
    }
    work = staticmethod(_keep_large)


class CombineMasks:
    """Combine two masks."""

    CATEGORY = "Maskwright/mask"
    DESCRIPTION = "Combines two masks; soft masks stay soft. One mask is combined with every mask of a batch."
    FUNCTION = "run"
    RETURN_TYPES = ("MASK",)
    RETURN_NAMES = ("mask",)
    OUTPUT_TOOLTIPS = ("The combined masks, 1 = selected.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        how = "union: either; intersect: both; subtract: the first without the second; xor: exactly one."
        return {
            "required": {
                "a": socket("MASK", "The first masks."),
                "b": socket("MASK", "The second masks; one for all, or as many as the first."),
                "how": choice(["union", "intersect", "subtract", "xor"], how),
            }
        }

    def run(self, a: Tensor, b: Tensor, how: Combination) -> tuple[Tensor]:
        """The combined masks."""
        first, second = list(mask_to_arrays(a)), list(mask_to_arrays(b))
        count = max(len(first), len(second)) if first and second else 0
        pairs = zip(spread(first, count, "a"), spread(second, count, "b"), strict=True)
        combined = ([masks.combine(one, other, how)] for one, other in each(pairs, count))
        return (stack_rows(combined, count)[0] if count else as_mask(a)[:0],)
