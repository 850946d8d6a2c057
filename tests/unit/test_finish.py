"""The frame of a cut-out, and the layers under it."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from maskwright.cutout_options import CutoutOptions
from maskwright.finish import choose_region, finish_cutout, frame_cutout
from maskwright.imageio import Cutout, load_image
from maskwright.refine import make_rgba
from maskwright.types import Provenance

Y, X = np.mgrid[:60, :80]
ALPHA = (12.5 - np.hypot(Y - 25, X - 30)).clip(0, 1).astype(np.float32)  # from (18, 13) to (43, 38), half-open
IMAGE = np.where(ALPHA[..., None] > 0, [200, 40, 30], [10, 120, 220]).astype(np.uint8)
BBOX = (18, 13, 43, 38)


def cut(alpha=ALPHA, image=IMAGE, depth=8):
    rgba = make_rgba(image, alpha, depth=depth)
    return Cutout(rgba, alpha, alpha * np.float32(0.5), Provenance("none"), masks={"part": alpha})


def finish(alpha=ALPHA, image=IMAGE, **values):
    depth = values.get("depth", 8)
    return finish_cutout(cut(alpha, image, depth), load_image(image), CutoutOptions(**values))


class TestFrame:
    def test_without_options_nothing_changes(self):
        whole = cut()
        assert frame_cutout(whole, CutoutOptions()) is whole
        assert finish().crop_region is None
        np.testing.assert_array_equal(finish().rgba, whole.rgba)

    def test_a_crop_is_the_same_part_of_everything(self):
        whole, result = cut(), finish(crop=True, crop_padding=3)
        assert result.crop_region == (15, 10, 46, 41)
        part = np.s_[10:41, 15:46]
        np.testing.assert_array_equal(result.rgba, whole.rgba[part])
        np.testing.assert_array_equal(result.alpha, whole.alpha[part])
        np.testing.assert_array_equal(result.mask, whole.mask[part])
        np.testing.assert_array_equal(result.masks["part"], whole.masks["part"][part])

    def test_what_was_cropped_can_be_put_back(self):
        result = finish(crop=True, crop_padding="30%", crop_aspect="3:1")
        x1, y1 = result.crop_region[:2]
        assert x1 < 0
        canvas = Image.new("RGBA", (80, 60))
        canvas.paste(result.to_pil(), (x1, y1))
        np.testing.assert_array_equal(np.asarray(canvas), cut().rgba)

    @pytest.mark.parametrize(
        ("values", "region"),
        [
            ({"crop": True}, BBOX),
            ({"crop": True, "crop_padding": "20%"}, (13, 8, 48, 43)),
            ({"crop": True, "crop_aspect": "2:1"}, (6, 13, 56, 38)),
            ({"crop": True, "outline": 2.5}, (15, 10, 46, 41)),
            ({"crop": True, "shadow": True}, BBOX),
            ({"crop": True, "shadow": True, "shadow_blur": 2, "expand_canvas": True}, (18, 13, 55, 50)),
            ({"expand_canvas": True}, (0, 0, 80, 60)),
            ({"expand_canvas": True, "outline": 20}, (-2, -7, 80, 60)),
            ({"expand_canvas": True, "shadow": True, "shadow_offset": (-30, 40), "shadow_blur": 5}, (-17, 0, 80, 83)),
        ],
    )
    def test_regions(self, values, region):
        assert choose_region(ALPHA, CutoutOptions(**values)) == region
        result = finish(**values)
        assert result.crop_region == region
        assert result.rgba.shape == (region[3] - region[1], region[2] - region[0], 4)

    def test_the_crop_ends_at_the_frame_where_the_frame_cuts_the_subject_off(self):
        alpha = np.zeros((60, 80), np.float32)
        alpha[40:, :20] = 1
        assert choose_region(alpha, CutoutOptions(crop=True, crop_padding=5, outline=2)) == (0, 33, 27, 60)
        assert choose_region(alpha, CutoutOptions(crop=True, crop_aspect="2:1")) == (0, 40, 40, 60)
        closed = choose_region(alpha, CutoutOptions(crop=True, outline=2, expand_canvas=True))
        assert closed == (-2, 38, 22, 62)

    def test_without_a_subject_the_frame_stays(self):
        result = finish(np.zeros((60, 80), np.float32), crop=True)
        assert result.rgba.shape == (60, 80, 4)
        assert result.notes == ("there is no subject: the frame stays as it is",)
        assert choose_region(np.zeros((3, 3), np.float32), CutoutOptions(crop=True)) is None


class TestLayers:
    @pytest.mark.parametrize("depth", [8, 16])
    def test_an_outline_goes_around_the_subject(self, depth):
        top = 2**depth - 1
        result = finish(outline=3, outline_color="#00ff00", depth=depth)
        assert result.rgba[25, 30].tolist() == [200 * top // 255, 40 * top // 255, 30 * top // 255, top]
        assert result.rgba[25, 30 + 14].tolist() == [0, top, 0, top]
        assert result.rgba[25, 30 + 17].tolist() == [0, 0, 0, 0]
        rim = result.rgba[25, 30 + 15 : 30 + 17, 3]
        assert (rim < top).any()
        np.testing.assert_array_equal(result.alpha, ALPHA)  # the subject's, as before
        clear = result.rgba[..., 3] == 0
        assert not result.rgba[clear].any()

    @pytest.mark.parametrize("depth", [8, 16])
    def test_a_shadow_lies_under_the_subject(self, depth):
        top = 2**depth - 1
        values = {"shadow": True, "shadow_offset": (6, 4), "shadow_blur": 0, "shadow_color": "#000040", "depth": depth}
        result = finish(**values, shadow_opacity=0.4)
        assert result.rgba[25, 30, 3] == top
        shade = result.rgba[29, 30 + 14]
        assert shade[:3].tolist() == [0, 0, 0x40 * top // 255]
        assert shade[3] == pytest.approx(0.4 * top, abs=1)
        assert not result.rgba[result.rgba[..., 3] == 0].any()

    def test_the_outline_casts_the_shadow_too(self):
        values = {"shadow": True, "shadow_offset": (8, 0), "shadow_blur": 0}
        plain, outlined = finish(**values), finish(**values, outline=4)
        assert plain.rgba[25, 53, 3] == 0
        assert outlined.rgba[25, 53].tolist() == [0, 0, 0, 128]

    def test_layers_lie_in_order(self):
        """Background under shadow under outline under subject: the same as one over the other by Pillow."""
        values = {"shadow": True, "shadow_blur": 6, "outline": 3}
        result = finish(**values, background="#405060").to_pil()
        expected = Image.new("RGBA", (80, 60), "#405060")
        expected.alpha_composite(finish(**values).to_pil())
        assert np.abs(np.asarray(result).astype(int) - np.asarray(expected)).max() <= 2
        assert result.getpixel((30, 25)) == (200, 40, 30, 255)
        assert result.getpixel((44, 25)) == (255, 255, 255, 255)

    def test_a_colour_is_what_bgcolor_gives(self):
        for text, color in (("#0a141e", (10, 20, 30, 255)), ("10,20,30,99", (10, 20, 30, 99))):
            np.testing.assert_array_equal(finish(background=text).rgba, finish(bgcolor=color).rgba)

    @pytest.mark.parametrize("depth", [8, 16])
    def test_a_picture_fills_the_frame(self, depth):
        scale = 257 if depth == 16 else 1
        picture = np.zeros((30, 30, 3), np.uint8)
        picture[:15] = 90
        result = finish(background=load_image(picture), depth=depth)
        assert result.rgba.shape == (60, 80, 4)
        assert (result.rgba[..., 3] == 255 * scale).all()
        assert (result.rgba[0, :, :3] == 90 * scale).all()
        assert not result.rgba[59, :, :3].any()
        assert result.notes == ()

    def test_a_picture_with_alpha_lets_nothing_through_but_its_own(self):
        picture = np.full((60, 80, 4), 200, np.uint8)
        picture[:, 60:, 3] = 0
        result = finish(background=load_image(picture))
        assert result.rgba[0, 0].tolist() == [200, 200, 200, 200]
        assert result.rgba[0, 79].tolist() == [0, 0, 0, 0]

    def test_another_colour_profile_is_noted(self):
        profiled = replace(load_image(IMAGE), icc_profile=b"other")
        assert "another colour profile" in finish(background=profiled).notes[0]

    def test_the_background_out_of_focus_holds_nothing_of_the_subject(self):
        around = np.where(X[..., None] % 2, [10, 120, 220], [30, 160, 240])
        stripes = np.rint(around + ALPHA[..., None] * ([200, 40, 30] - around)).astype(np.uint8)
        result = finish(image=stripes, background="blur:5")
        assert (result.rgba[..., 3] == 255).all()
        assert result.rgba[25, 30, :3].tolist() == [200, 40, 30]
        far = (np.hypot(Y - 25, X - 30) > 13) & (X > 13) & (X < 65)  # stripes end at the frame
        assert np.abs(result.rgba[far, :3].astype(int) - [20, 140, 230]).max() < 4
        sharper = finish(image=stripes, background="blur:0.5")
        assert np.ptp(sharper.rgba[50, 60:, 0]) > np.ptp(result.rgba[50, 60:, 0])

    def test_blur_alone_takes_its_radius_from_the_picture(self):
        np.testing.assert_array_equal(finish(background="blur").rgba, finish(background="blur:1.6").rgba)

    def test_a_background_fills_a_crop_beyond_the_picture(self):
        for background in ("blur:3", "red", load_image(IMAGE)):
            result = finish(crop=True, crop_padding=30, background=background)
            assert result.crop_region == (-12, -17, 73, 68)
            assert (result.rgba[..., 3] == 255).all()
        assert np.abs(result.rgba[0, 0, :3].astype(int) - [10, 120, 220]).max() < 9

    def test_what_was_transparent_has_no_blurred_background(self):
        rgba = np.dstack([IMAGE, np.where(X < 70, 255, 0).astype(np.uint8)])
        loaded = load_image(rgba)
        result = finish_cutout(cut(), loaded, CutoutOptions(background="blur:3"))
        assert result.rgba[0, 69, 3] == 255
        assert not result.rgba[:, 70:].any()
        cropped = finish_cutout(cut(), loaded, CutoutOptions(background="blur:3", crop=True, crop_padding=30))
        assert cropped.crop_region == (-12, -17, 73, 68)
        assert cropped.rgba[0, 81, 3] == 255
        assert not cropped.rgba[:, 82:].any()


def test_profile_and_exif_stay(samples):
    loaded = load_image(samples / "cat.jpg")
    alpha = np.zeros(loaded.size_hw, np.float32)
    alpha[40:90, 50:90] = 1
    whole = Cutout(make_rgba(loaded.image, alpha), alpha, alpha, Provenance("none"), icc_profile=b"p", exif=b"e")
    result = finish_cutout(whole, loaded, CutoutOptions(crop=True, outline=4))
    assert (result.icc_profile, result.exif) == (b"p", b"e")
    with Image.open(io.BytesIO(replace(result, icc_profile=None, exif=None).to_bytes())) as saved:
        assert saved.size == (48, 58)
