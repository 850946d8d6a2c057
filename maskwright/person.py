"""The parts of a person: face, hair, body, clothes, background, accessories."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from os import PathLike
from types import TracebackType
from typing import Literal, get_args

import numpy as np

from .errors import OptionError, WeightsMissing
from .imageio import ImageSource
from .models.card import ModelCard
from .models.catalog import find_card
from .models.store import Store, default_store
from .options import check_options, describe_options, option
from .refine.islands import find_islands
from .refine.skin import split_skin
from .segmenters import PartsSegmenter, SaliencySegmenter, Segmenter, open_segmenter
from .segmenters.probabilities import PatchedProbabilities, Probabilities
from .segmenters.saliency import SILHOUETTE_LABELS
from .tiles import Patch, pad_box, plan_crops, plan_tiles
from .types import AnyArray, FloatArray, SegmentResult

__all__ = ["PARTS", "SILHOUETTE", "PersonOptions", "PersonSegmenter", "open_person", "person_mask", "usual_parts"]

Combine = Literal["max", "sum"]
_Finder = PartsSegmenter | SaliencySegmenter

PARTS = ("face", "hair", "body", "clothes", "background", "accessories", "person")
SILHOUETTE = "silhouette"  # a name of no model, but of the best here that finds whole people
_PARTS_MODELS = ("selfie-multiclass", "maskwright-parts")  # in the order of preference
_SILHOUETTES = ("u2net_human_seg", "u2netp")  # the first whose weights are here, else the last
_SKIN = ("face", "body")  # parts that some models have as one class
_SPECK = 2e-4  # of the picture: no crop is made for less
_CROPS = 16  # crops of one picture
_LEAST_TILE = 256  # pixels: the network sees no more


@describe_options
@dataclass(frozen=True)
class PersonOptions:
    """What to find of a person, and how. The names are the command line's long flags.

    Raises:
        OptionError: A value outside its range, no part, or one that does not exist.
    """

    parts: tuple[str, ...] = option(
        ("face",),
        "Which parts: face, hair, body (skin that is not face), clothes, background, accessories, or person (all but "
        "the background).",
        group="parts",
    )
    confidence: float = option(
        0.4,
        "Select a pixel where a part is more probable than this; at 1 nothing is, at 0 all that is not impossible.",
        group="parts",
        low=0,
        high=1,
    )
    soft: bool = option(False, "Give probabilities instead of a hard mask; confidence is then not used.", group="parts")
    combine: str = option(
        "max",
        "How several parts become one mask: max selects what is any of them, sum what is probably one of them, even "
        "if it is not clear which.",
        group="parts",
        choices=get_args(Combine),
    )
    refine: bool = option(
        False,
        "Look again at crops around what was found, one for each person or group, for finer edges.",
        group="looks",
    )
    tiles: int = option(
        0,
        "Also look at squares of this side, so that small people in a large picture are found: 0 for none, 1024 suits "
        "most.",
        group="looks",
        unit="pixels",
        low=0,
    )
    antialias: bool = option(
        False,
        "Smooth the picture before it is shrunk for the network, and place the result by pixel centres. MediaPipe does "
        "neither, and its mask of a large picture lies off by half a pixel of the network.",
        group="looks",
    )

    def __post_init__(self) -> None:
        if not self.parts or not set(self.parts) <= set(PARTS):
            raise OptionError(
                "parts",
                expected=f"one or more of {', '.join(PARTS)}",
                got=repr(self.parts),
                hint='several are given as ("face", "hair")',
            )
        check_options(self)
        if 0 < self.tiles < _LEAST_TILE:
            raise OptionError(
                "tiles", expected=f"0, or {_LEAST_TILE} or more", got=repr(self.tiles), hint="1024 suits most"
            )


def person_mask(
    image: ImageSource,
    *,
    parts: Sequence[str] = ("face",),
    confidence: float = 0.4,
    soft: bool = False,
    model: str | PersonSegmenter | None = None,
    device: str = "auto",
) -> SegmentResult:
    """The parts of the people in a picture. `open_person` gives more options, and keeps the model open.

    Args:
        image: A path, bytes, a PIL image, or an array (uint8, uint16 or float in [0, 1]; (H, W), (H, W, 1),
            (H, W, 3) or (H, W, 4)).
        parts: As `PersonOptions` says.
        confidence: As there.
        soft: As there.
        model: As `open_person` says, or what it gave.
        device: Where the network runs, when `model` is a name.

    Returns:
        `mask`, the union of the parts; `masks`, each of them; `labels` and `label_names`, the model's class of each
        pixel; `probabilities`; and in `provenance` which model it was.

    Raises:
        InputError, MediaError: It is not a picture, or an option is wrong.
        ModelError, EngineError: No weights, a model that does not know a part, or no runtime.
    """
    options = PersonOptions((parts,) if isinstance(parts, str) else tuple(parts), confidence, soft)
    if isinstance(model, PersonSegmenter):
        return model(image, options)
    with open_person(model, device=device) as segmenter:
        return segmenter(image, options)


def open_person(
    model: str | None = None,
    *,
    weights: str | PathLike[str] | None = None,
    device: str = "auto",
    compat: bool = False,
    store: Store | None = None,
    threads: int | None = None,
) -> PersonSegmenter:
    """A model for the parts of a person, ready to use.

    Args:
        model: A model for parts; `silhouette`, or the name of a saliency or matting model, for the whole person and
            the background alone. None: a model for parts whose weights are here.
        weights: Your own file, treated like the model's.
        device: Where the network runs.
        compat: Show the network what is hidden under transparent pixels; refine as the original does, with one crop.
        store: Where to look for weights; None: the store of this machine.
        threads: As for `open_segmenter`.

    Raises:
        OptionError: A model of another kind.
        ModelError, EngineError: No weights, or no runtime.
    """
    store = store or default_store()
    card = _choose_model(model, store, own=weights is not None)
    segmenter = open_segmenter(card.name, weights=weights, device=device, compat=compat, store=store, threads=threads)
    return PersonSegmenter(segmenter)


def usual_parts(model: str | None) -> tuple[str, ...]:
    """The parts for those who name none: the face, or the person where a model knows no other.

    >>> usual_parts("silhouette")
    ('person',)

    Args:
        model: As for `open_person`.

    Raises:
        UnknownModel: No such row.
    """
    whole = model is not None and (model == SILHOUETTE or find_card(model).family != "parts")
    return ("person",) if whole else ("face",)


def _choose_model(model: str | None, store: Store, *, own: bool) -> ModelCard:
    """The row to use.

    Raises:
        WeightsMissing: None was named, and the weights of none are here.
        OptionError: One that tells other parts apart.
    """
    if model is None:
        cards = [find_card(name) for name in _PARTS_MODELS]
        here = next((card for card in cards if own or _is_here(card, store)), None)
        if here is None:
            raise WeightsMissing(
                "a model for the parts of a person",
                expected=f"in one of {', '.join(map(str, store.folders()))}",
                got="none",
                hint=f"maskwright models fetch {_PARTS_MODELS[0]}, or --model {SILHOUETTE} for the whole person",
            )
        return here
    if model == SILHOUETTE:
        cards = [find_card(name) for name in _SILHOUETTES]
        return next((card for card in cards if _is_here(card, store)), cards[-1])
    card = find_card(model)
    if card.family == "parts" and card.name not in _PARTS_MODELS:
        raise OptionError(
            "model",
            expected=f"one for parts of a person ({', '.join(_PARTS_MODELS)}), {SILHOUETTE}, or a saliency model",
            got=repr(model),
            hint=f"maskwright models info {card.name} says what it finds",
        )
    return card


def _is_here(card: ModelCard, store: Store) -> bool:
    return any(store.find(weights) is not None for weights in card.weights)


class PersonSegmenter:
    """A model for the parts of a person, held open. Safe to share between threads.

    Use it as a context manager, or call `close`.

    Args:
        segmenter: A model for parts of a person, or one whose mask is the whole person.

    Raises:
        OptionError: A segmenter of another kind.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        if not isinstance(segmenter, (PartsSegmenter, SaliencySegmenter)):
            raise OptionError("segmenter", expected="one for parts or a silhouette", got=type(segmenter).__name__)
        self.segmenter = segmenter

    def __call__(self, source: ImageSource, options: PersonOptions | None = None) -> SegmentResult:
        """The parts of the people in one picture.

        Args:
            source: As `image` of `person_mask`.
            options: What to find; None: the face.

        Raises:
            InputError, MediaError: It is not a picture, or an option does not suit the model.
            WeightsMissing: The model does not know one of the parts.
            EngineFailed: The network stopped.
        """
        options = options or PersonOptions()
        segmenter = _smoothed(self.segmenter) if options.antialias else self.segmenter
        self._check(options)
        image = segmenter.view(source)
        found: Probabilities = segmenter.find_probabilities(image)
        if options.tiles:
            found = _with_tiles(segmenter, image, found, options.tiles)
        if options.refine:
            found = _with_crops(segmenter, image, found, options)
        return self._result(found, options)

    def _check(self, options: PersonOptions) -> None:
        """See that the model knows every part, before anything is computed. Never another part than was asked for."""
        labels = self._labels
        unknown = [part for part in options.parts if not _knows(labels, part)]
        if unknown:
            others = [name for name in _PARTS_MODELS if all(_knows(find_card(name).labels, part) for part in unknown)]
            raise WeightsMissing(
                f"model for {', '.join(unknown)}",
                expected="one that knows such parts",
                got=f"{self.segmenter.card.name}, which knows {', '.join(p for p in PARTS if _knows(labels, p))}",
                hint=f"maskwright models fetch {(others or _PARTS_MODELS)[0]}, and leave the model out",
            )
        if options.tiles and not isinstance(self.segmenter, PartsSegmenter):
            raise OptionError(
                "tiles",
                expected="0 with a model that finds whatever stands out",
                got=str(options.tiles),
                hint="in a square without people it finds something else",
            )

    @property
    def _labels(self) -> tuple[str, ...]:
        return self.segmenter.card.labels or SILHOUETTE_LABELS

    def _result(self, found: Probabilities, options: PersonOptions) -> SegmentResult:
        parts = _Parts(found)
        masks: dict[str, FloatArray] = {}
        for part in options.parts:
            masks[part] = parts.probability(part) if options.soft else _as_mask(parts.above(part, options.confidence))
        return SegmentResult(
            mask=_combined(parts, masks, options),
            masks=masks,
            labels=found.winners,  # type: ignore[arg-type]  # computed when it is read
            label_names=self._labels,
            probabilities=found,
            provenance=self.segmenter.provenance,
        )

    def close(self) -> None:
        """Nothing to give back here: engines are shared, see `engines.release_engines`."""

    def __enter__(self) -> PersonSegmenter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Parts:
    """Parts by their names, out of a model's classes."""

    def __init__(self, found: Probabilities) -> None:
        self._found = found
        self._skin: dict[str, FloatArray] = {}

    def probability(self, part: str) -> FloatArray:
        """(H, W) float32: how probable a part is at each pixel."""
        found = self._found
        if part in found:
            return found[part]
        if part == "person":
            return 1 - found["background"]
        if not self._skin:
            self._skin = dict(zip(_SKIN, split_skin(found["skin"], found["hair"]), strict=True))
        return self._skin[part]

    def above(self, part: str, level: float) -> AnyArray:
        """(H, W) bool: where a part is more probable than this."""
        if part in self._found:
            return self._found.above(part, level)
        return _exceeds(self.probability(part), level)

    def selected(self, options: PersonOptions) -> AnyArray:
        """(H, W) bool: where the mask is to be, all parts together."""
        if options.combine == "sum" and len(options.parts) > 1:
            return _exceeds(self.total(options.parts), options.confidence)
        selected = self.above(options.parts[0], options.confidence)
        for part in options.parts[1:]:
            selected = selected | self.above(part, options.confidence)
        return selected

    def total(self, parts: tuple[str, ...]) -> FloatArray:
        """(H, W) float32: how probable any of these parts is; a pixel belongs to one of them at most."""
        total = self.probability(parts[0])
        for part in parts[1:]:
            total += self.probability(part)
        return np.minimum(total, 1, out=total)


def _combined(parts: _Parts, masks: dict[str, FloatArray], options: PersonOptions) -> FloatArray:
    """All parts as one mask."""
    if len(masks) == 1:
        return next(iter(masks.values()))
    if options.combine == "sum":
        return parts.total(options.parts) if options.soft else _as_mask(parts.selected(options))
    union: FloatArray = np.maximum.reduce(list(masks.values()))
    return union


def _exceeds(probability: FloatArray, level: float) -> AnyArray:
    selected: AnyArray = probability > np.float32(level)
    return selected


def _as_mask(selected: AnyArray) -> FloatArray:
    return selected.astype(np.float32)


def _knows(labels: tuple[str, ...], part: str) -> bool:
    """Whether a model with these classes tells this part from the others."""
    if part == "person":
        return "background" in labels
    return part in labels or (part in _SKIN and "skin" in labels)


def _smoothed(segmenter: _Finder) -> _Finder:
    """The same segmenter, which smooths what it shrinks."""
    other = copy(segmenter)
    other.pre = replace(segmenter.pre, kernel="bilinear-antialias")
    return other


def _look_at(segmenter: _Finder, image: AnyArray, patches: list[Patch]) -> list[tuple[Patch, Probabilities]]:
    looked = []
    for patch in patches:
        x1, y1, x2, y2 = patch.bbox
        looked.append((patch, segmenter.find_probabilities(image[y1:y2, x1:x2])))
    return looked


def _with_tiles(segmenter: _Finder, image: AnyArray, found: Probabilities, side: int) -> Probabilities:
    """What the whole picture gives to nobody, the tiles may give to somebody.

    A tile shows small people large enough to be seen. It may also show no more of a person than a piece of cloth, so
    that it has no say where the whole picture shows who is there.
    """
    patches = plan_tiles(found.size_hw, side)
    if not patches:
        return found
    return PatchedProbabilities(found, found.size_hw, _look_at(segmenter, image, patches), share=found["background"])


def _with_crops(segmenter: _Finder, image: AnyArray, found: Probabilities, options: PersonOptions) -> Probabilities:
    """A second look at what was found. The original makes one crop, and forgets what lies outside it."""
    if segmenter.compat:
        selected = _Parts(found).selected(options)
        boxes = find_islands(selected)
        if not boxes:
            return found
        x1, y1, x2, y2 = zip(*boxes, strict=True)
        bbox = pad_box((min(x1), min(y1), max(x2), max(y2)), found.size_hw)
        full = Patch(bbox, np.ones(bbox[3] - bbox[1], np.float32), np.ones(bbox[2] - bbox[0], np.float32))
        return PatchedProbabilities(None, found.size_hw, _look_at(segmenter, image, [full]))
    wanted = tuple(part for part in options.parts if part != "background") or ("person",)
    selected = _Parts(found).selected(replace(options, parts=wanted))
    boxes = find_islands(selected, min_area=max(1, round(_SPECK * selected.size)), most=_CROPS)
    if not boxes:
        return found
    crops = plan_crops(boxes, found.size_hw)
    return PatchedProbabilities(found, found.size_hw, _look_at(segmenter, image, crops))
