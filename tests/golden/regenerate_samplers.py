"""Writes what ComfyUI's samplers and schedules give, for `test_samplers.py`, and for `test_detailer.py` the Brownian
path on which the goldens of its stochastic samplers lie. Run it with ComfyUI's interpreter:

    PYTHON tests/golden/regenerate_samplers.py COMFYUI

COMFYUI is a checkout; the files here are of version 0.3.64, with torch 2.13.0 on an x86-64 processor.
"""

from __future__ import annotations

import inspect
import itertools
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

import make_tiny_checkpoint as tiny  # noqa: E402

from tests.support.sampler_cases import CASES, CFG, LEVELS, SEED, STEPS, latents  # noqa: E402

tiny.start(Path(sys.argv[1]))

import comfy.samplers  # noqa: E402
import torch  # noqa: E402
from comfy.k_diffusion import sampling  # noqa: E402

from tests.support.toy_in_comfyui import make_toy_model  # noqa: E402

torch.set_num_threads(1)
BROWNIAN = ("dpmpp_sde", "dpmpp_2m_sde", "dpmpp_2m_sde_heun", "dpmpp_3m_sde")
LEFT_OUT = ("dpm_adaptive",)  # takes steps of its own


def main() -> None:
    """Write the files."""
    samplers = {}
    for name in comfy.samplers.KSampler.SAMPLERS:
        if name in LEFT_OUT or name.endswith(("_cfg_pp", "_gpu")):
            continue
        for scheduler, steps in CASES:
            for part, values in _run(name, scheduler, steps).items():
                samplers[f"{name} {scheduler} {steps} {part}"] = values
    np.savez_compressed(Path(__file__).with_name("samplers.npz"), **samplers)
    table = make_toy_model()[0].get_model_object("model_sampling")
    schedules = {
        f"{name} {steps}": comfy.samplers.calculate_sigmas(table, name, steps).numpy()
        for name in comfy.samplers.KSampler.SCHEDULERS
        for steps in LEVELS
    }
    np.savez_compressed(Path(__file__).with_name("schedules.npz"), **schedules)
    np.savez_compressed(Path(__file__).with_name("brownian.npz"), **_path(schedules["normal 8"]))


def _path(levels):
    """What the samplers that draw once and twice a step draw over 8 steps of `normal`."""
    source = sampling.BrownianTreeNoiseSampler(torch.zeros(3, 4, 8, 8), levels[-2], levels[0], seed=1, cpu=True)
    found = {"one_a_step": [], "two_a_step": []}
    for sigma, to in itertools.pairwise(torch.from_numpy(levels[:-1])):
        found["one_a_step"].append(source(sigma, to))
        middle = (-((-sigma.log()) + ((-to.log()) - (-sigma.log())) * 0.5)).exp()
        found["two_a_step"] += [source(sigma, middle), source(sigma, to)]
    return {name: torch.stack(drawn).numpy() for name, drawn in found.items()}


def _run(name, scheduler, steps):
    """The levels of a case, the noise that the sampler drew, and its last latents."""
    model, positive, negative = make_toy_model()
    levels = comfy.samplers.KSampler(model, steps, "cpu", name, scheduler).sigmas
    ends = float(levels[levels > 0].min()), float(levels.max())
    taken, drawn = levels[-(STEPS + 1) :].clone(), []  # a copy: uni_pc writes into what it is given
    sampler = comfy.samplers.sampler_object(name)
    walk = sampler.sampler_function

    def recorded(model, x, sigmas, **settings):
        if "noise_sampler" in inspect.signature(walk).parameters:
            if name in BROWNIAN:
                source = sampling.BrownianTreeNoiseSampler(x, *ends, seed=SEED, cpu=True)
            else:
                source = sampling.default_noise_sampler(x, seed=SEED)
            settings["noise_sampler"] = lambda *way: drawn.append(source(*way)) or drawn[-1]
        return walk(model, x, sigmas, **settings)

    sampler.sampler_function = recorded
    noise = torch.randn(latents().shape, generator=torch.Generator("cpu").manual_seed(SEED))
    last = comfy.samplers.sample(
        model, noise, positive, negative, CFG, torch.device("cpu"), sampler, taken.clone(),
        latent_image=torch.from_numpy(latents()), disable_pbar=True, seed=SEED,
    )  # fmt: skip
    found = {"levels": taken.numpy(), "latents": last.numpy()}
    if drawn:
        found["noise"] = torch.stack(drawn).numpy()
    return found


if __name__ == "__main__":
    main()
