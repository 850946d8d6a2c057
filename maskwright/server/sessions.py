"""Models that are held open for callers: few, and known by names of the catalog alone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar, cast

from ..anime import AnimeSegmenter, open_anime
from ..engines.base import Engine
from ..models.card import ModelCard
from ..models.catalog import catalog, find_card
from ..models.store import Store
from ..person import SILHOUETTE, PersonSegmenter, open_person
from ..segmenters import Segmenter, choose_weights, open_segmenter
from .answers import Refused

__all__ = ["Sessions"]

_T = TypeVar("_T")
_ANIME = ("anime-face", "isnet-anime")


class Sessions:
    """Models, opened when they are first asked for; of those not used for longest the memory is given back.

    Args:
        store: Where weights lie.
        fetch: Whether weights that are not here may be fetched for a caller.
        device: Where networks run.
        threads: Threads for one run; None: from the environment.
        engines: Gives an engine of your own for each row, such as `engines.FakeEngine()`, instead of weights.
        bound: How many are held.
    """

    def __init__(
        self,
        store: Store,
        *,
        fetch: bool = False,
        device: str = "auto",
        threads: int | None = None,
        engines: Callable[[ModelCard], Engine] | None = None,
        bound: int = 4,
    ) -> None:
        self.store = store
        self._fetch = fetch
        self._device = device
        self._threads = threads
        self._engines = engines
        self._bound = bound
        self._held: OrderedDict[tuple[object, ...], Any] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._held)

    def is_here(self, card: ModelCard) -> bool:
        """Whether callers can have this model now."""
        return self._engines is not None or any(self.store.find(weights) is not None for weights in card.weights)

    def make_ready(self, card: ModelCard) -> None:
        """Open a model for whoever runs the server; its weights are fetched where they are missing.

        Raises:
            ModelError, EngineError: It cannot be had.
        """
        if self._engines is None:
            self.store.ensure(choose_weights(card, self.store))
        self.cutter(card.name, compat=False)

    def cutter(self, model: str, *, compat: bool) -> Segmenter:
        """A segmenter for cut-outs.

        Raises:
            UnknownModel: No such row.
            Refused: Its weights are not here, or its licence was not accepted.
        """
        card = find_card(model)
        return self._opened(("cut", card.name, compat), lambda: self._open(card, compat), [card])

    def _open(self, card: ModelCard, compat: bool | str) -> Segmenter:
        if self._engines is not None:
            return open_segmenter(card.name, engine=self._engines(card), compat=compat)
        return open_segmenter(card.name, device=self._device, compat=compat, store=self.store, threads=self._threads)

    def person(self, model: str | None, *, compat: bool) -> PersonSegmenter:
        """A model for the parts of a person; None: one whose weights are here.

        Raises:
            UnknownModel, WeightsMissing, Refused: As for `cutter`.
        """
        card = None if model is None or model == SILHOUETTE else find_card(model)
        name = model if card is None else card.name

        def open_it() -> PersonSegmenter:
            if self._engines is not None:
                return PersonSegmenter(self._open(card or find_card("maskwright-parts"), compat))
            return open_person(name, device=self._device, compat=compat, store=self.store, threads=self._threads)

        return self._opened(("person", name, compat), open_it, [card] if card else [])

    def anime(self, *, remove_background: bool, compat: bool) -> AnimeSegmenter:
        """Both networks for drawn faces, or the face network alone.

        Raises:
            Refused: As for `cutter`.
        """
        cards = [find_card(name) for name in _ANIME[: 1 + remove_background]]

        def open_it() -> AnimeSegmenter:
            if self._engines is not None:
                face, *character = (self._open(card, compat) for card in cards)
                return AnimeSegmenter(face, next(iter(character), None), compat=compat)
            return open_anime(
                remove_background=remove_background,
                compat=compat,
                device=self._device,
                store=self.store,
                threads=self._threads,
            )

        return self._opened(("anime", remove_background, compat), open_it, cards)

    def _opened(self, key: tuple[object, ...], open_it: Callable[[], _T], cards: list[ModelCard]) -> _T:
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return cast("_T", self._held[key])
        for card in cards:
            self._check(card)
        opened = open_it()  # outside the lock: the engines behind it are shared, and others may be had meanwhile
        with self._lock:
            self._held[key] = opened
            while len(self._held) > self._bound:
                self._held.popitem(last=False)
        return opened

    def _check(self, card: ModelCard) -> None:
        """Nothing, if the model is here, or may be fetched for a caller.

        Raises:
            Refused: It is not, or its licence was not accepted.
        """
        if self._engines is not None:
            return
        if card.commercial is False and not self.store.is_license_accepted(card.name):
            raise Refused(
                503,
                f"the licence of {card.name} was not accepted on this server",
                hint=f"whoever runs it reads {card.license_url} and runs "
                f"maskwright models fetch {card.name} --accept-license",
            )
        if not self._fetch and not self.is_here(card):
            here = ", ".join(other.name for other in catalog() if self.is_here(other)) or "none"
            raise Refused(
                503,
                f"the weights of {card.name} are not on this server",
                hint=f"there are: {here}; whoever runs it can run maskwright models fetch {card.name}",
            )
