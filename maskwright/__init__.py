"""Segmentation and matting: masks, cut-outs and redrawing inside masks, from one engine.

    >>> import maskwright as mw
    >>> mw.cutout("photo.jpg").save("cutout.png")  # doctest: +SKIP

Nothing heavy is imported until a name is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "Cutout",
    "CutoutOptions",
    "SegmentResult",
    "Segmenter",
    "compat",
    "cutout",
    "detail",
    "engines",
    "errors",
    "geometry",
    "imageio",
    "models",
    "open_segmenter",
    "refine",
    "segment",
]

_MODULES = ("compat", "detail", "engines", "errors", "geometry", "imageio", "models", "refine")
_NAMES = {
    "Cutout": "imageio",
    "CutoutOptions": "pipeline",
    "SegmentResult": "types",
    "Segmenter": "segmenters",
    "cutout": "pipeline",
    "open_segmenter": "segmenters",
    "segment": "pipeline",
}

if TYPE_CHECKING:
    from . import compat as compat
    from . import detail as detail
    from . import engines as engines
    from . import errors as errors
    from . import geometry as geometry
    from . import imageio as imageio
    from . import models as models
    from . import refine as refine
    from .imageio import Cutout as Cutout
    from .pipeline import CutoutOptions as CutoutOptions
    from .pipeline import cutout as cutout
    from .pipeline import segment as segment
    from .segmenters import Segmenter as Segmenter
    from .segmenters import open_segmenter as open_segmenter
    from .types import SegmentResult as SegmentResult


def __getattr__(name: str) -> object:
    if name in _MODULES:
        value: object = import_module(f".{name}", __name__)
    elif name in _NAMES:
        value = getattr(import_module(f".{_NAMES[name]}", __name__), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
