"""Prompts as a text encoder says them, and their file."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("diffusers")

from safetensors.torch import save_file  # noqa: E402

from maskwright.detail.diffusers import Prompts, load_prompts, save_prompts  # noqa: E402
from maskwright.detail.diffusers_prompts import TextEncoder, encode_prompts, load_tokenizer  # noqa: E402
from maskwright.errors import MediaError, ModelError, ShapeError  # noqa: E402
from tests.support.diffusion import tiny_clip, tiny_prompts, write_tokenizer  # noqa: E402

_NAMES = ("positive", "negative", "pooled_positive", "pooled_negative")


@pytest.mark.parametrize("pooled", [0, 4])
def test_a_file_gives_them_back(pooled, tmp_path):
    prompts = tiny_prompts(pooled=pooled)
    read = load_prompts(save_prompts(prompts, tmp_path / "prompts.safetensors"))
    for name in _NAMES:
        one, other = getattr(prompts, name), getattr(read, name)
        assert (one is None and other is None) or torch.equal(one, other)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "prompts.safetensors"
    expected = r"must be a safetensors file with prompt_embeds and negative_prompt_embeds"
    for write in (lambda: None, lambda: path.write_bytes(b"pickle"), lambda: save_file({"a": torch.ones(1)}, path)):
        write()
        with pytest.raises(MediaError, match=expected):
            load_prompts(path)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((1, 5, 8), (1, 6, 8)), r"prompts must be two of one shape, .* got \(1, 5, 8\) and \(1, 6, 8\)"),
        (((2, 5, 8), (2, 5, 8)), r"prompts must be two of one shape, with 3 axes, the first of length 1"),
        (((1, 5, 8), (1, 5, 8), (1, 4), (1, 5)), r"prompts must be two of one shape, with 2 axes"),
        (((1, 5, 8), (1, 5, 8), (1, 4)), r"pooled prompts must be two or none, got one"),
    ],
)
def test_pairs_that_are_none(shapes, message):
    with pytest.raises(ShapeError, match=message):
        Prompts(*(torch.zeros(shape) for shape in shapes))


def test_no_text_encoder_no_prompts(tmp_path):
    with pytest.raises(ModelError, match="the model has no text encoder; give the prompts as embeddings"):
        encode_prompts([], "a", "b", pooled=False)
    place, size = write_tokenizer(tmp_path)
    encoder = TextEncoder(tiny_clip(size), load_tokenizer(place), 0)
    with pytest.raises(ModelError, match="none of the model's text encoders gives a pooled row"):
        encode_prompts([encoder], "a", "b", pooled=True)


def test_a_tokenizer_that_is_none(tmp_path):
    with pytest.raises(ModelError, match=r"has no tokenizer; name the folder that has vocab\.json and merges\.txt"):
        load_tokenizer(tmp_path)
    (tmp_path / "vocab.json").write_text("[")
    (tmp_path / "merges.txt").write_text("")
    with pytest.raises(ModelError, match="has no tokenizer of CLIP"):
        load_tokenizer(tmp_path)
