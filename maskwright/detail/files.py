"""Segments in a file: an .npz of plain arrays, with everything else as JSON. Nothing in it is ever run."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ..encode import write_bytes
from ..errors import InputError, MediaError
from ..types import AnyArray
from .resample import as_array
from .segs import Follow, Seg, Segs, as_bbox, as_region

__all__ = ["load_segs", "save_segs"]

_FORMAT = "maskwright-segs"
_VERSION = 1


def save_segs(segs: Segs, path: str | os.PathLike[str]) -> Path:
    """The path, once the whole file stands there.

    Args:
        segs: What to keep. Arrays keep their dtype; torch tensors become NumPy's.
        path: Usually ends with `.npz`.

    Raises:
        InputError: A segment has ControlNets, which no file can hold.
        MediaError: It cannot be written.
    """
    arrays: dict[str, AnyArray] = {}
    rows = []
    for index, seg in enumerate(segs):
        if seg.control_net_wrapper is not None:
            raise InputError(
                f"segment {index} has ControlNets, which cannot be saved",
                hint="dataclasses.replace(seg, control_net_wrapper=None) leaves them out",
            )
        for name, value in (("image", seg.cropped_image), ("mask", seg.cropped_mask)):
            if value is not None:
                arrays[f"{name}_{index}"] = as_array(value)
        rows.append(_row(seg))
    header = {"format": _FORMAT, "version": _VERSION, "size_hw": list(map(int, segs.size_hw)), "segs": rows}
    text = np.frombuffer(json.dumps(header).encode("utf-8"), np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, header=text, **arrays)  # type: ignore[arg-type]
    return write_bytes(path, buffer.getvalue())


def _row(seg: Seg) -> dict[str, Any]:
    row: dict[str, Any] = {
        "confidence": float(seg.confidence),
        "crop_region": list(map(int, seg.crop_region)),
        "bbox": list(as_bbox(seg.bbox)),
        "label": str(seg.label),
    }
    if seg.follow:
        row["regions"] = [list(map(int, region)) for region in seg.follow.regions]
        row["subject_hw"] = list(map(int, seg.follow.subject_hw))
    return row


def load_segs(path: str | os.PathLike[str]) -> Segs:
    """The segments that `save_segs` wrote.

    Raises:
        MediaError: There is no such file, or it holds something else.
        RangeError: A crop in it lies outside its frame.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(bytes(file["header"]).decode("utf-8"))
            if header.get("format") != _FORMAT or header.get("version") != _VERSION:
                raise KeyError("format")
            names = set(file.files)
            items = tuple(
                _seg(row, *(file[name] if name in names else None for name in (f"image_{index}", f"mask_{index}")))
                for index, row in enumerate(header["segs"])
            )
            height, width = map(int, header["size_hw"])
    except OSError as error:
        raise MediaError(f"{path} cannot be read ({error.strerror or error})", hint="check the name") from error
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise MediaError(str(path), expected="a file that save_segs wrote", hint="write it again") from error
    return Segs((height, width), items).check()


def _seg(row: dict[str, Any], image: AnyArray | None, mask: AnyArray | None) -> Seg:
    follow = None
    if "regions" in row:
        rows, columns = map(int, row["subject_hw"])
        follow = Follow(tuple(as_region(region) for region in row["regions"]), (rows, columns))
    box, region = as_bbox(row["bbox"]), as_region(row["crop_region"])
    return Seg(image, mask, float(row["confidence"]), region, box, str(row["label"]), follow=follow)
