"""Intersection over union of each class over labelled photos."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from ccp import CLASSES, Photo
from PIL import Image


def mean_scores(network: torch.nn.Module, photos: Sequence[Photo], side: int) -> np.ndarray:
    """(classes,) IoU over all pixels of all photos, each seen at `side` pixels along its shorter side."""
    confusion = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    for photo in photos:
        confusion += confusion_of(predict_labels(network, photo.image, side), photo.labels)
    return iou_of(confusion)


def predict_labels(network: torch.nn.Module, image: np.ndarray, side: int) -> np.ndarray:
    """(H, W) winning classes at the photo's own size."""
    height, width = image.shape[:2]
    factor = side / min(height, width)
    small_hw = [max(32, round(length * factor / 32) * 32) for length in (height, width)]
    small = np.asarray(Image.fromarray(image).resize(small_hw[::-1], Image.Resampling.BILINEAR), np.float32)
    given = torch.from_numpy(small / 127.5 - 1).permute(2, 0, 1)[None].contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        (logits,) = network(given)
        full = torch.nn.functional.interpolate(logits, (height, width), mode="bilinear", align_corners=False)
    return full[0].argmax(dim=0).numpy()


def confusion_of(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(classes, classes) pixel counts, truth by row."""
    count = len(CLASSES)
    return np.bincount(truth.ravel().astype(np.int64) * count + predicted.ravel(), minlength=count**2).reshape(
        count, count
    )


def iou_of(confusion: np.ndarray) -> np.ndarray:
    """IoU of each class."""
    hits = np.diag(confusion)
    return hits / np.maximum(1, confusion.sum(axis=0) + confusion.sum(axis=1) - hits)
