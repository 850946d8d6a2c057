"""What ComfyUI itself gives a node: folders, devices, progress, a way to be interrupted.

ComfyUI's modules are looked up when a node runs, never at import: the nodes load, and run, where there is none.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from ..errors import Error, LicenseNotAccepted, MediaError, OptionError
from ..models.catalog import find_card
from ..models.store import Arrival, Store
from ..segmenters import Segmenter, open_segmenter
from .engine import find_device, open_managed, rest

__all__ = [
    "MODEL_FOLDERS",
    "each",
    "find_file",
    "folders_of",
    "follow",
    "list_files",
    "make_output_path",
    "model_folders",
    "named",
    "open_node_segmenter",
    "open_store",
    "place_of",
    "show",
]

_logger = logging.getLogger(__name__)
_Item = TypeVar("_Item")

_WHEELS = {"cpu": "onnxruntime", "gpu": "onnxruntime-gpu", "person": "ai-edge-litert"}  # what extras bring
_EITHER = re.compile(r'"maskwright\[cpu\]",? or "maskwright\[gpu\]"( for NVIDIA; never both)?')
_EXTRA = re.compile(r'"maskwright\[(\w+)\]"')
# Folder kinds of ComfyUI (`extra_model_paths.yaml` adds to them) in which weights of ours may lie: its own, and those
# that the packs with these nodes have made.
MODEL_FOLDERS = ("maskwright", "background_removal", "onnx", "isnet", "rembg", "u2net", "mediapipe", "anime_seg")


def _module(name: str) -> Any:
    """A module of ComfyUI that is loaded already; None outside it. Nothing is imported."""
    return sys.modules.get(name)


def model_folders() -> tuple[Path, ...]:
    """The folders of ComfyUI in which weights may lie; none outside ComfyUI."""
    return tuple(dict.fromkeys(folder for kind in MODEL_FOLDERS for folder in folders_of(kind)))


def folders_of(kind: str) -> tuple[Path, ...]:
    """The folders of one kind, whatever they are called; none outside ComfyUI."""
    folder_paths = _module("folder_paths")
    if folder_paths is None:
        return ()
    known = folder_paths.get_folder_paths(kind) if kind in folder_paths.folder_names_and_paths else ()
    return tuple(dict.fromkeys(map(Path, [*known, Path(folder_paths.models_dir) / kind])))


def open_store(name: str = "", *, download: bool = False) -> Store:
    """The weights a node may use: this machine's, ComfyUI's folders among them. No process is ever started.

    Nobody can be asked in a node. A file that no publisher vouches for is taken when it lies on this machine or the
    user turned `download` on; its hash is remembered, and every later load is held to it. A model that is not for
    commercial use runs when its file lies here; the log says so.

    Args:
        name: The model to be opened, a name of the catalog.
        download: Whether files may be fetched over https; the user says so at the node.
    """
    online = "turn on download at the node"
    settings: dict[str, Any] = {"search": model_folders(), "wheels": False, "online": online, "confirm": _vouch}
    store = Store(offline=None if download else True, **settings)
    card = find_card(name) if name else None
    if card is None or card.commercial is not False or store.is_license_accepted(card.name):
        return store
    if not any(store.find(weights) for weights in card.weights):
        return store
    _logger.warning("%s: %s, see %s", card.name, card.license, card.license_url)
    return Store(offline=None if download else True, licenses=(card.name,), **settings)


def _vouch(arrival: Arrival) -> bool:
    """Whether a file is taken: only where no hash at all is known of it."""
    if arrival.expected is not None:
        return False
    _logger.warning("%s: no hash is published; taken from now on as sha256 %s", arrival.origin, arrival.sha256)
    return True


def place_of(device_mode: str) -> tuple[str, bool]:
    """The device that a node's `device_mode` means, and whether a network may stay there when its pictures are done."""
    return "cpu" if device_mode == "CPU" else find_device(), device_mode == "Prefer GPU"


def open_node_segmenter(
    name: str, *, compat: bool | str = False, download: bool = False, device_mode: str = "AUTO"
) -> Segmenter:
    """A model for a node: on the device ComfyUI computes on, in the memory ComfyUI manages.

    Args:
        name: A name of the catalog.
        compat: As for `open_segmenter`.
        download: Whether weights may be fetched over https.
        device_mode: One of `inputs.DEVICE_MODE`.

    Raises:
        LicenseNotAccepted: The model is not for commercial use, and none of its files lies here.
        Error: As `open_segmenter`.
    """
    device, stay = place_of(device_mode)
    opener = functools.partial(open_managed, stay=stay)
    store = open_store(name, download=download)
    try:
        segmenter = open_segmenter(name, device=device, compat=compat, store=store, opener=opener)
    except LicenseNotAccepted as error:  # nobody can be asked in a node, but who puts a file there has decided
        files = " or ".join(weights.file for weights in find_card(name).weights if weights.sources)
        where = (*folders_of(MODEL_FOLDERS[0]), store.home / "models")[0]
        raise LicenseNotAccepted(error.what, hint=f"put {files} into {where}, which accepts it") from error
    made_by = segmenter.provenance
    _logger.info("%s: %s by %s on %s", made_by.model, made_by.weights, made_by.engine, made_by.device)
    return segmenter


def list_files(kind: str, suffixes: tuple[str, ...]) -> list[str]:
    """The files in ComfyUI's folders of one kind, to choose from: their paths below the folder.

    Args:
        kind: A kind of models.
        suffixes: Endings that count, with their dots.
    """
    found = [(folder, path) for folder in folders_of(kind) for path in folder.rglob("*")]
    fitting = {str(path.relative_to(folder)) for folder, path in found if path.suffix.lower() in suffixes}
    return sorted(fitting)


def make_output_path(prefix: str, suffix: str) -> tuple[Path, str]:
    """A new file in ComfyUI's output folder, and the name by which `find_file` finds it.

    Args:
        prefix: How its name begins; folders before a slash are made.
        suffix: How it ends, with its dot.

    Raises:
        OptionError: The prefix leads out of the folder.
        MediaError: There is no ComfyUI.
    """
    root = _data_folder("output")
    start = _inside(root, prefix)
    start.parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while (path := start.with_name(f"{start.name}_{number:05}{suffix}")).exists():
        number += 1
    return path, f"{path.relative_to(root.resolve()).as_posix()} [output]"


def find_file(name: str) -> Path:
    """A file in ComfyUI's input or output folder.

    Args:
        name: Its path below the folder; ` [input]` or ` [output]` after it says which. Else it is looked for in both.

    Raises:
        OptionError: The name leads out of the folder.
        MediaError: There is none, or no ComfyUI.
    """
    for kind in ("input", "output"):
        if name.endswith(f" [{kind}]"):
            return _inside(_data_folder(kind), name.removesuffix(f" [{kind}]"))
    paths = [_inside(_data_folder(kind), name) for kind in ("input", "output")]
    found = next((path for path in paths if path.is_file()), None)
    if found is None:
        folders = " or ".join(str(path.parent) for path in paths)
        raise MediaError(f"file {name!r}", expected=f"in {folders}", got="none", hint="put it there, or check the name")
    return found


def _data_folder(kind: str) -> Path:
    folder_paths = _module("folder_paths")
    if folder_paths is None:
        raise MediaError(f"the {kind} folder", expected="ComfyUI's", got="no ComfyUI", hint="use detail.save_segs")
    return Path(getattr(folder_paths, f"get_{kind}_directory")())


def _inside(root: Path, name: str) -> Path:
    """A path below a folder; links are followed first."""
    root = root.resolve()
    with contextlib.suppress(ValueError):  # a name with a zero in it is no name
        path = (root / name).resolve()
        if name.strip() and root in path.parents:
            return path
    raise OptionError(
        "file name", expected=f"a path below {root}", got=repr(name), hint="leave out '..' and what leads elsewhere"
    )


def each(items: Iterable[_Item], count: int, *segmenters: Segmenter | None) -> Iterator[_Item]:
    """The items, with ComfyUI's progress bar moving on after each and its Cancel heard before each.

    Args:
        items: Pictures or masks.
        count: How many they are.
        segmenters: What looks at them; at the end their networks leave the graphics card, where they are not to stay.
    """
    utils, management = _module("comfy.utils"), _module("comfy.model_management")
    bar = utils.ProgressBar(count) if utils is not None else None
    try:
        for item in items:
            if management is not None:
                management.throw_exception_if_processing_interrupted()
            yield item
            if bar is not None:
                bar.update(1)
    finally:
        for segmenter in segmenters:
            if segmenter is not None:
                rest(segmenter.engine)


def follow() -> Callable[[int, int], None]:
    """What moves ComfyUI's progress bar to so many units of so many, and hears its Cancel."""
    utils, management = _module("comfy.utils"), _module("comfy.model_management")
    bar: Any = None

    def report(done: int, total: int) -> None:
        nonlocal bar
        if management is not None:
            management.throw_exception_if_processing_interrupted()
        if utils is not None:
            bar = bar or utils.ProgressBar(total)
            bar.update_absolute(done, total)

    return report


@contextlib.contextmanager
def named(node_id: str) -> Iterator[None]:
    """Errors of ours from inside begin with the node's name. Also a decorator for a node's function."""
    try:
        yield
    except Error as error:
        kind, hint = type(error), _name_wheels(error.hint)
        raise kind(f"{node_id}: {error.what}", expected=error.expected, got=error.got, hint=hint) from error


def _name_wheels(hint: str | None) -> str | None:
    """A cure with wheels in the place of extras: the pack is a folder, and no extra of it can be installed.

    Of the two builds of ONNX Runtime it names the one for the device ComfyUI computes on.
    """
    if not hint or "maskwright[" not in hint:
        return hint
    here, other = ("gpu", "cpu") if find_device().startswith("cuda") else ("cpu", "gpu")
    hint = _EITHER.sub(f"{_WHEELS[here]}, never beside {_WHEELS[other]}", hint)
    return _EXTRA.sub(lambda found: _WHEELS.get(found[1], found[0]), hint)


def show(image: Any) -> dict[str, Any]:
    """What makes ComfyUI's page show pictures at the node that made them; nothing outside ComfyUI.

    Args:
        image: (B, H, W, 3) float32 tensor in [0, 1].
    """
    core = _module("nodes")
    if core is None or not len(image):
        return {}
    shown: dict[str, Any] = core.PreviewImage().save_images(image)["ui"]
    return shown
