"""Parts of people, on drawn pictures and a network that knows its colours."""

import numpy as np
import pytest

import maskwright as mw
from maskwright import person
from maskwright.engines import FakeEngine
from maskwright.engines.base import Metadata
from maskwright.errors import EngineFailed, OptionError, ShapeError, WeightsMissing
from maskwright.models import Store, catalog, find_card
from maskwright.person import PARTS, PersonOptions, PersonSegmenter, open_person, person_mask
from maskwright.segmenters import open_segmenter
from maskwright.types import Provenance, SegmentResult
from tests.support.graphs import write_graph
from tests.support.tflite import PERSON_KERNEL, write_person_graph

LABELS = find_card("selfie-multiclass").labels
COLORS = {
    "background": (0, 0, 0),
    "hair": (0, 0, 255),
    "body": (0, 255, 0),
    "face": (255, 0, 0),
    "clothes": (255, 255, 255),
    "accessories": (255, 255, 0),
}


def by_color(sharpness=12.0, blend=None):
    """An engine that gives each pixel to the part whose colour is nearest; `blend` weighs the parts instead."""
    palette = np.array([COLORS[label] for label in LABELS], np.float32) / 255

    def compute(batch):
        distance = ((batch[:, np.newaxis] - palette[:, :, np.newaxis, np.newaxis]) ** 2).sum(axis=2)
        raised = np.exp(-sharpness * distance)
        return [(raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)]

    return FakeEngine(compute, (1, 3, 256, 256))


def open_drawn(compat=False, engine=None):
    return PersonSegmenter(open_segmenter("selfie-multiclass", engine=engine or by_color(), compat=compat))


def fixed(planes):
    """A segmenter whose network always gives these probabilities."""
    maps = np.zeros((1, 6, 256, 256), np.float32)
    for label, value in planes.items():
        maps[0, LABELS.index(label)] = value
    return open_drawn(engine=FakeEngine(lambda batch: [maps], (1, 3, 256, 256)))


def drawn(size_hw=(256, 256), **boxes):
    image = np.zeros((*size_hw, 3), np.uint8)
    for part, (x1, y1, x2, y2) in boxes.items():
        image[y1:y2, x1:x2] = COLORS[part.rstrip("0123456789")]
    return image


PERSON = drawn(hair=(90, 20, 170, 60), face=(100, 60, 160, 120), body=(115, 120, 145, 140), clothes=(60, 140, 200, 256))
ALL = drawn(**{part: (40 * index, 20, 40 * index + 30, 200) for index, part in enumerate(COLORS)})


@pytest.mark.parametrize("part", [part for part in PARTS if part not in ("background", "person")])
def test_each_part_is_the_one_that_was_asked_for(part):
    result = open_drawn()(ALL, PersonOptions((part,)))
    expected = (np.array(COLORS[part]) == ALL).all(axis=-1)
    assert np.array_equal(result.mask > 0, expected)
    assert set(np.unique(result.mask)) == {0, 1}
    assert list(result.masks) == [part]


def test_background_and_person_are_each_other_s_rest():
    both = open_drawn()(ALL, PersonOptions(("background", "person")))
    assert np.array_equal(both.masks["background"], 1 - both.masks["person"])
    assert both.mask.min() == 1
    assert np.array_equal(both.masks["background"] > 0, (ALL == 0).all(axis=-1))


def test_several_parts_are_united_and_each_is_told():
    result = open_drawn()(PERSON, PersonOptions(("face", "hair")))
    assert np.array_equal(result.mask, np.maximum(result.masks["face"], result.masks["hair"]))
    assert result.mask.sum() == 80 * 40 + 60 * 60
    assert result.label_names == LABELS
    assert result.labels[80, 130] == LABELS.index("face")
    assert result.labels.dtype == np.uint8


def test_labels_are_computed_when_they_are_read(monkeypatch):
    from maskwright.segmenters.probabilities import NetworkProbabilities

    asked = []
    winners = NetworkProbabilities.winners
    monkeypatch.setattr(NetworkProbabilities, "winners", lambda self: asked.append(1) or winners(self))
    result = open_drawn()(PERSON)
    assert not asked
    assert result.labels is result.labels
    assert len(asked) == 1
    given = SegmentResult(result.mask, Provenance("x"), labels=result.labels)
    assert given.labels is result.labels
    assert SegmentResult(result.mask, Provenance("x")).labels is None


@pytest.mark.parametrize(
    ("confidence", "combine", "soft", "value"),
    [
        (0.4, "max", False, 0),  # hair .3 and face .35: neither alone
        (0.4, "sum", False, 1),
        (0.3, "max", False, 1),
        (0.35, "max", False, 0),  # exactly as probable is not more probable
        (0.65, "sum", False, 0),
        (0.4, "max", True, 0.35),
        (0.4, "sum", True, 0.65),
        (1, "sum", False, 0),
        (0, "max", False, 1),
    ],
)
def test_confidence_and_combine(confidence, combine, soft, value):
    segmenter = fixed({"hair": 0.3, "face": np.float32(0.35), "background": 0.35})
    options = PersonOptions(("face", "hair"), confidence, soft, combine)
    assert np.allclose(segmenter(PERSON, options).mask, value, atol=1e-6)


def test_soft_masks_are_the_probabilities():
    result = open_drawn(engine=by_color(sharpness=1.0))(PERSON, PersonOptions(("face", "clothes"), soft=True))
    assert np.array_equal(result.masks["face"], result.probabilities["face"])
    assert 0 < result.mask.min() < result.mask.max() < 1
    assert sum(result.probabilities.values()).max() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 40), (40, 1), (33, 517), (300, 451)])
def test_every_size_comes_back(size_hw):
    image = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), np.uint8)
    for options in (PersonOptions(), PersonOptions(refine=True, tiles=256, antialias=True, soft=True)):
        result = open_drawn()(image, options)
        assert result.mask.shape == result.labels.shape == size_hw


def test_the_network_sees_red_as_red():
    """The original swaps red and blue before a network trained on RGB."""
    red = drawn(face=(0, 0, 256, 256))
    for compat in (False, True):
        assert open_drawn(compat)(red, PersonOptions(("face",))).mask.min() == 1
        assert open_drawn(compat)(red[..., ::-1], PersonOptions(("hair",))).mask.min() == 1


def test_hidden_pixels_are_gray_by_default_and_shown_in_compat():
    hidden = np.dstack([drawn(face=(0, 0, 256, 256)), np.zeros((256, 256), np.uint8)])
    assert open_drawn()(hidden).mask.max() == 0
    assert open_drawn(compat=True)(hidden).mask.min() == 1


class TestCrops:
    TWO = drawn((600, 1200), face1=(100, 100, 131, 131), face2=(1000, 400, 1040, 430))

    def test_each_person_gets_a_crop(self):
        segmenter = open_drawn()
        coarse = segmenter(self.TWO, PersonOptions())
        segmenter.segmenter.engine.calls.clear()
        fine = segmenter(self.TWO, PersonOptions(refine=True))
        assert len(segmenter.segmenter.engine.calls) == 3
        truth = self.TWO[..., 0] > 0
        wrong = [np.count_nonzero((result.mask > 0) != truth) for result in (coarse, fine)]
        assert wrong[1] < wrong[0] / 2

    def test_people_who_touch_share_one(self):
        segmenter = open_drawn()
        segmenter(
            drawn((600, 1200), face1=(100, 100, 200, 200), face2=(210, 100, 300, 200)), PersonOptions(refine=True)
        )
        assert len(segmenter.segmenter.engine.calls) == 2

    def test_compat_makes_one_crop_and_forgets_the_rest(self):
        segmenter = open_drawn(compat=True)
        result = segmenter(self.TWO, PersonOptions(refine=True))
        assert len(segmenter.segmenter.engine.calls) == 2
        x1, y1, x2, y2 = person.pad_box((98, 98, 1042, 432), (600, 1200))
        outside = np.ones((600, 1200), bool)
        outside[y1:y2, x1:x2] = False
        assert result.probabilities["background"][outside].max() == 0
        assert result.mask[110:120, 110:120].min() == 1

    def test_the_background_is_refined_around_the_people(self):
        segmenter = open_drawn()
        result = segmenter(self.TWO, PersonOptions(("background",), refine=True))
        assert len(segmenter.segmenter.engine.calls) == 3
        assert result.mask[0, 0] == 1
        assert result.mask[115, 115] == 0

    @pytest.mark.parametrize("compat", [False, True])
    def test_nobody_needs_no_second_look(self, compat):
        segmenter = open_drawn(compat)
        result = segmenter(drawn(), PersonOptions(refine=True))
        assert result.mask.max() == 0
        assert len(segmenter.segmenter.engine.calls) == 1


class TestTiles:
    # 6000 x 4000: the network's pixels are 23 apart, and this face lies between them.
    BOX = (3001, 2001, 3017, 2014)
    LARGE = drawn((4000, 6000), face=BOX)

    def test_a_small_person_in_a_large_picture_is_found(self):
        segmenter = open_drawn()
        assert segmenter(self.LARGE).mask.max() == 0
        result = segmenter(self.LARGE, PersonOptions(tiles=1024))
        found = np.argwhere(result.mask > 0)
        assert len(found)
        assert np.abs(found.mean(axis=0) - [2007, 3009]).max() < 6

    def test_tiles_have_no_say_where_the_picture_shows_who_is_there(self):
        image = drawn((1500, 1500), clothes=(0, 0, 1500, 1500))

        def confused(batch):  # sees cloth in the whole picture; in a square of nothing but cloth, background
            maps = np.zeros((1, 6, 256, 256), np.float32)
            maps[0, 0 if len(engine.calls) > 1 else LABELS.index("clothes")] = 1
            return [maps]

        engine = FakeEngine(confused, (1, 3, 256, 256))
        result = open_drawn(engine=engine)(image, PersonOptions(("clothes",), tiles=512))
        assert result.mask.min() == 1
        assert len(engine.calls) > 10

    def test_a_small_picture_has_no_tiles(self):
        segmenter = open_drawn()
        segmenter(PERSON, PersonOptions(tiles=1024))
        assert len(segmenter.segmenter.engine.calls) == 1


def test_antialias_sees_what_lies_between_samples_and_places_it_right():
    box = (1001, 801, 1101, 901)
    image = drawn((2048, 2048), face=box)
    centers = []
    for antialias in (False, True):
        segmenter = open_drawn(engine=by_color(sharpness=2))
        result = segmenter(image, PersonOptions(confidence=0.5, antialias=antialias))
        centers.append(np.argwhere(result.mask > 0).mean(axis=0))
        assert segmenter.segmenter.pre.kernel == "bilinear-corners"  # the segmenter itself is left as it was
    truth = np.array([850.5, 1050.5])
    assert np.abs(centers[1] - truth).max() < 1
    assert np.abs(centers[0] - truth).min() > 2  # half a pixel of the network, 4 pixels here


class TestModel:
    @pytest.fixture
    def store(self, tmp_path):
        (tmp_path / "models").mkdir()
        return Store(tmp_path, offline=True)

    def put(self, store, name, write):
        path = store.home / "models" / find_card(name).weights[0].file
        write(path)
        store._accept = frozenset([store.digest(path)])
        return path

    def test_without_any_model_it_says_what_to_fetch(self, store, monkeypatch):
        monkeypatch.setattr(person, "_PARTS_MODELS", ("selfie-multiclass",))  # as where none shipped
        with pytest.raises(
            WeightsMissing, match=r"got none; maskwright models fetch selfie-multiclass, or --model sil"
        ):
            open_person(store=store)

    def test_the_model_that_ships_is_taken_where_google_s_is_not(self, store):
        with open_person(store=store) as segmenter:
            assert segmenter.segmenter.card.name == "maskwright-parts"

    def test_the_model_for_parts_is_taken_where_it_is_here(self, store, monkeypatch):
        pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")
        self.put(store, "selfie-multiclass", write_person_graph)
        with open_person(store=store) as segmenter:
            result = segmenter(PERSON)
        assert result.provenance.model == "selfie-multiclass"
        assert result.provenance.engine.startswith("litert ")
        monkeypatch.setattr(person, "default_store", lambda: store)
        assert np.array_equal(person_mask(PERSON).mask, result.mask)
        assert person_mask(PERSON, parts="face", soft=True).mask.max() <= 1

    @pytest.mark.parametrize("parts", [("face",), ("person", "hair"), ("body",), ("clothes",), ("accessories",)])
    def test_a_silhouette_never_passes_for_a_part(self, parts):
        segmenter = PersonSegmenter(open_segmenter("u2netp", engine=FakeEngine()))
        asked = "|".join(part for part in parts if part != "person")
        with pytest.raises(
            WeightsMissing,
            match=rf"model for {asked} must be .*u2netp, which knows background, person; .*fetch selfie-mul",
        ):
            segmenter(PERSON, PersonOptions(parts))
        assert not segmenter.segmenter.engine.calls

    def test_a_silhouette_is_the_best_that_is_here(self, store):
        with pytest.raises(WeightsMissing, match=r"u2netp\.onnx"):
            open_person("silhouette", store=store)
        store = Store(store.home, offline=True)
        path = store.home / "models" / "u2net_human_seg.onnx"
        write_graph(path, size_hw=(320, 320))
        assert person._choose_model("silhouette", store, own=False).name == "u2net_human_seg"

    def test_a_silhouette_is_person_and_background(self):
        for name, compat in [("u2netp", False), ("u2netp", True), ("selfie-segmenter", False)]:
            segmenter = open_segmenter(name, engine=FakeEngine(), compat=compat)
            result = PersonSegmenter(segmenter)(PERSON, PersonOptions(("person", "background"), soft=True, refine=True))
            assert np.allclose(result.masks["person"] + result.masks["background"], 1, atol=1e-6)
            assert result.label_names == ("background", "person")
        plain = PersonSegmenter(segmenter)(PERSON, PersonOptions(("person",), soft=True))
        assert np.array_equal(plain.mask, segmenter(PERSON).mask)
        assert plain.provenance.model == "selfie-segmenter"

    def test_tiles_want_a_model_that_knows_people(self):
        segmenter = PersonSegmenter(open_segmenter("u2netp", engine=FakeEngine()))
        with pytest.raises(OptionError, match="tiles must be 0 with a model that finds whatever stands out, got 512"):
            segmenter(PERSON, PersonOptions(("person",), tiles=512))

    @pytest.mark.parametrize("name", [card.name for card in catalog() if card.family == "parts"])
    def test_a_model_for_other_parts_is_refused(self, name, store):
        if name in person._PARTS_MODELS:
            assert person._choose_model(name, store, own=False).name == name
            return
        with pytest.raises(OptionError, match=rf"model must be one for parts of a person .*got '{name}'"):
            open_person(name, store=store)

    def test_only_segmenters_with_probabilities_are_taken(self):
        with pytest.raises(OptionError, match="segmenter must be one for parts or a silhouette, got NoneType"):
            PersonSegmenter(None)

    def test_it_is_part_of_the_package(self):
        assert mw.person_mask is person_mask
        assert mw.open_person is open_person
        result = mw.person_mask(PERSON, parts=["face"], model=open_drawn())
        assert result.mask.sum() == 60 * 60


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"parts": ()}, r"parts must be one or more of face, hair, body.*got \(\)"),
        ({"parts": ("face", "nose")}, r"parts must be one or more of .*got \('face', 'nose'\)"),
        ({"confidence": 1.5}, "confidence must be from 0 to 1, got 1.5"),
        ({"confidence": float("nan")}, "confidence must be from 0 to 1, got nan"),
        ({"combine": "mean"}, "combine must be max or sum, got 'mean'"),
        ({"tiles": 100}, "tiles must be 0, or 256 or more, got 100"),
        ({"tiles": -1}, "tiles must be 0 or more, got -1"),
    ],
)
def test_options_outside_their_range_are_refused(values, message):
    with pytest.raises(OptionError, match=message):
        PersonOptions(**values)


class TestOneClassOfSkin:
    """Some models have one class for all skin."""

    @pytest.fixture
    def parts(self):
        class Found(dict):
            labels, size_hw = ("background", "hair", "skin"), (4, 4)

        planes = {name: np.zeros((4, 4), np.float32) for name in Found.labels}
        planes["hair"][0] = 1
        planes["skin"][1:] = 1
        return person._Parts(Found(planes))

    def test_it_is_divided_once(self, parts, monkeypatch):
        calls = []

        def upper_half(skin, hair):
            calls.append(1)
            face = skin.copy()
            face[2:] = 0
            return face, skin - face

        monkeypatch.setattr(person, "split_skin", upper_half)
        assert parts.probability("face").sum() == 4
        assert parts.above("body", 0.4).sum() == 8
        assert len(calls) == 1
        assert person._knows(("background", "hair", "skin"), "body")


class TestWhatTheFileSays:
    def engine(self, output, **metadata):
        engine = FakeEngine(lambda batch: [np.broadcast_to(output, (1, 6, 256, 256)).astype(np.float32)])
        engine.metadata = Metadata(**metadata)
        return engine

    def test_its_numbers_scale_the_picture(self):
        engine = self.engine(0, mean=(127.5,) * 3, std=(127.5,) * 3)
        tensor = open_segmenter("selfie-multiclass", engine=engine).prepare(PERSON).tensor
        assert (tensor.min(), tensor.max()) == (-1, 1)

    def test_without_any_the_row_s_hold(self):
        tensor = open_segmenter("selfie-multiclass", engine=FakeEngine()).prepare(PERSON).tensor
        assert (tensor.min(), tensor.max()) == (0, 1)

    @pytest.mark.parametrize(
        ("activation", "raw", "expected"),
        [
            ("none", [0.5, 0.25, 0.25, 0, 0, 0], [0.5, 0.25, 0.25, 0, 0, 0]),  # probabilities are left alone
            (None, [0.5, 0.25, 0.25, 0, 0, 0], [0.5, 0.25, 0.25, 0, 0, 0]),
            ("softmax", [0.5, 0.25, 0.25, 0, 0, 0], "softmax"),
            ("none", [3, 2, 1, 0, 0, 0], "softmax"),  # logits are not, whatever the file says
            (None, [3, 2, 1, 0, 0, 0], "softmax"),
            ("sigmoid", [3, 2, 1, 0, 0, 0], "sigmoid"),
        ],
    )
    def test_planes_become_probabilities(self, activation, raw, expected):
        raw = np.array(raw, np.float32)
        if isinstance(expected, str):
            expected = np.exp(raw) / np.exp(raw).sum() if expected == "softmax" else 1 / (1 + np.exp(-raw))
        engine = self.engine(raw.reshape(1, 6, 1, 1), activation=activation)
        found = open_segmenter("selfie-multiclass", engine=engine)(PERSON).probabilities
        assert np.allclose([plane[5, 5] for plane in found.values()], expected, atol=1e-6)


def test_another_number_of_planes_is_refused():
    engine = FakeEngine(lambda batch: [np.zeros((1, 5, 256, 256), np.float32)], (1, 3, 256, 256))
    with pytest.raises(EngineFailed, match="output of selfie-multiclass must be 6 class maps, got 5"):
        open_drawn(engine=engine)(PERSON)


def test_the_strict_entry_takes_8_bit_rgb_alone():
    with pytest.raises(ShapeError, match=r"image must be \(H, W, 3\) uint8"):
        open_drawn().segmenter.find_probabilities(PERSON / 255)


def test_the_stand_in_has_another_winner_for_each_colour(tmp_path):
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")
    segmenter = open_segmenter("selfie-multiclass", weights=write_person_graph(tmp_path / "six.tflite"), device="cpu")
    assert sorted(np.unique(segmenter(ALL).labels)) == [0, 1, 2, 3, 4]
    assert PERSON_KERNEL.shape == (len(LABELS), 3)
