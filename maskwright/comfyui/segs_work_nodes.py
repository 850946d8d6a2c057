"""Nodes that choose, change, look at and keep segments."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from ..detail.drawing import draw_segs
from ..detail.files import load_segs, save_segs
from ..detail.pasting import crop_pictures
from ..detail.segs import (
    Segs,
    SortKey,
    combine_segs,
    dilate_segs,
    filter_segs,
    intersect_segs,
    order_segs,
    scale_segs,
    segs_to_masks,
)
from ..detail.tracking import track_subject
from ..errors import InputError, OptionError
from .convert import SegsValue, arrays_to_image, as_image, mask_to_arrays, segs_to_value, stack_rows, work_on_segs
from .host import each, find_file, make_output_path, show
from .inputs import choice, fraction, pixels, socket, switch, text, whole
from .segs_nodes import SEGS_OUT, declare_crop_factor, empty_preview

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "CombineSegs",
    "DrawSegs",
    "FilterSegs",
    "GrowSegs",
    "IntersectSegs",
    "LoadSegs",
    "OrderSegs",
    "SaveSegs",
    "SegsToImages",
    "SegsToMasks",
    "TrackSubject",
    "split_names",
]

_SEGS = socket("SEGS", SEGS_OUT)
_MEASURE = choice(get_args(SortKey), "What is measured, in pixels or square pixels of the box.")
_MOST = float(1 << 30)
_FILE = "A path below ComfyUI's input or output folder; ` [output]` or ` [input]` after it says which."


def split_names(names: str) -> tuple[str, ...]:
    """The names in a text with commas."""
    return tuple(name.strip() for name in names.split(",") if name.strip())


class _SegsNode:
    """A node that gives segments."""

    CATEGORY = "Maskwright/segs"
    FUNCTION = "run"
    RETURN_TYPES: tuple[str, ...] = ("SEGS",)
    RETURN_NAMES: tuple[str, ...] = ("segs",)
    OUTPUT_TOOLTIPS: tuple[str, ...] = (SEGS_OUT,)


class _ChoosingNode(_SegsNode):
    """A node that gives the segments it chose, and the rest."""

    RETURN_TYPES = ("SEGS", "SEGS")
    RETURN_NAMES = ("segs", "rest")
    OUTPUT_TOOLTIPS = (SEGS_OUT, "The segments that were not chosen.")


def _without(opened: Segs, chosen: Segs) -> Segs:
    taken = {id(seg) for seg in chosen}
    return replace(opened, items=tuple(seg for seg in opened if id(seg) not in taken))


class FilterSegs(_ChoosingNode):
    """Segments by label and size."""

    DESCRIPTION = "Chooses segments by their labels and by a measure of their box."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        return {
            "required": {
                "segs": _SEGS,
                "labels": text("all", "Labels with commas between; `all`: any. `eyes` means left and right ones too."),
                "by": _MEASURE,
                "low": fraction(0.0, "The least that is chosen.", high=_MOST),
                "high": fraction(0.0, "The most that is chosen; 0: no limit.", high=_MOST),
            }
        }

    def run(self, segs: Any, labels: str, by: SortKey, low: float, high: float) -> tuple[SegsValue, SegsValue]:
        """The segments chosen, and the rest."""
        names = split_names(labels) or None

        def chosen(opened: Segs) -> Segs:
            return filter_segs(opened, labels=names, by=by, low=low, high=high or None)

        return work_on_segs(chosen, segs), work_on_segs(lambda opened: _without(opened, chosen(opened)), segs)


class OrderSegs(_ChoosingNode):
    """Segments in order, some of them."""

    DESCRIPTION = "Puts segments in order, and chooses some by their place in it."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        return {
            "required": {
                "segs": _SEGS,
                "by": _MEASURE,
                "descending": switch(True, "The largest first."),
                "start": whole(0, "How many are passed over."),
                "count": whole(0, "How many are chosen; 0: all."),
            }
        }

    def run(
        self, segs: Any, by: SortKey, descending: bool = True, start: int = 0, count: int = 0
    ) -> tuple[SegsValue, SegsValue]:
        """The segments chosen, and the rest."""

        def chosen(opened: Segs) -> Segs:
            return order_segs(opened, by, descending=descending, start=start, count=count or None)

        return work_on_segs(chosen, segs), work_on_segs(lambda opened: _without(opened, chosen(opened)), segs)


class GrowSegs(_SegsNode):
    """Segments' masks grown or shrunk."""

    DESCRIPTION = "Grows the masks of segments by an exact distance inside their crops, or shrinks them."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        distance = pixels(4.0, "How far the mask grows; negative shrinks it.", low=-16384.0)
        return {"required": {"segs": _SEGS, "pixels": distance}}

    def run(self, segs: Any, pixels: float) -> tuple[SegsValue]:
        """The segments."""
        return (work_on_segs(lambda opened: dilate_segs(opened, pixels) if pixels else opened, segs),)


class CombineSegs(_SegsNode):
    """Two rows of segments as one."""

    DESCRIPTION = "Joins two rows of segments; the second is scaled to the first's frames."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        return {"required": {"a": _SEGS, "b": socket("SEGS", "The segments that come after.")}}

    def run(self, a: Any, b: Any) -> tuple[SegsValue]:
        """The segments."""
        return (work_on_segs(combine_segs, a, b),)


class IntersectSegs(_SegsNode):
    """Segments where something else is selected too, or where it is not."""

    DESCRIPTION = "Keeps of each segment what a mask or other segments select too, or takes that away."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        return {
            "required": {
                "segs": _SEGS,
                "how": choice(
                    ["intersect", "subtract"], "intersect: what both select; subtract: what the segments alone select."
                ),
            },
            "optional": {
                "mask": socket("MASK", "The other mask, 1 = selected; one for all frames, or one for each."),
                "others": socket("SEGS", "The other segments; they are scaled to the first's frames."),
            },
        }

    def run(self, segs: Any, how: str, mask: Tensor | None = None, others: Any = None) -> tuple[SegsValue]:
        """The segments of which something stays."""
        if mask is None and others is None:
            raise OptionError("mask or others", expected="connected", got="neither", hint="connect one of them")

        def met(opened: Segs) -> Segs:
            subtract = how == "subtract"
            if mask is not None:
                masks = list(mask_to_arrays(mask)) or [np.zeros(tuple(mask.shape[-2:]), np.float32)]
                opened = intersect_segs(opened, np.stack(masks), subtract=subtract)
            if others is not None:
                scaled = scale_segs(Segs.from_tuple(others), opened.size_hw)
                opened = intersect_segs(opened, scaled, subtract=subtract)
            return opened

        return (work_on_segs(met, segs),)


class SegsToMasks:
    """A mask for each segment."""

    CATEGORY = "Maskwright/segs"
    DESCRIPTION = "Draws each segment into a mask of the frames' size: as a list, and as one batch."
    FUNCTION = "run"
    RETURN_TYPES = ("MASK", "MASK")
    RETURN_NAMES = ("masks", "batch")
    OUTPUT_IS_LIST = (True, False)
    OUTPUT_TOOLTIPS = (
        "A list: the masks of each segment, one or one for each frame. Without segments, one empty mask.",
        "All of them, one after the other.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        return {"required": {"segs": _SEGS}}

    def run(self, segs: Any) -> tuple[list[Tensor], Tensor]:
        """The masks as a list and as a batch, which share their memory."""
        import torch

        opened = Segs.from_tuple(segs)
        counts = [max(len(seg.masks()), seg.places) for seg in opened] or [1]
        batch = np.zeros((sum(counts), *opened.size_hw), np.float32)
        ends = np.cumsum(counts)
        for seg, count, end in zip(opened, counts, ends, strict=False):  # without segments there is one empty mask
            batch[end - count : end] = segs_to_masks(replace(opened, items=(seg,)))
        made = torch.from_numpy(batch)
        return list(torch.split(made, counts)), made


class SegsToImages:
    """The pictures of each segment."""

    CATEGORY = "Maskwright/segs"
    DESCRIPTION = "Gives each segment's own pictures, or its crops of the frames. Moving crops move."
    FUNCTION = "run"
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("images",)
    OUTPUT_IS_LIST = (True,)
    OUTPUT_TOOLTIPS = ("A list: the pictures of each segment. Without segments, one black picture.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        frames = socket("IMAGE", "The frames, for segments without pictures of their own.")
        return {"required": {"segs": _SEGS}, "optional": {"image": frames}}

    def run(self, segs: Any, image: Tensor | None = None) -> tuple[list[Tensor]]:
        """The pictures."""
        frames = None if image is None or not len(image) else as_image(image)
        images = [arrays_to_image(list(pictures)) for pictures in crop_pictures(segs, frames)]
        return (images or [empty_preview()],)


class DrawSegs:
    """Segments drawn on the frames."""

    CATEGORY = "Maskwright/segs"
    DESCRIPTION = "Shows the frames with each segment's mask, box, crop, number, label and confidence drawn on them."
    FUNCTION = "run"
    OUTPUT_NODE = True
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("image",)
    OUTPUT_TOOLTIPS = ("The frames with the segments drawn on them.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        return {
            "required": {
                "image": socket("IMAGE", "The frames."),
                "segs": _SEGS,
                "opacity": fraction(0.4, "How opaque masks are drawn."),
                "names": switch(True, "Write number, label and confidence."),
            }
        }

    def run(self, image: Tensor, segs: Any, opacity: float = 0.4, names: bool = True) -> dict[str, Any]:
        """The frames, also shown at the node."""
        opened = Segs.from_tuple(segs)
        frames = as_image(image)
        if not len(frames):
            return {"ui": {}, "result": (frames[..., :3],)}
        drawn = each(draw_segs(frames, opened, opacity=opacity, names=names), len(frames))
        (result,) = stack_rows(([one] for one in drawn), len(frames))
        return {"ui": show(result), "result": (result,)}


class TrackSubject(_SegsNode):
    """One subject followed through a film."""

    DESCRIPTION = (
        "Follows one subject through a film: a crop of one size, whose place moves smoothly with it. The detailer and "
        "paste nodes of this pack move with it; others see one large crop."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        frames = "Frames over which the crop's path is smoothed; 0: not at all."
        where = "Pixels in the first frame with anything in it: the subject is what lies nearest. -1: what is largest."
        return {
            "required": {
                "mask": socket("MASK", "One mask for each frame, 1 = selected."),
                "crop_factor": declare_crop_factor(1.5),
                "smoothing": fraction(4.0, frames, high=1000.0),
            },
            "optional": {
                "x": whole(-1, where, low=-1),
                "y": whole(-1, where, low=-1),
                "whole": switch(False, "All that is selected in a frame is the subject."),
                "threshold": fraction(0.1, "Above it a pixel belongs to something."),
                "label": text("A", "What the segment is called."),
            },
        }

    def run(
        self,
        mask: Tensor,
        crop_factor: float = 1.5,
        smoothing: float = 4.0,
        x: int = -1,
        y: int = -1,
        whole: bool = False,
        threshold: float = 0.1,
        label: str = "A",
    ) -> tuple[SegsValue]:
        """The subject; no segment where nothing is selected in any frame."""
        masks = list(mask_to_arrays(mask))
        if not masks:
            return (((int(mask.shape[-2]), int(mask.shape[-1])), []),)
        point = None if min(x, y) < 0 else (float(x), float(y))
        tracked = track_subject(
            np.stack(masks),
            point=point,
            whole=whole,
            crop_factor=crop_factor,
            smoothing=smoothing,
            threshold=threshold,
            label=label,
        )
        return (segs_to_value(tracked),)


class SaveSegs(_SegsNode):
    """Segments into a file."""

    DESCRIPTION = "Saves segments as a file in ComfyUI's output folder."
    OUTPUT_NODE = True
    RETURN_TYPES = ("SEGS", "STRING")
    RETURN_NAMES = ("segs", "file")
    OUTPUT_TOOLTIPS = (SEGS_OUT, "The file's name, for Load SEGS.")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        controls = "Save segments that have ControlNets without them; no file can hold those."
        return {
            "required": {
                "segs": _SEGS,
                "filename_prefix": text("segs/maskwright", "How the file's name begins; folders before a slash."),
            },
            "optional": {"without_controls": switch(False, controls)},
        }

    def run(self, segs: Any, filename_prefix: str, without_controls: bool = False) -> dict[str, Any]:
        """The segments as they came, and the file's name."""
        opened = Segs.from_tuple(segs)
        if without_controls:
            opened = replace(opened, items=tuple(replace(seg, control_net_wrapper=None) for seg in opened))
        elif any(seg.control_net_wrapper is not None for seg in opened):
            raise InputError("the segments have ControlNets, which no file can hold", hint="turn on without_controls")
        path, name = make_output_path(filename_prefix, ".npz")
        save_segs(opened, path)
        return {"ui": {"text": [name]}, "result": (segs, name)}


class LoadSegs(_SegsNode):
    """Segments from a file."""

    DESCRIPTION = "Loads segments that Save SEGS wrote, from ComfyUI's output or input folder."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        return {"required": {"file": text("segs/maskwright_00001.npz [output]", _FILE)}}

    @classmethod
    def IS_CHANGED(cls, file: str | None = None) -> str:  # noqa: N802 - ComfyUI's name
        """Another value for another file; the name comes from another node where it is None."""
        path = None if file is None else find_file(file)
        return "" if path is None or not path.is_file() else f"{path} {path.stat().st_mtime_ns}"

    def run(self, file: str) -> tuple[SegsValue]:
        """The segments."""
        return (segs_to_value(load_segs(find_file(file))),)
