"""The steps of a cluster's machines in this process; and, where Ray is, a real one whose workers are killed."""

import contextlib
import hashlib
import os
import pickle
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright import cluster
from maskwright.batch import Batch, Finished, Job, Limits, Settings, Stamp, Worker, open_place
from maskwright.cluster import Computer, Item, Layout, make_runner, make_task, plan_layout, read_items, write_items
from maskwright.cutout_options import CutoutOptions
from maskwright.engines import FakeEngine
from maskwright.errors import EngineFailed, EngineUnavailable, HashMismatch, OptionError
from maskwright.segmenters import open_segmenter
from maskwright.types import Provenance
from tests.support.graphs import write_graph

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def engine():
    return FakeEngine(input_shape=(None, 3, 8, 8))


@pytest.fixture
def folder(tmp_path):
    source, random = tmp_path / "in", np.random.default_rng(0)
    for number in range(40):
        path = source / str(number % 3) / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (60, 80, 3), np.uint8)).save(path)
    (source / "bad.jpg").write_bytes(b"no picture")
    return source


def make_worker(folder, target, engine, **settings):
    segmenter = open_segmenter("u2netp", engine=engine)
    return Worker(open_place(folder), open_place(target), segmenter, Settings(CutoutOptions(), **settings))


def snapshot(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_steps_give_what_one_machine_gives(folder, tmp_path, engine):
    def machines(jobs, worker, *, limits, stop, progress):
        del stop, progress
        task = make_task(worker, limits, None, "cpu")
        compute = Computer(task, engine)
        report = cluster.BatchReport()
        column = np.empty(len(jobs), object)
        column[:] = [Item(job) for job in jobs]
        for item in write_items(compute(read_items({"item": column}, task)), task)["item"]:
            cluster._take(item, report)
        return report

    found = []
    for name, runner in (("one", None), ("many", machines)):
        settings = Settings(CutoutOptions(), manifest=True)
        extras = {} if runner is None else {"runner": runner}
        segmenter = open_segmenter("u2netp", engine=engine)
        with Batch(open_place(folder), open_place(tmp_path / name), segmenter, settings, **extras) as batch:
            report = batch.run(batch.plan())
            assert (report.written, list(report.failed)) == (40, ["bad.jpg"])
            os.utime(folder / "0" / "00.png", ns=(len(found), 1))
            assert batch.run(batch.plan()).skipped == 40
        found.append(snapshot(tmp_path / name))
        os.utime(folder / "0" / "00.png", ns=(7, 7))
    journals = [one.pop(".maskwright/journal.jsonl") for one in found]
    assert found[0] == found[1]
    assert len(journals[0]) == len(journals[1])


def test_a_picture_that_the_network_refuses_is_told(folder, tmp_path, engine):
    worker = make_worker(folder, tmp_path / "out", engine)
    task = make_task(worker, Limits(), None, "cpu")

    def refuse(batch):
        raise MemoryError("too large")

    read = read_items({"item": [Item(Job("0/00.png", "x.png", Stamp(1, "")))]}, task)
    [item] = write_items(Computer(task, FakeEngine(refuse))(read), task)["item"]
    assert item.result == ("unexpected MemoryError: too large", False)
    [item] = write_items(Computer(task, engine)(read), task)["item"]
    assert isinstance(item.result, Finished)


def test_only_computers_compute(folder, tmp_path, engine):
    task = make_task(make_worker(folder, tmp_path / "out", engine), Limits(), None, "cpu")
    with pytest.raises(EngineUnavailable, match="this process reads and writes; another one computes"):
        cluster._NoEngine(task).run(np.zeros((1, 3, 8, 8), np.float32))


def test_other_weights_on_a_machine_end_the_run_and_are_told(folder, tmp_path, engine):
    own = write_graph(tmp_path / "own.onnx", size_hw=(8, 8))
    task = make_task(make_worker(folder, tmp_path / "out", engine), Limits(), str(own), "cpu")
    task = replace(task, made_by=replace(task.made_by, model="u2net_custom", sha256="0" * 64))
    with pytest.raises(HashMismatch, match=r"weights of u2net_custom on this machine must be those of the others"):
        cluster._open_computing(task, None)
    report = cluster.BatchReport()
    [item] = Computer(task)({"item": [Item(Job("0/00.png", "x.png", Stamp(1, "")))]})["item"]
    cluster._take(item, report)
    assert "those of the others, sha256 0000" in report.stopped


def test_machines_are_told_names_and_hashes_and_no_weights(folder, tmp_path):
    weights = write_graph(tmp_path / "large.onnx", size_hw=(8, 8), channels=100_000)
    assert weights.stat().st_size > 1_000_000
    with open_segmenter("u2net_custom", weights=weights, device="cpu") as segmenter:
        worker = Worker(open_place(folder), open_place(tmp_path / "out"), segmenter, Settings(CutoutOptions()))
        task = make_task(worker, Limits(), str(weights), "cpu")
    assert len(pickle.dumps(task)) < 5000
    assert pickle.loads(pickle.dumps(task)).made_by.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("pictures", "resources", "device", "expected"),
    [
        (40, {"CPU": 2.0}, "auto", Layout(0.5, {"num_cpus": 0.5}, 1, 8)),
        (40, {}, "cpu", Layout(0.5, {"num_cpus": 0.5}, 1, 8)),
        (40, {"CPU": 64.0, "GPU": 4.0}, "auto", Layout(1.0, {"num_gpus": 1}, 4, 8)),
        (40, {"CPU": 64.0, "GPU": 4.0}, "cpu", Layout(1.0, {"num_cpus": 1.0}, 32, 8)),
        (20_000, {"CPU": 100.0}, "auto", Layout(1.0, {"num_cpus": 1.0}, 50, 12)),
        (1_000_000, {"CPU": 100.0}, "auto", Layout(1.0, {"num_cpus": 1.0}, 50, 32)),
    ],
)
def test_each_actor_has_a_gpu_for_itself_where_there_are_gpus(pictures, resources, device, expected):
    assert plan_layout(pictures, resources, device) == expected


@pytest.mark.parametrize("address", ["nonsense", "host:", ":6379", "host:six", "ray://head:10001", ""])
def test_an_address_that_is_none_is_told_at_once(address):
    with pytest.raises(OptionError, match=r"--cluster must be auto, local or HOST:PORT, got"):
        make_runner(address)


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineUnavailable, match=r"--cluster needs Ray; pip install .*cluster"):
        make_runner("auto")


def test_pictures_are_not_deleted_by_a_cluster(folder, tmp_path, engine, monkeypatch):
    for name in ("ray", "ray.data"):
        monkeypatch.setitem(sys.modules, name, sys)  # never reached
    worker = make_worker(folder, tmp_path / "out", engine, delete_input=True)
    with pytest.raises(OptionError, match="--cluster goes without --delete-input"):
        make_runner("auto")([], worker, limits=Limits(), stop=threading.Event(), progress=None)
    worker = make_worker(folder, tmp_path / "out", engine)
    with pytest.raises(OptionError, match="--cluster goes without --jobs and --in-flight"):
        make_runner("auto")([], worker, limits=Limits(threads=2), stop=threading.Event(), progress=None)


def descendants(pid):
    """Processes below this one, with their command lines."""
    parents, lines = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            lines[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    below = {pid}
    for _ in range(20):
        below |= {child for child, parent in parents.items() if parent in below}
    return {child: lines[child] for child in below if child in lines}


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def machines(monkeypatch):
    """A Ray of two nodes with a processor each, which lets in who knows its token: its address, and its process."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, sys.path)]))
    address = f"127.0.0.1:{free_port()}"
    script = """
        port="${1##*:}"; shift
        ray() { "$@" --num-cpus=1 --block & }
        ray "$@" --head --port="$port" --include-dashboard=false
        until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do sleep 0.2; done
        ray "$@" --address="127.0.0.1:$port"
        wait
    """
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start"]
    with tempfile.TemporaryDirectory(prefix="ray") as home:  # Ray's sockets need a short path
        monkeypatch.setenv("RAY_TMPDIR", home)
        log = Path(home) / "log"
        with log.open("w") as file:
            command = ["bash", "-c", script, "nodes", address, *ray]
            nodes = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
        try:
            for _ in range(600):
                if log.read_text().count("Ray runtime started") == 2:
                    break
                assert nodes.poll() is None, log.read_text()
                time.sleep(0.2)
            yield address, nodes.pid
        finally:
            for pid in descendants(nodes.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            nodes.wait()


@pytest.mark.cluster
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (extra cluster)")
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the workers in /proc")
def test_a_real_cluster_gives_the_same_bytes_though_workers_are_killed(folder, tmp_path, machines):
    address, nodes = machines
    weights = write_graph(tmp_path / "small.onnx", size_hw=(320, 320))
    command = [sys.executable, "-m", "maskwright", "batch", str(folder)]
    model = ["--manifest", "-m", "u2net_custom", "--weights", str(weights), "--device", "cpu"]
    log = tmp_path / "log"

    def start(target, *extra):
        with log.open("w") as file:
            arguments = [*command, str(tmp_path / target), *model, *extra]
            return subprocess.Popen(arguments, stderr=file, stdout=file)

    assert start("one").wait(300) == 1  # bad.jpg
    process = start("many", "--cluster", address)
    killed = []
    for kind in ("ray::MapWorker", "ray::MapBatches(write_items)"):  # as soon as one is at work
        for _ in range(20_000):
            found = [pid for pid, line in descendants(nodes).items() if line.startswith(kind)]
            if process.poll() is not None or found:
                break
            time.sleep(0.01)
        for pid in found[:1]:
            os.kill(pid, signal.SIGKILL)
            killed.append(kind)
    assert process.wait(300) == 1, log.read_text()
    assert len(killed) == 2, log.read_text()
    assert "40 written, 0 skipped, 1 failed" in log.read_text()
    assert snapshot(tmp_path / "many") == snapshot(tmp_path / "one")
    for name in ("0/00.png", "1/01.png"):
        (tmp_path / "many" / name).unlink()
    assert start("many", "--cluster", "local").wait(300) == 1  # the journal of many machines, read by other ones
    assert "2 written, 38 skipped, 1 failed" in log.read_text()
    assert start("many").wait(300) == 1
    assert "0 written, 40 skipped, 1 failed" in log.read_text()
    assert snapshot(tmp_path / "many") == snapshot(tmp_path / "one")


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (extra cluster)")
def test_a_cluster_that_is_not_there_or_stops_is_told(folder, tmp_path, engine):
    with pytest.raises(EngineUnavailable, match=r"the cluster 127.0.0.1:\d+ cannot be joined \(.*refused"):
        cluster._start(f"127.0.0.1:{free_port()}")
    import ray

    task = make_task(make_worker(folder, tmp_path / "out", engine), Limits(), None, "cpu")
    cluster._start("local")
    try:
        with pytest.raises(EngineFailed, match=r"the cluster stopped \(.*; run again: what is done is in the journal"):
            list(cluster._results([Job("0/00.png", "x.png", Stamp(1, ""))], replace(task, made_by=Provenance("none"))))
    finally:
        ray.shutdown()
