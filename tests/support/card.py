"""A graphics card as ComfyUI manages one: who lies on it, who asked for room, and what can be freed."""

from __future__ import annotations

import sys
import types
import weakref
from typing import Any

import torch

__all__ = ["Card", "Patcher", "put_card"]


class Patcher:
    """ComfyUI's ModelPatcher, as far as moving goes."""

    def __init__(self, model: Any, load_device: torch.device, offload_device: torch.device) -> None:
        assert load_device.type != offload_device.type == "cpu"
        self.model = model
        self.on_card = False

    def detach(self) -> None:
        self.on_card = False


class Card:
    """What `comfy.model_management` knows. Like it, it holds patchers weakly: what ends without leaving is a leak."""

    def __init__(self) -> None:
        self.place = torch.device("cuda", 0)
        self.asked: list[dict[str, Any]] = []
        self.emptied = 0
        self._known: list[tuple[weakref.ref[Patcher], weakref.ref[Any]]] = []

    def get_torch_device(self) -> torch.device:
        return self.place

    def load_models_gpu(self, models: list[Patcher], **wanted: Any) -> None:
        self.asked.append(wanted)
        for patcher in models:
            patcher.on_card = True
            self._known.append((weakref.ref(patcher), weakref.ref(patcher.model)))

    def unload_all_models(self) -> None:
        for patcher in self.on_card():
            patcher.detach()

    def soft_empty_cache(self) -> None:
        self.emptied += 1

    def throw_exception_if_processing_interrupted(self) -> None:
        """Nobody pressed Cancel."""

    def on_card(self) -> list[Patcher]:
        """Who lies on the card. A module that nobody could bring back from there fails."""
        found = []
        for patcher, model in self._known:
            assert patcher() is not None or model() is None, "a network outlived its patcher"
            if patcher() is not None and patcher().on_card and patcher() not in found:
                found.append(patcher())
        return found


def put_card(monkeypatch: Any) -> Card:
    """A ComfyUI on such a card, as far as modules are asked for. Networks there compute wherever they can."""
    card = Card()
    management = types.ModuleType("comfy.model_management")
    for name in ("get_torch_device", "load_models_gpu", "unload_all_models", "soft_empty_cache"):
        setattr(management, name, getattr(card, name))
    management.throw_exception_if_processing_interrupted = lambda: card.throw_exception_if_processing_interrupted()
    patching = types.ModuleType("comfy.model_patcher")
    patching.ModelPatcher = Patcher
    package = types.ModuleType("comfy")
    package.model_management, package.model_patcher = management, patching
    for module in (package, management, patching):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return card
