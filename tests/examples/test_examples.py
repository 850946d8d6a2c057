"""Each example runs as it stands, in a process of its own, and writes pictures."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def _written(folder):
    """Name to RGBA array of what an example wrote."""
    return {path.name: np.asarray(Image.open(path).convert("RGBA")) for path in sorted(folder.glob("*.png"))}


def _run(run_python, script, *arguments):
    done = run_python(EXAMPLES / script, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_weights(run_python, tmp_path):
    pytest.importorskip("maskwright.engines")
    out = _run(run_python, "without_weights.py", tmp_path)
    alpha = _written(tmp_path)["disc.png"][..., 3]
    assert alpha.shape == (512, 512)
    assert alpha[256, 256] == 255
    assert alpha[0, 0] == 0
    assert "by fake" in out


@pytest.mark.weights
def test_cut_one(run_python, tmp_path, u2netp_home):
    out = _run(run_python, "cut_one.py", EXAMPLES / "astronaut.jpg", tmp_path)
    written = _written(tmp_path)
    assert set(written) == {"astronaut.png", "astronaut-matted.png"}
    for cutout in written.values():
        assert cutout.shape == (512, 512, 4)
        assert cutout[..., 3].min() == 0
        assert cutout[150, 225, 3] > 250  # her face
    assert "512×512" in out


@pytest.mark.weights
def test_cut_folder(run_python, tmp_path, u2netp_home):
    out = _run(run_python, "cut_folder.py", EXAMPLES, tmp_path)
    assert out.split() == ["astronaut.jpg", "cat.jpg"]
    for cutout in _written(tmp_path).values():
        assert (cutout[..., 3] == 255).all()  # on white


@pytest.mark.weights
def test_compare_compat(run_python, tmp_path, u2netp_home):
    out = _run(run_python, "compare_compat.py", EXAMPLES / "cat.jpg", tmp_path)
    assert set(_written(tmp_path)) == {"cat-default.png", "cat-compat.png"}
    average, most = map(float, re.findall(r"\d\.\d+", out))
    assert 0 < average < 0.2
    assert average < most <= 1


@pytest.mark.weights
def test_own_weights(run_python, tmp_path, u2netp_home):
    weights = next(u2netp_home.rglob("u2netp.onnx"))
    out = _run(run_python, "own_weights.py", weights, EXAMPLES / "cat.jpg", tmp_path)
    assert _written(tmp_path)["cat-own.png"].shape == (300, 451, 4)
    assert "u2netp.onnx" in out
    assert "onnxruntime" in out


def test_redraw_tiny(run_python, tmp_path):
    for name in ("torch", "diffusers", "transformers", "onnxruntime"):
        pytest.importorskip(name)
    out = _run(run_python, "redraw_tiny.py", tmp_path)
    written = _written(tmp_path)
    assert [*written] == [f"{name}-{step}.png" for name in ("film", "plain") for step in range(6)]
    photo = np.asarray(Image.open(EXAMPLES / "astronaut.jpg"))
    for step in range(6):
        redrawn = written[f"film-{step}.png"][..., :3]
        changed = (redrawn != photo[:320, 160 - 24 * step : 480 - 24 * step]).any(axis=2)
        assert 0.05 < changed.mean() < 0.2
        assert changed[130:180, 40 + 24 * step : 80 + 24 * step].mean() > 0.8  # her face moves to the right
        assert (redrawn != written[f"plain-{step}.png"][..., :3]).any()
    assert "by UNetMotionModel" in out


def test_own_weights_says_how_to_call_it(run_python):
    done = run_python(EXAMPLES / "own_weights.py")
    assert done.returncode == 1
    assert "WEIGHTS.onnx" in done.stderr


def test_every_example_is_tested():
    source = Path(__file__).read_text(encoding="utf-8")
    untested = [path.name for path in EXAMPLES.glob("*.py") if f'"{path.name}"' not in source]
    assert not untested
