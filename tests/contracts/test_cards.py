"""Every row of the catalog, run through the real engine on a small graph with its network's signature."""

import re
from pathlib import Path

import numpy as np
import pytest

import maskwright
from maskwright.engines import release_engines
from maskwright.models import Packaged, Store, Url, WheelFile, catalog, find_card
from maskwright.pipeline import CutoutOptions, cut_with, load_image
from maskwright.segmenters import open_segmenter
from tests.support.graphs import write_card_graph
from tests.support.networks import write_checkpoint

REMBG = [
    *("u2net", "u2netp", "u2net_human_seg", "u2net_cloth_seg", "u2net_custom", "silueta", "isnet-general-use"),
    *("isnet-anime", "dis_custom", "ben_custom", "bria-rmbg"),
    *(f"birefnet-{kind}" for kind in ["general", "general-lite", "portrait", "dis", "hrsod", "cod", "massive"]),
]
NODE = ["u2net", "u2netp", "u2net_human_seg", "u2net_cloth_seg", "silueta", "isnet-general-use", "isnetis"]


each_card = pytest.mark.parametrize("card", catalog(), ids=lambda card: card.name)


@each_card
class TestRow:
    def test_it_is_complete(self, card):
        assert card.summary
        assert card.license
        assert card.family in ("saliency", "parts", "matting")
        assert set(card.parts) <= set(card.labels)
        assert bool(card.labels) == (card.family == "parts")

    def test_its_weights_are_named_once_and_come_from_https_or_a_pinned_wheel(self, card):
        for weights in card.weights:
            assert re.fullmatch(r"[\w.-]+\.(onnx|pth|ckpt|bin|tflite|safetensors)", weights.file)
            for source in weights.sources:
                if isinstance(source, Url):
                    assert source.url.startswith("https://")
                elif isinstance(source, Packaged):
                    assert (Path(maskwright.__file__).parent / source.member).stat().st_size == weights.size
                else:
                    assert isinstance(source, WheelFile)
                    assert "==" in source.requirement

    def test_its_hashes_are_hex_of_the_right_length(self, card):
        lengths = {"md5": 32, "sha256": 64, "sha384": 96}
        for weights in card.weights:
            for known in weights.hashes:
                assert re.fullmatch(r"[0-9a-f]+", known.digest)
                assert len(known.digest) == lengths[known.algorithm]

    def test_onnx_comes_before_torch(self, card):
        runtimes = [weights.runtime for weights in card.weights]
        assert runtimes == sorted(runtimes, key=["onnx", "torch", "tflite"].index)


@each_card
class TestRun:
    @pytest.fixture(autouse=True)
    def _forget(self):
        yield
        release_engines()

    @pytest.mark.parametrize("compat", [False, True])
    @pytest.mark.parametrize("size_hw", [(33, 47), (1, 1)])
    def test_a_small_graph_of_its_signature_cuts_a_picture(self, card, compat, size_hw, tmp_path):
        path = write_card_graph(tmp_path / "small.onnx", card)
        image = np.random.default_rng(1).integers(0, 256, (*size_hw, 3), np.uint8)
        segmenter = open_segmenter(card.name, weights=path, compat=compat, store=Store(tmp_path), device="cpu")
        cutout = cut_with(segmenter, load_image(image), CutoutOptions(compat=compat))
        stacked = len(card.parts) if compat and card.parts else 1
        assert cutout.rgba.shape == (size_hw[0] * stacked, size_hw[1], 4)
        assert cutout.rgba.dtype == np.uint8
        assert cutout.provenance.model == card.name
        assert set(cutout.masks) == set(card.parts)

    def test_the_same_picture_gives_the_same_bytes(self, card, tmp_path):
        path = write_card_graph(tmp_path / "small.onnx", card)
        image = np.random.default_rng(2).integers(0, 256, (40, 30, 3), np.uint8)
        segmenter = open_segmenter(card.name, weights=path, store=Store(tmp_path), device="cpu")
        first, second = (cut_with(segmenter, load_image(image), CutoutOptions()).rgba for _ in range(2))
        assert np.array_equal(first, second)


LARGE = {"isnet", "u2net", "u2net_cloth"}  # some seconds each
by_network = {
    weights.network: pytest.param(
        card, weights.network, id=weights.network, marks=[pytest.mark.slow] * (weights.network in LARGE)
    )
    for card in reversed(catalog())
    for weights in card.weights
    if weights.network
}


@pytest.mark.parametrize(("card", "network"), by_network.values())
def test_random_weights_of_the_published_shape_run_by_pytorch(card, network, tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    path = write_checkpoint(tmp_path / "random.pth", network)
    image = np.random.default_rng(3).integers(0, 256, (40, 30, 3), np.uint8)
    try:
        segmenter = open_segmenter(card.name, weights=path, store=Store(tmp_path), device="cpu")
        result = segmenter(image)
    finally:
        release_engines()
    assert result.mask.shape == (40, 30)
    assert result.provenance.engine.startswith("torch ")
    assert set(result.masks) == set(card.parts)


@pytest.mark.parametrize("name", [*REMBG, *NODE, "modnet-p", "modnet-w"])
def test_the_names_people_know_are_there(name):
    assert name in {find_card(name).name, *find_card(name).aliases}
