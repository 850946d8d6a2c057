"""A folder of pictures, one after the other: nothing is lost, and a second run goes on where the first stopped."""

from __future__ import annotations

import hashlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .errors import Error, MediaError, OptionError
from .imageio import Cutout, load_image

__all__ = ["PICTURE_SUFFIXES", "BatchReport", "Job", "plan_batch", "run_batch", "watch_batch"]

PICTURE_SUFFIXES = frozenset(
    {
        ".avif",
        ".bmp",
        ".gif",
        ".heic",
        ".heif",
        ".ico",
        ".jfif",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".png",
        ".tif",
        ".tiff",
        ".webp",
    }
)
_STOP = "stop.txt"  # rembg's way to end a watch


@dataclass(frozen=True)
class Job:
    """One picture to cut.

    Attributes:
        source: The picture.
        target: Where its cut-out goes.
    """

    source: Path
    target: Path


@dataclass
class BatchReport:
    """What became of a folder.

    Attributes:
        written: Cut-outs written by this run.
        skipped: Cut-outs that were there already.
        failed: Picture to what was wrong with it; with `delete_input` also why it was kept.
        notes: Picture to what there is to know of its cut-out.
    """

    written: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    failed: dict[Path, str] = field(default_factory=dict)
    notes: dict[Path, tuple[str, ...]] = field(default_factory=dict)


def plan_batch(folder: Path, target: Path, *, suffix: str = ".png", flat: bool = False) -> list[Job]:
    """Which picture becomes which file: the tree is mirrored, and no two pictures share a target.

    Pictures that differ only in their suffix keep it in the target's name: `x.jpg` and `x.png` become `x.jpg.png`
    and `x.png.png`.

    Args:
        folder: Looked through with its subfolders.
        target: Where the cut-outs go; inside `folder` it is left out of the search.
        suffix: Of the cut-outs.
        flat: Put all cut-outs into `target` itself.

    Raises:
        MediaError: `folder` is not a folder.
        OptionError: `target` is `folder`.
    """
    if not folder.is_dir():
        got = "a file" if folder.exists() else "no such folder"
        raise MediaError(str(folder), expected="a folder", got=got, hint="check the path; for one file use cut")
    if target.resolve() == folder.resolve():
        raise OptionError("the folder for cut-outs", expected="another one", got=str(target), hint="name a new one")
    own = target if _is_inside(target, folder) else None  # a second run must not cut the first one's cut-outs
    sources = sorted(path for path in folder.rglob("*") if _is_picture(path) and not (own and _is_inside(path, own)))
    names = _name_targets([source.relative_to(folder) for source in sources], suffix, flat)
    return [Job(source, target / name) for source, name in zip(sources, names, strict=True)]


def _name_targets(sources: list[Path], suffix: str, flat: bool) -> list[Path]:
    """A name of its own for each source: the shortest of three forms that no other source claims.

    Upper and lower case count as the same, because some file systems do not tell them apart.
    """
    forms = [_forms_of(source, Path(source.name) if flat else source, suffix) for source in sources]
    claims = Counter(name.lower() for form in forms for name in set(form))
    return [
        Path(next((name for name in form if claims[name.lower()] == 1), _hashed(form[-1], source)))
        for form, source in zip(forms, sources, strict=True)
    ]


def _forms_of(source: Path, base: Path, suffix: str) -> list[str]:
    return [str(base.with_suffix(suffix)), f"{base}{suffix}", "_".join(source.parts) + suffix]


def _hashed(name: str, source: Path) -> str:
    """A name that depends on this source alone, so that it stays when other pictures come and go."""
    mark = hashlib.sha256(source.as_posix().encode()).hexdigest()[:12]
    path = Path(name)
    return str(path.with_name(f"{path.stem}-{mark}{path.suffix}"))


def run_batch(
    jobs: Iterable[Job],
    cut: Callable[[Path], Cutout],
    *,
    delete_input: bool = False,
    progress: Callable[[Job], None] | None = None,
) -> BatchReport:
    """What became of the jobs. A picture that fails is noted and the rest go on.

    Args:
        jobs: From `plan_batch`; those whose target exists are skipped.
        cut: Makes the cut-out of one picture.
        delete_input: Delete a picture once this run wrote its cut-out and the cut-out was read back.
        progress: Called after each job.
    """
    report = BatchReport()
    for job in jobs:
        if job.target.exists():
            report.skipped.append(job.target)
        else:
            _run_job(job, cut, delete_input, report)
        if progress is not None:
            progress(job)
    return report


def watch_batch(
    plan: Callable[[], list[Job]],
    run: Callable[[list[Job]], BatchReport],
    folder: Path,
    *,
    interval: float = 1.0,
) -> Iterator[BatchReport]:
    """One report for every round in which there was something to do, until `stop.txt` appears in the folder.

    A picture is taken only when its size and time have not changed for one interval: it may still be arriving.

    Args:
        plan: Makes the jobs of the moment.
        run: Does them.
        folder: Where `stop.txt` is looked for; it is deleted.
        interval: Seconds between two looks.
    """
    seen: dict[Path, tuple[int, int]] = {}
    tried: dict[Path, tuple[int, int]] = {}
    while not (folder / _STOP).exists():
        jobs = [job for job in plan() if not job.target.exists()]
        state = {job.source: _state(job.source) for job in jobs}
        settled = [job for job in jobs if seen.get(job.source) == state[job.source] != tried.get(job.source)]
        seen = state
        if settled:
            yield run(settled)
            tried.update((job.source, state[job.source]) for job in settled)
        time.sleep(interval)
    (folder / _STOP).unlink()


def _run_job(job: Job, cut: Callable[[Path], Cutout], delete_input: bool, report: BatchReport) -> None:
    try:
        result = cut(job.source)
        job.target.parent.mkdir(parents=True, exist_ok=True)
        result.save(job.target)
        report.written.append(job.target)
        if result.notes:
            report.notes[job.source] = result.notes
        if delete_input:
            _delete_verified(job, result)
    except (Error, OSError) as error:
        report.failed[job.source] = str(error)
    except Exception as error:  # noqa: BLE001 - one picture must not end the others' run
        report.failed[job.source] = f"unexpected {type(error).__name__}: {error}"


def _delete_verified(job: Job, result: Cutout) -> None:
    """Delete the picture if all of it was cut, and what lies on the disk can be read and has the right size."""
    if result.frames > 1:
        raise MediaError(
            f"{job.source} was kept: it holds {result.frames} pictures and one was cut",
            hint="cut it with --all-frames, then delete it yourself",
        )
    size_hw = load_image(job.target, max_pixels=sys.maxsize).size_hw
    if size_hw != result.rgba.shape[:2]:
        raise MediaError(str(job.target), expected=f"{result.rgba.shape[:2]}", got=str(size_hw), hint="kept the input")
    job.source.unlink()


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()


def _is_inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _state(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return (-1, -1)
    return stat.st_size, stat.st_mtime_ns
