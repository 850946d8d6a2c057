"""Run by ComfyUI's own interpreter: what the detailer does inside a real ComfyUI, as facts in JSON.

    PYTHON tests/doors/comfyui/in_process.py COMFYUI MODELS GOLDEN

COMFYUI is a checkout, MODELS a folder with the files of `scripts/make_tiny_checkpoint.py`, GOLDEN the goldens of the
original node or a folder that does not exist. `test_real.py` asks what is right about the facts.
"""

from __future__ import annotations

import itertools
import json
import sys
import types
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

import make_tiny_checkpoint as tiny  # noqa: E402

from tests.support.toy import ToyBackend, toy_frames  # noqa: E402  (ComfyUI has a folder `tests` too)

COMFYUI, MODELS, GOLDEN = map(Path, sys.argv[1:4])
tiny.start(COMFYUI)

import comfy.controlnet  # noqa: E402
import comfy.model_sampling  # noqa: E402
import comfy.patcher_extension  # noqa: E402
import comfy.samplers  # noqa: E402
import comfy.sd  # noqa: E402
import comfy.utils  # noqa: E402
import nodes  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from comfy.k_diffusion import sampling as k_sampling  # noqa: E402

import maskwright.detail.sampling as native  # noqa: E402
from maskwright.comfyui.nodes import NODE_CLASS_MAPPINGS  # noqa: E402
from maskwright.comfyui.sampling import ComfyBackend, read_table  # noqa: E402
from maskwright.detail import DetailOptions, SampleJob, SigmaTable, detail, make_sigmas, paste  # noqa: E402
from maskwright.detail.diffusers_steppers import EQUIVALENTS  # noqa: E402
from maskwright.detail.gits import COEFFICIENTS  # noqa: E402
from maskwright.detail.segs import SEG  # noqa: E402
from maskwright.detail.steppers import SAMPLERS  # noqa: E402
from maskwright.detail.stepping import halfway  # noqa: E402
from tests.support.toy_in_comfyui import make_toy_model  # noqa: E402

torch.set_num_threads(1)  # on a busy machine many small steps lose more by waiting for each other
QUICK = {"guide_size": 64, "max_size": 64, "seed": 5, "steps": 2, "cfg": 4.0, "scheduler": "normal"}
RUNS = [
    (scheduler, steps, denoise)
    for scheduler in comfy.samplers.KSampler.SCHEDULERS
    for steps, denoise in ((2, 1.0), (3, 0.5), (7, 1.0), (9, 0.7))
]


def load_pipe():
    """The tiny checkpoint with two prompts."""
    weights = comfy.utils.load_torch_file(str(MODELS / "checkpoints" / tiny.CHECKPOINT))
    model, clip, vae, _ = comfy.sd.load_state_dict_guess_config(weights)
    encode = nodes.CLIPTextEncode().encode
    return model, clip, vae, encode(clip, "a face")[0], encode(clip, "blurry")[0]


class ToyVae:
    """The VAE of the goldens."""

    def __init__(self):
        self.toy = ToyBackend()

    def spacial_compression_encode(self):
        return 8

    def encode(self, pixels):
        height, width = (side // 8 * 8 for side in pixels.shape[1:3])
        top, left = ((side - cut) // 2 for side, cut in zip(pixels.shape[1:3], (height, width), strict=True))
        return torch.from_numpy(self.toy.encode(pixels[:, top : top + height, left : left + width].numpy()))

    def decode(self, latents):
        return torch.from_numpy(self.toy.decode(latents.numpy()))


def toy_pipe():
    """A BASIC_PIPE of the goldens' network, in ComfyUI's own wrapping."""
    model, positive, negative = make_toy_model()
    return model, object(), ToyVae(), positive, negative


def make_segs(*items, size_hw=(96, 128)):
    return size_hw, list(items)


def make_seg(mask=None, wrapper=None, box=(48, 32, 80, 64)):
    if mask is None:
        mask = np.zeros((64, 64), np.float32)
        mask[16:48, 16:48] = 1
    return SEG(None, mask, 1.0, [32, 16, 96, 80], box, "A", wrapper)


def run_node(frames, segs, pipe, node_id="SEGSDetailerForAnimateDiff", **inputs):
    """The node as ComfyUI calls it: its defaults, and what is given."""
    kind = NODE_CLASS_MAPPINGS[node_id]
    declared = kind.INPUT_TYPES()
    values = {
        name: one[0][0] if isinstance(one[0], list) else one[1].get("default")
        for section in ("required", "optional")
        for name, one in declared[section].items()
    }
    values = {name: value for name, value in values.items() if value is not None}
    node = kind()
    with torch.inference_mode():
        return getattr(node, node.FUNCTION)(image_frames=frames, segs=segs, basic_pipe=pipe, **{**values, **inputs})


def pictures(segs):
    return segs[1][0].cropped_image


def differ(a, b):
    return float(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max())


def goldens(pipe):
    """How far the node in compat is from what the original gave."""
    if not (GOLDEN / "detailer_open.npz").is_file():
        return None
    known = np.load(GOLDEN / "detailer_open.npz")
    frames, ones = torch.from_numpy(toy_frames()), np.ones((64, 64), np.float32)
    usual = {"guide_size": 96, "seed": 1, "steps": 4, "cfg": 3.0, "scheduler": "normal", "noise_mask_feather": 0}
    cases = {
        "A": ({}, None),
        "B": ({"noise_mask_feather": 5}, None),
        "E1": ({"guide_size_for": False}, None),
        "E2": ({"max_size": 128}, None),
        "U": ({}, ones),
    }
    found = {}
    for name, (inputs, mask) in cases.items():
        segs, _ = run_node(frames, make_segs(make_seg(mask)), pipe, compat=True, **{**usual, **inputs})
        found[name] = differ(np.rint(pictures(segs) * 255), known[name])
    return found


class LiveModel:
    """A model that ComfyUI is sampling, as our own steppers see one."""

    latent_scale = 0.18215
    device = torch.device("cpu")

    def __init__(self, sampling, settings, table):
        self.sampling, self.settings, self.table = sampling, settings, table

    def denoise(self, x, sigma, frames):
        del frames
        level = torch.full((len(x),), sigma, dtype=torch.float32)
        return self.sampling.inner_model(x, level, **self.settings)


def native_sample(job, pipe):
    """The job by our own schedule and stepper, on ComfyUI's model."""
    out = {}

    def walk(model, x, sigmas, extra_args, **_):
        settings = {key: value for key, value in extra_args.items() if key != "denoise_mask"}
        out["latents"] = native.sample(job, LiveModel(model, settings, read_table(pipe[0])))
        return x

    latents = torch.from_numpy(job.latents)
    positive, negative = pipe[3], pipe[4]
    comfy.samplers.sample(
        pipe[0], torch.zeros_like(latents), positive, negative, job.options.cfg, pipe[0].load_device,
        comfy.samplers.KSAMPLER(walk), torch.tensor([1.0, 0.0]), model_options=pipe[0].model_options,
        latent_image=latents, denoise_mask=torch.ones(1, *latents.shape[2:]), disable_pbar=True, seed=job.seed,
    )  # fmt: skip
    return out["latents"]


class ComfyTree:
    """ComfyUI's Brownian path in the place of ours."""

    def __init__(self, seed, like):
        self.tree = k_sampling.BrownianTreeNoiseSampler(like, *ComfyTree.ends, seed=seed, cpu=True)

    def __call__(self, sigma, to):
        return self.tree(torch.tensor(sigma), torch.tensor(to))


def make_job(pipe, mask, **options):
    chosen = DetailOptions(**{**QUICK, "steps": 3, "noise_mask_feather": 0, **options})
    frames = np.random.default_rng(3).random((2, 48, 64, 3), np.float32)
    latents = ComfyBackend(pipe).encode(frames)
    return SampleJob(latents, mask, chosen.seed, chosen, (0, 0, 64, 48), (48, 64), (48, 64))


def soft_mask():
    return np.tile(np.linspace(0, 1, 64, dtype=np.float32), (1, 48, 1))


def steppers(pipe, runs):
    """The largest relative difference between our steppers and ComfyUI's samplers, by name.

    Args:
        pipe: The BASIC_PIPE.
        runs: (scheduler, steps, denoise) of each.
    """
    native._Brownian = ComfyTree
    found = {}
    for name in SAMPLERS:
        if name in EQUIVALENTS and not find_spec("diffusers"):
            continue
        for scheduler, steps, denoise in runs:
            for feather in (0, 5) if name in ("euler", "ddim") else (0,):
                chosen = {"steps": steps, "denoise": denoise, "sampler_name": name, "scheduler": scheduler}
                job = make_job(pipe, soft_mask(), noise_mask_feather=feather, **chosen)
                levels = comfy.samplers.KSampler(pipe[0], int(steps / denoise), "cpu", name, scheduler).sigmas
                ComfyTree.ends = float(levels[levels > 0].min()), float(levels.max())
                theirs = ComfyBackend(pipe).sample(job).latents
                apart = differ(native_sample(job, pipe), theirs) / float(np.abs(theirs).max())
                found[name] = max(found.get(name, 0.0), apart if np.isfinite(apart) else 9.0)
    return found


def schedules(pipe):
    """How many levels of our schedules are not ComfyUI's to the bit, or not the same timestep, by name."""
    from comfy_extras import nodes_align_your_steps, nodes_gits

    sampling, table, found = pipe[0].get_model_object("model_sampling"), read_table(pipe[0]), {}

    def compare(name, theirs, steps):
        ours, theirs = make_sigmas(table, name, steps), np.asarray(theirs)
        if not np.isfinite(theirs).all():  # kl_optimal of 1 step
            return
        same = len(ours) == len(theirs) and (ours == theirs).all()
        # Where a network is asked: at the levels, and by some samplers half-way between them.
        asked = [*theirs[:-1], *map(halfway, *zip(*itertools.pairwise(theirs[:-1]), strict=True))] if steps > 1 else []
        moved = [
            level for level in asked if table.timestep(float(level)) != int(sampling.timestep(torch.tensor(level)))
        ]
        found[name] = found.get(name, 0) + (not same) + len(moved)

    for steps in (1, 2, 3, 4, 6, 7, 10, 13, 20, 25, 30, 37, 50):
        for name in comfy.samplers.KSampler.SCHEDULERS:
            compare(name, comfy.samplers.calculate_sigmas(sampling, name, steps), steps)
        for name in ("SD1", "SDXL", "SVD"):
            execute = nodes_align_your_steps.AlignYourStepsScheduler.execute
            compare(f"AYS {name}", execute(name, steps, 1.0).result[0], steps)
        for one in COEFFICIENTS if steps > 1 else ():
            compare(f"GITS[coeff={one:g}]", nodes_gits.GITSScheduler.execute(one, steps, 1.0).result[0], steps)
    return found


def tables():
    """Whether our own tables are ComfyUI's to the bit: that of Stable Diffusion, and that of AnimateDiff."""
    found = {}
    for name, ours in {
        "linear": SigmaTable.scaled_linear(),
        "sqrt_linear": SigmaTable.from_betas(np.linspace(0.00085, 0.012, 1000)),
    }.items():
        config = types.SimpleNamespace(sampling_settings={"beta_schedule": name})
        theirs = comfy.model_sampling.ModelSamplingDiscrete(config)
        same = np.array_equal(ours.sigmas, theirs.sigmas.numpy())
        found[name] = same and np.array_equal(ours.logs, theirs.log_sigmas.numpy())
    return found


def refiners(pipe):
    """How far the base as its own refiner is from no refiner, by share and mask."""
    found = {}
    for ratio in (0.0, 0.2, 0.5, 1.0):
        for name in ("euler", "dpmpp_sde", "euler_ancestral", "ddim"):
            job = make_job(pipe, soft_mask(), sampler_name=name, refiner_ratio=ratio, noise_mask_feather=5)
            plain = ComfyBackend(pipe).sample(job).latents
            found[f"{name} {ratio}"] = differ(plain, ComfyBackend(pipe, pipe).sample(job).latents)
            own = (with_own_noise(pipe[0]), *pipe[1:])
            changed = ComfyBackend(own).sample(job).latents
            same = differ(changed, ComfyBackend(own, own).sample(job).latents)
            found[f"{name} {ratio}, own noise"] = same if differ(changed, plain) > 0.01 else 9.0
    return found


def with_own_noise(model):
    """A model that makes noise of its own where it is given any, as those of AnimateDiff-Evolved may."""

    def other_noise(executor, noise, *settings, **more):
        return executor(noise.roll(1, 0) if noise.any() else noise, *settings, **more)

    model = model.clone()
    kind = comfy.patcher_extension.WrappersMP.OUTER_SAMPLE
    model.add_wrapper_with_key(kind, "other noise", other_noise)
    return model


def masks(pipe):
    """What is left of latents where the mask is 0, and of frames."""
    mask = np.zeros((1, 48, 64), np.float32)
    mask[:, :, 32:] = 1
    kept = {}
    for name in comfy.samplers.KSampler.SAMPLERS:
        for feather in (0, 5) if name in ("euler", "ddim") else (5,):
            job = make_job(pipe, mask, sampler_name=name, noise_mask_feather=feather, steps=2)
            latents = ComfyBackend(pipe).sample(job).latents
            same = np.array_equal(latents[..., :4], job.latents[..., :4])
            moved = np.isfinite(latents).all() and (latents[..., 5:] != job.latents[..., 5:]).mean() > 0.9
            kept[f"{name} {feather}"] = bool(same and moved)
    return kept


def conditions(pipe):
    """Whether masks of prompts are cropped to the segment, those of the refiner too."""
    full, shifted = torch.zeros(1, 96, 128), torch.zeros(1, 96, 128)
    full[:, 16:80, 32:64] = 1
    shifted[:, :, 32:64] = 1
    model, clip, vae, positive, negative = pipe

    def masked(mask):
        left = [[positive[0][0], {**positive[0][1], "mask": mask, "strength": 1.0, "set_area_to_bounds": False}]]
        right = [[negative[0][0], {**negative[0][1], "mask": 1 - mask, "strength": 1.0, "set_area_to_bounds": False}]]
        return model, clip, vae, left + right, negative

    frames, segs = film(), make_segs(make_seg())

    def run(mask):
        pipe = masked(mask)
        return pictures(run_node(frames, segs, pipe, refiner_basic_pipe_opt=pipe, **QUICK)[0])

    plain = pictures(run_node(frames, segs, pipe, **QUICK)[0])
    # Over the crop both masks are the same; over the frame they are not.
    return {"same over the crop": differ(run(full), run(shifted)), "matters": differ(run(full), plain)}


def film(count=2):
    return torch.from_numpy(np.random.default_rng(0).random((count, 96, 128, 3), np.float32))


class Adapter:
    """An IPAdapter of another pack: it changes the model, and shows a picture."""

    prev_control_net = None
    control_image = None

    def __init__(self):
        self.calls = []

    def apply(self, positive, negative, image, mask=None, use_acn=False):
        self.calls.append((tuple(image.shape), tuple(mask.shape), use_acn))
        return positive, negative, []

    def doit_ipadapter(self, model):
        model = model.clone()
        model.set_model_sampler_cfg_function(lambda args: args["cond"])
        return model, [torch.full((1, 8, 8, 3), 0.5)]


def controls(pipe):
    """What ControlNets and IPAdapters do to the pictures, and what they were shown."""
    net = comfy.controlnet.load_controlnet(str(MODELS / "controlnet" / tiny.CONTROLNET))
    apply = NODE_CLASS_MAPPINGS["ImpactControlNetApplySEGS"]().doit
    plain, adapter = make_segs(make_seg()), Adapter()
    hint = torch.rand(2, 96, 128, 3, generator=torch.Generator().manual_seed(0))
    (one,) = apply(plain, net, 1.0)
    (two,) = apply(one, net, 0.5, control_image=hint, start_percent=0.1)
    (adapted,) = apply(make_segs(make_seg(wrapper=adapter)), net, 1.0)
    runs = {"plain": plain, "one": one, "two": two, "adapted": adapted, "none": apply(plain, net, 0.0)[0]}
    out = {name: run_node(film(), segs, pipe, **QUICK) for name, segs in runs.items()}
    first = pictures(out["plain"][0])
    return {
        "chain": differ(pictures(out["one"][0]), pictures(out["two"][0])),
        "moved": {name: differ(pictures(segs), first) for name, (segs, _) in out.items()},
        "shown": {name: [list(image.shape) for image in images] for name, (_, images) in out.items()},
        "black": float(out["plain"][1][0].abs().max()),
        "left": [seg.control_net_wrapper is None for segs, _ in out.values() for seg in segs[1]],
        "hint": differ(out["two"][1][1], hint[:, 16:80, 32:96]),
        "calls": adapter.calls,
    }


def nodes_and_library(pipe):
    """The node against `detail`, called here with the same model, and how it all fits together."""
    frames = film()
    other = SEG(None, np.ones((2, 40, 48), np.float32), 0.5, [0, 0, 48, 40], (4, 4, 44, 36), "B")
    segs = make_segs(make_seg(), other)
    found = {}
    for name, inputs in {
        "usual": {},
        "compat": {"compat": True},
        "feather 0": {"noise_mask_feather": 0},
        "refiner": {"refiner_basic_pipe_opt": pipe, "refiner_ratio": 0.5},
        "tiled": {"tiled_vae": True},
    }.items():
        out, _ = run_node(frames, segs, pipe, **{**QUICK, **inputs})
        own = {key: value for key, value in inputs.items() if key not in ("refiner_basic_pipe_opt", "tiled_vae")}
        backend = ComfyBackend(pipe, inputs.get("refiner_basic_pipe_opt"), tiled="tiled_vae" in inputs)
        library = detail(frames, segs, backend, DetailOptions(**{**QUICK, **own}))
        same = (np.array_equal(a.cropped_image, b.cropped_image) for a, b in zip(out[1], library, strict=True))
        found[name] = all(same)
    out, _ = run_node(frames, segs, pipe, **QUICK)
    found["again"] = np.array_equal(pictures(out), pictures(run_node(frames, segs, pipe, **QUICK)[0]))
    found["another seed"] = not np.array_equal(
        pictures(out), pictures(run_node(frames, segs, pipe, **{**QUICK, "seed": 6})[0])
    )
    found["shapes"] = [list(seg.cropped_image.shape) for seg in out[1]] == [[2, 64, 64, 3], [2, 40, 48, 3]]
    found["kept"] = all(
        np.array_equal(a.cropped_mask, b.cropped_mask)
        and a.bbox == b.bbox
        and tuple(a.crop_region) == tuple(b.crop_region)
        for a, b in zip(out[1], segs[1], strict=True)
    )
    pasted, _ = run_node(frames, make_segs(make_seg()), pipe, node_id="MaskwrightDetailAndPaste", **QUICK)
    alone = run_node(frames, make_segs(make_seg()), pipe, **QUICK)[0]
    found["pasted"] = np.array_equal(pasted.numpy(), paste(frames, alone))
    (function,) = NODE_CLASS_MAPPINGS["MaskwrightMakeSchedule"]().run("karras", 1.2)
    by_name = run_node(frames, segs, pipe, **{**QUICK, "scheduler": "karras"})[0]
    by_function = run_node(frames, segs, pipe, scheduler_func_opt=function, **QUICK)[0]
    found["schedule"] = differ(pictures(by_name), pictures(by_function)) < 1e-4
    (gits,) = NODE_CLASS_MAPPINGS["MaskwrightMakeSchedule"]().run("GITS", 1.2)
    by_name = run_node(frames, segs, pipe, **{**QUICK, "scheduler": "GITS[coeff=1.2]"})[0]
    found["gits"] = np.array_equal(
        pictures(by_name), pictures(run_node(frames, segs, pipe, scheduler_func_opt=gits, **QUICK)[0])
    )
    seen = []
    watching = pipe[0].clone()
    watching.set_model_unet_function_wrapper(
        lambda apply, args: (seen.append(len(args["input"])), apply(args["input"], args["timestep"], **args["c"]))[1]
    )
    run_node(film(5), make_segs(make_seg()), (watching, *pipe[1:]), **{**QUICK, "guide_size": 64, "max_size": 64})
    found["film together"] = set(seen) == {10}
    return found


def defaults(pipe):
    """The node with all its defaults, where the original stops with an error."""
    crop = SEG(None, np.ones((32, 32), np.float32), 1.0, [32, 16, 64, 48], (32, 16, 64, 48), "A")
    segs, images = run_node(film(1), make_segs(crop), pipe)
    picture = pictures(segs)
    return {
        "shape": list(picture.shape),
        "finite": bool(np.isfinite(picture).all()),
        "moved": differ(picture, film(1)[:, 16:48, 32:64]),
        "shown": [list(image.shape) for image in images],
    }


def interrupted(pipe):
    """How many steps are taken when Cancel is pressed during the first."""
    steps = []
    stopping = pipe[0].clone()

    def wrap(apply, args):
        steps.append(1)
        nodes.interrupt_processing()
        return apply(args["input"], args["timestep"], **args["c"])

    stopping.set_model_unet_function_wrapper(wrap)
    try:
        run_node(film(), make_segs(make_seg()), (stopping, *pipe[1:]), **QUICK)
    except comfy.model_management.InterruptProcessingException:
        return len(steps)
    return -1


def main():
    pipe, toy = load_pipe(), toy_pipe()
    facts = {
        "goldens": goldens(toy),
        "node": nodes_and_library(pipe),
        "steppers": steppers(pipe, [("normal", 7, 1.0), ("karras", 3, 0.5)]),
        "steppers on the toy": steppers(toy, RUNS),
        "schedules": schedules(pipe),
        "tables": tables(),
        "refiners": refiners(toy),
        "masks": masks(toy),
        "conditions": conditions(toy),
        "controls": controls(pipe),
        "interrupted": interrupted(toy),
        "defaults": defaults(pipe),
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
