"""How a clip is cut: what the options of a cut-out do not say."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import OptionError
from ..options import check_options, describe_options, option
from .codecs import CODECS

__all__ = ["VideoOptions"]


@describe_options
@dataclass(frozen=True)
class VideoOptions:
    """How a clip is cut. The names are the command line's long flags, with hyphens.

    Raises:
        OptionError: A value outside its range.
    """

    stabilize: bool = option(
        False,
        "Let the mask follow the motion of the picture from frame to frame instead of flickering; a cut begins anew.",
        group="time",
    )
    codec: str | None = option(
        None,
        "How frames are encoded: vp9 (WebM, MKV), prores (ProRes 4444, MOV), h264 (MP4, MOV, MKV; no transparency), "
        "ffv1 (lossless, MKV) or png (a folder, or a pattern such as out-%05d.png). None: what OUTPUT's name says.",
        group="output",
        unit="NAME",
    )
    quality: int | None = option(
        None, "1 to 100 for vp9 and h264. None: good enough to edit.", group="output", low=1, high=100
    )
    audio: str = option(
        "auto",
        "What becomes of the sound: auto copies it, or encodes it as Opus or AAC where OUTPUT cannot hold it; copy "
        "never encodes; none leaves it out.",
        group="output",
        choices=("auto", "copy", "none"),
    )
    background_clip: str | None = option(
        None,
        "A clip that is put under the cut-out, each of its frames at its own time; at its end it begins again.",
        group="background",
        unit="CLIP",
    )
    separate: bool = option(
        False, "Also write the mask of each part by itself: OUTPUT-face.webm, OUTPUT-hair.webm.", group="output"
    )
    jobs: int = option(1, "Frames whose masks are computed at the same time.", group="work", low=1)
    chunk: int = option(
        64,
        "Frames in a piece: what is done again at most after an interruption. Each begins with a whole picture.",
        group="work",
        unit="frames",
        low=1,
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.codec is not None and self.codec not in CODECS:
            raise OptionError(
                "codec", expected=f"one of {', '.join(CODECS)}", got=repr(self.codec), hint="leave it out"
            )
