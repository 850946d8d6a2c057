"""Cut a folder of pictures out with one model held open, and put each on white.

    python examples/cut_folder.py [FOLDER] [FOLDER]

`maskwright batch` does the same and more: subfolders, watching, going on after a stop.
"""

import sys
from pathlib import Path

import maskwright as mw

source = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("out")
target.mkdir(parents=True, exist_ok=True)

options = mw.CutoutOptions(bgcolor=(255, 255, 255, 255))
failed = 0
with mw.open_segmenter("u2netp") as segmenter:
    for picture in sorted(source.glob("*.jpg")):
        try:
            mw.cutout(picture, model=segmenter, options=options).save(target / f"{picture.stem}.png")
        except mw.errors.Error as error:  # noqa: PERF203 - one broken picture must not stop the rest
            failed += 1
            print(f"{picture.name}: {error}", file=sys.stderr)
        else:
            print(picture.name)
sys.exit(1 if failed else 0)
