"""The runs of samplers whose results ComfyUI was asked for: see `tests/golden/regenerate_samplers.py`."""

from __future__ import annotations

import numpy as np

SEED, CFG, STEPS = 1, 3.0, 6

# The schedule, and for how many steps it is made; the last 6 are taken. Some levels of `normal` and `sgm_uniform` lie
# exactly between two timesteps: of 7 steps, of 6 for `sgm_uniform` and for the samplers that ask for one more.
CASES = (("normal", 6), ("normal", 7), ("sgm_uniform", 6), ("karras", 6), ("exponential", 12))
LEVELS = (1, 2, 3, 4, 7, 8, 10, 13, 20, 25, 30, 37, 50)  # how many steps schedules are compared for


def latents():
    """(2, 4, 2, 2) float32, as a VAE might encode a small film."""
    return np.random.default_rng(7).standard_normal((2, 4, 2, 2)).astype(np.float32)
