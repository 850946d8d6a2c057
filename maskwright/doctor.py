"""What is installed on this machine and what is missing."""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata, util

from . import __version__
from .engines import RUNTIMES, is_installed, runs_on
from .engines.base import DEVICES
from .models import Store, catalog

__all__ = ["examine"]

_EXTRAS = {
    "cpu or gpu": "onnxruntime",
    "torch": "torch",
    "export": "onnxscript",
    "person": "ai_edge_litert",
    "heif": "pillow_heif",
    "video": "av",
    "detail": "diffusers",
    "server": "starlette",
    "remote": "fsspec",
    "cluster": "ray",
}
_RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "torch", "ai-edge-litert")
_SETTINGS = (
    "MASKWRIGHT_HOME",
    "MASKWRIGHT_MIRROR",
    "MASKWRIGHT_OFFLINE",
    "MASKWRIGHT_MAX_PIXELS",
    "MASKWRIGHT_THREADS",
    "U2NET_HOME",
    "REMBG_HOME",
    "XDG_DATA_HOME",
    "OMP_NUM_THREADS",
)


def examine(store: Store) -> dict[str, dict[str, str]]:
    """A report in sections, ready to print.

    Args:
        store: Whose folders to look through.
    """
    return {
        "maskwright": {
            "version": __version__,
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "processors": str(os.cpu_count()),
        },
        "engines": _engines(),
        "extras": {extra: "installed" if util.find_spec(module) else "missing" for extra, module in _EXTRAS.items()},
        "libraries": {name: _version(name) for name in ("numpy", "pillow", "scipy", "click", "filelock", "zlib-ng")},
        "store": {"home": str(store.home), "looked through": ", ".join(map(str, store.folders()))},
        "weights": _weights(store),
        "environment": {name: _without_password(os.environ[name]) for name in _SETTINGS if name in os.environ},
    }


def _without_password(value: str) -> str:
    """People paste this report into bug reports."""
    return re.sub(r"//[^/@\s]+@", "//***@", value)


def _engines() -> dict[str, str]:
    installed = [name for name in _RUNTIMES if _version(name) != "missing"]
    report = {name: _version(name) for name in installed}
    if {"onnxruntime", "onnxruntime-gpu"} <= {*installed}:
        report["warning"] = "both builds of ONNX Runtime are installed and hide each other: uninstall one"
    for name, runtime in RUNTIMES.items():
        devices = [device for device in DEVICES if device != "auto" and is_installed(name) and runs_on(name, device)]
        without = "cannot be imported" if is_installed(name) else "missing"
        report[f"{runtime.title} runs on"] = ", ".join(devices) or without
    return report


def _weights(store: Store) -> dict[str, str]:
    found = {}
    for card in catalog():
        for weights in card.weights:
            path = store.find(weights)
            if path is not None:
                found[f"{card.name} ({weights.file})"] = str(path)
    return found or {"none": "maskwright models fetch u2netp"}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"
