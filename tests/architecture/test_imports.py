"""What an import loads. Seconds before anything happens, and libraries that nobody asked for, start here."""

from __future__ import annotations

import pytest

HEAVY = ("numpy", "PIL", "onnxruntime", "scipy", "numba", "torch", "click", "filelock", "onnx", "pillow_heif")

BUDGETS = {
    "import maskwright": HEAVY,
    "import maskwright; dir(maskwright)": HEAVY,
    "from maskwright import *": ("onnxruntime", "torch", "click", "filelock"),
    "import maskwright.errors": HEAVY,
    "import maskwright.models.catalog": ("numpy", "PIL", "onnxruntime", "scipy", "torch", "click"),
    "import maskwright.imageio": ("onnxruntime", "scipy", "filelock", "torch", "click", "pillow_heif"),
    "import maskwright.pipeline": ("onnxruntime", "scipy", "filelock", "torch", "click", "pillow_heif"),
    "import maskwright.detail": ("onnxruntime", "scipy", "filelock", "torch", "click", "diffusers", "safetensors"),
    "import maskwright.cli": ("onnxruntime", "scipy", "torch", "numba"),
}


@pytest.mark.parametrize("statement", BUDGETS)
def test_import_loads_nothing_heavy(statement, run_python):
    code = f"import sys; {statement}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
    loaded = sorted(set(BUDGETS[statement]) & set(done.stdout.split()))
    assert not loaded, f"{statement} loads {', '.join(loaded)}"


def test_import_writes_nothing_and_opens_no_connection(run_python, own_home):
    code = "\n".join(
        [
            "import sys",
            "seen = []",
            "note = lambda event, args: seen.append(event) if event.startswith('socket.') else None",
            "sys.addaudithook(note)",
            "import maskwright",
            "[getattr(maskwright, name) for name in maskwright.__all__]",
            "assert not seen, seen",
        ]
    )
    done = run_python("-c", code, extra=["-B"])
    assert done.returncode == 0, done.stderr
    assert list(own_home.iterdir()) == []


def test_networks_are_reached_through_the_package_and_only_then_loaded(run_python):
    code = "\n".join(
        [
            "import sys",
            "import maskwright as mw",
            "assert 'torch' not in sys.modules and 'networks' in dir(mw)",
            "print(len(mw.networks.build_network('isnet').state_dict()))",
        ]
    )
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 798
