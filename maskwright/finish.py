"""The last steps of a cut-out: the frame that shows it, and the layers under it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from .cutout_options import CutoutOptions
from .geometry import cover, crop, fit_crop_region, make_bbox, parse_aspect, parse_padding, touched_sides
from .imageio import Cutout, LoadedImage
from .refine import compose, layers
from .types import AnyArray, BBox, FloatArray

__all__ = ["choose_region", "finish_cutout", "frame_cutout"]


def finish_cutout(cutout: Cutout, loaded: LoadedImage, options: CutoutOptions) -> Cutout:
    """The cut-out in its frame, over outline, shadow and background.

    Args:
        cutout: In the picture's own frame, on nothing.
        loaded: The picture.
        options: Which frame and which layers.
    """
    framed = frame_cutout(cutout, options)
    rgba, notes = _lay_under(framed, loaded, cutout.alpha, options)
    return replace(framed, rgba=rgba, notes=(*framed.notes, *notes))


def frame_cutout(cutout: Cutout, options: CutoutOptions) -> Cutout:
    """The cut-out in the frame that `crop` and `expand_canvas` ask for; without a subject in its own."""
    if not (options.crop or options.expand_canvas):
        return cutout
    region = choose_region(cutout.alpha, options)
    if region is None:
        return replace(cutout, notes=(*cutout.notes, "there is no subject: the frame stays as it is"))
    return replace(
        cutout,
        rgba=crop(cutout.rgba, region),
        alpha=crop(cutout.alpha, region),
        mask=crop(cutout.mask, region),
        masks={name: crop(mask, region) for name, mask in cutout.masks.items()},
        crop_region=region,
    )


def choose_region(alpha: FloatArray, options: CutoutOptions) -> BBox | None:
    """The region of the picture to be shown, as far as `crop` and `expand_canvas` say; None without a subject.

    Args:
        alpha: (H, W) float32 in [0, 1], 1 = opaque.
        options: What to make room for.
    """
    height, width = size_hw = alpha.shape
    bbox = make_bbox(alpha)
    if bbox is None:
        return None
    pinned = touched_sides(bbox, size_hw)
    rim = math.ceil(options.outline)
    outlined = fit_crop_region(bbox, padding=rim, pinned=(False,) * 4 if options.expand_canvas else pinned)
    region = outlined if options.crop else (0, 0, width, height)
    if options.expand_canvas:
        region = _around(region, outlined)
        if options.shadow:
            x, y = options.shadow_offset
            x1, y1, x2, y2 = fit_crop_region(outlined, padding=math.ceil(options.shadow_blur))
            region = _around(region, (x1 + x, y1 + y, x2 + x, y2 + y))
    if not options.crop:
        return region
    padding = parse_padding(options.crop_padding, max(bbox[2] - bbox[0], bbox[3] - bbox[1]))
    aspect = None if options.crop_aspect is None else parse_aspect(options.crop_aspect)
    return fit_crop_region(region, padding=padding, aspect=aspect, pinned=pinned)


def _around(a: BBox, b: BBox) -> BBox:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def _lay_under(
    framed: Cutout, loaded: LoadedImage, alpha: FloatArray, options: CutoutOptions
) -> tuple[AnyArray, tuple[str, ...]]:
    """The framed cut-out over outline, shadow and background, in this order; and what there is to say about it.

    Args:
        framed: The cut-out.
        loaded: The picture.
        alpha: The subject's, in the picture's frame.
        options: Which layers.
    """
    rgba, caster = framed.rgba, framed.alpha
    if options.outline:
        caster = layers.make_outline(caster, options.outline)
        rgba = compose.over_color(rgba, layers.parse_color(options.outline_color), caster)
    if options.shadow:
        shade = layers.make_shadow(caster, options.shadow_offset, options.shadow_blur)
        shade *= np.float32(options.shadow_opacity)
        rgba = compose.over_color(rgba, layers.parse_color(options.shadow_color), shade)
    if options.bgcolor is not None:
        return compose.over_color(rgba, options.bgcolor), ()
    if options.background is None:
        return rgba, ()
    if isinstance(options.background, LoadedImage):
        return _over_picture(rgba, options.background, loaded.icc_profile)
    wanted = layers.parse_background(options.background)
    if not isinstance(wanted, float):
        return compose.over_color(rgba, wanted), ()
    blurred = layers.blur_background(loaded.image, alpha, wanted or max(alpha.shape) / 50)
    opacity = None if loaded.alpha is None else loaded.alpha / np.float32(np.iinfo(loaded.alpha.dtype).max)
    if framed.crop_region is not None:
        blurred = crop(blurred, framed.crop_region, "mirror")
        opacity = None if opacity is None else crop(opacity, framed.crop_region, "mirror")
    return compose.over_image(rgba, blurred, opacity), ()


def _over_picture(rgba: AnyArray, picture: LoadedImage, profile: bytes | None) -> tuple[AnyArray, tuple[str, ...]]:
    height, width = rgba.shape[:2]
    image = cover(picture.image, (height, width))
    opacity = None
    if picture.alpha is not None:
        spread = cover(np.repeat(picture.alpha[..., np.newaxis], 3, axis=2), (height, width))[..., 0]
        opacity = spread / np.float32(np.iinfo(spread.dtype).max)
    note = "the background has another colour profile; its colours were used as they are"
    return compose.over_image(rgba, image, opacity), () if picture.icc_profile == profile else (note,)
