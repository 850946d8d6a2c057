"""What can be asked of a picture: for each kind of work its fields, and what is done with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias

import numpy as np

from ..anime import color_labels
from ..cutout_options import CutoutOptions
from ..encode import encode_picture
from ..errors import OptionError
from ..finish import choose_region
from ..geometry import crop
from ..imageio import LoadedImage, load_image, load_mask, save_mask
from ..person import PersonOptions, usual_parts
from ..pipeline import cut_with, make_cutout, shape_mask
from ..refine.masks import combine
from ..types import FloatArray, Provenance, SegmentResult, check_same_size
from .answers import Result
from .fields import FormField, flag_field, form_fields, parse_extras, text_field
from .sessions import Sessions

__all__ = ["TASKS", "Form", "Task", "Work"]


@dataclass(frozen=True)
class Form:
    """What a caller sent besides the picture itself.

    Attributes:
        values: The fields that were given, by their long names.
        files: Further files by the names of their fields, each in the order they came.
        max_pixels: The largest picture that is decoded.
        model: The model for callers who name none.
    """

    values: Mapping[str, Any]
    max_pixels: int
    model: str
    files: Mapping[str, Sequence[bytes]] = field(default_factory=dict)


Work: TypeAlias = Callable[[Sessions, bytes], Result]


@dataclass(frozen=True)
class Task:
    """One kind of work.

    Attributes:
        name: The last part of its path below `/api`.
        summary: What it does, one line.
        picture: What the field `file` holds.
        fields: Its fields by their names.
        files: Fields that hold a further file, and what it is.
        plan: Checks the fields and gives the work to be done, before anything is computed.
    """

    name: str
    summary: str
    picture: str
    fields: Mapping[str, FormField]
    files: Mapping[str, str]
    plan: Callable[[Form], Work]


def _by_name(*groups: Sequence[FormField]) -> dict[str, FormField]:
    return {each.name: each for group in groups for each in group}


# --- remove -----------------------------------------------------------------------------------------------------------


def _plan_remove(form: Form) -> Work:
    values = dict(form.values)
    model = values.pop("model", form.model)
    if values.pop("vm", False):
        raise OptionError("vm (ViTMatte) is not in this version", hint="the nearest way is a, alpha matting")
    if "extras" in values:
        part = parse_extras(values.pop("extras"))
        values |= {"part": part} if part is not None else {}
    pictures = {name: given[-1] for name, given in form.files.items()}
    options = _cutout_options(values, has_picture="background" in pictures)

    def work(sessions: Sessions, data: bytes) -> Result:
        loaded = load_image(data, max_pixels=form.max_pixels, keep_gps=options.keep_gps)
        chosen = options
        if "background" in pictures:
            values["background"] = load_image(pictures["background"], max_pixels=form.max_pixels)
            chosen = CutoutOptions(**values)
        if "mask" in pictures:
            cut = make_cutout(loaded, _given_mask(pictures["mask"], loaded, form.max_pixels), chosen)
        else:
            cut = cut_with(sessions.cutter(model, compat=chosen.compat), loaded, chosen)
        return Result(
            encode=cut.to_bytes,
            masks=dict(cut.masks) or {"mask": cut.alpha},
            jpeg=chosen.fills_frame,
            provenance=cut.provenance,
            crop_region=cut.crop_region,
            notes=cut.notes,
        )

    return work


def _cutout_options(values: Mapping[str, Any], *, has_picture: bool) -> CutoutOptions:
    """The options, checked before a picture is decoded; a background picture is stood in for by a colour."""
    if has_picture and "background" in values:
        raise OptionError("background", expected="a colour, a blur or a file", got="two of them", hint="leave one out")
    return CutoutOptions(**{**values, "background": "white"} if has_picture else values)


def _given_mask(data: bytes, loaded: LoadedImage, max_pixels: int) -> SegmentResult:
    """A mask of the caller's own, as if a network had found it."""
    mask = load_mask(data, max_pixels=max_pixels)
    check_same_size(loaded.image, mask, ("file", "mask"))
    return SegmentResult(mask=mask, provenance=Provenance(model="given mask"))


_MODEL = text_field("model", "A name of the catalog, see GET /api/models.")

_REMOVE = Task(
    name="remove",
    summary="Remove the background of a picture",
    picture="The picture.",
    fields=_by_name(
        [_MODEL],
        form_fields(fields(CutoutOptions)),
        [
            flag_field("vm", "rembg's ViTMatte, which is not here: true is refused."),
            text_field("extras", "rembg's extras as JSON: only cc, the garment of a model of clothes."),
        ],
    ),
    files={
        "mask": "A mask to use instead of the network's: gray, or the alpha of a cut-out, in the picture's size.",
        "background": "A picture to put under the cut-out.",
    },
    plan=_plan_remove,
)


# --- person -----------------------------------------------------------------------------------------------------------


def _plan_person(form: Form) -> Work:
    values = dict(form.values)
    model, compat, cutout = (values.pop(name, default) for name, default in _PERSON_REST.items())
    values.setdefault("parts", usual_parts(model))
    options = PersonOptions(**values)

    def work(sessions: Sessions, data: bytes) -> Result:
        loaded = load_image(data, max_pixels=form.max_pixels)
        found = sessions.person(model, compat=compat)(loaded, options)
        if cutout:
            cut = make_cutout(loaded, found, CutoutOptions())
            return Result(cut.to_bytes, found.masks, jpeg=False, provenance=found.provenance, notes=cut.notes)
        return _mask_result(found.mask, found.masks, found.provenance, notes=loaded.notes)

    return work


def _mask_result(
    mask: FloatArray, masks: Mapping[str, FloatArray], provenance: Provenance | None, **rest: Any
) -> Result:
    """A gray picture."""
    return Result(lambda format_: save_mask(mask, format=format_), masks, True, provenance, **rest)


_PERSON_REST: dict[str, Any] = {"model": None, "compat": False, "cutout": False}

_PERSON = Task(
    name="person",
    summary="Select parts of the people in a picture",
    picture="The picture.",
    fields=_by_name(
        [text_field("model", "A model for parts; silhouette, or the name of a saliency model, for the whole person.")],
        form_fields(fields(PersonOptions)),
        [
            flag_field("compat", "Treat transparency and refine as the original node does."),
            flag_field("cutout", "Answer with the picture, cut out by the mask, instead of the mask."),
        ],
    ),
    files={},
    plan=_plan_person,
)


# --- anime ------------------------------------------------------------------------------------------------------------


def _plan_anime(form: Form) -> Work:
    values = form.values
    keep, compat = values.get("keep_background", False), values.get("compat", False)
    size, answer = values.get("size"), values.get("answer", "colors")

    def work(sessions: Sessions, data: bytes) -> Result:
        loaded = load_image(data, max_pixels=form.max_pixels)
        segmenter = sessions.anime(remove_background=not keep, compat=compat)
        found = segmenter(loaded, size=size)
        labels = np.asarray(found.labels)
        masks = {name: (labels == index).astype(np.float32) for index, name in enumerate(found.label_names)}
        if answer == "mask":
            return _mask_result(found.mask, {**masks, "mask": found.mask}, found.provenance, notes=loaded.notes)
        pixels = labels.astype(np.uint8) if answer == "labels" else color_labels(labels)
        return Result(  # no JPEG: it would hold colours of no class
            encode=lambda format_: encode_picture(pixels, format_),
            masks={**masks, "mask": found.mask},
            jpeg=False,
            provenance=found.provenance,
            notes=loaded.notes,
        )

    return work


_ANIME = Task(
    name="anime",
    summary="Draw the parts of an anime face, each in its colour",
    picture="The picture.",
    fields=_by_name(
        [
            flag_field("keep_background", "Show the face network the picture as it is."),
            text_field("size", "Results in the picture's size, or in the network's.", enum=["picture", "network"]),
            text_field(
                "answer",
                "What a picture shows: each class in its colour, the index of each class, or the character's mask.",
                enum=["colors", "labels", "mask"],
                default="colors",
            ),
            flag_field("compat", "Give the numbers of the ControlNet preprocessor."),
        ]
    ),
    files={},
    plan=_plan_anime,
)


# --- mask -------------------------------------------------------------------------------------------------------------

_COMBINATIONS = {  # in the order in which they are done
    "union": "A mask to add. May be repeated.",
    "intersect": "A mask: only what is selected in it too is kept. May be repeated.",
    "subtract": "A mask to take away. May be repeated.",
    "xor": "A mask: what is selected in one of the two only is kept. May be repeated.",
}


def _plan_mask(form: Form) -> Work:
    options = CutoutOptions(**form.values)

    def work(_: Sessions, data: bytes) -> Result:
        mask = load_mask(data, max_pixels=form.max_pixels)
        for how in _COMBINATIONS:
            for other in form.files.get(how, ()):
                mask = combine(mask, load_mask(other, max_pixels=form.max_pixels), how)  # type: ignore[arg-type]
        shaped = shape_mask(mask, options)
        region = choose_region(shaped, options) if options.crop else None
        if region is not None:
            shaped = crop(shaped, region)
        return _mask_result(shaped, {"mask": shaped}, None, crop_region=region)

    return work


_MASK = Task(
    name="mask",
    summary="Work on a mask",
    picture="The mask: a gray picture, or the transparency of a cut-out.",
    fields=_by_name(
        form_fields(
            each for each in fields(CutoutOptions) if each.metadata["group"] == "mask" or each.name.startswith("crop")
        )
    ),
    files=_COMBINATIONS,
    plan=_plan_mask,
)

TASKS = {task.name: task for task in (_REMOVE, _PERSON, _ANIME, _MASK)}
