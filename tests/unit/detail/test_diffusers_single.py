"""Single files under the published names, against the folder they were made from."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from diffusers import AutoencoderKL, ControlNetModel, MotionAdapter, UNet2DConditionModel  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from maskwright.detail.diffusers import load_controlnet, load_pipe  # noqa: E402
from maskwright.detail.diffusers_single import _unet_config, _vae_config  # noqa: E402
from maskwright.errors import ModelError  # noqa: E402
from tests.support.checkpoints import animatediff, checkpoint, ldm_unet, ldm_vae  # noqa: E402
from tests.support.diffusion import tiny_clip, tiny_prompts, write_model, write_tokenizer  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread", "no_network")

_CROSS = ("CrossAttnDownBlock2D",), ("CrossAttnUpBlock2D",)
_SD15 = {
    "block_out_channels": (32, 32, 64, 64),
    "down_block_types": (*_CROSS[0] * 3, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *_CROSS[1] * 3),
    "cross_attention_dim": 8,
    "attention_head_dim": 8,
}
_SDXL = {
    "block_out_channels": (32, 64, 128),
    "down_block_types": ("DownBlock2D", *_CROSS[0] * 2),
    "up_block_types": (*_CROSS[1] * 2, "UpBlock2D"),
    "cross_attention_dim": 72,
    "attention_head_dim": (1, 1, 2),
    "transformer_layers_per_block": (1, 2, 3),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 6 * 256 + 16,
}


def _networks(kind):
    """UNet, VAE and text encoders in the published shape, but narrow."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(**(_SD15 if kind == "sd15" else _SDXL)).eval()
    vae = AutoencoderKL(
        block_out_channels=(32, 32, 64, 64),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        scaling_factor=0.18215 if kind == "sd15" else 0.13025,
    ).eval()
    second = None if kind == "sd15" else tiny_clip(190, width=64, projection=16, seed=7)
    return unet, vae, tiny_clip(190), second


def _said(model, *arguments, **named):
    with torch.inference_mode():
        return model(*arguments, **named).sample


@pytest.mark.parametrize("kind", ["sd15", "sdxl"])
def test_published_names_at_reduced_width_as_the_folder(kind, tmp_path):
    """The same answers, exactly, from the single file and from the folder that Diffusers wrote."""
    networks = _networks(kind)
    path = tmp_path / "model.safetensors"
    save_file(checkpoint(*networks), path)
    folder = write_model(tmp_path / "model", *networks)
    if kind == "sdxl":  # SDXL's second tokenizer pads with its first token
        place, _ = write_tokenizer(folder / "tokenizer_2")
        (place / "tokenizer_config.json").write_text('{"pad_token": "!"}')
    prompts = {"prompt": "a red face", "negative_prompt": "blur"}
    single = load_pipe(path, tokenizer=folder / "tokenizer", **prompts)
    whole = load_pipe(folder, **prompts)
    for name in ("positive", "negative", "pooled_positive", "pooled_negative"):
        one, other = getattr(single.prompts, name), getattr(whole.prompts, name)
        assert (one is None) == (other is None) == (kind == "sd15" and name.startswith("pooled"))
        assert one is None or torch.equal(one, other)
    x = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    facts = {"text_embeds": single.prompts.pooled_positive, "time_ids": torch.ones(1, 6)} if kind == "sdxl" else None
    asked = (x, 300, single.prompts.positive)
    answers = [_said(pipe.unet, *asked, added_cond_kwargs=facts) for pipe in (single, whole)]
    assert torch.equal(*answers)
    assert torch.equal(*(_said(pipe.vae, x[:, :3]) for pipe in (single, whole)))
    assert single.vae.config.scaling_factor == whole.vae.config.scaling_factor
    assert (single.table.sigmas == whole.table.sigmas).all()


# Names and shapes of the published checkpoints' layouts at full width, as ComfyUI 0.3.64 builds them: how many, and the
# beginning of the sha256 of their sorted lines.
_PUBLISHED = {
    "sd15": (686, "2489855b740ba326"),
    "sdxl": (1680, "d8427731b1d2b4b6"),
    "control": (340, "d8dbf080c4eab591"),
    "vae": (248, "50f3b11a29b71571"),
}
_FULL = {
    "sd15": {**_SD15, "block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 768},
    "sdxl": {
        **_SDXL,
        "block_out_channels": (320, 640, 1280),
        "cross_attention_dim": 2048,
        "attention_head_dim": (5, 10, 20),
        "transformer_layers_per_block": (1, 2, 10),
        "projection_class_embeddings_input_dim": 2816,
    },
}
_FULL["control"] = {name: value for name, value in _FULL["sd15"].items() if name != "up_block_types"}
_FULL["vae"] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}


@pytest.mark.parametrize("kind", _PUBLISHED)
def test_published_names_at_full_width(kind):
    """The names the tests write are the published ones, and full networks are recognised by their shapes; without
    memory, on torch's device for shapes alone."""
    network = {"control": ControlNetModel, "vae": AutoencoderKL}.get(kind, UNet2DConditionModel)
    with torch.device("meta"):
        net = network(**_FULL[kind])
    tensors = ldm_vae(net) if kind == "vae" else ldm_unet(net)
    lines = sorted(f"{name} {tuple(value.shape)}" for name, value in tensors.items())
    assert (len(lines), hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]) == _PUBLISHED[kind]
    config = _vae_config(tensors, 0.18215) if kind == "vae" else _unet_config(tensors, Path("model"))
    with torch.device("meta"):
        found = network(**config).state_dict()
    expected = net.state_dict()
    assert {name: value.shape for name, value in found.items()} == {n: value.shape for n, value in expected.items()}
    if kind != "vae":
        heads = config["attention_head_dim"]
        assert heads == (8 if kind != "sdxl" else [5, 10, 20])


def test_a_controlnet_and_motion_modules_at_reduced_width(tmp_path):
    torch.manual_seed(3)
    config = {name: value for name, value in _SD15.items() if name != "up_block_types"}
    net = ControlNetModel(**config, conditioning_embedding_out_channels=(4, 8, 8, 16))
    for prefix in ("control_model.", ""):
        tensors = {f"{prefix}{name}": value.contiguous() for name, value in ldm_unet(net).items()}
        save_file(tensors, tmp_path / "net.safetensors")
        read = load_controlnet(tmp_path / "net.safetensors").state_dict()
        assert read.keys() == net.state_dict().keys()
        assert all(torch.equal(read[name], value) for name, value in net.state_dict().items())
    adapter = MotionAdapter(block_out_channels=_SD15["block_out_channels"], use_motion_mid_block=False)
    tensors = {f"module.{name}": value.contiguous() for name, value in animatediff(adapter, 24).items()}
    save_file(tensors, tmp_path / "motion.safetensors")
    networks = _networks("sd15")
    save_file(checkpoint(*networks), tmp_path / "model.safetensors")
    pipe = load_pipe(
        tmp_path / "model.safetensors", embeddings=tiny_prompts(), motion_adapter=tmp_path / "motion.safetensors"
    )
    assert pipe.longest == 24
    own = pipe.unet.state_dict()
    for name, value in adapter.state_dict().items():
        kept = value[:, :24] if name.endswith("pos_embed.pe") else value
        assert torch.equal(own[name], kept)
    film = _said(pipe.unet, torch.zeros(1, 4, 2, 8, 8), 300, torch.ones(2, 3, 8))
    assert film.shape == (1, 4, 2, 8, 8)


def _file(folder, tensors):
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / "model.safetensors")
    return folder / "model.safetensors"


def _spoilt(change):
    tensors = checkpoint(*_networks("sd15"))
    change(tensors)
    return tensors


def _drop(*beginnings):
    def change(tensors):
        for name in [name for name in tensors if name.startswith(beginnings)]:
            del tensors[name]

    return change


def _as_sd2(tensors):
    for name in [name for name in tensors if name.endswith("proj_in.weight")]:
        tensors[name] = tensors[name][:, :, 0, 0]


def _cut(tensors):
    name = "model.diffusion_model.out.2.bias"
    tensors[name] = tensors[name][:2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_drop("model."), r"must be a checkpoint of Stable Diffusion 1\.5 or SDXL; a file that holds the UNet alone"),
        (_drop("first_stage_model."), r"has no VAE; fetch it again"),
        (_drop("model.diffusion_model.out.0.bias"), r"not complete: 1 weights of UNet2DConditionModel are missing"),
        (_drop("cond_stage_model.transformer.text_model.embeddings"), r"has no text encoder that is known here"),
        (_drop("cond_stage_model."), r"the model has no text encoder; give the prompts as embeddings"),
        (_as_sd2, r"must be of Stable Diffusion 1\.5 or SDXL, got one of Stable Diffusion 2"),
        (_cut, r"cannot be read as UNet2DConditionModel \(.*size mismatch"),
        (lambda tensors: tensors.update(v_pred=torch.ones(1), ztsnr=torch.ones(1)), r"got zero terminal SNR"),
    ],
)
def test_other_files_are_refused(change, message, tmp_path):
    place, _ = write_tokenizer(tmp_path)
    with pytest.raises(ModelError, match=message):
        load_pipe(_file(tmp_path, _spoilt(change)), tokenizer=place)


def test_what_a_single_file_lacks(tmp_path):
    path = _file(tmp_path, checkpoint(*_networks("sd15")))
    with pytest.raises(ModelError, match="has no tokenizer; name the folder of CLIP's tokenizer, or give embeddings"):
        load_pipe(path, prompt="a face")
    with pytest.raises(
        ModelError, match="must be a ControlNet's checkpoint; of one that Diffusers wrote, name the fol"
    ):
        load_controlnet(path)
    with pytest.raises(ModelError, match="must be AnimateDiff's motion modules; such as v3_sd15_mm"):
        load_pipe(path, embeddings=tiny_prompts(), motion_adapter=path)
    path.write_bytes(b"\x80\x04 a pickle")
    with pytest.raises(ModelError, match="is no safetensors file"):
        load_pipe(path)


def test_velocity_is_recognised(tmp_path):
    tensors = checkpoint(*_networks("sdxl"))
    tensors["v_pred"] = torch.ones(1)
    prompts = tiny_prompts(pooled=16)
    wide = type(prompts)(*(torch.ones(1, 5, 72),) * 2, prompts.pooled_positive, prompts.pooled_negative)
    assert load_pipe(_file(tmp_path, tensors), embeddings=wide).prediction == "v_prediction"
