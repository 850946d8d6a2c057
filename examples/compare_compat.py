"""Show what `compat` changes: both cut-outs on a bright colour, and how far apart they are.

python examples/compare_compat.py [PICTURE] [FOLDER]
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import maskwright as mw

picture = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "cat.jpg"
folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("out")
folder.mkdir(parents=True, exist_ok=True)

cutouts = {
    "default": mw.cutout(picture),
    "compat": mw.cutout(picture, options=mw.CutoutOptions(compat=True)),
}
for name, cutout in cutouts.items():
    pasted = Image.new("RGBA", cutout.to_pil().size, (255, 230, 60, 255))
    pasted.alpha_composite(cutout.to_pil().convert("RGBA"))
    pasted.save(folder / f"{picture.stem}-{name}.png")

difference = np.abs(cutouts["default"].alpha - cutouts["compat"].alpha)
print(f"alpha differs by {difference.mean():.3f} on average and by {difference.max():.3f} at most")
