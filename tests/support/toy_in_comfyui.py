"""The closed-form network in ComfyUI's own wrapping. Import it where ComfyUI is importable."""

from __future__ import annotations

import comfy.model_base
import comfy.model_patcher
import comfy.supported_models
import torch


class ToyUNet(torch.nn.Module):
    """The network of the goldens: see `tests.support.toy`."""

    dtype = torch.float32

    def forward(self, x, timesteps, context=None, **_):
        prompt = context.mean(dim=(1, 2)).reshape(-1, 1, 1, 1)
        wave = 0.2 * torch.sin(timesteps / 200.0).reshape(-1, 1, 1, 1)
        return 0.30 * x + 0.10 * x.mean(0, keepdim=True) + wave + 0.5 * prompt


def make_toy_model():
    """The network as a MODEL, with its prompts: (model, positive, negative)."""
    config = comfy.supported_models.SD15({"disable_unet_model_creation": True})
    model = comfy.model_base.BaseModel(config)
    model.diffusion_model = ToyUNet()
    device = torch.device("cpu")
    patcher = comfy.model_patcher.ModelPatcher(model, load_device=device, offload_device=device)
    return patcher, [[torch.full((1, 1, 4), 0.4), {}]], [[torch.full((1, 1, 4), -0.2), {}]]
