"""Single-file checkpoints under their published names, made from networks of Diffusers and transformers.

The names are those of CompVis' Stable Diffusion 1.5, of Stability's SDXL, of ControlNet and of AnimateDiff; this is the
way back of what the package reads, written from the layouts and not from a converter.
"""

from __future__ import annotations

import re

import torch

_LAYERS = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def ldm_unet(unet):
    """Names and tensors of a UNet, or of a ControlNet, as a checkpoint has them behind its prefix."""
    layers = unet.config.layers_per_block
    return {_unet_name(name, layers, unet.config): value for name, value in unet.state_dict().items()}


def _unet_name(name, layers, config):
    for ours, theirs in _ENDS.items():
        if name.startswith(f"{ours}."):
            return theirs + name[len(ours) :]
    if name.startswith("controlnet_"):
        return _control_name(name)
    side, level, kind, index, rest = _parts(name)
    if side == "mid":
        block = f"middle_block.{1 if kind == 'attentions' else 2 * index}"
    elif kind == "downsamplers":
        return f"input_blocks.{(layers + 1) * (level + 1)}.0.op.{rest.removeprefix('conv.')}"
    elif kind == "upsamplers":
        attends = config.up_block_types[level].startswith("CrossAttn")
        return f"output_blocks.{(layers + 1) * level + layers}.{1 + attends}.{rest}"
    else:
        number = (layers + 1) * level + index + (side == "down")
        block = f"{'input' if side == 'down' else 'output'}_blocks.{number}.{int(kind == 'attentions')}"
    if kind == "resnets":
        layer, _, end = rest.partition(".")
        rest = f"{_LAYERS[layer]}.{end}"
    return f"{block}.{rest}"


def _parts(name):
    """Side, level, kind, index and rest of a name such as `down_blocks.0.resnets.1.conv1.weight`."""
    match = re.fullmatch(r"(?:(down|up)_blocks\.(\d+)|(mid)_block)\.(\w+)\.(\d+)\.(.+)", name)
    return match[1] or match[3], int(match[2] or 0), match[4], int(match[5]), match[6]


def _control_name(name):
    if name.startswith("controlnet_cond_embedding."):
        layer, _, end = name.removeprefix("controlnet_cond_embedding.").rpartition(".")
        place = {"conv_in": 0, "conv_out": 14}.get(layer)
        place = 2 + 2 * int(layer.removeprefix("blocks.")) if place is None else place
        return f"input_hint_block.{place}.{end}"
    if name.startswith("controlnet_mid_block."):
        return name.replace("controlnet_mid_block", "middle_block_out.0")
    number, _, end = name.removeprefix("controlnet_down_blocks.").partition(".")
    return f"zero_convs.{number}.0.{end}"


def ldm_vae(vae):
    levels = len(vae.config.block_out_channels)
    return dict(_vae_item(name, value, levels) for name, value in vae.state_dict().items())


def _vae_item(name, value, levels):
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"down_blocks\.(\d+)\.resnets\.(\d+)", r"down.\1.block.\2", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d+)\.resnets\.(\d+)", lambda m: f"up.{levels - 1 - int(m[1])}.block.{m[2]}", name)
    name = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up.{levels - 1 - int(m[1])}.upsample", name)
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    if "mid_block.attentions.0" in name:
        name = name.replace("mid_block.attentions.0", "mid.attn_1").replace("group_norm", "norm")
        for ours, theirs in (("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out")):
            name = name.replace(ours, theirs)
        if value.ndim == 2:
            value = value[:, :, None, None]  # their attention is made of convolutions
    return name, value


def ldm_clip(model):
    return {f"text_model.{name.removeprefix('text_model.')}": value for name, value in model.state_dict().items()}


def open_clip(model):
    """OpenCLIP's names: queries, keys and values in one tensor, the projection the other way round."""
    tensors = {name.removeprefix("text_model."): value for name, value in model.state_dict().items()}
    found = {
        "token_embedding.weight": tensors["embeddings.token_embedding.weight"],
        "positional_embedding": tensors["embeddings.position_embedding.weight"],
        "ln_final.weight": tensors["final_layer_norm.weight"],
        "ln_final.bias": tensors["final_layer_norm.bias"],
        "text_projection": tensors["text_projection.weight"].T.contiguous(),
    }
    names = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
    for layer in range(model.config.num_hidden_layers):
        ours, theirs = f"encoder.layers.{layer}.", f"transformer.resblocks.{layer}."
        for end in ("weight", "bias"):
            for name, other in {**names, "self_attn.out_proj": "attn.out_proj"}.items():
                found[f"{theirs}{other}.{end}"] = tensors[f"{ours}{name}.{end}"]
            rows = [tensors[f"{ours}self_attn.{part}_proj.{end}"] for part in "qkv"]
            found[f"{theirs}attn.in_proj_{end}"] = torch.cat(rows)
    return found


def animatediff(adapter, length):
    """AnimateDiff's motion modules, with their table of places."""
    found = {}
    for name, value in adapter.state_dict().items():
        name = re.sub(r"(motion_modules\.\d+)", r"\1.temporal_transformer", name)
        for ours, theirs in (
            ("norm1", "norms.0"),
            ("norm2", "norms.1"),
            ("norm3", "ff_norm"),
            ("attn1", "attention_blocks.0"),
            ("attn2", "attention_blocks.1"),
        ):
            name = name.replace(f".{ours}.", f".{theirs}.")
        if name.endswith("pos_embed.pe"):
            name, value = name.replace("pos_embed.pe", "attention_blocks.0.pos_encoder.pe"), value[:, :length]
        found[name] = value
    return found


def checkpoint(unet, vae, clip, clip_2=None):
    """All of a model as one file has it."""
    sdxl = clip_2 is not None
    first = "conditioner.embedders.0.transformer." if sdxl else "cond_stage_model.transformer."
    parts = {"model.diffusion_model.": ldm_unet(unet), "first_stage_model.": ldm_vae(vae), first: ldm_clip(clip)}
    if sdxl:
        parts["conditioner.embedders.1.model."] = open_clip(clip_2)
    return {
        f"{prefix}{name}": value.contiguous() for prefix, tensors in parts.items() for name, value in tensors.items()
    }
