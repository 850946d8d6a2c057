import numpy as np
import pytest

from maskwright.geometry import Placement
from maskwright.segmenters.probabilities import NetworkProbabilities, PatchedProbabilities
from maskwright.tiles import plan_crops, plan_tiles

LABELS = ("background", "face")


def flat(size_hw, face):
    maps = np.stack([np.full((8, 8), 1 - face), np.full((8, 8), face)]).astype(np.float32)
    return NetworkProbabilities(LABELS, maps, Placement(size_hw, (8, 8), (8, 8)), "bilinear")


def test_a_letterboxed_network_is_read_where_the_picture_lies():
    maps = np.zeros((2, 8, 8), np.float32)
    maps[1, 2:6] = 0.75
    found = NetworkProbabilities(LABELS, maps, Placement((40, 80), (8, 8), (4, 8), (2, 0)), "bilinear")
    assert np.allclose(found["face"], 0.75)
    assert found.above("face", 0.7).all()
    assert (found.winners() == 1).all()


@pytest.mark.parametrize("kernel", ["bilinear", "lanczos"])
def test_every_kernel_decides_what_its_map_says(kernel):
    maps = np.random.default_rng(0).random((2, 12, 9), np.float32)
    found = NetworkProbabilities(LABELS, maps, Placement((50, 60), (12, 9), (12, 9)), kernel)
    planes = np.stack([found["background"], found["face"]])
    assert planes.min() >= 0
    assert planes.max() <= 1
    assert np.array_equal(found.above("face", 0.5), planes[1] > 0.5)
    assert np.array_equal(found.winners() == 1, planes[1] > planes[0])


def test_tiles_replace_what_they_share():
    patches = plan_tiles((300, 500), 256)
    looked = [(patch, flat((patch.bbox[3] - patch.bbox[1], patch.bbox[2] - patch.bbox[0]), 0.45)) for patch in patches]
    share = np.zeros((300, 500), np.float32)
    share[:, 250:] = 1
    found = PatchedProbabilities(flat((300, 500), 0.25), (300, 500), looked, share)
    assert np.allclose(found["face"][:, :250], 0.25)
    assert np.allclose(found["face"][:, 250:], 0.45)
    assert np.allclose(found["face"] + found["background"], 1, atol=1e-6)
    assert (found.winners() == 0).all()
    assert np.array_equal(found.above("face", 0.4), share == 1)


def test_a_crop_fades_into_the_picture():
    (crop,) = plan_crops([(100, 100, 200, 200)], (300, 300))
    x1, y1, x2, y2 = crop.bbox
    found = PatchedProbabilities(flat((300, 300), 0.0), (300, 300), [(crop, flat((y2 - y1, x2 - x1), 1.0))])
    face = found["face"]
    assert (face[100:200, 100:200] == 1).all()
    assert face[y1, 150] < 0.1
    assert (face[:y1] == 0).all()
    assert np.abs(np.diff(face[150])).max() < 0.1


def test_without_the_whole_there_is_nothing_around_a_crop():
    (crop,) = plan_crops([(100, 100, 200, 200)], (300, 300))
    x1, y1, x2, y2 = crop.bbox
    found = PatchedProbabilities(None, (300, 300), [(crop, flat((y2 - y1, x2 - x1), 0.25))])
    assert found["background"][0, 0] == 0
    assert found["background"][150, 150] == 0.75
    with pytest.raises(KeyError):
        found["nose"]
    assert list(found) == ["background", "face"]
    assert "nose" not in found
