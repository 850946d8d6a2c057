"""Pictures whose opacity is known, and the blurred masks a network would give of them."""

import numpy as np
from scipy.ndimage import gaussian_filter, zoom


def hairy_disk(size_hw=(180, 240), seed=0):
    """Image (H, W, 3) in [0, 1], true alpha, and a mask blurred and shrunk as by a small network."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size_hw[0], : size_hw[1]]
    dy, dx = y - size_hw[0] / 2, x - size_hw[1] / 2
    radius = min(size_hw) / 3.2
    angle = np.arctan2(dy, dx)
    edge = radius * (1 + 0.12 * np.sin(11 * angle) + 0.06 * np.sin(29 * angle + 1))
    alpha = np.clip((edge - np.hypot(dy, dx)) / 2 + 0.5, 0, 1)
    paint = [gaussian_filter(rng.random((*size_hw, 3)), (6, 6, 0)) * 1.2 - 0.6 for _ in range(2)]
    foreground = np.clip(np.array([0.75, 0.5, 0.3]) + paint[0], 0, 1)
    background = np.clip(np.array([0.15, 0.3, 0.55]) + paint[1], 0, 1)
    image = alpha[..., None] * foreground + (1 - alpha[..., None]) * background
    coarse = zoom(gaussian_filter(alpha, min(size_hw) / 40), 0.25, order=1, grid_mode=True, mode="nearest")
    ratio = np.array(size_hw) / coarse.shape
    mask = zoom(coarse, ratio, order=1, grid_mode=True, mode="nearest").clip(0, 1)
    return image.clip(0, 1), alpha.astype(np.float32), mask.astype(np.float32), foreground


def error(a, b):
    """Mean absolute difference."""
    return float(np.abs(np.asarray(a, dtype=np.float64) - b).mean())
