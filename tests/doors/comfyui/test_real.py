"""The pack in a real ComfyUI: COMFYUI_PATH names the checkout, COMFYUI_PYTHON the interpreter for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import maskwright as mw
from maskwright.detail.diffusers_steppers import EQUIVALENTS
from maskwright.detail.steppers import SAMPLERS
from tests.conftest import ROOT
from tests.support.schemas import FROZEN, read_schemas

pytestmark = pytest.mark.comfy

sys.path.insert(0, str(ROOT / "scripts"))
import try_in_comfyui  # noqa: E402

WORKFLOWS = sorted((ROOT / "example_workflows").glob("*.json"))


@pytest.fixture(scope="module")
def checkout():
    path = os.environ.get("COMFYUI_PATH")
    if not path:
        pytest.skip("COMFYUI_PATH does not name a checkout of ComfyUI")
    return Path(path), os.environ.get("COMFYUI_PYTHON", sys.executable)


@pytest.fixture(scope="module")
def server(u2netp_store, checkout):
    before = os.environ.get("MASKWRIGHT_HOME")
    os.environ["MASKWRIGHT_HOME"] = str(u2netp_store)
    try:
        with try_in_comfyui.running(*checkout, random=True) as comfy:
            yield comfy
    finally:
        os.environ.pop("MASKWRIGHT_HOME")
        if before is not None:
            os.environ["MASKWRIGHT_HOME"] = before


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_example_workflow_gives_pictures(server, path):
    workflow = json.loads(path.read_text(encoding="utf-8"))
    prompt = try_in_comfyui.workflow_to_prompt(workflow, server.read("/object_info"))
    pictures = server.open_outputs(server.run(prompt))
    assert pictures
    for picture in pictures:
        with Image.open(picture) as opened:
            opened.load()


def test_comfyui_reports_the_schemas_that_are_frozen(server):
    reported = server.read("/object_info")
    frozen = json.loads(FROZEN.read_text(encoding="utf-8"))
    assert read_schemas({name: reported[name] for name in frozen}) == frozen


def test_the_library_gives_the_same_bytes(server, samples):
    prompt = {
        "photo": {"class_type": "LoadImage", "inputs": {"image": "astronaut.jpg"}},
        "cut": {
            "class_type": "MaskwrightImageSegmentation",
            "inputs": {
                "images": ["photo", 0],
                "model": "u2netp",
                "alpha_matting": "false",
                "alpha_matting_foreground_threshold": 240,
                "alpha_matting_background_threshold": 20,
                "alpha_matting_erode_size": 10,
                "post_process_mask": "false",
            },
        },
        "save": {"class_type": "SaveImage", "inputs": {"images": ["cut", 0], "filename_prefix": "same"}},
    }
    (picture,) = server.open_outputs(server.run(prompt))
    with Image.open(picture) as opened:
        node = np.asarray(opened).astype(int)
    library = mw.cutout(samples / "astronaut.jpg").rgba.astype(int)
    differing = np.abs(node - library)
    # There may be another runtime in ComfyUI's environment, whose sums are rounded otherwise.
    assert differing.max() <= 1
    assert (differing > 0).mean() < 1e-3


@pytest.fixture(scope="module")
def facts(checkout, tmp_path_factory):
    """What `in_process.py` found out inside ComfyUI."""
    path, python = checkout
    models = tmp_path_factory.mktemp("models")
    environment = {**os.environ, "PYTHONPATH": ""}

    def run(script, *arguments):
        command = [python, str(ROOT / script), str(path), *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    run("scripts/make_tiny_checkpoint.py", models)
    found = run("tests/doors/comfyui/in_process.py", models, ROOT.parent / "shared" / "golden")
    return json.loads(found.splitlines()[-1])


class TestDetailer:
    """The detailer on a tiny random checkpoint, and on the closed-form network in ComfyUI's own wrapping."""

    def test_all_defaults_run(self, facts):
        found = facts["defaults"]
        assert found["shape"] == [1, 32, 32, 3]
        assert found["finite"]
        assert found["moved"] > 0.01
        assert found["shown"] == [[1, 64, 64, 3]]

    def test_compat_gives_the_originals_pictures_bit_for_bit(self, facts):
        if facts["goldens"] is None:
            pytest.skip("no folder of goldens (shared) beside the checkout")
        assert facts["goldens"] == dict.fromkeys(("A", "B", "E1", "E2", "U"), 0)

    def test_the_library_gives_the_same_bits_and_all_fits_together(self, facts):
        assert [name for name, holds in facts["node"].items() if not holds] == []

    @pytest.mark.parametrize("network", ["steppers", "steppers on the toy"])
    def test_our_steppers_agree_with_comfyuis_samplers(self, facts, network):
        assert set(facts[network]) >= set(SAMPLERS) - set(
            EQUIVALENTS
        )  # those need Diffusers, which may be missing there
        assert {name: apart for name, apart in facts[network].items() if not apart < 1e-4} == {}

    def test_our_levels_are_comfyuis_to_the_bit(self, facts):
        assert facts["tables"] == {"linear": True, "sqrt_linear": True}
        assert len(facts["schedules"]) == 27
        assert {name: count for name, count in facts["schedules"].items() if count} == {}

    def test_the_base_as_refiner_changes_nothing(self, facts):
        assert set(facts["refiners"].values()) == {0}

    def test_every_sampler_leaves_latents_where_the_mask_is_0(self, facts):
        assert len(facts["masks"]) > 40
        assert [name for name, holds in facts["masks"].items() if not holds] == []

    def test_prompts_masks_are_cropped(self, facts):
        assert facts["conditions"]["same over the crop"] == 0
        assert facts["conditions"]["matters"] > 0.001

    def test_controlnets_and_adapters_are_applied(self, facts):
        found = facts["controls"]
        moved, shown = found["moved"], found["shown"]
        assert moved["plain"] == moved["none"] == 0
        assert min(moved["one"], moved["two"], moved["adapted"], found["chain"]) > 0.001
        assert shown["plain"] == [[1, 64, 64, 3]]
        assert shown["two"] == [[2, 64, 64, 3]] * 2
        assert shown["adapted"] == [[2, 64, 64, 3], [1, 8, 8, 3]]
        assert (found["black"], found["hint"]) == (0, 0)
        assert all(found["left"])
        assert found["calls"] == [[[2, 64, 64, 3], [1, 64, 64], False]]

    def test_cancel_stops_after_the_step(self, facts):
        assert facts["interrupted"] == 1


def test_comfyui_s_own_management_moves_a_network_and_loses_none(checkout):
    path, python = checkout
    script = Path(__file__).with_name("managed.py")
    done = subprocess.run([python, script, path, ROOT], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    whole = [True, True, True, 1]  # the right result; ComfyUI knows the network, all of it; and no other
    assert json.loads(done.stdout) == {
        "loaded": whole,
        "freed in part": [False, True],
        "brought back": whole,
        "freed": [0, 0],
        "loaded again": whole,
        "at rest": 0,
        "after rest": whole,
        "cancelled": 0,
        "a second engine": whole,
        "two networks": 2,
        "one is gone": 1,
        "warnings": [],
    }
