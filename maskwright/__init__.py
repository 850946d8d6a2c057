"""Segmentation and matting: masks, cut-outs and redrawing inside masks, from one engine.

    >>> import maskwright as mw
    >>> mw.cutout("photo.jpg").save("cutout.png")  # doctest: +SKIP

Nothing heavy is imported until a name is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# All names but `networks`: a star import must not load PyTorch, nor need it.
__all__ = [
    "Cutout",
    "CutoutOptions",
    "PersonOptions",
    "SegmentResult",
    "Segmenter",
    "anime",
    "anime_face",
    "compat",
    "cutout",
    "detail",
    "engines",
    "errors",
    "geometry",
    "imageio",
    "metrics",
    "models",
    "open_person",
    "open_segmenter",
    "person",
    "person_mask",
    "refine",
    "segment",
]

_MODULES = (
    "anime",
    "compat",
    "detail",
    "engines",
    "errors",
    "geometry",
    "imageio",
    "metrics",
    "models",
    "networks",
    "person",
    "refine",
)
_NAMES = {
    "Cutout": "imageio",
    "CutoutOptions": "pipeline",
    "PersonOptions": "person",
    "SegmentResult": "types",
    "Segmenter": "segmenters",
    "anime_face": "anime",
    "cutout": "pipeline",
    "open_person": "person",
    "open_segmenter": "segmenters",
    "person_mask": "person",
    "segment": "pipeline",
}

if TYPE_CHECKING:
    from . import anime as anime
    from . import compat as compat
    from . import detail as detail
    from . import engines as engines
    from . import errors as errors
    from . import geometry as geometry
    from . import imageio as imageio
    from . import metrics as metrics
    from . import models as models
    from . import networks as networks
    from . import person as person
    from . import refine as refine
    from .anime import anime_face as anime_face
    from .imageio import Cutout as Cutout
    from .person import PersonOptions as PersonOptions
    from .person import open_person as open_person
    from .person import person_mask as person_mask
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
    return sorted({*globals(), *__all__, *_MODULES})
