"""The one recipe that every door uses: picture in, mask, edge work, cut-out."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as PilImage

from .errors import EmptyTrimap, OptionError
from .imageio import Cutout, ImageSource, LoadedImage, load_image
from .refine import compose, masks
from .segmenters import Segmenter, open_segmenter
from .types import AnyArray, FloatArray, SegmentResult, to_8_bit

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["CutoutOptions", "cut_with", "cutout", "make_cutout", "segment", "shape_mask"]

_logger = logging.getLogger(__name__)

_FLOOR = np.float32(2 / 255)  # fainter than this is a network's noise, and would keep the background's colours
_ONE_CHANNEL = frozenset({"1", "F", "I", "I;16", "L", "P"})
_THRESHOLD = {"foreground": 240, "background": 10, "erode": 10}  # rembg's command line


@dataclass(frozen=True)
class CutoutOptions:
    """How a cut-out is made. The names are the command line's long flags, with hyphens.

    Attributes:
        alpha_matting: Find the exact opacity of edges, and the subject's own colours there.
        alpha_matting_foreground_threshold: 0 to 255; above it the mask is sure foreground. None: 240.
        alpha_matting_background_threshold: 1 to 255; below it the mask is sure background. None: 10.
        alpha_matting_erode_size: Pixels by which both sure zones are eroded. None: 10.
        decontaminate: Give edges the subject's own colours without changing their opacity.
        post_process_mask: Clean the mask as rembg does: opening, blur, and a hard edge.
        only_mask: Save the mask as a gray picture instead of the cut-out.
        threshold: 0 to 1; the mask becomes hard: 1 at this value and above, 0 below. None: the mask stays soft.
        bgcolor: (R, G, B, A), 0 to 255 each, put under the cut-out. None: it stays transparent.
        depth: Bits per channel of the result, 8 or 16; 16 is saved as PNG.
        keep_hidden: Keep the picture's colours where alpha is 0; without it, nothing of the background is saved.
        keep_gps: Keep the place a photo was taken at in its EXIF data.
        compat: Give the original program's numbers instead of the correct ones.
        grow: Pixels by which the mask grows; negative shrinks it.
        feather: Pixels over which the mask's edge is softened.
        fill_holes: Square pixels; holes up to this area are filled.
        min_area: Square pixels; islands smaller than this are removed.
        keep_largest: Keep only the largest island.
        invert: Select the background instead.
        smooth: Pixels; bumps of the outline smaller than this are flattened.

    Raises:
        OptionError: A value outside its range, or two options that contradict each other.
    """

    alpha_matting: bool = False
    alpha_matting_foreground_threshold: int | None = None
    alpha_matting_background_threshold: int | None = None
    alpha_matting_erode_size: int | None = None
    decontaminate: bool = False
    post_process_mask: bool = False
    only_mask: bool = False
    threshold: float | None = None
    bgcolor: tuple[int, int, int, int] | None = None
    depth: int = 8
    keep_hidden: bool = False
    keep_gps: bool = False
    compat: bool = False
    grow: float = 0
    feather: float = 0
    fill_holes: int = 0
    min_area: int = 0
    keep_largest: bool = False
    invert: bool = False
    smooth: float = 0

    def __post_init__(self) -> None:
        if self.depth not in (8, 16):
            raise OptionError("depth", expected="8 or 16", got=repr(self.depth), hint="16 is saved as PNG")
        if self.compat and self.depth != 8:
            raise OptionError("depth with compat", expected="8", got=repr(self.depth), hint="leave one of them out")
        if self.threshold is not None and not (_is_number(self.threshold) and 0 <= self.threshold <= 1):
            raise OptionError("threshold", expected="from 0 to 1", got=repr(self.threshold), hint="0.5 is the middle")
        if not _is_number(self.grow):
            raise OptionError("grow", expected="a number of pixels", got=repr(self.grow), hint="0 leaves it out")
        for name in ("feather", "fill_holes", "min_area", "smooth"):
            value = getattr(self, name)
            if not (_is_number(value) and value >= 0):
                raise OptionError(name, expected="0 or more", got=repr(value), hint="0 leaves it out")
        self._check_bgcolor()
        self._check_matting()

    def _check_bgcolor(self) -> None:
        color = self.bgcolor
        if color is None:
            return
        whole = isinstance(color, (tuple, list)) and all(isinstance(value, (int, np.integer)) for value in color)
        if not whole or len(color) != 4 or not all(0 <= value <= 255 for value in color):
            raise OptionError(
                "bgcolor", expected="four numbers from 0 to 255", got=repr(color), hint="white is 255 255 255 255"
            )

    def _check_matting(self) -> None:
        foreground, background, size = self.trimap_numbers
        if not all(isinstance(value, (int, np.integer)) for value in self.trimap_numbers):
            raise OptionError(
                "alpha matting numbers", expected="whole numbers", got=repr(self.trimap_numbers), hint="240, 10, 10"
            )
        if not (0 < background < foreground <= 255):
            raise OptionError(
                "alpha matting thresholds",
                expected="0 < background < foreground <= 255",
                got=f"background {background}, foreground {foreground}",
                hint="the usual ones are 10 and 240",
            )
        if size < 0:
            raise OptionError("alpha_matting_erode_size", expected="0 or more", got=str(size), hint="usual is 10")

    @property
    def trimap_numbers(self) -> tuple[int, int, int]:
        """Foreground threshold, background threshold (8-bit units) and erosion (pixels) in force."""
        values = (
            self.alpha_matting_foreground_threshold,
            self.alpha_matting_background_threshold,
            self.alpha_matting_erode_size,
        )
        foreground, background, size = (
            default if value is None else value for value, default in zip(values, _THRESHOLD.values(), strict=True)
        )
        return foreground, background, size

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of all options."""
        return tuple(field.name for field in fields(cls))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.number)) and math.isfinite(float(value))


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
    _check_compat(segmenter, options.compat)
    return make_cutout(loaded, segmenter(loaded), options)


def make_cutout(loaded: LoadedImage, result: SegmentResult, options: CutoutOptions) -> Cutout:
    """The cut-out of a loaded picture whose mask is known: all that follows the network.

    Args:
        loaded: The picture.
        result: What a segmenter said of it, with the `compat` of the options.
        options: How to cut.
    """
    return (_cut_as_original if options.compat else _cut)(loaded, result, options)


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
        (options.feather > 0, lambda m: masks.feather(m, options.feather)),
        (options.invert, masks.invert),
    )
    for wanted, step in steps:
        if wanted:
            mask = step(mask)
    return mask


def _cut(loaded: LoadedImage, result: SegmentResult, options: CutoutOptions) -> Cutout:
    mask = shape_mask(result.mask, options)
    alpha, foreground, notes = _refine(loaded.image, mask, options)
    if loaded.alpha is not None:  # what was transparent stays so
        alpha = alpha * (loaded.alpha / np.float32(np.iinfo(loaded.alpha.dtype).max))
    alpha = np.where(alpha < _FLOOR, np.float32(0), alpha)
    rgba = compose.make_rgba(
        loaded.image, alpha, foreground=foreground, keep_hidden=options.keep_hidden, depth=options.depth
    )
    if options.bgcolor is not None:
        rgba = compose.over_color(rgba, options.bgcolor)
    return Cutout(
        rgba, alpha, mask, result.provenance, notes=(*loaded.notes, *notes), **_carried(loaded, result, options)
    )


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
    image: AnyArray, mask: FloatArray, options: CutoutOptions
) -> tuple[FloatArray, FloatArray | None, tuple[str, ...]]:
    """Alpha, the subject's own colours where they were asked for, and what there is to say about it."""
    alpha = mask
    notes: tuple[str, ...] = ()
    if options.only_mask and not options.alpha_matting:
        return alpha, None, ()
    if options.alpha_matting:
        alpha, notes = _match_alpha(image, mask, options)
    if not (options.alpha_matting or options.decontaminate):
        return alpha, None, ()
    from .refine.foreground import estimate_foreground

    return alpha, estimate_foreground(image, alpha), notes


def _match_alpha(image: AnyArray, mask: FloatArray, options: CutoutOptions) -> tuple[FloatArray, tuple[str, ...]]:
    """Exact alpha; the mask as it is where the picture holds no sure foreground or background."""
    from .refine.alpha import estimate_alpha

    foreground, background, size = options.trimap_numbers
    trimap = masks.make_trimap(mask, foreground_threshold=foreground, background_threshold=background, erode_size=size)
    try:
        return estimate_alpha(image, trimap), ()
    except EmptyTrimap as error:
        note = f"alpha matting left out: {error.what}"
        _logger.warning(note)
        return mask, (note,)


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
    try:
        return compose.alpha_matting_cutout_compat(picture, gray, *options.trimap_numbers)
    except EmptyTrimap as error:
        _logger.warning("alpha matting left out: %s", error.what)
        return compose.decontaminate_cutout_compat(picture, gray)


def _to_picture(loaded: LoadedImage) -> Image:
    """The loaded picture as rembg would hold it: RGB, or RGBA where it has an alpha; 8 bits."""
    image = to_8_bit(loaded.image)
    if loaded.alpha is not None:
        image = np.dstack([image, to_8_bit(loaded.alpha)])  # (H, W, 4)
    return PilImage.fromarray(image)
