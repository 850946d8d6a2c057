"""How a node declares an input, in ComfyUI's form: (kind, {options})."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

__all__ = [
    "COMPAT",
    "DEVICE_MODE",
    "DOWNLOAD",
    "Declaration",
    "choice",
    "fraction",
    "pixels",
    "socket",
    "switch",
    "text",
    "whole",
]

Declaration: TypeAlias = tuple[Any, dict[str, Any]]

_LARGEST = 16384  # pixels; ComfyUI's own limit of a picture's side


def socket(kind: str, tooltip: str) -> Declaration:
    """An input that only another node can give."""
    return kind, {"tooltip": tooltip}


def choice(values: Sequence[str], tooltip: str) -> Declaration:
    """One of several words; the first is the default."""
    return list(values), {"tooltip": tooltip}


def switch(default: bool, tooltip: str, **options: Any) -> Declaration:
    """On or off."""
    return "BOOLEAN", {"default": default, **options, "tooltip": tooltip}


def fraction(default: float, tooltip: str, *, low: float = 0.0, high: float = 1.0, step: float = 0.01) -> Declaration:
    """A number, by default from 0 to 1."""
    return "FLOAT", {"default": default, "min": low, "max": high, "step": step, "tooltip": tooltip}


def pixels(default: float, tooltip: str, *, low: float = 0.0) -> Declaration:
    """A length in pixels, parts of a pixel included."""
    return "FLOAT", {"default": default, "min": low, "max": float(_LARGEST), "step": 0.5, "tooltip": tooltip}


def text(default: str, tooltip: str) -> Declaration:
    """A line of text."""
    return "STRING", {"default": default, "tooltip": tooltip}


def whole(default: int, tooltip: str, *, low: int = 0, high: int = _LARGEST) -> Declaration:
    """A whole number."""
    return "INT", {"default": default, "min": low, "max": high, "step": 1, "tooltip": tooltip}


COMPAT = switch(False, "Give the numbers of the node this one stands in for, its known faults included.")
DEVICE_MODE = choice(
    ["AUTO", "Prefer GPU", "CPU"],
    "AUTO leaves the graphics card after the run; Prefer GPU stays until ComfyUI needs the room.",
)
DOWNLOAD = switch(False, "Fetch the model over https if it is not on this machine. Off: only files on disk are used.")
