"""What will be done with a clip, decided before any of it is: codec, files, and all that the bytes depend on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..cutout_options import CutoutOptions
from ..errors import MediaError, OptionError
from ..imageio import LoadedImage
from ..person import PersonOptions
from ..types import Provenance
from .codecs import Codec, choose_codec
from .companions import Companions, plan_companions, sound_codec
from .journal import Entry, file_facts
from .library import load_av, reading
from .options import VideoOptions
from .outputs import ClipOutput, Output, PictureOutput, pick_part, pick_whole
from .reader import ClipInfo

__all__ = ["VideoPlan", "plan_video"]

_MADE_FOR_ONE = ("crop", "expand_canvas")  # options that give every frame a size of its own


@dataclass(frozen=True, eq=False)
class VideoPlan:
    """What will be done.

    Attributes:
        source: The clip.
        target: What is written.
        codec: How.
        companions: What goes along with the pictures.
        options: How each frame is cut.
        video: How the clip is treated.
        person: Which parts of a person; None: no parts.
    """

    source: Path
    target: Path
    codec: Codec
    companions: Companions
    options: CutoutOptions
    video: VideoOptions
    person: PersonOptions | None

    @property
    def folder(self) -> Path:
        """Where pieces lie until all are done."""
        return self.target.with_name(f".{self.target.name.replace('%', '')}.maskwright")

    @property
    def alpha(self) -> bool:
        """Whether what is written is transparent."""
        return not (self.options.fills_frame or self.video.background_clip)

    @property
    def sound(self) -> str:
        """What becomes of the sound, in words."""
        sound = self.companions.sound
        return "none" if not sound else "copied" if all(sound) else f"encoded as {self._sound_codec}"

    @property
    def _sound_codec(self) -> str:
        return sound_codec(self.target).removeprefix("lib")

    def facts(self, provenance: Provenance) -> dict[str, Any]:
        """All that the bytes depend on. Whatever changes makes a new beginning."""
        from .. import __version__

        clip, background = self.video.background_clip, self.options.background
        options = {each.name: getattr(self.options, each.name) for each in fields(self.options)}
        if isinstance(background, LoadedImage):
            options["background"] = [background.image, background.alpha]
        return {
            "source": file_facts(self.source),
            "clip": file_facts(Path(clip)) if clip else None,
            "versions": [__version__, load_av().__version__],
            "provenance": asdict(provenance),
            "options": options,
            "video": {**asdict(self.video), "jobs": None},
            "person": asdict(self.person) if self.person else None,
            "codec": self.codec.name,
        }

    def outputs(self, info: ClipInfo) -> list[Output]:
        """The clip itself, and one for each part that is wanted by itself."""
        parts = self.person.parts if self.person and self.video.separate else ()
        named = [(self.target, pick_whole), *((_beside(self.target, part), pick_part(part)) for part in parts)]
        if self.codec.name == "png":
            return [PictureOutput(target, self.folder, info.time_base, pick) for target, pick in named]
        made: list[Output] = []
        for target, pick in named:
            whole = target == self.target
            output = ClipOutput(target, self.folder, self.codec, info, pick, quality=self.video.quality)
            output.alpha = whole and self.alpha
            output.companions = self.companions if whole else None
            made.append(output)
        return made

    def notes(self, info: ClipInfo, entries: Sequence[Entry]) -> tuple[str, ...]:
        """What there is to know, each thing once."""
        counts = Counter(note for entry in entries for note in entry.notes)
        notes = [f"{note} (in {count} frames)" if count > 1 else note for note, count in counts.items()]
        if self.codec.even and any(side % 2 for side in info.size_hw):
            notes.append(f"{self.codec.name} takes even sizes only: the last row or column is there twice")
        if not all(self.companions.sound):
            notes.append(f"the sound was encoded as {self._sound_codec}, since OUTPUT cannot hold it as it is")
        if info.has_audio and not self.companions.sound and self.video.audio != "none":
            notes.append("pictures hold no sound")
        if self.companions.left_out:
            notes.append(f"not carried over: {', '.join(self.companions.left_out)}")
        return tuple(notes)


def plan_video(
    source: Path,
    target: Path,
    options: CutoutOptions | None = None,
    video: VideoOptions | None = None,
    person: PersonOptions | None = None,
) -> VideoPlan:
    """What will be done with a clip; nothing is written or computed.

    Args:
        source: The clip.
        target: What to write.
        options: How each frame is cut; None: the defaults.
        video: How the clip is treated; None: the defaults.
        person: Which parts of a person.

    Raises:
        OptionError: What is asked for does not go together.
        MediaError: There is no such clip, or no folder for OUTPUT.
    """
    options, video = options or CutoutOptions(), video or VideoOptions()
    codec = choose_codec(target, video.codec)
    if target.exists() and source.exists() and target.samefile(source):
        raise OptionError("OUTPUT", expected="another file than INPUT", got=str(target), hint="name a new file")
    if not target.parent.is_dir():
        raise MediaError(
            f"{target} cannot be written: there is no folder {target.parent}", hint=f"mkdir -p '{target.parent}'"
        )
    _check_options(codec, options, video, person)
    if video.background_clip:
        with reading(video.background_clip), Path(video.background_clip).open("rb"):
            pass  # it is there, and may be read
    companions = plan_companions(source, target, video.audio, keep_gps=options.keep_gps)
    return VideoPlan(source, target, codec, companions, options, video, person)


def _check_options(codec: Codec, options: CutoutOptions, video: VideoOptions, person: PersonOptions | None) -> None:
    clash = [name for name in _MADE_FOR_ONE if getattr(options, name)]
    if clash:
        raise OptionError(f"a video goes without {', '.join(clash)}", hint="all frames of a clip have one size")
    if video.background_clip and (options.background is not None or options.bgcolor is not None or options.only_mask):
        raise OptionError("background_clip goes without another background and without only_mask", hint="leave one out")
    if codec.encoder and not codec.alpha and not (options.fills_frame or video.background_clip):
        raise OptionError(
            f"codec {codec.name} holds no transparency",
            hint="name OUTPUT .webm or .mov, or add a background or only_mask",
        )
    if video.separate and person is None:
        raise OptionError("separate", expected="parts of a person besides", got="none", hint="name them with --parts")


def _beside(target: Path, part: str) -> Path:
    return target.with_name(f"{target.stem}-{part}{target.suffix}")
