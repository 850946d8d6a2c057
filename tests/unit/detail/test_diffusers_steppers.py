from __future__ import annotations

import math
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from maskwright.detail.diffusers_steppers import EQUIVALENTS, import_diffusers  # noqa: E402
from maskwright.errors import EngineUnavailable  # noqa: E402


def _nothing(sigma, to):
    raise AssertionError("no noise is asked for")


@pytest.mark.parametrize("name", EQUIVALENTS)
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 12])
def test_any_number_of_steps(name, steps):
    levels = [*np.geomspace(14.6, 0.03, steps), 0.0]
    x = torch.tensor([[14.6, -7.3]])
    seen = list(EQUIVALENTS[name].walk(lambda x, sigma, step: x / (1 + 4 * sigma**2), x, levels, _nothing))
    assert len(seen) == steps
    exact = x / math.sqrt(1 + 4 * 14.6**2)  # of Gaussian data with a spread of a half
    assert torch.allclose(seen[-1][0], exact, rtol=0.01 if steps == 12 else 2)


def test_one_for_each_scheduler_that_agrees():
    assert all(equivalent.measured < 1e-4 for equivalent in EQUIVALENTS.values())


def test_without_diffusers(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(EngineUnavailable, match="diffusers is not installed"):
        import_diffusers()
    with pytest.raises(EngineUnavailable, match="diffusers is not installed"):
        next(EQUIVALENTS["uni_pc"].walk(lambda x, sigma, step: x, torch.zeros(1, 2), [2.0, 1.0, 0.0], _nothing))
