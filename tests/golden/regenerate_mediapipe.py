"""Writes what MediaPipe says of the sample photos anew, and prints how far it moved.

pip install mediapipe==1.2.2 && python -m tests.golden.regenerate_mediapipe

The network is the stand-in for selfie_multiclass_256x256: a 1×1 convolution from colours to six planes, softmax left to
the program. So what is compared is all that happens before and after a network.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.tflite import write_person_graph

FOLDER = Path(__file__).resolve().parent
PHOTOS = ("astronaut", "cat")
STEP = 7  # every seventh pixel of every seventh row is stored


def load(name: str) -> np.ndarray:
    return np.ascontiguousarray(Image.open(FOLDER.parents[1] / "examples" / f"{name}.jpg").convert("RGB"))


def path_of(name: str) -> Path:
    return FOLDER / f"mediapipe_{name}.npy"


def thin(planes: np.ndarray) -> np.ndarray:
    return planes[:, ::STEP, ::STEP]


def compute(name: str, graph: Path) -> np.ndarray:
    """(K, h, w) uint16: MediaPipe's probabilities, in units of 1/65535."""
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.ImageSegmenterOptions(base_options=BaseOptions(model_asset_buffer=graph.read_bytes()))
    with vision.ImageSegmenter.create_from_options(options) as segmenter:
        picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=load(name))
        planes = np.stack([plane.numpy_view()[..., 0] for plane in segmenter.segment(picture).confidence_masks])
    return np.round(thin(planes) * 65535).astype(np.uint16)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        graph = write_person_graph(Path(folder) / "six.tflite")
        for name in PHOTOS:
            path, fresh = path_of(name), compute(name, graph)
            if path.exists():
                moved = np.abs(np.load(path).astype(float) - fresh) / 257
                print(f"{path.name}: mean {moved.mean():.4f}, max {moved.max():.3f} of 255")
            np.save(path, fresh)


if __name__ == "__main__":
    main()
