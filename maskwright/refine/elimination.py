"""Sparse symmetric systems on a grid of pixels, solved directly: multifrontal elimination.

The pixels are cut along two rows or columns, again and again. What lies on one side of a cut has no equation with
what lies on the other, so the sides are eliminated on their own, the cut after both. Each piece is one small
dense matrix, a front: the pixels that go, and those they leave an update to.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Equations", "dissect", "solve"]

_Index: TypeAlias = NDArray[np.intp]
_Double: TypeAlias = NDArray[np.float64]

_LEAF = 36  # cells of 2 x 2 pixels below which cutting further gains nothing
_LEAST_SIDE = 0.2  # of the cells; a cut that leaves less on one side is no cut
_UNEVEN = 1.0  # how much longer a cut may be if it halves better


class Equations(NamedTuple):
    """One equation per pixel, in the order of elimination, the lower triangle of the matrix alone.

    `rows[k]` and `values[k]`, for k from `starts[i]` to `starts[i + 1]`, are the entries of column i from its
    diagonal on, ascending; the last entry of each column is the right side, at the row `len(starts) - 1`.
    """

    starts: _Index
    rows: _Index
    values: _Double


class _Front(NamedTuple):
    """The pixels `first` to `end` after elimination, written as in `L @ L.T`."""

    first: int
    end: int
    beyond: _Index  # the rows below: pixels that go later, and the right side
    diagonal: _Double  # (n, n), lower triangle
    below: _Double  # (len(beyond), n)


class _OneThread:
    """Dense algebra on one thread: most fronts are too small to share, and the bytes are the same everywhere.

    The number of threads belongs to the whole process: the first to enter sets it, the last to leave restores it.
    Where SciPy was built on another library than OpenBLAS, nothing is done, and that library decides.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        read, write = _openblas()
        with self._lock:
            if not self._users:
                self._before = read()
                write(1)
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    write(self._before)


@cache
def _openblas() -> tuple[Callable[[], int], Callable[[int], Any]]:
    """The functions of SciPy's OpenBLAS that read and set its number of threads."""
    from scipy.linalg import _fblas

    # The extension finds the functions of what it is linked to, except on Windows, where the library is asked.
    folder = Path(_fblas.__file__).parents[2] / "scipy.libs"
    for path in [Path(_fblas.__file__), *sorted(folder.glob("*openblas*"))]:
        library = ctypes.CDLL(str(path))
        for name in ("scipy_openblas", "openblas"):
            for suffix in ("", "64_"):
                if hasattr(library, f"{name}_set_num_threads{suffix}"):
                    return (
                        getattr(library, f"{name}_get_num_threads{suffix}"),
                        getattr(library, f"{name}_set_num_threads{suffix}"),
                    )
    return (lambda: 1), (lambda _count: None)


_ONE_THREAD = _OneThread()


def dissect(rows: _Index, cols: _Index) -> tuple[_Index, _Index]:
    """An order of the pixels that keeps a factorisation sparse, and where in it each front starts.

    Two pixels may share an equation when they are at most two rows and two columns apart.

    Args:
        rows: (N,) row of each pixel.
        cols: (N,) column of each pixel.

    Returns:
        (N,) numbers of the pixels in the order of elimination, and (fronts + 1,) the bounds of the fronts in it.

    Reference:
        George: Nested Dissection of a Regular Finite Element Mesh. SIAM J. Numer. Anal. 10(2), 1973.
    """
    # Pixels up to two apart lie in cells of 2 x 2 pixels that touch: one row of cells is a cut.
    y, x = (rows - rows.min()) // 2, (cols - cols.min()) // 2
    width = x.max() + 1
    cells, cell = np.unique(y * width + x, return_inverse=True)
    order, bounds = _cut_cells(cells // width, cells % width)
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    rank = rank[cell]
    pixels = np.argsort(rank, kind="stable")
    return pixels, np.searchsorted(rank[pixels], bounds)


def _cut_cells(y: _Index, x: _Index) -> tuple[_Index, _Index]:
    """Order and bounds of the fronts for cells that have to do with those that touch them."""
    pieces = []
    todo = [(np.arange(y.size), False)]
    while todo:  # from behind: a cut, then its second side, then its first
        cells, whole = todo.pop()
        cut = None if whole or cells.size <= _LEAF else _best_cut(y[cells], x[cells])
        if cut is None:
            pieces.append(cells)
            continue
        todo += [(cells[cut < 0], False), (cells[cut > 0], False), (cells[cut == 0], True)]
    pieces = [piece for piece in reversed(pieces) if piece.size]
    return np.concatenate(pieces), np.cumsum([0, *(piece.size for piece in pieces)])


def _best_cut(y: _Index, x: _Index) -> _Index | None:
    """(N,) below 0, 0 and above 0 before, on and behind the row or column that cuts best."""
    best, chosen = np.inf, None
    for along in (y, x):
        first = along.min()
        counts = np.bincount(along - first)
        before = np.cumsum(counts) - counts
        behind = y.size - counts - before
        score = (counts + 1) * (1 + _UNEVEN * ((before - behind) / y.size) ** 2)
        score[np.minimum(before, behind) < max(1, _LEAST_SIDE * y.size)] = np.inf
        at = int(score.argmin())
        if score[at] < best:
            best, chosen = score[at], along - (first + at)
    return chosen


def solve(equations: Equations, bounds: _Index) -> _Double:
    """(N,) the solution of a symmetric system, which should be positive definite.

    Args:
        equations: The system, its pixels in the order of `dissect`.
        bounds: The bounds of the fronts, as `dissect` gives them.

    Reference:
        Duff, Reid: The Multifrontal Solution of Indefinite Sparse Symmetric Linear Equations. ACM TOMS 9(3), 1983.
    """
    from scipy.linalg.blas import dgemv, dtrsv

    count = equations.starts.size - 1
    solution = np.empty(count + 1)
    solution[count] = -1  # the right side goes with a last unknown, whose value is known
    with _ONE_THREAD.held():
        for front in reversed(_eliminate(equations, bounds)):
            right = dgemv(-1.0, front.below, solution[front.beyond], trans=1)
            solution[front.first : front.end] = dtrsv(front.diagonal, right, lower=1, trans=1)
    return solution[:count]


def _eliminate(equations: Equations, bounds: _Index) -> list[_Front]:
    """The fronts, from the first to the last: each takes the updates of those that end in it."""
    count = equations.starts.size - 1
    front_of = np.repeat(np.arange(bounds.size - 1), np.diff(bounds))
    column = np.repeat(np.arange(count) - bounds[front_of], np.diff(equations.starts))  # of each entry, in its front
    place = np.empty(count + 1, dtype=np.intp)  # of each pixel in the front at hand
    updates: list[list[tuple[_Index, _Double]]] = [[] for _ in bounds]
    fronts = []
    entries = equations.starts[bounds].tolist()
    for number, (first, end) in enumerate(pairwise(bounds.tolist())):
        own = slice(entries[number], entries[number + 1])
        rows = equations.rows[own]
        inherited = [pixels[pixels.searchsorted(end) :] for pixels, _ in updates[number]]
        beyond = _distinct([rows[rows >= end], *inherited])
        size, total = end - first, end - first + beyond.size
        place[first:end] = np.arange(size)
        place[beyond] = np.arange(size, total)
        front = np.zeros(size * total)
        front[column[own] * total + place[rows]] = equations.values[own]
        update = np.zeros((beyond.size, beyond.size)) if updates[number] else None
        if update is not None:
            for pixels, inner in updates[number]:
                _add_update(front, update.ravel(), inner, place[pixels], size)
            updates[number].clear()
        diagonal, below, update = _factor(front.reshape(size, total), update)
        fronts.append(_Front(first, end, beyond, diagonal, below))
        if beyond[0] < count:
            updates[front_of[beyond[0]]].append((beyond, update))
    return fronts


def _distinct(parts: list[_Index]) -> _Index:
    """The numbers in any of the parts, ascending."""
    merged = np.concatenate(parts)
    merged.sort()
    first = np.ones(merged.size, dtype=bool)
    np.not_equal(merged[1:], merged[:-1], out=first[1:])
    return merged[first]


def _add_update(front: _Double, update: _Double, inner: _Double, places: _Index, size: int) -> None:
    """Add a smaller front's update to the flat rows (size, total) of a front, and to its own update."""
    own = int(places.searchsorted(size))
    beyond = int(np.sqrt(update.size))
    front[(places[:own] * (size + beyond))[:, np.newaxis] + places] += inner[:own]
    places = places[own:] - size
    update[(places * beyond)[:, np.newaxis] + places] += inner[own:, own:]


def _factor(front: _Double, update: _Double | None) -> tuple[_Double, _Double, _Double]:
    """Eliminate the first pixels of a front.

    Args:
        front: (n, n + m), the upper triangle of the matrix of the n pixels and the m rows below them, each a row.
        update: (m, m), what earlier fronts leave to the m, upper triangle; overwritten. None: nothing.

    Returns:
        (n, n) lower triangle and (m, n), the factor; and the update with this front's, as it was given.
    """
    from scipy.linalg.blas import dsyrk, dtrsm
    from scipy.linalg.lapack import dpotrf

    size = len(front)
    diagonal, failed = dpotrf(front[:, :size].T, lower=1, clean=0)
    if failed:
        return _factor_indefinite(front, update)
    below = dtrsm(1.0, diagonal, front[:, size:].T, side=1, lower=1, trans_a=1)
    if update is None:
        return diagonal, below, dsyrk(-1.0, below, lower=1).T
    return diagonal, below, dsyrk(-1.0, below, beta=1.0, c=update.T, lower=1, overwrite_c=1).T


def _factor_indefinite(front: _Double, update: _Double | None) -> tuple[_Double, _Double, _Double]:
    """The same where rounding in the matrix left it not quite positive definite: pivots may be negative."""
    from scipy.linalg.blas import dgemm, dtrsm

    size = len(front)
    diagonal = np.array(front[:, :size].T, order="F")
    signs = np.empty(size)
    for i in range(size):
        signs[i] = np.sign(diagonal[i, i])
        diagonal[i:, i] /= np.sqrt(np.abs(diagonal[i, i]))
        diagonal[i + 1 :, i + 1 :] -= signs[i] * np.outer(diagonal[i + 1 :, i], diagonal[i + 1 :, i])
    below = dtrsm(1.0, diagonal, front[:, size:].T, side=1, lower=1, trans_a=1)
    own = dgemm(-1.0, below * signs, below, trans_b=1).T
    return diagonal, below * signs, own if update is None else update + own
