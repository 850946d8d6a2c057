"""All nodes under their ids, and the rule by which the ids of other packs are taken."""

from __future__ import annotations

import os
import sys
from typing import Any

from ..errors import OptionError
from . import detector_nodes, mask_nodes, model_nodes, picture_nodes, segs_nodes, segs_work_nodes
from .anime_nodes import AnimeFaceSegmenter
from .control_nodes import ApplyControlNet
from .cutout_nodes import ImageSegmentation
from .detailer_nodes import DetailAndPaste, MakeSchedule, SegsDetailer
from .host import named
from .isnet_nodes import ISNetLoader, ISNetSegment
from .person_nodes import PersonMask, PersonParts

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS", "choose_drop_ins"]

# Ids that other packs made known, with the class and the name shown for it. Each has a twin under our own prefix.
DROP_INS: dict[str, tuple[type, str]] = {
    "AnimeFace_SemSegPreprocessor": (AnimeFaceSegmenter, "Anime Face Segmentor"),
    "ImageSegmentation": (ImageSegmentation, "Image Segmentation"),
    "APersonMaskGenerator": (PersonMask, "A Person Mask Generator"),
    "ISNetSegment": (ISNetSegment, "ISNet Segment"),
    "ISNetLoader": (ISNetLoader, "ISNet Loader"),
    "SEGSDetailerForAnimateDiff": (SegsDetailer, "SEGSDetailer For AnimateDiff (SEGS/pipe)"),
    "ImpactControlNetApplySEGS": (ApplyControlNet, "ControlNetApply (SEGS)"),
    "ToBasicPipe": (segs_nodes.ToBasicPipe, "ToBasicPipe"),
    "MaskToSEGS": (segs_nodes.MaskToSegs, "MASK to SEGS"),
    "MaskToSEGS_for_AnimateDiff": (segs_nodes.FilmToSegs, "MASK to SEGS for AnimateDiff"),
    "SEGSPaste": (segs_nodes.PasteSegs, "SEGSPaste"),
    "SEGSPreview": (segs_nodes.PreviewSegs, "SEGSPreview"),
    "SegsToCombinedMask": (segs_nodes.SegsToMask, "SEGS to MASK (combined)"),
}
# A second id of some of them, in another pack.
ALSO = {"AnimeFace_SemSegPreprocessor": "Inference_Core_AnimeFace_SemSegPreprocessor"}
OWN: dict[str, tuple[type, str]] = {
    "MaskwrightLoadModel": (model_nodes.LoadModel, "Load Model"),
    "MaskwrightSegment": (model_nodes.Segment, "Segment"),
    "MaskwrightPersonParts": (PersonParts, "Person Parts"),
    "MaskwrightCutOut": (model_nodes.CutOut, "Cut Out"),
    "MaskwrightThresholdMask": (mask_nodes.ThresholdMask, "Threshold Mask"),
    "MaskwrightGrowMask": (mask_nodes.GrowMask, "Grow or Shrink Mask"),
    "MaskwrightFeatherMask": (mask_nodes.FeatherMask, "Feather Mask"),
    "MaskwrightSmoothMask": (mask_nodes.SmoothMask, "Smooth Mask"),
    "MaskwrightFillHoles": (mask_nodes.FillHoles, "Fill Holes of Mask"),
    "MaskwrightRemoveIslands": (mask_nodes.RemoveIslands, "Remove Islands of Mask"),
    "MaskwrightCombineMasks": (mask_nodes.CombineMasks, "Combine Masks"),
    "MaskwrightMakeTrimap": (picture_nodes.MakeTrimap, "Make Trimap"),
    "MaskwrightAlphaMatting": (picture_nodes.AlphaMatting, "Alpha Matting"),
    "MaskwrightForegroundColors": (picture_nodes.ForegroundColors, "Foreground Colours"),
    "MaskwrightCropToMask": (picture_nodes.CropToMask, "Crop to Mask"),
    "MaskwrightPasteCrop": (picture_nodes.PasteCrop, "Paste Crop Back"),
    "MaskwrightDetailAndPaste": (DetailAndPaste, "Detail and Paste SEGS"),
    "MaskwrightMakeSchedule": (MakeSchedule, "Make Schedule"),
    "MaskwrightPreviewCutout": (picture_nodes.PreviewCutout, "Preview Cut-out"),
    "MaskwrightSubjectSEGS": (detector_nodes.SubjectSegs, "Subject to SEGS"),
    "MaskwrightPersonSEGS": (detector_nodes.PersonSegs, "Person Parts to SEGS"),
    "MaskwrightAnimeSEGS": (detector_nodes.AnimeSegs, "Anime Parts to SEGS"),
    "MaskwrightTrackSubject": (segs_work_nodes.TrackSubject, "Track Subject"),
    "MaskwrightFilterSEGS": (segs_work_nodes.FilterSegs, "Filter SEGS"),
    "MaskwrightOrderSEGS": (segs_work_nodes.OrderSegs, "Order SEGS"),
    "MaskwrightGrowSEGS": (segs_work_nodes.GrowSegs, "Grow or Shrink SEGS"),
    "MaskwrightCombineSEGS": (segs_work_nodes.CombineSegs, "Combine SEGS"),
    "MaskwrightIntersectSEGS": (segs_work_nodes.IntersectSegs, "Intersect SEGS"),
    "MaskwrightSEGSToMasks": (segs_work_nodes.SegsToMasks, "SEGS to Masks"),
    "MaskwrightSEGSToImages": (segs_work_nodes.SegsToImages, "SEGS to Images"),
    "MaskwrightDrawSEGS": (segs_work_nodes.DrawSegs, "Draw SEGS"),
    "MaskwrightSaveSEGS": (segs_work_nodes.SaveSegs, "Save SEGS"),
    "MaskwrightLoadSEGS": (segs_work_nodes.LoadSegs, "Load SEGS"),
}

_RULES = ("auto", "always", "never")


def choose_drop_ins(rule: str, taken: set[str]) -> list[str]:
    """The ids of other packs to register.

    Args:
        rule: `auto` leaves ids to a pack that has them already, `always` takes them, `never` leaves all.
        taken: Ids that are registered already.

    Raises:
        OptionError: No such rule.
    """
    if rule not in _RULES:
        raise OptionError("MASKWRIGHT_DROP_IN", expected=" or ".join(_RULES), got=repr(rule), hint="unset it")
    if rule == "never":
        return []
    return [node_id for node_id in (*DROP_INS, *ALSO.values()) if rule == "always" or node_id not in taken]


def _taken() -> set[str]:
    core = sys.modules.get("nodes")
    return set(getattr(core, "NODE_CLASS_MAPPINGS", {}))


def _entry(node_id: str, node: type, **members: Any) -> type:
    """The class ComfyUI gets for an id: the node, whose errors begin with that id."""
    name = node.FUNCTION  # type: ignore[attr-defined]
    members |= {name: named(node_id)(getattr(node, name)), "__doc__": node.__doc__, "__module__": node.__module__}
    return type(node_id, (node,), members)


def _register() -> tuple[dict[str, type], dict[str, str]]:
    nodes: dict[str, type] = {}
    names: dict[str, str] = {}
    seeds = {also: seed for seed, also in ALSO.items()}
    for node_id in choose_drop_ins(os.environ.get("MASKWRIGHT_DROP_IN") or "auto", _taken()):
        node, names[node_id] = DROP_INS[seeds.get(node_id, node_id)]
        nodes[node_id] = _entry(node_id, node)
    for seed_id, (node, name) in DROP_INS.items():
        node_id = f"Maskwright{seed_id}"
        nodes[node_id] = _entry(node_id, node, CATEGORY="Maskwright")
        names[node_id] = f"{name} (Maskwright)"
    for node_id, (node, name) in OWN.items():
        nodes[node_id], names[node_id] = _entry(node_id, node), name
    return nodes, names


NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS = _register()
