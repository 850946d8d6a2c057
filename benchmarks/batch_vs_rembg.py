"""`maskwright batch` beside `rembg p`: folders of 12-megapixel JPEGs, the same model, PNG out, in turns.

    pip install ".[cpu,bench]"
    python benchmarks/batch_vs_rembg.py --photos FOLDER --work FOLDER [--count 30] [--rounds 1] [--rembg PROGRAM]

The photos are cropped to 4:3 and enlarged to 4000 x 3000, with the fine noise a camera adds. Seconds are those of whole
processes, start included; memory is the peak that the system states for the process. With `--add` the figures of this
run join those of earlier ones, so that a long comparison can be made in pieces.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "benchmarks" / "results" / "batch.json"
SIZE = (4000, 3000)


def make_pictures(photos: Path, folder: Path, count: int) -> None:
    """`count` JPEGs of 12 megapixels out of the photos of a folder; those that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = sorted(path for path in photos.iterdir() if path.suffix in (".jpg", ".png"))
    for number in range(count):
        target = folder / f"{number:02}.jpg"
        if target.exists():
            continue
        picture = Image.open(sources[number % len(sources)]).convert("RGB")
        if number >= len(sources):
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        width, height = picture.size
        scale = min(width / SIZE[0], height / SIZE[1])
        crop_width, crop_height = round(SIZE[0] * scale), round(SIZE[1] * scale)
        left, top = (width - crop_width) // 2, (height - crop_height) // 2
        box = (left, top, left + crop_width, top + crop_height)
        large = np.asarray(picture.resize(SIZE, Image.Resampling.LANCZOS, box=box)).astype(np.int16)
        large += np.random.default_rng(number).integers(-2, 3, large.shape, dtype=np.int16)
        Image.fromarray(np.clip(large, 0, 255).astype(np.uint8)).save(target, quality=92)


def run(command: list[str], environment: dict[str, str], log: Path) -> tuple[float, float, float]:
    """Seconds, peak MiB and seconds of processors of one whole process."""
    with log.open("wb") as file:
        start = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {status}; see {log}")
    return seconds, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime


def compare(work: Path, count: int, rembg: str, rounds: int) -> list[dict[str, object]]:
    environment = dict(os.environ)
    pictures = work / f"pictures-{count}"
    rows = []
    for _ in range(rounds):
        row: dict[str, object] = {"pictures": count}
        commands = {
            "rembg": [rembg, "p", "-m", "u2netp", str(pictures), str(work / "rembg")],
            "maskwright": [sys.executable, "-m", "maskwright", "batch", str(pictures), str(work / "maskwright"), "-q"],
        }
        for name, command in commands.items():
            shutil.rmtree(work / name, ignore_errors=True)
            (work / name).mkdir()
            seconds, peak, cpu = run(command, environment, work / f"{name}.log")
            row[name] = {"seconds": round(seconds, 2), "cpu_seconds": round(cpu, 1), "peak_mib": round(peak)}
            row[name]["bytes"] = sizes(work / name)
        row["times"] = round(row["rembg"]["seconds"] / row["maskwright"]["seconds"], 2)
        rows.append(row)
        print(json.dumps({**row, "largest": worst(row)}), flush=True)
    return rows


def sizes(folder: Path) -> dict[str, int]:
    """Name to bytes of the PNGs of a folder."""
    return {path.name: path.stat().st_size for path in sorted(folder.rglob("*.png"))}


def worst(row: dict[str, object]) -> float:
    """How many times as large as rembg's the largest file is, file by file."""
    ours, theirs = row["maskwright"]["bytes"], row["rembg"]["bytes"]
    return round(max(ours[name] / theirs[name] for name in theirs), 3)


def summary(rows: list[dict[str, object]]) -> dict[str, object]:
    ours = sum(sum(row["maskwright"]["bytes"].values()) for row in rows)
    theirs = sum(sum(row["rembg"]["bytes"].values()) for row in rows)
    from importlib.metadata import version

    return {
        "processors": os.cpu_count(),
        "Python": platform.python_version(),
        **{name: version(name) for name in ("onnxruntime", "numpy", "Pillow")},
        "rounds": len(rows),
        "times as fast, median": statistics.median(row["times"] for row in rows),
        "times as fast, least": min(row["times"] for row in rows),
        "bytes, ours / rembg's": round(ours / theirs, 3),
        "bytes, the worst file": max(worst(row) for row in rows),
        "peak MiB": max(row["maskwright"]["peak_mib"] for row in rows),
        "peak MiB, rembg": max(row["rembg"]["peak_mib"] for row in rows),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--rembg", default=str(Path(sys.executable).with_name("rembg")))
    parser.add_argument("--add", action="store_true")
    parser.add_argument("--prepare", action="store_true", help="only make the pictures")
    given = parser.parse_args()
    make_pictures(given.photos, given.work / f"pictures-{given.count}", given.count)
    if given.prepare:
        return
    rows = json.loads(FIGURES.read_text())["rows"] if given.add and FIGURES.exists() else []
    rows += compare(given.work, given.count, given.rembg, given.rounds)
    FIGURES.parent.mkdir(parents=True, exist_ok=True)
    FIGURES.write_text(json.dumps({"summary": summary(rows), "rows": rows}, indent=1) + "\n")
    print(json.dumps(summary(rows), indent=1))


if __name__ == "__main__":
    main()
