"""Redraw a face across the frames of a film with Stable Diffusion and AnimateDiff, on tiny random networks.

    python examples/redraw_tiny.py [FOLDER]

Nothing is fetched: the networks have the layout of the real ones and a few thousand random numbers, so the face becomes
a coloured blur. With a real model in their place it becomes a face. Needs `pip install "maskwright[cpu,detail]"`.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, MotionAdapter, UNet2DConditionModel
from PIL import Image

import maskwright as mw
from maskwright.detail import DetailOptions, redraw, track_subject
from maskwright.detail.diffusers import DiffusersBackend, Prompts, load_pipe, load_prompts, save_prompts

folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("out")
folder.mkdir(parents=True, exist_ok=True)


def write_networks(place: Path) -> None:
    """A folder as Diffusers writes it, with motion modules and encoded prompts beside it."""
    torch.manual_seed(0)
    blocks = {"block_out_channels": (8, 8), "norm_num_groups": 4, "layers_per_block": 1}
    unet = UNet2DConditionModel(
        **blocks,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=2,
    )
    vae = AutoencoderKL(
        block_out_channels=(4, 4, 4, 4),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=2,
        latent_channels=4,
    )
    motion = MotionAdapter(
        block_out_channels=(8, 8), motion_layers_per_block=1, motion_num_attention_heads=2, motion_norm_num_groups=4
    )
    unet.save_pretrained(place / "model" / "unet")
    vae.save_pretrained(place / "model" / "vae")
    motion.save_pretrained(place / "motion")
    save_prompts(Prompts(torch.randn(1, 4, 8), torch.randn(1, 4, 8)), place / "prompts.safetensors")


# A film: the photo, seen through a window that moves to the left.
photo = mw.imageio.load_image(Path(__file__).parent / "astronaut.jpg").image
frames = np.stack([photo[:320, 160 - 24 * step : 480 - 24 * step] for step in range(6)])

# The face in each frame, and a crop that follows it.
with mw.person.open_person() as segmenter:
    masks = np.stack([segmenter(frame).mask for frame in frames])
segs = track_subject(masks)

write_networks(folder / "networks")
options = DetailOptions(guide_size=128, max_size=128, steps=2, cfg=4, context_length=4, context_overlap=2)
prompts = load_prompts(folder / "networks" / "prompts.safetensors")
for name, motion in (("plain", None), ("film", folder / "networks" / "motion")):
    pipe = load_pipe(folder / "networks" / "model", embeddings=prompts, motion_adapter=motion)
    with DiffusersBackend(pipe) as backend:
        redrawn = redraw(frames, segs, backend, options)
    for step, frame in enumerate(redrawn):
        Image.fromarray(frame).save(folder / f"{name}-{step}.png")
    share = (redrawn != frames).any(axis=3).mean()
    print(f"{name}: {len(redrawn)} frames, {share:.1%} of their pixels redrawn, by {type(pipe.unet).__name__}")
