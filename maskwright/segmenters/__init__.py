"""Segmenters: a model, ready to use. `open_segmenter` finds its weights and an engine for them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..engines import Engine, open_engine
from ..errors import LicenseNotAccepted, MediaError, OptionError, WeightsMissing
from ..models.card import ModelCard, Weights
from ..models.catalog import find_card
from ..models.store import Store, default_store
from ..types import Provenance
from .base import Segmenter
from .matting import MattingSegmenter
from .parts import PartsSegmenter
from .saliency import SaliencySegmenter

if TYPE_CHECKING:
    from os import PathLike

__all__ = [
    "MattingSegmenter",
    "PartsSegmenter",
    "SaliencySegmenter",
    "Segmenter",
    "choose_weights",
    "open_segmenter",
]

_logger = logging.getLogger(__name__)

_FAMILIES: dict[str, type[Segmenter]] = {
    "saliency": SaliencySegmenter,
    "parts": PartsSegmenter,
    "matting": MattingSegmenter,
}
_RUNTIMES = {".onnx": "onnx"}  # what a file's name says of the engine it needs


@dataclass(frozen=True)
class _Opened:
    """A weights file that may be loaded."""

    path: Path
    sha256: str
    runtime: str


def open_segmenter(
    name: str,
    *,
    weights: str | PathLike[str] | None = None,
    device: str = "auto",
    engine: Engine | None = None,
    compat: bool = False,
    store: Store | None = None,
    threads: int | None = None,
) -> Segmenter:
    """A model by its catalog name, ready to use.

    The weights are taken from this machine where they are, else fetched. Engines stay open for the next call.

    Args:
        name: A name or alias of the catalog.
        weights: Your own file, used instead of the published one; it is treated by the row's recipe.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, …; a `!` at the end fails where the device cannot be had.
        engine: An engine of your own instead of weights and device, such as `engines.FakeEngine()`.
        compat: Use the original program's numbers instead of the training repository's.
        store: Where to look for weights; None: the store of this machine.
        threads: Threads for one picture; None: from the environment, else the runtime's choice.

    Raises:
        UnknownModel: No such row.
        LicenseNotAccepted: The model's terms must be accepted once.
        WeightsMissing, DownloadError, HashMismatch: No weights that may be used.
        MediaError, OptionError: Your own file is not there, or of no known kind; or an engine came besides.
        EngineUnavailable, EngineFailed: No runtime, no such device, or not a network.
    """
    card = find_card(name)
    if engine is not None and weights is not None:
        raise OptionError("engine and weights", expected="one of the two", got="both", hint="leave one out")
    segmenter = _FAMILIES[card.family]
    if engine is not None:
        return segmenter(card, engine, _provenance(card, engine, None, compat), compat=compat)
    opened = _open_own(Path(weights), store) if weights is not None else _open_published(card, store)
    engine = open_engine(opened.path, opened.runtime, device=device, threads=threads)
    return segmenter(card, engine, _provenance(card, engine, opened, compat), compat=compat)


def choose_weights(card: ModelCard, store: Store) -> Weights:
    """Which of a row's files to use: the first, unless only another one is on this machine.

    Raises:
        WeightsMissing: The row has no file of its own, or none that an engine here can run.
    """
    runnable = [weights for weights in card.weights if weights.runtime in _RUNTIMES.values()]
    if not runnable:
        raise WeightsMissing(
            f"model {card.name} has no published weights", hint="name your own file with --weights FILE"
        )
    here = next((weights for weights in runnable if store.find(weights) is not None), None)
    if here is None:
        return next((weights for weights in runnable if weights.sources), runnable[0])
    if here is not runnable[0]:
        _logger.info("%s is not here: using %s instead", runnable[0].file, here.file)
    return here


def _open_published(card: ModelCard, store: Store | None) -> _Opened:
    store = store or default_store()
    if card.commercial is False and not store.is_license_accepted(card.name):
        raise LicenseNotAccepted(
            f"the licence of {card.name} is {card.license}, see {card.license_url}; it must be accepted once",
            hint=f"maskwright models fetch {card.name} --accept-license",
        )
    stored = store.ensure(choose_weights(card, store))
    return _Opened(stored.path, stored.sha256, stored.weights.runtime)


def _open_own(path: Path, store: Store | None) -> _Opened:
    runtime = _RUNTIMES.get(path.suffix.lower())
    if runtime is None:
        raise OptionError(
            "weights", expected="a file ending in " + " or ".join(_RUNTIMES), got=repr(str(path)), hint="rename it"
        )
    if not path.is_file():
        raise MediaError(f"weights {path} are not there", hint="check the path given with --weights")
    return _Opened(path, (store or default_store()).digest(path), runtime)


def _provenance(card: ModelCard, engine: Engine, opened: _Opened | None, compat: bool) -> Provenance:
    return Provenance(
        model=card.name,
        weights=opened.path.name if opened else "",
        sha256=opened.sha256 if opened else "",
        engine=engine.name,
        device=engine.device,
        compat=compat,
    )
