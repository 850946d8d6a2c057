"""The pack loaded as ComfyUI loads it, and stand-ins for the modules ComfyUI has."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Iterator
from typing import ClassVar

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="session")
def pack() -> Iterator[types.ModuleType]:
    """The repository, loaded from its folder under a name of ComfyUI's making."""
    name = "custom_nodes_maskwright_x_dot_y"
    spec = importlib.util.spec_from_file_location(name, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    yield module
    for known in [known for known in sys.modules if known == name or known.startswith(f"{name}.")]:
        del sys.modules[known]


class Bar:
    """ComfyUI's progress bar, remembering what it was told."""

    made: ClassVar[list[Bar]] = []

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        Bar.made.append(self)

    def update(self, value: int) -> None:
        self.done += value

    def update_absolute(self, value: int, total: int) -> None:
        self.done, self.total = value, total


class Interrupted(Exception):
    """What ComfyUI raises in a node when its user presses Cancel."""


@pytest.fixture
def comfy(monkeypatch, tmp_path):
    """Stand-ins for the modules of a running ComfyUI; `comfy.cancel_after` interrupts before that picture."""
    import torch

    control = types.SimpleNamespace(bars=Bar.made, cancel_after=None, asked=0, models=tmp_path / "models")
    Bar.made.clear()

    def throw() -> None:
        control.asked += 1
        if control.cancel_after is not None and control.asked > control.cancel_after:
            raise Interrupted

    folder_paths = types.ModuleType("folder_paths")
    folder_paths.models_dir = str(control.models)
    folder_paths.folder_names_and_paths = {"isnet": ([str(tmp_path / "elsewhere")], {".pth"})}
    folder_paths.get_input_directory = lambda: str(tmp_path / "input")
    folder_paths.get_output_directory = lambda: str(tmp_path / "output")
    folder_paths.get_folder_paths = lambda kind: folder_paths.folder_names_and_paths[kind][0]
    management = types.ModuleType("comfy.model_management")
    management.get_torch_device = lambda: torch.device("cpu")
    management.throw_exception_if_processing_interrupted = throw
    utils = types.ModuleType("comfy.utils")
    utils.ProgressBar = Bar
    for name, module in {
        "folder_paths": folder_paths,
        "comfy.model_management": management,
        "comfy.utils": utils,
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    return control
