"""rembg's signatures: types in and out, options, refusals, and its rule written down once more by hand."""

import io

import numpy as np
import pytest
from PIL import Image

from maskwright.compat.rembg import Session, new_session, remove
from maskwright.engines import FakeEngine
from maskwright.errors import OptionError, ShapeError, UnknownModel
from maskwright.segmenters import open_segmenter

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


@pytest.fixture
def session():
    return Session("u2netp", open_segmenter("u2netp", engine=FakeEngine(), compat=True))


def mask_by_hand(image):
    """rembg's rule for u2netp, from its description: squash, divide by the maximum, stretch, cut, Lanczos."""
    small = np.asarray(Image.fromarray(image).resize((320, 320), Image.Resampling.LANCZOS)) / 255
    small = small / small.max()
    batch = ((small - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).transpose(2, 0, 1)[np.newaxis]
    (prediction,) = FakeEngine().run(batch.astype(np.float32))
    prediction = prediction[0, 0]
    stretched = (prediction - prediction.min()) / (prediction.max() - prediction.min())
    picture = Image.fromarray((stretched * 255).astype(np.uint8))
    return np.asarray(picture.resize(image.shape[1::-1], Image.Resampling.LANCZOS))


def test_the_mask_is_rembg_s(session):
    assert np.array_equal(remove(IMAGE, session=session, only_mask=True), mask_by_hand(IMAGE))
    assert np.array_equal(np.asarray(session.predict(Image.fromarray(IMAGE))[0]), mask_by_hand(IMAGE))


def test_the_cut_out_is_premultiplied_as_rembg_s_is(session):
    mask = Image.fromarray(mask_by_hand(IMAGE))
    expected = Image.composite(Image.fromarray(IMAGE), Image.new("RGBA", mask.size, 0), mask)
    assert np.array_equal(remove(IMAGE, session=session), np.asarray(expected))


def test_type_in_is_type_out(session):
    picture = Image.fromarray(IMAGE)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    array = remove(IMAGE, session=session)
    assert isinstance(array, np.ndarray)
    from_pil = remove(picture, session=session)
    assert isinstance(from_pil, Image.Image)
    from_bytes = remove(buffer.getvalue(), session=session)
    assert isinstance(from_bytes, bytes)
    assert np.array_equal(array, np.asarray(from_pil))
    assert np.array_equal(array, np.asarray(Image.open(io.BytesIO(from_bytes))))
    forced = remove(picture, session=session, force_return_bytes=True)
    assert forced == from_bytes


def test_options_change_the_result(session):
    plain = remove(IMAGE, session=session)
    red = remove(IMAGE, session=session, bgcolor=(255, 0, 0, 255))
    assert red[..., 3].min() == 255
    assert set(np.unique(remove(IMAGE, session=session, post_process_mask=True, only_mask=True))) <= {0, 255}
    put = remove(IMAGE, session=session, putalpha=True)
    assert np.array_equal(put[..., :3], IMAGE)
    assert np.array_equal(put[..., 3], plain[..., 3])
    assert not np.array_equal(remove(IMAGE, session=session, decontaminate=True), plain)


def test_putalpha_goes_with_a_colour_and_with_several_masks(session):
    put = remove(IMAGE, session=session, putalpha=True, bgcolor=(255, 0, 0, 255))
    assert put[..., 3].min() == 255
    engine = FakeEngine(lambda batch: [np.random.default_rng(0).random((1, 4, 24, 24), np.float32)])
    cloth = Session("u2net_cloth_seg", open_segmenter("u2net_cloth_seg", engine=engine, compat=True))
    assert remove(IMAGE, session=cloth, putalpha=True).shape == (120, 60, 4)
    assert remove(Image.fromarray(IMAGE[..., 0]), session=session, putalpha=True).mode == "LA"


def test_several_masks_are_stacked(session):
    engine = FakeEngine(lambda batch: [np.random.default_rng(0).random((1, 4, 24, 24), np.float32)])
    cloth = Session("u2net_cloth_seg", open_segmenter("u2net_cloth_seg", engine=engine, compat=True))
    assert len(cloth.predict(Image.fromarray(IMAGE))) == 3
    assert remove(IMAGE, session=cloth).shape == (120, 60, 4)
    assert remove(IMAGE, session=cloth, only_mask=True).shape == (120, 60)


@pytest.mark.parametrize("word", ["cc", "cloth_category"])
def test_one_garment_of_several(word):
    engine = FakeEngine(lambda batch: [np.random.default_rng(0).random((1, 4, 24, 24), np.float32)])
    cloth = Session("u2net_cloth_seg", open_segmenter("u2net_cloth_seg", engine=engine, compat=True))
    stacked = remove(IMAGE, session=cloth)
    for index, garment in enumerate(["upper", "lower", "full"]):
        alone = remove(IMAGE, session=cloth, **{word: garment})
        assert np.array_equal(alone, stacked[40 * index : 40 * index + 40])
        (mask,) = cloth.predict(Image.fromarray(IMAGE), **{word: garment})
        assert np.array_equal(np.asarray(mask), alone[..., 3])
    attire = remove(IMAGE, session=cloth, only_mask=True, **{word: "attire"})
    assert np.array_equal(attire, remove(IMAGE, session=cloth, only_mask=True).reshape(3, 40, 60).max(axis=0))
    assert remove(IMAGE, session=cloth, putalpha=True, **{word: "upper"}).shape == (40, 60, 4)
    with pytest.raises(OptionError, match="must be upper, lower, full or all, got 'hat'"):
        remove(IMAGE, session=cloth, **{word: "hat"})


def test_what_is_not_here_is_said(session):
    with pytest.raises(OptionError, match="vitmatte is not in this version; the nearest way is alpha_matting"):
        remove(IMAGE, session=session, vitmatte=True)
    with pytest.raises(ShapeError, match="data must be bytes, a PIL image or an array, got list"):
        remove([1], session=session)
    with pytest.raises(OptionError, match="provider must be one of CPUExecutionProvider"):
        new_session("u2netp", providers=["Abacus"])
    with pytest.raises(UnknownModel):
        new_session("nothing-like-it")
    with pytest.raises(OptionError, match="sam_prompt means nothing here; leave it out"):
        remove(IMAGE, session=session, sam_prompt=[])
    with pytest.raises(OptionError, match="1 means nothing here"):
        new_session("u2netp", 1)


def test_rembg_s_ways_to_open_a_session_are_taken(tmp_path):
    import onnxruntime

    from tests.support.graphs import write_graph

    path = str(write_graph(tmp_path / "small.onnx", size_hw=(16, 16)))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    providers = [("CPUExecutionProvider", {})]
    opened = new_session("u2net_custom", sess_opts=options, providers=providers, model_path=path)
    assert opened.segmenter.engine.device == "cpu"
    assert opened.segmenter.engine._session.get_session_options().intra_op_num_threads == 1
    assert remove(IMAGE, model_name="u2net_custom", model_path=path).shape == (40, 60, 4)


def test_the_orientation_is_applied(session, shared):
    folder = shared / "images" / "formats"
    upright = remove(Image.open(folder / "exif_orient_1.jpg"), session=session)
    turned = remove(Image.open(folder / "exif_orient_6.jpg"), session=session)
    assert upright.size == turned.size
