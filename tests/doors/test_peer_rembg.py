"""Side by side with rembg itself, with the same weights: `compat` gives its bytes."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from maskwright.compat import rembg as ours
from maskwright.models import Store, find_card

rembg = pytest.importorskip("rembg", reason="rembg is not installed (extra bench)")
pytestmark = [pytest.mark.peer, pytest.mark.weights, pytest.mark.filterwarnings("ignore")]

SETTINGS = [
    {},
    {"only_mask": True},
    {"post_process_mask": True},
    {"bgcolor": (255, 255, 255, 255)},
    {"bgcolor": (0, 0, 0, 0)},
    {"bgcolor": (10, 200, 30, 128)},
    {"putalpha": True},
    {"putalpha": True, "post_process_mask": True},
]


@pytest.fixture
def photos(shared):
    return sorted((shared / "images" / "photos").glob("*.jpg"))


@pytest.fixture(scope="module")
def sessions(u2netp_store):
    """Ours and theirs, each with a network of its own that answers the same input only once."""
    onnxruntime = pytest.importorskip("onnxruntime")
    run, answers = onnxruntime.InferenceSession.run, {}

    def run_once(session, names, feeds, *rest):
        key = (id(session), tuple(names or ()), *(hashlib.sha256(array.tobytes()).digest() for array in feeds.values()))
        if key not in answers:
            answers[key] = run(session, names, feeds, *rest)
        return answers[key]

    weights = Store(u2netp_store).ensure(find_card("u2netp").weights[0]).path
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnxruntime.InferenceSession, "run", run_once)
        patch.setenv("U2NET_HOME", str(weights.parent))
        patch.setenv("MASKWRIGHT_HOME", str(u2netp_store))
        yield ours.new_session("u2netp"), rembg.new_session("u2netp")


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_every_photo_gives_the_same_pixels(photos, sessions, settings):
    mine, theirs = sessions
    for path in photos:
        picture = Image.open(path)
        expected = rembg.remove(picture.copy(), session=theirs, **settings)
        result = ours.remove(picture.copy(), session=mine, **settings)
        assert result.mode == expected.mode, path.name
        assert np.array_equal(np.asarray(result), np.asarray(expected)), path.name


def test_bytes_decode_to_the_same_pixels(photos, sessions):
    mine, theirs = sessions
    data = photos[0].read_bytes()
    expected, result = rembg.remove(data, session=theirs), ours.remove(data, session=mine)
    assert np.array_equal(*(np.asarray(Image.open(io.BytesIO(png))) for png in (expected, result)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["icecream.jpg", "cat_face.jpg", "dog_forest.jpg", "cameraman_gray.jpg"])
def test_alpha_matting_agrees(sessions, shared, name):
    mine, theirs = sessions
    picture = Image.open(shared / "images" / "photos" / name)
    expected = np.asarray(rembg.remove(picture.copy(), session=theirs, alpha_matting=True)).astype(int)
    result = np.asarray(ours.remove(picture.copy(), session=mine, alpha_matting=True)).astype(int)
    assert np.abs(result - expected).mean() < 1
    assert np.abs(result - expected).max() <= 1


@pytest.mark.parametrize("name", ["icecream.jpg", "cat_face.jpg"])
def test_decontaminated_edges_agree(sessions, shared, name):
    mine, theirs = sessions
    picture = Image.open(shared / "images" / "photos" / name)
    expected = np.asarray(rembg.remove(picture.copy(), session=theirs, decontaminate=True)).astype(int)
    result = np.asarray(ours.remove(picture.copy(), session=mine, decontaminate=True)).astype(int)
    assert np.abs(result - expected).max() <= 1
