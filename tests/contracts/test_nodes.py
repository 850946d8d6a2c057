"""Every node of the pack, fed with what batches look like at their limits: it answers in the right form, or refuses."""

from __future__ import annotations

import re

import pytest
import torch

from maskwright.comfyui import anime_nodes, detector_nodes
from maskwright.comfyui.nodes import DROP_INS, NODE_CLASS_MAPPINGS, OWN
from maskwright.engines import FakeEngine
from maskwright.errors import Error
from maskwright.segmenters import open_segmenter
from tests.doors.comfyui.conftest import comfy  # noqa: F401 - the fixture
from tests.doors.comfyui.test_runs import _Brightness, _faces, _left_half
from tests.support import comfy as comfyui

SIZE = (17, 31)
FEW = {"steps": 1, "guide_size": 64, "max_size": 64, "noise_mask_feather": 0}
ELSEWHERE = {"MaskwrightLoadModel", "ISNetLoader", "MaskwrightLoadSEGS", "MaskwrightSaveSEGS", "MaskwrightMakeSchedule"}
# Shape of the pictures, of the masks, and what is done to all values; whether a node that takes such must refuse.
FINE = [
    ((0, *SIZE, 3), (0, *SIZE), None),
    ((0, *SIZE, 4), (0, 1, *SIZE), torch.Tensor.half),
    ((1, 1, 1, 1), (1, 1, 1), None),
    ((1, *SIZE, 2), (1, 1, *SIZE), torch.Tensor.half),
    ((1, *SIZE, 3), SIZE, lambda values: values.double() * 4 - 1.5),
    ((7, 5, 3, 4), (7, 5, 3), None),
    ((2, *SIZE, 3), (1, *SIZE), torch.zeros_like),
]
BAD = [
    ((1, *SIZE, 3), (1, *SIZE), lambda values: values * float("nan")),
    ((1, *SIZE, 5), (1, 2, *SIZE), None),
    ((0, 0, 31, 3), (0, 0, 31), None),
]
ODD = [((2, *SIZE, 3), shape, None) for shape in ((3, *SIZE), (0, *SIZE), (2, 31, 17), (2, 40, 50))]


@pytest.fixture(autouse=True)
def _models(monkeypatch, comfy):  # noqa: F811
    """Networks in closed form, but for the shipped one."""
    comfyui.install(monkeypatch)
    for module in (anime_nodes, detector_nodes):
        monkeypatch.setattr(module, "open_node_segmenter", open_fake)


def open_fake(name, *, compat=False, **_):
    return open_segmenter(name, engine=FakeEngine({"anime-face": _faces}.get(name, _left_half)), compat=compat)


def _segs(size_hw, count):
    mask = torch.zeros(max(count, 1), *size_hw)
    mask[:, size_hw[0] // 4 :, size_hw[1] // 4 :] = 1
    return NODE_CLASS_MAPPINGS["MaskToSEGS_for_AnimateDiff"]().doit(mask, False, 2.0, False, 1)[0]


def _values(node, image, mask, change):
    """What is connected to a node, those sockets too that may stay free, and its widgets as they are set at first."""
    count, height, width, _ = image
    prepare = change or (lambda values: values)
    whole = (height or 1, width)
    makers = {
        "IMAGE": lambda: prepare(torch.rand(image)),
        "MASK": lambda: prepare(torch.rand(mask)),
        "SEGS": lambda: _segs(whole, count),
        "BASIC_PIPE": comfyui.make_pipe,
        "ISNET_MODEL": lambda: _Brightness().eval(),
        "MaskwrightRegion": lambda: (0, 0, width, whole[0]),
        "MaskwrightSegmenter": lambda: open_fake("u2netp"),
        "CONTROL_NET": object,
        **dict.fromkeys(("MODEL", "CLIP", "VAE", "CONDITIONING"), object),
    }
    declared = node.INPUT_TYPES()
    values = {}
    for name, (kind, options) in (declared["required"] | declared.get("optional", {})).items():
        if isinstance(kind, list):
            values[name] = (
                "maskwright-parts" if "maskwright-parts" in kind else kind[-1 if name == "alpha_matting" else 0]
            )
        elif kind in makers:
            values[name] = makers[kind]()
        elif "default" in options:
            values[name] = FEW.get(name, options["default"])
    return values


def _run(node_id, *case):
    """The outputs with their types, lists opened."""
    node = NODE_CLASS_MAPPINGS[node_id]
    with torch.inference_mode():  # as ComfyUI does
        outputs = getattr(node(), node.FUNCTION)(**_values(node, *case))
    outputs = outputs["result"] if isinstance(outputs, dict) else outputs
    lists = getattr(node, "OUTPUT_IS_LIST", (False,) * len(outputs))
    assert len(outputs) == len(lists) == len(node.RETURN_TYPES)
    for kind, output, is_list in zip(node.RETURN_TYPES, outputs, lists, strict=True):
        yield from ((kind, one) for one in (output if is_list else [output]))


def _check(found):
    for kind, value in found:
        if kind not in ("IMAGE", "MASK"):
            continue
        assert (value.dtype, value.device.type) == (torch.float32, "cpu")
        assert value.ndim == (4 if kind == "IMAGE" else 3)
        assert value.isfinite().all()
        assert kind == "IMAGE" or not value.numel() or 0 <= value.min() <= value.max() <= 1


@pytest.mark.parametrize("node_id", sorted({*DROP_INS, *OWN} - ELSEWHERE))
@pytest.mark.usefixtures("one_thread")
def test_batches_at_their_limits(node_id):
    declared = NODE_CLASS_MAPPINGS[node_id].INPUT_TYPES()["required"].values()
    looks = any(kind in ("IMAGE", "MASK") for kind, *_ in declared)
    for case in FINE:
        # Matting of a trimap that is noise: it may know no subject.
        refused = _refusal(node_id, *case)
        assert refused == "" or "the trimap's" in refused, case
    for case in BAD if looks else ():
        assert re.match(rf"{node_id}: .*(IMAGE|MASK|region)", _refusal(node_id, *case)), case
    for case in ODD:
        assert re.match(rf"({node_id}: .+)?$", _refusal(node_id, *case)), case


def _refusal(node_id, *case):
    """What a node says instead of an answer; nothing, if its answer is right."""
    try:
        _check(_run(node_id, *case))
    except Error as error:
        return str(error)
    return ""
