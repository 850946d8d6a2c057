"""Folders of Diffusers: read whole, without a network and without pickles."""

from __future__ import annotations

import builtins
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from maskwright.detail import SigmaTable  # noqa: E402
from maskwright.detail.diffusers import Pipe, load_controlnet, load_pipe  # noqa: E402
from maskwright.errors import EngineUnavailable, ModelError, OptionError, WeightsMissing  # noqa: E402
from tests.support.diffusion import (  # noqa: E402
    tiny_adapter,
    tiny_clip,
    tiny_controlnet,
    tiny_motion_unet,
    tiny_prompts,
    tiny_unet,
    tiny_vae,
    tiny_xl_unet,
    write_model,
    write_tokenizer,
)

pytestmark = pytest.mark.usefixtures("one_thread", "no_network")


@pytest.fixture
def folder(tmp_path):
    return write_model(tmp_path / "model", tiny_unet(), tiny_vae(), tiny_clip(190))


def _same(one, other):
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_folder_is_read_whole(folder):
    pipe = load_pipe(folder, prompt="a red face", negative_prompt="blur")
    assert _same(pipe.unet, tiny_unet())
    assert _same(pipe.vae, tiny_vae())
    assert pipe.prompts.positive.shape == (1, 77, 8)
    assert not torch.equal(pipe.prompts.positive, pipe.prompts.negative)
    assert np.array_equal(pipe.table.sigmas, SigmaTable.scaled_linear().sigmas)
    assert (pipe.prediction, pipe.longest, pipe.is_sdxl) == ("epsilon", None, False)
    assert not pipe.unet.training
    assert load_pipe(folder, embeddings=tiny_prompts(), refiner=True).vae is None


def test_prompts_are_what_the_text_encoder_says(folder):
    """Marks at both ends, padding behind; long texts in pieces of 75 tokens."""
    prompts = load_pipe(folder, prompt="ab", negative_prompt="c " * 80).prompts
    model = tiny_clip(190)
    rows = [[188, 64, 94 + 65, 189], [188]]
    assert prompts.positive.shape == (1, 154, 8)
    with torch.inference_mode():
        first = model(torch.tensor([rows[0] + [189] * 73])).last_hidden_state
        second = model(torch.tensor([[188] + [189] * 76])).last_hidden_state
        wordy = model(torch.tensor([[188] + [94 + 66] * 75 + [189]])).last_hidden_state
    assert torch.allclose(prompts.positive, torch.cat([first, second], 1), atol=1e-5)
    assert torch.allclose(prompts.negative[:, :77], wordy, atol=1e-5)


def test_sdxl_takes_two_text_encoders_and_a_row(tmp_path):
    clips = tiny_clip(190, width=4), tiny_clip(190, width=4, projection=4, eos=2, seed=7)
    folder = write_model(tmp_path / "xl", tiny_xl_unet(), tiny_vae(), *clips)
    pipe = load_pipe(folder, prompt="ab")
    assert pipe.is_sdxl
    ids = torch.tensor([[188, 64, 94 + 65] + [189] * 74])
    with torch.inference_mode():
        said = [clip(ids, output_hidden_states=True) for clip in clips]
    both = torch.cat([each.hidden_states[-2] for each in said], dim=2)
    assert torch.allclose(pipe.prompts.positive, both, atol=1e-5)
    assert torch.allclose(pipe.prompts.pooled_positive, said[1].text_embeds, atol=1e-5)


def test_a_tokenizer_of_the_users(folder, tmp_path):
    before = load_pipe(folder, prompt="ab").prompts.positive
    place, _ = write_tokenizer(tmp_path / "mine" / "tokenizer")
    (folder / "tokenizer" / "vocab.json").unlink()
    with pytest.raises(ModelError, match=r"model has no tokenizer; name the folder that has vocab\.json"):
        load_pipe(folder, prompt="ab")
    for named in (place, place.parent):
        assert torch.equal(load_pipe(folder, prompt="ab", tokenizer=named).prompts.positive, before)


def test_a_motion_adapter_makes_the_frames_a_film(folder, tmp_path):
    tiny_adapter().save_pretrained(tmp_path / "motion")
    pipe = load_pipe(folder, embeddings=tiny_prompts(), motion_adapter=tmp_path / "motion")
    assert pipe.longest == 8
    assert _same(pipe.unet, tiny_motion_unet())
    linear = SigmaTable.from_betas(np.linspace(0.00085, 0.012, 1000))
    assert np.array_equal(pipe.table.sigmas, linear.sigmas)
    named = load_pipe(
        folder, embeddings=tiny_prompts(), motion_adapter=tmp_path / "motion", beta_schedule="scaled_linear"
    )
    assert np.array_equal(named.table.sigmas, SigmaTable.scaled_linear().sigmas)


def test_a_saved_film_model_and_its_scheduler(tmp_path):
    facts = {"beta_schedule": "linear", "beta_end": 0.02, "num_train_timesteps": 500, "prediction_type": "v_prediction"}
    folder = write_model(tmp_path / "film", tiny_motion_unet(), tiny_vae(), None, scheduler=facts)
    pipe = load_pipe(folder, embeddings=tiny_prompts())
    assert (pipe.longest, pipe.prediction) == (8, "v_prediction")
    assert np.array_equal(pipe.table.sigmas, SigmaTable.from_betas(np.linspace(0.00085, 0.02, 500)).sigmas)
    trained = [0.001, 0.002, 0.003]
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps({"trained_betas": trained}))
    table = load_pipe(folder, embeddings=tiny_prompts()).table
    assert np.array_equal(table.sigmas, SigmaTable.from_betas(np.array(trained)).sigmas)
    tiny_adapter().save_pretrained(tmp_path / "motion")
    with pytest.raises(ModelError, match="the model has motion already; leave the motion adapter out"):
        load_pipe(folder, embeddings=tiny_prompts(), motion_adapter=tmp_path / "motion")


def test_half_weights_alone_are_read(folder):
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_name("diffusion_pytorch_model.fp16.safetensors"))
    assert _same(load_pipe(folder, embeddings=tiny_prompts()).unet, tiny_unet())


def test_a_controlnets_folder(tmp_path):
    tiny_controlnet().save_pretrained(tmp_path / "net")
    assert _same(load_controlnet(tmp_path / "net"), tiny_controlnet())


def _pickled(folder):
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))


def _without(name):
    return lambda folder: (folder / name).unlink()


def _written(name, text):
    return lambda folder: (folder / name).write_text(text)


def _shortened(folder):
    from safetensors.torch import load_file, save_file

    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    del tensors["conv_out.bias"]
    save_file(tensors, path)


_WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.mark.parametrize(
    ("spoil", "kind", "message"),
    [
        (_pickled, WeightsMissing, r"unet has no safetensors; \.bin files can hold programs and are not read"),
        (_without(_WEIGHTS), WeightsMissing, r"unet has no weights; fetch the folder again"),
        (_written(_WEIGHTS, "{}"), ModelError, r"unet cannot be read as UNet2DConditionModel \("),
        (_shortened, ModelError, r"unet is not complete: 1 weights are missing, such as conv_out\.bias"),
        (_without("unet/config.json"), ModelError, r"model must be a folder of Diffusers, with a folder unet in it"),
        (_written("unet/config.json", "{"), ModelError, r"config\.json cannot be read \("),
        (
            _written("unet/config.json", '{"_class_name": "Foreign"}'),
            ModelError,
            r"unet must be UNet2DConditionModel or UNetMotionModel, got Foreign",
        ),
        (
            _written("scheduler/scheduler_config.json", '{"beta_schedule": "squaredcos_cap_v2"}'),
            ModelError,
            r"beta_schedule must be one of scaled_linear, linear, got 'squaredcos_cap_v2'",
        ),
        (
            _written("scheduler/scheduler_config.json", '{"prediction_type": "sample"}'),
            ModelError,
            r"what the model predicts must be epsilon or v_prediction, got sample",
        ),
        (
            _written("scheduler/scheduler_config.json", '{"rescale_betas_zero_snr": true}'),
            ModelError,
            r"the model's noise levels must be finite, got zero terminal SNR",
        ),
    ],
)
def test_spoilt_folders(spoil, kind, message, folder):
    spoil(folder)
    with pytest.raises(kind, match=message):
        load_pipe(folder, embeddings=tiny_prompts())


def test_what_is_not_there(tmp_path):
    for name, kind in (("none", "folder"), ("none.safetensors", "file")):
        with pytest.raises(WeightsMissing, match=f"there is no {kind} .*{name}; check the name"):
            load_pipe(tmp_path / name)
    with pytest.raises(ModelError, match=r"old\.ckpt must be a safetensors file; \.ckpt files can hold programs"):
        load_pipe(tmp_path / "old.ckpt")


def test_parts_that_do_not_fit(folder, tmp_path):
    with pytest.raises(OptionError, match=r"beta_schedule must be one of scaled_linear, linear, got 'cosine'"):
        load_pipe(folder, beta_schedule="cosine")
    tiny_adapter(block_out_channels=(8, 8, 8)).save_pretrained(tmp_path / "other")
    with pytest.raises(ModelError, match=r"other does not fit the model \(.*; take one for this kind of model"):
        load_pipe(folder, embeddings=tiny_prompts(), motion_adapter=tmp_path / "other")
    with pytest.raises(ModelError, match=r"the UNet's input must be of 4 channels, got 9; inpainting networks"):
        Pipe(tiny_unet(in_channels=9), tiny_vae(), tiny_prompts())
    with pytest.raises(ModelError, match=r"prompts must be 16 wide for this UNet, got 8"):
        Pipe(tiny_unet(cross_attention_dim=16), tiny_vae(), tiny_prompts())
    with pytest.raises(ModelError, match=r"prompts must be with pooled rows for SDXL, got none"):
        Pipe(tiny_xl_unet(), tiny_vae(), tiny_prompts())


@pytest.mark.parametrize("name", ["diffusers", "transformers"])
def test_without_the_library(name, folder, monkeypatch):
    found = builtins.__import__

    def missing(wanted, *args, **kwargs):
        if wanted == name:
            raise ImportError(f"No module named {name}", name=name)
        return found(wanted, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(EngineUnavailable, match=rf'{name} is not installed; pip install "maskwright\[detail\]"'):
        load_pipe(folder)
