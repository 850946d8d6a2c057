"""How long the detailer's own work takes beside joining frame by frame, and what memory it needs.

    python benchmarks/detail.py [--frames 240] [--side 256] [--rounds 5]

The backend gives back what it got, so that nothing but the detailer is measured. The other side joins the crops of a
film one by one to a growing array, as the original node does once with crops, latents, masks and decoded pictures.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from maskwright.detail import DetailOptions, EchoBackend, Seg, Segs, detail, redraw

OPTIONS = DetailOptions(guide_size=8, steps=1, noise_mask_feather=0)


def make_segs(count: int, side: int, size_hw: tuple[int, int]) -> Segs:
    region, mask = (0, 0, side, side), np.ones((side, side), np.float32)
    return Segs(size_hw, tuple(Seg(None, mask, 1.0, region, region, "A") for _ in range(count)))


def join_one_by_one(frames: np.ndarray, side: int) -> np.ndarray:
    joined = frames[:1, :side, :side]
    for index in range(1, len(frames)):
        joined = np.concatenate([joined, frames[index : index + 1, :side, :side]])
    return joined


def seconds(work: object, *arguments: object) -> float:
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def peak_mib(work: object, *arguments: object) -> float:
    tracemalloc.start()
    work(*arguments)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    side, size_hw = arguments.side, (arguments.side + 16, arguments.side + 16)
    frames = np.random.default_rng(0).random((arguments.frames, *size_hw, 3), np.float32)

    one = make_segs(1, side, size_hw)
    ours, slices, theirs = [], [], []
    for _ in range(arguments.rounds):
        theirs.append(seconds(join_one_by_one, frames, side))
        slices.append(seconds(lambda: frames[:, :side, :side].copy()))
        ours.append(seconds(detail, frames, one, EchoBackend(), OPTIONS))
    joined, sliced, whole = (statistics.median(times) for times in (theirs, slices, ours))
    print(f"{arguments.frames} frames of {side} x {side}, medians of {arguments.rounds}")
    print(f"joined one by one, once:                      {joined:.3f} s")
    print(f"one slice:                                    {sliced:.4f} s ({joined / sliced:.0f} times faster)")
    print(f"detail() with crop, encode, decode and paste: {whole:.3f} s")

    print("\nsegments  peak of redraw, MiB beyond the frames")
    short = frames[: max(1, arguments.frames // 4)]
    for count in (1, 4, 16):
        peak = peak_mib(redraw, short, make_segs(count, side, size_hw), EchoBackend(), OPTIONS)
        print(f"{count:8}  {peak - short.nbytes / 2**20:.1f}")


if __name__ == "__main__":
    main()
