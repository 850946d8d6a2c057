"""What the networks want to see and what their numbers mean: the recipes that rows of the catalog name.

The correct ones are those of the training repositories; a name with COMPAT, or of a program, is that program's way.
"""

from __future__ import annotations

from .card import Postprocess, Preprocess, Recipe

__all__ = [
    "ANIME",
    "ANIME_COMPAT",
    "ANIME_FACE",
    "ART_VENTURE",
    "BIREFNET",
    "BIREFNET_COMPAT",
    "BRIA",
    "BRIA_COMPAT",
    "CLOTH",
    "CLOTH_COMPAT",
    "CONTROLNET_AUX",
    "ISNET",
    "ISNET_COMPAT",
    "MEDIAPIPE",
    "MODNET",
    "MODNET_COMPAT",
    "PARTS",
    "U2NET",
    "U2NET_COMPAT",
]

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_HALF = (0.5, 0.5, 0.5)
_ONE = (1.0, 1.0, 1.0)
_ZERO = (0.0, 0.0, 0.0)


def _rembg_recipe(
    side: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    *,
    sigmoid: bool = False,
) -> Recipe:
    """What rembg does for every one-map model: squash, divide by the maximum, stretch, 8 bits, Lanczos."""
    return Recipe(
        Preprocess((side, side), mean, std, scale="max", kernel="lanczos"),
        Postprocess(activation="sigmoid" if sigmoid else "none", min_max=True, quantized=True, kernel="lanczos"),
    )


# U-2-Net: the repository's loader divides by the picture's maximum, resizes with anti-aliasing and brings the
# prediction back bilinearly. The sigmoid is used as it is: stretching it would find a subject in an empty scene.
U2NET = Recipe(Preprocess((320, 320), _IMAGENET_MEAN, _IMAGENET_STD, scale="max", kernel="bilinear-antialias"))
U2NET_COMPAT = _rembg_recipe(320, _IMAGENET_MEAN, _IMAGENET_STD)

# IS-Net (DIS): bilinear without anti-aliasing both ways, x / 255 - 0.5.
ISNET = Recipe(Preprocess((1024, 1024), _HALF, _ONE))
ISNET_COMPAT = _rembg_recipe(1024, _HALF, _ONE)

# IS-Net trained on anime: plain x / 255 on a black square that keeps the aspect.
ANIME = Recipe(Preprocess((1024, 1024), _ZERO, _ONE, fit="letterbox"))
ANIME_COMPAT = _rembg_recipe(1024, _IMAGENET_MEAN, _ONE)

# Two node packs run IS-Net in ways of their own. The ISNetSegment node treats every checkpoint alike, also those
# trained on plain x / 255; the anime face node shows it the picture in the size the face network gets.
ART_VENTURE = Recipe(
    Preprocess((1024, 1024), _HALF, _ONE), Postprocess(min_max=True, quantized=True, resized_first=True)
)
CONTROLNET_AUX = Recipe(Preprocess((1024, 1024), _ZERO, _ONE, fit="as-is"))

# Anime face U-Net: plain x / 255, the shorter side at 512.
ANIME_FACE = Recipe(Preprocess((512, 512), _ZERO, _ONE, kernel="area-cubic", fit="shorter-side-pad"))

# MediaPipe's segmenters: corner to corner without low-pass, back from half-pixel centres. The file says the rest.
MEDIAPIPE = Recipe(Preprocess((256, 256), _ZERO, _ONE, kernel="bilinear-corners"), from_file=True)

# MODNet: [-1, 1], the shorter side at 512, area resampling, the matte as it is. compat is the Allor pack's rule.
MODNET = Recipe(Preprocess((512, 512), _HALF, _HALF, kernel="area", fit="shorter-side"), Postprocess(kernel="area"))
MODNET_COMPAT = _rembg_recipe(512, _HALF, _ONE)

# BiRefNet and RMBG 2.0: Pillow's bilinear with anti-aliasing, ImageNet statistics.
BIREFNET = Recipe(
    Preprocess((1024, 1024), _IMAGENET_MEAN, _IMAGENET_STD, kernel="bilinear-antialias"),
    Postprocess(activation="sigmoid"),
)
BIREFNET_COMPAT = _rembg_recipe(1024, _IMAGENET_MEAN, _IMAGENET_STD, sigmoid=True)
BRIA = Recipe(Preprocess((1024, 1024), _IMAGENET_MEAN, _IMAGENET_STD, kernel="bilinear-antialias"))
BRIA_COMPAT = _rembg_recipe(1024, _IMAGENET_MEAN, _IMAGENET_STD)

# Cloth U-2-Net: trained on [-1, 1]; the class maps are resized as probabilities before the winner is taken.
CLOTH = Recipe(Preprocess((768, 768), _HALF, _HALF, kernel="bilinear-antialias"), Postprocess(activation="softmax"))
CLOTH_COMPAT = Recipe(
    Preprocess((768, 768), _IMAGENET_MEAN, _IMAGENET_STD, scale="max", kernel="lanczos"),
    Postprocess(kernel="lanczos", labels_resized=True),
)

# The network of this project: trained on [-1, 1]; any size whose sides are multiples of 32.
PARTS = Recipe(
    Preprocess((320, 320), _HALF, _HALF, kernel="bilinear-antialias", fit="shorter-side"),
    Postprocess(activation="softmax"),
)
