"""How segments are redrawn: the one definition of its options, named as the node's inputs where it has one."""

from __future__ import annotations

from dataclasses import dataclass

from ..options import check_options, describe_options, option

__all__ = ["DetailOptions"]


@describe_options
@dataclass(frozen=True)
class DetailOptions:
    """How segments are redrawn. Lengths are pixels.

    Raises:
        OptionError: A value outside its range.
    """

    guide_size: float = option(
        512, "The shorter side is enlarged to this length.", group="size", unit="pixels", low=1, high=16384
    )
    guide_size_for: str = option(
        "bbox",
        "Whose shorter side: the subject's box or the whole crop.",
        group="size",
        choices=("bbox", "crop_region"),
    )
    max_size: float = option(
        768, "The longer side of what is redrawn is at most this.", group="size", unit="pixels", low=8, high=16384
    )
    allow_downscale: bool = option(
        True, "Shrink a crop that is larger than max_size; without it, it is redrawn at its own size.", group="size"
    )
    seed: int = option(0, "Where the noise starts from.", group="sampling", low=0, high=2**64 - 1)
    seed_per_seg: bool = option(
        False,
        "Give each segment a seed of its own, seed plus its index; without it all have the same.",
        group="sampling",
    )
    steps: int = option(20, "Steps that are really taken.", group="sampling", unit="steps", low=1, high=10000)
    cfg: float = option(8.0, "How strongly the prompt guides; 1: not at all.", group="sampling", low=0, high=100)
    sampler_name: str = option("euler", "How the steps are taken.", group="sampling", unit="NAME")
    scheduler: str = option("simple", "How the noise levels are spaced.", group="sampling", unit="NAME")
    denoise: float = option(
        0.5, "How much is redrawn: 1 everything, near 0 hardly anything.", group="sampling", low=0.0001, high=1
    )
    refiner_ratio: float = option(
        0.2, "The share of the steps that a refiner takes, where there is one.", group="sampling", low=0, high=1
    )
    noise_mask_feather: int = option(
        20,
        "Soften the mask this far. Above 0 its soft edge also says from which step on a pixel is redrawn "
        "(differential diffusion).",
        group="mask",
        unit="pixels",
        low=0,
        high=100,
    )
    context_length: int | None = option(
        None,
        "Frames that the model sees at a time; longer films go through it in overlapping windows. None: all at once.",
        group="frames",
        unit="frames",
        low=1,
    )
    context_overlap: int = option(4, "Frames that neighbouring windows share.", group="frames", unit="frames", low=0)
    context_schedule: str = option(
        "static", "How windows are laid.", group="frames", choices=("static", "batched", "looped", "uniform")
    )
    context_weights: str = option(
        "pyramid", "How windows are averaged where they overlap.", group="frames", choices=("pyramid", "flat")
    )
    chunk: int = option(
        8, "Frames that are encoded or decoded at a time; more need more memory.", group="frames", unit="frames", low=1
    )
    source: str = option(
        "frames",
        "What is redrawn: the frames, or the pictures that the segments already carry.",
        group="frames",
        choices=("frames", "segs"),
    )
    storage: str = option(
        "float32",
        "How redrawn pictures are kept; uint8 needs a quarter of the memory.",
        group="frames",
        choices=("float32", "float16", "uint8"),
    )
    compat: bool = option(False, "Give the original node's results, with its errors.", group="model")

    def __post_init__(self) -> None:
        check_options(self)
