"""How much `--stabilize` takes of the flicker of a model's masks, and what it does to their accuracy.

    python benchmarks/measure_flicker.py ../shared/gt_open --model u2netp

Clips with exact alpha: `video_anime_synth` as it is, and three made here of composites with known alpha: a portrait
that moves and grows over a panning background with noise, a portrait that stands still under noise, and a portrait that
is cut short by another scene. For each: IoU, mean absolute error, dtSSD times 100, and flicker (the mean
`metrics.warping_error` times 100), of the model's masks and of the steadied ones, and the CPU time they take.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

import maskwright as mw
from maskwright.refine.temporal import REACH, add_change, carry, glance, steady_changes

SIZE = (360, 640)
FRAMES = 16


def load(folder: Path, group: str, number: int) -> tuple[np.ndarray, np.ndarray]:
    truth = sorted((folder / group / "gt").iterdir())[number]
    image = next((folder / group / "image").glob(f"{truth.stem}.*"))
    with Image.open(image) as picture, Image.open(truth) as alpha:
        return np.asarray(picture.convert("RGB")), np.asarray(alpha.convert("L"), np.float32) / 255


def compose(subject, background, *, move=(0.0, 0.0), pan=(0.0, 0.0), zoom=1.0, noise=4.0):
    """Frames and their alpha: a subject that moves (pixels per frame) and grows over a panning background."""
    image, alpha = subject
    height, width = SIZE
    y, x = np.mgrid[:height, :width].astype(np.float32)
    scale = height * 0.95 / alpha.shape[0]
    colors = np.moveaxis(mw.refine.match_foreground(image, alpha), 2, 0) * alpha
    planes = [gaussian_filter(plane, max(0.0, 0.5 / scale - 0.3)) for plane in (*colors, alpha)]
    behind = np.moveaxis(background[0].astype(np.float32) / 255, 2, 0)
    spread = max((height + 60) / behind.shape[1], (width + 120) / behind.shape[2])
    rng = np.random.default_rng(0)
    for step in range(FRAMES):
        size = scale * zoom**step
        rows = (y - height / 2 - move[1] * np.sin(step)) / size + alpha.shape[0] / 2
        columns = (x - width / 2 - move[0] * (step - FRAMES / 2)) / size + alpha.shape[1] / 2
        *front, cover = (map_coordinates(plane, (rows, columns), order=1, mode="constant") for plane in planes)
        places = ((y + 30 + pan[1] * step) / spread, (x + 20 + pan[0] * step) / spread)
        under = np.stack([map_coordinates(plane, places, order=1) for plane in behind])
        frame = np.stack(front) + (1 - cover) * under + rng.normal(0, noise / 255, under.shape)
        yield (np.moveaxis(frame, 0, 2).clip(0, 1) * 255).round().astype(np.uint8), cover.clip(0, 1).astype(np.float32)


def make_clips(folder: Path):
    portraits = [load(folder, "portrait_composite", number) for number in range(2)]
    scenes = [load(folder, "animal_composite", 1), load(folder, "person_parsing_ccp", 0)]
    moving = list(compose(portraits[0], scenes[0], move=(3, 4), pan=(2.5, 0.6), zoom=1.004))
    still = list(compose(portraits[1], scenes[1], noise=6))
    names = sorted(path.stem for path in (folder / "video_anime_synth" / "gt").iterdir())
    yield "video_anime_synth", [load(folder, "video_anime_synth", number) for number in range(len(names))]
    yield "portrait, moving and panned", moving
    yield "portrait, still, noise", still
    yield "portrait, then a cut", moving[: FRAMES // 2] + still[FRAMES // 2 :]


def measure(segmenter, frames) -> str:
    masks = [segmenter(image).mask for image, _ in frames]
    truths = [alpha for _, alpha in frames]
    start = time.process_time()
    window = []
    for (image, _), mask in zip(frames, masks, strict=True):
        window.append(glance(image, {"": mask}, window[-1] if window else None))
    changes = []
    for at in range(len(window)):
        first = max(0, at - REACH)
        changes.append(steady_changes(window[first : at + REACH + 1], at - first)[""])
    spent = (time.process_time() - start) / len(frames)
    steadied = [add_change(mask, change) for mask, change in zip(masks, changes, strict=True)]
    small = [each.masks[""] for each in window]
    steady = [(mask + change).clip(0, 1) for mask, change in zip(small, changes, strict=True)]

    def flicker(each):
        pairs = [(each[k - 1], each[k], window[k].before) for k in range(1, len(each)) if not window[k].before.is_cut]
        return 100 * np.mean([mw.metrics.warping_error(b, carry(a, motion), motion.trust) for a, b, motion in pairs])

    def mean(metric, each):
        return np.mean([metric(mask, truth) for mask, truth in zip(each, truths, strict=True)])

    figures = [
        (mean(mw.metrics.iou, masks), mean(mw.metrics.iou, steadied), "{:.4f}"),
        (mean(mw.metrics.mae, masks), mean(mw.metrics.mae, steadied), "{:.4f}"),
        (100 * mw.metrics.temporal_error(masks, truths), 100 * mw.metrics.temporal_error(steadied, truths), "{:.2f}"),
        (flicker(small), flicker(steady), "{:.2f}"),
    ]
    cells = [f"{form.format(before)} → {form.format(after)}" for before, after, form in figures]
    return " | ".join([*cells, f"{1000 * spent:.0f}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="u2netp")
    arguments = parser.parse_args()
    print("| clip | IoU | mean error | dtSSD | flicker | CPU, ms a frame |\n| --- | --- | --- | --- | --- | ---: |")
    with mw.open_segmenter(arguments.model) as segmenter:
        for name, frames in make_clips(arguments.folder):
            print(f"| {name} | {measure(segmenter, frames)} |", flush=True)


if __name__ == "__main__":
    main()
