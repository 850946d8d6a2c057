"""Segmenters: a model, ready to use. `open_segmenter` finds its weights and an engine for them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..engines import RUNTIMES, Engine, is_installed, open_engine, runs_on, runtimes_for
from ..engines.base import parse_device
from ..errors import EngineUnavailable, LicenseNotAccepted, MediaError, OptionError, WeightsMissing
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


@dataclass(frozen=True)
class _Opened:
    """A weights file that may be loaded."""

    path: Path
    sha256: str
    runtime: str
    network: str | None


def open_segmenter(
    name: str,
    *,
    weights: str | PathLike[str] | None = None,
    device: str = "auto",
    engine: Engine | None = None,
    compat: bool | str = False,
    store: Store | None = None,
    threads: int | None = None,
    opener: Callable[..., Engine] = open_engine,
) -> Segmenter:
    """A model by its catalog name, ready to use.

    The weights are taken from this machine where they are, else fetched. Engines stay open for the next call.

    Args:
        name: A name or alias of the catalog.
        weights: Your own file, used instead of the published one; it is treated by the row's recipe.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, …; a `!` at the end fails where the device cannot be had.
        engine: An engine of your own instead of weights and device, such as `engines.FakeEngine()`.
        compat: Use the original program's numbers instead of the training repository's. Where several programs run
            the same weights, the name of one: `"art-venture"`.
        store: Where to look for weights; None: the store of this machine.
        threads: Threads for one picture; None: from the environment, else the runtime's choice.
        opener: What opens the engine, called as `open_engine` is: a host that manages memory brings its own.

    Raises:
        UnknownModel: No such row.
        LicenseNotAccepted: The model's terms must be accepted once.
        WeightsMissing, DownloadError, HashMismatch: No weights that may be used.
        MediaError, OptionError: Your own file is not there, or of no known kind; an engine came besides; or no rule
            of the program named in `compat` is known.
        EngineUnavailable, EngineFailed: No runtime, no such device, or not a network.
    """
    card = find_card(name)
    if engine is not None and weights is not None:
        raise OptionError("engine and weights", expected="one of the two", got="both", hint="leave one out")
    segmenter = _FAMILIES[card.family]
    if engine is not None:
        return segmenter(card, engine, _provenance(card, engine, None, compat), compat=compat)
    opened = _open_own(Path(weights), store, device) if weights is not None else _open_published(card, store, device)
    engine = opener(opened.path, opened.runtime, network=opened.network, device=device, threads=threads)
    return segmenter(card, engine, _provenance(card, engine, opened, compat), compat=compat)


def choose_weights(card: ModelCard, store: Store) -> Weights:
    """Which of a row's files to use: the first, unless it is not on this machine and another one is.

    Files that no installed runtime reads come last, so that a machine without any can still fetch them.

    Raises:
        WeightsMissing: The row has no file of its own.
    """
    if not card.weights:
        raise WeightsMissing(
            f"model {card.name} has no published weights", hint="name your own file with --weights FILE"
        )
    runnable = [weights for weights in card.weights if any(map(is_installed, _readers(weights)))]
    here = next((weights for weights in runnable if store.find(weights) is not None), None)
    if here is None:
        candidates = [*runnable, *card.weights]
        return next((weights for weights in candidates if weights.sources), candidates[0])
    published = next((weights for weights in runnable if weights.sources), here)
    if runnable.index(published) < runnable.index(here):
        _logger.info("%s is not here: using %s instead", published.file, here.file)
    return here


def _choose_runtime(file: str, readers: Sequence[str], device: str) -> str:
    """Which runtime is to run a file: the first, unless it is not installed or cannot serve the device.

    Only a device that is named can move a file to another runtime: installing one must not change a result's bytes.

    Raises:
        EngineUnavailable: None that reads such files is installed; the message names the extras.
        OptionError: No such device.
    """
    first = RUNTIMES[readers[0]]
    here = [runtime for runtime in readers if is_installed(runtime)]
    if not here:
        extras = " or ".join(f'"maskwright[{extra}]"' for extra in first.extras)
        raise EngineUnavailable(f"{file} needs {first.title}, which is not installed", hint=f"pip install {extras}")
    chosen = here[0]
    if len(here) > 1 and parse_device(device).name not in ("auto", "cpu"):
        chosen = next((runtime for runtime in here if runs_on(runtime, device)), chosen)
    if chosen != readers[0]:
        reason = f"does not run on {device}" if readers[0] in here else "is not installed"
        _logger.info("%s %s: %s runs %s", first.title, reason, RUNTIMES[chosen].title, file)
    return chosen


def _readers(weights: Weights) -> tuple[str, ...]:
    """The runtimes that can run a file, its own first. Others can where the row names its network."""
    return tuple(dict.fromkeys([weights.runtime, *(runtimes_for(weights.file) if weights.network else ())]))


def _open_published(card: ModelCard, store: Store | None, device: str) -> _Opened:
    store = store or default_store()
    if card.commercial is False and not store.is_license_accepted(card.name):
        raise LicenseNotAccepted(
            f"the licence of {card.name} is {card.license}, see {card.license_url}; it must be accepted once",
            hint=f"maskwright models fetch {card.name} --accept-license",
        )
    weights = choose_weights(card, store)
    runtime = _choose_runtime(weights.file, _readers(weights), device)
    stored = store.ensure(weights)
    return _Opened(stored.path, stored.sha256, runtime, weights.network)


def _open_own(path: Path, store: Store | None, device: str) -> _Opened:
    runtimes = runtimes_for(path)
    if not runtimes:
        known = dict.fromkeys(suffix for runtime in RUNTIMES.values() for suffix in runtime.suffixes)
        raise OptionError(
            "weights", expected="a file ending in " + " or ".join(known), got=repr(str(path)), hint="rename it"
        )
    if not path.is_file():
        raise MediaError(f"weights {path} are not there", hint="check the path given with --weights")
    runtime = _choose_runtime(path.name, runtimes, device)
    return _Opened(path, (store or default_store()).digest(path), runtime, None)


def _provenance(card: ModelCard, engine: Engine, opened: _Opened | None, compat: bool | str) -> Provenance:
    return Provenance(
        model=card.name,
        weights=opened.path.name if opened else "",
        sha256=opened.sha256 if opened else "",
        engine=engine.name,
        device=engine.device,
        compat=bool(compat),
    )
