"""Where a film is to be redrawn: masks from files, or from segmenters, frame by frame."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MediaError, OptionError
from .film import CLIPS, list_pictures, read_film
from .options import check_model
from .talk import agree, open_store

if TYPE_CHECKING:
    from ..detail import Segs
    from ..imageio import LoadedImage
    from ..types import AnyArray, FloatArray, SegmentResult

__all__ = ["find_segs"]

Masks = dict[str, "FloatArray"]  # label -> (F, H, W), or (1, H, W) for all frames


def find_segs(frames: AnyArray, values: dict[str, Any]) -> Segs:
    """The segments that the flags ask for: `--masks` or `--mask-from`, then `--track`, `--grow` and the crop.

    Raises:
        OptionError: A part that is not found by that model.
        MediaError: Masks that cannot be read, or not one a frame.
    """
    from ..detail import dilate_segs, load_segs

    masks, spec = values["masks"], values["mask_from"]
    if masks is not None and masks.suffix.lower() == ".npz":
        segs = load_segs(masks)
    else:
        found = {"A": _read_masks(masks, len(frames))} if masks is not None else _segmented(frames, spec, values)
        segs = _to_segs(found, len(frames), values)
    return dilate_segs(segs, values["grow"]) if values["grow"] else segs


def _read_masks(path: Path, count: int) -> FloatArray:
    """(F, H, W) or (1, H, W) of a folder, a clip, an animation or a picture."""
    import numpy as np

    from ..imageio import load_frames, load_mask

    if path.is_dir():
        masks = [load_mask(each) for each in list_pictures(path)]
    elif path.suffix.lower() in CLIPS:
        masks = [load_mask(frame) for frame in read_film(path).frames]
    else:
        masks = [load_mask(loaded) for loaded, _ in load_frames(path)]
    if len(masks) not in (1, count):
        raise MediaError(f"masks in {path}", expected=f"1 or {count}, one a frame", got=str(len(masks)))
    if len({mask.shape for mask in masks}) > 1:
        raise MediaError(f"masks in {path}", expected="of one size", got="several", hint="resize them")
    return np.stack(masks)


def _segmented(frames: AnyArray, spec: str, values: dict[str, Any]) -> Masks:
    """The parts that `--mask-from` names, found in each frame."""
    import numpy as np

    from ..imageio import load_image

    name, _, listed = spec.partition(":")
    parts = tuple(part.strip().lower() for part in listed.split(",") if part.strip())
    found: dict[str, list[FloatArray]] = {}
    with ExitStack() as stack:
        look = _open(name.strip(), parts, values, stack)
        for frame in frames:
            result = look(load_image(frame))
            for label in parts or (name,):
                found.setdefault(label, []).append(_part(result, label if parts else None))
    return {label: np.stack(masks) for label, masks in found.items()}


def _part(result: SegmentResult, part: str | None) -> FloatArray:
    if part is None:
        return result.mask
    if part not in result.masks:
        known = ", ".join(result.masks) or "no parts: leave them out"
        raise OptionError("--mask-from", expected=f"with parts of {known}", got=repr(part))
    return result.masks[part]


def _open(
    name: str, parts: tuple[str, ...], values: dict[str, Any], stack: ExitStack
) -> Callable[[LoadedImage], SegmentResult]:
    """Who looks at the frames."""
    store = open_store(values["accept_hash"], values["quiet"])
    device = values["device"]
    if name == "person":
        from ..person import PersonOptions, open_person

        person = stack.enter_context(open_person(device=device, store=store))
        options = PersonOptions(parts) if parts else PersonOptions()
        return lambda image: person(image, options)
    if name == "anime":
        from ..anime import open_anime

        if values["accept_license"]:
            store.accept_license("anime-face")
        return stack.enter_context(open_anime(device=device, store=store))
    from ..models import find_card
    from ..segmenters import open_segmenter

    card = find_card(check_model(name))
    agree(card, store, values["accept_license"])
    return stack.enter_context(open_segmenter(card.name, device=device, store=store))


def _to_segs(masks: Masks, count: int, values: dict[str, Any]) -> Segs:
    """A segment for each thing, or with `--track` one for each label, whose crop follows it."""
    import numpy as np

    from ..detail import Segs, segs_from_film, track_subject

    factor = values["crop_factor"]
    # Faint traces, of a network or of a lossy codec, must not join things.
    soft = values["masks"] is None or values["masks"].suffix.lower() in CLIPS
    items: list[Any] = []
    size_hw = (0, 0)
    for label, stack in masks.items():
        if values["track"]:
            stack = np.broadcast_to(stack, (count, *stack.shape[1:]))
            found = track_subject(stack, crop_factor=factor or 1.5, label=label)
        else:
            stack = stack * (stack >= 0.5) if soft else stack
            found = segs_from_film(stack, crop_factor=factor or 3.0, drop_size=values["drop_size"], label=label)
        items += found
        size_hw = found.size_hw
    return Segs(size_hw, tuple(items))
