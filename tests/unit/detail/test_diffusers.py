"""Redrawing through tiny random networks of Diffusers."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from maskwright.detail import (  # noqa: E402
    DetailOptions,
    SampleJob,
    Seg,
    Segs,
    detail,
    diffusers,
    iter_detail,
    redraw,
    track_subject,
)
from maskwright.detail.diffusers import ControlNet, DiffusersBackend, Pipe, Prompts, with_controls  # noqa: E402
from maskwright.errors import DetailError, EngineFailed, OptionError, RangeError, ShapeError  # noqa: E402
from tests.support.diffusion import (  # noqa: E402
    tiny_controlnet,
    tiny_motion_unet,
    tiny_pipe,
    tiny_prompts,
    tiny_unet,
    tiny_vae,
    tiny_xl_unet,
)
from tests.support.toy import SCALE, toy_frames  # noqa: E402

OPTIONS = DetailOptions(guide_size=64, seed=1, steps=2, cfg=3.0, noise_mask_feather=0)
FRAMES = toy_frames(count=3, height=80, width=96)

pytestmark = pytest.mark.usefixtures("one_thread")


def _segs(mask=None, bbox=(24, 24, 56, 56)):
    if mask is None:
        mask = np.zeros((64, 64), np.float32)
        mask[16:48, 16:48] = 1
    return Segs((80, 96), (Seg(None, mask, 1.0, (8, 8, 72, 72), bbox, "A"),))


def _picture(backend, segs=None, **changes):
    return detail(FRAMES, segs or _segs(), backend, replace(OPTIONS, **changes))[0].cropped_image


@pytest.fixture(scope="module")
def plain():
    """A backend whose UNet sees each frame by itself."""
    return DiffusersBackend(tiny_pipe())


@pytest.fixture(scope="module")
def motion():
    """One whose UNet sees up to 8 frames as a film."""
    return DiffusersBackend(tiny_pipe(tiny_motion_unet()))


def _job(backend, mask, **changes):
    """A job over the frames' middle."""
    latents = backend.encode(FRAMES[:, 8:72, 8:72])
    options = replace(OPTIONS, **changes)
    return SampleJob(latents, mask, options.seed, options, (8, 8, 72, 72), (80, 96), (64, 64))


def _some_mask():
    mask = np.zeros((1, 64, 64), np.float32)
    mask[:, 24:, :40] = 1
    return mask


@pytest.mark.parametrize("feather", [0, 5])
@pytest.mark.parametrize("kind", ["plain", "motion"])
def test_where_the_mask_is_0_nothing_changes(kind, feather, request):
    backend = request.getfixturevalue(kind)
    job = _job(backend, _some_mask(), noise_mask_feather=feather)
    redrawn = backend.sample(job).latents
    assert np.array_equal(redrawn[:, :, :3], job.latents[:, :, :3])
    assert np.array_equal(redrawn[:, :, :, 5:], job.latents[:, :, :, 5:])
    assert np.abs(redrawn - job.latents)[:, :, 3:, :5].min() > 0


def test_pasted_only_where_the_mask_is(motion):
    film = redraw(FRAMES, _segs(), motion, OPTIONS, feather=0)
    changed = (film != FRAMES).any(axis=(0, 3))
    assert changed[24:56, 24:56].all()
    changed[24:56, 24:56] = False
    assert not changed.any()
    empty = _segs(np.zeros((64, 64), np.float32))
    assert np.array_equal(redraw(FRAMES, empty, motion, OPTIONS), FRAMES)


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "dpmpp_2m_sde", "lcm"])
def test_a_refiner_that_is_the_base_changes_nothing(sampler, motion):
    both = DiffusersBackend(tiny_pipe(tiny_motion_unet()), tiny_pipe(tiny_motion_unet()))
    changes = {"sampler_name": sampler, "steps": 3, "noise_mask_feather": 4, "refiner_ratio": 0.4}
    assert np.array_equal(_picture(both, **changes), _picture(motion, **changes))


def test_a_refiner_of_other_weights_takes_the_last_steps(plain):
    both = DiffusersBackend(tiny_pipe(), tiny_pipe(tiny_unet(seed=9)))
    alone = DiffusersBackend(tiny_pipe(tiny_unet(seed=9)))
    assert np.array_equal(_picture(both, refiner_ratio=0.0), _picture(plain))
    assert np.array_equal(_picture(both, refiner_ratio=1.0), _picture(alone))
    assert not np.array_equal(_picture(both, refiner_ratio=0.5), _picture(alone))


@pytest.mark.parametrize("kind", ["plain", "motion"])
def test_seeds_repeat(kind, request):
    backend = request.getfixturevalue(kind)
    assert np.array_equal(_picture(backend), _picture(backend))
    assert not np.array_equal(_picture(backend), _picture(backend, seed=2))


@pytest.mark.parametrize("count", [1, 4])
def test_as_many_frames_come_out(count, motion):
    frames = toy_frames(count=count, height=80, width=96)
    assert detail(frames, _segs(), motion, OPTIONS)[0].cropped_image.shape == (count, 64, 64, 3)


def test_frames_see_each_other_only_with_motion(plain, motion):
    changed = FRAMES.copy()
    changed[2] = 1 - changed[2]
    for backend, coupled in ((plain, False), (motion, True)):
        before, after = (detail(film, _segs(), backend, OPTIONS)[0].cropped_image for film in (FRAMES, changed))
        assert np.array_equal(before[:2], after[:2]) != coupled
        assert not np.array_equal(before[2], after[2])


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    height=st.integers(17, 80),
    width=st.integers(17, 96),
    guide=st.integers(8, 90),
    shape=st.sampled_from(["bbox", "crop_region"]),
)
def test_sizes_are_multiples_of_8(plain, height, width, guide, shape):
    seen = []
    encode = plain.encode
    spied = _Encoding(plain, lambda images: seen.append(images.shape) or encode(images))
    seg = Seg(
        None,
        np.ones((height, width), np.float32),
        1.0,
        (0, 0, width, height),
        (3, 2, 3 + width // 2, 2 + height // 3),
        "A",
    )
    options = replace(OPTIONS, guide_size=guide, guide_size_for=shape, max_size=96, steps=1)
    redrawn = detail(FRAMES[:1], Segs((80, 96), (seg,)), spied, options)[0]
    assert redrawn.cropped_image.shape == (1, height, width, 3)
    assert [side % 8 for side in seen[0][1:3]] == [0, 0]


class _Encoding:
    """A backend that encodes otherwise."""

    def __init__(self, backend, encode):
        self.backend, self.encode = backend, encode

    def __getattr__(self, name):
        return getattr(self.backend, name)


def test_long_films_need_windows(motion):
    frames = toy_frames(count=11, height=80, width=96)
    with pytest.raises(DetailError, match=r"at most 8, got 11; set context_length to 8"):
        detail(frames, _segs(), motion, OPTIONS)
    options = replace(OPTIONS, context_length=6, context_overlap=2)
    film = detail(frames, _segs(), motion, options)[0].cropped_image
    assert film.shape[0] == 11
    assert np.isfinite(film).all()


def test_the_size_of_batches_does_not_matter():
    ones, many = (_picture(DiffusersBackend(tiny_pipe(), batch=batch)) for batch in (1, 8))
    assert np.abs(ones - many).max() < 1e-4


@pytest.mark.parametrize(("cfg", "rows"), [(3.0, 6), (1.0, 3)])
def test_without_guidance_the_negative_prompt_is_not_asked(cfg, rows, plain):
    seen = []
    unet = plain._pipes[0].unet
    hook = unet.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
    _picture(plain, cfg=cfg, steps=1)
    hook.remove()
    assert seen == [rows]


def test_guidance_goes_away_from_the_negative_prompt(plain):
    """A network whose answer is its prompt: the guided one is that much further."""
    prompts = tiny_prompts()
    for cfg in (1.0, 2.5):
        job = _job(plain, np.ones((1, 64, 64), np.float32), cfg=cfg)
        network = plain._network(Pipe(_Saying(), tiny_vae(), prompts), job, [])
        x = torch.zeros(3, 4, 8, 8)
        noise = -network.denoise(x, 2.0, (0, 1, 2)) / 2.0
        negative, positive = prompts.negative.mean(), prompts.positive.mean()
        assert torch.allclose(noise, (negative + (positive - negative) * cfg).expand(3, 4, 8, 8), atol=1e-6)


class _Saying(torch.nn.Module):
    config = SimpleNamespace(in_channels=4, cross_attention_dim=8, addition_embed_type=None)

    def forward(self, sample, timestep, texts, added_cond_kwargs=None):
        return SimpleNamespace(sample=torch.zeros_like(sample) + texts.mean((1, 2)).reshape(-1, 1, 1, 1))


def test_progress_is_told_and_may_interrupt(plain):
    told = []
    detail(FRAMES, _segs(), plain, OPTIONS, progress=lambda done, total: told.append((done, total)))
    assert told == [(3, 8), (4, 8), (5, 8), (8, 8)]

    def stop(done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        detail(FRAMES, _segs(), plain, OPTIONS, progress=stop)
    assert np.array_equal(_picture(plain), _picture(plain))


def test_controlnets_steer_add_up_and_can_be_late(motion):
    net = tiny_controlnet()

    def steered(*controls):
        return _picture(motion, with_controls(_segs(), *controls))

    free, held = _picture(motion), steered(ControlNet(net))
    assert np.abs(held - free).max() > 0.01
    assert np.array_equal(steered(ControlNet(net, strength=0)), free)
    assert np.array_equal(steered(ControlNet(net, end=0.1)), free)  # half the noise: the walk begins later
    assert not np.array_equal(steered(ControlNet(net, start=0.8)), held)
    assert not np.array_equal(steered(ControlNet(net), ControlNet(tiny_controlnet(5))), held)
    assert not np.array_equal(steered(ControlNet(net, frames=FRAMES[:1])), held)


@pytest.mark.parametrize("kind", ["plain", "motion"])
@pytest.mark.parametrize("follows", [False, True])
def test_a_controlnet_is_shown_the_same_place(kind, follows, request):
    """The whole frames as its pictures are the crops themselves, wherever those lie."""
    backend = request.getfixturevalue(kind)
    segs = _segs()
    if follows:
        masks = np.zeros((3, 80, 96), np.float32)
        for frame in range(3):
            masks[frame, 30:60, 10 + 15 * frame : 40 + 15 * frame] = 1
        segs = track_subject(masks, smoothing=0)
        assert len(set(segs[0].follow.regions)) == 3
    net = tiny_controlnet()
    images = []
    for frames in (None, FRAMES):
        done = [*iter_detail(FRAMES, with_controls(segs, ControlNet(net, frames=frames)), backend, OPTIONS)]
        images.append((done[0].seg.cropped_image, done[0].control_images[0]))
        assert done[0].seg.control_net_wrapper is None
    assert np.array_equal(images[0][0], images[1][0])
    assert np.array_equal(images[0][1], images[1][1])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"strength": float("nan")}, "strength of a ControlNet must be a number, got nan; usual: 1"),
        ({"start": 0.6, "end": 0.4}, "start and end of a ControlNet must be from 0 to 1, in order, got 0.6, 0.4"),
        ({"end": 1.5}, "start and end of a ControlNet must be from 0 to 1, in order, got 0, 1.5"),
    ],
)
def test_a_controlnets_numbers_are_checked(wrong, message):
    with pytest.raises(RangeError, match=message):
        ControlNet(None, **wrong)


def test_tiles_are_for_large_pictures_alone(plain, monkeypatch):
    whole = _picture(plain)
    assert np.array_equal(_picture(DiffusersBackend(tiny_pipe(), tiled=True)), whole)
    monkeypatch.setattr(diffusers, "_TILE", 32)
    tiled = _picture(DiffusersBackend(tiny_pipe(), tiled=True))
    assert 0 < np.abs(tiled - whole).mean() < 0.2


def test_a_controlnets_pictures_must_fit_the_film(plain):
    segs = with_controls(_segs(), ControlNet(tiny_controlnet(), frames=FRAMES[:2]))
    with pytest.raises(ShapeError, match=r"frames of a ControlNet must be 1 or 3, got 2"):
        detail(FRAMES, segs, plain, OPTIONS)


@pytest.mark.parametrize(("numbers", "told"), [(6, [128, 128, 0, 0, 128, 128]), (5, [128, 128, 0, 0, 2.5])])
def test_sdxl_is_told_the_size_or_a_score(numbers, told):
    unet = tiny_xl_unet(numbers=numbers)
    seen = []
    unet.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["added_cond_kwargs"]), with_kwargs=True
    )
    prompts = tiny_prompts(pooled=4)
    picture = _picture(DiffusersBackend(tiny_pipe(unet, prompts)), steps=1)
    assert np.isfinite(picture).all()
    assert seen[0]["time_ids"][0].tolist() == told
    assert torch.equal(seen[0]["text_embeds"][0], prompts.pooled_negative[0])
    assert torch.equal(seen[0]["text_embeds"][-1], prompts.pooled_positive[0])


def test_half_precision_is_near():
    full, half = (_picture(DiffusersBackend(tiny_pipe(), device="cpu", half=half)) for half in (None, True))
    assert 0 < np.abs(full - half).max() < 0.05


def test_closed_gives_the_networks_back(plain):
    with DiffusersBackend(tiny_pipe()) as backend:
        unet = weakref.ref(backend._pipes[0].unet)
    gc.collect()
    assert unet() is None
    for call in (backend.encode, backend.decode, lambda value: _picture(backend)):
        with pytest.raises(DetailError, match="the backend is closed; open another one"):
            call(np.zeros((1, 64, 64, 3), np.float32))


def test_a_network_that_stops_says_where(plain, monkeypatch):
    def refuse(*args, **kwargs):
        raise torch.OutOfMemoryError("out of memory\nat length")

    monkeypatch.setattr(plain._vae, "encode", refuse)
    with pytest.raises(EngineFailed, match=r"the network stopped on cpu \(out of memory\); try a smaller max_size"):
        plain.encode(np.zeros((1, 8, 8, 3), np.float32))


def test_samplers_that_are_not_here_are_refused_with_those_that_are(plain):
    with pytest.raises(OptionError, match=r"sampler_name must be one of euler, .+, got 'dpm_adaptive'"):
        _picture(plain, sampler_name="dpm_adaptive")


class _ToyUnet(torch.nn.Module):
    """The formula of the pictures that were kept, as a UNet of Diffusers."""

    config = SimpleNamespace(in_channels=4, cross_attention_dim=1, addition_embed_type=None)

    def forward(self, sample, timestep, texts, added_cond_kwargs=None):
        wave = 0.2 * torch.sin(torch.tensor(timestep / 200.0))
        prompt = texts.reshape(-1, 1, 1, 1)
        return SimpleNamespace(sample=0.30 * sample + 0.10 * sample.mean(0, keepdim=True) + wave + 0.5 * prompt)


class _ToyVae(torch.nn.Module):
    config = SimpleNamespace(block_out_channels=(1, 1, 1, 1), scaling_factor=SCALE)

    def encode(self, x):
        cells = torch.nn.functional.avg_pool2d(x, 8)
        latents = torch.cat([cells, cells.mean(1, keepdim=True)], 1) / SCALE
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: latents))

    def decode(self, latents):
        x = latents[:, :3] * SCALE
        return SimpleNamespace(sample=torch.nn.functional.interpolate(x, scale_factor=8, mode="nearest"))


@pytest.mark.parametrize("case", ["A", "B", "U"])
def test_the_originals_pictures_exactly(case, shared):
    """The toy network as a UNet and VAE of Diffusers gives the pictures that the original node gave with it."""
    golden = np.load(shared / "golden" / "detailer_open.npz")[case]
    prompts = Prompts(torch.full((1, 1, 1), 0.4), torch.full((1, 1, 1), -0.2))
    backend = DiffusersBackend(Pipe(_ToyUnet(), _ToyVae(), prompts))
    mask = np.zeros((64, 64), np.float32)
    mask[16:48, 16:48] = 1
    mask = np.ones_like(mask) if case == "U" else mask
    segs = Segs((96, 128), (Seg(None, mask, 1.0, (32, 16, 96, 80), (48, 32, 80, 64), "A"),))
    feather = 5 if case == "B" else 0
    options = DetailOptions(
        guide_size=96, seed=1, steps=4, cfg=3.0, scheduler="normal", noise_mask_feather=feather, compat=True
    )
    picture = detail(toy_frames(), segs, backend, options)[0].cropped_image
    assert np.array_equal(np.rint(picture * 255).astype(np.uint8), golden)
