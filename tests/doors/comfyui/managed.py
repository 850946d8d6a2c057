"""Run by ComfyUI's own interpreter, on its own model management: load, free, free in part, cancel. Prints what it saw.

python managed.py PATH/TO/ComfyUI PATH/TO/THIS/REPOSITORY
"""

from __future__ import annotations

import gc
import json
import logging
import sys
import types

sys.path[:0] = sys.argv[1:3]
sys.argv = sys.argv[:1]

import comfy.cli_args  # noqa: E402

comfy.cli_args.args.cpu = True

import numpy as np  # noqa: E402
import torch  # noqa: E402
from comfy import model_management as management  # noqa: E402

from maskwright.comfyui.engine import ManagedEngine, rest  # noqa: E402
from maskwright.comfyui.host import each  # noqa: E402
from maskwright.engines.torch import TorchEngine  # noqa: E402
from maskwright.networks import build_network  # noqa: E402

warnings: list[str] = []


class _Listener(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        warnings.append(record.getMessage())


logging.getLogger().setLevel(logging.INFO)
logging.getLogger().addHandler(_Listener())

torch.manual_seed(0)
network = build_network("u2netp")
batch = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
expected = TorchEngine.from_module(network, "cpu").run(batch)[0]
engine = ManagedEngine(network, stay=False)
size = engine._patcher.model_size()
seen: dict[str, object] = {}


def look(name: str, engine: ManagedEngine) -> None:
    """A run's result is right, and ComfyUI knows the whole network."""
    with torch.inference_mode():  # as ComfyUI's executor does
        same = np.array_equal(engine.run(batch)[0], expected)
    known = [one.model for one in management.current_loaded_models]
    seen[name] = [same, engine._patcher in known, engine._patcher.loaded_size() == size, len(known)]


look("loaded", engine)
freed = management.current_loaded_models[0].model_unload(size // 2)
seen["freed in part"] = [freed, 0 < engine._patcher.loaded_size() < size]
look("brought back", engine)
management.unload_all_models()
seen["freed"] = [len(management.current_loaded_models), engine._patcher.loaded_size()]
look("loaded again", engine)
rest(engine)
seen["at rest"] = engine._patcher.loaded_size()
look("after rest", engine)
management.interrupt_current_processing()
try:
    for _ in each([1, 2], 2, types.SimpleNamespace(engine=engine)):  # type: ignore[arg-type]
        seen["ran after cancel"] = True
except management.InterruptProcessingException:
    seen["cancelled"] = engine._patcher.loaded_size()
del engine
gc.collect()
engine = ManagedEngine(network)  # another node, the same network
look("a second engine", engine)
other = ManagedEngine(build_network("u2netp"))
other.run(batch)
seen["two networks"] = len(management.current_loaded_models)
del engine, network
gc.collect()
other.run(batch)
seen["one is gone"] = len(management.current_loaded_models)
seen["warnings"] = [text for text in warnings if "leak" in text]
print(json.dumps(seen))
