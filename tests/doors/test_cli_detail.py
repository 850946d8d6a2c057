"""`maskwright detail`, in process, on tiny random networks."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from maskwright.cli import main  # noqa: E402
from maskwright.cli.film import read_film  # noqa: E402
from maskwright.detail import (  # noqa: E402
    DetailOptions,
    dilate_segs,
    redraw,
    save_segs,
    segs_from_film,
    track_subject,
)
from maskwright.detail.diffusers import (  # noqa: E402
    ControlNet,
    DiffusersBackend,
    load_controlnet,
    load_pipe,
    load_prompts,
    save_prompts,
    with_controls,
)
from maskwright.engines import release_engines  # noqa: E402
from tests.support.diffusion import (  # noqa: E402
    tiny_adapter,
    tiny_clip,
    tiny_controlnet,
    tiny_prompts,
    tiny_unet,
    tiny_vae,
    write_model,
)
from tests.support.toy import toy_frames  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

OPTIONS = DetailOptions(guide_size=32, steps=2, cfg=2.0, noise_mask_feather=0, context_length=8)
FLAGS = ("--guide-size", 32, "--steps", 2, "--cfg", 2, "--noise-mask-feather", 0, "--context-length", 8)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    write_model(folder / "sd", tiny_unet(), tiny_vae(), tiny_clip(190))
    write_model(folder / "refiner", tiny_unet(9), tiny_vae(), tiny_clip(190))
    tiny_adapter().save_pretrained(folder / "motion")
    tiny_controlnet().save_pretrained(folder / "net")
    save_prompts(tiny_prompts(), folder / "prompts.safetensors")
    return folder


@pytest.fixture
def film(tmp_path):
    """Three frames, numbered so that the alphabet would order them otherwise, and a mask for each."""
    frames = np.rint(toy_frames(count=3, height=80, width=96) * 255).astype(np.uint8)
    masks = np.zeros((3, 80, 96), np.uint8)
    for index, number in enumerate((2, 9, 10)):
        masks[index, 24:56, 20 + 8 * index : 52 + 8 * index] = 255
        for name, pixels in (("frames", frames), ("masks", masks)):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(pixels[index]).save(tmp_path / name / f"shot{number}.png")
    return frames, masks / np.float32(255)


@pytest.fixture
def run(capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as left:
            main(["detail", *(str(argument) for argument in arguments)])
        out, err = capsys.readouterr()
        release_engines()
        return left.value.code, out, err

    return call


def _read(folder):
    return {path.name: np.asarray(Image.open(path)) for path in sorted(folder.iterdir())}


def test_a_folder_of_frames_as_the_library_redraws_it(run, film, model, tmp_path):
    frames, masks = film
    prompts = ("--prompt", "a red face", "--negative-prompt", "blur")
    code, out, err = run(
        *(tmp_path / "frames", tmp_path / "out", "-m", model / "sd", "--masks", tmp_path / "masks", "--json"),
        *(*FLAGS, *prompts, "--motion-adapter", model / "motion", "--grow", 2, "--feather", 3, "--seed", 7),
    )
    assert code == 0, err
    pipe = load_pipe(model / "sd", prompt="a red face", negative_prompt="blur", motion_adapter=model / "motion")
    segs = dilate_segs(segs_from_film(masks), 2)
    expected = redraw(frames, segs, DiffusersBackend(pipe, device="cpu"), replace(OPTIONS, seed=7), feather=3)
    written = _read(tmp_path / "out")
    assert [*written] == ["shot10.png", "shot2.png", "shot9.png"]
    for name, frame in zip(("shot2.png", "shot9.png", "shot10.png"), expected, strict=True):
        assert np.array_equal(written[name], frame)
    assert (expected != frames).any()
    report = json.loads(out)
    assert {name: report[name] for name in ("frames", "height", "width", "device")} == {
        "frames": 3,
        "height": 80,
        "width": 96,
        "device": "cpu",
    }
    assert report["segments"][0]["label"] == "A"
    assert report["segments"][0]["seed"] == 7
    assert {path.name for path in tmp_path.iterdir()} == {"frames", "masks", "out"}


def test_embeddings_refiner_controlnets_and_tracking(run, film, model, tmp_path):
    frames, masks = film
    common = (tmp_path / "frames", "--masks", tmp_path / "masks", "-m", model / "sd", *FLAGS, "-q")
    given = ("--embeddings", model / "prompts.safetensors")
    nets = ("--controlnet", model / "net", "--control-strength", 0.5, "--control-frames", tmp_path / "frames")
    nets = (*nets, "--control-start", 0.6, "--control-end", 0.9)
    how = ("--refiner", model / "refiner", "--track", "--alpha", 200, "--tiled-vae")
    code, out, err = run(*common, tmp_path / "out", *given, *nets, *how)
    assert (code, out, err) == (0, "", "")
    prompts = load_prompts(model / "prompts.safetensors")
    pipes = [load_pipe(model / name, embeddings=prompts) for name in ("sd", "refiner")]
    control = ControlNet(load_controlnet(model / "net"), 0.5, 0.6, 0.9, frames=frames)
    segs = with_controls(track_subject(masks), control)
    expected = redraw(frames, segs, DiffusersBackend(*pipes, device="cpu", tiled=True), OPTIONS, alpha=200)
    assert np.array_equal(np.stack([*_read(tmp_path / "out").values()])[[1, 2, 0]], expected)


def test_one_picture_with_segments_from_a_file(run, film, model, tmp_path):
    frames, masks = film
    save_segs(segs_from_film(masks[:1]), tmp_path / "segs.npz")
    flags = ("-m", model / "sd", *FLAGS, "--embeddings", model / "prompts.safetensors")
    picture = tmp_path / "frames" / "shot2.png"
    code, _, err = run(picture, tmp_path / "out.png", "--masks", tmp_path / "segs.npz", *flags)
    assert code == 0, err
    assert "1 frames, 1 segments redrawn" in err
    changed = (np.asarray(Image.open(tmp_path / "out.png")) != frames[0]).any(axis=2)
    assert changed[30:50, 30:46].mean() > 0.9
    assert not changed[:18].any()
    assert not changed[:, 60:].any()


def test_an_animation_keeps_its_times(run, film, model, tmp_path):
    frames, masks = film
    images = [Image.fromarray(frame) for frame in frames]
    images[0].save(tmp_path / "in.webp", save_all=True, append_images=images[1:], duration=[40, 80, 120], lossless=True)
    Image.fromarray((masks[0] * 255).astype(np.uint8)).save(tmp_path / "mask.png")
    flags = (
        "-m",
        model / "sd",
        *FLAGS,
        "--embeddings",
        model / "prompts.safetensors",
        "--masks",
        tmp_path / "mask.png",
    )
    code, _, err = run(tmp_path / "in.webp", tmp_path / "out.webp", *flags)
    assert code == 0, err
    with Image.open(tmp_path / "out.webp") as animation:
        times = []
        for index in range(animation.n_frames):
            animation.seek(index)
            animation.load()
            times.append(animation.info["duration"])
    assert times == [40, 80, 120]
    code, _, err = run(tmp_path / "frames", tmp_path / "out.gif", *flags, "--fps", 10)
    assert code == 0, err
    with Image.open(tmp_path / "out.gif") as animation:
        assert animation.info["duration"] == 100


def test_a_clip_keeps_its_times_and_its_sound(run, film, model, tmp_path):
    """The masks come from a clip too, and say the same as pictures of them."""
    pytest.importorskip("av")
    from tests.support.clips import packet_bytes, write_clip

    frames, masks = film
    times = {"times": [0, 1, 4], "time_base": Fraction(1001, 30000)}
    write_clip(tmp_path / "in.mp4", frames, codec="libx264", pix_fmt="yuv420p", audio="aac", **times)
    write_clip(tmp_path / "masks.mkv", np.repeat((masks * 255).astype(np.uint8)[..., None], 3, 3))
    flags = ("-m", model / "sd", *FLAGS, "--embeddings", model / "prompts.safetensors", "--masks")
    code, _, err = run(tmp_path / "in.mp4", tmp_path / "out.mp4", *flags, tmp_path / "masks.mkv")
    assert code == 0, err
    code, _, err = run(tmp_path / "in.mp4", tmp_path / "out", *flags, tmp_path / "masks")
    assert code == 0, err
    pictures = np.stack([*_read(tmp_path / "out").values()])
    read = read_film(tmp_path / "out.mp4")
    assert read.frames.shape == pictures.shape
    assert np.abs(read.frames.astype(float) - pictures).mean() < 8  # a lossy codec
    assert read.clip.times == read_film(tmp_path / "in.mp4").clip.times
    assert read.durations_ms[:2] == pytest.approx([1001 / 30, 1001 / 10], abs=1)
    sound = packet_bytes(tmp_path / "in.mp4")
    assert packet_bytes(tmp_path / "out.mp4") == sound != []
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {"frames", "masks", "in.mp4", "masks.mkv", "out.mp4", "out"}
    code, _, err = run(tmp_path / "in.mp4", tmp_path / "none", *flags, tmp_path / "masks", "--max-pixels", 100)
    assert code == 2
    assert "the size of" in err and "must be at most 100 pixels, got 96 x 80 = 7680" in err  # noqa: PT018


@pytest.mark.parametrize(("source", "times"), [("frames", [0, 100, 200]), ("in.webp", [0, 40, 120])])
def test_frames_and_animations_become_a_clip(source, times, run, film, model, tmp_path):
    pytest.importorskip("av")
    images = [Image.fromarray(frame) for frame in film[0]]
    images[0].save(tmp_path / "in.webp", save_all=True, append_images=images[1:], duration=[40, 80, 120], lossless=True)
    flags = ("-m", model / "sd", *FLAGS, "--embeddings", model / "prompts.safetensors", "--masks", tmp_path / "masks")
    code, _, err = run(tmp_path / source, tmp_path / "out.webm", *flags, "--fps", 10)
    assert code == 0, err
    read = read_film(tmp_path / "out.webm")
    base = read.clip.info.time_base
    assert [round(1000 * time * base) for time in read.clip.times] == times
    assert np.abs(read.frames[..., :3].astype(float) - film[0])[:, :8].mean() < 8  # a lossy codec, off the mask


def test_a_clip_needs_pyav_before_anything_is_read(run, film, model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    code, _, err = run(tmp_path / "frames", tmp_path / "out.mp4", "-m", model / "none", "--masks", tmp_path / "masks")
    assert code == 1
    assert "PyAV is not installed" in err


def test_parts_that_are_not_there_are_not_followed(run, film, model, tmp_path):
    Image.fromarray(np.zeros((80, 96), np.uint8)).save(tmp_path / "mask.png")
    flags = ("-m", model / "sd", "--embeddings", model / "prompts.safetensors", "--masks", tmp_path / "mask.png")
    code, _, err = run(tmp_path / "frames", tmp_path / "out", *flags, "--track")
    assert code == 0
    assert "note: nothing is selected: the frames stay as they are" in err


def test_nothing_selected_is_said(run, film, model, tmp_path):
    frames, _ = film
    Image.fromarray(np.zeros((80, 96), np.uint8)).save(tmp_path / "mask.png")
    flags = ("-m", model / "sd", "--embeddings", model / "prompts.safetensors", "--masks", tmp_path / "mask.png")
    code, _, err = run(tmp_path / "frames", tmp_path / "out", *flags)
    assert code == 0
    assert "note: nothing is selected: the frames stay as they are" in err
    assert np.array_equal(_read(tmp_path / "out")["shot2.png"], frames[0])


def test_masks_from_our_own_segmenters(run, model, samples, tmp_path):
    """Her face is redrawn, and her suit is not."""
    pytest.importorskip("onnxruntime")
    flags = ("--guide-size", 64, "--max-size", 64, "--steps", 1, "--embeddings", model / "prompts.safetensors")
    photo = samples / "astronaut.jpg"
    code, _, err = run(photo, tmp_path / "out.png", "-m", model / "sd", "--mask-from", "person:face", *flags)
    assert code == 0, err
    changed = (np.asarray(Image.open(tmp_path / "out.png")) != np.asarray(Image.open(photo))).any(axis=2)
    assert changed[120:190, 190:260].mean() > 0.8
    assert not changed[400:].any()


@pytest.mark.weights
def test_masks_from_a_model_of_the_catalog(run, model, samples, tmp_path, u2netp_home):
    flags = ("--guide-size", 64, "--max-size", 64, "--steps", 1, "--embeddings", model / "prompts.safetensors")
    common = (samples / "cat.jpg", tmp_path / "out.png", "-m", model / "sd", *flags)
    code, out, err = run(*common, "--mask-from", "u2netp", "--json")
    assert code == 0, err
    assert json.loads(out)["segments"][0]["label"] == "u2netp"
    code, _, err = run(*common, "--mask-from", "u2netp:tail")
    assert code == 2
    assert "--mask-from must be with parts of no parts: leave them out, got 'tail'" in err


def _bad_count(folder):
    (folder / "masks" / "shot9.png").unlink()


def _bad_size(folder):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "masks" / "shot9.png")


def _other_frame(folder):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "frames" / "shot9.png")


def _full(folder):
    (folder / "out").mkdir()
    (folder / "out" / "mine.txt").write_text("mine")


@pytest.mark.parametrize(
    ("spoil", "flags", "message"),
    [
        (None, ["--masks", "masks", "--mask-from", "u2netp"], "one of --masks and --mask-from must be given; such as"),
        (None, [], "one of --masks and --mask-from must be given"),
        (None, ["--masks", "masks", "--prompt", "a"], "--embeddings goes without --prompt and --negative-prompt"),
        (None, ["--masks", "masks", "--control-frames", "frames"], "--control-frames must be given 0 or 0 times"),
        (None, ["--masks", "none"], "none"),
        (None, ["--masks", "masks", "--steps", "0"], "steps must be from 1 to 10000, got 0"),
        # names are checked before frames are read: the fault in these is not what is told
        (_other_frame, ["--masks", "masks", "--sampler-name", "dpm_fast"], "sampler_name must be one of euler, "),
        (_other_frame, ["--masks", "masks", "--scheduler", "krass"], "scheduler must be one of simple, "),
        (None, ["--masks", "masks", "--max-pixels", "100"], "100"),
        (None, ["--masks", "masks", "--crop-factor", "nan"], "crop_factor must be 1 or more, got nan"),
        (_bad_count, ["--masks", "masks"], "must be 1 or 3, one a frame, got 2"),
        (_bad_size, ["--masks", "masks"], "must be of one size, got several; resize them"),
        (_other_frame, ["--masks", "masks"], "must be of one size, (80, 96), got (8, 8); resize them"),
        (_full, ["--masks", "masks"], "out must be an empty folder, or a new one, got a full one"),
    ],
)
def test_bad_input_leaves_nothing_behind(spoil, flags, message, run, film, model, tmp_path, monkeypatch):
    if spoil:
        spoil(tmp_path)
    before = set(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    code, _, err = run(
        "frames", "out", "-m", model / "sd", "--embeddings", model / "prompts.safetensors", *FLAGS, *flags
    )
    assert (code, len(err.splitlines())) == (2, 1), err
    assert message in err
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("none", "out", "there is no none; check the name"),
        ("masks/shot2.png", "masks/shot2.png", "OUTPUT must be another than INPUT"),
        ("frames", "out.jpg", "format must be one of webp, png, gif, got 'jpg'"),
        ("frames", "none/out", "there is no folder none"),
        ("empty", "out", "there are no pictures in empty; name a folder of frames"),
    ],
)
def test_bad_places(source, target, message, run, film, model, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    flags = ("-m", model / "sd", "--embeddings", model / "prompts.safetensors", "--masks", "masks", *FLAGS)
    code, _, err = run(source, target, *flags)
    assert code == 2
    assert message in err


def test_a_missing_model_and_an_interrupt(run, film, model, tmp_path, monkeypatch):
    common = (tmp_path / "frames", tmp_path / "out", "--masks", tmp_path / "masks", *FLAGS)
    code, _, err = run(*common, "-m", tmp_path / "none")
    assert code == 1
    assert "there is no folder" in err

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(DiffusersBackend, "decode", stop)
    code, _, err = run(*common, "-m", model / "sd", "--embeddings", model / "prompts.safetensors")
    assert (code, err.strip()) == (130, "maskwright: interrupted")
    assert not (tmp_path / "out").exists()
