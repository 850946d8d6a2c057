"""`maskwright models import`, as a program."""

import json

import pytest

torch = pytest.importorskip("torch")

from tests.support.networks import write_checkpoint  # noqa: E402


def test_weights_of_ones_own_are_imported_and_used(run_python, own_home, samples, tmp_path):
    path = write_checkpoint(tmp_path / "mine.pth", "u2netp")
    done = run_python("-m", "maskwright", "models", "import", path, "--as", "u2netp", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["model"], report["network"]) == ("u2netp", "u2netp")
    assert report["files"] == [str(own_home / ".maskwright" / "models" / "u2netp.safetensors")]
    cut = run_python("-m", "maskwright", "cut", samples / "cat.jpg", tmp_path / "out.png", "--json")
    assert cut.returncode == 0, cut.stderr
    assert json.loads(cut.stdout)["weights"] == "u2netp.safetensors"


def test_a_row_must_be_named(run_python, tmp_path):
    path = write_checkpoint(tmp_path / "mine.pth", "u2netp")
    done = run_python("-m", "maskwright", "models", "import", path)
    assert done.returncode == 2
    assert "name it with --as NAME" in done.stderr


def test_it_says_what_it_did(run_python, tmp_path):
    path = write_checkpoint(tmp_path / "mine.pth", "u2netp")
    done = run_python("-m", "maskwright", "models", "import", path, "--as", "u2netp")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("u2netp: u2netp, sha256 ")
    assert done.stderr.rstrip().endswith("u2netp.safetensors")
