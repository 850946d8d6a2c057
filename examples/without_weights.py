"""Try everything behind the network without weights and without a runtime.

    python examples/without_weights.py [FOLDER]

A `FakeEngine` applies a function of yours where the network would compute. Tests of your own code can do so
too.
"""

import sys
from pathlib import Path

import numpy as np

import maskwright as mw

folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("out")
folder.mkdir(parents=True, exist_ok=True)


def disc(batch: np.ndarray) -> list[np.ndarray]:
    """A soft disc in the middle, whatever the picture: (N, 3, H, W) to one map, (N, 1, H, W)."""
    count, _, height, width = batch.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    mask = np.clip((0.8 - np.hypot(x, y)) * 10, 0, 1)
    return [np.broadcast_to(mask, (count, 1, height, width)).astype(np.float32)]


with mw.open_segmenter("u2netp", engine=mw.engines.FakeEngine(disc)) as segmenter:
    cutout = mw.cutout(Path(__file__).parent / "astronaut.jpg", model=segmenter, options=mw.CutoutOptions(feather=4))
cutout.save(folder / "disc.png")
print(f"{cutout.alpha.mean():.0%} opaque, by {cutout.provenance.engine}")
