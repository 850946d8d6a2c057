"""Writes the golden masks anew and prints how far they moved.

python -m tests.golden.regenerate
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import maskwright as mw

FOLDER = Path(__file__).resolve().parent
PHOTOS = ("astronaut", "cat")
SIDE = 32  # pixels of a stored mask: enough to see a shift, small enough to read in a diff


def shrink(mask: np.ndarray) -> np.ndarray:
    """Means over a SIDE × SIDE grid of cells, 0 to 255."""
    rows = np.array_split(mask, SIDE, axis=0)
    return np.array([[cell.mean() * 255 for cell in np.array_split(row, SIDE, axis=1)] for row in rows])


def compute(name: str, compat: bool) -> np.ndarray:
    """The small mask of a sample photo by u2netp."""
    photo = FOLDER.parents[1] / "examples" / f"{name}.jpg"
    return shrink(mw.segment(photo, device="cpu", compat=compat).mask)


def path_of(name: str, compat: bool) -> Path:
    return FOLDER / f"u2netp_{name}{'_compat' if compat else ''}.npy"


def main() -> None:
    for name in PHOTOS:
        for compat in (False, True):
            path, fresh = path_of(name, compat), compute(name, compat)
            if path.exists():
                moved = np.abs(np.load(path).astype(float) - fresh)
                print(f"{path.name}: mean {moved.mean():.3f}, max {moved.max():.3f} of 255")
            np.save(path, fresh.astype(np.float16))


if __name__ == "__main__":
    main()
