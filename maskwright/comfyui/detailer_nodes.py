"""Redrawing in segments: the drop-in `SEGSDetailerForAnimateDiff`, the same with the pasting, and schedules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..detail import SCHEDULERS, DetailOptions, Segs, iter_detail, redraw
from ..detail.schedules import make_schedule
from .convert import arrays_to_image, as_image, segs_to_value
from .host import follow
from .inputs import COMPAT, Declaration, choice, fraction, socket, switch, whole
from .sampling import ComfyBackend, list_samplers, list_schedulers, read_table

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DetailAndPaste", "MakeSchedule", "Schedule", "SegsDetailer"]

_LENGTH = {"min": 64, "max": 16384, "step": 8}


def _required() -> dict[str, Declaration]:
    pipe = "Model, VAE and prompts. The frames are the batch, so that a model that knows time sees them together."
    return {
        "image_frames": socket("IMAGE", "The frames of the film, or one picture."),
        "segs": socket("SEGS", "What to redraw."),
        "guide_size": (
            "FLOAT",
            {"default": 512, **_LENGTH, "tooltip": "Pixels: the shorter side is enlarged to this length."},
        ),
        "guide_size_for": switch(
            True,
            "Whose shorter side: that of the subject's box, or of the whole crop.",
            label_on="bbox",
            label_off="crop_region",
        ),
        "max_size": (
            "FLOAT",
            {"default": 768, **_LENGTH, "tooltip": "Pixels: the longer side of what is redrawn is at most this."},
        ),
        "seed": (
            "INT",
            {"default": 0, "min": 0, "max": 0xFFFFFFFFFFFFFFFF, "tooltip": "Where the noise starts from."},
        ),
        "steps": ("INT", {"default": 20, "min": 1, "max": 10000, "tooltip": "Steps that are really taken."}),
        "cfg": (
            "FLOAT",
            {"default": 8.0, "min": 0.0, "max": 100.0, "tooltip": "How strongly the prompt guides; 1: not at all."},
        ),
        "sampler_name": choice(list_samplers(), "How the steps are taken: one of ComfyUI's samplers."),
        "scheduler": choice(list_schedulers(), "How the noise levels are spaced."),
        "denoise": fraction(0.5, "How much is redrawn: 1 everything, near 0 hardly anything.", low=0.0001),
        "basic_pipe": socket("BASIC_PIPE", pipe),
        "refiner_ratio": (
            "FLOAT",
            {"default": 0.2, "min": 0.0, "max": 1.0, "tooltip": "The share of the steps that the refiner takes."},
        ),
    }


def _optional() -> dict[str, Declaration]:
    feather = "Pixels: soften the mask this far. Above 0 its soft edge also says from which step on a pixel is redrawn."
    return {
        "refiner_basic_pipe_opt": socket("BASIC_PIPE", "Model and prompts for the last steps. Left out: no refiner."),
        "noise_mask_feather": whole(20, feather, high=100),
        "scheduler_func_opt": socket("SCHEDULER_FUNC", "Gives the noise levels instead of the scheduler."),
        "compat": COMPAT,
        "allow_downscale": switch(True, "Shrink crops that are larger than max_size; off: they keep their size."),
        "source": choice(["frames", "segs"], "What is redrawn: the frames, or pictures that the segments carry."),
        "seed_per_seg": switch(False, "Give each segment a seed of its own; off: all have the same."),
        "tiled_vae": switch(False, "Encode and decode in tiles, for pictures that the VAE has no room for."),
    }


def _open(basic_pipe: Any, values: dict[str, Any]) -> tuple[ComfyBackend, DetailOptions]:
    """What redraws, and how; the rest of the values are the options'."""
    backend = ComfyBackend(
        basic_pipe,
        values.pop("refiner_basic_pipe_opt", None),
        schedule=values.pop("scheduler_func_opt", None),
        tiled=values.pop("tiled_vae", False),
    )
    values.pop("inpaint_model", None)  # the original's function takes it, and does nothing with it
    values["guide_size_for"] = "bbox" if values["guide_size_for"] else "crop_region"
    values.setdefault("noise_mask_feather", 0)  # as of the original where a prompt leaves it out
    return backend, DetailOptions(**values, chunk=1)  # one frame at a time: progress, and Cancel, between frames


def _images(shown: list[Any]) -> list[Any]:
    """What ControlNets were shown; one black picture where there are none."""
    import torch

    return shown or [torch.zeros(1, 64, 64, 3)]


class SegsDetailer:
    """Segments of a film, redrawn by a diffusion model."""

    CATEGORY = "ImpactPack/Detailer"
    DESCRIPTION = (
        "Redraws what lies in segments, across all frames: each is cropped, enlarged, redrawn and brought back to its "
        "size. SEGSPaste puts the pictures into the frames."
    )
    FUNCTION = "doit"
    RETURN_TYPES = ("SEGS", "IMAGE")
    RETURN_NAMES = ("segs", "cnet_images")
    OUTPUT_IS_LIST = (False, True)
    OUTPUT_TOOLTIPS = (
        "The segments with their redrawn pictures.",
        "What ControlNets were shown, one batch for each; a black picture where there are none.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        return {"required": _required(), "optional": _optional()}

    def doit(self, image_frames: Tensor, segs: Any, basic_pipe: Any, **values: Any) -> tuple[Any, list[Any]]:
        """The segments, and what ControlNets were shown."""
        backend, options = _open(basic_pipe, values)
        image_frames = as_image(image_frames)
        done = list(iter_detail(image_frames, segs, backend, options, progress=follow()))
        height, width = image_frames.shape[1:3]
        redrawn = Segs((height, width), tuple(each.seg for each in done))
        return segs_to_value(redrawn), _images([image for each in done for image in each.control_images])


class DetailAndPaste:
    """A film whose segments are redrawn and pasted, one after the other."""

    CATEGORY = "Maskwright"
    DESCRIPTION = (
        "Redraws what lies in segments, across all frames, and pastes each at once: the next one sees what was done, "
        "and memory does not grow with the number of segments."
    )
    FUNCTION = "run"
    RETURN_TYPES = ("IMAGE", "IMAGE")
    RETURN_NAMES = ("image_frames", "cnet_images")
    OUTPUT_IS_LIST = (False, True)
    OUTPUT_TOOLTIPS = ("The frames with the redrawn segments in them.", SegsDetailer.OUTPUT_TOOLTIPS[1])

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        pasting = {
            "feather": whole(5, "Pixels over which a segment's edge fades into the frame.", high=100),
            "alpha": whole(255, "How opaque segments are pasted: 255 wholly.", high=255),
        }
        return {"required": {**_required(), **pasting}, "optional": _optional()}

    def run(
        self, image_frames: Tensor, segs: Any, basic_pipe: Any, feather: int = 5, alpha: int = 255, **values: Any
    ) -> tuple[Tensor, list[Any]]:
        """The frames, and what ControlNets were shown."""
        backend, options = _open(basic_pipe, values)
        image_frames = as_image(image_frames)
        shown: list[Any] = []
        film = redraw(
            image_frames,
            segs,
            backend,
            options,
            feather=feather,
            alpha=alpha,
            progress=follow(),
            seen=lambda each: shown.extend(each.control_images),
        )
        return arrays_to_image(list(film)) if len(film) else image_frames, _images(shown)


@dataclass(frozen=True)
class Schedule:
    """Noise levels for detailers, as the convention SCHEDULER_FUNC calls them.

    Attributes:
        scheduler: One of the library's schedules.
    """

    scheduler: str

    def __call__(self, model: Any, sampler_name: str, steps: int) -> Tensor:
        """The levels of a sampler's steps on a MODEL, from high to low, then 0."""
        import torch

        return torch.from_numpy(make_schedule(read_table(model), sampler_name, self.scheduler, steps))


class MakeSchedule:
    """Noise levels for a detailer."""

    CATEGORY = "Maskwright"
    DESCRIPTION = "Spaces the noise levels of a detailer's steps: ComfyUI's schedules, Align Your Steps, and GITS."
    FUNCTION = "run"
    RETURN_TYPES = ("SCHEDULER_FUNC",)
    RETURN_NAMES = ("schedule",)
    OUTPUT_TOOLTIPS = ("The schedule, for `scheduler_func_opt`.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        names = [name for name in SCHEDULERS if not name.startswith("GITS")] + ["GITS"]
        coefficient = "For GITS: the higher, the more steps lie at low noise."
        return {
            "required": {
                "schedule": choice(names, "How the noise levels are spaced. AYS: Align Your Steps."),
                "coefficient": fraction(1.2, coefficient, low=0.8, high=1.5, step=0.05),
            }
        }

    def run(self, schedule: str, coefficient: float) -> tuple[Schedule]:
        """The schedule."""
        return (Schedule(f"GITS[coeff={round(coefficient, 2):g}]" if schedule == "GITS" else schedule),)
