"""Compare alpha matting and foreground colours with PyMatting, and write docs/matting.md.

    python benchmarks/compare_matting.py --data ../shared [--peer PYTHON]

`PYTHON` is an interpreter with PyMatting 1.1.16 (this one by default); it stays open, so that nothing is compiled or
imported while the clock runs. Each round runs both once, in turns; a ratio is the median of the ratios of the pairs.
The figures go to `benchmarks/results/matting.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from maskwright.refine import estimate_alpha, estimate_foreground, make_trimap
from maskwright.refine.alpha import _zones
from maskwright.refine.elimination import Equations, dissect, solve
from maskwright.refine.laplacian import make_equations, window_products

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "matting.md"
FIGURES = ROOT / "benchmarks" / "results" / "matting.json"
GROUPS = ("animal_composite", "animal_silver", "anime_composite", "misc_gold", "object_silver", "person_parsing_ccp")
GROUPS += ("portrait_composite", "portrait_silver")
BACKGROUNDS = ("plants", "truck", "lion", "dog_forest", "astronaut", "bike")
SUBJECTS = ("portrait_silver/portrait_015cd10e", "portrait_silver/portrait_71bcce3a")
SUBJECTS += ("animal_silver/animal_sample1", "animal_silver/animal_sample2")
SLOW = 4.0  # seconds of the peer from which two rounds must do

PEER = """
import contextlib, io, json, os, sys, time, warnings
import numpy as np
from pymatting import estimate_alpha_cf, estimate_foreground_ml
answers = os.fdopen(os.dup(1), "w")
for line in sys.stdin:
    kind, source, target = json.loads(line)
    with np.load(source) as data:
        image, plane = data["image"] / 255.0, data["plane"].astype(np.float64)
    said, start, failed = io.StringIO(), time.perf_counter(), ""
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(said))
        stack.enter_context(contextlib.redirect_stderr(said))
        caught = stack.enter_context(warnings.catch_warnings(record=True))
        warnings.simplefilter("always")
        start = time.perf_counter()
        try:
            result = (estimate_alpha_cf if kind == "alpha" else estimate_foreground_ml)(image, plane)
        except ValueError as error:
            result, failed = np.zeros_like(plane), str(error)
        seconds = time.perf_counter() - start
    np.save(target, result)
    warned = failed or ("incomplete Cholesky" if "PERFORMANCE WARNING" in said.getvalue() else "")
    print(json.dumps([seconds, warned or " ".join(str(w.message) for w in caught)]), file=answers, flush=True)
"""

PAGE_TEXT = """# Matting

`-a/--alpha-matting` finds the exact opacity of a soft edge, `-dc/--decontaminate` the colours the subject has there by
itself. Both stand beside PyMatting {pymatting} here, on one machine, in turns:

```sh
python benchmarks/compare_matting.py --data DATA --peer PYTHON
```

{facts}.
The load is what the machine had to do besides; it slows both.

## Alpha

Closed-form matting (Levin, Lischinski, Weiss 2008): windows of 3 × 3 pixels, epsilon 10⁻⁷. PyMatting sets up the whole
picture and iterates until a tolerance is met. Maskwright sets up the windows around unknown pixels and eliminates: the
band is cut in two again and again, what lies on either side of a cut becomes a small dense matrix, and these are
factorised from the smallest up. There is no iteration, so there is nothing that could stop early; the residual is that
of rounding.

PyMatting inverts the colour covariance of a window by its explicit formula. Where the colours of a window lie on one
line, as in grey, over- and underexposed places, this loses most digits, and alpha with them. `compat` repeats that
arithmetic and gives PyMatting's numbers; the default keeps the digits. Which is right was settled by doing the windows
in the 80-bit floating point of x86: the column *to 80 bit* holds the mean difference of the default, and of PyMatting,
from that.

Over {count} pictures, the speed-up is **{speedup:.2f}×** in the geometric mean. `compat` differs from PyMatting by at
most {compat_mean:.0e} in the mean over a band, the residual is at most {residual:.0e} of the right side.

{alpha_table}

*Warned* tells where PyMatting's preconditioner failed at first and it said so. Differences are taken over the unknown
pixels, mean / largest. The masks of `photo` are u2netp's, with rembg's trimap (240, 10, 10); the others have the trimap
of their set, or rembg's from the true alpha.

{memory}

## Foreground colours

Multi-level estimation (Germer and others 2020). Where a pixel is opaque its colour is known, where it is transparent
it is not seen: only soft pixels are estimated, each level's from those it shrinks to. `compat` gives PyMatting's
colours to the last bit.

{speed_table}

The error is the mean of alpha × |estimated − true colour| over the soft pixels, in steps of 1/255: exactly how far a
composite on any new background is off, black, white or green, since the background is the same in both. Subjects with
known colours were put on photographs and taken off again: an artist's sprite, and portraits and animals with the
colours that PyMatting's own estimate gives them on their original background.

{error_table}

The composites of the data set have an exact alpha, but nobody knows their colours. There the fringe is measured: the
mean of alpha × the distance to the colour of the nearest opaque pixel, from which a subject's edge rarely differs much
on one side only.

{fringe_table}
"""


MEMORY_TEXT = """A ring of {unknown:.2f} million unknown pixels in 12 megapixels takes {seconds:.1f} s and
{peak:.1f} GiB in all."""


class Peer:
    """PyMatting in an interpreter of its own that stays open."""

    def __init__(self, python: str, folder: Path) -> None:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        self._process = subprocess.Popen(
            [python, "-c", PEER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._source, self._target = folder / "source.npz", folder / "target.npy"

    def run(self, kind: str, image: np.ndarray, plane: np.ndarray) -> tuple[float, str, np.ndarray]:
        """Seconds, what it complained of, and the result."""
        np.savez(self._source, image=image, plane=plane)
        print(json.dumps([kind, str(self._source), str(self._target)]), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit("the interpreter given by --peer ended; has it PyMatting?")
        seconds, warned = json.loads(answer)
        return seconds, warned, np.load(self._target)


def read_rgb(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def read_plane(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("L")).astype(np.float32) / np.float32(255)


def alpha_cases(data: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, image and trimap of every picture."""
    import maskwright as mw

    segmenter = mw.open_segmenter("u2netp")
    for path in sorted((data / "images" / "photos").glob("*.jpg")):
        image = read_rgb(path)
        mask = np.round(segmenter.segment(image).mask * 255).astype(np.float32) / np.float32(255)
        yield f"photo/{path.stem}", image, make_trimap(mask, compat=True)
    for group in GROUPS:
        for path in sorted((data / "gt_open" / group / "gt").glob("*.png")):
            image = read_rgb(next((data / "gt_open" / group / "image").glob(f"{path.stem}.*")))
            drawn = data / "gt_open" / group / "trimap" / path.name
            trimap = read_plane(drawn) if drawn.exists() else make_trimap(read_plane(path), compat=True)
            yield f"{group}/{path.stem}", image, trimap


def in_turns(ours: Callable[[], Any], theirs: Callable[[], float], rounds: int) -> tuple[float, float, float]:
    """Median seconds of both, and the median of the ratios theirs ÷ ours."""
    pairs = []
    while len(pairs) < rounds:
        start = time.perf_counter()
        ours()
        pairs.append((time.perf_counter() - start, theirs()))
        if pairs[-1][1] > SLOW:
            rounds = min(rounds, 2)
    own, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    return own, other, statistics.median(b / a for a, b in pairs)


def make_system(image: np.ndarray, trimap: np.ndarray, products: Callable[..., Any]) -> tuple[Equations, np.ndarray]:
    """The equations of the unknown pixels, and their solution, in the order of elimination."""
    foreground, unknown = _zones(trimap)
    rows, cols = np.nonzero(unknown)
    order, bounds = dissect(rows, cols)
    equations = make_equations(image, foreground.astype(np.float32), (rows, cols), order, products)
    return equations, solve(equations, bounds)


def relative_residual(equations: Equations, solution: np.ndarray) -> float:
    """The length of b - A x over that of b."""
    from scipy.sparse import csc_array

    count = solution.size
    lower = csc_array((equations.values, equations.rows, equations.starts), shape=(count + 1, count)).tocsr()
    right, lower = lower[[count]].toarray()[0], lower[:count]
    product = lower @ solution + lower.T @ solution - lower.diagonal() * solution
    return float(np.linalg.norm(right - product) / np.linalg.norm(right))


def extended_products(colors: np.ndarray, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """What `window_products` gives, from 8-bit colours in the 64-bit mantissa of x86."""
    c = np.rint(colors * 255).astype(np.longdouble) / 255
    c -= c.sum(axis=0) / 9
    spread = np.stack([[(c[:, a] * c[:, b]).sum(axis=0) for b in range(3)] for a in range(3)])
    for channel in range(3):
        spread[channel, channel] += np.longdouble(epsilon)
    adjugate = np.empty_like(spread)
    for a in range(3):
        for b in range(3):
            (i, j), (k, m) = [n for n in range(3) if n != b], [n for n in range(3) if n != a]
            adjugate[a, b] = (-1) ** (a + b) * (spread[i, k] * spread[j, m] - spread[i, m] * spread[j, k])
    adjugate /= sum(spread[0, k] * adjugate[k, 0] for k in range(3))
    left = np.stack([(adjugate * pixel).sum(axis=1) for pixel in c])
    return left.astype(np.float64), c.astype(np.float64)


def compare_alpha(peer: Peer, data: Path, rounds: int) -> list[dict[str, Any]]:
    rows = []
    for name, image, trimap in alpha_cases(data):
        unknown = _zones(trimap)[1]
        ours, compat = estimate_alpha(image, trimap), estimate_alpha(image, trimap, compat=True)
        answers: list[tuple[float, str, np.ndarray]] = []

        def theirs(image=image, trimap=trimap, answers=answers) -> float:
            answers.append(peer.run("alpha", image, trimap))
            return answers[-1][0]

        own, other, ratio = in_turns(partial(estimate_alpha, image, trimap), theirs, rounds)
        _, warned, expected = answers[0]
        row = {"name": name, "unknown": int(unknown.sum()), "ours": own, "theirs": other, "ratio": ratio}
        row |= {"warned": warned, "residual": 0.0}
        row["residual"] = relative_residual(*make_system(image, trimap, partial(window_products, epsilon=1e-7)))
        if np.finfo(np.longdouble).nmant > 60:
            _, exact = make_system(image, trimap, partial(extended_products, epsilon=1e-7))
            y, x = np.nonzero(unknown)
            order, _ = dissect(y, x)
            for key, alpha in (("ours_to_exact", ours), ("theirs_to_exact", expected)):
                row[key] = float(np.abs(alpha[y[order], x[order]] - exact.clip(0, 1)).mean())
        for key, alpha in (("default", ours), ("compat", compat)):
            difference = np.abs(alpha - expected)[unknown]
            row |= {f"{key}_mean": float(difference.mean()), f"{key}_max": float(difference.max())}
        print(json.dumps(row), flush=True)
        rows.append(row)
    return rows


def measure_memory() -> dict[str, float]:
    """Peak memory and seconds of one estimate with a million unknown pixels in 12 megapixels, in a fresh process."""
    code = """
import resource, time, numpy as np
from maskwright.refine import estimate_alpha
y, x = np.ogrid[-1500:1500, -2000:2000]
radius, angle = np.hypot(y, x, dtype=np.float32), np.arctan2(y, x, dtype=np.float32)
inside = 1100 - radius + 60 * np.sin(9 * angle)
trimap = np.where(np.abs(inside) < 60, np.float32(0.5), inside > 0).astype(np.float32)
image = np.random.default_rng(0).integers(0, 255, (3000, 4000, 3), dtype=np.uint8)
del radius, angle, inside
start = time.perf_counter()
estimate_alpha(image, trimap)
print((trimap == 0.5).sum(), time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    unknown, seconds, peak = map(float, done.stdout.split())
    return {"unknown": unknown, "seconds": seconds, "peak_mib": peak / 1024}


def compare_foreground_speed(peer: Peer, data: Path, rounds: int) -> list[dict[str, Any]]:
    """Both on one picture at 1, 4 and 12 megapixels, with its matte and with the mask of u2netp."""
    import maskwright as mw

    folder, name = SUBJECTS[0].split("/")
    picture = Image.open(data / "gt_open" / folder / "image" / f"{name}.jpg").convert("RGB")
    matte = read_plane(data / "gt_open" / folder / "gt" / f"{name}.png")
    mask = mw.open_segmenter("u2netp").segment(np.asarray(picture)).mask
    rows = []
    for megapixels in (1, 4, 12):
        scale = (megapixels * 1e6 / (picture.width * picture.height)) ** 0.5
        size = round(picture.width * scale), round(picture.height * scale)
        image = np.asarray(picture.resize(size))
        for kind, plane in (("matte", matte), ("u2netp mask", mask)):
            alpha = np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR)).clip(0, 1)
            peer.run("foreground", image, alpha)
            own, other, ratio = in_turns(
                partial(estimate_foreground, image, alpha),
                lambda image=image, alpha=alpha: peer.run("foreground", image, alpha)[0],
                rounds,
            )
            rows.append({"name": f"{megapixels} MP, {kind}", "ours": own, "theirs": other, "ratio": ratio})
    return rows


def known_composites(data: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Kind of subject, composite, alpha and true foreground colours in [0, 1]."""
    sprite = np.asarray(Image.open(data / "images" / "formats" / "anime_sprite_rgba.png").convert("RGBA")) / 255
    subjects = [("sprite, colours by the artist", sprite[..., 3], sprite[..., :3])]
    for subject in SUBJECTS:
        folder, name = subject.split("/")
        picture = Image.open(data / "gt_open" / folder / "image" / f"{name}.jpg").convert("RGB")
        size = picture.width // 2, picture.height // 2
        alpha = np.asarray(Image.open(data / "gt_open" / folder / "gt" / f"{name}.png").convert("L").resize(size)) / 255
        colors = estimate_foreground(np.asarray(picture.resize(size)), alpha, compat=True)
        subjects.append((folder.split("_")[0] + "s, colours by PyMatting", alpha, colors.astype(np.float64)))
    for kind, alpha, foreground in subjects:
        for name in BACKGROUNDS:
            background = Image.open(data / "images" / "photos" / f"{name}.jpg").convert("RGB").resize(alpha.shape[::-1])
            part = alpha[..., np.newaxis]
            image = np.round(part * foreground * 255 + (1 - part) * np.asarray(background)).astype(np.uint8)
            yield kind, image, alpha, foreground


def open_composites(data: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Group, composite, alpha, and for each pixel the colour of the nearest opaque one."""
    from scipy import ndimage

    for group in ("animal_composite", "anime_composite", "portrait_composite"):
        for path in sorted((data / "gt_open" / group / "gt").glob("*.png")):
            image = read_rgb(next((data / "gt_open" / group / "image").glob(f"{path.stem}.*")))
            alpha = read_plane(path)
            nearest = ndimage.distance_transform_edt(alpha < 1, return_distances=False, return_indices=True)
            yield group, image, alpha, image[tuple(nearest)] / 255.0


def compare_foreground_errors(cases: Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]) -> list[dict[str, Any]]:
    """Mean of alpha × distance from the colours given, over the soft pixels, by kind of picture."""
    found: dict[str, list[list[float]]] = {}
    for kind, image, alpha, colors in cases:
        soft = (alpha > 0.02) & (alpha < 0.98)
        estimates = (image / 255.0, estimate_foreground(image, alpha, compat=True), estimate_foreground(image, alpha))
        errors = [(alpha[..., np.newaxis] * np.abs(e - colors))[soft].mean() * 255 for e in estimates]
        found.setdefault(kind, []).append(errors)
    keys = ("plain", "theirs", "ours")
    return [
        {"name": kind, "pictures": len(rows), **dict(zip(keys, np.mean(rows, axis=0).tolist(), strict=True))}
        for kind, rows in found.items()
    ]


def make_table(head: str, lines: list[list[str]]) -> str:
    columns = head.count("|") + 1
    rule = "|".join(["---", *["---:"] * (columns - 1)])
    return "\n".join([f"| {head} |", f"|{rule}|", *("| " + " | ".join(line) + " |" for line in lines)])


def alpha_table(rows: list[dict[str, Any]]) -> str:
    lines = [
        [
            row["name"],
            f"{row['unknown']}",
            f"{row['ours']:.3f}",
            f"{row['theirs']:.3f}",
            f"{row['ratio']:.1f}",
            f"{row['default_mean']:.0e} / {row['default_max']:.0e}",
            f"{row['compat_mean']:.0e} / {row['compat_max']:.0e}",
            f"{row['ours_to_exact']:.0e}, {row['theirs_to_exact']:.0e}" if "ours_to_exact" in row else "",
            f"{row['residual']:.0e}",
            "yes" if row["warned"] else "",
        ]
        for row in rows
    ]
    head = "picture | unknown | s | PyMatting, s | ratio | default − PyMatting | compat − PyMatting | to 80 bit"
    return make_table(f"{head} | residual | warned", lines)


def write_results(results: dict[str, Any]) -> None:
    FIGURES.parent.mkdir(parents=True, exist_ok=True)
    FIGURES.write_text(json.dumps(results, indent=1) + "\n")
    rows, memory = results["alpha"], results["memory"]
    speed = [[r["name"], f"{r['ours']:.2f}", f"{r['theirs']:.2f}", f"{r['ratio']:.1f}"] for r in results["speed"]]
    errors, fringes = (
        [[r["name"], str(r["pictures"]), *(f"{r[k]:.2f}" for k in ("plain", "theirs", "ours"))] for r in results[key]]
        for key in ("errors", "fringes")
    )
    page = PAGE_TEXT.format(
        pymatting="1.1.16",
        facts=", ".join(f"{name} {value}" for name, value in results["facts"].items()),
        count=len(rows),
        speedup=float(np.exp(np.mean([np.log(row["ratio"]) for row in rows]))),
        compat_mean=max(row["compat_mean"] for row in rows),
        residual=max(row["residual"] for row in rows),
        alpha_table=alpha_table(rows),
        memory=MEMORY_TEXT.format(
            unknown=memory["unknown"] / 1e6,
            seconds=memory["seconds"],
            peak=memory["peak_mib"] / 1024,
        ),
        speed_table=make_table("picture | s | PyMatting, s | ratio", speed),
        error_table=make_table("subject | pictures | the picture's colours | PyMatting | Maskwright", errors),
        fringe_table=make_table("set | pictures | the picture's colours | PyMatting | Maskwright", fringes),
    )
    PAGE.write_text(page)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and gt_open/")
    parser.add_argument("--peer", default=sys.executable, help="interpreter with PyMatting")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    from importlib.metadata import version

    with tempfile.TemporaryDirectory() as name:
        peer = Peer(arguments.peer, Path(name))
        tiny = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
        plane = np.tile(np.clip(np.linspace(-1, 2, 32), 0, 1).astype(np.float32), (32, 1))
        for kind in ("alpha", "foreground"):  # warm
            peer.run(kind, tiny, plane)
        estimate_alpha(tiny, plane)
        results = {
            "facts": {
                "processors": os.cpu_count(),
                "Python": platform.python_version(),
                "rounds": arguments.rounds,
                "load average": round(os.getloadavg()[0], 1),
                **{library: version(library) for library in ("numpy", "scipy", "Pillow")},
            },
            "alpha": compare_alpha(peer, arguments.data, arguments.rounds),
            "memory": measure_memory(),
            "speed": compare_foreground_speed(peer, arguments.data, arguments.rounds),
            "errors": compare_foreground_errors(known_composites(arguments.data)),
            "fringes": compare_foreground_errors(open_composites(arguments.data)),
        }
    write_results(results)


if __name__ == "__main__":
    main()
