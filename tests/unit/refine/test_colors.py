import numpy as np
import pytest

from maskwright.errors import RangeError, ShapeError
from maskwright.refine.colors import match_foreground
from maskwright.refine.foreground import estimate_foreground
from tests.support.soft_edges import hairy_disk

IMAGE, ALPHA, _, FOREGROUND = hairy_disk((400, 600))
SOFT = (ALPHA > 0.2) & (ALPHA < 0.98)


def far(colors, truth):
    """Mean difference of the soft pixels' colours, as much as they show."""
    return float((ALPHA[..., np.newaxis] * np.abs(colors - truth))[SOFT].mean())


def test_the_colours_are_the_subject_s_own():
    found = match_foreground(IMAGE, ALPHA)
    assert far(found, FOREGROUND) < 0.4 * far(IMAGE, FOREGROUND)
    assert far(found, estimate_foreground(IMAGE, ALPHA)) < 0.03


def test_the_picture_stays_where_it_is_opaque():
    found = match_foreground((IMAGE * 255).round().astype(np.uint8), ALPHA)
    np.testing.assert_allclose(found[ALPHA == 1] * 255, (IMAGE * 255).round()[ALPHA == 1], atol=1e-3)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_without_an_edge_the_picture_stays(value):
    found = match_foreground(IMAGE, np.full(ALPHA.shape, value))
    np.testing.assert_allclose(found, IMAGE, atol=1e-6)


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 30), (30, 1), (2, 3), (5, 600)])
def test_any_size_is_welcome(size_hw):
    rng = np.random.default_rng(0)
    found = match_foreground(rng.random((*size_hw, 3)), rng.random(size_hw))
    assert found.shape == (*size_hw, 3)
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= 1


def test_wrong_arguments_are_refused():
    with pytest.raises(ShapeError, match="alpha size must be"):
        match_foreground(IMAGE, ALPHA[1:])
    with pytest.raises(RangeError, match="alpha must be in"):
        match_foreground(IMAGE, ALPHA * 3)
