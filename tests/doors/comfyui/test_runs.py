"""The nodes at work: real weights of u2netp, small networks where others cannot be had."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

import maskwright as mw
from maskwright.anime import AnimeSegmenter, color_labels, open_anime
from maskwright.comfyui import anime_nodes
from maskwright.comfyui.nodes import NODE_CLASS_MAPPINGS
from maskwright.engines import FakeEngine, release_engines
from maskwright.errors import (
    EngineUnavailable,
    Error,
    HashMismatch,
    LicenseNotAccepted,
    OptionError,
    RangeError,
    ShapeError,
    WeightsMissing,
)
from maskwright.models.importing import import_weights
from maskwright.models.store import Store, default_store
from maskwright.networks import U2NET
from maskwright.person import PersonOptions, open_person
from maskwright.segmenters import open_segmenter
from tests.doors.comfyui.conftest import Interrupted
from tests.support.card import put_card
from tests.support.exports import quantize, randomize, write_old_export
from tests.support.networks import write_checkpoint

NUMBERS = (240, 20, 10)
OFF = ("false", *NUMBERS, "false")


def open_node(node_id):
    """The node's function."""
    node = NODE_CLASS_MAPPINGS[node_id]()
    return getattr(node, node.FUNCTION)


def to_image(*pictures):
    return torch.from_numpy(np.stack(pictures).astype(np.float32) / np.float32(255))


def to_bytes(image):
    return (image * 255).round().to(torch.uint8).numpy()


@pytest.fixture(scope="module")
def photo(samples):
    return mw.imageio.load_image(samples / "astronaut.jpg").image[::2, ::2].copy()


class _Brightness(torch.nn.Module):
    """A network of IS-Net's signature: what is bright is selected."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(4.0))

    def forward(self, x):
        return [torch.sigmoid(self.scale * x.mean(dim=1, keepdim=True)), x], None


@pytest.mark.usefixtures("u2netp_home")
class TestImageSegmentation:
    @pytest.mark.parametrize(
        ("inputs", "options"),
        [
            (OFF, {}),
            (("false", *NUMBERS, "true"), {"post_process_mask": True}),
            (
                ("true", *NUMBERS, "false"),
                {
                    "alpha_matting": True,
                    "alpha_matting_foreground_threshold": 240,
                    "alpha_matting_background_threshold": 20,
                    "alpha_matting_erode_size": 10,
                },
            ),
            ((*OFF, True), {"compat": True}),
            (("true", *NUMBERS, "false", False, "auto"), {"alpha_matting": True}),
        ],
    )
    def test_the_same_bytes_as_the_library(self, photo, inputs, options):
        image, alpha, *_ = open_node("ImageSegmentation")(to_image(photo), "u2netp", *inputs)
        cutout = mw.cutout(photo, model="u2netp", options=mw.CutoutOptions(**options))
        assert np.array_equal(to_bytes(image[0]), cutout.rgba)
        assert np.array_equal(alpha[0].numpy(), cutout.alpha)

    def test_a_batch_is_its_pictures_one_by_one(self, photo):
        run = open_node("ImageSegmentation")
        image, alpha, *_ = run(to_image(photo, photo[::-1]), "u2netp", *OFF)
        second, other, *_ = run(to_image(photo[::-1]), "u2netp", *OFF)
        assert torch.equal(image[1], second[0])
        assert torch.equal(alpha[1], other[0])

    @pytest.mark.parametrize(
        ("count", "channels", "size_hw"),
        [(0, 3, (17, 31)), (0, 4, (1, 1)), (1, 1, (17, 31)), (1, 2, (1, 1)), (1, 3, (3, 200)), (7, 4, (17, 31))],
    )
    def test_any_number_of_pictures_of_any_size_and_channels(self, count, channels, size_hw):
        image, *masks = open_node("ImageSegmentation")(torch.rand(count, *size_hw, channels), "u2netp", *OFF)
        assert image.shape == (count, *size_hw, 4)
        assert all(mask.shape == (count, *size_hw) for mask in masks)
        assert image.dtype == masks[0].dtype == torch.float32
        assert image.isfinite().all()

    def test_what_is_transparent_stays_so(self, photo):
        alpha = np.zeros((*photo.shape[:2], 1), np.uint8)
        alpha[:, :100] = 255
        image, mask, *_ = open_node("ImageSegmentation")(to_image(np.dstack([photo, alpha])), "u2netp", *OFF)
        assert not image[0, :, 100:].any()
        assert not mask[0, :, 100:].any()
        assert mask[0, :, :100].any()

    def test_garments_are_empty_where_the_model_knows_none(self, photo):
        _, mask, upper, lower, full = open_node("ImageSegmentation")(to_image(photo), "u2netp", *OFF)
        assert mask.any()
        assert not torch.cat([upper, lower, full]).any()

    def test_a_background_threshold_of_nothing_leaves_matting_out(self, photo, caplog):
        run = open_node("ImageSegmentation")
        image = run(to_image(photo), "u2netp", "true", 240, 0, 10, "false")[0]
        assert torch.equal(image, run(to_image(photo), "u2netp", *OFF)[0])
        assert "alpha matting left out" in caplog.text

    def test_thresholds_that_overlap_are_an_error_with_the_nodes_name(self, photo):
        with pytest.raises(OptionError, match=r"^MaskwrightImageSegmentation: alpha matting thresholds must be"):
            open_node("MaskwrightImageSegmentation")(to_image(photo), "u2netp", "true", 20, 30, 10, "false")

    def test_numbers_that_are_none_are_an_error_with_the_nodes_name(self):
        image = torch.full((1, 8, 8, 3), float("nan"))
        with pytest.raises(RangeError, match=r"^ImageSegmentation: picture 0 of IMAGE must be finite numbers"):
            open_node("ImageSegmentation")(image, "u2netp", *OFF)

    def test_missing_weights_say_where_they_belong_and_how_to_fetch_them(self, photo, comfy):
        with pytest.raises(WeightsMissing) as caught:
            open_node("ImageSegmentation")(to_image(photo), "silueta", *OFF)
        for words in (
            "ImageSegmentation: ",
            "silueta.onnx",
            str(comfy.models / "onnx"),
            "turn on download at the node",
        ):
            assert words in str(caught.value)

    @pytest.mark.parametrize(
        ("device", "wheel"), [("cpu", "onnxruntime, never beside onnxruntime-gpu"), ("cuda", "onnxruntime-gpu, never")]
    )
    def test_a_missing_library_is_named_by_its_wheel(self, comfy, monkeypatch, device, wheel):
        """The pack is a folder: `maskwright[cpu]` would install another copy, if anything."""
        for name in ("onnxruntime", "ai_edge_litert"):
            monkeypatch.setitem(sys.modules, name, None)
        management = sys.modules["comfy.model_management"]
        monkeypatch.setattr(management, "get_torch_device", lambda: torch.device(device))
        with pytest.raises(EngineUnavailable, match=rf"^MaskwrightLoadModel: .*; pip install {wheel}"):
            open_node("MaskwrightLoadModel")("birefnet-general")
        with pytest.raises(EngineUnavailable, match=r"^APersonMaskGenerator: .*; pip install ai-edge-litert$"):
            open_node("APersonMaskGenerator")(torch.rand(1, 8, 8, 3), model="selfie-multiclass")

    def test_progress_moves_once_a_picture_and_cancel_is_heard_between(self, photo, comfy):
        run = open_node("ImageSegmentation")
        run(to_image(photo, photo, photo), "u2netp", *OFF)
        (bar,) = comfy.bars
        assert (bar.total, bar.done) == (3, 3)
        comfy.cancel_after = comfy.asked + 2
        with pytest.raises(Interrupted):
            run(to_image(photo, photo, photo), "u2netp", *OFF)
        assert comfy.bars[1].done == 2

    def test_a_loaded_model_is_used_instead(self, photo):
        (segmenter,) = open_node("MaskwrightLoadModel")("u2netp")
        image = open_node("ImageSegmentation")(to_image(photo), "silueta", *OFF, segmenter=segmenter)[0]
        assert torch.equal(image, open_node("ImageSegmentation")(to_image(photo), "u2netp", *OFF)[0])
        (mask,) = open_node("MaskwrightSegment")(to_image(photo), segmenter)
        assert np.array_equal(mask[0].numpy(), mw.segment(photo).mask)
        cutout, _ = open_node("MaskwrightCutOut")(to_image(photo), segmenter, grow=2.0, threshold=0.0, invert=True)
        expected = mw.cutout(photo, options=mw.CutoutOptions(grow=2.0, invert=True))
        assert np.array_equal(to_bytes(cutout[0]), expected.rgba)

    def test_ten_runs_hold_no_more_than_one(self, photo):
        run = open_node("ImageSegmentation")
        image = to_image(photo)
        run(image, "u2netp", *OFF)
        tracemalloc.start()
        held = []
        for _ in range(10):
            run(image, "u2netp", *OFF)
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert held[-1] - held[0] < photo.nbytes // 4


def test_a_small_quantised_u2net_in_siluetas_place_needs_no_onnx_runtime(photo, comfy, monkeypatch, tmp_path, caplog):
    """silueta is u2net with weights of 8 bits; it cannot be had here, so a narrow one is imported as its file."""
    torch.manual_seed(11)
    narrow = randomize(U2NET(encoder=((8, 16),) * 6, decoder=((8, 16),) * 5).eval())
    path = quantize(write_old_export(narrow, tmp_path / "narrow.onnx"), tmp_path / "small.onnx")
    monkeypatch.setenv("MASKWRIGHT_HOME", str(tmp_path / "home"))
    default_store.cache_clear()
    import_weights(path, Store(tmp_path / "home"), name="silueta")
    run = open_node("ImageSegmentation")
    with caplog.at_level("INFO"):
        expected = run(to_image(photo), "silueta", *OFF)[1]
        release_engines()
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        alone = run(to_image(photo), "silueta", *OFF)[1]
        card = put_card(monkeypatch)
        managed = run(to_image(photo), "silueta", *OFF, device_mode="Prefer GPU")[1]
    assert expected.std() > 0.005
    assert torch.equal(alone, managed)
    assert (alone - expected).abs().max() < 1e-4
    assert [type(patcher.model) for patcher in card.on_card()] == [U2NET]
    said = [line.split(" by ")[1] for line in caplog.messages if line.startswith("silueta: silueta.imported.onnx by ")]
    assert [line.split(" ")[0] for line in said] == ["onnxruntime", "torch", "torch"]
    assert [line.split(" ")[-1] for line in said] == ["cpu", "cpu", "cuda:0"]


class TestISNetSegment:
    @pytest.fixture
    def model(self):
        return _Brightness().eval()

    @pytest.mark.parametrize("half", [False, True])
    def test_a_module_of_another_packs_loader_runs(self, model, photo, half):
        image, mask = open_node("ISNetSegment")(to_image(photo), 0.6, isnet_model=model.half() if half else model)
        assert image.shape == (1, *photo.shape[:2], 4)
        assert set(mask.unique().tolist()) == {0.0, 1.0}
        assert torch.equal(image[..., 3], mask)
        assert not image[mask == 0].any()
        bright = torch.from_numpy(photo.mean(axis=2)) / 255
        assert bright[mask[0] == 1].mean() > bright[mask[0] == 0].mean() + 0.3
        assert next(model.parameters()).dtype == (torch.float16 if half else torch.float32)

    def test_the_threshold_has_documented_ends(self, model, photo):
        run = open_node("ISNetSegment")
        assert run(to_image(photo), 0.0, isnet_model=model)[1].all()
        assert not run(to_image(photo), 1.0, isnet_model=model)[1].any()

    def test_soft_masks_are_the_prediction(self, model, photo):
        _, mask = open_node("ISNetSegment")(to_image(photo), 0.5, isnet_model=model, soft=True)
        assert len(mask.unique()) > 100

    def test_compat_is_the_seeds_arithmetic_written_out(self, model, photo):
        image, mask = open_node("ISNetSegment")(to_image(photo), 0.4, isnet_model=model, compat=True)
        x = to_image(photo).permute(0, 3, 1, 2)
        x = torch.nn.functional.interpolate(x, (1024, 1024), mode="bilinear") - 0.5
        with torch.no_grad():
            p = torch.nn.functional.interpolate(model(x)[0][0], photo.shape[:2], mode="bilinear")
        p = (p - p.min()) / (p.max() - p.min())
        expected = (p * 255).to(torch.uint8)[0, 0] / 255.0 > 0.4
        assert (mask[0].bool() != expected).float().mean() < 1e-4  # a level may fall at the threshold
        assert np.array_equal(to_bytes(image[0, ..., :3]), photo)

    def test_switched_off_it_passes_pictures_and_selects_nothing(self, photo):
        image, mask = open_node("ISNetSegment")(to_image(photo), 0.5, enabled=False)
        assert torch.equal(image, to_image(photo))
        assert mask.shape == (1, *photo.shape[:2])
        assert not mask.any()

    @pytest.mark.parametrize("channels", [1, 2, 4])
    @pytest.mark.parametrize("count", [0, 1])
    def test_other_channels(self, model, count, channels):
        image, mask = open_node("ISNetSegment")(torch.rand(count, 17, 31, channels), 0.5, isnet_model=model)
        assert mask.shape == (count, 17, 31)
        assert image.shape[:3] == (count, 17, 31)


class TestISNetLoader:
    @pytest.fixture
    def folder(self, comfy):
        folder = comfy.models / "isnet"
        folder.mkdir(parents=True)
        return folder

    def test_a_file_becomes_a_module_that_says_which_model_it_is(self, folder):
        write_checkpoint(folder / "mine.pth", "isnet_base")
        (module,) = open_node("ISNetLoader")("mine.pth")
        assert isinstance(module, torch.nn.Module)
        assert module.maskwright_model == "isnet-general-use"
        assert module.is_fp16 is False  # art-venture's ISNetSegment asks for it
        declared = NODE_CLASS_MAPPINGS["ISNetLoader"].INPUT_TYPES()["required"]["model_name"]
        assert declared[0] == ["mine.pth"]

    def test_a_file_under_a_published_name_must_be_the_published_one(self, folder):
        write_checkpoint(folder / "isnetis.ckpt", "isnet_base")
        with pytest.raises(HashMismatch, match=r"^ISNetLoader: .*isnetis\.ckpt"):
            open_node("ISNetLoader")("isnetis.ckpt")

    def test_folders_of_any_name_and_those_below_are_looked_through(self, folder, comfy):
        """As `extra_model_paths.yaml` adds them."""
        name = str(Path("below") / "mine.pth")
        (comfy.models.parent / "elsewhere" / "below").mkdir(parents=True)
        write_checkpoint(comfy.models.parent / "elsewhere" / name, "isnet_base")
        assert NODE_CLASS_MAPPINGS["ISNetLoader"].INPUT_TYPES()["required"]["model_name"][0] == [name]
        assert isinstance(open_node("ISNetLoader")(name)[0], torch.nn.Module)

    @pytest.mark.parametrize("name", ["absent.pth", "../isnet/mine.pth", "{folder}/mine.pth"])
    def test_what_is_not_in_the_folder_is_not_loaded(self, folder, name):
        name = name.format(folder=folder)
        write_checkpoint(folder / "mine.pth", "isnet_base")
        with pytest.raises(WeightsMissing, match=r"^ISNetLoader: IS-Net .* must be in one of"):
            open_node("ISNetLoader")(name)


def _faces(batch):
    """Seven maps that sum to 1: darkness is background, colours are parts."""
    parts = np.concatenate([batch, batch[:, ::-1]], axis=1) / 6  # (N, 6, H, W)
    return [np.concatenate([1 - parts.sum(axis=1, keepdims=True), parts], axis=1)]


def _left_half(batch):
    mask = np.zeros((len(batch), 1, *batch.shape[2:]), np.float32)
    mask[..., : batch.shape[3] // 2] = 1
    return [mask]


class TestAnimeFace:
    """`AnimeFace_SemSegPreprocessor` on networks in closed form, but for the last two tests."""

    @pytest.fixture
    def opened(self, monkeypatch):
        """Which models the node opened, and how."""
        opened = []

        def open_fake(name, *, compat=False, **place):
            opened.append((name, compat, place["device_mode"]))
            return open_segmenter(name, engine=FakeEngine({"anime-face": _faces}.get(name, _left_half)), compat=compat)

        monkeypatch.setattr(anime_nodes, "open_node_segmenter", open_fake)
        return opened

    @pytest.fixture
    def picture(self):
        return np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)

    def library(self, picture, size, *, compat=False, character=True):
        face = open_segmenter("anime-face", engine=FakeEngine(_faces), compat=compat)
        rule = "controlnet-aux" if compat else False
        found = open_segmenter("isnet-anime", engine=FakeEngine(_left_half), compat=rule) if character else None
        return AnimeSegmenter(face, found, compat=compat)(picture, size=size)

    @pytest.mark.usefixtures("opened")
    @pytest.mark.parametrize(
        ("compat", "size", "size_hw"),
        [(False, "network", (512, 768)), (True, "network", (512, 768)), (False, "picture", (60, 90))],
    )
    def test_map_and_masks_are_the_librarys_at_the_size_asked_for(self, picture, compat, size, size_hw):
        image, mask, *parts = open_node("AnimeFace_SemSegPreprocessor")(
            to_image(picture, picture[::-1]), True, 512, compat, size
        )
        expected = self.library(picture, size, compat=compat)
        assert image.shape == (2, *size_hw, 3)
        assert {part.shape for part in (mask, *parts)} == {(2, *size_hw)}
        assert {part.dtype for part in (mask, *parts)} == {torch.float32}
        assert np.array_equal(to_bytes(image[0]), color_labels(expected.labels))
        assert np.array_equal(mask[0].numpy(), expected.mask)
        for name, part in zip(expected.masks, parts, strict=True):
            assert np.array_equal(part[0].numpy(), expected.masks[name]), name
        assert not torch.equal(image[0], image[1])

    def test_without_removal_nobody_looks_for_the_character(self, opened, picture):
        image, mask, *_ = open_node("Inference_Core_AnimeFace_SemSegPreprocessor")(
            to_image(picture), remove_background_using_abg=False, device_mode="CPU"
        )
        assert opened == [("anime-face", False, "CPU")]
        assert mask.shape == image.shape[:3]  # the original gives (B, 3, H, W)
        assert mask.min() == 1
        expected = self.library(picture, "network", character=False)
        assert np.array_equal(to_bytes(image[0]), color_labels(expected.labels))

    def test_compat_is_that_of_the_program_the_character_comes_from(self, opened, picture):
        open_node("MaskwrightAnimeFace_SemSegPreprocessor")(to_image(picture), compat=True)
        assert opened == [("anime-face", True, "AUTO"), ("isnet-anime", "controlnet-aux", "AUTO")]

    @pytest.mark.usefixtures("opened")
    @pytest.mark.parametrize(("count", "channels"), [(0, 3), (1, 1), (1, 2), (3, 4)])
    def test_other_batches_and_channels(self, count, channels):
        run = open_node("AnimeFace_SemSegPreprocessor")
        for size, size_hw in (("network", (512, 934)), ("picture", (17, 31))):
            image, *masks = run(torch.rand(count, 17, 31, channels), output_size=size)
            assert image.shape == (count, *size_hw, 3)
            assert {mask.shape for mask in masks} == {(count, *size_hw)}

    @pytest.mark.usefixtures("opened")
    def test_numbers_that_are_none_are_an_error_with_the_nodes_name(self):
        with pytest.raises(RangeError, match=r"^AnimeFace_SemSegPreprocessor: picture 0 of IMAGE must be finite"):
            open_node("AnimeFace_SemSegPreprocessor")(torch.full((1, 8, 8, 3), float("inf")))

    def test_random_weights_of_the_published_shape_run_from_comfyui_s_folder(self, comfy, picture):
        folder = comfy.models / "anime_seg"
        folder.mkdir(parents=True)
        path = write_checkpoint(folder / "UNet.pth", "anime_unet")
        image, mask, *parts = open_node("AnimeFace_SemSegPreprocessor")(to_image(picture), False)
        with open_anime(remove_background=False, weights=path, device="cpu") as segmenter:
            expected = segmenter(picture, size="network")
        assert np.array_equal(to_bytes(image[0]), color_labels(expected.labels))
        assert torch.allclose(sum(parts), torch.ones_like(mask), atol=1e-5)

    def test_missing_weights_name_the_file_and_where_it_belongs(self, comfy, picture):
        with pytest.raises(LicenseNotAccepted, match=r"^AnimeFace_.*; put UNet\.pth into .*, which accepts") as caught:
            open_node("AnimeFace_SemSegPreprocessor")(to_image(picture), download=True)
        assert str(comfy.models / "maskwright") in str(caught.value)


class TestPerson:
    """The nodes for people, on the model that ships with the package."""

    MODEL = "maskwright-parts"

    @pytest.fixture
    def person(self, photo):
        return photo[::2, ::2].copy()

    @pytest.mark.parametrize(
        ("inputs", "options", "compat"),
        [
            ({}, PersonOptions(("face",), refine=True), False),
            (
                {"face_mask": False, "hair_mask": True, "clothes_mask": True, "confidence": 0.7, "refine_mask": False},
                PersonOptions(("hair", "clothes"), 0.7),
                False,
            ),
            (
                {"accessories_mask": True, "soft": True, "combine": "sum", "refine_mask": False},
                PersonOptions(("face", "accessories"), soft=True, combine="sum"),
                False,
            ),
            ({"background_mask": True, "compat": True}, PersonOptions(("face", "background"), refine=True), True),
            ({"body_mask": True}, PersonOptions(("face", "body"), refine=True), False),
        ],
    )
    def test_the_same_mask_as_the_library(self, person, inputs, options, compat):
        (mask,) = open_node("APersonMaskGenerator")(to_image(person), model=self.MODEL, **inputs)
        with open_person(self.MODEL, device="cpu", compat=compat) as segmenter:
            expected = segmenter(person, options).mask
        assert np.array_equal(mask[0].numpy(), expected)
        assert mask.any()
        assert options.soft or set(mask.unique().tolist()) <= {0.0, 1.0}

    def test_a_batch_is_its_pictures_one_by_one(self, person):
        run = open_node("APersonMaskGenerator")
        (both,) = run(to_image(person, person[:, ::-1]), model=self.MODEL)
        (second,) = run(to_image(person[:, ::-1]), model=self.MODEL)
        assert torch.equal(both[1], second[0])

    @pytest.mark.parametrize(("count", "channels", "size_hw"), [(0, 3, (17, 31)), (1, 1, (1, 1)), (7, 4, (17, 31))])
    def test_any_number_of_pictures_of_any_size_and_channels(self, count, channels, size_hw):
        images = torch.rand(count, *size_hw, channels)
        (mask,) = open_node("APersonMaskGenerator")(images, model=self.MODEL)
        parts = open_node("MaskwrightPersonParts")(images, model=self.MODEL)
        assert {one.shape for one in (mask, *parts)} == {(count, *size_hw)}
        assert len(parts) == 6

    def test_no_part_selects_nothing(self, person):
        (mask,) = open_node("APersonMaskGenerator")(to_image(person), face_mask=False, model=self.MODEL)
        assert mask.shape == (1, *person.shape[:2])
        assert not mask.any()

    def test_each_part_is_a_mask_of_its_own(self, person):
        run = open_node("MaskwrightPersonParts")
        names = NODE_CLASS_MAPPINGS["MaskwrightPersonParts"].RETURN_NAMES
        for soft in (True, False):
            found = run(to_image(person), soft=soft, confidence=0.6, refine=False, model=self.MODEL)
            with open_person(self.MODEL, device="cpu") as segmenter:
                expected = segmenter(person, PersonOptions(tuple(names), 0.6, soft)).masks
            for name, mask in zip(names, found, strict=True):
                assert np.array_equal(mask[0].numpy(), expected[name]), name

    @pytest.mark.usefixtures("u2netp_home")
    def test_a_silhouette_is_never_taken_for_a_face(self, person):
        with pytest.raises(WeightsMissing, match=r"^APersonMaskGenerator: model for face must be one that knows such"):
            open_node("APersonMaskGenerator")(to_image(person), model="silhouette")


class TestPictures:
    def test_a_crop_pasted_back_changes_nothing(self):
        image, mask = torch.rand(3, 50, 70, 3), torch.zeros(3, 50, 70)
        mask[1, 20:30, 5:60] = 1
        crop, cropped, region = open_node("MaskwrightCropToMask")(image, mask, 3, "any", 8)
        x1, y1, x2, y2 = region
        assert crop.shape[1:3] == cropped.shape[1:] == (y2 - y1, x2 - x1)
        assert (y2 - y1) % 8 == (x2 - x1) % 8 == 0
        assert cropped[1].sum() == mask[1].sum()
        (pasted,) = open_node("MaskwrightPasteCrop")(image, crop, region)
        assert torch.equal(pasted, image)
        (pasted,) = open_node("MaskwrightPasteCrop")(image, torch.zeros_like(crop), region, mask=cropped)
        assert not pasted[1, 20:30, 5:60].any()
        assert torch.equal(pasted[0], image[0])

    @pytest.mark.parametrize(("aspect", "multiple_of"), [("any", 64), ("1:1", 8), ("16:9", 1)])
    @pytest.mark.parametrize("box", [(0, 0, 1, 1), (60, 40, 70, 50), (0, 0, 70, 50)])
    def test_a_crop_lies_inside_the_frame_and_holds_the_subject(self, box, aspect, multiple_of):
        mask = torch.zeros(1, 50, 70)
        x1, y1, x2, y2 = box
        mask[0, y1:y2, x1:x2] = 1
        image = torch.rand(1, 50, 70, 3)
        *_, (a, b, c, d) = open_node("MaskwrightCropToMask")(image, mask, 0, aspect, multiple_of)
        assert 0 <= a < c <= 70
        assert 0 <= b < d <= 50
        if box != (0, 0, 70, 50):
            assert (a, b) <= (x1, y1)
            assert c >= x2
            assert d >= y2

    def test_an_empty_mask_crops_to_the_whole_frame(self):
        *_, region = open_node("MaskwrightCropToMask")(torch.rand(1, 5, 7, 3), torch.zeros(1, 5, 7), 0, "any", 1)
        assert region == (0, 0, 7, 5)

    def test_a_region_outside_the_picture_is_refused(self):
        with pytest.raises(OptionError, match="MaskwrightPasteCrop: region must be inside the picture"):
            open_node("MaskwrightPasteCrop")(torch.rand(1, 5, 7, 3), torch.rand(1, 2, 2, 3), (5, 0, 9, 2))

    def test_matting_and_colours_are_the_librarys(self, photo):
        trimap = np.full(photo.shape[:2], 0.5, np.float32)
        trimap[:100], trimap[110:] = 0, 1
        alpha, foreground = open_node("MaskwrightAlphaMatting")(to_image(photo), torch.from_numpy(trimap)[None])
        colors = to_image(photo)[0].numpy()
        assert np.array_equal(alpha[0].numpy(), mw.refine.estimate_alpha(colors, trimap))
        assert np.array_equal(foreground[0].numpy(), mw.refine.estimate_foreground(colors, alpha[0].numpy()))
        same, cutout = open_node("MaskwrightForegroundColors")(to_image(photo), alpha)
        assert torch.equal(same, foreground)
        assert not cutout[0][alpha[0] == 0].any()

    def test_a_trimap_from_a_mask(self):
        mask = torch.zeros(2, 40, 40)
        mask[:, 10:30, 10:30] = 1
        (trimap,) = open_node("MaskwrightMakeTrimap")(
            mask, foreground_threshold=240, background_threshold=10, erode_size=4
        )
        assert set(trimap.unique().tolist()) == {0.0, 0.5, 1.0}

    def test_the_preview_shows_the_board_where_nothing_is(self):
        image = torch.zeros(1, 64, 64, 4)
        image[0, :32, :, 3] = 1
        shown = open_node("MaskwrightPreviewCutout")(image)
        assert shown["ui"] == {}
        (board,) = shown["result"]
        assert not board[0, :32].any()
        assert set(np.round(board[0, 32:].unique().tolist(), 3)) == {0.8, 1.0}


class TestMasks:
    @pytest.mark.parametrize("count", [0, 1, 7])
    @pytest.mark.parametrize(
        ("node_id", "inputs"),
        [
            ("ThresholdMask", {"level": 0.5}),
            ("GrowMask", {"pixels": -2.0}),
            ("FeatherMask", {"pixels": 3.0, "side": "inside"}),
            ("SmoothMask", {"pixels": 2.0}),
            ("FillHoles", {"area": 10}),
            ("RemoveIslands", {"area": 10, "keep_largest": True}),
        ],
    )
    def test_masks_keep_their_number_and_size(self, node_id, inputs, count):
        (mask,) = open_node(f"Maskwright{node_id}")(torch.rand(count, 17, 31), **inputs)
        assert mask.shape == (count, 17, 31)
        assert mask.dtype == torch.float32

    def test_masks_are_combined_one_with_all(self):
        a, b = torch.rand(3, 5, 7), torch.rand(1, 5, 7)
        (union,) = open_node("MaskwrightCombineMasks")(a, b, "union")
        assert torch.equal(union, torch.maximum(a, b))
        with pytest.raises(ShapeError, match="MaskwrightCombineMasks: a must be 1 or 3"):
            open_node("MaskwrightCombineMasks")(a[:2], a, "union")

    def test_masks_of_two_sizes_are_an_error_with_the_nodes_name(self):
        with pytest.raises(Error, match=r"^MaskwrightCombineMasks: "):
            open_node("MaskwrightCombineMasks")(torch.rand(1, 5, 7), torch.rand(1, 7, 5), "intersect")
