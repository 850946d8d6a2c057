"""Write `example_workflows/`: what ComfyUI's page offers as templates of this pack.

    python scripts/make_workflows.py            write them
    python scripts/make_workflows.py --check    write nothing; exit 1 where one is stale

A workflow is described below by its nodes: inputs that are given by name, links as (node, output). Positions, link
numbers and the order of widgets follow from the nodes' own declarations. The thumbnails are made by
`scripts/try_in_comfyui.py --thumbnails`, from what the workflows really give.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
FOLDER = ROOT / "example_workflows"
sys.path.insert(0, str(ROOT / "scripts"))

from make_tiny_checkpoint import CHECKPOINT, CONTROLNET  # noqa: E402

_WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN")
_COLUMN, _ROW = 420, 60


class Node(NamedTuple):
    """One node of a workflow.

    Attributes:
        kind: Its id.
        inputs: Values of widgets, and links as (name of another node, number of its output).
    """

    kind: str
    inputs: dict[str, Any]


# What is needed of ComfyUI's own nodes: inputs in their order with a default, outputs.
_CORE: dict[str, tuple[dict[str, tuple[Any, Any]], tuple[tuple[str, str], ...]]] = {
    "LoadImage": ({"image": ("STRING", "astronaut.jpg")}, (("IMAGE", "IMAGE"), ("MASK", "MASK"))),
    "SaveImage": ({"images": ("IMAGE", None), "filename_prefix": ("STRING", "maskwright")}, ()),
    "PreviewImage": ({"images": ("IMAGE", None)}, ()),
    "MaskToImage": ({"mask": ("MASK", None)}, (("IMAGE", "IMAGE"),)),
    "CheckpointLoaderSimple": (
        {"ckpt_name": ("COMBO", CHECKPOINT)},
        (("MODEL", "MODEL"), ("CLIP", "CLIP"), ("VAE", "VAE")),
    ),
    "ControlNetLoader": ({"control_net_name": ("COMBO", CONTROLNET)}, (("CONTROL_NET", "CONTROL_NET"),)),
    "CLIPTextEncode": ({"text": ("STRING", ""), "clip": ("CLIP", None)}, (("CONDITIONING", "CONDITIONING"),)),
    "ImageInvert": ({"image": ("IMAGE", None)}, (("IMAGE", "IMAGE"),)),
    "ImageBatch": ({"image1": ("IMAGE", None), "image2": ("IMAGE", None)}, (("IMAGE", "IMAGE"),)),
    "ImageCrop": (
        {
            "image": ("IMAGE", None),
            "width": ("INT", 512),
            "height": ("INT", 512),
            "x": ("INT", 0),
            "y": ("INT", 0),
        },
        (("IMAGE", "IMAGE"),),
    ),
}

_PHOTO = Node("LoadImage", {"image": "astronaut.jpg"})
# Three frames of a film in which the camera moves over the photo.
_FILM = {
    "photo": _PHOTO,
    **{
        f"frame {n}": Node("ImageCrop", {"image": ("photo", 0), "width": 320, "height": 448, "x": 96 * n, "y": 0})
        for n in range(3)
    },
    "frames 0 and 1": Node("ImageBatch", {"image1": ("frame 0", 0), "image2": ("frame 1", 0)}),
    "film": Node("ImageBatch", {"image1": ("frames 0 and 1", 0), "image2": ("frame 2", 0)}),
}
# A model with its prompts.
_PIPE = {
    "checkpoint": Node("CheckpointLoaderSimple", {}),
    "prompt": Node("CLIPTextEncode", {"text": "portrait of an astronaut, detailed face", "clip": ("checkpoint", 1)}),
    "negative": Node("CLIPTextEncode", {"text": "blurry", "clip": ("checkpoint", 1)}),
    "pipe": Node(
        "ToBasicPipe",
        {
            "model": ("checkpoint", 0),
            "clip": ("checkpoint", 1),
            "vae": ("checkpoint", 2),
            "positive": ("prompt", 0),
            "negative": ("negative", 0),
        },
    ),
}
_REDRAW = {"segs": ("segs", 0), "guide_size": 128, "max_size": 128, "steps": 4, "basic_pipe": ("pipe", 0)}
WORKFLOWS: dict[str, dict[str, Node]] = {
    "cut out a subject": {
        "photo": _PHOTO,
        "cut": Node(
            "ImageSegmentation",
            {"images": ("photo", 0), "model": "u2netp", "alpha_matting": "true", "trimap": "auto"},
        ),
        "look": Node("MaskwrightPreviewCutout", {"image": ("cut", 0)}),
        "save": Node("SaveImage", {"images": ("cut", 0), "filename_prefix": "cutout"}),
    },
    "select with IS-Net": {
        "photo": _PHOTO,
        "segment": Node("ISNetSegment", {"images": ("photo", 0), "threshold": 0.5}),
        "look": Node("MaskwrightPreviewCutout", {"image": ("segment", 0)}),
    },
    "mask a face": {
        "photo": _PHOTO,
        "person": Node("APersonMaskGenerator", {"images": ("photo", 0), "face_mask": True, "hair_mask": True}),
        "feather": Node("MaskwrightFeatherMask", {"mask": ("person", 0), "pixels": 6.0, "side": "outside"}),
        "look": Node("MaskwrightPreviewCutout", {"image": ("photo", 0), "mask": ("feather", 0)}),
    },
    "parts of a person": {
        "photo": _PHOTO,
        "parts": Node("MaskwrightPersonParts", {"image": ("photo", 0)}),
        "clothes": Node("MaskToImage", {"mask": ("parts", 3)}),
        "look": Node("PreviewImage", {"images": ("clothes", 0)}),
        "hair": Node("MaskToImage", {"mask": ("parts", 1)}),
        "look too": Node("PreviewImage", {"images": ("hair", 0)}),
    },
    "segment an anime face": {
        "photo": _PHOTO,
        "anime": Node("AnimeFace_SemSegPreprocessor", {"image": ("photo", 0)}),
        "look": Node("PreviewImage", {"images": ("anime", 0)}),
        "character": Node("MaskToImage", {"mask": ("anime", 1)}),
        "look too": Node("PreviewImage", {"images": ("character", 0)}),
    },
    "crop to a subject and paste back": {
        "photo": _PHOTO,
        "model": Node("MaskwrightLoadModel", {"model": "u2netp"}),
        "segment": Node("MaskwrightSegment", {"image": ("photo", 0), "segmenter": ("model", 0)}),
        "clean": Node("MaskwrightRemoveIslands", {"mask": ("segment", 0), "keep_largest": True}),
        "grow": Node("MaskwrightGrowMask", {"mask": ("clean", 0), "pixels": 4.0}),
        "crop": Node("MaskwrightCropToMask", {"image": ("photo", 0), "mask": ("grow", 0), "padding": 16}),
        "paste": Node(
            "MaskwrightPasteCrop",
            {"image": ("photo", 0), "crop": ("crop", 0), "region": ("crop", 2), "mask": ("crop", 1)},
        ),
        "look": Node("PreviewImage", {"images": ("crop", 0)}),
        "save": Node("SaveImage", {"images": ("paste", 0), "filename_prefix": "pasted"}),
    },
    "work on a mask": {
        "photo": _PHOTO,
        "model": Node("MaskwrightLoadModel", {"model": "u2netp"}),
        "segment": Node("MaskwrightSegment", {"image": ("photo", 0), "segmenter": ("model", 0)}),
        "threshold": Node("MaskwrightThresholdMask", {"mask": ("segment", 0), "level": 0.5}),
        "holes": Node("MaskwrightFillHoles", {"mask": ("threshold", 0), "area": 2000}),
        "smooth": Node("MaskwrightSmoothMask", {"mask": ("holes", 0), "pixels": 3.0}),
        "grow": Node("MaskwrightGrowMask", {"mask": ("smooth", 0), "pixels": 12.0}),
        "rim": Node("MaskwrightCombineMasks", {"a": ("grow", 0), "b": ("smooth", 0), "how": "subtract"}),
        "feather": Node("MaskwrightFeatherMask", {"mask": ("rim", 0), "pixels": 4.0}),
        "look": Node("MaskwrightPreviewCutout", {"image": ("photo", 0), "mask": ("feather", 0)}),
    },
    "cut out with any model": {
        "photo": _PHOTO,
        "model": Node("MaskwrightLoadModel", {"model": "u2netp"}),
        "cut": Node(
            "MaskwrightCutOut",
            {"image": ("photo", 0), "segmenter": ("model", 0), "alpha_matting": True, "keep_largest": True},
        ),
        "look": Node("MaskwrightPreviewCutout", {"image": ("cut", 0)}),
        "save": Node("SaveImage", {"images": ("cut", 0), "filename_prefix": "cutout"}),
    },
    "load an IS-Net": {
        "photo": _PHOTO,
        "model": Node("ISNetLoader", {"model_name": "random.pth"}),
        "segment": Node("ISNetSegment", {"images": ("photo", 0), "isnet_model": ("model", 0), "soft": True}),
        "look": Node("MaskwrightPreviewCutout", {"image": ("segment", 0)}),
    },
    "exact edges": {
        "photo": _PHOTO,
        "model": Node("MaskwrightLoadModel", {"model": "u2netp"}),
        "segment": Node("MaskwrightSegment", {"image": ("photo", 0), "segmenter": ("model", 0)}),
        "trimap": Node("MaskwrightMakeTrimap", {"mask": ("segment", 0), "erode_size": 6}),
        "matting": Node("MaskwrightAlphaMatting", {"image": ("photo", 0), "trimap": ("trimap", 0)}),
        "colours": Node("MaskwrightForegroundColors", {"image": ("photo", 0), "alpha": ("matting", 0)}),
        "look": Node("MaskwrightPreviewCutout", {"image": ("colours", 1)}),
    },
    "segments of people": {
        "photo": _PHOTO,
        "parts": Node("MaskwrightPersonSEGS", {"image": ("photo", 0), "parts": "face, hair"}),
        "model": Node("MaskwrightLoadModel", {"model": "u2netp"}),
        "subject": Node("MaskwrightSubjectSEGS", {"image": ("photo", 0), "segmenter": ("model", 0)}),
        "without": Node("MaskwrightIntersectSEGS", {"segs": ("subject", 0), "how": "subtract", "others": ("parts", 0)}),
        "all": Node("MaskwrightCombineSEGS", {"a": ("parts", 0), "b": ("without", 0)}),
        "large": Node("MaskwrightFilterSEGS", {"segs": ("all", 0), "by": "height", "low": 48.0}),
        "first": Node("MaskwrightOrderSEGS", {"segs": ("large", 0), "by": "area", "count": 4}),
        "draw": Node("MaskwrightDrawSEGS", {"image": ("photo", 0), "segs": ("first", 0)}),
        "masks": Node("MaskwrightSEGSToMasks", {"segs": ("first", 0)}),
        "gray": Node("MaskToImage", {"mask": ("masks", 1)}),
        "look": Node("PreviewImage", {"images": ("gray", 0)}),
    },
    "paste into segments": {
        "photo": _PHOTO,
        "person": Node("APersonMaskGenerator", {"images": ("photo", 0), "face_mask": False, "clothes_mask": True}),
        "segs": Node("MaskToSEGS", {"mask": ("person", 0), "crop_factor": 1.5, "drop_size": 32}),
        "other": Node("ImageInvert", {"image": ("photo", 0)}),
        "paste": Node("SEGSPaste", {"image": ("photo", 0), "segs": ("segs", 0), "ref_image_opt": ("other", 0)}),
        "save": Node("SaveImage", {"images": ("paste", 0), "filename_prefix": "pasted"}),
        "look": Node("SEGSPreview", {"segs": ("segs", 0), "fallback_image_opt": ("photo", 0)}),
        "mask": Node("SegsToCombinedMask", {"segs": ("segs", 0)}),
        "gray": Node("MaskToImage", {"mask": ("mask", 0)}),
        "look too": Node("PreviewImage", {"images": ("gray", 0)}),
    },
    "follow a subject": {
        **_FILM,
        "person": Node("APersonMaskGenerator", {"images": ("film", 0), "face_mask": True, "hair_mask": True}),
        "track": Node("MaskwrightTrackSubject", {"mask": ("person", 0), "smoothing": 1.0}),
        "draw": Node("MaskwrightDrawSEGS", {"image": ("film", 0), "segs": ("track", 0)}),
        "crops": Node("MaskwrightSEGSToImages", {"segs": ("track", 0), "image": ("film", 0)}),
        "look": Node("PreviewImage", {"images": ("crops", 0)}),
    },
    "keep segments in a file": {
        **_FILM,
        "person": Node("APersonMaskGenerator", {"images": ("film", 0), "face_mask": True, "hair_mask": True}),
        "segs": Node("MaskToSEGS_for_AnimateDiff", {"mask": ("person", 0), "drop_size": 24}),
        "grow": Node("MaskwrightGrowSEGS", {"segs": ("segs", 0), "pixels": 6.0}),
        "save": Node("MaskwrightSaveSEGS", {"segs": ("grow", 0), "filename_prefix": "segs/heads"}),
        "load": Node("MaskwrightLoadSEGS", {"file": ("save", 1)}),
        "draw": Node("MaskwrightDrawSEGS", {"image": ("film", 0), "segs": ("load", 0)}),
    },
    "redraw faces in a film": {
        **_FILM,
        **_PIPE,
        "person": Node("APersonMaskGenerator", {"images": ("film", 0)}),
        "segs": Node("MaskToSEGS_for_AnimateDiff", {"mask": ("person", 0), "crop_factor": 2.0}),
        "detailer": Node(
            "SEGSDetailerForAnimateDiff",
            {"image_frames": ("film", 0), **_REDRAW, "refiner_basic_pipe_opt": ("pipe", 0), "noise_mask_feather": 8},
        ),
        "paste": Node("SEGSPaste", {"image": ("film", 0), "segs": ("detailer", 0)}),
        "look": Node("PreviewImage", {"images": ("paste", 0)}),
    },
    "redraw with a ControlNet": {
        **_FILM,
        **_PIPE,
        "person": Node("APersonMaskGenerator", {"images": ("film", 0)}),
        "segs to control": Node("MaskToSEGS_for_AnimateDiff", {"mask": ("person", 0), "crop_factor": 2.0}),
        "net": Node("ControlNetLoader", {}),
        "segs": Node("ImpactControlNetApplySEGS", {"segs": ("segs to control", 0), "control_net": ("net", 0)}),
        "schedule": Node("MaskwrightMakeSchedule", {"schedule": "AYS SD1"}),
        "redraw": Node(
            "MaskwrightDetailAndPaste",
            {"image_frames": ("film", 0), **_REDRAW, "scheduler_func_opt": ("schedule", 0)},
        ),
        "look": Node("PreviewImage", {"images": ("redraw", 0)}),
        "what it was shown": Node("PreviewImage", {"images": ("redraw", 1)}),
    },
    "segments of an anime face": {
        "photo": _PHOTO,
        "anime": Node("MaskwrightAnimeSEGS", {"image": ("photo", 0), "parts": "hair, face, eye", "threshold": 0.1}),
        "draw": Node("MaskwrightDrawSEGS", {"image": ("photo", 0), "segs": ("anime", 0)}),
    },
}


def describe(kind: str) -> tuple[dict[str, tuple[Any, Any]], tuple[tuple[str, str], ...]]:
    """A node's inputs in their order, each with its type and default, and its outputs as (name, type)."""
    if kind in _CORE:
        return _CORE[kind]
    node = importlib.import_module("maskwright.comfyui").NODE_CLASS_MAPPINGS[kind]
    declared = node.INPUT_TYPES()
    inputs = {}
    for section in ("required", "optional"):
        for name, (type_, options) in declared.get(section, {}).items():
            default = options.get("default", type_[0] if isinstance(type_, list) and type_ else None)
            inputs[name] = ("COMBO" if isinstance(type_, list) else type_, default)
    return inputs, tuple(zip(node.RETURN_NAMES, node.RETURN_TYPES, strict=True))


def make_workflow(nodes: dict[str, Node]) -> dict[str, Any]:
    """A workflow as ComfyUI's page saves it."""
    numbers = {name: number for number, name in enumerate(nodes, start=1)}
    links: list[list[Any]] = []
    made = []
    for name, node in nodes.items():
        inputs, outputs = describe(node.kind)
        unknown = set(node.inputs) - set(inputs)
        if unknown:
            raise SystemExit(f"{node.kind} has no input {', '.join(sorted(unknown))}")
        slots, widgets = [], []
        for key, (type_, default) in inputs.items():
            slot = {"name": key, "type": type_, "link": None}
            given = node.inputs.get(key)
            if type_ in _WIDGETS or type_ == "COMBO":
                linked = isinstance(given, tuple)
                widgets.append(default if given is None or linked else given)
                if key == "seed":
                    widgets.append("fixed")  # the page's own widget: what happens to the seed after a run
                if not linked:
                    continue
                slot["widget"] = {"name": key}
            if given is not None:
                origin, output = given
                slot["link"] = len(links) + 1
                links.append([slot["link"], numbers[origin], output, numbers[name], len(slots), type_])
            slots.append(slot)
        if node.kind == "LoadImage":
            widgets.append("image")  # the page's upload button
        made.append(_node(numbers[name], node.kind, slots, outputs, widgets))
    _connect(made, links)
    return {
        "last_node_id": len(made),
        "last_link_id": len(links),
        "nodes": made,
        "links": links,
        "groups": [],
        "config": {},
        "extra": {},
        "version": 0.4,
    }


def _node(number: int, kind: str, slots: list[Any], outputs: Any, widgets: list[Any]) -> dict[str, Any]:
    column, row = (number - 1) % 4, (number - 1) // 4
    height = 80 + 26 * (len(widgets) + max(len(slots), len(outputs)))
    return {
        "id": number,
        "type": kind,
        "pos": [_COLUMN * column, (360 + _ROW) * row],
        "size": [360, min(height, 400)],
        "flags": {},
        "order": number - 1,
        "mode": 0,
        "inputs": slots,
        "outputs": [{"name": name, "type": type_, "links": []} for name, type_ in outputs],
        "properties": {"Node name for S&R": kind},
        "widgets_values": widgets,
    }


def _connect(made: list[dict[str, Any]], links: list[list[Any]]) -> None:
    """Enter each link at the output it starts from."""
    for number, origin, output, *_ in links:
        made[origin - 1]["outputs"][output]["links"].append(number)


def make_files() -> dict[Path, str]:
    """Every workflow file with its text."""
    return {
        FOLDER / f"{name}.json": json.dumps(make_workflow(nodes), indent=1, ensure_ascii=False) + "\n"
        for name, nodes in WORKFLOWS.items()
    }


def main() -> int:
    """Write the workflows, or say which are stale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    files = make_files()
    stale = [path for path, text in files.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    stale += [path for path in FOLDER.glob("*.json") if path not in files]
    for path in [] if check else stale:
        if path not in files:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path], encoding="utf-8", newline="\n")
    print("\n".join(f"stale: {path.relative_to(ROOT)}" for path in stale) if check and stale else "done")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
