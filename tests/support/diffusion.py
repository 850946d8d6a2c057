"""Tiny random networks of Diffusers: the layout of Stable Diffusion 1.5 at a few thousand parameters."""

from __future__ import annotations

import json

import torch
from diffusers import AutoencoderKL, ControlNetModel, MotionAdapter, UNet2DConditionModel, UNetMotionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from maskwright.detail.diffusers import Pipe, Prompts

WIDTH = 8  # of the prompts
_BLOCKS = {"block_out_channels": (8, 8), "norm_num_groups": 4, "layers_per_block": 1}


def tiny_unet(seed=0, **changes):
    torch.manual_seed(seed)
    config = {
        **_BLOCKS,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": WIDTH,
        "attention_head_dim": 2,
        **changes,
    }
    return UNet2DConditionModel(**config).eval().requires_grad_(False)


def tiny_xl_unet(seed=0, *, numbers=6, pooled=4):
    """SDXL's: told the prompt in one row and `numbers` about the picture's size."""
    return tiny_unet(
        seed,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=8 * numbers + pooled,
        use_linear_projection=True,
    )


def tiny_adapter(seed=1, **changes):
    """Motion modules whose last layers are not 0, as they are when freshly made: frames really see each other."""
    torch.manual_seed(seed)
    config = {
        "block_out_channels": (8, 8),
        "motion_layers_per_block": 1,
        "motion_num_attention_heads": 2,
        "motion_norm_num_groups": 4,
        "motion_max_seq_length": 8,
        **changes,
    }
    adapter = MotionAdapter(**config)
    return _unzeroed(adapter)


def tiny_motion_unet(seed=0, **changes):
    return UNetMotionModel.from_unet2d(tiny_unet(seed), tiny_adapter(**changes)).eval().requires_grad_(False)


def tiny_vae(seed=2):
    torch.manual_seed(seed)
    vae = AutoencoderKL(
        block_out_channels=(4, 4, 4, 4),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=2,
    )
    return vae.eval().requires_grad_(False)


def tiny_controlnet(seed=3):
    """A ControlNet that says something: freshly made ones give 0."""
    torch.manual_seed(seed)
    net = ControlNetModel(
        **_BLOCKS,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=2,
        conditioning_embedding_out_channels=(4, 4, 4, 4),
    )
    return _unzeroed(net)


def _unzeroed(module):
    for parameter in module.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    return module.eval().requires_grad_(False)


def tiny_prompts(seed=4, *, length=5, pooled=0):
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(shape, generator=generator)

    rows = (random(1, pooled), random(1, pooled)) if pooled else (None, None)
    return Prompts(random(1, length, WIDTH), random(1, length, WIDTH), *rows)


def tiny_pipe(unet=None, prompts=None, **changes):
    return Pipe(unet or tiny_unet(), tiny_vae(), prompts or tiny_prompts(), **changes)


def write_tokenizer(folder):
    """CLIP's tokenizer for small letters, without merges."""
    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return folder, len(words)


def tiny_clip(vocabulary, *, width=WIDTH, seed=6, projection=None, eos=None):
    """CLIP's text encoder; with `projection` the one that also gives a row so wide."""
    config = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": max(1, width // 64),
        "max_position_embeddings": 77,
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1 if eos is None else eos,
        "hidden_act": "quick_gelu" if projection is None else "gelu",
    }
    torch.manual_seed(seed)
    if projection is None:
        return CLIPTextModel(CLIPTextConfig(**config)).eval().requires_grad_(False)
    config = CLIPTextConfig(**config, projection_dim=projection)
    return CLIPTextModelWithProjection(config).eval().requires_grad_(False)


def write_model(folder, unet, vae, clip, clip_2=None, *, scheduler=None):
    """A folder as Diffusers writes it."""
    parts = {"unet": unet, "vae": vae, "text_encoder": clip, "text_encoder_2": clip_2}
    for name, part in parts.items():
        if part is not None:
            part.save_pretrained(folder / name)
    write_tokenizer(folder / "tokenizer")
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler or {}))
    return folder
