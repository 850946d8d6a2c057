"""Which picture becomes which file, and what there is to do: decided before anything is done."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from posixpath import splitext

from ..errors import MediaError, OptionError
from .journal import Entry, Known, Recipe
from .places import Place, Stamp

__all__ = ["PICTURE_SUFFIXES", "Job", "Plan", "check_places", "make_plan", "name_targets"]

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


@dataclass(frozen=True)
class Job:
    """One picture to cut.

    Attributes:
        source: The picture's name in its place.
        target: The name of its cut-out.
        stamp: What the picture was when it was planned.
        made: The cut-out that is there, if only the picture's content can tell whether it still holds.
        objection: Why that must not be replaced, if the picture turns out to be another one.
    """

    source: str
    target: str
    stamp: Stamp
    made: Entry | None = None
    objection: str | None = None


@dataclass
class Plan:
    """What there is to do.

    Attributes:
        jobs: Pictures to cut.
        done: Pictures whose cut-outs are there already, made of the same picture in the same way.
        failed: Picture or folder to why nothing will be done about it.
    """

    jobs: list[Job] = field(default_factory=list)
    done: list[Job] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def check_places(source: Place, target: Place) -> None:
    """Nothing, if pictures of the one may become cut-outs in the other.

    Raises:
        MediaError: The first is not a folder.
        OptionError: They are the same.
    """
    absence = source.absence()
    if absence:
        raise MediaError(source.title, expected="a folder", got=absence, hint="check the path; for one file use cut")
    if source.root == target.root:
        raise OptionError("the folder for cut-outs", expected="another one", got=target.title, hint="name a new one")


def make_plan(
    source: Place,
    target: Place,
    known: Known,
    recipe: Recipe,
    *,
    suffix: str = ".png",
    flat: bool = False,
    overwrite: bool = False,
    rehash: bool = False,
) -> Plan:
    """What there is to do so that each picture has its cut-out: the tree is mirrored, no two share a name.

    Args:
        source: Looked through with its subfolders; `target` inside it is left out.
        target: Where the cut-outs go.
        known: Its journal.
        recipe: How they are to be made.
        suffix: Of the cut-outs.
        flat: Put all of them into `target` itself.
        overwrite: Replace files that the journal does not know, and cut-outs of another folder's pictures.
        rehash: Trust no picture's size and time: each is read to see whether it has changed.
    """
    plan = Plan()
    inside = _inside(target.root, source.root)
    pictures = {
        name: stamp
        for name, stamp in source.walk(plan.failed.__setitem__)
        if splitext(name)[1].lower() in PICTURE_SUFFIXES and not (inside and name.startswith(inside))
    }
    names = name_targets(pictures, suffix=suffix, flat=flat, known=known, root=recipe.root)
    for name, stamp in pictures.items():
        _sort_in(plan, Job(name, names[name], stamp), known, recipe, target, overwrite=overwrite, rehash=rehash)
    return plan


def _sort_in(
    plan: Plan, job: Job, known: Known, recipe: Recipe, target: Place, *, overwrite: bool, rehash: bool
) -> None:
    """Put a picture where it belongs in the plan."""
    entry = known.entries.get(job.target)
    objection = None if overwrite else _objection(job, entry, known, recipe, target)
    before = known.recipes.get(entry.recipe) if entry else None
    if entry is None or not _is_there(entry, target) or not recipe.makes_same(before):
        if objection:
            plan.failed[job.source] = objection
        else:
            plan.jobs.append(job)
    elif entry.stamp == job.stamp and not objection and not rehash:
        plan.done.append(job)
    else:
        plan.jobs.append(replace(job, made=entry, objection=objection))


def _objection(job: Job, entry: Entry | None, known: Known, recipe: Recipe, target: Place) -> str | None:
    """Why a cut-out may not be replaced, if so: nothing that is not this picture's is."""
    cure = "name another folder, or add --overwrite"
    if entry is None:
        if job.target in known.announced or target.stamp(job.target) is None:
            return None
        return f"{job.target} is there, and the journal does not know it; {cure}"
    before = known.recipes.get(entry.recipe, recipe)
    if before.root == recipe.root or not _is_there(entry, target):
        return None
    return f"{job.target} was cut from a picture of {before.root}; {cure}"


def _is_there(entry: Entry, target: Place) -> bool:
    stamp = target.stamp(entry.target)
    return stamp is not None and stamp.size == entry.size


def name_targets(
    sources: Collection[str], *, suffix: str, flat: bool, known: Known | None = None, root: str = ""
) -> dict[str, str]:
    """A name of its own for each source: the shortest of three forms that no other source claims.

    A name that was given once is kept, and the names of pictures that are gone are not given again. Upper and lower
    case count as the same, and so do letters with marks of their own or in one, because some file systems do not tell
    them apart.

    Args:
        sources: Names of pictures.
        suffix: Of the cut-outs.
        flat: Leave folders out of the names.
        known: The journal of the folder of cut-outs.
        root: The folder that the sources' names count from, as the journal calls it.
    """
    given = known.targets_of(root) if known else {}
    forms = {source: _forms_of(source, suffix, flat) for source in {*sources, *given}}
    kept = {source: target for source, target in given.items() if target in forms[source]}
    owners = {_unlike(target): source for target, source in known.owners()} if known else {}
    claims = Counter(name for form in forms.values() for name in _claimed(form[:-1]))
    chosen = dict(kept)
    for source in sources:
        if source not in kept:
            # The same name in another folder is most likely the same picture, in a folder that was moved.
            alone = (name for name in forms[source][:-1] if claims[_unlike(name)] == 1)
            free = (
                name
                for name in alone
                if owners.get(_unlike(name), source) == source and owners.keys().isdisjoint(_folders(_unlike(name)))
            )
            chosen[source] = next(free, forms[source][-1])
    return {source: chosen[source] for source in sources}


def _claimed(names: Iterable[str]) -> set[str]:
    """What no other picture's cut-out may be called: these names, and those of the folders they lie in."""
    compared = {_unlike(name) for name in names}
    return compared.union(*map(_folders, compared))


def _folders(name: str) -> list[str]:
    """The folders a name lies in.

    >>> _folders("a/b/x.png")
    ['a', 'a/b']
    """
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _unlike(name: str) -> str:
    """What tells a name from another on every file system.

    >>> _unlike("E\u0301.png") == _unlike("\u00e9.png")
    True
    """
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def _forms_of(source: str, suffix: str, flat: bool) -> list[str]:
    """Names for a source's cut-out, the last of which depends on this source alone, so that nobody else claims it.

    >>> _forms_of("a/x.jpg", ".png", False)[:3]
    ['a/x.png', 'a/x.jpg.png', 'a_x.jpg.png']
    """
    base = source.rpartition("/")[2] if flat else source
    long = source.replace("/", "_")
    mark = hashlib.sha256(source.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return [f"{base.rpartition('.')[0]}{suffix}", f"{base}{suffix}", f"{long}{suffix}", f"{long}-{mark}{suffix}"]


def _inside(inner: str, outer: str) -> str:
    """How names of the inner folder begin in the outer one; empty where it does not lie in it."""
    start = f"{outer.rstrip('/')}/"
    return f"{inner[len(start) :]}/" if inner.startswith(start) else ""
