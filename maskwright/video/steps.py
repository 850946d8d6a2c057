"""From frame to frame: what each one's cut-out takes from the one before, as values that can be put aside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from ..cutout_options import CutoutOptions
from ..imageio import Cutout, LoadedImage
from ..person import PersonOptions, PersonSegmenter
from ..pipeline import choose_part, make_cutout
from ..segmenters import Segmenter
from ..types import AnyArray, Provenance, SegmentResult, to_8_bit
from .journal import State

__all__ = ["FrameCutter", "RecurrentSegmenter", "Step"]

_RECURRENT = "recurrent."


@runtime_checkable
class RecurrentSegmenter(Protocol):
    """A model that remembers: it is given what it left at the frame before, and leaves something for the next."""

    @property
    def provenance(self) -> Provenance:
        """What to write into results."""

    def step(self, image: AnyArray, state: State) -> tuple[SegmentResult, State]:
        """What is selected in a frame, and the state after it.

        Args:
            image: (H, W, 3) uint8 RGB.
            state: What it returned for the frame before; empty at the first.
        """


@dataclass(frozen=True, eq=False)
class Step:
    """What one frame gives.

    Attributes:
        cutout: The frame, cut out.
        state: What it leaves for the next.
        sums: What is added up for the report.
    """

    cutout: Cutout
    state: State
    sums: Mapping[str, float] = field(default_factory=dict)


class FrameCutter:
    """Cuts frames in their order. It holds no state of a clip.

    Args:
        model: What says what is selected.
        options: How to cut.
        person: Which parts, for a model of a person's parts.
    """

    def __init__(
        self,
        model: Segmenter | PersonSegmenter | RecurrentSegmenter,
        options: CutoutOptions,
        person: PersonOptions | None = None,
    ) -> None:
        self._model, self._options, self._person = model, options, person

    def look(self, image: LoadedImage) -> SegmentResult | None:
        """What the model says of a frame by itself, in any order of frames; None from one that remembers."""
        if isinstance(self._model, PersonSegmenter):
            return self._model(image, self._person)
        if isinstance(self._model, Segmenter):
            return choose_part(self._model(image), self._options.part)
        return None

    def step(
        self, image: LoadedImage, seen: SegmentResult | None, state: State, under: LoadedImage | None = None
    ) -> Step:
        """A frame's cut-out and the state after it.

        Args:
            image: The frame.
            seen: What `look` said of it.
            state: What the frame before left; empty at the first.
            under: A background for this frame alone; None: what the options say.
        """
        options = self._options if under is None else replace(self._options, background=under)
        left: dict[str, AnyArray] = {}
        if seen is None:
            before = {name.removeprefix(_RECURRENT): value for name, value in state.items() if _RECURRENT in name}
            model: Any = self._model
            seen, after = model.step(to_8_bit(image.image), before)
            left.update((_RECURRENT + name, value) for name, value in after.items())
        return Step(make_cutout(image, seen, options), left)
