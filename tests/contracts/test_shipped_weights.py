"""Weights that ship inside the package: whole, of the row's hash, and good for what the row says."""

from pathlib import Path

import numpy as np
import pytest

from maskwright.models import Packaged, Store, catalog, find_card
from maskwright.refine import split_skin
from maskwright.segmenters import open_segmenter

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = [
    pytest.param(card, weights, id=weights.file)
    for card in catalog()
    for weights in card.weights
    if any(isinstance(source, Packaged) for source in weights.sources)
]


@pytest.mark.parametrize(("card", "weights"), SHIPPED)
class TestFile:
    def test_it_is_its_rows_file_and_needs_no_network(self, card, weights, tmp_path):
        stored = Store(tmp_path, offline=True).ensure(weights)
        assert stored.sha256 == weights.hashes[0].digest
        assert stored.path.stat().st_size == weights.size

    def test_its_terms_let_it_ship(self, card, weights):
        assert card.license == "Apache-2.0"
        assert card.commercial

    def test_it_is_small(self, card, weights):
        assert weights.size < 5_000_000


@pytest.fixture(scope="module")
def astronaut(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store"), offline=True)
    with open_segmenter("maskwright-parts", store=store, device="cpu") as segmenter:
        return segmenter(ROOT / "examples" / "astronaut.jpg")


class TestParts:
    @pytest.mark.parametrize(
        ("part", "x", "y"),
        [
            ("hair", 225, 35),
            ("hair", 175, 95),
            ("skin", 222, 105),
            ("skin", 225, 175),
            ("clothes", 130, 330),
            ("clothes", 260, 420),
            ("background", 330, 110),
            ("background", 145, 40),
        ],
    )
    def test_the_astronauts(self, astronaut, part, x, y):
        labels = find_card("maskwright-parts").labels
        around = astronaut.labels[y - 4 : y + 5, x - 4 : x + 5]
        found = labels[np.bincount(around.ravel()).argmax()]
        assert found == part

    def test_the_mask_is_the_person(self, astronaut):
        assert np.array_equal(astronaut.mask > 0, astronaut.labels > 0)
        assert 0.4 < astronaut.mask.mean() < 0.7

    def test_the_face_is_below_the_hair(self, astronaut):
        face, body = split_skin(astronaut.masks["skin"], astronaut.masks["hair"])
        rows, columns = np.nonzero(face)
        assert 160 < np.median(columns) < 280
        assert 70 < np.median(rows) < 180
        assert face.sum() > 0.5 * (face + body).sum()
