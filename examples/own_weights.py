"""Use a weights file of your own instead of the published one.

    python examples/own_weights.py WEIGHTS.onnx [PICTURE] [FOLDER]

The file is treated by the recipe of the model it is given with: `u2net_custom`, `dis_custom` or `ben_custom`.
"""

import sys
from pathlib import Path

import maskwright as mw

if len(sys.argv) < 2:
    sys.exit(__doc__)
weights = Path(sys.argv[1])
picture = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent / "cat.jpg"
folder = Path(sys.argv[3]) if len(sys.argv) > 3 else Path("out")
folder.mkdir(parents=True, exist_ok=True)

with mw.open_segmenter("u2net_custom", weights=weights) as segmenter:
    cutout = mw.cutout(picture, model=segmenter)
    cutout.save(folder / f"{picture.stem}-own.png")
    provenance = segmenter.provenance
print(f"{provenance.weights} (sha256 {provenance.sha256[:16]}…) on {provenance.engine}, {provenance.device}")
