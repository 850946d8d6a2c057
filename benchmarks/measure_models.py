"""Seconds and memory for one picture, per model, on this machine; written into docs/models.md and results/models.json.

    python benchmarks/measure_models.py            measure, and write
    python benchmarks/measure_models.py --rounds 9

Each model runs in a process of its own: one picture of a megapixel, first once to warm up, then so many rounds; the
quickest counts, because what else runs on the machine can only add to it. Memory is the most the process held at
once, Python and the runtime included. Weights that are in the store are used; where they are not, a network of the
published shape with random weights takes their place and the table says so: that has the same arithmetic, so the same
time and memory, but masks of no meaning. Models of one network and recipe stand in one row.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
RESULTS = ROOT / "benchmarks" / "results" / "models.json"
PAGE = ROOT / "docs" / "models.md"
SIZE_HW = (1024, 1024)


def find_jobs() -> list[dict[str, Any]]:
    """One job for each network, recipe and runtime that can run here."""
    from maskwright.engines import is_installed, runtimes_for
    from maskwright.models import catalog, default_store

    jobs: dict[tuple[Any, ...], dict[str, Any]] = {}
    for card in catalog():
        network = next((weights.network for weights in card.weights if weights.network), None)
        path = next((found for found in map(default_store().find, card.weights) if found), None)
        files = {runtime: path for runtime in (runtimes_for(path) if path else ()) if network or runtime != "torch"}
        # silueta computes in whole numbers, of which u2net's network with random weights would tell nothing.
        if network and "torch" not in files and card.name != "silueta":
            files["torch"] = None
        for runtime, file in files.items():
            if not is_installed(runtime):
                continue
            job = jobs.setdefault(
                (network or card.name, card.recipe, runtime, file),
                {"models": [], "network": network, "runtime": runtime, "weights": str(file) if file else None},
            )
            job["models"].append(card.name)
    return [*jobs.values()]


def measure(job: dict[str, Any], rounds: int) -> dict[str, Any]:
    """One job, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        weights = job["weights"] or _write_random(str(job["network"]), Path(folder))
        call = [sys.executable, str(Path(__file__)), "--one", json.dumps({**job, "weights": str(weights)})]
        done = subprocess.run([*call, "--rounds", str(rounds)], capture_output=True, text=True, check=True)
    return {**job, **json.loads(done.stdout)}


def _write_random(network: str, folder: Path) -> Path:
    """Weights are written elsewhere, so that making them does not count as memory of the run.

    Norms get the statistics of what they meet: else values fade out layer by layer, into numbers so small that
    processors are slow with them, which no trained network does.
    """
    path = folder / "random.pth"
    code = (
        "import sys, torch; from torch import nn; from maskwright.networks import build_network\n"
        "torch.manual_seed(0); net = build_network(sys.argv[1])\n"
        "norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]\n"
        "[setattr(m, 'momentum', 1.0) or m.train() for m in norms]\n"
        "with torch.no_grad(): net(torch.rand(1, 3, 256, 256))\n"
        "torch.save(net.state_dict(), sys.argv[2])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code, network, str(path)], check=True, env=environment)
    return path


def run_one(job: dict[str, Any], rounds: int) -> dict[str, Any]:
    """What the process of its own does."""
    import resource

    import numpy as np

    from maskwright.engines import open_engine
    from maskwright.segmenters import open_segmenter

    path = Path(str(job["weights"]))
    engine = open_engine(path, str(job["runtime"]), network=job["network"], device="cpu")
    image = np.random.default_rng(0).integers(0, 256, (*SIZE_HW, 3), np.uint8)
    segmenter = open_segmenter(job["models"][0], engine=engine)
    segmenter(image)
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        segmenter(image)
        seconds.append(time.perf_counter() - start)
    kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return {"engine": engine.name, "seconds": min(seconds), "mebibytes": kibibytes / 1024}


def make_table(found: dict[str, Any]) -> str:
    lines = [
        f"One picture of 1024×1024 on {found['machine']}; the quickest of {found['rounds']} rounds.",
        f"{_say_load(found)}\n",
        "| model | runtime | weights | seconds | memory |",
        "| --- | --- | --- | ---: | ---: |",
    ]
    for job in found["jobs"]:
        names = ", ".join(f"`{name}`" for name in job["models"])
        weights = "the published" if job["weights"] else "random, of the published shape"
        numbers = f"{job['seconds']:.2f} | {job['mebibytes']:.0f} MiB"
        lines.append(f"| {names} | {job['engine']} | {weights} | {numbers} |")
    return "\n".join(lines) + "\n"


def _find_load() -> float:
    """How many processors other programs take, over two seconds; where that cannot be read, over the last minute."""
    stat = Path("/proc/stat")
    if not stat.is_file():
        return os.getloadavg()[0]

    def count() -> tuple[int, int]:
        ticks = [int(number) for number in stat.read_text(encoding="utf-8").splitlines()[0].split()[1:]]
        return sum(ticks[:8]) - ticks[3] - ticks[4], sum(ticks[:8])  # but for idle, and waiting for a disk

    before = count()
    time.sleep(2)
    busy, every = (now - then for now, then in zip(count(), before, strict=True))
    return busy / every * (os.cpu_count() or 1)


def _say_load(found: dict[str, Any]) -> str:
    busy = "**The machine was busy: measure again.** " if found["load"] > found["processors"] / 2 else ""
    return f"{busy}Before the run {found['load']:.1f} processors were taken by other programs."


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(run_one(json.loads(arguments.one), arguments.rounds)))
        return
    load, jobs = _find_load(), []
    for job in find_jobs():
        done = measure(job, arguments.rounds)
        done["weights"] = Path(str(done["weights"])).name if job["weights"] else None
        jobs.append(done)
        print(f"{', '.join(done['models'])}: {done['seconds']:.3f} s, {done['mebibytes']:.0f} MiB", flush=True)
    processors = len(os.sched_getaffinity(0))
    machine = f"{processors} processors ({platform.machine()}, {platform.system()})"
    found = {"machine": machine, "processors": processors, "load": load, "rounds": arguments.rounds, "jobs": jobs}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    marks = re.compile(r"(<!-- measured: models -->\n).*?(<!-- end -->)", re.S)
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(marks.sub(lambda match: f"{match[1]}\n{make_table(found)}\n{match[2]}", text), encoding="utf-8")


if __name__ == "__main__":
    main()
