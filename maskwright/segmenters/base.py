"""What all segmenters share: picture to input, engine, output back to the picture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType

import numpy as np

from ..engines.base import Engine, Metadata
from ..errors import EngineFailed, ShapeError
from ..geometry import Placement, fit_placement, place
from ..imageio import ImageSource, load_image
from ..models.card import Activation, Fit, ModelCard, Postprocess, Preprocess, Recipe
from ..types import AnyArray, FloatArray, Provenance, SegmentResult, to_8_bit

__all__ = ["Prepared", "Segmenter", "activate"]

_GRAY = 128
_ROWS = 16  # rows of all channels that stay in the processor's cache together
_BATCH = 8  # pictures that go through a network with a free batch size at once


@dataclass(frozen=True, eq=False)
class Prepared:
    """A picture on its way through a network.

    Attributes:
        tensor: (3, h, w) float32, scaled as the recipe says.
        placement: Where the picture lies in it.
    """

    tensor: FloatArray
    placement: Placement


class Segmenter(ABC):
    """A model that is ready to say what is selected in a picture.

    It holds no state of a picture: it may be shared between threads. Use it as a context manager, or call `close`.

    Args:
        card: The catalog row.
        engine: The network.
        provenance: What to write into results.
        compat: Use the original program's numbers instead of the training repository's; or those of the program named.
    """

    def __init__(self, card: ModelCard, engine: Engine, provenance: Provenance, *, compat: bool | str = False) -> None:
        recipe = card.choose_recipe(compat)
        if recipe.from_file:
            recipe = _as_the_file_says(recipe, getattr(engine, "metadata", None) or Metadata())
        self.card = card
        self.engine = engine
        self.provenance = provenance
        self.compat = bool(compat)
        self.recipe = recipe
        self.post: Postprocess = recipe.post
        self.pre: Preprocess = _fit_to_engine(recipe.pre, engine)

    def __call__(self, source: ImageSource) -> SegmentResult:
        """What is selected in one picture.

        Args:
            source: A path, bytes, a PIL image, or an array (uint8, uint16 or float in [0, 1]; (H, W), (H, W, 1),
                (H, W, 3) or (H, W, 4)).

        Raises:
            InputError, MediaError: It is not a picture.
            EngineFailed: The network stopped.
        """
        return self.segment(self.view(source))

    def batch(self, sources: Iterable[ImageSource]) -> list[SegmentResult]:
        """The same for many pictures, several at once where the network allows it."""
        return [result for group in self._groups(sources) for result in self._run(group)]

    def segment(self, image: AnyArray) -> SegmentResult:
        """What is selected: the strict entry.

        Args:
            image: (H, W, 3) uint8 RGB.

        Raises:
            ShapeError: Another array.
            EngineFailed: The network stopped.
        """
        return self._run([self.prepare(image)])[0]

    def prepare(self, image: AnyArray) -> Prepared:
        """The network's input for one picture.

        Args:
            image: (H, W, 3) uint8 RGB.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise ShapeError("image", expected="(H, W, 3) uint8", got=f"{image.shape} {image.dtype}")
        height, width = image.shape[:2]
        placement = fit_placement((height, width), self.pre.size_hw, self.pre.fit)
        placed = place(image, placement, self.pre.kernel)  # (h, w, 3)
        limit = max(float(placed.max()), 1e-6) if self.pre.scale == "max" else 255
        if placed.dtype == np.uint8:  # 256 values need scaling, not all pixels
            tables = self._scaled(np.repeat(np.arange(256)[:, np.newaxis], 3, axis=1), limit).T.copy()  # (3, 256)
            tensor = np.empty((3, *placed.shape[:2]), np.float32)
            for channel, table in enumerate(tables):
                table.take(placed[..., channel], out=tensor[channel], mode="clip")  # clip: without a second copy
        else:
            tensor = np.ascontiguousarray(self._scaled(placed, limit).transpose(2, 0, 1))  # (3, h, w)
        return Prepared(tensor, placement)

    def _scaled(self, levels: AnyArray, limit: float) -> FloatArray:
        """(…, 3) float32, computed in float64: the originals do so, and compat answers for the last bit."""
        scaled: FloatArray = ((levels / limit - np.array(self.pre.mean)) / np.array(self.pre.std)).astype(np.float32)
        return scaled

    @abstractmethod
    def finish(self, output: AnyArray, placement: Placement) -> SegmentResult:
        """What one picture's network output means.

        Args:
            output: (C, h, w) float32, the output the recipe names.
            placement: Where the picture lay in the input.
        """

    def close(self) -> None:  # noqa: B027 - a place for families that own more than a shared engine
        """Nothing to give back here: engines are shared, see `engines.release_engines`."""

    def __enter__(self) -> Segmenter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def view(self, source: ImageSource) -> AnyArray:
        """The picture as the network sees it: (H, W, 3) uint8.

        What is hidden under a transparent pixel is arbitrary, so such pixels are made middle gray, in which neither
        a white nor a black subject drowns. The originals show what was hidden, and so does `compat`.
        """
        loaded = load_image(source)
        image = to_8_bit(loaded.image)
        if loaded.alpha is None or self.compat:
            return image
        opacity = (to_8_bit(loaded.alpha) / np.float32(255))[..., np.newaxis]  # (H, W, 1)
        shown: AnyArray = np.round(image * opacity + _GRAY * (1 - opacity)).astype(np.uint8)
        return shown

    def _groups(self, sources: Iterable[ImageSource]) -> Iterator[list[Prepared]]:
        """Prepared pictures in their order, grouped as far as shapes and the network allow."""
        limit = self.engine.input_shape[0] or _BATCH
        group: list[Prepared] = []
        for source in sources:
            prepared = self.prepare(self.view(source))
            if group and (len(group) == limit or prepared.tensor.shape != group[0].tensor.shape):
                yield group
                group = []
            group.append(prepared)
        if group:
            yield group

    def _run(self, group: Sequence[Prepared]) -> list[SegmentResult]:
        outputs = self.compute(group)
        return [self.finish(output, prepared.placement) for output, prepared in zip(outputs, group, strict=True)]

    def compute(self, group: Sequence[Prepared]) -> AnyArray:
        """(N, C, h, w): the output the recipe names, for each picture of the group; `finish` says what it means.

        Args:
            group: Prepared pictures with tensors of one shape.

        Raises:
            EngineFailed: The network stopped, or gave something that is no map.
        """
        fixed = self.engine.input_shape[0]
        tensors = [prepared.tensor for prepared in group]
        if fixed:
            tensors += [tensors[-1]] * (fixed - len(tensors))  # a graph with a fixed batch takes no smaller one
        output = self.engine.run(np.stack(tensors), (self.post.output,))[0]  # (N, C, h, w)
        if output.ndim == 3:
            output = output[:, np.newaxis]  # (N, h, w) -> (N, 1, h, w)
        if output.ndim != 4 or len(output) < len(group):
            raise EngineFailed(
                f"output {self.post.output} of {self.card.name}",
                expected="(N, C, h, w)",
                got=str(output.shape),
                hint="these weights are not of this model's family",
            )
        if not np.isfinite(output).all():
            raise EngineFailed(
                f"output {self.post.output} of {self.card.name}",
                expected="finite numbers",
                got="NaN or infinity",
                hint="try --device cpu, or fetch the weights again",
            )
        return output[: len(group)]


def activate(output: AnyArray, activation: Activation) -> AnyArray:
    """Probabilities from what a network gives.

    Args:
        output: (C, h, w) float32.
        activation: What is still to be applied; `softmax` is over the channels.
    """
    if activation == "sigmoid":
        squashed: AnyArray = 0.5 * (1 + np.tanh(output / 2))  # without overflow
        return squashed
    if activation == "softmax":
        raised: AnyArray = np.empty_like(output)
        for start in range(0, output.shape[1], _ROWS):
            block, target = output[:, start : start + _ROWS], raised[:, start : start + _ROWS]
            np.subtract(block, block.max(axis=0), out=target)
            np.exp(target, out=target)
            target /= target.sum(axis=0)
        return raised
    return output


def _as_the_file_says(recipe: Recipe, metadata: Metadata) -> Recipe:
    """The recipe with what the weights file states of itself; its numbers count from 0 to 255."""
    pre, post = recipe.pre, recipe.post
    if metadata.mean is not None and metadata.std is not None:
        pre = replace(pre, mean=_from_levels(metadata.mean), std=_from_levels(metadata.std))
    if metadata.activation is not None:
        post = replace(post, activation=metadata.activation)
    return replace(recipe, pre=pre, post=post)


def _from_levels(values: tuple[float, float, float]) -> tuple[float, float, float]:
    red, green, blue = values
    return red / 255, green / 255, blue / 255


def _fit_to_engine(pre: Preprocess, engine: Engine) -> Preprocess:
    """The recipe with the input size the graph insists on; a custom export may have another than the catalog's."""
    _, channels, height, width = engine.input_shape
    if channels not in (None, 3):
        raise EngineFailed(
            "network input",
            expected="3 channels",
            got=str(channels),
            hint="this network does not take an RGB picture",
        )
    if not height or not width:
        return pre
    fit: Fit = "letterbox" if pre.fit == "letterbox" else "stretch"
    return replace(pre, size_hw=(height, width), fit=fit)
