"""A folder of models for machines without a network: weights, their hashes, their licences.

The folder is a store's home: whoever names it with `MASKWRIGHT_HOME` uses it as it is, also when it cannot be written.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CacheNotWritable, HashMismatch, WeightsMissing
from .card import ModelCard, Packaged
from .store import Store, StoredWeights

__all__ = ["Bundle", "write_bundle"]


@dataclass(frozen=True)
class Bundle:
    """A folder that was filled.

    Attributes:
        folder: Where it is.
        models: Names of the models in it.
        size: Bytes of their weights.
        use: What another machine is told, as shell variables.
    """

    folder: Path
    models: tuple[str, ...]
    size: int
    use: str


def write_bundle(folder: Path, chosen: Sequence[tuple[ModelCard, StoredWeights]]) -> Bundle:
    """The folder, once all models are in it and checked there; a model that is in it already is checked alone.

    Args:
        folder: New, or an earlier bundle.
        chosen: Models, each with the weights that were found for it. Their licences count as accepted.

    Raises:
        CacheNotWritable: The folder cannot be written.
        HashMismatch: A file is not the one that was published or accepted.
    """
    store = Store(folder, offline=True)
    rows = [_put(store, card, stored) for card, stored in chosen]
    use = f"MASKWRIGHT_HOME={folder.resolve()} MASKWRIGHT_OFFLINE=1"
    texts = {
        "bundle.json": json.dumps({"models": rows}, indent=1) + "\n",
        "SHA256SUMS": "".join(f"{row['sha256']}  models/{row['file']}\n" for row in rows if not row["in_the_package"]),
        "README.md": _read_me(rows),
    }
    try:
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CacheNotWritable(
            f"folder {folder}", expected="writable", got=error.strerror or str(error), hint="name another one"
        ) from error
    size = sum(row["size"] for row in rows if not row["in_the_package"])
    return Bundle(folder, tuple(row["name"] for row in rows), size, use)


def _put(store: Store, card: ModelCard, stored: StoredWeights) -> dict[str, Any]:
    """A model's row in the bundle, once its weights lie there."""
    weights = stored.weights
    packaged = any(isinstance(source, Packaged) for source in weights.sources)
    if not packaged and not _is_there(store, stored):
        store.put(weights, lambda part: _copy(stored.path, part), f"the store of another machine, {stored.path.name}")
    if card.commercial is False:
        store.accept_license(card.name)
    return {
        "name": card.name,
        "file": weights.file,
        "sha256": stored.sha256,
        "size": stored.path.stat().st_size,
        "hash_from": weights.hash_origin,
        "license": card.license,
        "license_url": card.license_url,
        "commercial": card.commercial,
        "reference": card.reference,
        "in_the_package": packaged,
    }


def _copy(source: Path, part: Path) -> None:
    shutil.copyfile(source, part)


def _is_there(store: Store, stored: StoredWeights) -> bool:
    path = store.home / "models" / stored.weights.file
    try:
        return path.is_file() and store.check(path, stored.weights).sha256 == stored.sha256
    except (HashMismatch, WeightsMissing):
        return False


def _read_me(rows: Sequence[dict[str, Any]]) -> str:
    """How to use it, and under which terms."""
    lines = [
        "# Models for Maskwright, without a network",
        "",
        "Copy this folder to the other machine and name it there:",
        "",
        "    export MASKWRIGHT_HOME=/where/this/folder/lies MASKWRIGHT_OFFLINE=1",
        "",
        "`sha256sum -c SHA256SUMS` checks the files; Maskwright checks them too, before it uses one.",
        "",
        "| model | file | licence as stated | commercial use |",
        "| --- | --- | --- | --- |",
    ]
    words = {True: "yes", False: "**no**", None: "not stated"}
    lines += [
        f"| {row['name']} | {row['file']} | {row['license']}, {row['license_url']} | {words[row['commercial']]} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"
