"""The segmenter that the flags of a command ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import OptionError
from .options import check_model, read_extras
from .talk import agree, open_store

if TYPE_CHECKING:
    from ..cutout_options import CutoutOptions
    from ..engines import Engine
    from ..segmenters import Segmenter

__all__ = ["open_chosen"]


def open_chosen(
    values: dict[str, Any], options: CutoutOptions, opener: Callable[..., Engine] | None = None
) -> Segmenter:
    """The segmenter that the flags name, its licence agreed to; the caller closes it."""
    from ..engines import open_engine
    from ..models import find_card
    from ..segmenters import open_segmenter

    if values["vitmatte"]:
        raise OptionError("-vm (ViTMatte) is not in this version", hint="the nearest way is -a, alpha matting")
    weights = read_extras(values["extras"]).get("weights") or values["weights"]
    card = find_card(check_model(values["model"]))
    store = open_store(values["accept_hash"], values["quiet"])
    if weights is None:
        agree(card, store, values["accept_license"])
    return open_segmenter(
        card.name,
        weights=weights,
        device=values["device"],
        compat=options.compat,
        store=store,
        opener=opener or open_engine,
    )
