"""Run by ComfyUI's own interpreter: what this pack does beside other packs, as facts in JSON.

    PYTHON tests/doors/comfyui/beside_packs.py COMFYUI PACKS MODELS

COMFYUI is a checkout, PACKS a folder with checkouts of other packs, MODELS a folder to write tiny random models into.
ComfyUI starts as `main.py` starts it, but listens nowhere. `test_packs.py` asks what is right about the facts; of packs
that are not there it gets none.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

import make_tiny_checkpoint as tiny  # noqa: E402

from maskwright.comfyui.nodes import DROP_INS  # noqa: E402
from maskwright.networks import build_network  # noqa: E402

COMFYUI, PACKS, MODELS = (Path(name).resolve() for name in sys.argv[1:4])
BASE = MODELS.parent
for name in ("custom_nodes", "input", "output", "temp", "user"):
    (BASE / name).mkdir(exist_ok=True)
for pack in (*PACKS.iterdir(), ROOT):
    (BASE / "custom_nodes" / ("maskwright" if pack == ROOT else pack.name)).symlink_to(pack)

sys.path[:2] = [str(COMFYUI)]  # not the repository any more: ComfyUI has folders of the same names
os.chdir(COMFYUI)
sys.argv = ["main.py", "--cpu", "--base-directory", str(BASE), "--database-url", "sqlite:///:memory:"]
sys.argv += ["--disable-api-nodes", "--verbose", "ERROR"]

import main as comfyui  # noqa: E402

tiny.make(MODELS)
comfyui.start_comfyui()

import comfy.clip_vision  # noqa: E402
import comfy.utils  # noqa: E402
import nodes  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from comfy_extras import nodes_differential_diffusion as differential  # noqa: E402

torch.set_num_threads(1)  # on a busy machine many small steps lose more by waiting for each other
comfy.utils.set_progress_bar_global_hook(None)  # its pictures would go to a page
NODES = nodes.NODE_CLASS_MAPPINGS
OURS, THEIRS = "MaskwrightSEGSDetailerForAnimateDiff", "SEGSDetailerForAnimateDiff"
QUICK = {
    "guide_size": 64, "guide_size_for": True, "max_size": 64, "seed": 5, "steps": 2, "cfg": 4.0,
    "sampler_name": "euler", "scheduler": "normal", "denoise": 0.5, "refiner_ratio": 0.2, "noise_mask_feather": 0,
}  # fmt: skip
KEPT = ("default", "min", "max")  # of an input, for saved workflows
MASKS = {"combined": False, "crop_factor": 2.0, "bbox_fill": False, "drop_size": 10, "contour_fill": False}


def call(node_id, *values, **inputs):
    """A node as ComfyUI calls it; what is left out has the node's default."""
    node = NODES[node_id]()
    with torch.inference_mode():
        out = getattr(node, node.FUNCTION)(*values, **inputs)
    return out["result"] if isinstance(out, dict) else out


def give_old_methods():
    """What nodes of ComfyUI had when the Impact Pack that is tried was written, on today's code."""
    differential.DifferentialDiffusion.apply = lambda _self, model: (
        differential.DifferentialDiffusion.execute(model).args
    )
    gits = NODES["GITSScheduler"]
    gits.get_sigmas = lambda _self, coeff, steps, denoise: gits.execute(coeff, steps, denoise).args


def load_pipe():
    model, clip, vae = call("CheckpointLoaderSimple", ckpt_name=tiny.CHECKPOINT)
    prompts = [call("CLIPTextEncode", clip=clip, text=text)[0] for text in ("a face", "blurry")]
    return call("MaskwrightToBasicPipe", model, clip, vae, *prompts)[0]


def film(count=3, size_hw=(96, 128)):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, *size_hw, 3)).astype(np.float32) / 255)


def film_masks(count=3):
    masks = torch.zeros(count, 96, 128)
    for frame in range(count):
        masks[frame, 32:64, 40 + 4 * frame : 72 + 4 * frame] = 1
        masks[frame, 4:20, 90:110] = 0.5
    return masks


def run(node_id, segs, pipe, frames=None, **inputs):
    frames = film() if frames is None else frames
    return call(node_id, image_frames=frames, segs=segs, basic_pipe=pipe, **{**QUICK, **inputs})


def differ(a, b):
    """The largest difference of the pictures of two SEGS; 9 where anything else differs."""
    (size, ones), (other, others) = a, b
    if tuple(size) != tuple(other) or len(ones) != len(others):
        return 9.0
    largest = 0.0
    for one, two in zip(ones, others, strict=True):
        pictures = [np.asarray(seg.cropped_image) for seg in (one, two)]
        records = [(tuple(seg.crop_region), tuple(seg.bbox), seg.label, float(seg.confidence)) for seg in (one, two)]
        masks = [np.asarray(seg.cropped_mask) for seg in (one, two)]
        if records[0] != records[1] or pictures[0].shape != pictures[1].shape or not np.array_equal(*masks):
            return 9.0
        largest = max(largest, float(np.abs(pictures[0] - pictures[1]).max()))
    return largest


def parity(pipe):
    """How far the node in compat is from the Impact Pack's, on the same SEGS and model."""
    give_old_methods()
    still = call("MaskToSEGS", mask=film_masks()[:1], **MASKS)[0]
    moving = call("MaskToSEGS_for_AnimateDiff", mask=film_masks(), **MASKS)[0]
    other = call("MaskToSEGS", mask=torch.nn.functional.interpolate(film_masks()[:1, None], (48, 64))[0], **MASKS)[0]
    cases = {"still": {}, "other size": {}, "feather": {"noise_mask_feather": 20}, "crop": {"guide_size_for": False}}
    cases |= {"99": {"guide_size": 99, "max_size": 512}, "AYS": {"scheduler": "AYS SD1"}, "all": {"denoise": 1.0}}
    cases |= {"GITS": {"scheduler": "GITS[coeff=1.2]"}, "cfg 1": {"cfg": 1.0}, "steps": {"steps": 7, "denoise": 0.07}}
    cases |= {"GITS function": {"scheduler_func_opt": call("GITSSchedulerFuncProvider", 1.2, 1.0)[0]}}
    cases |= {"AYS function": {"scheduler_func_opt": call("MaskwrightMakeSchedule", "AYS SD1", 1.2)[0]}}
    for ratio, feather in itertools.product((0.0, 0.5, 1.0), (0, 5)):
        refiner = {"refiner_basic_pipe_opt": pipe, "refiner_ratio": ratio, "noise_mask_feather": feather}
        cases[f"refiner {ratio} {feather}"] = refiner
    for sampler in (
        "dpmpp_2m",
        "dpmpp_2m_sde",
        "euler_ancestral",
        "dpmpp_sde",
        "ddim",
        "uni_pc",
        "dpm_2",
        "lcm",
        "heun",
    ):
        cases[sampler] = {"sampler_name": sampler, "noise_mask_feather": 5}
    found = {}
    for name, inputs in cases.items():
        segs = other if name == "other size" else still if name == "still" else moving
        theirs = run(THEIRS, segs, pipe, **inputs)
        ours = run(OURS, segs, pipe, compat=True, **inputs)
        same_shown = all(torch.equal(a, b) for a, b in zip(theirs[1], ours[1], strict=True))
        found[name] = differ(theirs[0], ours[0]) if same_shown else 9.0
        print(name, found[name], file=sys.stderr, flush=True)
    return found


def schemas():
    """Where other packs' nodes and ours of the same id differ in what a saved workflow holds."""
    found = {}
    for node_id in DROP_INS:
        if node_id not in NODES or "maskwright" in NODES[node_id].__module__.lower():
            continue
        twin = NODES[f"Maskwright{node_id}"]
        theirs, ours = (declared(node.INPUT_TYPES()) for node in (NODES[node_id], twin))
        wrong = [name for name, one in theirs.items() if not fits(one, ours.get(name))]
        if list(ours)[: len(theirs)] != list(theirs):
            wrong.append(f"order: {list(theirs)}")
        outputs = NODES[node_id].RETURN_TYPES
        if twin.RETURN_TYPES[: len(outputs)] != tuple(outputs):
            wrong.append(f"outputs: {outputs}")
        found[node_id] = wrong
    return found


def declared(inputs):
    """Each input's type and settings, in order."""
    both = {**inputs.get("required", {}), **inputs.get("optional", {})}
    return {name: (one[0], one[1] if len(one) > 1 else {}) for name, one in both.items()}


def fits(theirs, ours):
    """Whether a value of their input is one of ours, and the same where none is saved."""
    if ours is None:
        return False
    if isinstance(theirs[0], list):
        return set(theirs[0]) <= set(ours[0])
    return theirs[0] == ours[0] and all(ours[1].get(key) == theirs[1][key] for key in KEPT if key in theirs[1])


def exchange(pipe):
    """SEGS and BASIC_PIPE through the Impact Pack's nodes and ours, in both directions."""
    frames, masks = film(), film_masks()
    found = {"who": {name: "impact" in NODES[name].__module__.lower() for name in (THEIRS, "MaskToSEGS", "SEGSPaste")}}
    made = {name: call(f"{name}MaskToSEGS_for_AnimateDiff", mask=masks, **MASKS)[0] for name in ("", "Maskwright")}
    boxes = [[(tuple(seg.crop_region), tuple(seg.bbox)) for seg in segs[1]] for segs in made.values()]
    found["same boxes"] = sorted(boxes[0]) == sorted(boxes[1]) and len(boxes[0]) == 2
    ours = made["Maskwright"]
    done, _ = run(OURS, ours, pipe)
    for name, inputs in {
        "ImpactSEGSOrderedFilter": {"target": "area(=w*h)", "order": True, "take_start": 0, "take_count": 9},
        "ImpactSEGSRangeFilter": {"target": "area(=w*h)", "mode": True, "min_value": 0, "max_value": 99999},
        "ImpactSEGSLabelFilter": {"preset": "all", "labels": "A"},
        "ImpactSEGSConcat": {},
    }.items():
        inputs = {"segs1": done} if name == "ImpactSEGSConcat" else {"segs": done, **inputs}
        if name in NODES:
            passed = call(name, **inputs)[0]
            found[name] = sorted(map(id, passed[1])) == sorted(map(id, done[1])) and tuple(passed[0]) == (96, 128)
    found["records"] = [type(seg).__name__ for seg in done[1]]
    theirs, own = call("SEGSPaste", frames, done, 5)[0], call("MaskwrightSEGSPaste", frames, done, 5)[0]
    found["pasted"] = float((theirs - own).abs().max())
    still, _ = run(OURS, call("MaskwrightMaskToSEGS", mask=masks[:1], **MASKS)[0], pipe, frames=frames[:1])
    found["previewed"] = [list(image.shape) for image in call("SEGSPreview", still)[0]]
    combined = [call(f"{name}SegsToCombinedMask", still)[0] for name in ("", "Maskwright")]
    found["combined"] = float((combined[0] - combined[1]).abs().max())
    found["masks"] = [list(mask.shape) for mask in call("ImpactSEGSToMaskList", ours)[0]]
    for name, inputs in {
        "ImpactDilateMaskInSEGS": {"dilation": 3},
        "ImpactGaussianBlurMaskInSEGS": {"kernel_size": 3, "sigma": 2.0},
    }.items():
        changed = call(name, call("MaskwrightMaskToSEGS", mask=masks[:1], **MASKS)[0], **inputs)[0]
        found[name] = bool(np.isfinite(run(OURS, changed, pipe)[0][1][0].cropped_image).all())
    again = run(OURS, made[""], pipe, frames=frames)[0]
    found["their masks"] = [list(seg.cropped_image.shape) for seg in again[1]]
    found["in their detailer"] = [list(seg.cropped_image.shape) for seg in run(THEIRS, ours, pipe)[0][1]]
    found["pipe"] = all(a is b for a, b in zip(call("FromBasicPipe", pipe), pipe, strict=True))
    edited = call("EditBasicPipe", pipe, positive=pipe[4])[0]
    found["edited"] = differ(again, run(OURS, made[""], edited)[0])
    return found


def pictures(out):
    return torch.from_numpy(np.asarray(out[0][1][0].cropped_image))


def controls(pipe):
    """ControlNets of this pack and the Impact Pack on segments, through Advanced-ControlNet and without."""
    net = call("ControlNetLoader", tiny.CONTROLNET)[0]
    segs = call("MaskwrightMaskToSEGS", mask=film_masks()[:1], **MASKS)[0]
    segs = (segs[0], segs[1][:1])
    hint = torch.rand(1, 96, 128, 3, generator=torch.Generator().manual_seed(0))
    put = "MaskwrightImpactControlNetApplySEGS"
    chains = {
        "ours": [(put, {})],
        "ours twice": [(put, {}), (put, {"control_image": hint, "strength": 0.5})],
        "advanced": [("ImpactControlNetApplyAdvancedSEGS", {"start_percent": 0.0, "end_percent": 1.0})],
        "advanced twice": [("ImpactControlNetApplyAdvancedSEGS", {"start_percent": 0.0, "end_percent": 1.0})] * 2,
        "mixed": [("ImpactControlNetApplyAdvancedSEGS", {"start_percent": 0.0, "end_percent": 1.0}), (put, {})],
        "plain": [("ImpactControlNetApplySEGS", {})],
    }
    made = {}
    for name, chain in chains.items():
        made[name] = segs
        for node_id, inputs in chain:
            if made[name] and node_id in NODES:
                made[name] = call(node_id, made[name], net, **{"strength": 1.0, **inputs})[0]
    found = {"advanced": "ACN_AdvancedControlNetApply" in NODES, "moved": {}, "shown": {}, "apart": {}, "parity": {}}
    nothing = pictures(run(OURS, segs, pipe))
    for name, chained in made.items():
        out = run(OURS, chained, pipe)
        found["moved"][name] = float((pictures(out) - nothing).abs().max())
        found["shown"][name] = [list(image.shape) for image in out[1]]
        if found["advanced"] and THEIRS in NODES:
            found["parity"][name] = parity_of_controls(chained, pipe)
        if found["advanced"]:
            kept = NODES.pop("ACN_AdvancedControlNetApply")
            found["apart"][name] = float((pictures(run(OURS, chained, pipe)) - pictures(out)).abs().max())
            NODES["ACN_AdvancedControlNetApply"] = kept
    if "SEGSDetailer" in NODES:
        stills = {"noise_mask": True, "force_inpaint": True, "cycle": 1, "batch_size": 1, **QUICK}
        out = call("SEGSDetailer", image=film(1), segs=made["ours twice"], basic_pipe=pipe, **stills)
        found["their stills"] = [list(image.shape) for image in out[1]]
    return found


def parity_of_controls(segs, pipe):
    """How far compat is from the Impact Pack with these ControlNets; the error of the two where one stops."""
    said = [attempt(THEIRS, segs, pipe), attempt(OURS, segs, pipe, compat=True)]
    if any(isinstance(one, str) for one in said):
        return [one if isinstance(one, str) else "ran" for one in said]
    shown = [float((a - b).abs().max()) for a, b in zip(said[0][1], said[1][1], strict=True)]
    return max(differ(said[0][0], said[1][0]), *shown)


def attempt(node_id, segs, pipe, **inputs):
    try:
        return run(node_id, segs, pipe, **inputs)
    except Exception as error:  # noqa: BLE001 - whatever a pack raises is the fact
        return f"{type(error).__name__}: {error}"


def make_adapter(path):
    """A vision model and an IPAdapter of random weights."""
    torch.manual_seed(0)
    vision = comfy.clip_vision.ClipVisionModel(path)
    for weight in vision.model.parameters():
        torch.nn.init.normal_(weight, std=0.05)
    keys = {f"{2 * block + 1}.to_{one}_ip.weight": torch.randn(320, 768) / 20 for block in range(16) for one in "kv"}
    projection = {"proj.weight": torch.randn(4 * 768, 32) / 5, "proj.bias": torch.zeros(4 * 768)}
    projection |= {"norm.weight": torch.ones(768), "norm.bias": torch.zeros(768)}
    return vision, {"image_proj": projection, "ip_adapter": keys}


def adapters(pipe):
    """The Impact Pack's IPAdapter on segments, with the real IPAdapter Plus and random weights."""
    config = {"hidden_size": 64, "image_size": 224, "intermediate_size": 64, "num_attention_heads": 4}
    config |= {"num_channels": 3, "num_hidden_layers": 2, "patch_size": 32, "projection_dim": 32, "hidden_act": "gelu"}
    config |= {"layer_norm_eps": 1e-5, "model_type": "clip_vision_model"}
    path = MODELS / "clip_vision.json"
    path.write_text(json.dumps(config))
    with torch.inference_mode():  # as nodes run that load such files
        vision, adapter = make_adapter(path)
    adapter_pipe = (adapter, None, vision, None, lambda model: model)
    segs = call("MaskwrightMaskToSEGS", mask=film_masks()[:1], **MASKS)[0]
    segs = (segs[0], segs[1][:1])
    inputs = {"weight": 1.0, "noise": 0.0, "weight_type": "linear", "start_at": 0.0, "end_at": 1.0, "faceid_v2": False}
    inputs |= {"unfold_batch": False, "weight_v2": 1.0, "context_crop_factor": 1.2, "reference_image": film(1)}
    adapted = call("ImpactIPAdapterApplySEGS", segs, adapter_pipe, **inputs)[0]
    net = call("ControlNetLoader", tiny.CONTROLNET)[0]
    both = call("MaskwrightImpactControlNetApplySEGS", adapted, net, 1.0)[0]
    nothing, one, two = (run(OURS, segs, pipe) for segs in (segs, adapted, both))
    theirs = run(THEIRS, adapted, pipe)
    return {
        "moved": float((pictures(one) - pictures(nothing)).abs().max()),
        "both": float((pictures(two) - pictures(one)).abs().max()),
        "shown": [[list(image.shape) for image in out[1]] for out in (one, two)],
        "compat": differ(theirs[0], run(OURS, adapted, pipe, compat=True)[0]),
    }


def networks():
    """IS-Net from this pack's loader and art-venture's, in both packs' nodes."""
    folder = MODELS / "isnet"
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    torch.save(build_network("isnet").state_dict(), folder / "random.pth")
    picture, masks = film(1, (40, 56)), {}
    for loader, segment in itertools.product(("ISNetLoader", "MaskwrightISNetLoader"), ("", "Maskwright")):
        network = call(loader, "random.pth")[0]
        more = {"compat": True, "soft": True} if segment else {}
        out = call(f"{segment}ISNetSegment", picture, 0.5, isnet_model=network, **more)
        masks[f"{loader}, {segment}"] = out[1].reshape(1, 40, 56)
    first = next(iter(masks.values()))
    return {name: float((mask - first).abs().max()) for name, mask in masks.items()}


def motion(pipe):
    """A film through AnimateDiff-Evolved's models, as long as two of its windows."""
    tiny.make_motion(MODELS)
    unet = call("UNETLoader", unet_name=tiny.MOTION, weight_dtype="default")[0]
    load = {"model": unet, "model_name": tiny.MOTION, "beta_schedule": "autoselect"}
    windows = call("ADE_StandardStaticContextOptions", context_length=3, context_overlap=1)[0]
    moving = call("ADE_AnimateDiffLoaderGen1", context_options=windows, **load)[0]
    whole = call("ADE_AnimateDiffLoaderGen1", **load)[0]
    loaded = call("ADE_LoadAnimateDiffModel", model_name=tiny.MOTION)[0]
    applied = call("ADE_ApplyAnimateDiffModelSimple", motion_model=loaded)[0]
    second = call("ADE_UseEvolvedSampling", unet, "autoselect", m_models=applied, context_options=windows)[0]
    frames, masks = film(4), film_masks(4)
    masks[:, :32] = 0
    segs = call("MaskwrightMaskToSEGS_for_AnimateDiff", mask=masks, **{**MASKS, "crop_factor": 1.5})[0]
    seen = []
    watched = moving.clone()
    watched.set_model_unet_function_wrapper(
        lambda apply, args: (seen.append(len(args["input"])), apply(args["input"], args["timestep"], **args["c"]))[1]
    )

    def redrawn(model, frames=frames, node_id=OURS, **inputs):
        quick = {"steps": 1, "guide_size_for": False, **inputs}
        return run(node_id, segs, (model, *pipe[1:]), frames=frames, **quick)

    out = redrawn(watched, noise_mask_feather=5)
    pasted = call("MaskwrightSEGSPaste", frames, out[0], 0)[0]
    last = frames.clone()
    last[3] = 1 - last[3]
    alone = pictures(redrawn(whole))
    found = {
        "frames": list(pasted.shape),
        "kept": bool(torch.equal(pasted[masks == 0], frames[masks == 0])),
        "windows": seen,
        "motion": float((alone - pictures(redrawn(unet))).abs().max()),
        "coupled": float((pictures(redrawn(whole, last))[0] - alone[0]).abs().max()),
        "generations": float((pictures(redrawn(second, noise_mask_feather=5)) - pictures(out)).abs().max()),
    }
    if THEIRS in NODES:
        found["compat"] = differ(redrawn(moving, compat=True)[0], redrawn(moving, node_id=THEIRS)[0])
    return found


def main():
    pipe = load_pipe()
    impact = "impact" in NODES[THEIRS].__module__.lower()
    parts = {
        "parity": (parity, impact, pipe),
        "schemas": (schemas, True),
        "exchange": (exchange, impact, pipe),
        "controls": (controls, True, pipe),
        "adapters": (adapters, impact and "IPAdapterAdvanced" in NODES, pipe),
        "networks": (networks, "DownloadISNetModel" in NODES),
        "motion": (motion, "ADE_UseEvolvedSampling" in NODES, pipe),
    }
    wanted = os.environ.get("ONLY", "").split() or parts
    facts = {name: part(*rest) if there else None for name, (part, there, *rest) in parts.items() if name in wanted}
    print(json.dumps(facts), flush=True)
    os._exit(0)  # packs leave threads behind


if __name__ == "__main__":
    main()
