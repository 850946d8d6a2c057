"""A clip in, a cut-out clip out: the frame loop, its pieces, and the report."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cutout_options import CutoutOptions
from ..imageio import Cutout
from ..person import PersonOptions, PersonSegmenter, open_person
from ..segmenters import Segmenter, open_segmenter
from ..types import Provenance
from .ahead import drain, read_ahead
from .backdrop import Backdrop
from .journal import Entry, Journal, State, digest_facts
from .options import VideoOptions
from .outputs import Output, Write
from .plan import VideoPlan, plan_video
from .reader import VideoReader
from .steps import FrameCutter, RecurrentSegmenter, Seen

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["VideoReport", "cut_video"]

_logger = logging.getLogger(__name__)

_AHEAD = 2  # frames decoded before they are needed, and as many waiting to be encoded


@dataclass(frozen=True)
class VideoReport:
    """What became of a clip.

    Attributes:
        outputs: What was written.
        size_hw: Height and width of the frames, in pixels.
        frames: How many there are.
        resumed: How many of them an earlier run had done.
        seconds: Time this run took.
        codec: How they are encoded.
        audio: `copied`, `encoded as opus`, `encoded as aac` or `none`.
        flicker_before: Mean of `metrics.warping_error` of the model's masks; None unless they were steadied.
        flicker_after: The same of the steadied masks.
        cuts: How many cuts were found; None unless masks were steadied.
        notes: What there is to know.
        provenance: What computed the masks.
    """

    outputs: tuple[Path, ...]
    size_hw: tuple[int, int]
    frames: int
    resumed: int
    seconds: float
    codec: str
    audio: str
    flicker_before: float | None
    flicker_after: float | None
    cuts: int | None
    notes: tuple[str, ...]
    provenance: Provenance


def cut_video(
    source: str | PathLike[str],
    target: str | PathLike[str],
    *,
    model: str | Segmenter | PersonSegmenter | RecurrentSegmenter | None = "u2netp",
    options: CutoutOptions | None = None,
    video: VideoOptions | None = None,
    person: PersonOptions | None = None,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> VideoReport:
    """What became of a clip whose background was removed, frame by frame.

    Frames keep their times, and the sound is copied. Interrupted or killed, the same call goes on after the last piece
    that was done, with the same bytes as without the interruption; until all is done nothing stands under the
    output's name.

    Args:
        source: The clip.
        target: What to write: a clip, whose suffix says the codec; a folder; or a pattern such as `out-%05d.png`.
        model: A name of the catalog, or what is held open: a segmenter, or a model that remembers. None, with
            `person`: a model for parts whose weights are here.
        options: How each frame is cut; None: the defaults.
        video: How the clip is treated; None: the defaults.
        person: Which parts of a person; `model` is then one for parts, or names one.
        device: Where the network runs, when `model` is a name.
        progress: Called after every frame with the number of frames done and of all, 0 where that is unknown. What it
            raises ends the run, which can be taken up again.

    Raises:
        InputError, MediaError: It is no clip, an option is wrong, or OUTPUT cannot hold what is asked for.
        ModelError, EngineError: No weights, no runtime, or no PyAV.
    """
    began = time.perf_counter()
    plan = plan_video(Path(source), Path(target), options, video, person)
    with ExitStack() as stack:
        reader = stack.enter_context(VideoReader(plan.source, depth=plan.options.depth))
        held = stack.enter_context(_opened(model, plan, device))
        provenance = (held.segmenter if isinstance(held, PersonSegmenter) else held).provenance
        outputs = plan.outputs(reader.info)
        journal = stack.enter_context(Journal(plan.folder, digest_facts(plan.facts(provenance))))
        resumed = journal.frames
        if resumed:
            _logger.info("going on at frame %d of %s", resumed, source)
        cutter = FrameCutter(held, plan.options, person, stabilize=plan.video.stabilize)
        run = _Run(plan, reader, cutter, journal, outputs, progress)
        run.go(stack)
        for output in outputs:
            output.finish(journal.entries)
        return VideoReport(
            outputs=tuple(output.target for output in outputs),
            size_hw=reader.info.size_hw,
            frames=journal.frames,
            resumed=resumed,
            seconds=time.perf_counter() - began,
            codec=plan.codec.name,
            audio=plan.sound,
            **_flicker(journal.entries, plan.video.stabilize),
            notes=plan.notes(reader.info, journal.entries),
            provenance=provenance,
        )


@contextmanager
def _opened(
    model: str | Segmenter | PersonSegmenter | RecurrentSegmenter | None, plan: VideoPlan, device: str
) -> Iterator[Segmenter | PersonSegmenter | RecurrentSegmenter]:
    """What was handed in as it is; what was named is opened, and closed again."""
    if model is not None and not isinstance(model, str):
        yield model
    elif plan.person is not None:
        with open_person(model, device=device, compat=plan.options.compat) as opened:
            yield opened
    else:
        with open_segmenter(model or "u2netp", device=device, compat=plan.options.compat) as segmenter:
            yield segmenter


@dataclass
class _Run:
    """The frames still to be done, piece by piece."""

    plan: VideoPlan
    reader: VideoReader
    cutter: FrameCutter
    journal: Journal
    outputs: Sequence[Output]
    progress: Callable[[int, int], None] | None

    def go(self, stack: ExitStack) -> None:
        """Do them; what is opened for it is closed with the stack."""
        clip = self.plan.video.background_clip
        backdrop = stack.enter_context(Backdrop(clip, self.reader.info.size_hw)) if clip else None
        state: State = self.journal.state()
        done = self.journal.frames
        first = max(0, done - self.cutter.reach)
        frames = stack.enter_context(closing(read_ahead(self.reader.frames(first), _AHEAD)))
        seen = stack.enter_context(closing(self.cutter.see(frames, state, self.plan.video.jobs)))
        steadied = stack.enter_context(closing(self.cutter.steady(seen)))
        encoder = stack.enter_context(ThreadPoolExecutor(1))
        rest = islice(steadied, done - first, None)
        for each in rest:
            piece = chain([each], islice(rest, self.plan.video.chunk - 1))
            state = self._cut_piece(piece, state, encoder, backdrop)

    def _cut_piece(
        self,
        piece: Iterable[Seen],
        state: State,
        encoder: ThreadPoolExecutor,
        backdrop: Backdrop | None,
    ) -> State:
        """Cut the frames of one piece; what the last of them leaves."""
        times: list[tuple[int, int]] = []
        notes: list[str] = []
        sums: Counter[str] = Counter()
        waiting: deque[Future[None]] = deque()
        done, info = self.journal.frames, self.reader.info
        with ExitStack() as stack:
            writes = [stack.enter_context(each.piece(len(self.journal.entries), done)) for each in self.outputs]
            stack.callback(_settle, waiting)  # before the files are closed
            for seen in piece:
                frame = seen.frame
                under = backdrop.at(frame.time * info.time_base) if backdrop else None
                step = self.cutter.cut(seen, state, under)
                state = step.state
                waiting.append(encoder.submit(_write_all, writes, step.cutout))
                drain(waiting, _AHEAD)
                times.append((frame.time, frame.duration))
                notes += step.cutout.notes
                sums.update(step.sums)
                if self.progress is not None:
                    self.progress(done + len(times), info.frames)
            drain(waiting, 0)
        shown, durations = zip(*times, strict=True)
        self.journal.add(Entry(shown, durations, dict(sums), tuple(notes)), state)
        return state


def _flicker(entries: Sequence[Entry], measured: bool) -> dict[str, Any]:
    """The report's figures of flicker."""
    if not measured:
        return {"flicker_before": None, "flicker_after": None, "cuts": None}
    total: Counter[str] = Counter()
    for entry in entries:
        total.update(entry.sums)
    pairs = total["pairs"] or 1
    figures = {name: round(total[name] / pairs, 6) for name in ("flicker_before", "flicker_after")}
    return {**figures, "cuts": int(total["cuts"])}


def _settle(waiting: deque[Future[None]]) -> None:
    """Wait for what is being encoded, and let go what is not begun: nothing may write into a file that is closed."""
    for future in waiting:
        future.cancel()
    wait(waiting)


def _write_all(writes: Sequence[Write], cutout: Cutout) -> None:
    for write in writes:
        write(cutout)
