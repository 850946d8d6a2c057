"""What goes along with a clip's pictures: sound, subtitles, fonts, chapters, and what the file says of itself.

All of it is copied that OUTPUT can hold, but what may show the background or the place: attached pictures and position.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import OptionError
from .library import is_cover, load_av, main_stream, reading

__all__ = ["Companions", "copy_texts", "plan_companions", "sound_codec"]

_SOUND = {
    ".webm": ("opus", "vorbis"),
    ".mp4": ("aac", "ac3", "alac", "eac3", "flac", "mp3", "opus"),
    ".m4v": ("aac", "ac3", "alac", "eac3"),
    ".mov": ("aac", "ac3", "alac", "eac3", "mp3", "pcm_f32le", "pcm_s16be", "pcm_s16le", "pcm_s24le", "pcm_s32le"),
}
_SUBTITLES = {
    ".webm": ("webvtt",),
    ".mkv": ("ass", "dvb_subtitle", "dvd_subtitle", "hdmv_pgs_subtitle", "ssa", "subrip", "text", "webvtt"),
    ".mp4": ("mov_text",),
    ".m4v": ("mov_text",),
    ".mov": ("mov_text",),
}
_FONTS = ("application/font", "application/vnd.ms-opentype", "application/x-truetype-font", "font/")
_TEXTS = frozenset(
    (
        "album",
        "album_artist",
        "artist",
        "author",
        "comment",
        "composer",
        "copyright",
        "creation_time",
        "date",
        "description",
        "director",
        "episode_id",
        "genre",
        "language",
        "network",
        "performer",
        "producer",
        "publisher",
        "rating",
        "season_number",
        "show",
        "synopsis",
        "title",
        "track",
        "year",
    )
)
_LONGEST_TEXT = 4096  # characters
_OPUS, _AAC = "libopus", "aac"  # what sound is encoded with that a container cannot hold as it is


@dataclass(frozen=True)
class Companions:
    """What goes along with a clip's pictures.

    Attributes:
        source: The clip that it is taken from.
        sound: Of each sound stream whether it is copied (True) or encoded anew (False); empty: there is none.
        subtitles: Indexes in the file of the subtitles that are copied.
        fonts: Indexes of the attached fonts that are copied.
        left_out: What is not copied, in words.
        keep_gps: Whether the file goes on saying where it was taken.
    """

    source: Path
    sound: tuple[bool, ...] = ()
    subtitles: tuple[int, ...] = ()
    fonts: tuple[int, ...] = ()
    left_out: tuple[str, ...] = ()
    keep_gps: bool = False


def plan_companions(source: Path, target: Path, audio: str = "auto", *, keep_gps: bool = False) -> Companions:
    """What of a clip will go along with its pictures.

    Args:
        source: The clip.
        target: Its name says what the container can hold; a name that is no clip's holds nothing.
        audio: `auto`, `copy` or `none`.
        keep_gps: Let the file go on saying where it was taken.

    Raises:
        OptionError: Sound is to be copied, and the container cannot hold it.
        MediaError: The clip cannot be read.
    """
    suffix = target.suffix.lower()
    with reading(source), load_av().open(str(source)) as container:
        sound = _plan_sound(container, suffix, audio) if suffix in _SUBTITLES and audio != "none" else ()
        subtitles = [
            stream.index for stream in container.streams.subtitles if _name(stream) in _SUBTITLES.get(suffix, ())
        ]
        fonts = [stream.index for stream in container.streams.attachments if suffix == ".mkv" and _is_font(stream)]
        left_out = [*_left_out(container, {*subtitles, *fonts})]
        if suffix not in _SUBTITLES and container.chapters():
            left_out.append("chapters")
    return Companions(source, sound, tuple(subtitles), tuple(fonts), tuple(left_out), keep_gps)


def _plan_sound(container: Any, suffix: str, wanted: str) -> tuple[bool, ...]:
    names = [_name(stream) for stream in container.streams.audio]
    plan = tuple(suffix == ".mkv" or name in _SOUND[suffix] for name in names)
    if wanted == "copy" and not all(plan):
        raise OptionError(
            f"audio {names[plan.index(False)]}",
            expected=f"what {suffix} can hold",
            got="copy",
            hint="use --audio auto, which encodes it anew, or name OUTPUT .mkv",
        )
    return plan


def _left_out(container: Any, copied: set[int]) -> Iterator[str]:
    """In words, what is neither picture nor sound nor copied."""
    main = main_stream(container)
    for stream in container.streams:
        if stream.index in copied or stream.index == main.index or stream.type == "audio":
            continue
        language = stream.metadata.get("language", "")
        if stream.type == "subtitle":
            yield f"subtitles ({' '.join(filter(None, (_name(stream), language)))})"
        elif stream.type == "video":
            yield "an attached picture" if is_cover(stream) else "another video stream"
        elif stream.type == "attachment":
            yield f"the attached file {stream.name}"
        elif not (_name(stream) == "bin_data" and container.chapters()):  # MOV and MP4 keep chapters in such a one
            yield f"a stream of data ({_name(stream) or 'unknown'})"


def _name(stream: Any) -> str:
    context = stream.codec_context
    name: str = stream.name if context is None else context.codec.canonical_name
    return name


def _is_font(stream: Any) -> bool:
    return (stream.mimetype or "").startswith(_FONTS)


def copy_texts(source: Any, target: Any, companions: Companions, shift: int) -> None:
    """Chapters, fonts, and what the file says of itself; before anything else is written.

    Args:
        source: PyAV's container that is read.
        target: The one that is written.
        companions: What goes along.
        shift: Microseconds that are taken off all times.
    """
    target.metadata.update(_kept(source.metadata, companions.keep_gps))
    target.set_chapters([_shifted(chapter, shift) for chapter in source.chapters()])
    for index in companions.fonts:
        font = source.streams[index]
        target.add_attachment(font.name, font.mimetype, font.data)


def _kept(texts: Mapping[str, str], keep_gps: bool) -> dict[str, str]:
    """What is kept of a file's metadata: a list of known, short texts, and the place only where that is wanted."""
    known = {name.lower(): text for name, text in texts.items() if len(text) <= _LONGEST_TEXT}
    return {name: text for name, text in known.items() if name in _TEXTS or (keep_gps and name == "location")}


def _shifted(chapter: Mapping[str, Any], shift: int) -> dict[str, Any]:
    title = {name: text for name, text in chapter["metadata"].items() if name.lower() == "title"}
    units = round(shift / 1_000_000 / chapter["time_base"])
    times = {name: max(0, chapter[name] - units) for name in ("start", "end")}
    return {**chapter, **times, "metadata": title}


def sound_codec(target: Path) -> str:
    """What sound is encoded with that this file cannot hold as it is."""
    return _OPUS if target.suffix.lower() == ".webm" else _AAC
