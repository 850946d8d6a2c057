"""Our models as detectors: segments of people's parts, of anime faces, or of what any model of the catalog finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..anime import PALETTE, AnimeSegmenter
from ..detail.producers import segs_from_results
from ..detail.segs import dilate_segs
from ..person import PARTS, PersonOptions
from ..segmenters import Segmenter
from ..types import AnyArray, SegmentResult
from .convert import SegsValue, image_to_arrays, make_empty_mask, segs_to_value
from .host import each, open_node_segmenter
from .inputs import DOWNLOAD, Declaration, choice, fraction, pixels, socket, switch, text
from .person_nodes import PERSON_MODELS, open_node_person
from .segs_nodes import declare_crop_factor, declare_drop_size
from .segs_work_nodes import split_names

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["AnimeSegs", "PersonSegs", "SubjectSegs"]

_IMAGE = socket("IMAGE", "The pictures, or the frames of a film.")
_CHARACTER = "character"


class _Detector:
    """A node that gives segments of what a model finds."""

    CATEGORY = "Maskwright/segs"
    FUNCTION = "run"
    RETURN_TYPES = ("SEGS", "SEGS")
    RETURN_NAMES = ("segs", "each")
    OUTPUT_IS_LIST = (False, True)
    OUTPUT_TOOLTIPS = (
        "A film's: a segment for each thing, with a mask for each frame.",
        "A list: the segments of each picture for itself.",
    )


def _tuning(threshold: float) -> dict[str, Declaration]:
    """The inputs all detectors have."""
    return {
        "threshold": fraction(threshold, "Below it a pixel is not selected; above, it keeps its value."),
        "dilation": pixels(0.0, "How far the mask grows; negative shrinks it.", low=-16384.0),
        "crop_factor": declare_crop_factor(3.0),
        "drop_size": declare_drop_size(),
    }


def _detect(
    image: Tensor,
    find: Callable[[AnyArray], SegmentResult],
    parts: Sequence[str] | None,
    *segmenters: Segmenter | None,
    threshold: float,
    dilation: float,
    crop_factor: float,
    drop_size: int,
) -> tuple[SegsValue, list[SegsValue]]:
    """The segments of a film, and of each picture for itself."""

    def segments(results: list[SegmentResult]) -> SegsValue:
        found = segs_from_results(
            results, parts=parts, threshold=threshold, crop_factor=crop_factor, drop_size=drop_size
        )
        return segs_to_value(dilate_segs(found, dilation) if dilation else found)

    results, single = [], []
    for picture in each(image_to_arrays(image), len(image), *segmenters):
        found = find(picture)
        single.append(segments([found]))
        results.append(_only(found, parts))
    return segments(results), single


def _only(result: SegmentResult, parts: Sequence[str] | None) -> SegmentResult:
    """What is needed of a result: it is kept until the film is through."""
    return replace(result, masks={part: result.masks[part] for part in parts or ()}, labels=None, probabilities={})


def _make_empty(image: Tensor) -> tuple[SegsValue, list[SegsValue]]:
    height, width = make_empty_mask(image).shape[1:]
    empty: SegsValue = ((int(height), int(width)), [])
    return empty, [empty]


class SubjectSegs(_Detector):
    """What a loaded model selects, as segments."""

    DESCRIPTION = "Makes segments of what a model selects: of its subject, or of parts where it tells parts apart."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        return {
            "required": {
                "image": _IMAGE,
                "segmenter": socket("MaskwrightSegmenter", "The model, from Load Model."),
                **_tuning(0.5),
            },
            "optional": {
                "parts": text("", "Parts the model tells apart, with commas between; empty: the subject as a whole.")
            },
        }

    def run(
        self, image: Tensor, segmenter: Segmenter, parts: str = "", **tuning: Any
    ) -> tuple[SegsValue, list[SegsValue]]:
        """The segments."""
        if not len(image):
            return _make_empty(image)
        return _detect(image, segmenter, split_names(parts) or None, segmenter, **tuning)


class PersonSegs(_Detector):
    """Parts of people as segments."""

    DESCRIPTION = "Finds parts of people, and makes a segment of each: of every face, of all hair that hangs together."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        return {
            "required": {
                "image": _IMAGE,
                "parts": text("face", f"With commas between: {', '.join(PARTS)}."),
                **_tuning(0.4),
            },
            "optional": {
                "refine": switch(True, "Look again at crops around what was found, for finer edges."),
                "model": choice(PERSON_MODELS, "What tells the parts apart. auto: the best that is on this machine."),
                "download": DOWNLOAD,
            },
        }

    def run(
        self,
        image: Tensor,
        parts: str = "face",
        refine: bool = True,
        model: str = "auto",
        download: bool = False,
        **tuning: Any,
    ) -> tuple[SegsValue, list[SegsValue]]:
        """The segments."""
        options = PersonOptions(split_names(parts), soft=True, refine=refine)
        if not len(image):
            return _make_empty(image)
        segmenter = open_node_person(model, False, download)
        return _detect(image, lambda picture: segmenter(picture, options), options.parts, **tuning)


class AnimeSegs(_Detector):
    """Parts of anime faces as segments."""

    DESCRIPTION = "Finds parts of anime faces, or the whole character, and makes a segment of each."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        return {
            "required": {
                "image": _IMAGE,
                "parts": text("face", f"With commas between: {', '.join((*PALETTE, _CHARACTER))}."),
                **_tuning(0.5),
            },
            "optional": {
                "remove_background": switch(True, "Find the character first, and look at it on white."),
                "download": DOWNLOAD,
            },
        }

    def run(
        self,
        image: Tensor,
        parts: str = "face",
        remove_background: bool = True,
        download: bool = False,
        **tuning: Any,
    ) -> tuple[SegsValue, list[SegsValue]]:
        """The segments."""
        if not len(image):
            return _make_empty(image)
        wanted = split_names(parts) or ("",)
        character: Segmenter | None = None
        if remove_background or _CHARACTER in wanted:
            character = open_node_segmenter("isnet-anime", download=download)
        face = open_node_segmenter("anime-face", download=download)
        segmenter = AnimeSegmenter(face, character if remove_background else None)

        def find(picture: AnyArray) -> SegmentResult:
            found = segmenter(picture, size="picture")
            if character is None:
                return found
            mask = found.mask if remove_background else character(picture).mask
            return replace(found, masks={**found.masks, _CHARACTER: mask})

        return _detect(image, find, wanted, face, character, **tuning)
