"""The seam between the detailer and what redraws: the protocol, and a fake that gives back what it got.

Arrays that cross it are NumPy's, so that neither side knows the other's framework; `torch.from_numpy` copies nothing.
Everything that belongs to a model (its prompts, its VAE, a schedule of its own) lies inside the backend. What belongs
to a segment and means nothing here, such as its ControlNets, is handed through as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ..types import AnyArray, BBox, FloatArray
from .options import DetailOptions

__all__ = ["DetailBackend", "EchoBackend", "SampleJob", "Sampled"]


def _ignore(done: int) -> None:
    """What is done with progress that nobody asked for."""


@dataclass(frozen=True, eq=False)
class SampleJob:
    """All that is known when one segment is sampled.

    Attributes:
        latents: (F, C, h, w) float32, what `encode` gave.
        mask: (1, H, W) or (F, H, W) float32 in [0, 1] over the encoded pictures, 1 = redraw; feathered. Bring it to
            the latents' size bilinearly.
        seed: Of the noise.
        options: Steps, sampler, schedule, guidance and the rest.
        crop_region: Where the segment lies in the frame; crop masks of prompts by it (`crop_condition_mask`).
        frame_hw: Height and width of the frame.
        crop_hw: Height and width of the crop before it was resized.
        control: The segment's `control_net_wrapper`, as it came.
        control_frames: (F, H, W, 3) float32 in [0, 1] for the ControlNets; None where there is no `control`.
        control_mask: (n, h, w) float32 at the crop's own size; None where there is no `control`.
        regions: Where a segment that follows its subject lies in each frame; None where it stands still.
        on_step: Call it with the number of steps done, between steps; it raises to interrupt.
    """

    latents: FloatArray
    mask: FloatArray
    seed: int
    options: DetailOptions
    crop_region: BBox
    frame_hw: tuple[int, int]
    crop_hw: tuple[int, int]
    control: Any = None
    control_frames: FloatArray | None = None
    control_mask: FloatArray | None = None
    regions: tuple[BBox, ...] | None = None
    on_step: Callable[[int], None] = _ignore


@dataclass(frozen=True, eq=False)
class Sampled:
    """What a backend made of a job.

    Attributes:
        latents: (F, C, h, w) float32, as `encode` gives them.
        control_images: The pictures that ControlNets were shown, in the order of their chain.
    """

    latents: FloatArray
    control_images: tuple[AnyArray, ...] = ()


class DetailBackend(Protocol):
    """What redraws."""

    @property
    def multiple(self) -> int:
        """Pixels per latent cell: pictures to encode have sides that are multiples of it."""

    def encode(self, images: FloatArray) -> FloatArray:
        """(n, C, h, w) float32 latents of (n, H, W, 3) float32 pictures in [0, 1], before any scale of the model."""

    def sample(self, job: SampleJob) -> Sampled:
        """The latents redrawn. The first axis is time for a model that knows time."""

    def decode(self, latents: FloatArray) -> FloatArray:
        """(n, H, W, 3) float32 pictures in [0, 1] of (n, C, h, w) latents."""


class EchoBackend:
    """A backend that gives back what it got, without weights: cells become channels and channels cells again.

    Attributes:
        multiple: Pixels per latent cell.
        jobs: Every job it was given, if they are recorded; that keeps their arrays.
    """

    def __init__(self, multiple: int = 8, *, record: bool = False) -> None:
        self.multiple = multiple
        self.record = record
        self.jobs: list[SampleJob] = []

    def encode(self, images: FloatArray) -> FloatArray:
        """Each cell's pixels, as channels."""
        count, height, width, _ = images.shape
        cell = self.multiple
        cells = images.reshape(count, height // cell, cell, width // cell, cell, 3)
        channels = cells.transpose(0, 2, 4, 5, 1, 3)
        latents: FloatArray = channels.reshape(count, cell * cell * 3, height // cell, width // cell)
        return latents

    def sample(self, job: SampleJob) -> Sampled:
        """The same latents, after all steps were reported."""
        if self.record:
            self.jobs.append(job)
        for step in range(job.options.steps):
            job.on_step(step + 1)
        images = () if job.control_frames is None else (job.control_frames,)
        return Sampled(job.latents, images)

    def decode(self, latents: FloatArray) -> FloatArray:
        """The pictures that `encode` took apart."""
        count, _, height, width = latents.shape
        cell = self.multiple
        cells = latents.reshape(count, cell, cell, 3, height, width)
        images: FloatArray = cells.transpose(0, 4, 1, 5, 2, 3).reshape(count, height * cell, width * cell, 3)
        return images
