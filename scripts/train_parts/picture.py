"""The picture of docs/person-parts.md: a photo, and its parts in colours."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from maskwright.refine import split_skin
from maskwright.segmenters import open_segmenter

ROOT = Path(__file__).resolve().parents[2]
GAP = 12  # pixels
COLORS = {
    "hair": (168, 60, 190),
    "face": (240, 90, 60),
    "body": (250, 190, 110),
    "clothes": (60, 120, 230),
    "accessories": (60, 190, 90),
}


def main() -> None:
    photo = Image.open(ROOT / "examples" / "astronaut.jpg").convert("RGB")
    image = np.asarray(photo)
    with open_segmenter("maskwright-parts", device="cpu") as segmenter:
        masks = dict(segmenter(image).masks)
    masks["face"], masks["body"] = split_skin(masks["skin"], masks["hair"])
    parts = image * 0.45
    for part, color in COLORS.items():
        weight = 0.6 * masks[part][..., np.newaxis]
        parts = parts * (1 - weight) + np.array(color) * weight + image * 0.3 * weight
    gap = np.full((image.shape[0], GAP, 3), 255)
    both = np.concatenate([image, gap, parts.clip(0, 255)], axis=1).astype(np.uint8)
    target = ROOT / "docs" / "images" / "maskwright-parts.png"
    Image.fromarray(both).quantize(128).save(target, optimize=True)


if __name__ == "__main__":
    main()
