"""`maskwright batch` as a process: killed, interrupted, out of room."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.graphs import write_graph

posix = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")


@pytest.fixture
def folder(tmp_path):
    """Thirty noisy pictures in a tree."""
    source, random_ = tmp_path / "in", np.random.default_rng(0)
    for number in range(30):
        path = source / f"{number % 3}" / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random_.integers(0, 256, (160, 240, 3), np.uint8)).save(path)
    return source


@pytest.fixture
def start(tmp_path, own_home):
    """Starts a batch with a small graph; `before` is run in its process first."""
    weights = write_graph(tmp_path / "small.onnx", size_hw=(40, 60))

    def call(*arguments, before=None):
        command = [sys.executable, "-m", "maskwright", "batch", *map(str, arguments)]
        command += ["-m", "u2net_custom", "--weights", str(weights), "--device", "cpu"]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=before)

    return call


def end(process):
    """What it said, once it is done; with its exit code."""
    _, err = process.communicate(timeout=200)
    return process.returncode, err


def snapshot(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def count(folder):
    return len(list(folder.rglob("*.png")))


def wait_until(done, process=None):
    for _ in range(6000):
        if done() or (process is not None and process.poll() is not None):
            return
        time.sleep(0.005)
    raise TimeoutError


@posix
def test_killed_anywhere_and_run_again_the_folder_is_the_same(folder, start, tmp_path):
    """Four kills in one folder; `benchmarks/kill_batch.py` makes twenty, with a real network."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = start(folder, whole, "--manifest", "-q")
    assert end(process) == (0, "")
    assert count(whole) == 30
    for goal in sorted(random.Random(0).sample(range(1, 28), 4)):
        process = start(folder, killed, "--manifest", "-q")
        wait_until(lambda goal=goal: count(killed) >= goal, process)
        process.kill()
        end(process)
    process = start(folder, killed, "--manifest")
    code, err = end(process)
    assert code == 0, err
    assert snapshot(killed) == snapshot(whole)
    assert " 0 skipped" not in err  # it went on; it did not begin again


@posix
def test_ctrl_c_finishes_what_is_in_hand(folder, start, tmp_path):
    process = start(folder, tmp_path / "out", "--jobs", "1", "--in-flight", "1", "--report", tmp_path / "report.json")
    wait_until(lambda: count(tmp_path / "out") >= 2, process)
    process.send_signal(signal.SIGINT)
    code, err = end(process)
    report = json.loads((tmp_path / "report.json").read_text())
    if report["written"] < 30:  # else it was done before the signal came
        assert code == 130
        assert "finishing what is in hand" in err
        assert report["interrupted"]
    assert report["written"] == count(tmp_path / "out")
    assert report["failed"] == 0
    for path in (tmp_path / "out").rglob("*.png"):
        Image.open(path).load()


@posix
def test_a_second_ctrl_c_stops_at_once_and_leaves_no_half_file(folder, start, tmp_path):
    process = start(folder, tmp_path / "out")
    wait_until(lambda: count(tmp_path / "out") >= 2, process)
    process.send_signal(signal.SIGINT)
    process.stderr.readline()  # it has heard
    time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert end(process)[0] in (130, 0)  # 0: it was done
    for path in (tmp_path / "out").rglob("*.png"):
        Image.open(path).load()


@posix
def test_a_file_too_large_for_its_disk_is_told_and_leaves_nothing(folder, start, tmp_path):
    import resource

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    process = start(folder, tmp_path / "out", "-d", before=limit)
    code, err = end(process)
    assert code == 1
    assert "cannot be written (File too large)" in err
    assert count(tmp_path / "out") == 0
    assert count(folder) == 30
    assert not list((tmp_path / "out" / ".maskwright" / "tmp").iterdir())


def test_the_report_lists_bad_files_and_the_exit_code_tells(folder, start, tmp_path):
    (folder / "bad.jpg").write_bytes(b"no picture")
    process = start(folder, tmp_path / "out", "--report", tmp_path / "report.json", "--format", "webp")
    code, err = end(process)
    report = json.loads((tmp_path / "report.json").read_text())
    assert code == 1
    assert (report["written"], report["failed"], report["model"]) == (30, 1, "u2net_custom")
    assert "must be a picture" in report["errors"]["bad.jpg"]
    assert "30 written, 0 skipped, 1 failed" in err
    assert "bad.jpg: " in err


def test_a_report_that_cannot_be_written_is_told_before_the_work(folder, start, tmp_path):
    process = start(folder, tmp_path / "out", "--report", tmp_path / "nowhere" / "report.json")
    code, err = end(process)
    assert code == 2
    assert "there is no folder" in err
    assert not (tmp_path / "out").exists()
