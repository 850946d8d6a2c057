"""Training pictures: crops around heads and bodies, other backgrounds, other light."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from ccp import Photo
from PIL import Image, ImageFilter

_HAIR, _SKIN = 1, 2


class Sampler:
    """Draws (image, labels) pairs: uint8 (H, W, 3) and uint8 (H, W)."""

    def __init__(self, photos: Sequence[Photo], seed: int) -> None:
        self._photos = photos
        self._random = np.random.default_rng(seed)
        self._heads = [_head_pixels(photo.labels) for photo in photos]

    def draw(self, index: int, size_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """One augmented view of a photo."""
        random = self._random
        image, labels = self._view(index, size_hw)
        if random.random() < 0.3:
            image = self._on_other_background(image, labels)
        if random.random() < 0.5:
            image, labels = image[:, ::-1], labels[:, ::-1]
        return self._relit(image), np.ascontiguousarray(labels)

    def _view(self, index: int, size_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        random, photo = self._random, self._photos[index]
        height, width = photo.labels.shape
        kind = random.random()
        heads = self._heads[index]
        if kind < 0.4 or not len(heads):  # most of the photo
            side = height * random.uniform(0.6, 1.1)
            x, y = width * random.uniform(0.35, 0.65), height * random.uniform(0.4, 0.6)
        elif kind < 0.92:  # a head, or what belongs to it
            side = height * np.exp(random.uniform(np.log(0.14), np.log(0.7)))
            y, x = heads[random.integers(len(heads))] + random.normal(0, 0.15, 2) * side
            y += random.uniform(0, 0.3) * side
        else:  # anything, a street without a person too
            side = height * random.uniform(0.15, 0.5)
            x, y = width * random.random(), height * random.random()
        aspect = size_hw[1] / size_hw[0] * np.exp(random.uniform(-0.15, 0.15))
        crop_hw = (side, side * aspect) if aspect < 1 else (side / aspect**0.5, side * aspect**0.5)
        angle = random.normal(0, 12) if random.random() < 0.3 else 0.0
        return _cropped(photo, (y, x), crop_hw, size_hw, angle)

    def _on_other_background(self, image: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The person pasted on a plain colour, a gradient, noise, or a street without people."""
        random, (height, width) = self._random, labels.shape
        kind = random.random()
        if kind < 0.45:
            behind = self._street((height, width))
        else:
            corners = random.uniform(0, 255, (2, 2, 3)) if kind < 0.8 else np.full((2, 2, 3), random.uniform(0, 255))
            behind = np.asarray(
                Image.fromarray(corners.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
            )
        mask = Image.fromarray((labels > 0).astype(np.uint8) * 255).filter(
            ImageFilter.GaussianBlur(random.uniform(0.4, 1.2))
        )
        return np.asarray(Image.composite(Image.fromarray(image), Image.fromarray(behind), mask))

    def _street(self, size_hw: tuple[int, int]) -> np.ndarray:
        """The wider of the strips beside the person of another photo, stretched."""
        photo = self._photos[self._random.integers(len(self._photos))]
        columns = np.flatnonzero((photo.labels > 0).any(axis=0))
        left, right = (columns[0], columns[-1] + 1) if len(columns) else (0, 0)
        height, width = photo.labels.shape
        box = (0, 0, left, height) if left > width - right else (right, 0, width, height)
        if box[2] - box[0] < 30:
            box = (0, 0, width, 60)
        top = int(self._random.uniform(0, 0.5) * height)
        box = (box[0], top if box[3] == height else 0, box[2], box[3])
        return np.asarray(Image.fromarray(photo.image).resize(size_hw[::-1], Image.Resampling.BILINEAR, box=box))

    def _relit(self, image: np.ndarray) -> np.ndarray:
        random = self._random
        picture = Image.fromarray(np.ascontiguousarray(image))
        if random.random() < 0.2:
            picture = picture.filter(ImageFilter.GaussianBlur(random.uniform(0.3, 1.5)))
        if random.random() < 0.15:
            stream = io.BytesIO()
            picture.save(stream, "JPEG", quality=int(random.integers(25, 80)))
            picture = Image.open(stream)
        values = np.asarray(picture, np.float32) / 255
        values = values ** np.exp(random.normal(0, 0.25))
        values = (values - 0.5) * np.exp(random.normal(0, 0.2)) + 0.5 + random.normal(0, 0.08)
        values = values * np.exp(random.normal(0, 0.08, 3)).astype(np.float32)
        gray = values.mean(axis=2, keepdims=True)
        values = gray + (values - gray) * (0.0 if random.random() < 0.05 else np.exp(random.normal(0, 0.2)))
        if random.random() < 0.15:
            values = values + random.normal(0, random.uniform(0.01, 0.05), values.shape)
        return (np.clip(values, 0, 1) * 255).astype(np.uint8)


def _head_pixels(labels: np.ndarray) -> np.ndarray:
    """(N, 2) rows and columns of hair and skin in the upper third of the person, thinned out."""
    rows = np.flatnonzero((labels > 0).any(axis=1))
    if not len(rows):
        return np.empty((0, 2))
    limit = rows[0] + (rows[-1] - rows[0]) // 3
    pixels = np.argwhere(np.isin(labels[:limit], (_HAIR, _SKIN)))
    return pixels[:: max(1, len(pixels) // 200)]


def _cropped(
    photo: Photo, centre: tuple[float, float], crop_hw: tuple[float, float], size_hw: tuple[int, int], angle: float
) -> tuple[np.ndarray, np.ndarray]:
    """A crop around a point at the wanted size; what lies outside the photo repeats its edge."""
    reach = 1.3 if angle else 1.0
    height, width = (max(8, round(side * reach)) for side in crop_hw)
    top, left = round(centre[0] - height / 2), round(centre[1] - width / 2)
    outer_h, outer_w = photo.labels.shape
    rows, columns = (
        np.arange(top, top + height).clip(0, outer_h - 1),
        np.arange(left, left + width).clip(0, outer_w - 1),
    )
    if top >= 0 and left >= 0 and top + height <= outer_h and left + width <= outer_w:
        image, labels = (a[top : top + height, left : left + width] for a in (photo.image, photo.labels))
    else:
        image, labels = photo.image[rows][:, columns], photo.labels[rows][:, columns]
    target = tuple(round(side * reach) for side in size_hw[::-1])
    picture = Image.fromarray(np.ascontiguousarray(image)).resize(target, Image.Resampling.BILINEAR)
    classes = Image.fromarray(np.ascontiguousarray(labels)).resize(target, Image.Resampling.NEAREST)
    if angle:
        box_left, box_top = (target[0] - size_hw[1]) // 2, (target[1] - size_hw[0]) // 2
        box = (box_left, box_top, box_left + size_hw[1], box_top + size_hw[0])
        picture = picture.rotate(angle, Image.Resampling.BILINEAR).crop(box)
        classes = classes.rotate(angle, Image.Resampling.NEAREST).crop(box)
    return np.asarray(picture), np.asarray(classes)
