"""What an import loads. Seconds before anything happens, and libraries that nobody asked for, start here."""

from __future__ import annotations

import pytest

from tests.conftest import ROOT

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


@pytest.fixture
def above(tmp_path):
    """The folder above a checkout that is called `maskwright`: there Python finds the pack's file first."""
    (tmp_path / "maskwright").symlink_to(ROOT, target_is_directory=True)
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ("-c", "import maskwright as mw, maskwright.errors; print(mw.__version__, mw.cutout.__name__)"),
        ("-c", "from maskwright import *; from maskwright.errors import Error; print(anime_face.__name__)"),
        ("-c", "import maskwright as mw, importlib; importlib.reload(mw); print(mw.__version__)"),
        ("-m", "maskwright", "--version"),
        ("-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "maskwright/tests/unit/test_types.py"),
    ],
    ids=["import", "star", "reload", "program", "tests"],
)
def test_the_folder_above_a_checkout_finds_the_library(run_python, above, arguments):
    done = run_python(*arguments, cwd=above)
    assert done.returncode == 0, done.stdout + done.stderr


_AS_OLD_COMFYUI = """
import sys, types
from importlib.util import module_from_spec, spec_from_file_location
sys.modules["folder_paths"] = types.ModuleType("folder_paths")
spec = spec_from_file_location(sys.argv[2], sys.argv[1] + "/__init__.py")
pack = sys.modules[sys.argv[2]] = module_from_spec(spec)
spec.loader.exec_module(pack)
print(len(pack.NODE_CLASS_MAPPINGS), pack.WEB_DIRECTORY)
"""


@pytest.mark.parametrize("name", ["maskwright", "ComfyUI-Maskwright", "/home/me/custom_nodes/maskwright_x_1"])
def test_comfyui_gets_the_nodes_under_any_name(run_python, above, name):
    done = run_python("-c", _AS_OLD_COMFYUI, above / "maskwright", name)
    assert done.returncode == 0, done.stderr
    count, web = done.stdout.split()
    assert int(count) > 50
    assert (ROOT / web / "docs").is_dir()
