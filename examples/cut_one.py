"""Cut one picture out, once as it is and once with exact edges.

python examples/cut_one.py [PICTURE] [FOLDER]
"""

import sys
from pathlib import Path

import maskwright as mw

HERE = Path(__file__).parent

picture = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "astronaut.jpg"
folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("out")
folder.mkdir(parents=True, exist_ok=True)

plain = mw.cutout(picture)
plain.save(folder / f"{picture.stem}.png")

exact = mw.cutout(picture, options=mw.CutoutOptions(alpha_matting=True))
exact.save(folder / f"{picture.stem}-matted.png")

height, width = plain.alpha.shape
print(f"{picture.name}: {width}×{height}")
print(f"{plain.alpha.mean():.0%} opaque, with matting {exact.alpha.mean():.0%}")
for note in exact.notes:
    print("note:", note)
