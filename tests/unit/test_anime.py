import numpy as np
import pytest
from PIL import Image

import maskwright as mw
from maskwright.anime import PALETTE, AnimeSegmenter, color_labels, open_anime
from maskwright.engines import FakeEngine, release_engines
from maskwright.errors import EngineFailed, OptionError, WeightsMissing
from maskwright.geometry import resize
from maskwright.models import Store
from maskwright.segmenters import open_segmenter
from tests.support.networks import write_checkpoint

IMAGE = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)


def faces(batch):
    """Seven maps that sum to 1: darkness is background, colours are parts."""
    parts = np.concatenate([batch, batch[:, ::-1]], axis=1) / 6  # (N, 6, H, W)
    return [np.concatenate([1 - parts.sum(axis=1, keepdims=True), parts], axis=1)]


def left_half(batch):
    mask = np.zeros((len(batch), 1, *batch.shape[2:]), np.float32)
    mask[..., : batch.shape[3] // 2] = 1
    return [mask]


def open_fakes(*, character=left_half, compat=False, input_shape=(None, 3, None, None)):
    face = open_segmenter("anime-face", engine=FakeEngine(faces), compat=compat)
    if character is None:
        return AnimeSegmenter(face, None, compat=compat)
    found = FakeEngine(character, input_shape)
    rule = "controlnet-aux" if compat else False
    return AnimeSegmenter(face, open_segmenter("isnet-anime", engine=found, compat=rule), compat=compat)


class TestResult:
    def test_everything_has_the_picture_s_size(self):
        result = open_fakes()(IMAGE)
        assert result.label_names == tuple(PALETTE)
        assert list(result.masks) == list(PALETTE)
        assert result.mask.shape == result.labels.shape == (60, 90)
        assert {mask.shape for mask in result.masks.values()} == {(60, 90)}
        assert {mask.dtype for mask in result.masks.values()} == {np.dtype(np.float32)}

    def test_the_winner_is_the_largest_probability(self):
        result = open_fakes()(IMAGE)
        assert np.array_equal(np.argmax([*result.masks.values()], axis=0), result.labels)
        assert np.allclose(sum(result.masks.values()), 1, atol=1e-5)

    def test_the_face_network_sees_the_character_on_white(self):
        result = open_fakes()(np.zeros((64, 128, 3), np.uint8))
        assert (result.mask[:, :60] == 1).all()
        assert (result.mask[:, 68:] == 0).all()
        assert (result.labels[:, :60] == 0).all()  # black: background
        assert result.masks["hair"][:, 68:].min() == pytest.approx(1 / 6, abs=1e-5)  # white: all parts alike

    def test_the_character_is_found_at_1024_letterboxed(self):
        segmenter = open_fakes()
        segmenter(IMAGE)
        assert segmenter.character.engine.calls == [(1, 3, 1024, 1024)]
        assert segmenter.face.engine.calls == [(1, 3, 512, 768)]

    def test_with_its_background_the_mask_is_all_ones(self):
        result = open_fakes(character=None)(IMAGE)
        assert result.mask.min() == 1

    def test_the_network_s_size(self):
        result = open_fakes()(IMAGE[:, :83], size="network")
        assert result.labels.shape == result.mask.shape == result.masks["eye"].shape == (512, 708)
        assert 0 <= result.mask.min() <= result.mask.max() <= 1

    def test_what_is_transparent_is_white_and_not_the_character(self):
        rgba = np.dstack([IMAGE, np.zeros((60, 90), np.uint8)])
        result = open_fakes()(rgba)
        assert result.mask.max() == 0
        assert np.array_equal(result.labels, open_fakes()(np.full_like(IMAGE, 255)).labels)

    def test_a_very_long_picture_is_capped(self):
        result = open_fakes()(np.zeros((4, 600, 3), np.uint8), size="network")
        assert result.labels.shape == (27, 4096)

    def test_a_single_pixel(self):
        assert open_fakes()(np.zeros((1, 1, 3), np.uint8)).labels.shape == (1, 1)


class TestCompat:
    def test_it_is_the_preprocessor_s_arithmetic(self):
        """Resized and padded first, both networks on that, cut to 8 bits; written out here step by step."""

        def soft(batch):
            return [batch.mean(axis=1, keepdims=True)]

        rgba = np.dstack([IMAGE, np.full((60, 90), 200, np.uint8)])
        result = open_fakes(character=soft, compat=True)(rgba)
        opacity = np.float32(200) / np.float32(255)
        white = (opacity * IMAGE.astype(np.float32) + 255 * (1 - opacity)).clip(0, 255).astype(np.uint8)
        padded = resize(white, (512, 768), "area-cubic")  # 768 is a multiple of 64
        mask = (padded.astype(np.float64) / 255).astype(np.float32).mean(axis=2, keepdims=True)
        on_white = (mask * padded.astype(np.float32) + 255 * (1 - mask)).astype(np.uint8)
        probabilities = faces((on_white.transpose(2, 0, 1)[None] / 255).astype(np.float32))[0][0]
        assert result.labels.shape == (512, 768)
        assert np.array_equal(result.labels, probabilities.argmax(axis=0))
        assert np.array_equal(result.mask, (mask[..., 0] * 255).astype(np.uint8) / np.float32(255))
        assert result.provenance.compat

    def test_the_padding_is_cut_off(self):
        segmenter = open_fakes(compat=True)
        result = segmenter(IMAGE[:, :83])
        assert segmenter.character.engine.calls == segmenter.face.engine.calls == [(1, 3, 512, 768)]
        assert result.labels.shape == result.mask.shape == (512, 708)

    def test_a_graph_of_one_size_is_refused(self):
        with pytest.raises(EngineFailed, match=r"input of isnet-anime must be free in size.*isnetis\.ckpt"):
            open_fakes(compat=True, input_shape=(1, 3, 1024, 1024))

    def test_there_is_no_other_size(self):
        with pytest.raises(OptionError, match="size must be network, got 'picture'"):
            open_fakes(compat=True)(IMAGE, size="picture")


def test_a_size_nobody_knows_is_refused():
    with pytest.raises(OptionError, match="size must be picture or network, got 'huge'"):
        open_fakes()(IMAGE, size="huge")


def test_another_model_is_no_face_network():
    with pytest.raises(OptionError, match="face network must be anime-face, got u2netp"):
        AnimeSegmenter(open_segmenter("u2netp", engine=FakeEngine()), None)


def test_the_palette_is_the_preprocessor_s():
    colors = color_labels(np.arange(7, dtype=np.uint8)[None])[0].tolist()
    yellow, blue, red, white = [255, 255, 0], [0, 0, 255], [255, 0, 0], [255, 255, 255]
    assert colors == [yellow, blue, red, white, [0, 255, 0], [0, 255, 255], [255, 0, 255]]


class TestWeights:
    def test_all_that_are_missing_are_named_with_where_to_put_them(self, tmp_path):
        with pytest.raises(WeightsMissing) as caught:
            open_anime(store=Store(tmp_path))
        for name in ("UNet.pth", "isnet-anime.onnx"):
            assert f"{name} at {tmp_path / 'models' / name}" in str(caught.value)
        assert "--accept-license" in str(caught.value)

    def test_offline_too(self, tmp_path):
        store = Store(tmp_path, offline=True)
        store.accept_license("anime-face")
        with pytest.raises(WeightsMissing, match=r"weights UNet\.pth must be.*switched off.*put UNet\.pth at"):
            open_anime(store=store, remove_background=False)

    def test_weights_of_the_published_shape_with_random_numbers_run(self, tmp_path):
        pytest.importorskip("torch", reason="PyTorch is not installed")
        weights = write_checkpoint(tmp_path / "UNet.pth", "anime_unet")
        try:
            with open_anime(store=Store(tmp_path / "home"), weights=weights, remove_background=False) as segmenter:
                result = segmenter(Image.fromarray(IMAGE))
        finally:
            release_engines()
        assert result.labels.shape == (60, 90)
        assert np.allclose(sum(result.masks.values()), 1, atol=1e-5)
        assert result.provenance.weights == "UNet.pth"
        assert result.provenance.engine.startswith("torch ")


def test_the_package_gives_the_function(own_home):
    with pytest.raises(WeightsMissing, match=r"UNet\.pth at .*\.maskwright"):
        mw.anime_face(IMAGE)
