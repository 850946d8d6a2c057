"""From frame to frame: what each one's cut-out takes from those around it, as values that can be put aside.

Three steps, each over all frames: `see` asks the model, `steady` lets a mask follow the motion, `cut` makes the
cut-out. Only `cut`, and a model that remembers, hand something from frame to frame; `steady` looks at a few frames
around each, which a run that is taken up again sees again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from ..cutout_options import CutoutOptions
from ..geometry import resize_map
from ..imageio import Cutout, LoadedImage
from ..metrics import warping_error
from ..person import PersonOptions, PersonSegmenter
from ..pipeline import choose_part, make_cutout
from ..refine.temporal import (
    REACH,
    Glance,
    Motion,
    add_change,
    carry,
    follow,
    glance,
    small_frame,
    small_mask,
    steady_changes,
)
from ..segmenters import Segmenter
from ..types import AnyArray, FloatArray, Provenance, SegmentResult, to_8_bit
from .ahead import mapped_ahead
from .journal import State
from .reader import Frame

__all__ = ["FrameCutter", "Model", "RecurrentSegmenter", "Seen", "Step"]

_RECURRENT = "recurrent."
_HALF = np.float32(0.5)
_WHOLE = ""  # the name of the mask itself among those of parts
_ALPHA, _FRAME, _STEADY = "alpha", "frame", "steady"


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


Model: TypeAlias = "Segmenter | PersonSegmenter | RecurrentSegmenter"


@dataclass(frozen=True, eq=False)
class Seen:
    """A frame and what is selected in it.

    Attributes:
        frame: The frame.
        result: What is selected.
        memory: What a model that remembers must be given to see again from the first frame that later ones look at.
        glance: What was kept of it, where masks are steadied.
        last: The same of the frame before.
        changes: Name to change of each small mask, where masks are steadied.
    """

    frame: Frame
    result: SegmentResult
    memory: State = field(default_factory=dict)
    glance: Glance | None = None
    last: Glance | None = None
    changes: Mapping[str, FloatArray] = field(default_factory=dict)


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
        stabilize: Whether masks are steadied.
    """

    def __init__(
        self, model: Model, options: CutoutOptions, person: PersonOptions | None = None, *, stabilize: bool = False
    ) -> None:
        self._model: Any = model
        self._options, self._person, self._stabilize = options, person, stabilize
        self.reach = REACH if stabilize else 0  # frames before one that must be seen first

    def see(self, frames: Iterable[Frame], state: State, jobs: int) -> Generator[Seen, None, None]:
        """What the model says of each frame.

        Args:
            frames: In their order.
            state: What was put aside of an earlier run; empty at the beginning.
            jobs: How many are looked at at the same time, unless the model remembers.
        """
        if isinstance(self._model, RecurrentSegmenter):
            yield from self._remember(frames, state)
            return
        with closing(mapped_ahead(self._look, frames, jobs)) as looked:
            for frame, result in looked:
                yield Seen(frame, result)

    def _look(self, frame: Frame) -> SegmentResult:
        if isinstance(self._model, PersonSegmenter):
            return self._model(frame.image, self._person)
        return choose_part(self._model(frame.image), self._options.part)

    def _remember(self, frames: Iterable[Frame], state: State) -> Iterator[Seen]:
        memory: State = {
            name.removeprefix(_RECURRENT): value for name, value in state.items() if name.startswith(_RECURRENT)
        }
        for frame in frames:
            result, memory = self._model.step(to_8_bit(frame.image.image), memory)
            yield Seen(frame, choose_part(result, self._options.part), memory)

    def steady(self, seen: Iterable[Seen]) -> Generator[Seen, None, None]:
        """The same, each with a mask that follows the motion of the frames around; a few frames late.

        Args:
            seen: From `see`.
        """
        if not self._stabilize:
            yield from seen
            return
        window: deque[Seen] = deque(maxlen=2 * REACH + 1)
        ready = 0  # place in the window of the next frame to give
        for each in seen:
            last = window[-1].glance if window else None
            ready -= len(window) == window.maxlen
            window.append(replace(each, glance=glance(each.frame.image.image, _masks(each.result), last)))
            if len(window) - ready > REACH:
                yield _steadied(window, ready)
                ready += 1
        for place in range(ready, len(window)):
            yield _steadied(window, place)

    def cut(self, seen: Seen, state: State, under: LoadedImage | None = None) -> Step:
        """A frame's cut-out and the state after it.

        Args:
            seen: From `steady`.
            state: What the frame before left; empty at the first.
            under: A background for this frame alone; None: what the options say.
        """
        options = self._options if under is None else replace(self._options, background=under)
        image, matting = seen.frame.image, options.alpha_matting and options.trimap_numbers is None
        left: dict[str, AnyArray] = {_RECURRENT + name: value for name, value in seen.memory.items()}
        previous = _carried_alpha(seen, state) if matting else None
        cutout = make_cutout(image, seen.result, options, previous=previous)
        if matting:
            left[_FRAME] = seen.glance.frame if seen.glance else small_frame(image.image)
            left[_ALPHA] = small_mask(cutout.alpha, left[_FRAME].shape[:2])
        sums: dict[str, float] = {}
        if seen.glance is not None:
            left[_STEADY] = (seen.glance.masks[_WHOLE] + seen.changes[_WHOLE]).clip(0, 1)
            sums = _flicker(seen, state, left[_STEADY])
        return Step(cutout, left, sums)


def _masks(result: SegmentResult) -> dict[str, FloatArray]:
    """All masks of a result by name; the parts too, unless there is but one."""
    return {**(result.masks if len(result.masks) > 1 else {}), _WHOLE: result.mask}


def _steadied(window: deque[Seen], at: int) -> Seen:
    """One of the window's frames with its changes made, and the memory that a later run needs."""
    here = window[at]
    glances = [each.glance for each in window if each.glance is not None]
    changes = steady_changes(glances, at)
    result = here.result
    mask = add_change(result.mask, changes[_WHOLE])
    masks = {name: add_change(part, changes[name]) if name in changes else mask for name, part in result.masks.items()}
    return replace(
        here,
        result=replace(result, mask=mask, masks=masks),
        memory=window[at - REACH].memory if at >= REACH else {},
        last=glances[at - 1] if at else None,
        changes=changes,
    )


def _carried_alpha(seen: Seen, state: State) -> FloatArray | None:
    """The opacity of the frame before where its pixels are now; None after a cut.

    Where the motion is not to be trusted it contradicts the mask, and matting takes no notice of what does.
    """
    if _ALPHA not in state:
        return None
    motion = seen.glance.before if seen.glance else follow(state[_FRAME], small_frame(seen.frame.image.image))
    if motion is None or motion.is_cut:
        return None
    mask = small_mask(seen.result.mask, motion.trust.shape)
    contrary = np.where(mask > _HALF, mask - _HALF, mask + _HALF)
    alpha = np.where(motion.trust > _HALF, carry(state[_ALPHA], motion), contrary)
    height, width = seen.result.size_hw
    return alpha if alpha.shape == (height, width) else resize_map(alpha, (height, width), "bilinear").clip(0, 1)


def _flicker(seen: Seen, state: State, steady: FloatArray) -> dict[str, float]:
    """How much this frame's masks differ from those before, as seen and as steadied; and whether it is a cut."""
    if seen.glance is None or seen.last is None or seen.glance.before is None or _STEADY not in state:
        return {}
    motion: Motion = seen.glance.before
    if motion.is_cut:
        return {"cuts": 1.0}
    before = warping_error(seen.glance.masks[_WHOLE], carry(seen.last.masks[_WHOLE], motion), motion.trust)
    after = warping_error(steady, carry(state[_STEADY], motion), motion.trust)
    return {"pairs": 1.0, "flicker_before": before, "flicker_after": after}
