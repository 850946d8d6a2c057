import numpy as np
import pytest
from PIL import Image

import maskwright as mw
from maskwright.engines import FakeEngine
from maskwright.errors import (
    EngineFailed,
    EngineUnavailable,
    LicenseNotAccepted,
    MediaError,
    OptionError,
    ShapeError,
    UnknownModel,
    WeightsMissing,
)
from maskwright.geometry import resize, resize_map
from maskwright.models import Store, catalog, find_card
from maskwright.segmenters import choose_weights, open_segmenter
from tests.support.graphs import write_graph


def plane_engine(plane, channels=1):
    """An engine whose answer is always this map."""
    answer = np.broadcast_to(np.asarray(plane, np.float32), (1, channels, *np.shape(plane)[-2:]))
    return FakeEngine(lambda batch: [np.repeat(answer, len(batch), axis=0)])


IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


def test_a_flat_prediction_holds_no_subject_in_compat():
    result = open_segmenter("u2netp", engine=plane_engine(np.full((320, 320), 0.3)), compat=True)(IMAGE)
    assert result.mask.max() == 0


def test_an_empty_scene_stays_empty_by_default_and_is_stretched_in_compat():
    faint = np.linspace(0, 0.02, 320 * 320).reshape(320, 320)
    assert open_segmenter("u2netp", engine=plane_engine(faint))(IMAGE).mask.max() <= 0.021
    assert open_segmenter("u2netp", engine=plane_engine(faint), compat=True)(IMAGE).mask.max() > 0.9


def test_the_mask_has_the_picture_s_size_and_range():
    result = open_segmenter("u2netp", engine=FakeEngine())(IMAGE)
    assert result.mask.shape == (20, 30)
    assert result.mask.dtype == np.float32
    assert result.size_hw == (20, 30)


@pytest.mark.parametrize(
    ("name", "compat", "expected"),
    [
        # (x / 255 - mean) / std of a picture whose brightest value is 100, at R, G, B = 100, 50, 0.
        ("u2netp", False, [(1 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, (0 - 0.406) / 0.225]),
        ("isnet-general-use", False, [100 / 255 - 0.5, 50 / 255 - 0.5, -0.5]),
        ("isnet-general-use", True, [0.5, 0.0, -0.5]),
        ("isnet-anime", False, [100 / 255, 50 / 255, 0]),
        ("isnet-anime", True, [1 - 0.485, 0.5 - 0.456, -0.406]),
        ("modnet-p", False, [100 / 127.5 - 1, 50 / 127.5 - 1, -1]),
        ("modnet-p", True, [0.5, 0.0, -0.5]),
        ("u2net_cloth_seg", False, [100 / 127.5 - 1, 50 / 127.5 - 1, -1]),
        ("u2net_cloth_seg", True, [(1 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, -0.406 / 0.225]),
        ("birefnet-general", False, [(100 / 255 - 0.485) / 0.229, (50 / 255 - 0.456) / 0.224, -0.406 / 0.225]),
    ],
)
def test_pixels_are_scaled_as_the_row_says(name, compat, expected):
    image = np.broadcast_to(np.array([100, 50, 0], np.uint8), (64, 64, 3))
    segmenter = open_segmenter(name, engine=FakeEngine(), compat=compat)
    tensor = segmenter.prepare(image).tensor
    height, width = tensor.shape[1:]
    assert np.allclose(tensor[:, height // 2, width // 2], expected, atol=1e-5)


def test_anime_keeps_the_aspect_on_black():
    tensor = open_segmenter("isnet-anime", engine=FakeEngine()).prepare(np.full((50, 100, 3), 255, np.uint8)).tensor
    assert tensor.shape == (3, 1024, 1024)
    assert tensor[:, :256].max() == 0
    assert tensor[:, 256:768].min() == 1
    assert tensor[:, 768:].max() == 0


def test_cloth_resizes_probabilities_and_not_labels():
    logits = np.zeros((4, 96, 96), np.float32)
    logits[0] = 9
    logits[3, 24:72, 24:72] = 18  # a square of class 3 on background
    segmenter = open_segmenter("u2net_cloth_seg", engine=plane_engine(logits, 4))
    image = np.zeros((192, 192, 3), np.uint8)
    result = segmenter(image)
    assert set(np.unique(result.labels)) == {0, 3}  # no ghost outline of classes 1 and 2
    assert result.masks["full"].sum() == pytest.approx(96 * 96, rel=0.03)
    assert np.array_equal(result.mask, result.masks["full"])
    assert list(result.masks) == ["upper", "lower", "full"]


def test_cloth_in_compat_has_the_original_s_ghosts():
    logits = np.zeros((4, 96, 96), np.float32)
    logits[0] = 1
    logits[3, 24:72, 24:72] = 5
    segmenter = open_segmenter("u2net_cloth_seg", engine=plane_engine(logits, 4), compat=True)
    result = segmenter(np.zeros((192, 192, 3), np.uint8))
    assert [int(result.masks[part].sum()) for part in ("upper", "lower", "full")] == [380, 380, 8836]


def test_what_is_hidden_under_a_transparent_pixel_does_not_matter_by_default():
    rgba = np.dstack([IMAGE, np.zeros((20, 30), np.uint8)])
    other = rgba.copy()
    other[..., :3] = 255 - other[..., :3]
    segmenter = open_segmenter("u2netp", engine=FakeEngine())
    assert np.array_equal(segmenter(rgba).mask, segmenter(other).mask)
    original = open_segmenter("u2netp", engine=FakeEngine(), compat=True)
    assert not np.array_equal(original(rgba).mask, original(other).mask)


def test_every_kind_of_input_gives_the_same_mask(tmp_path):
    segmenter = open_segmenter("u2netp", engine=FakeEngine())
    path = tmp_path / "picture.png"
    Image.fromarray(IMAGE).save(path)
    masks = [
        segmenter(source).mask
        for source in (path, str(path), path.read_bytes(), Image.fromarray(IMAGE), IMAGE, IMAGE / 255)
    ]
    assert all(np.array_equal(mask, masks[0]) for mask in masks)


@pytest.mark.parametrize("batch", [None, 1, 2])
def test_a_batch_is_the_same_as_one_by_one(batch):
    images = [np.roll(IMAGE, shift, axis=1) for shift in range(5)]
    engine = FakeEngine(input_shape=(batch, 3, None, None))
    segmenter = open_segmenter("u2netp", engine=engine)
    together = segmenter.batch(images)
    assert [call[0] for call in engine.calls] == {None: [5], 1: [1] * 5, 2: [2] * 3}[batch]
    assert all(np.array_equal(a.mask, segmenter(b).mask) for a, b in zip(together, images, strict=True))


def test_a_graph_of_another_size_is_fed_that_size():
    engine = FakeEngine(input_shape=(1, 3, 64, 48))
    open_segmenter("isnet-general-use", engine=engine)(IMAGE)
    assert engine.calls == [(1, 3, 64, 48)]


def test_the_strict_entry_takes_8_bit_rgb_alone():
    with pytest.raises(ShapeError, match=r"image must be \(H, W, 3\) uint8, got \(20, 30, 3\) float64"):
        open_segmenter("u2netp", engine=FakeEngine()).segment(IMAGE / 255)


def test_a_network_with_another_number_of_channels_is_refused():
    with pytest.raises(EngineFailed, match="network input must be 3 channels, got 1"):
        open_segmenter("u2netp", engine=FakeEngine(input_shape=(1, 1, 320, 320)))


def test_an_output_that_is_no_map_is_refused():
    segmenter = open_segmenter("u2netp", engine=FakeEngine(lambda batch: [np.zeros((1, 5))]))
    with pytest.raises(EngineFailed, match=r"output 0 of u2netp must be \(N, C, h, w\), got \(1, 5\)"):
        segmenter(IMAGE)


def test_an_unknown_model_gets_suggestions():
    with pytest.raises(UnknownModel, match=r"'u2nett'; did you mean u2net.*There are: u2netp, u2net"):
        open_segmenter("u2nett")


def test_a_custom_model_wants_a_file():
    with pytest.raises(WeightsMissing, match=r"dis_custom has no published weights; .*--weights FILE"):
        open_segmenter("dis_custom")


def test_own_weights_are_hashed_and_named_in_the_result(tmp_path):
    path = write_graph(tmp_path / "mine.onnx", size_hw=(32, 32))
    with open_segmenter("dis_custom", weights=path, store=Store(tmp_path / "home")) as segmenter:
        provenance = segmenter(IMAGE).provenance
    import hashlib

    assert provenance.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (provenance.weights, provenance.model, provenance.device) == ("mine.onnx", "dis_custom", "cpu")


def test_own_weights_must_exist_and_be_of_a_known_kind(tmp_path):
    with pytest.raises(MediaError, match=r"mine\.onnx are not there"):
        open_segmenter("u2net", weights=tmp_path / "mine.onnx")
    with pytest.raises(OptionError, match=r"weights must be a file ending in \.onnx or \.pth .*, got '.*mine\.txt'"):
        open_segmenter("u2net", weights=tmp_path / "mine.txt")


def test_a_non_commercial_licence_is_accepted_once(tmp_path):
    store = Store(tmp_path, offline=True)
    with pytest.raises(LicenseNotAccepted, match=r"CC-BY-NC.*--accept-license"):
        open_segmenter("bria-rmbg", store=store)
    store.accept_license("bria-rmbg")
    with pytest.raises(WeightsMissing):
        open_segmenter("bria-rmbg", store=Store(tmp_path, offline=True))


@pytest.fixture
def installed(monkeypatch):
    """Say which runtimes are installed."""
    from maskwright import segmenters

    def say(*runtimes):
        monkeypatch.setattr(segmenters, "is_installed", lambda runtime: runtime in runtimes)

    return say


def put(folder, *names):
    (folder / "models").mkdir(exist_ok=True)
    for name in names:
        (folder / "models" / name).write_bytes(b"x")


@pytest.mark.parametrize(
    ("runtimes", "here", "chosen"),
    [
        (("onnx", "torch"), (), "isnet-general-use.onnx"),
        (("onnx",), (), "isnet-general-use.onnx"),
        (("torch",), (), "isnet-general-use.onnx"),  # PyTorch knows the network behind it
        ((), (), "isnet-general-use.onnx"),  # a machine that only fetches
        (("onnx", "torch"), ("isnet-general-use.pth",), "isnet-general-use.pth"),
        (("onnx",), ("isnet-general-use.pth",), "isnet-general-use.onnx"),
        (("onnx", "torch"), ("isnet-general-use.pth", "isnet-general-use.onnx"), "isnet-general-use.onnx"),
    ],
)
def test_the_first_weights_are_used_unless_only_others_are_here(tmp_path, installed, runtimes, here, chosen):
    installed(*runtimes)
    put(tmp_path, *here)
    assert choose_weights(find_card("isnet-general-use"), Store(tmp_path)).file == chosen


def test_other_weights_than_the_first_are_said(tmp_path, installed, caplog):
    installed("onnx", "torch")
    put(tmp_path, "isnet-general-use.pth")
    with caplog.at_level("INFO"):
        choose_weights(find_card("isnet-general-use"), Store(tmp_path))
    assert caplog.messages == ["isnet-general-use.onnx is not here: using isnet-general-use.pth instead"]


@pytest.mark.parametrize(
    ("runtimes", "device", "serves", "chosen"),
    [
        (("onnx", "torch"), "auto", (), "onnx"),
        (("onnx", "torch"), "cpu!", (), "onnx"),
        (("onnx", "torch"), "cuda", ("torch",), "torch"),
        (("onnx", "torch"), "cuda!", ("onnx", "torch"), "onnx"),
        (("onnx", "torch"), "cuda", (), "onnx"),
        (("torch",), "auto", (), "torch"),
    ],
)
def test_another_runtime_runs_only_what_the_first_cannot(
    monkeypatch, installed, caplog, runtimes, device, serves, chosen
):
    from maskwright import segmenters

    installed(*runtimes)
    monkeypatch.setattr(segmenters, "runs_on", lambda runtime, device: runtime in serves)
    with caplog.at_level("INFO"):
        assert segmenters._choose_runtime("u2net.onnx", ("onnx", "torch"), device) == chosen
    assert len(caplog.messages) == (chosen == "torch")


@pytest.mark.parametrize(
    ("model", "runtimes", "message"),
    [
        ("u2net", (), r'u2net\.onnx needs ONNX Runtime, which is not installed; .*"maskwright\[cpu\]" or .*gpu'),
        ("modnet-p", ("onnx",), r'\.ckpt needs PyTorch, which is not installed; pip install "maskwright\[torch\]"'),
        ("birefnet-dis", ("torch",), r"birefnet-dis\.onnx needs ONNX Runtime, which is not installed"),
    ],
)
def test_without_a_runtime_the_extras_are_named_before_anything_is_fetched(
    tmp_path, installed, model, runtimes, message
):
    installed(*runtimes)
    with pytest.raises(EngineUnavailable, match=message):
        open_segmenter(model, store=Store(tmp_path))
    assert not (tmp_path / "models").exists()


def test_an_onnx_file_is_run_by_pytorch_where_onnx_runtime_is_missing(u2netp_store, installed, caplog):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    store = Store(u2netp_store)
    expected = open_segmenter("u2netp", store=store, device="cpu")(IMAGE)
    installed("torch")
    with caplog.at_level("INFO"):
        result = open_segmenter("u2netp", store=store, device="cpu")(IMAGE)
    assert "ONNX Runtime is not installed: PyTorch runs u2netp.onnx" in caplog.messages
    assert result.provenance.engine.startswith("torch ")
    assert (result.provenance.weights, result.provenance.sha256) == ("u2netp.onnx", expected.provenance.sha256)
    assert np.abs(result.mask - expected.mask).max() < 2e-4


def test_the_isnetsegment_node_s_rule_is_its_formula():
    """Bilinear to the picture's size, then stretched, then cut to 8 bits."""
    prediction = np.random.default_rng(3).random((64, 64), np.float32) * 0.5 + 0.2
    segmenter = open_segmenter("isnet-general-use", engine=plane_engine(prediction), compat="art-venture")
    large = resize_map(prediction, (20, 30), "bilinear")
    stretched = (large - large.min()) / (large.max() - large.min())
    result = segmenter(IMAGE)
    assert np.array_equal(result.mask, (stretched * 255).astype(np.uint8) / np.float32(255))
    assert result.provenance.compat is True
    tensor = segmenter.prepare(IMAGE).tensor
    assert np.allclose(tensor, resize(IMAGE, (1024, 1024), "bilinear").transpose(2, 0, 1) / 255 - 0.5, atol=1e-6)


def test_each_checkpoint_of_isnet_gets_its_own_input():
    image = np.full((8, 8, 3), 255, np.uint8)
    means = {"isnet-general-use": 0.5, "rmbg-1.4": 0.5, "isnet-anime": 1.0}
    for name, value in means.items():
        assert open_segmenter(name, engine=FakeEngine()).prepare(image).tensor.max() == value


def test_a_result_of_parts_has_the_probability_of_every_label():
    logits = np.random.default_rng(0).standard_normal((4, 24, 24)).astype(np.float32) * 3
    result = open_segmenter("u2net_cloth_seg", engine=plane_engine(logits, 4))(IMAGE)
    assert list(result.probabilities) == ["background", "upper", "lower", "full"]
    planes = list(result.probabilities.values())
    assert np.allclose(sum(planes), 1, atol=1e-5)
    assert np.array_equal(result.labels, np.argmax(planes, axis=0))


def test_probabilities_are_made_when_they_are_read(monkeypatch):
    from maskwright.segmenters import probabilities

    made = []
    resize_map = probabilities.resize_map
    monkeypatch.setattr(probabilities, "resize_map", lambda *arguments: made.append(1) or resize_map(*arguments))
    logits = np.zeros((4, 5, 6), np.float32)
    logits[2] = 9
    found = open_segmenter("u2net_cloth_seg", engine=plane_engine(logits, 4)).find_probabilities(IMAGE)
    assert found.winners().max() == found.winners().min() == 2
    assert found.above("lower", 0.5).all()
    assert not made
    assert found["lower"].shape == IMAGE.shape[:2]
    assert len(made) == 1
    with pytest.raises(KeyError):
        found["nose"]


def test_names_are_found_by_alias_and_in_any_writing():
    assert find_card("isnetis") is find_card("isnet-anime")
    assert find_card("U2NET-Human-Seg") is find_card("u2net_human_seg")


def test_the_package_gives_the_same_function():
    assert mw.open_segmenter is open_segmenter
    assert len({card.name for card in catalog()}) == len(catalog())


def test_a_row_whose_first_file_nobody_publishes_is_fetched_by_its_second(tmp_path, installed):
    card = find_card("modnet-p")
    for runtimes in [("onnx", "torch"), ("torch",), ("onnx",)]:
        installed(*runtimes)
        assert choose_weights(card, Store(tmp_path)).runtime == "torch"
    put(tmp_path, "modnet-p.onnx")
    assert choose_weights(card, Store(tmp_path)).runtime == "onnx"


def test_an_engine_and_weights_are_not_given_together(tmp_path):
    with pytest.raises(OptionError, match="engine and weights must be one of the two, got both"):
        open_segmenter("u2netp", engine=FakeEngine(), weights=tmp_path / "mine.onnx")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_network_that_gives_no_numbers_is_refused(value):
    with pytest.raises(EngineFailed, match="output 0 of u2netp must be finite numbers, got NaN or infinity"):
        open_segmenter("u2netp", engine=plane_engine(np.full((8, 8), value)))(IMAGE)


@pytest.mark.parametrize("channels", [1, 6])
def test_another_number_of_class_maps_is_refused(channels):
    segmenter = open_segmenter("u2net_cloth_seg", engine=plane_engine(np.zeros((8, 8)), channels))
    with pytest.raises(EngineFailed, match=f"output of u2net_cloth_seg must be 4 class maps, got {channels}"):
        segmenter(IMAGE)


def test_large_logits_do_not_overflow():
    logits = np.where(np.arange(64).reshape(8, 8) % 2, -500, 500)
    assert open_segmenter("birefnet-general", engine=plane_engine(logits))(IMAGE).mask.max() == 1
