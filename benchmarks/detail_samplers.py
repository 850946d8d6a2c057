"""How far samplers are from ComfyUI's of the same name: our own steppers, and schedulers of Diffusers.

    python benchmarks/detail_samplers.py

On the runs of `tests/golden/samplers.npz`, which ComfyUI 0.3.64 made: the same levels, the same noise, the closed-form
network. Each figure is the largest difference of the last latents as a share of the largest latent, for each schedule.
A scheduler is given the levels that ComfyUI takes, whatever it would have chosen itself. Not here are IPNDM, whose
formula knows no levels, and samplers that choose levels of their own (dpm_fast, dpm_adaptive).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from maskwright.detail import DetailOptions, SampleJob, sample, sampling, steppers  # noqa: E402
from maskwright.detail.diffusers_steppers import EQUIVALENTS, Equivalent, import_diffusers  # noqa: E402
from tests.support.sampler_cases import CASES, CFG, SEED, STEPS, latents  # noqa: E402
from tests.support.toy import ToyModel  # noqa: E402


def _solver(name: str, last: float = 0.0, **settings: Any) -> Equivalent:
    return Equivalent(f"{name}Scheduler", {"solver_order": 3, **settings}, last)


_PLUS_PLUS = {"algorithm_type": "sde-dpmsolver++", "euler_at_final": True}
CANDIDATES = {
    **EQUIVALENTS,
    "deis": _solver("DEISMultistep", 0.001),
    "dpmpp_2m": _solver("DPMSolverMultistep", solver_order=2),
    "dpmpp_2m_sde": _solver("DPMSolverMultistep", solver_order=2, **_PLUS_PLUS),
    "dpmpp_2m_sde_heun": _solver("DPMSolverMultistep", solver_order=2, solver_type="heun", **_PLUS_PLUS),
    "dpmpp_3m_sde": _solver("DPMSolverMultistep", **_PLUS_PLUS),
    "sa_solver": Equivalent("SASolverScheduler", {"predictor_order": 3, "corrector_order": 4}, 0.001),
}


def main() -> None:
    """Print the table."""
    import diffusers
    import torch

    with np.load(ROOT / "tests" / "golden" / "samplers.npz") as file:
        known = dict(file)
    print(f"diffusers {diffusers.__version__}, torch {torch.__version__}")
    print("sampler".ljust(26), "by".ljust(30), *(f"{scheduler} {steps}".rjust(14) for scheduler, steps in CASES))
    own = [(name, "own", sampler.stepper) for name, sampler in steppers.SAMPLERS.items() if name not in EQUIVALENTS]
    theirs = [(name, one.scheduler.removesuffix("Scheduler"), one.walk) for name, one in CANDIDATES.items()]
    for name, by, stepper in own + theirs:
        figures = [_apart(name, stepper, f"{name} {scheduler} {steps}", known) for scheduler, steps in CASES]
        print(name.ljust(26), by.ljust(30), *(one.rjust(14) for one in figures))


def _with_timesteps(scheduler: Any, begin: int) -> None:
    """The timesteps of its levels, by which this one chooses where it adds noise."""
    import torch

    scheduler._begin_index = begin
    table = ToyModel().table
    scheduler.timesteps = torch.tensor([table.timestep(float(level)) for level in scheduler.sigmas[:-1]])


def _apart(name: str, stepper: Any, key: str, known: dict[str, Any]) -> str:
    import torch

    drawn: Iterator[Any] = iter(torch.from_numpy(each) for each in known.get(f"{key} noise", ()))

    def draw(*_: Any, **_settings: Any) -> Any:
        return next(drawn, torch.zeros(1))  # some draw for the last step too, and add nothing of it

    steppers.SAMPLERS[name] = steppers.Sampler(stepper)
    sampling._Walk._noise_source = lambda _: draw  # type: ignore[method-assign]
    import_diffusers().SASolverScheduler.set_begin_index = _with_timesteps
    for module in ("dpmsolver_multistep", "sasolver"):
        getattr(import_diffusers().schedulers, f"scheduling_{module}").randn_tensor = draw
    options = DetailOptions(seed=SEED, steps=STEPS, denoise=1.0, cfg=CFG, sampler_name=name, noise_mask_feather=0)
    job = SampleJob(latents(), np.ones((1, 16, 16), np.float32), SEED, options, (0, 0, 16, 16), (16, 16), (16, 16))
    ours = sample(job, ToyModel(cfg=CFG), schedule=lambda _: known[f"{key} levels"])
    last = known[f"{key} latents"]
    return f"{np.abs(ours - last).max() / np.abs(last).max():.1e}"


if __name__ == "__main__":
    main()
