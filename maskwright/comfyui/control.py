"""What the SEGS convention calls a `control_net_wrapper`: ControlNets and IPAdapters on segments, of all packs."""

from __future__ import annotations

import copy
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..detail.resample import as_frames, resize_frames
from ..errors import EngineUnavailable, ShapeError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SegControlNet", "find_advanced_controlnet", "fit_chain", "knows_advanced"]

_ADVANCED = "ACN_AdvancedControlNetApply"  # the node of Advanced-ControlNet


@dataclass(eq=False)
class SegControlNet:
    """A ControlNet on a segment, with the names that detailers of all packs call.

    Attributes:
        control_net: ComfyUI's.
        strength: 0 nothing, 1 as trained.
        start_percent: Share of the noise after which it begins.
        end_percent: Share of the noise after which it ends.
        vae: For ControlNets that look at latents.
        preprocessor: Makes the picture to be shown; None: the frames themselves.
        control_image: (1 or F, h, w, 3) float32 in [0, 1], the crop of a picture of the user's own; None: none.
        prev_control_net: What the segment had before; it is applied first.
    """

    control_net: Any
    strength: float
    start_percent: float = 0.0
    end_percent: float = 1.0
    vae: Any = None
    preprocessor: Any = None
    control_image: Any = None
    prev_control_net: Any = None

    def apply(
        self, positive: Any, negative: Any, image: Tensor, mask: Any = None, use_acn: bool = False
    ) -> tuple[Any, Any, list[Any]]:
        """The prompts with the ControlNets of the chain, and what each is shown.

        Args:
            positive: ComfyUI's conditioning.
            negative: The same.
            image: (F, H, W, 3) float32 in [0, 1]: the crop, at the size that is redrawn.
            mask: (n, h, w), for the preprocessor.
            use_acn: Whether Advanced-ControlNet applies it, frame by frame; else ComfyUI's own node, whose batch the
                frames are too.

        Raises:
            EngineUnavailable: Advanced-ControlNet is asked for and not there.
            ShapeError: As many pictures as neither 1 nor the frames.
        """
        earlier: list[Any] = []
        before = self.prev_control_net
        if before is not None:
            asked = use_acn and knows_advanced(before)
            positive, negative, earlier = before.apply(positive, negative, image, mask, use_acn=asked)
        shown = self._shown(image, mask)
        node, vae = _find_node(use_acn)
        both = _apply_node(
            node,
            positive=positive,
            negative=negative,
            control_net=self.control_net,
            image=shown,
            strength=self.strength,
            start_percent=self.start_percent,
            end_percent=self.end_percent,
            **({} if self.vae is None else {vae: self.vae}),
        )
        return both[0], both[1], [*earlier, shown]

    def doit_ipadapter(self, model: Any) -> tuple[Any, list[Any]]:
        """The model with the IPAdapters of the chain, and what those are shown."""
        adapt = getattr(self.prev_control_net, "doit_ipadapter", None)
        adapted: tuple[Any, list[Any]] = (model, []) if adapt is None else adapt(model)
        return adapted

    def _shown(self, image: Tensor, mask: Any) -> Tensor:
        """(1 or F, H, W, 3), of the size of the frames."""
        import torch

        own = self.control_image
        if own is None:
            own = image if self.preprocessor is None else self.preprocessor.apply(image, mask)
        pictures = as_frames(own, "control_image")
        if len(pictures) not in (1, len(image)):
            expected = f"1 or {len(image)} pictures"
            raise ShapeError("control_image", expected=expected, got=str(len(pictures)), hint="give one a frame")
        resized = resize_frames(pictures[..., :3], (image.shape[1], image.shape[2]))
        return torch.from_numpy(resized)


def find_advanced_controlnet() -> Any:
    """The node of the pack Advanced-ControlNet; None where it is not loaded."""
    return getattr(sys.modules.get("nodes"), "NODE_CLASS_MAPPINGS", {}).get(_ADVANCED)


def _find_node(advanced: bool) -> tuple[Any, str]:
    """The node that applies a ControlNet, and the name of its input for a VAE."""
    if not advanced:
        return sys.modules["nodes"].ControlNetApplyAdvanced, "vae"
    node = find_advanced_controlnet()
    if node is None:
        raise EngineUnavailable("the pack Advanced-ControlNet is not loaded", hint="install it, or turn compat off")
    return node, "vae_optional"


def _apply_node(node: Any, **inputs: Any) -> Any:
    """What a node gives for a ControlNet, in the form nodes had and in that of ComfyUI's newer interface."""
    apply = node().apply_controlnet if hasattr(node, "apply_controlnet") else node.execute
    return apply(**inputs)


def knows_advanced(wrapper: Any) -> bool:
    """Whether a wrapper can ask for Advanced-ControlNet: other packs' know its node in the older form alone."""
    node = find_advanced_controlnet()
    return node is None or isinstance(wrapper, SegControlNet) or hasattr(node, "apply_controlnet")


@dataclass(eq=False)
class _Link:
    """A wrapper in a chain, asked for itself which node applies it: those of other packs do not all pass that on.

    Attributes:
        wrapper: Of this or of another pack.
    """

    wrapper: Any

    def apply(
        self, positive: Any, negative: Any, image: Tensor, mask: Any = None, use_acn: bool = False
    ) -> tuple[Any, Any, list[Any]]:
        """As the wrapper's."""
        del use_acn
        advanced = find_advanced_controlnet() is not None and knows_advanced(self.wrapper)
        applied: tuple[Any, Any, list[Any]] = self.wrapper.apply(positive, negative, image, mask, use_acn=advanced)
        return applied

    def doit_ipadapter(self, model: Any) -> tuple[Any, list[Any]]:
        """As the wrapper's, where it has any."""
        adapt = getattr(self.wrapper, "doit_ipadapter", None)
        adapted: tuple[Any, list[Any]] = (model, []) if adapt is None else adapt(model)
        return adapted


def fit_chain(wrapper: Any, size_hw: tuple[int, int]) -> _Link:
    """The same chain, its own pictures brought to the size that is redrawn; what was given stays as it was.

    Args:
        wrapper: The last of the chain.
        size_hw: The size.
    """
    import torch

    fitted = copy.copy(wrapper)
    earlier = getattr(wrapper, "prev_control_net", None)
    fitted.prev_control_net = None if earlier is None else fit_chain(earlier, size_hw)
    image = getattr(wrapper, "control_image", None)
    if image is not None:
        fitted.control_image = torch.from_numpy(resize_frames(as_frames(image, "control_image"), size_hw))
    return _Link(fitted)
