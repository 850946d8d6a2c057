"""Networks of Stable Diffusion from files on this machine: folders as Diffusers writes them, or single files.

Only safetensors are read: they hold numbers and no program. Nothing is ever looked up elsewhere.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import EngineUnavailable, ModelError, OptionError, WeightsMissing
from .diffusers_prompts import Prompts, TextEncoder, encode_prompts, load_tokenizer
from .diffusers_single import SingleFile, is_single_file, make_controlnet, make_motion_adapter
from .schedules import SigmaTable

__all__ = ["BETA_SCHEDULES", "Pipe", "load_controlnet", "load_pipe", "quiet"]

BETA_SCHEDULES = ("scaled_linear", "linear")
_PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")


@dataclass(frozen=True, eq=False)
class Pipe:
    """The networks that redraw, with what they are to draw. Make one of networks of your own, or by `load_pipe`.

    Attributes:
        unet: Diffusers' `UNet2DConditionModel`, or `UNetMotionModel`, for which the frames are one film.
        vae: Diffusers' `AutoencoderKL`; a refiner needs none.
        prompts: What to draw.
        table: The noise levels the UNet was trained on.
        prediction: What it predicts: `epsilon` or `v_prediction`.

    Raises:
        ModelError: The prompts do not fit the UNet, or it is of a kind that is not known here.
    """

    unet: Any
    vae: Any
    prompts: Prompts
    table: SigmaTable = field(default_factory=SigmaTable.scaled_linear)
    prediction: str = "epsilon"

    def __post_init__(self) -> None:
        config = self.unet.config
        if config.in_channels != 4:
            hint = "inpainting networks are not needed: the mask works with any model"
            raise ModelError("the UNet's input", expected="of 4 channels", got=str(config.in_channels), hint=hint)
        width = config.cross_attention_dim
        if self.prompts.positive.shape[2] != width:
            raise ModelError("prompts", expected=f"{width} wide for this UNet", got=str(self.prompts.positive.shape[2]))
        if self.is_sdxl and self.prompts.pooled_positive is None:
            raise ModelError("prompts", expected="with pooled rows for SDXL", got="none", hint="give both pooled rows")

    @property
    def is_sdxl(self) -> bool:
        """Whether the UNet also wants the prompt in one row, and the picture's size."""
        return bool(self.unet.config.addition_embed_type == "text_time")

    @property
    def longest(self) -> int | None:
        """The most frames the UNet can see together; None: it sees each by itself."""
        length = getattr(self.unet.config, "motion_max_seq_length", None)
        return None if length is None else int(length)


def load_pipe(
    model: str | os.PathLike[str],
    *,
    prompt: str = "",
    negative_prompt: str = "",
    embeddings: Prompts | None = None,
    tokenizer: str | os.PathLike[str] | None = None,
    motion_adapter: str | os.PathLike[str] | None = None,
    beta_schedule: str | None = None,
    refiner: bool = False,
) -> Pipe:
    """The networks of Stable Diffusion 1.5 or SDXL, and the prompts as they read them.

    Args:
        model: A folder of Diffusers, or a single safetensors file.
        prompt: What to draw.
        negative_prompt: What not to draw.
        embeddings: Both prompts, encoded already; text encoders are not read then.
        tokenizer: The folder of CLIP's tokenizer (vocab.json and merges.txt, or tokenizer.json), or one that has it in
            `tokenizer`; None: the model's own. A single file has none.
        motion_adapter: A folder or a safetensors file of AnimateDiff, which makes the frames one film.
        beta_schedule: The noise levels of training, one of `BETA_SCHEDULES`; None: `linear` with a motion adapter, as
            AnimateDiff was trained, else what the model says.
        refiner: It takes the last steps after another model: its VAE is not read.

    Raises:
        EngineUnavailable: Diffusers is not installed.
        WeightsMissing: There are no safetensors there.
        ModelError: They are no such networks, or do not fit each other; there is nothing to encode the prompts with.
        OptionError: There is no such schedule.
    """
    _import_diffusers()
    if beta_schedule is not None and beta_schedule not in BETA_SCHEDULES:
        raise OptionError("beta_schedule", expected=f"one of {', '.join(BETA_SCHEDULES)}", got=repr(beta_schedule))
    path = Path(model)
    source = SingleFile(_checked_file(path)) if is_single_file(path) else _Folder(path)
    with quiet():
        unet = source.unet()
        if motion_adapter is not None:
            unet = _with_motion(unet, Path(motion_adapter))
            beta_schedule = beta_schedule or "linear"
        prompts = embeddings
        if prompts is None:
            place = None if tokenizer is None else Path(tokenizer)
            sdxl = unet.config.addition_embed_type == "text_time"
            prompts = encode_prompts(source.text_encoders(place), prompt, negative_prompt, pooled=sdxl)
        vae = None if refiner else source.vae()
    scheduler = source.scheduler()
    return Pipe(unet, vae, prompts, _table(scheduler, beta_schedule), _prediction(scheduler))


def load_controlnet(path: str | os.PathLike[str]) -> Any:
    """Diffusers' `ControlNetModel` from a folder or a single safetensors file.

    Raises:
        EngineUnavailable: Diffusers is not installed.
        WeightsMissing: There are no safetensors there.
        ModelError: They are no ControlNet.
    """
    _import_diffusers()
    from diffusers import ControlNetModel

    place = Path(path)
    with quiet():
        return make_controlnet(_checked_file(place)) if is_single_file(place) else _load(ControlNetModel, place)


def _import_diffusers() -> None:
    try:
        import diffusers  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise EngineUnavailable(f"{error.name} is not installed", hint='pip install "maskwright[detail]"') from error


@contextmanager
def quiet() -> Iterator[None]:
    """Neither bars nor advice about other ways to load."""
    from diffusers.utils import logging
    from transformers.utils import logging as transformers_logging

    verbosities = logging.get_verbosity(), transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosities[0])
        transformers_logging.set_verbosity(verbosities[1])
        if bars:
            transformers_logging.enable_progress_bar()


def _checked_file(path: Path) -> Path:
    if path.suffix.lower() in _PICKLES:
        raise ModelError(str(path), expected="a safetensors file", hint=_convert_hint(path))
    if not path.is_file():
        raise WeightsMissing(f"there is no file {path}", hint="check the name")
    return path


def _convert_hint(path: Path) -> str:
    return f"{path.suffix} files can hold programs and are not read; use the model's safetensors"


class _Folder:
    """A model as Diffusers writes it: a folder for each network."""

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise WeightsMissing(f"there is no folder {path}", hint="check the name")
        if not (path / "unet" / "config.json").is_file():
            hint = "name the folder that has model_index.json in it"
            raise ModelError(str(path), expected="a folder of Diffusers, with a folder unet in it", hint=hint)
        self._path = path

    def unet(self) -> Any:
        import diffusers

        kinds = {"UNet2DConditionModel": diffusers.UNet2DConditionModel, "UNetMotionModel": diffusers.UNetMotionModel}
        kind = _read_json(self._path / "unet" / "config.json").get("_class_name", "UNet2DConditionModel")
        if kind not in kinds:
            raise ModelError(f"{self._path / 'unet'}", expected=" or ".join(kinds), got=str(kind))
        return _load(kinds[kind], self._path / "unet")

    def vae(self) -> Any:
        from diffusers import AutoencoderKL

        return _load(AutoencoderKL, self._path / "vae")

    def scheduler(self) -> dict[str, Any]:
        file = self._path / "scheduler" / "scheduler_config.json"
        return _read_json(file) if file.is_file() else {}

    def text_encoders(self, tokenizer: Path | None) -> list[TextEncoder]:
        from transformers import CLIPTextModel, CLIPTextModelWithProjection

        found = []
        for ending in ("", "_2"):
            folder = self._path / f"text_encoder{ending}"
            if folder.is_dir():
                projects = "CLIPTextModelWithProjection" in _read_json(folder / "config.json").get("architectures", ())
                model = _load(CLIPTextModelWithProjection if projects else CLIPTextModel, folder)
                reader = load_tokenizer(tokenizer or self._path, f"tokenizer{ending}")
                found.append(TextEncoder(model, reader, reader.pad_token_id))
        return found


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({error})", hint="fetch the folder again") from error
    return found if isinstance(found, dict) else {}


def _load(kind: Any, folder: Path) -> Any:
    """A network of Diffusers or transformers from its folder, complete."""
    endings = {path.name.rpartition(".safetensors")[0] for path in folder.glob("*.safetensors")}
    if not endings:
        pickles = [path for path in sorted(folder.glob("*")) if path.suffix in _PICKLES]
        if pickles:
            raise WeightsMissing(f"{folder} has no safetensors", hint=_convert_hint(pickles[0]))
        raise WeightsMissing(f"{folder} has no weights", hint="fetch the folder again")
    half = {} if any(not ending.endswith(".fp16") for ending in endings) else {"variant": "fp16"}
    try:
        model, info = kind.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, output_loading_info=True, **half
        )
    except (OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
        text = " ".join(str(error).split())[:200]
        raise ModelError(f"{folder} cannot be read as {kind.__name__} ({text})", hint="fetch it again") from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise ModelError(f"{folder} is not complete: {len(missing)} weights are missing, such as {missing[0]}")
    return model.eval().requires_grad_(False)


def _with_motion(unet: Any, path: Path) -> Any:
    from diffusers import MotionAdapter, UNetMotionModel

    if isinstance(unet, UNetMotionModel):
        raise ModelError("the model has motion already", hint="leave the motion adapter out")
    adapter = make_motion_adapter(_checked_file(path)) if is_single_file(path) else _load(MotionAdapter, path)
    try:
        return UNetMotionModel.from_unet2d(unet, adapter).eval().requires_grad_(False)
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{path} does not fit the model ({error})", hint="take one for this kind of model") from error


def _table(scheduler: dict[str, Any], beta_schedule: str | None) -> SigmaTable:
    """The noise levels a folder's scheduler states; those of Stable Diffusion where it states none."""
    count = int(scheduler.get("num_train_timesteps", 1000))
    start, end = float(scheduler.get("beta_start", 0.00085)), float(scheduler.get("beta_end", 0.012))
    name = beta_schedule or scheduler.get("beta_schedule", "scaled_linear")
    if scheduler.get("trained_betas") is not None:
        return SigmaTable.from_betas(np.array(scheduler["trained_betas"], np.float64))
    if name == "linear":
        return SigmaTable.from_betas(np.linspace(start, end, count))
    if name != "scaled_linear":
        expected = f"one of {', '.join(BETA_SCHEDULES)}"
        raise ModelError("the model's beta_schedule", expected=expected, got=repr(name), hint="name one yourself")
    return SigmaTable.scaled_linear(start, end, count)


def _prediction(scheduler: dict[str, Any]) -> str:
    name = str(scheduler.get("prediction_type", "epsilon"))
    if name not in ("epsilon", "v_prediction"):
        raise ModelError("what the model predicts", expected="epsilon or v_prediction", got=name)
    if scheduler.get("rescale_betas_zero_snr"):
        raise ModelError("the model's noise levels", expected="finite", got="zero terminal SNR")
    return name
