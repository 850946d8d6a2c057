"""The pack beside other packs in a real ComfyUI: COMFYUI_PACKS names a folder with checkouts of them.

COMFYUI_PATH and COMFYUI_PYTHON as for `test_real.py`. Each part is skipped where its packs are not in the folder. What
the packs do is their code's, in the versions that docs/comfyui.md names; the models are random.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
import make_tiny_checkpoint as tiny
import try_in_comfyui

pytestmark = pytest.mark.comfy

_LONGEST = 1800  # seconds, on a busy machine
_OFFLINE = {"PYTHONPATH": "", "HF_HUB_OFFLINE": "1", "YOLO_OFFLINE": "true"}  # whatever the packs would ask for


@pytest.fixture(scope="module")
def places():
    """The checkout, its interpreter, and the folder of packs."""
    path, packs = os.environ.get("COMFYUI_PATH"), os.environ.get("COMFYUI_PACKS")
    if not path or not packs:
        pytest.skip("COMFYUI_PATH and COMFYUI_PACKS do not name checkouts of ComfyUI and of other packs")
    return Path(path), os.environ.get("COMFYUI_PYTHON", sys.executable), Path(packs)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """ComfyUI's folder, with room for 1.6 GB of models, which go at the end."""
    folder = tmp_path_factory.mktemp("beside")
    (folder / "models").mkdir()
    yield folder
    shutil.rmtree(folder / "models")


@pytest.fixture(scope="module")
def found(places, base):
    """What `beside_packs.py` found out."""
    path, python, packs = places
    command = [python, str(ROOT / "tests" / "doors" / "comfyui" / "beside_packs.py"), path, packs, base / "models"]
    environment = {**os.environ, **_OFFLINE}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=_LONGEST, cwd=base
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def take(found, name):
    """The facts of a part."""
    if found[name] is None:
        pytest.skip(f"the packs for {name!r} are not in COMFYUI_PACKS")
    return found[name]


def test_compat_is_the_impact_packs_detailer_bit_for_bit(found):
    part = take(found, "parity")
    assert len(part) > 20
    assert set(part.values()) == {0}, part


def test_workflows_saved_with_todays_packs_load(found):
    assert {name: wrong for name, wrong in found["schemas"].items() if wrong} == {}


def test_segs_and_pipes_go_both_ways(found):
    part = take(found, "exchange")
    assert part["same boxes"]
    for name in ("ImpactSEGSOrderedFilter", "ImpactSEGSRangeFilter", "ImpactSEGSLabelFilter", "ImpactSEGSConcat"):
        assert part[name], f"{name} passes our very records on"
    assert part["records"] == ["SEG", "SEG"]
    assert part["pasted"] < 1e-6
    assert len(part["previewed"]) == 2
    assert part["combined"] < 1 / 255  # theirs counts in 8 bits
    assert part["masks"] == [[1, 96, 128]] * 6
    assert part["ImpactDilateMaskInSEGS"]
    assert part["ImpactGaussianBlurMaskInSEGS"]
    sizes = sorted([[3, 64, 80, 3], [3, 32, 40, 3]])
    assert sorted(part["their masks"]) == sorted(part["in their detailer"]) == sizes
    assert part["pipe"]
    assert 0 < part["edited"] < 1


def test_ids_stay_with_the_pack_that_has_them(found):
    part = take(found, "exchange")
    assert set(part["who"].values()) == {True}


def test_controlnets_of_both_packs_are_applied(found):
    part = take(found, "controls")
    assert min(part["moved"].values()) > 0.001
    assert part["moved"]["mixed"] == part["moved"]["advanced twice"] != part["moved"]["advanced"]
    assert {name: len(images) for name, images in part["shown"].items() if "twice" in name} == {
        "ours twice": 2,
        "advanced twice": 2,
    }
    assert len(part.get("their stills", [0, 0])) == 2


def test_advanced_controlnet_and_comfyuis_own_node_agree(found):
    part = take(found, "controls")
    if not part["advanced"]:
        pytest.skip("Advanced-ControlNet is not in COMFYUI_PACKS, or this ComfyUI cannot load it")
    assert set(part["apart"].values()) == {0}
    for name, apart in part["parity"].items():
        if isinstance(apart, list):  # the Impact Pack knows the older form of that node alone
            assert "no attribute 'apply_controlnet'" in apart[0]
            assert apart[1] == "ran"
        else:
            assert apart == 0, name


def test_an_ipadapter_on_segments_changes_the_model(found):
    part = take(found, "adapters")
    assert part["moved"] > 0.001
    assert part["both"] > 0.001
    assert [len(images) for images in part["shown"]] == [1, 2]
    assert part["compat"] == 0  # where it is ignored, as in the original


def test_either_packs_is_net_runs_in_either_packs_node(found):
    part = take(found, "networks")
    assert len(part) == 4
    assert max(part.values()) < 0.004, part  # compat cuts to 8 bits, as art-venture did at first


def test_a_film_through_animatediff(found):
    part = take(found, "motion")
    assert part["frames"] == [4, 96, 128, 3]
    assert part["kept"]
    assert set(part["windows"]) == {6}  # three frames, with the prompt and without
    assert len(part["windows"]) == 2
    assert part["motion"] > 0.01
    assert part["coupled"] > 0.0005
    assert part["generations"] == 0
    assert part.get("compat", 0) == 0


def test_a_film_through_animatediff_posted_as_a_prompt(found, places, base):
    take(found, "motion")
    path, python, packs = places
    cut = {"combined": True, "crop_factor": 1.0, "bbox_fill": False, "drop_size": 10, "contour_fill": False}
    steps = {"seed": 1, "steps": 1, "cfg": 4.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 0.5}
    size = {"guide_size": 64, "guide_size_for": True, "max_size": 64, "refiner_ratio": 0.2}
    motion = {"model_name": tiny.MOTION, "beta_schedule": "autoselect", "context_options": ["windows", 0]}
    prompt = {
        "photo": ("LoadImage", {"image": "astronaut.jpg"}),
        "small": ("ImageScale", {"image": ["photo", 0], "upscale_method": "area", "width": 128, "height": 96,
                                 "crop": "disabled"}),
        "film": ("RepeatImageBatch", {"image": ["small", 0], "amount": 4}),
        "dark": ("SolidMask", {"value": 0.0, "width": 128, "height": 96}),
        "bright": ("SolidMask", {"value": 1.0, "width": 48, "height": 48}),
        "mask": ("MaskComposite", {"destination": ["dark", 0], "source": ["bright", 0], "x": 40, "y": 24,
                                   "operation": "add"}),
        "segs": ("MaskwrightMaskToSEGS", {"mask": ["mask", 0], **cut}),
        "files": ("CheckpointLoaderSimple", {"ckpt_name": tiny.CHECKPOINT}),
        "unet": ("UNETLoader", {"unet_name": tiny.MOTION, "weight_dtype": "default"}),
        "windows": ("ADE_StandardStaticContextOptions", {"context_length": 3, "context_overlap": 1}),
        "model": ("ADE_AnimateDiffLoaderGen1", {"model": ["unet", 0], **motion}),
        "prompt": ("CLIPTextEncode", {"text": "a face", "clip": ["files", 1]}),
        "pipe": ("MaskwrightToBasicPipe", {"model": ["model", 0], "clip": ["files", 1], "vae": ["files", 2],
                                           "positive": ["prompt", 0], "negative": ["prompt", 0]}),
        "redrawn": ("MaskwrightSEGSDetailerForAnimateDiff", {"image_frames": ["film", 0], "segs": ["segs", 0],
                                                             "basic_pipe": ["pipe", 0], **steps, **size}),
        "paste": ("MaskwrightSEGSPaste", {"image": ["film", 0], "segs": ["redrawn", 0], "feather": 0, "alpha": 255}),
        "before": ("SaveImage", {"images": ["film", 0], "filename_prefix": "before"}),
        "after": ("SaveImage", {"images": ["paste", 0], "filename_prefix": "after"}),
    }  # fmt: skip
    posted = {name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in prompt.items()}
    with try_in_comfyui.running(path, python, base / "models", packs=packs) as comfy:
        files = comfy.open_outputs(comfy.run(posted))
        films = {kind: [_read(file) for file in files if file.name.startswith(kind)] for kind in ("before", "after")}
    before, after = np.stack(films["before"]), np.stack(films["after"])
    assert before.shape == after.shape == (4, 96, 128, 3)
    changed = (before != after).any(axis=(0, 3))
    assert changed[24:72, 40:88].mean() > 0.9
    changed[24:72, 40:88] = False
    assert not changed.any()


def _read(path):
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))
