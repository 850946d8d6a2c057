"""Write a checkpoint and a ControlNet of random weights, as small as ComfyUI takes for Stable Diffusion 1.5.

    PYTHON scripts/make_tiny_checkpoint.py COMFYUI MODELS [--no-clip] [--motion]

COMFYUI is a checkout, PYTHON the interpreter that has what it needs, MODELS a folder laid out like ComfyUI's `models`.
What such a network draws means nothing; it shows that everything around it works. The shapes come from ComfyUI's own
classes, built without memory; the UNet has one level and one transformer, the VAE is a TAESD.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from pathlib import Path
from typing import Any

# The names that the example workflows ask for: those of files that people have.
CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"
CONTROLNET = "control_v11f1e_sd15_tile_fp16.safetensors"
MOTION = "motion_random.safetensors"  # a UNet and a motion module
_UNET = {
    "image_size": 32,
    "in_channels": 4,
    "model_channels": 320,
    "num_res_blocks": [1],
    "channel_mult": (1,),
    "transformer_depth": [1],
    "transformer_depth_middle": -2,
    "num_heads": 8,
    "use_spatial_transformer": True,
    "context_dim": 768,
    "legacy": False,
}


def _shapes(module: Any, prefix: str) -> dict[str, Any]:
    return {prefix + key: value.shape for key, value in module.state_dict().items()}


def _weights(key: str, shape: Any) -> Any:
    """Random values that keep the variance, the same for a key every time."""
    import torch

    if len(shape) < 2:
        scale = key.endswith(("weight", "vae_scale"))
        return torch.full(shape, float(scale), dtype=torch.float16)
    generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))
    spread = shape[1:].numel() ** -0.5
    if "embedding" in key:
        spread = 0.02
    return (torch.randn(shape, generator=generator) * spread).half()


def _networks(clip: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keys and shapes of the checkpoint and of the ControlNet."""
    import comfy.cldm.cldm
    import comfy.ops
    import comfy.sd1_clip
    import comfy.taesd.taesd
    import torch
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    with torch.device("meta"):
        operations = comfy.ops.disable_weight_init
        unet = UNetModel(**_UNET, out_channels=4, transformer_depth_output=[0, 0], device="meta", operations=operations)
        control = comfy.cldm.cldm.ControlNet(**_UNET, hint_channels=3, device="meta")
        shapes = _shapes(unet, "model.diffusion_model.")
        shapes |= _shapes(comfy.taesd.taesd.TAESD(), "first_stage_model.")
        if clip:
            text = comfy.sd1_clip.SDClipModel(device="meta", dtype=torch.float16)
            shapes |= _shapes(text.transformer, "cond_stage_model.transformer.")
    return shapes, _shapes(control, "control_model.")


def make(models: Path, *, clip: bool = True) -> None:
    """Write both files.

    Args:
        models: Where; `checkpoints` and `controlnet` are made in it.
        clip: Whether the checkpoint has a text encoder, which is most of its size.
    """
    import torch
    from safetensors.torch import save_file

    files = (Path("checkpoints", CHECKPOINT), Path("controlnet", CONTROLNET))
    for file, shapes in zip(files, _networks(clip), strict=True):
        weights = {key: _weights(key, shape) for key, shape in shapes.items()}
        for key in [key for key in weights if key.startswith("cond_stage_model.")]:
            if weights[key].ndim == 2:
                weights[key] = weights[key].to(torch.float8_e4m3fn)  # half of the file
        path = models / file
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(weights, path)
        print(f"{path}: {path.stat().st_size / 1e6:.0f} MB")


def make_motion(models: Path) -> None:
    """Write a UNet that AnimateDiff-Evolved can move, and a motion module of version 1 for its way down.

    Motion modules have the widths of the whole Stable Diffusion 1.5, so the UNet has them too: 1.4 GB together.

    Args:
        models: Where; `diffusion_models` and `animatediff_models` are made in it.
    """
    import comfy.ops
    import torch
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
    from safetensors.torch import save_file

    levels = {"channel_mult": (1, 2, 4, 4), "num_res_blocks": [2] * 4, "transformer_depth_middle": -1}
    depths = {"transformer_depth": [1] + [0] * 7, "transformer_depth_output": [0] * 12}
    operations = comfy.ops.disable_weight_init
    with torch.device("meta"):
        unet = UNetModel(**{**_UNET, **levels, **depths}, out_channels=4, device="meta", operations=operations)
        shapes = _shapes(unet, "model.diffusion_model.")
    for folder, wanted in (("diffusion_models", shapes), ("animatediff_models", _motion_shapes())):
        (models / folder).mkdir(parents=True, exist_ok=True)
        save_file({key: _weights(key, shape) for key, shape in wanted.items()}, models / folder / MOTION)


def _motion_shapes() -> dict[str, Any]:
    """Keys and shapes of AnimateDiff's motion modules: two in each level, here with one attention each, 24 frames."""
    import torch

    shapes = {}
    for level, width in enumerate((320, 640, 1280, 1280)):
        for module in range(2):
            whole = f"down_blocks.{level}.motion_modules.{module}.temporal_transformer"
            block = f"{whole}.transformer_blocks.0"
            attention = f"{block}.attention_blocks.0"
            square = [f"{whole}.proj_in", f"{whole}.proj_out", f"{attention}.to_out.0"]
            inner = {f"{block}.ff.net.0.proj": (8 * width, width), f"{block}.ff.net.2": (width, 4 * width)}
            inner |= dict.fromkeys(square, (width, width))
            inner |= dict.fromkeys([f"{whole}.norm", f"{block}.norms.0", f"{block}.ff_norm"], (width,))
            for name, shape in inner.items():
                shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
            shapes |= {f"{attention}.to_{one}.weight": (width, width) for one in "qkv"}
            shapes[f"{attention}.pos_encoder.pe"] = (1, 24, width)
    return {key: torch.Size(shape) for key, shape in shapes.items()}


def start(checkout: Path) -> None:
    """Make ComfyUI's modules of a checkout importable, on the CPU."""
    sys.path.insert(0, str(checkout))
    sys.argv[1:] = ["--cpu"]
    import comfy.options

    comfy.options.enable_args_parsing()


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, metavar="COMFYUI")
    parser.add_argument("models", type=Path, metavar="MODELS")
    parser.add_argument("--no-clip", action="store_true", help="leave out the text encoder")
    parser.add_argument("--motion", action="store_true", help="write a UNet and a motion module too, 1.4 GB")
    arguments = parser.parse_args()
    start(arguments.checkout)
    make(arguments.models.resolve(), clip=not arguments.no_clip)
    if arguments.motion:
        make_motion(arguments.models.resolve())


if __name__ == "__main__":
    main()
