"""The pack as ComfyUI sees it: ids, schemas, and what importing it costs."""

from __future__ import annotations

import json

import pytest

from maskwright.comfyui.nodes import ALSO, DROP_INS, OWN, choose_drop_ins
from maskwright.errors import OptionError
from tests.conftest import ROOT
from tests.support.schemas import FROZEN, VARYING, describe, read_schemas

SCHEMAS = json.loads(FROZEN.read_text(encoding="utf-8"))
SEEDS = json.loads(FROZEN.with_name("seed_schemas.json").read_text(encoding="utf-8"))
_HINTS = {"tooltip"}


def _kind(name, kind):
    """What depends on ComfyUI and other packs stands in the goldens as a word."""
    return kind if isinstance(kind, str) or VARYING.get(name) != "installed" else "installed"


def _inputs(node, section):
    """[name, kind, options] of each input, tooltips aside."""
    return [
        [
            name,
            _kind(name, declared[0]),
            {k: v for k, v in (declared[1] if len(declared) > 1 else {}).items() if k not in _HINTS},
        ]
        for name, declared in node.INPUT_TYPES().get(section, {}).items()
    ]


def test_the_schemas_are_frozen(pack):
    """Workflows depend on them: inputs are added at the end, never moved. `python -m tests.support.schemas` freezes."""
    assert json.loads(json.dumps(read_schemas(describe(pack.NODE_CLASS_MAPPINGS)))) == SCHEMAS


@pytest.mark.parametrize("node_id", SEEDS)
def test_what_the_seeds_declare_comes_first_and_unchanged(pack, node_id):
    seed, node = SEEDS[node_id], pack.NODE_CLASS_MAPPINGS[node_id]
    assert seed["function"] == node.FUNCTION
    assert seed["category"] == node.CATEGORY
    assert list(node.RETURN_TYPES)[: len(seed["output"])] == seed["output"]
    assert list(node.RETURN_NAMES)[: len(seed["output"])] == seed["output_name"]
    single = [False] * len(seed["output"])
    assert list(getattr(node, "OUTPUT_IS_LIST", single))[: len(single)] == seed.get("output_is_list", single)
    assert getattr(node, "OUTPUT_NODE", False) == seed.get("output_node", False)
    assert _inputs(node, "required") == seed["required"]
    assert _inputs(node, "optional")[: len(seed["optional"])] == seed["optional"]


@pytest.mark.parametrize("node_id", SEEDS)
def test_every_drop_in_has_a_twin_under_our_own_name(pack, node_id):
    node, twin = (pack.NODE_CLASS_MAPPINGS[name] for name in (node_id, f"Maskwright{node_id}"))
    assert twin is not node
    assert twin.INPUT_TYPES() == node.INPUT_TYPES()
    assert twin.CATEGORY.startswith("Maskwright")
    assert pack.NODE_DISPLAY_NAME_MAPPINGS[f"Maskwright{node_id}"]


def test_every_node_is_described(pack):
    assert set(pack.NODE_CLASS_MAPPINGS) == set(pack.NODE_DISPLAY_NAME_MAPPINGS)
    for node_id, node in pack.NODE_CLASS_MAPPINGS.items():
        assert callable(getattr(node, node.FUNCTION)), node_id
        assert node.DESCRIPTION, node_id
        assert len(node.RETURN_TYPES) == len(node.RETURN_NAMES) == len(node.OUTPUT_TOOLTIPS), node_id
        assert len(getattr(node, "OUTPUT_IS_LIST", node.RETURN_TYPES)) == len(node.RETURN_TYPES), node_id
        assert not hasattr(node, "INPUT_IS_LIST"), (
            node_id
        )  # /object_info does not tell; a node that wants lists says so
        declared = node.INPUT_TYPES()
        for section in ("required", "optional"):
            for name, one in declared.get(section, {}).items():
                assert one[1]["tooltip"], f"{node_id}.{name}"


def test_ids_of_other_packs_are_taken_by_the_rule():
    every = [*DROP_INS, *ALSO.values()]
    assert choose_drop_ins("auto", set()) == every
    assert choose_drop_ins("auto", {every[0]}) == every[1:]
    assert choose_drop_ins("always", {every[0]}) == every
    assert choose_drop_ins("never", set()) == []
    with pytest.raises(OptionError, match="MASKWRIGHT_DROP_IN must be auto or always or never, got 'sometimes'"):
        choose_drop_ins("sometimes", set())


_QUIET_IMPORT = """
import sys
forbidden = ("subprocess.Popen", "os.system", "os.fork", "os.exec", "os.posix_spawn", "os.spawn",
             "socket.connect", "socket.getaddrinfo", "urllib.Request")
def watch(event, arguments):
    if event in forbidden:
        raise SystemExit(f"{event} {arguments}")
sys.addaudithook(watch)
import importlib.util
spec = importlib.util.spec_from_file_location("custom_nodes_maskwright", sys.argv[1] + "/__init__.py",
                                              submodule_search_locations=[sys.argv[1]])
pack = sys.modules["custom_nodes_maskwright"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pack)
heavy = {"torch", "onnxruntime", "scipy", "ai_edge_litert", "diffusers", "safetensors"} & set(sys.modules)
assert not heavy, heavy
print(len(pack.NODE_CLASS_MAPPINGS))
"""


def test_import_starts_nothing_reaches_nothing_and_loads_nothing_heavy(run_python):
    done = run_python("-c", _QUIET_IMPORT, ROOT)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 2 * len(DROP_INS)


_QUIET_RUN = (
    _QUIET_IMPORT
    + """
import torch
node = pack.NODE_CLASS_MAPPINGS["MaskwrightImageSegmentation"]()
image = torch.rand(1, 24, 32, 3)
rest = ("false", 240, 20, 10, "false")
assert node.node(image, "u2netp", *rest)[0].shape == (1, 24, 32, 4)
try:
    node.node(image, "silueta", *rest)
except Exception as error:
    print(error)
"""
)


def test_nodes_start_no_process_and_reach_no_network(run_python, u2netp_home):
    done = run_python("-c", _QUIET_RUN, ROOT)
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert "silueta.onnx" in said
    assert str(u2netp_home) in said


@pytest.mark.parametrize("script", ["make_comfyui_pages.py", "make_workflows.py"])
def test_pages_texts_and_workflows_are_what_the_nodes_say(run_python, script):
    done = run_python(ROOT / "scripts" / script, "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_node_is_in_an_example_workflow(pack):
    workflows = [json.loads(path.read_text(encoding="utf-8")) for path in (ROOT / "example_workflows").glob("*.json")]
    used = {node["type"] for workflow in workflows for node in workflow["nodes"]}
    assert not {*DROP_INS, *OWN} - used
    assert all(path.with_suffix(".jpg").is_file() for path in (ROOT / "example_workflows").glob("*.json"))
