"""A weights file of the user's own becomes the file of a row of the catalog."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import MediaError, ModelError, OptionError
from .card import ModelCard, Weights
from .catalog import catalog, find_card
from .convert import load_network, load_state, write_safetensors
from .export import export_onnx
from .store import Store, StoredWeights

__all__ = ["Imported", "import_weights"]


@dataclass(frozen=True)
class Imported:
    """What an import did.

    Attributes:
        model: The row that has the weights now.
        network: The network that was recognised.
        sha256: Of the file that was given.
        stored: The files in the store.
    """

    model: str
    network: str
    sha256: str
    stored: tuple[StoredWeights, ...]


def import_weights(path: Path, store: Store, *, name: str | None = None, onnx: bool = False) -> Imported:
    """Recognise the weights in a file, write them into the store, and accept them as a row's.

    A checkpoint is read once, with nothing in it run, and written as safetensors; from then on only that is read. An
    ONNX file is kept as it is.

    Args:
        path: A file ending in .safetensors, .pth, .pt, .ckpt, .bin or .onnx.
        store: Where to put it.
        name: The row; None: the one that publishes exactly this file.
        onnx: Export it to ONNX as well, for machines without PyTorch.

    Raises:
        EngineUnavailable: PyTorch, safetensors, or what exporting needs is not installed.
        ModelError: The file cannot be read, or is of no network that is known.
        OptionError: No row was named and none publishes this file; or the row has another network.
        MediaError: There is no such file.
        UnknownModel, WeightsMissing, HashMismatch, CacheNotWritable: As their names say.
    """
    if not path.is_file():
        raise MediaError(str(path), expected="a file of weights", got="no file at that path", hint="check the spelling")
    sha256 = store.digest(path)
    published = _find_published(path, store)
    network, module = load_network(path)
    card = find_card(name) if name else published[0] if published else None
    rows = [row for row in catalog() if any(_is_of(weights, network) for weights in row.weights)]
    if card is None or card not in rows:
        raise OptionError(
            f"row for {path.name}, which is {network}",
            expected="one of " + ", ".join(row.name for row in rows),
            got=card.name if card else "none, and no row publishes this file",
            hint="name it with --as NAME",
        )
    origin = f"{path.name}, sha256 {sha256}"
    if path.suffix.lower() == ".onnx":
        target = published[1] if published and published[0] is card else _own_file(card, ".onnx")
        stored = [store.put(target, lambda part: _copy(path, part), origin)]
    else:
        stored = [store.put(_own_file(card, ".safetensors"), _writer(module.state_dict(), network, origin), origin)]
        if onnx:
            size_hw = None if card.recipe.pre.fit == "shorter-side" else card.recipe.pre.size_hw
            stored.append(store.put(_own_file(card, ".onnx"), lambda part: export_onnx(module, part, size_hw), origin))
    return Imported(card.name, network, sha256, tuple(stored))


def _find_published(path: Path, store: Store) -> tuple[ModelCard, Weights] | None:
    """The row and the file of it that somebody published with the hash of this one."""
    for card in catalog():
        for weights in card.weights:
            if any(store.digest(path, known.algorithm) == known.digest for known in weights.hashes):
                return card, weights
    return None


def _is_of(weights: Weights, network: str) -> bool:
    return weights.network is not None and weights.network == network.removesuffix("_base")


def _own_file(card: ModelCard, suffix: str) -> Weights:
    """The row's file that nobody publishes."""
    return next(weights for weights in card.weights if weights.file.endswith(suffix) and not weights.sources)


def _writer(state: Mapping[str, Any], network: str, origin: str) -> Callable[[Path], None]:
    def write(part: Path) -> None:
        write_safetensors(state, part, {"network": network, "made from": origin})
        written = load_state(part)
        if written.keys() != state.keys() or not all(state[name].equal(value) for name, value in written.items()):
            raise ModelError(f"{part}", expected="what was written to it", got="other values", hint="check the disk")

    return write


def _copy(path: Path, part: Path) -> None:
    shutil.copyfile(path, part)
