"""rembg's `remove` and `new_session`: same signatures, same numbers, no other dependency.

    from maskwright.compat.rembg import new_session, remove

Three things differ, on purpose. The default model is `u2netp`, because rembg's own (`bria-rmbg`) may not be used
commercially. Options that rembg would ignore are refused. Weights are checked by hash every time they are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from PIL import Image

from ..errors import OptionError, ShapeError
from ..imageio import Cutout, LoadedImage, load_image
from ..pipeline import CutoutOptions, choose_part, cut_with
from ..png import encode_png
from ..refine.compose import over_color_compat
from ..segmenters import Segmenter, open_segmenter
from ..types import AnyArray, to_8_bit

__all__ = ["Session", "new_session", "remove"]


_DEVICES = {
    "CPUExecutionProvider": "cpu",
    "CUDAExecutionProvider": "cuda",
    "TensorrtExecutionProvider": "tensorrt",
    "ROCMExecutionProvider": "rocm",
    "MIGraphXExecutionProvider": "rocm",
    "OpenVINOExecutionProvider": "openvino",
    "CoreMLExecutionProvider": "coreml",
    "DmlExecutionProvider": "directml",
}


class Session:
    """A model held open, as rembg's sessions are.

    Attributes:
        model_name: The name it was opened by.
        segmenter: The segmenter behind it.
    """

    def __init__(self, model_name: str, segmenter: Segmenter) -> None:
        self.model_name = model_name
        self.segmenter = segmenter

    def predict(
        self, img: Image.Image, *, cc: str | None = None, cloth_category: str | None = None
    ) -> list[Image.Image]:
        """The masks of a picture, 8-bit gray, as rembg's sessions give them.

        Args:
            img: The picture.
            cc: Only this garment of a model of clothes: upper, lower, full, or attire, which is all in one mask.
            cloth_category: The same under its long name.

        Raises:
            OptionError: The model knows no such part.
        """
        result = choose_part(self.segmenter(img), _part_of(cc or cloth_category))
        found = list(result.masks.values()) or [result.mask]
        return [Image.fromarray(np.round(mask * 255).astype(np.uint8)) for mask in found]


def new_session(
    model_name: str = "u2netp",
    *args: object,
    sess_opts: object | None = None,
    providers: Sequence[str | tuple[str, object]] | None = None,
    model_path: str | None = None,
    **kwargs: object,
) -> Session:
    """A model held open.

    Args:
        model_name: A name of the catalog.
        *args: rembg takes and ignores more; here it is an error.
        sess_opts: ONNX Runtime's session options, of which `intra_op_num_threads` is heeded.
        providers: ONNX Runtime's names; the first one is the device that is tried.
        model_path: Your own weights, for the `_custom` models.
        **kwargs: rembg takes and ignores more; here it is an error.

    Raises:
        OptionError: An unknown provider, or an option that means nothing here.
        UnknownModel: No such model.
    """
    _refuse(args, kwargs)
    device = "auto"
    if providers:
        first = providers[0] if isinstance(providers[0], str) else providers[0][0]
        if first not in _DEVICES:
            raise OptionError(
                "provider", expected=f"one of {', '.join(_DEVICES)}", got=repr(first), hint="leave it out"
            )
        device = _DEVICES[first]
    threads = int(getattr(sess_opts, "intra_op_num_threads", 0)) or None
    return Session(
        model_name, open_segmenter(model_name, weights=model_path, device=device, compat=True, threads=threads)
    )


def remove(
    data: bytes | Image.Image | AnyArray,
    alpha_matting: bool = False,
    alpha_matting_foreground_threshold: int = 240,
    alpha_matting_background_threshold: int = 10,
    alpha_matting_erode_size: int = 10,
    session: Session | None = None,
    only_mask: bool = False,
    post_process_mask: bool = False,
    decontaminate: bool = False,
    vitmatte: bool = False,
    vitmatte_model: str | None = None,
    bgcolor: tuple[int, int, int, int] | None = None,
    force_return_bytes: bool = False,
    *args: Any,
    putalpha: bool = False,
    cc: str | None = None,
    cloth_category: str | None = None,
    **kwargs: Any,
) -> bytes | Image.Image | AnyArray:
    """The picture without its background, of the type that came in: PNG bytes, a PIL image, or an array.

    Args:
        data: Bytes of a picture file, a PIL image, or an array (uint8).
        alpha_matting: Find the opacity of edges by closed-form matting.
        alpha_matting_foreground_threshold: 0 to 255; above it the mask is sure foreground.
        alpha_matting_background_threshold: 1 to 255; below it the mask is sure background.
        alpha_matting_erode_size: Pixels by which both sure zones are eroded.
        session: From `new_session`; None opens `u2netp`.
        only_mask: Give the mask instead of the cut-out.
        post_process_mask: Clean the mask: opening, blur, hard edge.
        decontaminate: Give edges the subject's own colours.
        vitmatte: Not here.
        vitmatte_model: Not here.
        bgcolor: (R, G, B, A) put under the cut-out.
        force_return_bytes: Give PNG bytes whatever came in.
        *args: rembg takes and ignores more; here it is an error.
        putalpha: Keep the picture's colours everywhere and set its alpha only.
        cc: Only this garment of a model of clothes: upper, lower, full, or attire, which is all in one mask.
        cloth_category: The same under its long name.
        **kwargs: Without a session, those of `new_session`.

    Raises:
        OptionError: ViTMatte was asked for, or thresholds contradict each other.
        ShapeError: `data` is of another type.
    """
    if vitmatte or vitmatte_model is not None:
        raise OptionError("vitmatte is not in this version", hint="the nearest way is alpha_matting=True")
    if not isinstance(data, (bytes, Image.Image, np.ndarray)):
        raise ShapeError("data", expected="bytes, a PIL image or an array", got=type(data).__name__)
    if session is None:
        session = new_session(*args, **kwargs)
    else:
        _refuse(args, kwargs)
    options = CutoutOptions(
        alpha_matting=alpha_matting,
        alpha_matting_foreground_threshold=alpha_matting_foreground_threshold,
        alpha_matting_background_threshold=alpha_matting_background_threshold,
        alpha_matting_erode_size=alpha_matting_erode_size,
        only_mask=only_mask,
        post_process_mask=post_process_mask,
        decontaminate=decontaminate,
        bgcolor=None if bgcolor is None else cast("tuple[int, int, int, int]", tuple(bgcolor)),
        keep_hidden=True,
        compat=True,
        part=_part_of(cc or cloth_category),
    )
    loaded = load_image(data)
    cutout = cut_with(session.segmenter, loaded, options)
    picture = cutout.to_pil()
    if putalpha and not (only_mask or alpha_matting):
        picture = _put_alpha(loaded, cutout, options.bgcolor)
    if isinstance(data, bytes) or force_return_bytes:
        return encode_png(np.asarray(picture))
    if isinstance(data, Image.Image):
        return picture
    return np.asarray(picture)


def _part_of(garment: str | None) -> str | None:
    return {"attire": "all"}.get(garment, garment) if garment else None


def _refuse(args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
    """An option that changes nothing is a mistake of somebody's."""
    if args or kwargs:
        given = ", ".join([*map(repr, args), *kwargs])
        raise OptionError(f"{given} means nothing here", hint="leave it out")


def _put_alpha(loaded: LoadedImage, cutout: Cutout, bgcolor: tuple[int, int, int, int] | None) -> Image.Image:
    """The picture's own colours with each mask as alpha, stacked; gray stays gray where no colour comes under it."""
    mode = "LA" if loaded.mode in ("1", "L", "LA") and bgcolor is None else "RGBA"
    height = loaded.size_hw[0]
    pieces = []
    for top in range(0, len(cutout.mask), height):
        piece = Image.fromarray(to_8_bit(loaded.image)).convert(mode)
        piece.putalpha(Image.fromarray(np.round(cutout.mask[top : top + height] * 255).astype(np.uint8)))
        pieces.append(np.asarray(over_color_compat(piece, bgcolor) if bgcolor is not None else piece))
    return Image.fromarray(np.concatenate(pieces))
