"""`maskwright batch`, killed at random points and run again: is the folder that of a run nobody disturbed?

    python benchmarks/kill_batch.py PICTURES --work FOLDER [--kills 20] [--seed 0]

One run is left alone and measured. Another folder is then filled by runs that are killed (SIGKILL) at a random moment
of that time, each going on where the last one was killed; now and then a cut-out is taken away, so that there is
something left to do. A last run finishes it, and both folders are compared, file by file, the journal included.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path


def start(pictures: Path, target: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "maskwright", "batch", str(pictures), str(target), "--manifest", "-q"]
    )


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    whole, killed = given.work / "whole", given.work / "killed"
    for folder in (whole, killed):
        shutil.rmtree(folder, ignore_errors=True)
    began = time.perf_counter()
    if start(given.pictures, whole).wait():
        raise SystemExit("the run that was left alone failed")
    seconds = time.perf_counter() - began
    chance, alive = random.Random(given.seed), 0  # noqa: S311 - chance, not secrets
    for number in range(given.kills):
        done = sorted(killed.rglob("*.png"))
        for path in chance.sample(done, len(done) // 3):  # something to do again
            path.unlink()
        process = start(given.pictures, killed)
        time.sleep(chance.uniform(0, seconds))
        alive += process.poll() is None
        process.kill()
        process.wait()
        print(f"kill {number + 1}: {len(list(killed.rglob('*.png')))} cut-outs are there", flush=True)
    if start(given.pictures, killed).wait():
        raise SystemExit("the last run failed")
    same = snapshot(whole) == snapshot(killed)
    print(f"{alive} of {given.kills} kills met a run at work; the folders are {'the same' if same else 'DIFFERENT'}")
    sys.exit(not same)


if __name__ == "__main__":
    main()
