from __future__ import annotations

import threading

import numpy as np
import pytest

from maskwright.refine import elimination as module


def shape(name):
    """Rows and columns of some pixels."""
    if name == "block":
        return np.nonzero(np.ones((31, 40), dtype=bool))
    if name == "ring":
        y, x = np.indices((60, 70))
        return np.nonzero(np.abs(np.hypot(y - 30, x - 35) - 22) < 5)
    if name == "line":
        return np.nonzero(np.ones((1, 200), dtype=bool))
    if name == "one":
        return np.array([5]), np.array([7])
    return np.nonzero(np.random.default_rng(3).random((40, 33)) < 0.4)


SHAPES = ["block", "ring", "line", "one", "scattered"]


def neighbours(rows, cols):
    """(N, N) which pixels may share an equation."""
    return (np.abs(rows[:, np.newaxis] - rows) <= 2) & (np.abs(cols[:, np.newaxis] - cols) <= 2)


def system(rows, cols, seed=0):
    """A random symmetric positive definite matrix with that pattern, and a right side."""
    rng = np.random.default_rng(seed)
    matrix = np.where(neighbours(rows, cols), rng.standard_normal((rows.size, rows.size)), 0)
    matrix = matrix + matrix.T
    matrix += np.diag(np.abs(matrix).sum(axis=1) + 0.1)
    return matrix, rng.standard_normal(rows.size)


def equations(matrix, right, order):
    """The lower triangle of a dense system, in the order given."""
    matrix, right = matrix[np.ix_(order, order)], right[order]
    found, values = [], []
    for column in range(right.size):
        below = column + np.flatnonzero(matrix[column:, column])
        found.append(np.append(below, right.size))
        values.append(np.append(matrix[below, column], right[column]))
    starts = np.cumsum([0, *(len(part) for part in found)])
    return module.Equations(starts, np.concatenate(found), np.concatenate(values))


@pytest.mark.parametrize("name", SHAPES)
def test_is_the_dense_solution(name):
    rows, cols = shape(name)
    matrix, right = system(rows, cols)
    order, bounds = module.dissect(rows, cols)
    solution = np.empty(rows.size)
    solution[order] = module.solve(equations(matrix, right, order), bounds)
    np.testing.assert_allclose(solution, np.linalg.solve(matrix, right), rtol=1e-11, atol=1e-13)
    assert np.abs(matrix @ solution - right).max() < 1e-14 * (np.abs(matrix).sum(axis=1) @ np.abs(solution))


def test_negative_pivots_are_no_end():
    """Rounding can leave a matrix that is not quite positive definite; here it is far from it."""
    rows, cols = shape("ring")
    matrix, right = system(rows, cols)
    flipped = np.random.default_rng(1).random(rows.size) < 0.3
    matrix[np.diag_indices(rows.size)] *= np.where(flipped, -1, 1)
    order, bounds = module.dissect(rows, cols)
    solution = np.empty(rows.size)
    solution[order] = module.solve(equations(matrix, right, order), bounds)
    np.testing.assert_allclose(solution, np.linalg.solve(matrix, right), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", SHAPES)
def test_the_order_is_a_permutation_in_fronts(name):
    rows, cols = shape(name)
    order, bounds = module.dissect(rows, cols)
    np.testing.assert_array_equal(np.sort(order), np.arange(rows.size))
    assert bounds[0] == 0
    assert bounds[-1] == rows.size
    assert (np.diff(bounds) > 0).all()


def test_a_cut_keeps_its_sides_apart():
    """The last front of all leaves two sets of pixels behind that share no equation."""
    rows, cols = shape("ring")
    order, bounds = module.dissect(rows, cols)
    rest = order[: bounds[-2]]
    joined = neighbours(rows[rest], cols[rest])
    reached = np.zeros(rest.size, dtype=bool)
    reached[0] = True
    for _ in range(rest.size):
        grown = joined[reached].any(axis=0)
        if (grown == reached).all():
            break
        reached = grown
    assert 0.2 < reached.mean() < 0.8


def test_no_cut_leaves_a_side_nearly_empty():
    rows, cols = np.nonzero(np.ones((4, 100), dtype=bool))
    cut = module._best_cut(rows, cols)
    assert (np.abs([(cut < 0).mean(), (cut > 0).mean()]) > 0.2).all()
    assert np.ptp(cols[cut == 0]) == 0
    assert module._best_cut(np.zeros(2, dtype=int), np.arange(2)) is None


def test_the_dense_algebra_runs_on_one_thread_and_gives_the_threads_back():
    read, write = module._openblas()
    before = read()
    write(2)
    inside = threading.Barrier(2)
    seen = []

    def enter():
        with module._ONE_THREAD.held():
            inside.wait(timeout=10)
            seen.append(read())

    other = threading.Thread(target=enter)
    other.start()
    enter()
    other.join()
    assert seen == [1, 1]
    assert read() in (1, 2)  # 1 where there is one processor
    assert module._ONE_THREAD._users == 0
    write(before)
