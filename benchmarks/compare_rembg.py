"""maskwright beside rembg: the same model, the same machine, one run, in turns.

    pip install ".[cpu,bench]"
    python benchmarks/compare_rembg.py --rounds 7

Writes `docs/benchmarks.md`, its picture, and the figures as `benchmarks/results/rembg.json`. Each round
runs both programs once, so a machine that slows down slows both; what counts is the median of the ratios, pair by pair.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
PLOT = ROOT / "docs" / "images" / "benchmarks.png"
FIGURES = ROOT / "benchmarks" / "results" / "rembg.json"
PHOTO = ROOT / "examples" / "astronaut.jpg"


FLOOR = """
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
session.run(None, {session.get_inputs()[0].name: numpy.zeros((1, 3, 320, 320), "float32")})
"""

PAGE_TEXT = """# Benchmarks

maskwright beside rembg with the same model (u2netp), the same output format and the same machine, in one run, in
turns. The page is written by one command:

```sh
pip install ".[cpu,bench]" && python benchmarks/compare_rembg.py
```

{facts}

{table}

Medians; a ratio is the median of the ratios of the pairs, rembg ÷ maskwright. Two rows are read the other way round:
the bare network is the second column of its row, and its ratio is cut-out ÷ network; the ratio of bytes is
maskwright ÷ rembg.

![How many times as long rembg takes](images/benchmarks.png)

Where the time of a cold command goes: about a third is the network, a third is Python itself with NumPy, Pillow,
click and ONNX Runtime, the rest is opening the model, the picture, the PNG and leaving. The floor row shows what
would be left if everything but the network were free.

Where the time of a warm 12-megapixel cut-out goes, JPEG bytes to PNG bytes: about 10 % decoding the JPEG, 7 %
shrinking it for the network, a third the network, 20 % bringing the mask back and writing RGBA, the rest PNG.
"""


@dataclass
class Row:
    """One line of the table: medians over all rounds."""

    name: str
    ours: float
    theirs: float | None
    ratio: float | None
    unit: str
    goal: str
    holds: bool


def measure_process(command: list[str], environment: dict[str, str], data: bytes = b"") -> tuple[float, float]:
    """Seconds and peak MiB of one whole process."""
    import psutil

    start = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    peak = 0.0
    handle = psutil.Process(process.pid)
    writer = threading.Thread(target=lambda: (process.stdin.write(data), process.stdin.close()))
    writer.start()
    while process.poll() is None:
        try:
            info = handle.memory_info()
            peak = max(peak, getattr(info, "peak_wset", info.rss) / 2**20)
        except psutil.Error:
            break
        time.sleep(0.004)
    code = process.wait()
    seconds = time.perf_counter() - start
    writer.join()
    if code:
        raise SystemExit(f"{' '.join(command)} ended with {code}")
    return seconds, peak


def in_turns(ours: Callable[[], float], theirs: Callable[[], float], rounds: int) -> tuple[list[float], list[float]]:
    """Both, one after the other, `rounds` times; one uncounted round first."""
    pairs = [(ours(), theirs()) for _ in range(rounds + 1)][1:]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def timed(call: Callable[[], object]) -> Callable[[], float]:
    def run() -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    return run


def compare(name: str, ours: list[float], theirs: list[float], unit: str, goal: str, limit: float) -> Row:
    """A row whose ratio is theirs / ours, to be at least `limit`."""
    ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
    return Row(name, statistics.median(ours), statistics.median(theirs), ratio, unit, goal, ratio >= limit)


def make_photo(megapixels: float) -> Image.Image:
    """A photo with this many pixels: the sample enlarged, with the fine noise a camera adds."""
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    height = round(width * 3 / 4)
    picture = Image.open(PHOTO).convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    noisy = np.asarray(picture).astype(np.int16)
    noisy += np.random.default_rng(0).integers(-2, 3, noisy.shape, dtype=np.int16)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def jpeg_bytes(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def import_rows(rounds: int) -> list[Row]:
    """Seconds that an import adds to a bare interpreter."""
    environment = dict(os.environ)

    def run(code: str) -> Callable[[], float]:
        return lambda: measure_process([sys.executable, "-c", code], environment)[0]

    bare = statistics.median(run("pass")() for _ in range(rounds))
    ours, theirs = in_turns(run("import maskwright"), run("import rembg"), rounds)
    ours, theirs = ([max(value - bare, 1e-3) for value in values] for values in (ours, theirs))
    row = compare("import", ours, theirs, "s", "under 0.15 s", 0)
    row.holds = row.ours < 0.15
    return [row]


def cold_rows(rounds: int, folder: Path, environment: dict[str, str]) -> list[Row]:
    """A whole command on a 1-megapixel photo."""
    photo = folder / "one.jpg"
    photo.write_bytes(jpeg_bytes(make_photo(1)))
    script = Path(sys.executable).with_name("rembg")
    memory: dict[str, list[float]] = {"ours": [], "theirs": [], "floor": []}

    def run(key: str, command: list[str]) -> Callable[[], float]:
        def once() -> float:
            seconds, peak = measure_process(command, environment)
            memory[key].append(peak)
            return seconds

        return once

    ours, theirs = in_turns(
        run("ours", [sys.executable, "-m", "maskwright", "cut", str(photo), str(folder / "a.png"), "-q"]),
        run("theirs", [str(script), "i", "-m", "u2netp", str(photo), str(folder / "b.png")]),
        rounds,
    )
    weights = Path(environment["U2NET_HOME"]) / "u2netp.onnx"
    floor = [run("floor", [sys.executable, "-c", FLOOR, str(weights)])() for _ in range(rounds)]
    least = statistics.median(floor)
    return [
        compare("one command, 1 megapixel, cold", ours, theirs, "s", "6 times faster", 6),
        Row(
            "its floor: a fresh Python that runs the network once, nothing else",
            least,
            statistics.median(theirs),
            statistics.median(theirs) / least,
            "s",
            "",
            True,
        ),
        compare("the same, peak memory", memory["ours"][1:], memory["theirs"][1:], "MiB", "no more", 1),
    ]


def warm_rows(rounds: int) -> list[Row]:
    """In one process, both libraries warm."""
    import rembg

    import maskwright as mw

    segmenter = mw.open_segmenter("u2netp")
    image = np.asarray(make_photo(1))
    tensor = segmenter.prepare(image).tensor[np.newaxis]
    bare, ours = in_turns(
        timed(lambda: segmenter.engine.run(tensor)), timed(lambda: mw.cutout(image, model=segmenter)), rounds * 2
    )
    overhead = statistics.median(b / a for a, b in zip(bare, ours, strict=True))
    rows = [
        Row(
            "cutout of a 1-megapixel array ÷ bare network",
            statistics.median(ours),
            statistics.median(bare),
            overhead,
            "s",
            "at most 1.15",
            overhead <= 1.15,
        )
    ]
    session = rembg.new_session("u2netp")
    data = jpeg_bytes(make_photo(12))
    sizes: dict[str, int] = {}

    def cut_ours() -> None:
        sizes["ours"] = len(mw.cutout(data, model=segmenter).to_bytes("png"))

    def cut_theirs() -> None:
        sizes["theirs"] = len(rembg.remove(data, session=session))

    fast, slow = in_turns(timed(cut_ours), timed(cut_theirs), rounds)
    rows.append(compare("12-megapixel JPEG to PNG bytes, warm", fast, slow, "s", "2.5 times faster", 2.5))
    ratio = sizes["ours"] / sizes["theirs"]
    rows.append(
        Row(
            "the same, bytes written",
            sizes["ours"] / 1e6,
            sizes["theirs"] / 1e6,
            ratio,
            "MB",
            "at most 1.2 times",
            ratio <= 1.2,
        )
    )
    return rows


def memory_rows(folder: Path, environment: dict[str, str]) -> list[Row]:
    """Peak memory of one 50-megapixel cut-out, command line and file to file."""
    photo = folder / "fifty.jpg"
    photo.write_bytes(jpeg_bytes(make_photo(50)))
    _, ours = measure_process(
        [sys.executable, "-m", "maskwright", "cut", str(photo), str(folder / "a.png"), "-q"], environment
    )
    script = Path(sys.executable).with_name("rembg")
    _, theirs = measure_process([str(script), "i", "-m", "u2netp", str(photo), str(folder / "b.png")], environment)
    return [Row("50 megapixels, peak memory", ours, theirs, theirs / ours, "MiB", "under 1200", ours < 1200)]


def write_results(rows: list[Row], rounds: int) -> None:
    from importlib.metadata import version

    facts = {
        "processors": os.cpu_count(),
        "Python": platform.python_version(),
        "rounds": rounds,
        **{name: version(name) for name in ("maskwright", "rembg", "onnxruntime", "numpy", "Pillow")},
    }
    FIGURES.parent.mkdir(parents=True, exist_ok=True)
    FIGURES.write_text(json.dumps({"facts": facts, "rows": [asdict(row) for row in rows]}, indent=1) + "\n")
    page = PAGE_TEXT.format(facts=", ".join(f"{name} {value}" for name, value in facts.items()), table=make_table(rows))
    PAGE.write_text(page)
    draw(rows)
    print(page)


def make_table(rows: list[Row]) -> str:
    lines = ["| what | maskwright | rembg | ratio | goal | holds |", "|---|---|---|---|---|---|"]
    for row in rows:
        theirs = "" if row.theirs is None else f"{row.theirs:.4g} {row.unit}"
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        holds = ("yes" if row.holds else "no") if row.goal else ""
        lines.append(f"| {row.name} | {row.ours:.4g} {row.unit} | {theirs} | {ratio} | {row.goal} | {holds} |")
    return "\n".join(lines)


def draw(rows: list[Row]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = [row for row in rows if row.ratio is not None and row.goal and "÷" not in row.name and row.unit != "MB"]
    figure, axes = pyplot.subplots(figsize=(8, 0.6 * len(shown) + 1.2))
    bars = axes.barh([row.name for row in shown], [row.ratio for row in shown], color="#2b6cb0")
    axes.bar_label(bars, labels=[f"{row.ratio:.1f}×" for row in shown], padding=4)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlabel("rembg ÷ maskwright (longer is better)")
    axes.invert_yaxis()
    axes.set_xlim(0, max(row.ratio for row in shown) * 1.15)
    figure.tight_layout()
    figure.savefig(PLOT, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    from maskwright.models import default_store, find_card

    weights = default_store().ensure(find_card("u2netp").weights[0]).path
    os.environ["U2NET_HOME"] = str(weights.parent)
    environment = dict(os.environ)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [
            *import_rows(rounds),
            *cold_rows(rounds, folder, environment),
            *warm_rows(rounds),
            *memory_rows(folder, environment),
        ]
    write_results(rows, rounds)


if __name__ == "__main__":
    main()
