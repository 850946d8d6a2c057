"""The photos and labels of Clothing Co-Parsing, in five classes, with a split that is a rule."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import loadmat

CLASSES = ("background", "hair", "skin", "clothes", "accessories")

# The names of the 59 labels, in their order.
NAMES = re.findall(
    r"\S+",
    """
    null accessories bag belt blazer blouse bodysuit boots bra bracelet cape cardigan clogs coat dress earrings flats
    glasses gloves hair hat heels hoodie intimate jacket jeans jumper leggings loafers necklace panties pants pumps
    purse ring romper sandals scarf shirt shoes shorts skin skirt sneakers socks stockings suit sunglasses sweater
    sweatshirt swimwear t-shirt tie tights top vest wallet watch wedges
    """,
)

# Every other label is a garment or a shoe, and so `clothes`: belts, scarves, gloves, ties and tights too.
_ACCESSORIES = (
    *("accessories", "bag", "bracelet", "earrings", "glasses", "hat", "necklace", "purse", "ring", "sunglasses"),
    *("wallet", "watch"),
)
_CLASS_OF = {
    "null": "background",
    "hair": "hair",
    "skin": "skin",
    **dict.fromkeys(_ACCESSORIES, "accessories"),
}
CLASS_OF_LABEL = np.array([CLASSES.index(_CLASS_OF.get(name, "clothes")) for name in NAMES], np.uint8)

LABELLED = range(1, 1005)
MISLABELLED = (868,)  # half of the clothes are marked as background
UNLABELLED = (536,)  # all of it is marked as background
TEST = tuple(number for number in range(1, 903, 17) if number not in MISLABELLED)
_LEFT = [number for number in LABELLED if number not in (*TEST, *MISLABELLED)]
VALIDATION = tuple(number for number in _LEFT[7::16] if number not in UNLABELLED)
TRAINING = tuple(number for number in _LEFT if number not in (*VALIDATION, *UNLABELLED))


@dataclass(frozen=True)
class Photo:
    """(H, W, 3) uint8 RGB and (H, W) uint8 indices into `CLASSES`."""

    number: int
    image: np.ndarray
    labels: np.ndarray


def load_photos(folder: Path, numbers: Iterable[int]) -> list[Photo]:
    """The photos with these numbers, from a checkout of the data set."""
    return [_load_photo(folder, number) for number in numbers]


def _load_photo(folder: Path, number: int) -> Photo:
    with Image.open(folder / "photos" / f"{number:04}.jpg") as file:
        image = np.asarray(file.convert("RGB"))
    annotation = loadmat(folder / "annotations" / "pixel-level" / f"{number:04}.mat")["groundtruth"]
    return Photo(number, image, CLASS_OF_LABEL[annotation])
