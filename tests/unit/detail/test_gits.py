from __future__ import annotations

import pytest

from maskwright.detail.gits import COEFFICIENTS, gits_levels

# The published rows of these coefficients and steps.
PUBLISHED = {
    (0.8, 3): (14.61464119, 11.54541874, 6.77309084, 0.02916753),
    (0.85, 6): (14.61464119, 11.54541874, 7.49001646, 5.09240818, 2.84484982, 0.95350921, 0.02916753),
    (1.2, 2): (14.61464119, 0.803307, 0.02916753),
}


@pytest.mark.parametrize(("row", "levels"), PUBLISHED.items())
def test_published_rows(row, levels):
    assert gits_levels(*row) == levels


@pytest.mark.parametrize("coefficient", COEFFICIENTS)
def test_rows_fall_from_end_to_end(coefficient):
    for steps in range(2, 21):
        levels = gits_levels(coefficient, steps)
        assert len(levels) == steps + 1
        assert list(levels) == sorted(set(levels), reverse=True)
    assert gits_levels(coefficient, 50) == gits_levels(coefficient, 20)
    assert gits_levels(coefficient, 1) == gits_levels(coefficient, 2)


def test_coefficients():
    assert tuple(round(0.8 + 0.05 * index, 2) for index in range(15)) == COEFFICIENTS
