"""Frames per second of `maskwright video` beside `rembg b` fed by a pipe: one clip, one model, this machine.

    python benchmarks/compare_video.py clip.mp4 --rembg /path/to/rembg --rounds 3

Whole processes are timed, start included, one side after the other in every round; rembg gets its frames from a
decoder in this process and writes PNG files, as `maskwright video clip.mp4 folder` does.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import av


def size_of(clip: Path) -> tuple[int, int, int]:
    with av.open(str(clip)) as container:
        frames = list(container.decode(video=0))
    return frames[0].width, frames[0].height, len(frames)


def run_maskwright(clip: Path, target: Path, model: str, *flags: str) -> float:
    start = time.perf_counter()
    command = [sys.executable, "-m", "maskwright", "video", str(clip), str(target), "-m", model, "-q", *flags]
    subprocess.run(command, check=True)
    return time.perf_counter() - start


def run_rembg(rembg: str, clip: Path, folder: Path, model: str) -> float:
    width, height, _ = size_of(clip)
    start = time.perf_counter()
    command = [rembg, "b", "-m", model, "-o", str(folder / "out-%05d.png"), str(width), str(height)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        with av.open(str(clip)) as container:
            for frame in container.decode(video=0):
                process.stdin.write(frame.to_ndarray(format="rgb24").tobytes())
        process.stdin.close()
        process.wait()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--rembg", default="rembg")
    parser.add_argument("--model", default="u2netp")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    _, _, count = size_of(arguments.clip)
    seconds: dict[str, list[float]] = {}
    for number in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            clip, model = arguments.clip, arguments.model
            ours = partial(run_maskwright, clip)
            runs = {
                "rembg b, PNG": partial(run_rembg, arguments.rembg, clip, folder, model),
                "maskwright, PNG": partial(ours, folder / "png", model),
                "maskwright, WebM": partial(ours, folder / "a.webm", model),
                "maskwright, ProRes": partial(ours, folder / "a.mov", model),
                "maskwright --stabilize, PNG": partial(ours, folder / "steady", model, "--stabilize"),
            }
            for label, run in runs.items() if number % 2 == 0 else reversed(runs.items()):
                seconds.setdefault(label, []).append(run())
    table = {
        label: {
            "seconds": [round(each, 2) for each in taken],
            "frames_per_second": round(count / statistics.median(taken), 2),
        }
        for label, taken in seconds.items()
    }
    print(json.dumps({"frames": count, **table}, indent=1))


if __name__ == "__main__":
    main()
