"""u2netp with its real weights on the sample photos, against stored masks."""

import numpy as np
import pytest

from tests.golden.regenerate import PHOTOS, compute, path_of

pytestmark = pytest.mark.weights


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("name", PHOTOS)
def test_the_mask_is_the_stored_one(name, compat, u2netp_home):
    moved = np.abs(np.load(path_of(name, compat)).astype(float) - compute(name, compat))
    assert moved.max() < 2  # of 255, in cells: runtimes differ in the last digits, recipes by far more


@pytest.mark.parametrize("name", PHOTOS)
def test_the_default_and_compat_are_told_apart(name):
    moved = np.abs(np.load(path_of(name, False)).astype(float) - np.load(path_of(name, True)))
    assert moved.max() > 2
