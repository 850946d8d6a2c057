import io

import numpy as np
import pytest
from PIL import Image

import maskwright as mw
from maskwright.engines import FakeEngine
from maskwright.errors import OptionError
from maskwright.imageio import load_image
from maskwright.pipeline import CutoutOptions, choose_part, cut_with, cutout, make_cutout, segment, shape_mask
from maskwright.refine import refine_alpha
from maskwright.segmenters import open_segmenter

Y, X = np.mgrid[:60, :80]
INSIDE = (Y - 30) ** 2 + (X - 40) ** 2 < 400
NOISE = np.random.default_rng(0).integers(0, 40, (60, 80, 3))
IMAGE = (np.where(INSIDE[..., None], [210, 180, 190], [20, 60, 10]) + NOISE).astype(np.uint8)


def soft_disk(batch):
    """A disk of radius 20 in an 80×60 picture with an edge of a few pixels, whatever the input's size."""
    height, width = batch.shape[2:]
    y, x = np.mgrid[:height, :width]
    distance = np.hypot((y + 0.5) / height * 60 - 30, (x + 0.5) / width * 80 - 40)
    return [np.clip((23 - distance) / 6, 0, 1).astype(np.float32)[np.newaxis, np.newaxis].repeat(len(batch), 0)]


@pytest.fixture
def segmenter():
    return open_segmenter("u2netp", engine=FakeEngine(soft_disk))


def test_a_cut_out_has_straight_alpha_and_the_picture_s_colours(segmenter):
    result = cutout(IMAGE, model=segmenter)
    shown = result.rgba[..., 3] > 0
    assert np.array_equal(result.rgba[shown, :3], IMAGE[shown])
    assert np.array_equal(result.rgba[..., 3], np.round(result.alpha * 255))
    assert np.array_equal(result.foreground, result.rgba[..., :3])
    assert 0 < shown.mean() < 1


def test_nothing_of_the_background_stays_unless_it_is_asked_for(segmenter):
    hidden = cutout(IMAGE, model=segmenter).rgba
    kept = cutout(IMAGE, model=segmenter, options=CutoutOptions(keep_hidden=True)).rgba
    gone = hidden[..., 3] == 0
    assert gone.any()
    assert hidden[gone].max() == 0
    assert np.array_equal(kept[..., :3], IMAGE)
    assert np.array_equal(kept[..., 3], hidden[..., 3])


@pytest.mark.parametrize("format_", ["png", "webp", "tiff", "avif"])
@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("extra", [{}, {"alpha_matting": True, "alpha_matting_erode_size": 2}, {"decontaminate": True}])
def test_nothing_of_the_background_is_in_any_file(format_, compat, extra):
    segmenter = open_segmenter("u2netp", engine=FakeEngine(soft_disk), compat=compat)
    result = cutout(IMAGE, model=segmenter, options=CutoutOptions(compat=compat, **extra))
    saved = np.asarray(Image.open(io.BytesIO(result.to_bytes(format_))).convert("RGBA")).astype(int)
    far = np.hypot(Y - 30, X - 40) > 32  # a lossy format smears the edge a little
    assert saved[far, 3].max() <= 2
    assert saved[far, :3].max() <= (0 if format_ in ("png", "webp", "tiff") else 12)


def test_alpha_matting_finds_the_edge_and_its_colours(segmenter):
    options = CutoutOptions(alpha_matting=True, alpha_matting_erode_size=2)
    result = cutout(IMAGE, model=segmenter, options=options)
    plain = cutout(IMAGE, model=segmenter)
    error = np.abs(result.alpha - INSIDE).mean()
    assert error < np.abs(plain.alpha - INSIDE).mean() / 2
    rim = (result.rgba[..., 3] > 0) & ~INSIDE
    assert not rim.any() or result.rgba[rim, 0].min() > 100  # the subject's red, not the lawn's


def test_alpha_matting_without_numbers_refines_the_mask(segmenter):
    result = cutout(IMAGE, model=segmenter, options=CutoutOptions(alpha_matting=True))
    np.testing.assert_array_equal(result.alpha, np.where(result.alpha == 0, 0, refine_alpha(IMAGE, result.mask)))
    plain = cutout(IMAGE, model=segmenter)
    assert np.abs(result.alpha - INSIDE).mean() < np.abs(plain.alpha - INSIDE).mean() / 2
    rim = (result.rgba[..., 3] > 25) & ~INSIDE
    assert not rim.any() or result.rgba[rim, 0].min() > 100  # the subject's red, not the lawn's
    assert result.notes == ()


def test_one_matting_number_brings_the_others():
    assert CutoutOptions(alpha_matting=True).trimap_numbers is None
    assert CutoutOptions(alpha_matting_erode_size=0).trimap_numbers == (240, 10, 0)
    assert CutoutOptions(alpha_matting_foreground_threshold=200).trimap_numbers == (200, 10, 10)
    assert CutoutOptions(alpha_matting_background_threshold=20).trimap_numbers == (240, 20, 10)
    assert CutoutOptions(compat=True).trimap_numbers == (240, 10, 10)


def test_a_budget_that_is_not_enough_is_noted(segmenter):
    options = CutoutOptions(alpha_matting=True, budget="0.00001mp")
    assert cutout(IMAGE, model=segmenter, options=options).notes == ("budget: opacity by the guided filter",)


def test_a_budget_must_be_one():
    with pytest.raises(OptionError, match="budget must be seconds or megapixels above 0, got 'soon'"):
        CutoutOptions(budget="soon")


def test_alpha_matting_without_a_subject_keeps_the_mask_and_says_so(caplog):
    empty = open_segmenter("u2netp", engine=FakeEngine(lambda batch: [np.zeros((1, 1, 9, 9), np.float32)]))
    result = cutout(IMAGE, model=empty, options=CutoutOptions(alpha_matting=True))
    assert result.rgba.max() == 0
    assert any("alpha matting left out" in note for note in result.notes)
    assert "alpha matting left out" in caplog.text


def test_what_was_transparent_stays_transparent(segmenter):
    alpha = np.full((60, 80), 255, np.uint8)
    alpha[:, :40] = 0
    result = cutout(np.dstack([IMAGE, alpha]), model=segmenter)
    assert result.alpha[:, :40].max() == 0
    assert result.alpha[30, 50] == 1
    assert result.rgba[:, :40].max() == 0


def test_a_background_colour_fills_the_picture(segmenter):
    result = cutout(IMAGE, model=segmenter, options=CutoutOptions(bgcolor=(255, 0, 0, 255)))
    assert result.rgba[..., 3].min() == 255
    assert result.rgba[0, 0].tolist() == [255, 0, 0, 255]
    assert result.alpha[0, 0] == 0


def test_only_the_mask_is_saved_as_gray(segmenter):
    result = cutout(IMAGE, model=segmenter, options=CutoutOptions(only_mask=True))
    assert result.to_pil().mode == "L"
    assert np.array_equal(np.asarray(result.to_pil()), np.round(result.alpha * 255))


def test_16_bits_in_and_out(segmenter):
    image = (IMAGE.astype(np.uint16) * 257) + np.uint16(3) * (IMAGE < 255)
    result = cutout(image, model=segmenter, options=CutoutOptions(depth=16))
    assert result.rgba.dtype == np.uint16
    shown = result.rgba[..., 3] > 0
    assert np.array_equal(result.rgba[shown, :3], image[shown])
    assert cutout(image, model=segmenter).rgba.dtype == np.uint8


def test_the_result_says_what_made_it(segmenter):
    provenance = cutout(IMAGE, model=segmenter).provenance
    assert (provenance.model, provenance.engine, provenance.compat) == ("u2netp", "fake", False)


def test_segment_gives_the_mask_alone(segmenter):
    assert np.array_equal(segment(IMAGE, model=segmenter).mask, cutout(IMAGE, model=segmenter).mask)


def test_compat_must_be_that_of_the_segmenter(segmenter):
    with pytest.raises(OptionError, match=r"compat must be that of the segmenter \(False\), got True"):
        cutout(IMAGE, model=segmenter, options=CutoutOptions(compat=True))


@pytest.mark.parametrize(
    "changes",
    [
        {"threshold": 0.4},
        {"post_process_mask": True},
        {"fill_holes": 30},
        {"min_area": 9},
        {"keep_largest": True},
        {"smooth": 2},
        {"grow": 3},
        {"grow": -3},
        {"feather": 3},
        {"feather": 3, "feather_side": "inside"},
        {"feather": 3, "feather_side": "outside"},
        {"invert": True},
    ],
    ids=str,
)
def test_every_mask_option_changes_the_mask(changes):
    mask = np.clip((23 - np.hypot(Y - 30, X - 40)) / 6, 0, 1).astype(np.float32)
    mask[28:31, 38:41] = 0  # a hole
    mask[2:4, 2:4] = 1  # an island
    changed = shape_mask(mask, CutoutOptions(**changes))
    assert not np.array_equal(changed, mask)
    assert changed.shape == mask.shape
    assert 0 <= changed.min() <= changed.max() <= 1


@pytest.mark.parametrize("changes", [{"alpha_matting": True}, {"decontaminate": True}, {"compat": True}], ids=str)
def test_every_edge_option_changes_the_cut_out(changes):
    compat = changes.get("compat", False)
    segmenter = open_segmenter("u2netp", engine=FakeEngine(soft_disk), compat=compat)
    plain = cutout(IMAGE, model=open_segmenter("u2netp", engine=FakeEngine(soft_disk)))
    assert not np.array_equal(cutout(IMAGE, model=segmenter, options=CutoutOptions(**changes)).rgba, plain.rgba)


def test_a_batch_of_masks_becomes_the_same_cut_outs(segmenter):
    images = [IMAGE, np.ascontiguousarray(IMAGE[:, ::-1])]
    options = CutoutOptions(decontaminate=True)
    results = segmenter.batch(images)
    for image, result in zip(images, results, strict=True):
        staged = make_cutout(mw.imageio.load_image(image), result, options)
        assert np.array_equal(staged.rgba, cutout(image, model=segmenter, options=options).rgba)


def test_segment_too_wants_the_segmenter_s_compat(segmenter):
    with pytest.raises(OptionError, match="compat must be that of the segmenter"):
        segment(IMAGE, model=segmenter, compat=True)


@pytest.mark.parametrize("depth", [8, 16])
def test_a_network_s_faint_noise_keeps_no_background(depth):
    noise = np.random.default_rng(0).random((1, 1, 60, 80), np.float32) * np.float32(1.9 / 255)
    faint = open_segmenter("u2netp", engine=FakeEngine(lambda batch: [noise]))
    assert cutout(IMAGE, model=faint, options=CutoutOptions(depth=depth)).rgba.max() == 0
    kept = cutout(IMAGE, model=faint, options=CutoutOptions(depth=depth, keep_hidden=True))
    assert np.array_equal(np.round(kept.rgba[..., :3] / (257 if depth == 16 else 1)), IMAGE)


@pytest.mark.parametrize("options", [CutoutOptions(), CutoutOptions(only_mask=True), CutoutOptions(feather=3)])
def test_a_result_that_may_be_spent_gives_the_same_cut_out(segmenter, options):
    loaded, result = load_image(IMAGE), segmenter(IMAGE)
    before = result.mask.copy()
    kept = make_cutout(loaded, result, options)
    assert np.array_equal(result.mask, before)
    spent = make_cutout(loaded, result, options, spend=True)
    assert np.array_equal(spent.rgba, kept.rgba)
    assert np.array_equal(spent.alpha, kept.alpha)


def test_what_is_gone_in_8_bits_takes_its_colour_along(segmenter):
    deep = cutout(IMAGE, model=segmenter, options=CutoutOptions(depth=16))
    deep.rgba[0, 0] = (51400, 51400, 51400, 59)
    assert np.asarray(deep.to_pil())[0, 0].tolist() == [0, 0, 0, 0]


def test_the_one_shot_function_opens_by_name(monkeypatch, segmenter):
    from maskwright import pipeline

    opened = {}

    def stand_in(name, **settings):
        opened.update(settings, name=name)
        return segmenter

    monkeypatch.setattr(pipeline, "open_segmenter", stand_in)
    assert np.array_equal(
        mw.cutout(IMAGE, device="cpu").rgba, cut_with(segmenter, mw.imageio.load_image(IMAGE), CutoutOptions()).rgba
    )
    assert opened == {"name": "u2netp", "device": "cpu", "compat": False}
    assert np.array_equal(mw.segment(IMAGE).mask, segmenter(IMAGE).mask)


PARTS = np.zeros((1, 4, 24, 24), np.float32)
PARTS[0, 1, :8] = PARTS[0, 2, 8:16] = PARTS[0, 3, 16:] = 9


@pytest.fixture(params=[False, True], ids=["own", "compat"])
def clothes(request):
    return open_segmenter("u2net_cloth_seg", engine=FakeEngine(lambda batch: [PARTS]), compat=request.param)


@pytest.mark.parametrize(("part", "row"), [("upper", 5), ("lower", 30), ("full", 55)])
def test_one_part_is_cut_out_alone(clothes, part, row):
    options = CutoutOptions(part=part, compat=clothes.compat)
    result = cutout(IMAGE, model=clothes, options=options)
    assert result.rgba.shape == (60, 80, 4)
    assert list(result.masks) == [part]
    opaque = {each for each in (5, 30, 55) if result.rgba[each, 40, 3] == 255}
    assert opaque == {row}


def test_all_parts_are_one_cut_out_with_compat_too(clothes):
    result = cutout(IMAGE, model=clothes, options=CutoutOptions(part="all", compat=clothes.compat))
    assert result.rgba.shape == (60, 80, 4)
    assert all(result.rgba[row, 40, 3] == 255 for row in (5, 30, 55))


def test_a_part_that_is_not_there_is_refused_before_the_network_runs(segmenter):
    def fail(batch):
        raise AssertionError("the network ran")

    clothes = open_segmenter("u2net_cloth_seg", engine=FakeEngine(fail))
    message = "part of u2net_cloth_seg must be upper, lower, full or all, got 'hat'"
    with pytest.raises(OptionError, match=message):
        cutout(IMAGE, model=clothes, options=CutoutOptions(part="hat"))
    with pytest.raises(OptionError, match="model u2netp knows no parts; leave part out"):
        cutout(IMAGE, model=segmenter, options=CutoutOptions(part="upper"))
    with pytest.raises(OptionError, match="model u2netp knows no parts"):
        choose_part(segment(IMAGE, model=segmenter), "all")
