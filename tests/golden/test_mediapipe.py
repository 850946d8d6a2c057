"""Our pre- and post-processing beside MediaPipe 1.2.2's, on what it once said of the sample photos."""

import numpy as np
import pytest

from maskwright.segmenters import open_segmenter
from tests.golden.regenerate_mediapipe import PHOTOS, compute, load, path_of, thin
from tests.support.tflite import write_person_graph

pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed: pip install 'maskwright[person]'")


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    return write_person_graph(tmp_path_factory.mktemp("mediapipe") / "six.tflite")


def differences(name, graph, compat):
    segmenter = open_segmenter("selfie-multiclass", weights=graph, device="cpu", compat=compat)
    planes = np.stack(list(segmenter.find_probabilities(load(name)).values()))
    return np.abs(thin(planes) - np.load(path_of(name)) / 65535) * 255


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("name", PHOTOS)
def test_the_probabilities_are_mediapipe_s(name, compat, graph):
    moved = differences(name, graph, compat)
    assert moved.mean() < 0.1  # of 255; on average, and nowhere more than a step of its sampling makes
    assert moved.max() < 8


@pytest.mark.parametrize("name", PHOTOS)
def test_another_sampling_is_told_apart(name, graph):
    segmenter = open_segmenter("selfie-multiclass", weights=graph, device="cpu")
    from dataclasses import replace

    segmenter.pre = replace(segmenter.pre, kernel="bilinear")
    planes = np.stack(list(segmenter.find_probabilities(load(name)).values()))
    assert (np.abs(thin(planes) - np.load(path_of(name)) / 65535) * 255).mean() > 0.5


@pytest.mark.parametrize("name", PHOTOS)
def test_what_is_stored_is_what_mediapipe_says(name, graph):
    pytest.importorskip("mediapipe", reason="MediaPipe is not installed: pip install mediapipe==1.2.2")
    assert np.array_equal(compute(name, graph), np.load(path_of(name)))
