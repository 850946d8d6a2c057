"""IS-Net: the drop-in `ISNetSegment` and the loader of its models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cutout_options import CutoutOptions
from ..errors import WeightsMissing
from ..imageio import load_image
from ..models.catalog import catalog
from ..models.convert import load_network
from ..pipeline import cut_with
from ..refine import compose, masks
from ..segmenters import Segmenter, open_segmenter
from ..types import AnyArray
from .convert import image_to_arrays, make_empty_mask, stack_rows
from .engine import open_module
from .host import each, folders_of, list_files, open_node_segmenter, open_store, place_of
from .inputs import COMPAT, DEVICE_MODE, DOWNLOAD, choice, socket, switch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ISNetLoader", "ISNetSegment"]

_DEFAULT = "isnet-general-use"
_PROGRAM = "art-venture"
_FOLDER = "isnet"
_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".safetensors", ".onnx")
_MARK = "maskwright_model"  # on a loaded module: the catalog row whose pictures it was trained on
_HALF = "is_fp16"  # what art-venture's ISNetSegment asks a network for


class ISNetSegment:
    """Foreground masks by IS-Net."""

    CATEGORY = "Art Venture/Segmentation"
    DESCRIPTION = "Selects what stands out in pictures, by IS-Net, and cuts it out."
    FUNCTION = "segment_isnet"
    RETURN_TYPES = ("IMAGE", "MASK")
    RETURN_NAMES = ("segmented", "mask")
    OUTPUT_TOOLTIPS = ("The cut-outs: RGBA, straight alpha.", "The masks, 1 = selected.")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        threshold = {"default": 0.5, "min": 0, "max": 1, "step": 0.001}
        return {
            "required": {
                "images": socket("IMAGE", "The pictures."),
                "threshold": (
                    "FLOAT",
                    {**threshold, "tooltip": "From this prediction on a pixel is selected; 0 selects everything."},
                ),
            },
            "optional": {
                "device_mode": DEVICE_MODE,
                "enabled": switch(True, "Off: the pictures pass unchanged, and the masks are empty."),
                "isnet_model": socket("ISNET_MODEL", f"A loaded IS-Net. Left out: {_DEFAULT}."),
                "compat": COMPAT,
                "soft": switch(False, "Keep the masks soft; the threshold is not used."),
                "download": DOWNLOAD,
            },
        }

    def segment_isnet(
        self,
        images: Tensor,
        threshold: float,
        device_mode: str = "AUTO",
        enabled: bool = True,
        isnet_model: Any = None,
        compat: bool = False,
        soft: bool = False,
        download: bool = False,
    ) -> tuple[Tensor, ...]:
        """The cut-outs and the masks."""
        if not (enabled and len(images)):
            return images.cpu().float(), make_empty_mask(images).new_zeros(images.shape[:3])
        segmenter = _open(isnet_model, device_mode, _PROGRAM if compat else False, download)
        options = CutoutOptions(threshold=None if soft else threshold)

        def cut(picture: AnyArray) -> tuple[AnyArray, AnyArray]:
            if not compat:
                cutout = cut_with(segmenter, load_image(picture), options)
                return cutout.rgba, cutout.alpha
            mask = segmenter(picture).mask
            mask = mask if soft else masks.threshold(mask, threshold, strict=True)
            return compose.make_rgba(picture[..., :3], mask, keep_hidden=True), mask

        pictures = each(image_to_arrays(images), len(images), segmenter)
        return stack_rows(map(cut, pictures), len(images))


def _open(module: Any, device_mode: str, compat: bool | str, download: bool) -> Segmenter:
    if module is None:
        return open_node_segmenter(_DEFAULT, compat=compat, download=download, device_mode=device_mode)
    device, stay = place_of(device_mode)
    engine = open_module(module, device, stay=stay)
    return open_segmenter(getattr(module, _MARK, _DEFAULT), engine=engine, compat=compat)


class ISNetLoader:
    """An IS-Net from a file."""

    CATEGORY = "Art Venture/Loaders"
    DESCRIPTION = "Loads an IS-Net from a file in ComfyUI's models/isnet. Nothing in the file is run."
    FUNCTION = "load_isnet"
    RETURN_TYPES = ("ISNET_MODEL",)
    RETURN_NAMES = ("ISNET_MODEL",)
    OUTPUT_TOOLTIPS = ("The network, for `ISNetSegment`.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        return {"required": {"model_name": choice(list_files(_FOLDER, _SUFFIXES), "A file in models/isnet.")}}

    def load_isnet(self, model_name: str) -> tuple[Any]:
        """The network, marked with the model it is."""
        folders = folders_of(_FOLDER)
        path = next((folder / model_name for folder in folders if (folder / model_name).is_file()), None)
        if path is None or ".." in Path(model_name).parts or Path(model_name).is_absolute():
            raise WeightsMissing(
                f"IS-Net {model_name}",
                expected=f"in one of {', '.join(map(str, folders))}",
                got="none",
                hint="put it there, then press R",
            )
        known = _find_weights(path.name)
        network = None
        if known is not None:
            open_store().check(path, known[1])
            network = known[1].network
        _, module = load_network(path, network)
        setattr(module, _MARK, known[0] if known else _DEFAULT)
        setattr(module, _HALF, False)
        return (module,)


def _find_weights(file: str) -> Any:
    """The catalog row that a file of this name belongs to, and its weights; None where no row knows it."""
    for card in catalog():
        for weights in card.weights:
            if file in (weights.file, *weights.other_names) and (weights.network or "").startswith("isnet"):
                return card.name, weights
    return None
