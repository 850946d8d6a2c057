"""Single files of Stable Diffusion: what is in them is read off the shapes of their tensors, and built in code.

The layouts are those of CompVis' and Stability's checkpoints, of ControlNet's and of AnimateDiff's. What shapes do not
tell is fixed by the family: the number of heads, the groups of norms, the kind of activation.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import ModelError
from .diffusers_prompts import TextEncoder, load_tokenizer

__all__ = ["SingleFile", "is_single_file", "make_controlnet", "make_motion_adapter"]

_UNET = "model.diffusion_model."
_VAE = "first_stage_model."
_CLIP = ("cond_stage_model.transformer.", "conditioner.embedders.0.transformer.")
_OPEN_CLIP = ("conditioner.embedders.1.model.", "conditioner.embedders.0.model.")
_CONTROL = "control_model."
_TIME_ROWS = 256  # how wide SDXL writes each number of a picture's size
_FETCH = "fetch it again, or name a folder of Diffusers"

Tensors = dict[str, Any]


def is_single_file(path: Path) -> bool:
    """Whether this is one file, by its ending or because it is there as one."""
    return path.is_file() or path.suffix.lower() in (".safetensors", ".ckpt", ".pt", ".pth", ".bin")


class SingleFile:
    """A checkpoint of Stable Diffusion 1.5 or SDXL with all its networks.

    Raises:
        ModelError: It is another file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._names = _names(path)
        if f"{_UNET}input_blocks.0.0.weight" not in self._names:
            hint = "a file that holds the UNet alone, a LoRA or a VAE is none" if self._names else _FETCH
            raise ModelError(str(path), expected="a checkpoint of Stable Diffusion 1.5 or SDXL", hint=hint)
        self._is_sdxl = f"{_UNET}label_emb.0.0.weight" in self._names

    def unet(self) -> Any:
        """The UNet."""
        from diffusers import UNet2DConditionModel
        from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

        tensors = _read(self._path, _UNET)
        config = _unet_config(tensors, self._path)
        renamed = {f"{_UNET}{name}": value for name, value in tensors.items()}
        return _build(UNet2DConditionModel, config, lambda: convert_ldm_unet_checkpoint(renamed, config), self._path)

    def vae(self) -> Any:
        """The VAE."""
        from diffusers import AutoencoderKL
        from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

        tensors = _read(self._path, _VAE)
        if "encoder.conv_in.weight" not in tensors:
            raise ModelError(f"{self._path} has no VAE", hint=_FETCH)
        config = _vae_config(tensors, 0.13025 if self._is_sdxl else 0.18215)
        renamed = {f"{_VAE}{name}": value for name, value in tensors.items()}
        return _build(AutoencoderKL, config, lambda: convert_ldm_vae_checkpoint(renamed, config), self._path)

    def scheduler(self) -> dict[str, Any]:
        """Diffusers' words for how it was trained; SDXL's models with velocity say so by an empty tensor."""
        facts: dict[str, Any] = {"prediction_type": "v_prediction"} if "v_pred" in self._names else {}
        return {**facts, "rescale_betas_zero_snr": True} if "ztsnr" in self._names else facts

    def text_encoders(self, tokenizer: Path | None) -> list[TextEncoder]:
        """CLIP's, and for SDXL OpenCLIP's besides; both read with one tokenizer, but pad otherwise."""
        if tokenizer is None:
            raise ModelError(
                f"{self._path} has no tokenizer", hint="name the folder of CLIP's tokenizer, or give embeddings"
            )
        reader = load_tokenizer(tokenizer)
        clips = [tensors for prefix in _CLIP if (tensors := _read(self._path, prefix))]
        open_clips = [prefix for prefix in _OPEN_CLIP if f"{prefix}text_projection" in self._names]
        return [
            *(TextEncoder(_clip(tensors, self._path), reader, reader.eos_token_id) for tensors in clips),
            *(TextEncoder(_open_clip(_read(self._path, prefix), self._path), reader, 0) for prefix in open_clips),
        ]


def _names(path: Path) -> frozenset[str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return frozenset(list(file.keys()))
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} is no safetensors file ({error})", hint="fetch it again") from error


def _read(path: Path, prefix: str) -> Tensors:
    """The tensors whose names begin so, without that."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        names = [name for name in list(file.keys()) if name.startswith(prefix)]
        return {name[len(prefix) :]: file.get_tensor(name) for name in names}


def _build(kind: Any, config: dict[str, Any], convert: Callable[[], Tensors], path: Path) -> Any:
    """A network of this configuration with the file's weights in it, all of them."""
    from diffusers.models.modeling_utils import no_init_weights

    with no_init_weights():
        module = kind.from_config(config)
    return _filled(module, convert, path)


def _filled(module: Any, convert: Callable[[], Tensors], path: Path) -> Any:
    """The module with weights in it; those that can be computed need not be there."""
    name = type(module).__name__
    try:
        missing, _ = module.load_state_dict(convert(), strict=False)
    except (RuntimeError, KeyError, IndexError) as error:
        text = " ".join(str(error).split())[:200]
        raise ModelError(f"{path} cannot be read as {name} ({text})", hint=_FETCH) from error
    missing = [key for key in missing if not key.endswith(("position_ids", "pos_embed.pe"))]
    if missing:
        raise ModelError(f"{path} is not complete: {len(missing)} weights of {name} are missing, such as {missing[0]}")
    return module.eval().requires_grad_(False)


def _unet_config(tensors: Tensors, path: Path) -> dict[str, Any]:
    """The configuration of a UNet, or of a ControlNet's copy of it, in Diffusers' words."""
    widths, depths, layers = _levels(tensors)
    cross = next(value for name, value in tensors.items() if name.endswith("attn2.to_k.weight"))
    linear = next(value for name, value in tensors.items() if name.endswith("proj_in.weight")).ndim == 2
    middle = len(_numbered(tensors, "middle_block.1.transformer_blocks."))
    config: dict[str, Any] = {
        "in_channels": tensors["input_blocks.0.0.weight"].shape[1],
        "block_out_channels": widths,
        "layers_per_block": layers,
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "cross_attention_dim": cross.shape[1],
        "transformer_layers_per_block": [depth or middle for depth in depths],
        "use_linear_projection": linear,
        "attention_head_dim": [max(1, width // 64) for width in widths] if linear else 8,
    }
    if "out.2.weight" in tensors:  # a ControlNet has no way up
        config["up_block_types"] = ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)]
        config["out_channels"] = tensors["out.2.weight"].shape[0]
    if "label_emb.0.0.weight" in tensors:
        config["addition_embed_type"] = "text_time"
        config["addition_time_embed_dim"] = _TIME_ROWS
        config["projection_class_embeddings_input_dim"] = tensors["label_emb.0.0.weight"].shape[1]
    elif linear:
        raise ModelError(str(path), expected="of Stable Diffusion 1.5 or SDXL", got="one of Stable Diffusion 2")
    return config


def _levels(tensors: Tensors) -> tuple[list[int], list[int], int]:
    """Width, number of transformers and of residual layers of each resolution, on the way down."""
    widths, depths, layers = [0], [0], [0]
    blocks = _numbered(tensors, "input_blocks.")
    for block in range(1, len(blocks)):
        if f"input_blocks.{block}.0.op.weight" in tensors:
            widths, depths, layers = [*widths, 0], [*depths, 0], [*layers, 0]
        else:
            widths[-1] = tensors[f"input_blocks.{block}.0.out_layers.3.weight"].shape[0]
            depths[-1] = len(_numbered(tensors, f"input_blocks.{block}.1.transformer_blocks."))
            layers[-1] += 1
    return widths, depths, layers[0]


def _numbered(tensors: Tensors, prefix: str) -> set[str]:
    """The numbers that stand behind the prefix."""
    return {name[len(prefix) :].partition(".")[0] for name in tensors if name.startswith(prefix)}


def _vae_config(tensors: Tensors, scale: float) -> dict[str, Any]:
    levels = range(len(_numbered(tensors, "encoder.down.")))
    widths = [tensors[f"encoder.down.{level}.block.0.conv1.weight"].shape[0] for level in levels]
    return {
        "block_out_channels": widths,
        "layers_per_block": len(_numbered(tensors, "encoder.down.0.block.")),
        "latent_channels": tensors["quant_conv.weight"].shape[0] // 2,
        "down_block_types": ["DownEncoderBlock2D"] * len(widths),
        "up_block_types": ["UpDecoderBlock2D"] * len(widths),
        "scaling_factor": scale,
    }


def _text_config(embedding: Any, positions: Any, inner: Any, layers: int, **more: Any) -> Any:
    from transformers import CLIPTextConfig

    vocabulary, width = embedding.shape
    return CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=inner.shape[0],
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // 64),
        max_position_embeddings=positions.shape[0],
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        **more,
    )


def _clip(tensors: Tensors, path: Path) -> Any:
    """CLIP ViT-L's text encoder."""
    from transformers import CLIPTextModel

    plain = {name.removeprefix("text_model."): value for name, value in tensors.items()}
    try:
        config = _text_config(
            plain["embeddings.token_embedding.weight"],
            plain["embeddings.position_embedding.weight"],
            plain["encoder.layers.0.mlp.fc1.weight"],
            len(_numbered(plain, "encoder.layers.")),
            hidden_act="quick_gelu",
        )
    except KeyError as error:
        raise ModelError(f"{path} has no text encoder that is known here ({error})", hint="give embeddings") from error
    model = CLIPTextModel(config)
    prefix = "text_model." if any(name.startswith("text_model.") for name in model.state_dict()) else ""
    return _filled(model, lambda: {f"{prefix}{name}": value for name, value in plain.items()}, path)


def _open_clip(tensors: Tensors, path: Path) -> Any:
    """OpenCLIP ViT-bigG's text encoder."""
    from diffusers.loaders.single_file_utils import convert_open_clip_checkpoint
    from transformers import CLIPTextModelWithProjection

    config = _text_config(
        tensors["token_embedding.weight"],
        tensors["positional_embedding"],
        tensors["transformer.resblocks.0.mlp.c_fc.weight"],
        len(_numbered(tensors, "transformer.resblocks.")),
        hidden_act="gelu",
        projection_dim=tensors["text_projection"].shape[1],
    )
    model = CLIPTextModelWithProjection(config)
    return _filled(model, lambda: convert_open_clip_checkpoint(model, tensors, prefix=""), path)


def make_controlnet(path: Path) -> Any:
    """Diffusers' `ControlNetModel` from a single file.

    Raises:
        ModelError: It is another file.
    """
    from diffusers import ControlNetModel
    from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint

    prefix = _CONTROL if f"{_CONTROL}input_blocks.0.0.weight" in _names(path) else ""
    tensors = _read(path, prefix)
    if "input_hint_block.14.weight" not in tensors:
        hint = "of one that Diffusers wrote, name the folder, which has config.json in it"
        raise ModelError(str(path), expected="a ControlNet's checkpoint", hint=hint)
    config = _unet_config(tensors, path)
    hint_widths = [tensors[f"input_hint_block.{place}.weight"].shape[0] for place in (0, 4, 8, 12)]
    config["conditioning_embedding_out_channels"] = hint_widths
    return _build(ControlNetModel, config, lambda: convert_controlnet_checkpoint(tensors, config), path)


def make_motion_adapter(path: Path) -> Any:
    """Diffusers' `MotionAdapter` from a single file of AnimateDiff.

    Raises:
        ModelError: It is another file.
    """
    from diffusers import MotionAdapter
    from diffusers.loaders.single_file_utils import convert_animatediff_checkpoint_to_diffusers

    names = _names(path)
    prefix = "module." if any(name.startswith("module.") for name in names) else ""
    tensors = _read(path, prefix)
    levels = range(len(_numbered(tensors, "down_blocks.")))
    first = "motion_modules.0.temporal_transformer.norm.weight"
    if not levels or f"down_blocks.0.{first}" not in tensors:
        raise ModelError(str(path), expected="AnimateDiff's motion modules", hint="such as v3_sd15_mm.safetensors")
    places = [value.shape[1] for name, value in tensors.items() if name.endswith("pos_encoder.pe")]
    config = {
        "block_out_channels": [tensors[f"down_blocks.{level}.{first}"].shape[0] for level in levels],
        "motion_layers_per_block": len(_numbered(tensors, "down_blocks.0.motion_modules.")),
        "motion_max_seq_length": max(places, default=64),
        "use_motion_mid_block": any(name.startswith("mid_block.") for name in tensors),
    }
    if "conv_in.weight" in tensors:
        config["conv_in_channels"] = tensors["conv_in.weight"].shape[1]
    return _build(MotionAdapter, config, lambda: convert_animatediff_checkpoint_to_diffusers(tensors), path)
