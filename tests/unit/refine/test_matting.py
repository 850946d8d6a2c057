import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.sparse.linalg import spsolve

from maskwright.errors import EmptyTrimap, OptionError, RangeError, ShapeError
from maskwright.refine import matting
from maskwright.refine.alpha import estimate_alpha
from maskwright.refine.guided import guided_alpha
from maskwright.refine.matting import match_alpha, refine_alpha
from maskwright.refine.trimap import make_trimap
from tests.support.soft_edges import error, hairy_disk

IMAGE, ALPHA, MASK, _ = hairy_disk()
RNG = np.random.default_rng(2)


def laplacian_by_definition(colors, epsilon):
    """The full matrix of closed-form matting, window by window."""
    height, width, _ = colors.shape
    number = np.arange(height * width).reshape(height, width)
    matrix = np.zeros((height * width,) * 2)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            inside = number[y - 1 : y + 2, x - 1 : x + 2].ravel()
            c = colors.reshape(-1, 3)[inside] - colors.reshape(-1, 3)[inside].mean(axis=0)
            inverse = np.linalg.inv(c.T @ c / 9 + epsilon / 9 * np.eye(3))
            matrix[np.ix_(inside, inside)] += np.eye(9) - (1 + c @ inverse @ c.T) / 9
    return matrix


def test_the_equations_are_those_of_closed_form_matting():
    colors = RNG.random((7, 8, 3), dtype=np.float32)
    band = RNG.random((7, 8)) < 0.6
    known = np.where(band, 0, RNG.random((7, 8))).astype(np.float32)
    pull = RNG.random(int(band.sum()), dtype=np.float32)
    matrix, diagonal, right = matting._equations(colors, known, np.nonzero(band), pull)
    full = laplacian_by_definition(colors.astype(np.float64), matting._EPSILON)
    inside = band.ravel()
    expected = full[inside][:, inside] + np.diag(pull)
    np.testing.assert_allclose(matrix.toarray(), expected, atol=1e-5)
    np.testing.assert_allclose(diagonal, np.diag(expected), atol=1e-5)
    np.testing.assert_allclose(right, -full[inside][:, ~inside] @ known.ravel()[~inside], atol=1e-5)


def test_conjugate_gradients_reach_the_solution():
    colors = RNG.random((12, 13, 3), dtype=np.float32)
    everything = np.nonzero(np.ones((12, 13), dtype=bool))
    pull = np.full(156, 0.05, dtype=np.float32)
    matrix, diagonal, _ = matting._equations(colors, np.zeros((12, 13), dtype=np.float32), everything, pull)
    right = RNG.random(pull.size, dtype=np.float32)
    found = matting._conjugate_gradients(matrix, diagonal, right, np.zeros_like(right))
    np.testing.assert_allclose(found, spsolve(matrix.tocsc(), right), rtol=0.02)


def test_the_result_is_nearer_to_the_truth_than_the_mask_and_the_guided_filter():
    refined = refine_alpha(IMAGE, MASK)
    assert error(refined, ALPHA) < 0.4 * error(MASK, ALPHA)
    assert error(refined, ALPHA) < 0.7 * error(guided_alpha(IMAGE, MASK), ALPHA)


def test_a_large_picture_is_solved_small_and_keeps_its_detail():
    image, alpha, mask, _ = hairy_disk((720, 960))
    assert error(refine_alpha(image, mask), alpha) < 0.2 * error(mask, alpha)


def test_a_trimap_s_unknown_zone_says_nothing_of_alpha():
    trimap = make_trimap(MASK, erode_size=4)
    assert error(refine_alpha(IMAGE, trimap), ALPHA) < 0.5 * error(MASK, ALPHA)


def test_where_colours_tell_nothing_it_stays_near_the_mask():
    assert error(refine_alpha(np.full_like(IMAGE, 0.5), MASK), MASK) < 0.03


def test_what_is_sure_and_away_from_the_edge_stays():
    refined = refine_alpha(IMAGE, MASK)
    sure = make_trimap(MASK) != 0.5
    assert sure.mean() > 0.3
    np.testing.assert_array_equal(refined[sure], MASK[sure])


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 40), (2, 3), (3, 2), (17, 31), (700, 4)])
def test_any_size_is_welcome(size_hw):
    refined = refine_alpha(RNG.random((*size_hw, 3)), RNG.random(size_hw))
    assert refined.shape == size_hw
    assert refined.dtype == np.float32
    assert refined.min() >= 0
    assert refined.max() <= 1


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_flat_mask_stays_flat(value):
    np.testing.assert_allclose(refine_alpha(IMAGE, np.full(MASK.shape, value)), value, atol=1e-3)


def test_nothing_handed_in_is_changed():
    image, mask = IMAGE.copy(), MASK.copy()
    refine_alpha(image, mask, previous=mask)
    np.testing.assert_array_equal(image, IMAGE)
    np.testing.assert_array_equal(mask, MASK)


def test_the_frame_before_steadies_where_it_agrees():
    before = refine_alpha(IMAGE, MASK)
    noisy = (IMAGE + RNG.normal(0, 0.1, IMAGE.shape)).clip(0, 1)
    shaky = (MASK + RNG.normal(0, 0.1, MASK.shape) * (4 * MASK * (1 - MASK))).clip(0, 1).astype(np.float32)
    cold, warm = refine_alpha(noisy, shaky), refine_alpha(noisy, shaky, previous=before)
    assert error(warm, before) < 0.98 * error(cold, before)
    assert error(warm, ALPHA) < error(cold, ALPHA)


def test_a_frame_before_that_shows_something_else_is_passed_over():
    other = refine_alpha(IMAGE, MASK, previous=np.roll(MASK, 120, axis=1))
    assert error(other, ALPHA) < 0.25 * error(MASK, ALPHA)


def test_threads_do_not_change_the_result():
    code = (
        "import hashlib, sys; sys.path.insert(0, chr(46))\n"
        "from tests.support.soft_edges import hairy_disk\n"
        "from maskwright.refine import match_foreground, refine_alpha\n"
        "image, _, mask, _ = hairy_disk((400, 700))\n"
        "alpha = refine_alpha(image, mask)\n"
        "print(hashlib.sha256(alpha.tobytes() + match_foreground(image, alpha).tobytes()).hexdigest())"
    )
    hashes = set()
    for count in ("1", "2"):
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), count)
        command = [sys.executable, "-c", code]
        hashes.add(subprocess.run(command, env={**os.environ, **threads}, capture_output=True, check=True).stdout)
    assert len(hashes) == 1


def test_match_alpha_without_numbers_refines():
    alpha, note = match_alpha(IMAGE, MASK)
    np.testing.assert_array_equal(alpha, refine_alpha(IMAGE, MASK))
    assert note == ""


def test_match_alpha_with_numbers_is_exact():
    alpha, note = match_alpha(IMAGE, MASK, numbers=(240, 10, 4))
    trimap = make_trimap(MASK, foreground_threshold=240, background_threshold=10, erode_size=4)
    np.testing.assert_array_equal(alpha, estimate_alpha(IMAGE, trimap))
    assert note == ""


def test_a_trimap_beyond_the_budget_is_solved_coarse_to_fine_and_its_known_zones_kept():
    alpha, note = match_alpha(IMAGE, MASK, numbers=(240, 10, 4), budget="0.001mp")
    trimap = make_trimap(MASK, foreground_threshold=240, background_threshold=10, erode_size=4)
    known = trimap != 0.5
    np.testing.assert_array_equal(alpha[known], trimap[known])
    assert error(alpha, ALPHA) < error(MASK, ALPHA)
    assert note.startswith("budget: ")


def test_a_budget_makes_it_coarser_and_at_last_guided():
    image, _, mask, _ = hairy_disk((720, 960))
    fine, half, least = (match_alpha(image, mask, budget=budget) for budget in (None, "0.03mp", 0.001))
    np.testing.assert_array_equal(fine[0], refine_alpha(image, mask))
    np.testing.assert_array_equal(half[0], refine_alpha(image, mask, side=256))
    np.testing.assert_array_equal(least[0], guided_alpha(image, mask))
    assert half[1] == "budget: opacity solved at 256 instead of 512 pixels"
    assert least[1] == "budget: opacity by the guided filter"


def test_match_alpha_takes_the_frame_before():
    before = refine_alpha(IMAGE, MASK)
    alpha, _ = match_alpha(IMAGE, MASK, previous=before)
    np.testing.assert_array_equal(alpha, refine_alpha(IMAGE, MASK, previous=before))


def test_a_mask_without_an_edge_is_refused():
    with pytest.raises(EmptyTrimap, match="the mask's edge must be somewhere, got nowhere"):
        match_alpha(IMAGE, np.zeros(MASK.shape))


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"mask": MASK[1:]}, ShapeError, "mask size must be"),
        ({"mask": MASK * 2}, RangeError, "mask must be in"),
        ({"image": IMAGE[..., 0]}, ShapeError, "image must be"),
        ({"previous": MASK[:, 1:]}, ShapeError, "previous size must be"),
        ({"previous": MASK + 1}, RangeError, "previous must be in"),
        ({"side": 8}, RangeError, "side must be 16 pixels or more, got 8; usual is 512"),
    ],
)
def test_wrong_arguments_are_refused(arguments, kind, message):
    with pytest.raises(kind, match=message):
        refine_alpha(**{"image": IMAGE, "mask": MASK, **arguments})


def test_numbers_that_contradict_each_other_are_refused():
    with pytest.raises(OptionError, match="foreground_threshold must be above"):
        match_alpha(IMAGE, MASK, numbers=(10, 240, 0))
