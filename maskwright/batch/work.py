"""What is done about one picture, step by step: read, decode, compute, finish. Threads are others' affair."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from .. import __version__
from ..cutout_options import CutoutOptions
from ..encode import choose_format
from ..errors import MediaError, OptionError
from ..imageio import Cutout, LoadedImage, load_image, measure_image
from ..pipeline import check_fit, make_cutout
from ..segmenters import Segmenter
from ..segmenters.base import Prepared
from ..types import AnyArray
from .journal import Entry, Recipe, Writer, digest
from .places import Place
from .plan import Job

__all__ = ["MANIFEST_SUFFIX", "Decoded", "Finished", "Read", "Settings", "Unchanged", "Worker", "make_recipe"]

MANIFEST_SUFFIX = ".json"


@dataclass(frozen=True)
class Settings:
    """What is wanted of every picture.

    Attributes:
        options: How to cut.
        format: Of the cut-outs' files.
        quality: 1 to 100, for lossy formats.
        manifest: Whether a file beside each cut-out says what it was made of.
        max_pixels: Refuse pictures with more.
        delete_input: Delete a picture once its own cut-out is written and read back.

    Raises:
        OptionError: No such format, or one that cannot hold the result.
    """

    options: CutoutOptions
    format: str = "png"
    quality: int | None = None
    manifest: bool = False
    max_pixels: int | None = None
    delete_input: bool = False

    def __post_init__(self) -> None:
        choose_format(self.format)
        if self.format in ("jpeg", "jpg") and not self.options.fills_frame:
            raise OptionError("--format jpeg", expected="a background", got="none", hint="add -bgc 255 255 255 255")

    @property
    def suffix(self) -> str:
        """How the cut-outs' names end."""
        return f".{choose_format(self.format)}"

    def describe(self) -> dict[str, Any]:
        """All that reaches the bytes, as plain values; a background picture by its hash."""
        values = {field.name: getattr(self.options, field.name) for field in fields(self.options)}
        background = values["background"]
        if isinstance(background, LoadedImage):
            pixels = [background.image, background.alpha]
            hashes = (digest(plane.tobytes()) for plane in pixels if plane is not None)
            values["background"] = {"sha256": " ".join(hashes)}
        return {**values, "format": choose_format(self.format), "quality": self.quality, "manifest": self.manifest}


def make_recipe(source: Place, segmenter: Segmenter, settings: Settings) -> Recipe:
    """What the cut-outs will depend on besides their pictures."""
    options = digest(json.dumps(settings.describe(), sort_keys=True).encode())
    made_by = segmenter.provenance
    return Recipe(source.root, options, made_by.sha256 or made_by.engine, made_by.model)


@dataclass(frozen=True)
class Unchanged:
    """A picture that turned out to be the one its cut-out was made of.

    Attributes:
        job: What was to be done.
        entry: What the journal is to know.
    """

    job: Job
    entry: Entry


@dataclass(frozen=True, eq=False)
class Read:
    """A picture's file.

    Attributes:
        job: What is to be done.
        data: The file.
        sha256: Its hash.
        pixels: How many it holds, by its header.
    """

    job: Job
    data: bytes
    sha256: str
    pixels: int


@dataclass(frozen=True, eq=False)
class Decoded:
    """A picture that is ready for the network.

    Attributes:
        read: Its file.
        image: The picture.
        prepared: The network's input.
    """

    read: Read
    image: LoadedImage
    prepared: Prepared


@dataclass(frozen=True)
class Finished:
    """A cut-out that is written.

    Attributes:
        job: What was done.
        notes: What there is to know of it.
        deleted: Whether the picture was deleted.
        kept: Why it was kept though it was to be deleted.
    """

    job: Job
    notes: tuple[str, ...] = ()
    deleted: bool = False
    kept: str | None = None


class Worker:
    """The steps from a picture's file to its cut-out's. Holds no state of a picture: threads may share it.

    Args:
        source: Where the pictures are.
        target: Where the cut-outs go.
        segmenter: The model, held open by the caller.
        settings: What is wanted.

    Attributes:
        recipe: What the cut-outs depend on besides their pictures.

    Raises:
        OptionError: The segmenter cannot do what the options say.
    """

    def __init__(self, source: Place, target: Place, segmenter: Segmenter, settings: Settings) -> None:
        check_fit(segmenter, settings.options)
        self.source, self.target = source, target
        self.segmenter = segmenter
        self.settings = settings
        self.recipe = make_recipe(source, segmenter, settings)
        self._journal = Writer(target, self.recipe)

    def read(self, job: Job) -> Read | Unchanged:
        """The picture's file; or that its cut-out is there already, of the same content.

        Raises:
            MediaError: It is gone, cannot be read, or holds no picture that may be decoded.
        """
        data = self.source.read(job.source)
        sha256 = digest(data)
        if job.made is not None and job.made.source_sha256 == sha256:
            return Unchanged(job, self._entry(job, sha256, job.made.sha256, job.made.size))
        if job.objection is not None:
            raise MediaError(job.objection)
        height, width = measure_image(_named(data, job.source), max_pixels=self.settings.max_pixels)
        return Read(job, data, sha256, height * width)

    def decode(self, read: Read) -> Decoded:
        """The picture, and the network's input.

        Raises:
            MediaError: It is damaged.
        """
        image = load_image(
            _named(read.data, read.job.source),
            max_pixels=self.settings.max_pixels,
            keep_gps=self.settings.options.keep_gps,
        )
        return Decoded(read, image, self.segmenter.prepare(self.segmenter.view(image)))

    def compute(self, group: Sequence[Decoded]) -> AnyArray:
        """What the network says of pictures whose inputs have one shape.

        Raises:
            EngineFailed: It stopped.
        """
        return self.segmenter.compute([decoded.prepared for decoded in group])

    def finish(self, decoded: Decoded, output: AnyArray) -> Finished:
        """Write the cut-out, and delete the picture where that is wanted and safe.

        Args:
            decoded: The picture.
            output: (C, h, w) float32, what the network said of it.

        Raises:
            Error: It cannot be made or written.
        """
        job = decoded.read.job
        result = self.segmenter.finish(output, decoded.prepared.placement)
        cutout = _slim(make_cutout(decoded.image, result, self.settings.options, spend=True))
        del result
        data = cutout.to_bytes(self.settings.format, quality=self.settings.quality)
        entry = self._entry(job, decoded.read.sha256, digest(data), len(data))
        self._journal.announce(entry)
        if self.settings.manifest:
            self.target.write(job.target + MANIFEST_SUFFIX, self._manifest(entry, cutout))
        self.target.write(job.target, data)
        self._journal.confirm(entry)
        kept = None
        if self.settings.delete_input:
            kept = self._delete(entry, cutout.frames, cutout.rgba.shape[:2])
        return Finished(job, cutout.notes, self.settings.delete_input and not kept, kept)

    def clean(self, job: Job, entry: Entry) -> Finished:
        """Delete a picture whose cut-out an earlier run wrote, as the worker of that run would have.

        Raises:
            MediaError: One of the two cannot be read.
        """
        data = self.source.read(job.source)
        kept: str | None = "it is not the picture that was cut"
        if digest(data) == entry.source_sha256:
            kept = self._delete(entry, load_image(data, max_pixels=sys.maxsize).frames, None)
        return Finished(job, deleted=not kept, kept=kept)

    def settle(self, unchanged: Unchanged) -> None:
        """Let the journal know the picture's new time.

        Raises:
            MediaError: The journal cannot be written.
        """
        self._journal.note([unchanged.entry])

    def _entry(self, job: Job, source_sha256: str, sha256: str, size: int) -> Entry:
        return Entry(job.target, job.source, source_sha256, job.stamp, sha256, size, self.recipe.key)

    def _manifest(self, entry: Entry, cutout: Cutout) -> bytes:
        """What the cut-out is made of; without times, so that the same work gives the same bytes."""
        height, width = cutout.rgba.shape[:2]
        values = {
            "source": entry.source,
            "source_sha256": entry.source_sha256,
            "target": entry.target,
            "sha256": entry.sha256,
            "height": height,
            "width": width,
            "crop_region": cutout.crop_region,
            "notes": list(cutout.notes),
            "made_by": {"maskwright": __version__, **asdict(cutout.provenance)},
            "options": self.settings.describe(),
        }
        return (json.dumps(values, indent=1) + "\n").encode()

    def _delete(self, entry: Entry, frames: int, size_hw: tuple[int, ...] | None) -> str | None:
        """Why the picture was kept; None: it is deleted.

        All of it must have been cut, it must still be the picture that was, and what lies at the cut-out's name must be
        what was made, and readable.
        """
        if frames > 1:
            return f"it holds {frames} pictures and one was cut: cut it with --all-frames, then delete it"
        if self.source.stamp(entry.source) != entry.stamp:
            return "it was changed meanwhile"
        written = self.target.read(entry.target)
        if digest(written) != entry.sha256:
            return f"{entry.target} is not what was written there"
        found = load_image(written, max_pixels=sys.maxsize).size_hw
        if size_hw is not None and found != size_hw:
            return f"{entry.target} was read back with another size, {found}"
        self.source.delete(entry.source)
        return None


def _slim(cutout: Cutout) -> Cutout:
    """What is needed for its file: at 12 megapixels each map less is 48 MB less while the file is made."""
    nothing = cutout.mask[:0, :0].copy()
    return replace(cutout, mask=nothing, masks={}, alpha=cutout.alpha if cutout.only_mask else nothing)


class _Named(io.BytesIO):
    name = ""


def _named(data: bytes, name: str) -> io.BytesIO:
    """A file whose errors say its name."""
    file = _Named(data)
    file.name = name
    return file
