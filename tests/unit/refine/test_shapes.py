from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from maskwright.errors import OptionError, RangeError, ShapeError
from maskwright.refine import shapes

any_bits = hnp.arrays(np.bool_, st.tuples(st.integers(1, 13), st.integers(1, 17)))

# By hand: column by column, lengths of zeros first.
KNOWN = [
    ([[0, 1], [0, 1], [1, 0]], [2, 3, 1], "231"),
    ([[1, 1], [1, 1]], [0, 4], "04"),
    ([[0, 0, 0]], [3], "3"),
    ([[1, 0, 1]], [0, 1, 1, 1], "0110"),
]
# From pycocotools 2.0.11.
KNOWN_TEXTS = [
    ([6, 1, 40, 4, 5, 4, 5, 4, 21], "61X13mN000`0"),
    ([0, 100000], "0PeQ3"),
    ([15, 16, 17, 1, 5000, 1, 31, 32, 33], "?`0a0Agk40gTKo02"),
]


@pytest.mark.parametrize(("rows", "counts", "text"), KNOWN)
def test_run_lengths_go_down_the_columns(rows, counts, text):
    mask = np.array(rows, dtype=np.float32)
    assert shapes.mask_to_rle(mask) == {"size": list(mask.shape), "counts": counts}
    assert shapes.pack_counts(counts) == text
    for form in (counts, text, text.encode()):
        np.testing.assert_array_equal(shapes.rle_to_mask({"size": mask.shape, "counts": form}), mask)


@pytest.mark.parametrize(("counts", "text"), KNOWN_TEXTS)
def test_known_texts(counts, text):
    assert shapes.pack_counts(counts) == text
    assert shapes.unpack_counts(text) == counts


@given(st.lists(st.integers(0, 10**6), max_size=20))
def test_packing_loses_nothing(counts):
    assert shapes.unpack_counts(shapes.pack_counts(counts)) == counts


@given(any_bits)
@settings(deadline=None)
def test_run_lengths_lose_nothing(bits):
    rle = shapes.mask_to_rle(bits)
    np.testing.assert_array_equal(shapes.rle_to_mask(rle), bits)
    assert all(count > 0 for count in rle["counts"][1:])


@given(any_bits)
@settings(deadline=None)
def test_run_lengths_are_pycocotools(bits):
    theirs = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed (extra test)")
    expected = theirs.encode(np.asfortranarray(bits.astype(np.uint8)))
    record = shapes.make_annotation(bits)
    assert record["segmentation"]["counts"].encode() == expected["counts"]
    assert record["segmentation"]["size"] == expected["size"]
    assert record["area"] == theirs.area(expected)
    assert record["bbox"] == (theirs.toBbox(expected).tolist() if bits.any() else [0, 0, 0, 0])


@pytest.mark.parametrize("counts", [[5], [2, 5], [-1, 7], "231"])
def test_counts_that_do_not_fit_the_size_are_refused(counts):
    with pytest.raises(RangeError, match="counts must be 0 or more and 4 in all, got"):
        shapes.rle_to_mask({"size": [2, 2], "counts": counts})


@pytest.mark.parametrize("text", ["2 1", "23Q", b"\xff", "é", "p"])
def test_texts_that_are_no_counts_are_refused(text):
    with pytest.raises(OptionError, match="counts must be COCO's compressed text, got"):
        shapes.unpack_counts(text)


def rasterised(polygons, size_hw):
    """By the even-odd rule: which pixels' middles lie inside."""
    y, x = np.mgrid[: size_hw[0], : size_hw[1]] + 0.5
    crossings = np.zeros(size_hw, int)
    for polygon in polygons:
        for ring in (polygon.outer, *polygon.holes):
            for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
                if y0 != y1:
                    crossings += ((y0 > y) != (y1 > y)) & (x < x0 + (x1 - x0) * (y - y0) / (y1 - y0))
    return crossings % 2 == 1


def area(ring):
    x, y = ring.T
    return (x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


@given(any_bits)
@settings(deadline=None)
def test_without_tolerance_polygons_are_the_mask(bits):
    from scipy.ndimage import label

    polygons = shapes.mask_to_polygons(bits, tolerance=0)
    np.testing.assert_array_equal(rasterised(polygons, bits.shape), bits)
    assert len(polygons) == label(bits)[1]
    assert sum(area(p.outer) + sum(map(area, p.holes)) for p in polygons) == bits.sum()
    assert all(area(p.outer) > 0 for p in polygons)
    assert all(area(hole) < 0 for p in polygons for hole in p.holes)


def test_a_ring_has_a_hole_and_its_corners():
    mask = np.ones((5, 6))
    mask[2:4, 1:3] = 0
    (polygon,) = shapes.mask_to_polygons(mask, tolerance=0)
    assert polygon.outer.tolist() == [[0, 0], [6, 0], [6, 5], [0, 5]]
    assert sorted(polygon.holes[0].tolist()) == [[1, 2], [1, 4], [3, 2], [3, 4]]


@pytest.mark.parametrize("tolerance", [0.8, 1.5, 3])
def test_a_simple_outline_stays_within_the_tolerance(tolerance):
    y, x = np.mgrid[:200, :220]
    distance = np.hypot(y - 100, x - 110)
    mask = (distance < 80) & (distance > 30)
    exact, simple = (shapes.mask_to_polygons(mask, each)[0] for each in (0, tolerance))
    assert len(simple.outer) < len(exact.outer) / 2
    for ring, radius in ((simple.outer, 80), (simple.holes[0], 30)):
        middles = (ring + np.roll(ring, -1, axis=0)) / 2
        for points in (ring, middles):
            away = np.abs(np.hypot(points[:, 0] - 110.5, points[:, 1] - 100.5) - radius)
            assert away.max() <= tolerance + 1
    wrong = rasterised([simple], mask.shape) != mask
    assert wrong.sum() <= 2 * np.pi * 110 * tolerance / 2


def test_what_is_smaller_than_the_tolerance_vanishes():
    mask = np.zeros((30, 30))
    mask[2, 2] = 1
    mask[10:25, 10:25] = 1
    assert len(shapes.mask_to_polygons(mask, tolerance=0)) == 2
    assert len(shapes.mask_to_polygons(mask, tolerance=2)) == 1


def test_an_empty_mask_has_no_polygons():
    assert shapes.mask_to_polygons(np.zeros((3, 4))) == []
    assert shapes.make_polygons_record(np.zeros((3, 4))) == {"size": [3, 4], "polygons": []}


@pytest.mark.parametrize("function", [shapes.mask_to_rle, shapes.make_annotation, shapes.mask_to_polygons])
def test_masks_are_cut_at_the_level(function):
    soft = np.array([[0.2, 0.5, 0.8]])
    assert repr(function(soft)) == repr(function(soft >= 0.5))
    assert repr(function(soft, level=0.6)) == repr(function(soft >= 0.6))
    with pytest.raises(ShapeError, match=r"mask must be \(H, W\)"):
        function(np.zeros((2, 2, 3)))


@pytest.mark.parametrize("tolerance", [-1, np.nan, np.inf])
def test_a_tolerance_below_zero_is_refused(tolerance):
    with pytest.raises(RangeError, match="tolerance must be 0 or more pixels"):
        shapes.mask_to_polygons(np.ones((2, 2)), tolerance)
