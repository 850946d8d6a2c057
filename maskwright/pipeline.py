"""The one recipe that every door uses: picture in, mask, edge work, cut-out."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from PIL import Image as PilImage

from .cutout_options import CutoutOptions
from .errors import EmptyTrimap, OptionError
from .finish import finish_cutout
from .imageio import Cutout, ImageSource, LoadedImage, load_image
from .refine import compose, masks
from .segmenters import Segmenter, open_segmenter
from .types import AnyArray, FloatArray, SegmentResult, to_8_bit

if TYPE_CHECKING:
    from PIL.Image import Image

    from .refine.masks import FeatherSide

__all__ = ["CutoutOptions", "check_fit", "choose_part", "cut_with", "cutout", "make_cutout", "segment", "shape_mask"]

_logger = logging.getLogger(__name__)

_FLOOR = np.float32(2 / 255)  # fainter than this is a network's noise, and would keep the background's colours
_ROWS = 16
_ALL_PARTS = "all"
_ONE_CHANNEL = frozenset({"1", "F", "I", "I;16", "L", "P"})


def cutout(
    image: ImageSource,
    *,
    model: str | Segmenter = "u2netp",
    options: CutoutOptions | None = None,
    device: str = "auto",
) -> Cutout:
    """The picture without its background.

    Args:
        image: A path, bytes, a PIL image, or an array (uint8, uint16 or float in [0, 1]; (H, W), (H, W, 1),
            (H, W, 3) or (H, W, 4)).
        model: A name of the catalog, or a segmenter that is held open.
        options: How to cut; None: the defaults.
        device: Where the network runs, when `model` is a name.

    Raises:
        InputError, MediaError: It is not a picture, or an option is wrong.
        ModelError, EngineError: No weights, or no runtime.
    """
    options = options or CutoutOptions()
    loaded = load_image(image, keep_gps=options.keep_gps)
    if isinstance(model, Segmenter):
        return cut_with(model, loaded, options)
    with open_segmenter(model, device=device, compat=options.compat) as segmenter:
        return cut_with(segmenter, loaded, options)


def segment(
    image: ImageSource,
    *,
    model: str | Segmenter = "u2netp",
    device: str = "auto",
    compat: bool | str = False,
) -> SegmentResult:
    """What is selected in the picture.

    Args:
        image: As for `cutout`.
        model: A name of the catalog, or a segmenter that is held open.
        device: Where the network runs, when `model` is a name.
        compat: Give the original program's numbers; or those of the program named, such as `"art-venture"`.

    Raises:
        InputError, MediaError: It is not a picture, or compat is not the segmenter's.
        ModelError, EngineError: No weights, or no runtime.
    """
    if isinstance(model, Segmenter):
        _check_compat(model, bool(compat))
        return model(image)
    with open_segmenter(model, device=device, compat=compat) as segmenter:
        return segmenter(image)


def cut_with(segmenter: Segmenter, loaded: LoadedImage, options: CutoutOptions) -> Cutout:
    """The cut-out of a loaded picture by a segmenter that is held open.

    Raises:
        OptionError: `options.compat` is not the segmenter's.
        EngineFailed: The network stopped.
    """
    check_fit(segmenter, options)  # before the network does its work
    return make_cutout(loaded, segmenter(loaded), options)


def check_fit(segmenter: Segmenter, options: CutoutOptions) -> None:
    """Nothing, if a segmenter can do what the options say.

    Raises:
        OptionError: `options.compat` is not the segmenter's, or its model does not know the part.
    """
    _check_compat(segmenter, options.compat)
    _check_part(options.part, segmenter.card.parts, segmenter.card.name)


def make_cutout(
    loaded: LoadedImage,
    result: SegmentResult,
    options: CutoutOptions,
    *,
    previous: FloatArray | None = None,
    spend: bool = False,
) -> Cutout:
    """The cut-out of a loaded picture whose mask is known: all that follows the network.

    Args:
        loaded: The picture.
        result: What a segmenter said of it, with the `compat` of the options.
        options: How to cut.
        previous: (H, W) float32 in [0, 1], the opacity of a film's frame before, which automatic matting takes up.
        spend: Whether the result may be overwritten, which saves a map of the picture's size; the cut-out's `mask` and
            `masks` are then without meaning.

    Raises:
        OptionError: The model does not know the part.
    """
    result = choose_part(result, options.part)
    if options.compat:
        return _cut_as_original(loaded, result, options)
    return _cut(loaded, result, options, previous, spend=spend)


def _check_part(part: str | None, parts: Collection[str], model: str) -> None:
    if part is None or (parts and part in (*parts, _ALL_PARTS)):
        return
    if not parts:
        raise OptionError(f"model {model} knows no parts", hint="leave part out, or choose another model")
    raise OptionError(
        f"part of {model}", expected=f"{', '.join(parts)} or {_ALL_PARTS}", got=repr(part), hint="leave it out for all"
    )


def choose_part(result: SegmentResult, part: str | None) -> SegmentResult:
    """The result as if the model knew this part alone.

    Args:
        result: What a segmenter of several parts said.
        part: The name of one of them; `all`: their union as one; None: the result as it is.

    Raises:
        OptionError: The model does not know the part.
    """
    _check_part(part, result.masks, result.provenance.model)
    if part is None:
        return result
    mask = result.mask if part == _ALL_PARTS else result.masks[part]
    return replace(result, mask=mask, masks={part: mask})


def _check_compat(segmenter: Segmenter, compat: bool) -> None:
    if compat != segmenter.compat:
        raise OptionError(
            "compat",
            expected=f"that of the segmenter ({segmenter.compat})",
            got=repr(compat),
            hint="open the segmenter with the same compat",
        )


def shape_mask(mask: FloatArray, options: CutoutOptions) -> FloatArray:
    """The mask after the options' mask work, in this order: threshold, clean-up, islands, size, edge, inversion.

    Args:
        mask: (H, W) float32 in [0, 1].
        options: Which steps to take.
    """
    steps = (
        (options.threshold is not None, lambda m: masks.threshold(m, options.threshold or 0)),
        (options.post_process_mask, masks.post_process),
        (options.fill_holes > 0, lambda m: masks.fill_holes(m, options.fill_holes)),
        (options.min_area > 0, lambda m: masks.remove_islands(m, options.min_area)),
        (options.keep_largest, masks.keep_largest),
        (options.smooth > 0, lambda m: masks.smooth(m, options.smooth)),
        (options.grow > 0, lambda m: masks.grow(m, options.grow)),
        (options.grow < 0, lambda m: masks.shrink(m, -options.grow)),
        (options.feather > 0, lambda m: masks.feather(m, options.feather, cast("FeatherSide", options.feather_side))),
        (options.invert, masks.invert),
    )
    for wanted, step in steps:
        if wanted:
            mask = step(mask)
    return mask


def _cut(
    loaded: LoadedImage,
    result: SegmentResult,
    options: CutoutOptions,
    previous: FloatArray | None = None,
    *,
    spend: bool = False,
) -> Cutout:
    mask = shape_mask(result.mask, options)
    alpha, foreground, notes = _refine(loaded.image, mask, options, previous)
    if loaded.alpha is not None:  # what was transparent stays so
        alpha = alpha * (loaded.alpha / np.float32(np.iinfo(loaded.alpha.dtype).max))
    alpha = _without_noise(alpha, into=alpha if spend else np.empty_like(alpha))
    rgba = compose.make_rgba(
        loaded.image, alpha, foreground=foreground, keep_hidden=options.keep_hidden, depth=options.depth
    )
    notes = (*loaded.notes, *notes)
    cut = Cutout(rgba, alpha, mask, result.provenance, notes=notes, **_carried(loaded, result, options))
    return finish_cutout(cut, loaded, options)


def _without_noise(alpha: FloatArray, into: FloatArray) -> FloatArray:
    """What is opaque enough to be seen, some rows at a time: what lies in between stays in the processor's cache."""
    for start in range(0, len(alpha), _ROWS):
        rows = slice(start, start + _ROWS)
        np.multiply(alpha[rows], alpha[rows] >= _FLOOR, out=into[rows])
    return into


def _carried(loaded: LoadedImage, result: SegmentResult, options: CutoutOptions) -> dict[str, Any]:
    """What a cut-out takes over unchanged."""
    return {
        "masks": result.masks,
        "icc_profile": loaded.icc_profile,
        "exif": loaded.exif,
        "only_mask": options.only_mask,
        "frames": loaded.frames,
    }


def _refine(
    image: AnyArray, mask: FloatArray, options: CutoutOptions, previous: FloatArray | None
) -> tuple[FloatArray, FloatArray | None, tuple[str, ...]]:
    """Alpha, the subject's own colours where they were asked for, and what there is to say about it."""
    alpha = mask
    notes: tuple[str, ...] = ()
    if options.only_mask and not options.alpha_matting:
        return alpha, None, ()
    if options.alpha_matting:
        alpha, notes = _match_alpha(image, mask, options, previous)
    if not (options.alpha_matting or options.decontaminate):
        return alpha, None, ()
    if options.alpha_matting and options.trimap_numbers is None:
        from .refine.colors import match_foreground as find_colors
    else:
        from .refine.foreground import estimate_foreground as find_colors
    return alpha, find_colors(image, alpha), notes


def _match_alpha(
    image: AnyArray, mask: FloatArray, options: CutoutOptions, previous: FloatArray | None
) -> tuple[FloatArray, tuple[str, ...]]:
    """The edge's opacity; the mask as it is where it says nothing of an edge, or of a subject or a background."""
    from .refine.matting import match_alpha

    try:
        alpha, note = match_alpha(image, mask, numbers=options.trimap_numbers, budget=options.budget, previous=previous)
    except EmptyTrimap as error:
        alpha, note = mask, f"alpha matting left out: {error.what} is empty"
        _logger.warning(note)
    return alpha, (note,) if note else ()


def _cut_as_original(loaded: LoadedImage, result: SegmentResult, options: CutoutOptions) -> Cutout:
    """rembg's way, in its order and with its rounding: one cut-out per mask, stacked top to bottom."""
    shaped = [shape_mask(mask, options) for mask in result.masks.values() or [result.mask]]
    picture = _to_picture(loaded)
    if options.alpha_matting and loaded.mode in _ONE_CHANNEL:
        options = replace(options, alpha_matting=False, decontaminate=True)  # where rembg's matting gives up
    rgba = np.concatenate([_cut_one_as_original(picture, one, options) for one in shaped])
    mask = np.concatenate(shaped)
    alpha = mask if options.only_mask else rgba[..., 3].astype(np.float32) / np.float32(255)
    return Cutout(rgba, alpha, mask, result.provenance, notes=loaded.notes, **_carried(loaded, result, options))


def _cut_one_as_original(picture: Image, mask: FloatArray, options: CutoutOptions) -> AnyArray:
    gray = PilImage.fromarray(np.round(mask * 255).astype(np.uint8))
    if options.alpha_matting and not options.only_mask:
        cut = _matting_as_original(picture, gray, options)
    elif options.decontaminate and not options.only_mask:
        cut = compose.decontaminate_cutout_compat(picture, gray)
    else:
        cut = compose.premultiplied_cutout(picture, gray)
    if options.bgcolor is not None or not options.keep_hidden:  # rembg's command lays every cut-out over a colour
        cut = compose.over_color_compat(cut, options.bgcolor or (0, 0, 0, 0))
    return np.array(cut)


def _matting_as_original(picture: Image, gray: Image, options: CutoutOptions) -> Image:
    """Closed-form matting, or estimated colours on the mask as it is where rembg falls back to that."""
    numbers = cast("tuple[int, int, int]", options.trimap_numbers)  # with compat they are never automatic
    try:
        return compose.alpha_matting_cutout_compat(picture, gray, *numbers)
    except EmptyTrimap as error:
        _logger.warning("alpha matting left out: %s is empty", error.what)
        return compose.decontaminate_cutout_compat(picture, gray)


def _to_picture(loaded: LoadedImage) -> Image:
    """The loaded picture as rembg would hold it: RGB, or RGBA where it has an alpha; 8 bits."""
    image = to_8_bit(loaded.image)
    if loaded.alpha is not None:
        image = np.dstack([image, to_8_bit(loaded.alpha)])  # (H, W, 4)
    return PilImage.fromarray(image)
