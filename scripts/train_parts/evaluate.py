"""Measure a weights file through the package itself on labelled photos that were not trained on."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from ccp import CLASSES, TEST, VALIDATION, load_photos
from measure import confusion_of, iou_of

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from maskwright.segmenters import open_segmenter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="a checkout of the data set: photos/ and annotations/")
    parser.add_argument("--weights", type=Path, help="an ONNX file; left out: the one that ships with the package")
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--side", type=int, help="length of the shorter side; left out: the catalog's")
    options = parser.parse_args()
    confusion = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    with open_segmenter("maskwright-parts", weights=options.weights, device="cpu") as segmenter:
        if options.side:
            segmenter.pre = replace(segmenter.pre, size_hw=(options.side, options.side))
        for photo in load_photos(options.data, TEST if options.split == "test" else VALIDATION):
            confusion += confusion_of(segmenter(photo.image).labels, photo.labels)
    scores = iou_of(confusion)
    for name, score in zip(CLASSES, scores, strict=True):
        print(f"{name:12} {score:.3f}")
    print(f"{'mean':12} {scores.mean():.3f}")


if __name__ == "__main__":
    main()
