"""Windows over long films: which frames a model sees together, and how much each counts."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import OptionError
from .options import DetailOptions

__all__ = ["Window", "windows_of"]

Window = tuple[tuple[int, ...], tuple[float, ...]]


def windows_of(count: int, step: int, options: DetailOptions) -> list[Window]:
    """The windows of one step: their frames and the weight of each.

    >>> [frames for frames, _ in windows_of(6, 0, DetailOptions(context_length=4, context_overlap=2))]
    [(0, 1, 2, 3), (2, 3, 4, 5)]

    Args:
        count: Frames of the film.
        step: Index of the step; `looped` and `uniform` move their windows from step to step.
        options: The context options.

    Raises:
        OptionError: The overlap is not shorter than the window.
    """
    length, overlap = options.context_length, options.context_overlap
    if length is None or count <= length:
        return [(tuple(range(count)), (1.0,) * count)]
    if overlap >= length:
        raise OptionError(
            "context_overlap", expected=f"less than context_length, {length}", got=str(overlap), hint="use 0 for none"
        )
    weights = _pyramid(length) if options.context_weights == "pyramid" else (1.0,) * length
    frames = list(dict.fromkeys(_laid(count, step, length, overlap, options.context_schedule)))
    return [(window, weights[: len(window)]) for window in frames]


def _laid(count: int, step: int, length: int, overlap: int, schedule: str) -> Iterator[tuple[int, ...]]:
    if schedule == "batched":
        for start in range(0, count, length):
            yield tuple(range(start, min(start + length, count)))
    elif schedule == "static":
        for start in range(0, count - overlap, length - overlap):
            start = min(start, count - length)  # the last one moves back to end with the film
            yield tuple(range(start, start + length))
    else:
        offset = round(count * _halved(step))
        for start in range(offset, offset + count, length - overlap):
            window = tuple(place % count for place in range(start, start + length))
            wraps = window[-1] < window[0]
            yield window if schedule == "looped" or not wraps else tuple(range(count - length, count))
        if schedule == "uniform" and offset:
            yield tuple(range(length))  # nothing goes round the end: the beginning needs a window of its own


def _halved(step: int) -> float:
    """0, 1/2, 1/4, 3/4, 1/8, ...: the step's bits, mirrored at the point."""
    return sum(float(step >> bit & 1) * 0.5 ** (bit + 1) for bit in range(max(step.bit_length(), 1)))


def _pyramid(length: int) -> tuple[float, ...]:
    return tuple(float(min(place + 1, length - place)) for place in range(length))
