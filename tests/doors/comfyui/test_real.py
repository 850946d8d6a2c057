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
