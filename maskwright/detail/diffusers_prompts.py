"""What to draw and what not, as the text encoders of Stable Diffusion say it; computed once, or read from a file."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import MediaError, ModelError, ShapeError
from .resample import load_torch

__all__ = ["Prompts", "TextEncoder", "encode_prompts", "load_prompts", "load_tokenizer", "save_prompts"]

_BODY = 75  # tokens a text encoder reads at a time, without its two marks
_NAMES = {
    "positive": "prompt_embeds",
    "negative": "negative_prompt_embeds",
    "pooled_positive": "pooled_prompt_embeds",
    "pooled_negative": "negative_pooled_prompt_embeds",
}


@dataclass(frozen=True, eq=False)
class Prompts:
    """A pair of prompts as a network reads them, torch tensors.

    Attributes:
        positive: (1, L, D) what to draw.
        negative: (1, L, D) what not to draw.
        pooled_positive: (1, P) the same in one row, for SDXL; None: the network does not ask for it.
        pooled_negative: (1, P)

    Raises:
        ShapeError: The positive and the negative prompt differ in shape.
    """

    positive: Any
    negative: Any
    pooled_positive: Any = None
    pooled_negative: Any = None

    def __post_init__(self) -> None:
        if (self.pooled_positive is None) != (self.pooled_negative is None):
            raise ShapeError("pooled prompts", expected="two or none", got="one")
        for one, other, axes in (
            (self.positive, self.negative, 3),
            (self.pooled_positive, self.pooled_negative, 2),
        ):
            if one is not None and (one.ndim != axes or one.shape[0] != 1 or one.shape != other.shape):
                raise ShapeError(
                    "prompts",
                    expected=f"two of one shape, with {axes} axes, the first of length 1",
                    got=f"{tuple(one.shape)} and {tuple(other.shape)}",
                )


@dataclass(frozen=True, eq=False)
class TextEncoder:
    """A text encoder with its tokenizer.

    Attributes:
        model: CLIP of transformers.
        tokenizer: CLIP's of transformers.
        pad: The token behind a text's end.
    """

    model: Any
    tokenizer: Any
    pad: int


def encode_prompts(encoders: Sequence[TextEncoder], positive: str, negative: str, *, pooled: bool) -> Prompts:
    """Both prompts. Longer texts than an encoder reads at once are read in pieces, one behind the other.

    Args:
        encoders: One for Stable Diffusion 1.5, two for SDXL.
        positive: What to draw.
        negative: What not to draw.
        pooled: SDXL's way: the last layer but one, and all in one row besides.

    Raises:
        ModelError: There is no text encoder.
    """
    torch = load_torch()
    if not encoders:
        raise ModelError("the model has no text encoder", hint="give the prompts as embeddings")
    texts = (positive, negative)
    rows, pools = [], []
    with torch.inference_mode():
        for encoder in encoders:
            pieces = _to_pieces(encoder, texts)
            outputs = [encoder.model(ids, output_hidden_states=True) for ids in pieces]
            layers = [each.hidden_states[-2] if pooled else each.last_hidden_state for each in outputs]
            rows.append(torch.cat(layers, dim=1))
            if pooled and hasattr(outputs[0], "text_embeds"):
                pools.append(outputs[0].text_embeds)
        count = max(row.shape[1] for row in rows)
        row = torch.cat([_repeated(row, count) for row in rows], dim=2).float()
    if not pooled:
        return Prompts(row[:1], row[1:])
    if not pools:
        raise ModelError("none of the model's text encoders gives a pooled row", hint="give the prompts as embeddings")
    return Prompts(row[:1], row[1:], pools[-1][:1].float(), pools[-1][1:].float())


def _repeated(row: Any, count: int) -> Any:
    """Rows of several encoders, of one length."""
    return row if row.shape[1] == count else row.repeat(1, -(-count // row.shape[1]), 1)[:, :count]


def _to_pieces(encoder: TextEncoder, texts: Sequence[str]) -> list[Any]:
    """(texts, 77) tokens each: a mark, a piece of the text, a mark, and padding."""
    torch = load_torch()
    tokenizer = encoder.tokenizer
    tokens = [tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"] for text in texts]
    pieces = []
    for start in range(0, max(1, *map(len, tokens)), _BODY):
        rows = []
        for each in tokens:
            body = [tokenizer.bos_token_id, *each[start : start + _BODY], tokenizer.eos_token_id]
            rows.append(body + [encoder.pad] * (_BODY + 2 - len(body)))
        pieces.append(torch.tensor(rows))
    return pieces


def load_tokenizer(place: Path, name: str = "tokenizer") -> Any:
    """CLIP's tokenizer from a folder, or from the folder of this name in it, or from `tokenizer` in it."""
    from transformers import CLIPTokenizer

    for folder in (place / name, place / "tokenizer", place):
        files = [folder / file for file in ("tokenizer.json", "vocab.json") if (folder / file).is_file()]
        if files:
            try:
                json.loads(files[0].read_text(encoding="utf-8"))  # what reads it next has no error of its own
                return CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
            except (OSError, ValueError, TypeError, KeyError) as error:
                raise ModelError(f"{folder} has no tokenizer of CLIP ({error})", hint="fetch it again") from error
    raise ModelError(
        f"{place} has no tokenizer", hint="name the folder that has vocab.json and merges.txt, or give embeddings"
    )


def save_prompts(prompts: Prompts, path: str | os.PathLike[str]) -> Path:
    """The path, once the prompts stand there as a safetensors file, under the names Diffusers has for them.

    Raises:
        MediaError: It cannot be written.
    """
    from safetensors.torch import save

    from ..encode import write_bytes

    found = {name: getattr(prompts, field) for field, name in _NAMES.items()}
    return write_bytes(path, save({name: value.contiguous() for name, value in found.items() if value is not None}))


def load_prompts(path: str | os.PathLike[str]) -> Prompts:
    """The prompts of a safetensors file: `prompt_embeds`, `negative_prompt_embeds`, and for SDXL the two `pooled_…`.

    Raises:
        MediaError: It is no such file.
        ShapeError: They do not belong together.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found = load_file(path)
        values = {field: found.get(name) for field, name in _NAMES.items()}
        if values["positive"] is None or values["negative"] is None:
            raise KeyError("prompt_embeds")
    except (OSError, SafetensorError, KeyError) as error:
        expected = "a safetensors file with prompt_embeds and negative_prompt_embeds"
        raise MediaError(str(path), expected=expected, got=str(error), hint="save_prompts writes one") from error
    return Prompts(**{field: None if value is None else value.float() for field, value in values.items()})
