"""The forms a clip can be written in: one row a codec, and which a file's name asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import OptionError

__all__ = ["CODECS", "Codec", "choose_codec"]


@dataclass(frozen=True)
class Codec:
    """How frames are encoded.

    Attributes:
        name: What users call it.
        encoder: FFmpeg's name; "" for files of single pictures.
        suffixes: Of files that may hold it; of several codecs the first that has a suffix is the one meant by it.
        opaque: Pixel format of frames without transparency.
        alpha: Pixel format of frames with it; "" where there can be none.
        gray: Pixel format of masks.
        options: For the encoder. Threads are fixed, so that the bytes do not depend on the machine's cores.
        scale: The encoder's number for the worst quality; 0 where there is no choice.
        usual: The number that is used when none is asked for.
        even: Whether height and width must be even.
    """

    name: str
    encoder: str
    suffixes: tuple[str, ...]
    opaque: str = ""
    alpha: str = ""
    gray: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    scale: int = 0
    usual: int = 0
    even: bool = False

    def encoder_options(self, quality: int | None) -> dict[str, str]:
        """What the encoder is told.

        Args:
            quality: 1 to 100; None: the usual one.
        """
        if not self.scale:
            return dict(self.options)
        level = self.usual if quality is None else round(self.scale * (100 - quality) / 100)
        return {**self.options, "crf": str(level)}


CODECS = {
    codec.name: codec
    for codec in (
        Codec(
            "vp9",
            "libvpx-vp9",
            (".webm", ".mkv"),
            opaque="yuv420p",
            alpha="yuva420p",
            gray="yuv420p",
            options={"b": "0", "deadline": "good", "cpu-used": "4", "auto-alt-ref": "0", "tile-columns": "2"},
            scale=63,
            usual=20,
        ),
        Codec(
            "prores",
            "prores_ks",
            (".mov",),
            opaque="yuv444p10le",
            alpha="yuva444p10le",
            gray="yuv444p10le",
            options={"profile": "4444", "alpha_bits": "16", "vendor": "apl0"},
        ),
        Codec(
            "h264",
            "libx264",
            (".mp4", ".m4v", ".mov", ".mkv"),
            opaque="yuv420p",
            gray="yuv420p",
            options={"preset": "medium", "bf": "0"},  # without B-frames pieces join at any frame
            scale=51,
            usual=16,
            even=True,
        ),
        Codec("ffv1", "ffv1", (".mkv",), opaque="bgr0", alpha="bgra", gray="gray", options={"level": "3"}),
        Codec("png", "", ()),
    )
}
_BY_SUFFIX = {".webm": "vp9", ".mov": "prores", ".mp4": "h264", ".m4v": "h264", ".mkv": "ffv1"}


def choose_codec(target: Path, name: str | None = None) -> Codec:
    """The codec asked for, else the one that the file's name asks for; without a suffix a folder of PNG files.

    Raises:
        OptionError: No such codec, or one that such a file cannot hold.
    """
    suffix = target.suffix.lower()
    pictures = not suffix or (suffix == ".png" and "%" in target.name)
    wanted = name or ("png" if pictures else _BY_SUFFIX.get(suffix))
    if wanted is None:
        raise OptionError(
            "OUTPUT",
            expected=f"a name that ends in {', '.join(_BY_SUFFIX)}, a folder, or a pattern such as out-%05d.png",
            got=repr(str(target)),
            hint="for a still picture use cut" if suffix in (".png", ".jpg") else "name it .webm or .mov",
        )
    if wanted not in CODECS:
        raise OptionError("codec", expected=f"one of {', '.join(CODECS)}", got=repr(wanted), hint="leave it out")
    codec = CODECS[wanted]
    if not (pictures if wanted == "png" else suffix in codec.suffixes):
        where = " or ".join(codec.suffixes) or "a folder, or a pattern such as out-%05d.png"
        raise OptionError(f"OUTPUT with codec {wanted}", expected=where, got=repr(str(target)), hint="rename it")
    return codec
