"""The README's picture: a sample photo, and its cut-out over a checkerboard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

import maskwright as mw

ROOT = Path(__file__).resolve().parents[1]
SQUARE = 12  # pixels


def over_checkerboard(cutout: Image.Image) -> Image.Image:
    y, x = np.indices(cutout.size[::-1]) // SQUARE
    board = Image.fromarray(np.where((x + y) % 2, 214, 246).astype(np.uint8)).convert("RGBA")
    return Image.alpha_composite(board, cutout)


def main() -> None:
    photo = ROOT / "examples" / "astronaut.jpg"
    options = mw.CutoutOptions(alpha_matting=True)
    after = over_checkerboard(mw.cutout(photo, options=options).to_pil())
    before = Image.open(photo).convert("RGBA")
    width, height = before.size
    both = Image.new("RGBA", (2 * width + SQUARE, height), "white")
    both.paste(before, (0, 0))
    both.paste(after, (width + SQUARE, 0))
    target = ROOT / "docs" / "images" / "result.png"
    target.parent.mkdir(exist_ok=True)
    both.convert("RGB").quantize(255).save(target, optimize=True)


if __name__ == "__main__":
    main()
