"""What memory redrawing takes with networks of Diffusers, by the number of segments and of frames.

    python benchmarks/detail_diffusers.py [--frames 24] [--counts 1,4,16]

Each measurement is a process of its own: its peak of resident memory, less what it held before the work began. The
networks have Stable Diffusion's layout at a few thousand random parameters, so that what grows would be seen.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


def peak_mib(segments: int, count: int, side: int = 192) -> float:
    """MiB beyond networks and frames, in this process."""
    import numpy as np
    import torch

    from maskwright.detail import DetailOptions, Seg, Segs, redraw
    from maskwright.detail.diffusers import DiffusersBackend
    from tests.support.diffusion import tiny_motion_unet, tiny_pipe

    torch.set_num_threads(1)
    frames = np.random.default_rng(0).integers(0, 255, (count, side + 16, side + 16, 3), np.uint8)
    mask = np.ones((side, side), np.float32)
    region = (0, 0, side, side)
    segs = Segs((side + 16, side + 16), tuple(Seg(None, mask, 1.0, region, region, "A") for _ in range(segments)))
    options = DetailOptions(guide_size=side, steps=1, cfg=2, context_length=8, chunk=4)
    backend = DiffusersBackend(tiny_pipe(tiny_motion_unet()), device="cpu")
    redraw(frames[:1], Segs(segs.size_hw, segs.items[:1]), backend, options)  # loads what is loaded on first use
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    redraw(frames, segs, backend, options)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def measured(segments: int, frames: int) -> float:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--one", json.dumps([segments, frames])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--counts", default="1,4,8")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(peak_mib(*json.loads(arguments.one)))
        return
    print("segments  frames  peak, MiB beyond networks and frames")
    for segments in map(int, arguments.counts.split(",")):
        print(f"{segments:8}  {arguments.frames:6}  {measured(segments, arguments.frames):.0f}", flush=True)
    print(f"{1:8}  {2 * arguments.frames:6}  {measured(1, 2 * arguments.frames):.0f}", flush=True)


if __name__ == "__main__":
    main()
