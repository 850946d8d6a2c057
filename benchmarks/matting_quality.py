"""What alpha matting gains and costs, over pictures whose opacity is known, beside rembg's.

    pip install ".[cpu,bench]"
    python benchmarks/matting_quality.py PICTURES
    python benchmarks/matting_quality.py PICTURES --parts 4MP --rounds 1

PICTURES is a folder as `maskwright bench quality` takes it. Writes `docs/alpha-quality.md` and the figures of every
picture as `benchmarks/results/matting_quality.json`. Both programs work in one process, in turns, on u2netp's map as
each makes it. Parts that are not measured are taken from the figures of the run before. The matting step is all from
the map to colours and opacity: `match_alpha` and `match_foreground` here, `alpha_matting_cutout` there.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import maskwright as mw
from maskwright.errors import EmptyTrimap
from maskwright.imageio import load_image
from maskwright.quality import Pair, find_pairs
from maskwright.refine import guided_alpha, match_alpha, match_foreground

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "alpha-quality.md"
FIGURES = ROOT / "benchmarks" / "results" / "matting_quality.json"
SPEEDS = {"1MP": 1, "2MP": 2, "4MP": 4}
PARTS = ["pictures", *SPEEDS, "sizes"]
MEASURES: dict[str, Callable[[Any, Any], float]] = {
    "SAD": mw.metrics.sad,
    "MSE": mw.metrics.mse,
    "gradient": mw.metrics.gradient_error,
    "near edge": mw.metrics.boundary_error,
}
WAYS = {
    "plain": "the map as it is",
    "guided": "`guided_alpha`",
    "ours": "`-a`",
    "rembg plain": "rembg, its map",
    "rembg -a": "rembg `-a`",
}
SUMMARIES: dict[str, Callable[[list[float]], float]] = {
    "median ratio": statistics.median,
    "geometric mean": statistics.geometric_mean,
    "least": min,
    "largest": max,
}
DIGITS = {"SAD": 2, "MSE": 5, "gradient": 3, "near edge": 4}

TEXT = """# Opacity: what it gains and costs

`--alpha-matting` is judged here by its result, on pictures whose opacity is known, with u2netp's map as its
start, beside rembg's `-a` with the same model. The page is written by one command over a folder as [`bench
quality`](quality.md) takes it:

```sh
pip install ".[cpu,bench]" && python benchmarks/matting_quality.py PICTURES
```

{facts}

## Result

Means over {count} pictures; less is better. SAD and gradient are sums in thousands, near edge is the mean error
within 10 pixels of the true edge.

{means}

In per cent of the plain map's mean:

{relative}

{wins}

The worst ratios to the plain map's error on one picture: {worst}.
Colours cannot tell everything: where the subject and what is behind it look alike, or the map is sure and wrong,
matting cannot help.

By folder, SAD and MSE:

{groups}

## Cost

The whole matting step, opacity and the subject's own colours, warm, one picture after the other and both
programs in turns. The pictures are one of each folder, scaled. Seconds are medians over the
pictures; a ratio is rembg ÷ maskwright on one picture, and the table has their median, geometric mean, least and
largest:

{times}

rembg's solver suffers more from other work on the machine than ours. With the least of it that was met, the median
ratio at 1 megapixel was 15.3, the least 10.0.

Picture by picture, how many times as long rembg takes. Where a map's edge is short and hard rembg has little to solve,
and what is the same for all pictures, shrinking and enlarging, weighs more:

{ratios}

By size, of one picture enlarged; memory is the peak beyond the picture and its map:

{sizes}

## How it works

The map leaves its edge open: all that is more than 2 % away from 0 and 1, and about 1/320 of the longer side
around that. There the matting Laplacian of Levin, Lischinski and Weiss is solved with the map as a prior, which
counts where it is sure, by the eighth power of how far it is from a half, so that far-away colours overrule a map
that does not know and not one that does. It is solved at 128 pixels on the longer side, then at 256 and 512,
each solution the prior of the next, together with the map again: a gap between legs is too narrow for the first
level, and would stay closed. The last one is enlarged by its local affine functions of colour, as a guided filter
is. What is solved for is bounded, so the cost grows only by shrinking the picture and by merging the edge back.

`--budget` limits it: `2` or `2s` are seconds, `0.1mp` are millions of pixels solved for. Seconds are turned
into work by fixed rates, measured on two cores, so that the same input gives the same bytes everywhere; over
the budget the opacity is solved for at 256 or 128 pixels or found by `guided_alpha`, and a note says so. With
`-af`, `-ab` or `-ae` the trimap goes by the numbers and is solved exactly, up to a million unknown pixels;
above that, or over the budget, coarse to fine, and a note says so.

In a video `refine_alpha(image, mask, previous=...)` takes the opacity of the frame before as another prior
where it agrees with the map; `guided_alpha` is for previews.
"""


def theirs_on(picture: Image.Image, session: Any) -> tuple[Image.Image, Callable[[], np.ndarray]]:
    """rembg's map, and its matting step on it."""
    from rembg.bg import alpha_matting_cutout, naive_cutout

    gray = session.predict(picture)[0]

    def step() -> np.ndarray:
        try:
            return np.asarray(alpha_matting_cutout(picture, gray, 240, 10, 10))
        except ValueError:  # where the trimap has no foreground or no background, as rembg does
            return np.asarray(naive_cutout(picture, gray))

    return gray, step


def ours_on(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Our matting step."""
    try:
        alpha, _ = match_alpha(image, mask)
    except EmptyTrimap:
        alpha = mask
    match_foreground(image, alpha)
    return alpha


def measure(pair: Pair, segmenter: Any, session: Any) -> dict[str, Any]:
    """The errors of all ways on one picture, and what the two matting steps took."""
    loaded = load_image(pair.image)
    truth = np.asarray(Image.open(pair.truth).convert("L")) / np.float32(255)
    mask = segmenter(loaded).mask
    gray, step = theirs_on(Image.fromarray(loaded.image), session)
    started = time.perf_counter()
    ours = ours_on(loaded.image, mask)
    middle = time.perf_counter()
    cut = step()
    ended = time.perf_counter()
    results = {
        "plain": mask,
        "guided": guided_alpha(loaded.image, mask),
        "ours": ours,
        "rembg plain": np.asarray(gray.convert("L")) / np.float32(255),
        "rembg -a": cut[..., 3] / np.float32(255),
    }
    errors = {way: {name: f(alpha, truth) for name, f in MEASURES.items()} for way, alpha in results.items()}
    seconds = {"ours": middle - started, "rembg -a": ended - middle}
    return {"name": pair.name, "group": pair.group, "errors": errors, "seconds": seconds, "pixels": mask.size}


def spread(pairs: tuple[Pair, ...], count: int) -> list[Pair]:
    """So many pictures, from as many folders as there are."""
    by_group: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_group.setdefault(pair.group, []).append(pair)
    turns = [pair for turn in zip(*(each * count for each in by_group.values()), strict=False) for pair in turn]
    return list(dict.fromkeys(turns))[:count]


def scaled(pair: Pair, megapixels: float, segmenter: Any) -> tuple[np.ndarray, np.ndarray]:
    """The picture with so many pixels, and its map."""
    picture = Image.fromarray(load_image(pair.image).image)
    factor = (megapixels * 1e6 / (picture.width * picture.height)) ** 0.5
    size = round(picture.width * factor), round(picture.height * factor)
    image = np.asarray(picture.resize(size, Image.Resampling.LANCZOS))
    return image, segmenter(image).mask


def time_at(megapixels: float, pairs: list[Pair], segmenter: Any, session: Any, rounds: int) -> dict[str, Any]:
    """Seconds of both matting steps on pictures of one size, medians over rounds in turns."""
    rows = []
    for pair in pairs:
        image, mask = scaled(pair, megapixels, segmenter)
        _, step = theirs_on(Image.fromarray(image), session)
        took: tuple[list[float], list[float]] = ([], [])
        for _ in range(rounds):
            for call, seconds in zip((lambda image=image, mask=mask: ours_on(image, mask), step), took, strict=True):
                started = time.perf_counter()
                call()
                seconds.append(time.perf_counter() - started)
        ours, theirs = map(statistics.median, took)
        rows.append({"name": pair.name, "ours": ours, "rembg -a": theirs, "ratio": theirs / ours})
        print(f"{megapixels} MP {pair.name}: {ours:.3f} s, rembg {theirs:.3f} s, {theirs / ours:.1f}", flush=True)
    return {"megapixels": megapixels, "rounds": rounds, "rows": rows}


def cost_at(megapixels: float, pair: Pair, segmenter: Any) -> dict[str, float]:
    """Seconds and peak MiB of our matting step on one picture of one size."""
    image, mask = scaled(pair, megapixels, segmenter)
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        ours_on(image, mask)
        seconds.append(time.perf_counter() - started)
    tracemalloc.start()
    alpha, _ = match_alpha(image, mask)
    peak_alpha = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    match_foreground(image, alpha)
    peak = max(peak_alpha, tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
    return {"megapixels": megapixels, "seconds": statistics.median(seconds), "MiB": peak / 2**20}


def mean(rows: list[dict[str, Any]], way: str, name: str) -> float:
    return statistics.fmean(row["errors"][way][name] for row in rows)


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_page(figures: dict[str, Any]) -> None:
    rows = figures["pictures"]
    names = list(MEASURES)
    means = [[text, *(f"{mean(rows, way, n):.{DIGITS[n]}f}" for n in names)] for way, text in WAYS.items()]
    relative = [
        [text, *(f"{100 * (mean(rows, way, n) / mean(rows, 'plain', n) - 1):+.1f}" for n in names)]
        for way, text in WAYS.items()
        if way != "plain"
    ]
    better = {
        n: sum(row["errors"]["ours"][n] < row["errors"]["rembg -a"][n] for row in rows) / len(rows) for n in names
    }
    worst = {n: max(row["errors"]["ours"][n] / row["errors"]["plain"][n] for row in rows) for n in names}
    groups = [
        [group, *(f"{mean(own, way, n):.{DIGITS[n]}f}" for n in names[:2] for way in ("plain", "ours", "rembg -a"))]
        for group in sorted({row["group"] for row in rows})
        for own in [[row for row in rows if row["group"] == group]]
    ]
    speeds = [figures[part] for part in SPEEDS if part in figures]
    times = [
        [
            f"{speed['megapixels']} megapixels, {len(speed['rows'])} pictures",
            *(f"{statistics.median(row[key] for row in speed['rows']):.3g}" for key in ("ours", "rembg -a")),
            *(f"{f([row['ratio'] for row in speed['rows']]):.1f}" for f in SUMMARIES.values()),
        ]
        for speed in speeds
    ]
    by_name = [{row["name"]: f"{row['ratio']:.1f}" for row in speed["rows"]} for speed in speeds]
    ratios = [[name.split("/")[0], *(each.get(name, "") for each in by_name)] for name in by_name[0]]
    sizes = [[f"{s['megapixels']} megapixels", f"{s['seconds']:.3g}", f"{s['MiB']:.0f}"] for s in figures["sizes"]]
    head = [f"{n}, {way}" for n in names[:2] for way in ("plain", "`-a`", "rembg `-a`")]
    page = TEXT.format(
        facts=", ".join(f"{name} {value}" for name, value in figures["facts"].items()),
        count=len(rows),
        means=table(["way", *names], means),
        relative=table(["way", *names], relative),
        wins="Better than rembg's `-a` on\n"
        + ", ".join(f"{100 * share:.0f} % of the pictures by {n}" for n, share in better.items())
        + ".",
        worst=", ".join(f"{n} {value:.2f}" for n, value in worst.items()),
        groups=table(["folder", *head], groups),
        times=table(["size", "maskwright, s", "rembg, s", *SUMMARIES], times),
        ratios=table(["picture of", *(f"{speed['megapixels']} megapixels" for speed in speeds)], ratios),
        sizes=table(["size", "s", "MiB"], sizes),
    )
    PAGE.write_text(page)
    print(page)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--timed", type=int, default=9, help="pictures that are timed")
    parser.add_argument("--rounds", type=int, default=3, help="times that each of them is timed")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what is measured; left out: all")
    arguments = parser.parse_args()
    from importlib.metadata import version

    from maskwright.models import default_store, find_card

    weights = default_store().ensure(find_card("u2netp").weights[0]).path
    os.environ["U2NET_HOME"] = str(weights.parent)
    import rembg

    pairs = find_pairs(arguments.pictures).pairs
    session = rembg.new_session("u2netp", providers=["CPUExecutionProvider"])
    programs = ("rembg", "pymatting", "onnxruntime", "numpy", "scipy")
    facts: dict[str, Any] = {"processors": os.cpu_count(), "Python": platform.python_version()}
    facts |= {"maskwright": mw.__version__, **{name: version(name) for name in programs}}
    figures = json.loads(FIGURES.read_text()) if arguments.parts != PARTS else {}
    figures["facts"] = facts
    with mw.open_segmenter("u2netp") as segmenter:
        measure(pairs[0], segmenter, session)  # what is compiled or loaded at first use
        some = spread(pairs, arguments.timed)
        for part in arguments.parts:
            if part == "pictures":
                figures[part] = [measure(pair, segmenter, session) for pair in pairs]
            elif part == "sizes":
                figures[part] = [cost_at(size, some[0], segmenter) for size in (1, 4, 12, 24)]
            else:
                figures[part] = time_at(SPEEDS[part], some, segmenter, session, arguments.rounds)
    FIGURES.parent.mkdir(parents=True, exist_ok=True)
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
    if "pictures" in figures and "sizes" in figures:
        write_page(figures)


if __name__ == "__main__":
    main()
