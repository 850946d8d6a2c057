"""Anime: the parts of a drawn face, and the character without its background.

Two networks follow each other: IS-Net finds the character, and the face network sees it on white.
"""

from __future__ import annotations

from dataclasses import replace
from os import PathLike
from types import TracebackType
from typing import Any, Literal, get_args

import numpy as np

from .errors import EngineFailed, OptionError, WeightsMissing
from .geometry import fit_placement, place, resize_map
from .imageio import ImageSource, LoadedImage, load_image
from .models.card import ModelCard
from .models.catalog import find_card
from .models.store import Store, default_store
from .segmenters import PartsSegmenter, Segmenter, choose_weights, open_segmenter
from .types import AnyArray, FloatArray, SegmentResult, to_8_bit

__all__ = ["PALETTE", "AnimeSegmenter", "AnimeSize", "anime_face", "color_labels", "open_anime"]

AnimeSize = Literal["picture", "network"]

# Colours (R, G, B) of the map that the ControlNet preprocessor draws.
PALETTE = {
    "background": (255, 255, 0),
    "hair": (0, 0, 255),
    "eye": (255, 0, 0),
    "mouth": (255, 255, 255),
    "face": (0, 255, 0),
    "skin": (0, 255, 255),
    "clothes": (255, 0, 255),
}
_PROGRAM = "controlnet-aux"


def anime_face(
    image: ImageSource,
    *,
    remove_background: bool = True,
    size: AnimeSize | None = None,
    compat: bool = False,
    device: str = "auto",
) -> SegmentResult:
    """The parts of an anime face: background, hair, eye, mouth, face, skin, clothes.

    Args:
        image: A path, bytes, a PIL image, or an array (uint8, uint16 or float in [0, 1]; (H, W), (H, W, 1),
            (H, W, 3) or (H, W, 4)). What is transparent is shown to the networks on white.
        remove_background: Find the character first, and show it to the face network on white.
        size: `picture`: results in the picture's size. `network`: in the face network's, the shorter side at 512 and
            the longer at most 4096. None: `picture`, and `network` with `compat`, which has no other.
        compat: Give the numbers of the ControlNet preprocessor: the character is found in the picture at the face
            network's size instead of 1024×1024, and is cut to 8 bits.
        device: Where the networks run.

    Returns:
        `labels` (H, W) uint8, the winner; `label_names`; `masks`, the probability of each label; `mask`, the
        character, or ones where the background stays. `color_labels` draws the labels.

    Raises:
        InputError, MediaError: It is not a picture, or an option is wrong.
        ModelError, EngineError: No weights, or no runtime.
    """
    with open_anime(remove_background=remove_background, compat=compat, device=device) as segmenter:
        return segmenter(image, size=size)


def color_labels(labels: AnyArray) -> AnyArray:
    """The map of classes in the colours of `PALETTE`.

    >>> color_labels(np.array([[0, 2]], np.uint8)).tolist()
    [[[255, 255, 0], [255, 0, 0]]]

    Args:
        labels: (H, W) integer, indices into `PALETTE`.
    """
    colors: AnyArray = np.array([*PALETTE.values()], np.uint8)[labels]  # (H, W, 3)
    return colors


def open_anime(
    *,
    remove_background: bool = True,
    compat: bool = False,
    device: str = "auto",
    store: Store | None = None,
    weights: str | PathLike[str] | None = None,
    character_weights: str | PathLike[str] | None = None,
    threads: int | None = None,
) -> AnimeSegmenter:
    """Both networks, ready to use.

    Args:
        remove_background: As for `anime_face`.
        compat: As for `anime_face`.
        device: Where the networks run.
        store: Where to look for weights; None: the store of this machine.
        weights: Your own file for the face network.
        character_weights: Your own file for the network that finds the character.
        threads: As for `open_segmenter`.

    Raises:
        ModelError, EngineError: No weights, or no runtime.
        MediaError, OptionError: A file of your own is not there, or of no known kind.
    """
    store = store or default_store()
    wanted = [("anime-face", weights)] + [("isnet-anime", character_weights)] * remove_background
    _check_here([find_card(name) for name, own in wanted if own is None], store)
    common: dict[str, Any] = {"device": device, "store": store, "threads": threads}
    face = open_segmenter("anime-face", weights=weights, compat=compat, **common)
    if not remove_background:
        return AnimeSegmenter(face, None, compat=compat)
    program = _PROGRAM if compat else False
    return AnimeSegmenter(
        face,
        open_segmenter("isnet-anime", weights=character_weights, compat=program, **common),
        compat=compat,
    )


def _check_here(cards: list[ModelCard], store: Store) -> None:
    """Nothing, where all weights are here or can be fetched: a user who must bring files is told of all at once."""
    absent, reasons, otherwise = [], [], ""
    for card in cards:
        weights = choose_weights(card, store)
        plan = store.plan(weights)
        if plan.action == "use":
            continue
        absent.append(weights)
        if plan.action == "missing":
            reasons.append(plan.reason)
        elif card.commercial is False and not store.is_license_accepted(card.name):
            reasons.append(f"the licence of {card.name} was not accepted: {card.license}, see {card.license_url}")
            otherwise = ", or accept the licence with --accept-license, then they are fetched"
    if reasons:
        folder = store.folders()[0]
        raise WeightsMissing(
            f"weights {' and '.join(weights.file for weights in absent)}",
            expected=f"in one of {', '.join(map(str, store.folders()))}",
            got=f"none ({'; '.join(dict.fromkeys(reasons))})",
            hint=f"put {' and '.join(f'{weights.file} at {folder / weights.file}' for weights in absent)}{otherwise}",
        )


class AnimeSegmenter:
    """Both networks, held open. Safe to share between threads; use it as a context manager, or call `close`.

    Args:
        face: The face network, opened with the same `compat`.
        character: The network that finds the character, opened with `compat="controlnet-aux"` where `compat` is
            wanted; None: the background stays.
        compat: As for `anime_face`.

    Raises:
        OptionError: `face` is of another family.
        EngineFailed: With `compat`, a network that takes one size of picture only.
    """

    def __init__(self, face: Segmenter, character: Segmenter | None, *, compat: bool = False) -> None:
        if not isinstance(face, PartsSegmenter) or face.card.labels != tuple(PALETTE):
            raise OptionError("face network", expected="anime-face", got=face.card.name, hint='open "anime-face"')
        if compat and character is not None and character.engine.input_shape[2:] != (None, None):
            raise EngineFailed(
                f"input of {character.card.name}",
                expected="free in size with compat",
                got=str(character.engine.input_shape),
                hint="take its torch weights, isnetis.ckpt, or leave compat out",
            )
        self.face = face
        self.character = character
        self.compat = compat

    def __call__(self, source: ImageSource, *, size: AnimeSize | None = None) -> SegmentResult:
        """What `anime_face` says of one picture.

        Args:
            source: As `image` there.
            size: As there.

        Raises:
            InputError, MediaError: It is not a picture, or there is no such size.
            EngineFailed: A network stopped.
        """
        sizes = ("network",) if self.compat else get_args(AnimeSize)
        size = size or sizes[0]
        if size not in sizes:
            raise OptionError("size", expected=" or ".join(sizes), got=repr(size), hint="leave compat or size out")
        loaded = load_image(source)
        image = _on_white(loaded, cut=self.compat)
        if self.compat:
            return self._find_as_original(image)
        mask = self._find_character(image, loaded)
        seen = image if self.character is None else np.rint(_blend_with_white(image, mask)).astype(np.uint8)
        if size == "picture":
            return self._find_face(seen, mask)
        placement = fit_placement(loaded.size_hw, self.face.pre.size_hw, self.face.pre.fit)
        mask = np.clip(resize_map(mask, placement.box_hw, "bilinear-antialias"), 0, 1)
        return _cropped(self._find_face(place(seen, placement, self.face.pre.kernel), mask), placement.box_hw)

    def _find_face(self, image: AnyArray, mask: FloatArray) -> SegmentResult:
        found = self.face.segment(image)
        return replace(found, mask=mask, masks=dict(found.probabilities))

    def _find_character(self, image: AnyArray, loaded: LoadedImage) -> FloatArray:
        """(H, W) float32; what is transparent in the picture is not the character."""
        if self.character is None:
            return np.ones(image.shape[:2], np.float32)
        mask = self.character.segment(image).mask
        if loaded.alpha is None:
            return mask
        return np.asarray(mask * (to_8_bit(loaded.alpha) / np.float32(255)), np.float32)

    def _find_as_original(self, image: AnyArray) -> SegmentResult:
        """The preprocessor's way: resized and padded first, both networks on that, everything cut to 8 bits."""
        placement = fit_placement(image.shape[:2], self.face.pre.size_hw, self.face.pre.fit)
        padded = place(image, placement, self.face.pre.kernel)
        mask = np.ones(padded.shape[:2], np.float32)
        if self.character is not None:
            mask = self.character.segment(padded).mask
            padded = _blend_with_white(padded, mask).astype(np.uint8)
            mask = (mask * 255).astype(np.uint8) / np.float32(255)
        return _cropped(self._find_face(padded, mask), placement.box_hw)

    def close(self) -> None:
        """Nothing to give back here: engines are shared, see `engines.release_engines`."""

    def __enter__(self) -> AnimeSegmenter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _on_white(loaded: LoadedImage, *, cut: bool) -> AnyArray:
    """(H, W, 3) uint8: what is transparent becomes white; cut to 8 bits as the original does, or rounded."""
    image = to_8_bit(loaded.image)
    if loaded.alpha is None:
        return image
    blended = _blend_with_white(image, to_8_bit(loaded.alpha) / np.float32(255))
    return (blended if cut else np.rint(blended)).astype(np.uint8)


def _blend_with_white(image: AnyArray, opacity: FloatArray) -> FloatArray:
    """(H, W, 3) float32 in [0, 255]."""
    opacity = opacity[..., np.newaxis]  # (H, W, 1)
    blended: FloatArray = np.clip(opacity * image.astype(np.float32) + 255 * (1 - opacity), 0, 255)
    return blended


def _cropped(result: SegmentResult, size_hw: tuple[int, int]) -> SegmentResult:
    """The result without the padding below and at the right."""
    height, width = size_hw

    def crop(values: AnyArray) -> AnyArray:
        return np.ascontiguousarray(values[:height, :width])

    masks = {name: crop(mask) for name, mask in result.masks.items()}
    labels = None if result.labels is None else crop(result.labels)
    return replace(result, mask=crop(result.mask), masks=masks, labels=labels, probabilities=masks)
