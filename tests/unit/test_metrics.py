"""Metrics against numbers worked out by hand, slow spelled-out definitions, and pysodmetrics."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from maskwright import metrics
from maskwright.errors import OptionError, RangeError, ShapeError

OF_CLIPS = ("temporal_error", "warping_error")
FUNCTIONS = [getattr(metrics, name) for name in metrics.__all__ if name not in ("FKind", "f_curve", *OF_CLIPS)]
WITH_REGION = [metrics.mae, metrics.mse, metrics.sad, metrics.gradient_error, metrics.connectivity_error]
ERRORS = [*WITH_REGION, metrics.boundary_error]
any_mask = hnp.arrays(np.float32, (5, 8), elements=st.integers(0, 255).map(lambda value: np.float32(value / 255)))
ids = {"ids": lambda function: function.__name__}

# What pysodmetrics 1.6.2 says of `pairs`: MAE, F (max, mean, adaptive), S, IoU at 128 of 255.
PYSODMETRICS = {
    "blob": (0.100067366128, 0.857661223817, 0.764417905051, 0.811305626086, 0.837210389303, 0.674457429048),
    "blob in a corner": (0.09506302521, 0.92618435549, 0.837197906746, 0.911276667795, 0.82979100187, 0.817829457364),
    "missed": (0.201388888889, 0.246889325475, 0.000964411427636, 0.246889325475, 0.399305555556, 0),
    "0001": (0.0329845413821, 0.922829197761, 0.908191412466, 0.911218381135, 0.921070760396, 0.782189691979),
    "19": (0.0766537202614, 0.843794527088, 0.820192565804, 0.833806866077, 0.789835803801, 0.729696920649),
    "aerial-1867541__340": (0.00141336612428, 0, 0, 0, 0.998586633876, 0),
}


def blob(seed=0, size_hw=(48, 57)):
    """A prediction in steps of 1/255 and a hard truth that overlap for the most part."""
    y, x = np.mgrid[: size_hw[0], : size_hw[1]]
    noise = np.random.default_rng(seed).normal(0, 0.08, size_hw)
    soft = np.clip(1.6 - np.hypot(y - 22, x - 30) / 11 + noise, 0, 1)
    truth = np.hypot((y - 24) * 1.1, x - 27) < 14
    return np.float32(np.rint(soft * 255) / 255), truth.astype(np.float32)


def square(size_hw=(20, 20), start=5, end=15):
    mask = np.zeros(size_hw, np.float32)
    mask[start:end, start:end] = 1
    return mask


class TestByHand:
    """Two rows of four pixels, small enough to follow."""

    prediction = np.array([[0.0, 0.2, 0.6, 1.0], [0.0, 0.0, 0.4, 0.8]])
    truth = np.array([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]])

    def test_iou(self):
        assert metrics.iou(self.prediction, self.truth) == 3 / 4
        assert metrics.iou(self.prediction, self.truth, level=0.15) == 4 / 5
        assert metrics.iou(self.prediction, self.truth, level=None) == pytest.approx(2.8 / 4.2)

    def test_means(self):
        assert metrics.mae(self.prediction, self.truth) == pytest.approx((0.2 + 0.4 + 0.6 + 0.2) / 8)
        assert metrics.mse(self.prediction, self.truth) == pytest.approx((0.04 + 0.16 + 0.36 + 0.04) / 8)
        assert metrics.sad(self.prediction, self.truth) == pytest.approx(1.4 / 1000)

    def test_f(self):
        def f(precision, recall):
            return 1.3 * precision * recall / (0.3 * precision + recall)

        assert metrics.f_measure(self.prediction, self.truth, kind=0.5) == pytest.approx(f(1, 3 / 4))
        assert metrics.f_measure(self.prediction, self.truth) == 1  # at 0.4
        assert metrics.f_measure(self.prediction, self.truth, kind="adaptive") == pytest.approx(f(1, 2 / 4))  # at 0.75
        levels = [(0, f(4 / 8, 1)), (51, f(4 / 5, 1)), (52, 1), (102, 1), (153, f(1, 3 / 4)), (205, f(1, 1 / 4))]
        curve = metrics.f_curve(self.prediction, self.truth)
        assert curve[[level for level, _ in levels]] == pytest.approx([value for _, value in levels])
        assert metrics.f_measure(self.prediction, self.truth, kind="mean") == pytest.approx(curve.mean())

    def test_f_weighs_recall(self):
        half = metrics.f_measure(self.prediction, self.truth, kind=0.7, beta_squared=1)
        assert half == pytest.approx(2 * 1 * 0.5 / 1.5)

    def test_boundary_error_counts_the_band_alone(self):
        # One pixel to either side of the step from the second to the third column.
        assert metrics.boundary_error(self.prediction, self.truth, width=1) == pytest.approx((0.2 + 0.4 + 0.6) / 4)
        assert metrics.boundary_error(self.prediction, self.truth, width=2) == pytest.approx(1.4 / 8)

    def test_region(self):
        region = np.array([[False, True, True, False], [False] * 4])
        assert metrics.mae(self.prediction, self.truth, region=region) == pytest.approx(0.3)
        assert metrics.mse(self.prediction, self.truth, region=region) == pytest.approx(0.1)
        assert metrics.sad(self.prediction, self.truth, region=region) == pytest.approx(0.6 / 1000)


class TestEdges:
    @pytest.mark.parametrize("function", FUNCTIONS, **ids)
    def test_the_truth_itself_is_best(self, function):
        best = 0 if function in ERRORS else 1
        assert function(square(), square()) == pytest.approx(best, abs=1e-12)

    @pytest.mark.parametrize("function", FUNCTIONS, **ids)
    @pytest.mark.parametrize("value", [0, 1])
    def test_a_flat_truth_met(self, function, value):
        flat = np.full((7, 9), value, np.float32)
        found = function(flat, flat)
        if function is metrics.boundary_error:
            assert math.isnan(found)
        else:
            assert found == (0 if function in ERRORS else 1)

    @pytest.mark.parametrize("function", [metrics.iou, metrics.f_measure, metrics.boundary_f, metrics.s_measure], **ids)
    def test_a_subject_invented_or_missed(self, function):
        empty = np.zeros((20, 20), np.float32)
        invented, missed = function(square(), empty), function(empty, square())
        if function is metrics.s_measure:
            assert invented == 0.75  # the share of pixels left alone
        elif function is metrics.f_measure:
            assert invented == 0
            assert missed == pytest.approx(1.3 * 0.25 / (0.3 * 0.25 + 1))  # cut at 0 all is selected
            assert function(empty, square(), kind=0.5) == function(square(), empty, kind=0.5) == 0
            return
        else:
            assert invented == 0
        assert missed < 0.5

    def test_a_trace_where_nothing_is(self):
        empty = np.zeros((4, 4))
        assert metrics.f_measure(empty, empty, kind="adaptive") == 1
        assert metrics.f_measure(empty + 0.1, empty, kind="adaptive") == 0
        assert metrics.f_measure(empty + 0.1, empty) == 0

    @pytest.mark.parametrize("function", FUNCTIONS, **ids)
    def test_one_pixel(self, function):
        found = function(np.ones((1, 1)), np.ones((1, 1)))
        assert math.isnan(found) if function is metrics.boundary_error else found in (0, 1)

    @pytest.mark.parametrize("function", FUNCTIONS, **ids)
    @settings(max_examples=25, deadline=None)
    @given(a=any_mask, b=any_mask)
    def test_any_pair(self, function, a, b):
        found = function(a, b)
        assert isinstance(found, float)
        if function in (metrics.gradient_error, metrics.connectivity_error, metrics.sad):
            assert found >= 0
        elif not math.isnan(found):
            assert 0 <= found <= 1 + 1e-12

    @settings(max_examples=25, deadline=None)
    @given(a=any_mask, b=any_mask)
    def test_symmetric_ones(self, a, b):
        for function in (metrics.mae, metrics.mse, metrics.sad, metrics.gradient_error, metrics.connectivity_error):
            assert function(a, b) == pytest.approx(function(b, a))
        assert metrics.iou(a, b) == metrics.iou(b, a)
        assert metrics.boundary_f(a, b) == pytest.approx(metrics.boundary_f(b, a))

    def test_bool_counts(self):
        a, b = blob()
        assert metrics.iou(a >= 0.5, b == 1) == metrics.iou(a, b)
        assert metrics.mae(b == 1, b) == 0


class TestRefused:
    @pytest.mark.parametrize("function", [*FUNCTIONS, metrics.f_curve], **ids)
    @pytest.mark.parametrize(
        ("prediction", "kind", "message"),
        [
            (np.zeros((3, 4)), ShapeError, r"prediction size must be that of truth, \(3, 5\)"),
            (np.zeros((3, 5, 1)), ShapeError, r"prediction must be \(H, W\)"),
            (np.zeros((0, 5)), ShapeError, "at least one pixel"),
            (np.zeros((3, 5), np.uint8), RangeError, "prediction must be float"),
            (np.full((3, 5), 1.5), RangeError, r"prediction must be in \[0, 1\]"),
            (np.full((3, 5), np.nan), RangeError, r"prediction must be in \[0, 1\]"),
        ],
    )
    def test_no_mask(self, function, prediction, kind, message):
        with pytest.raises(kind, match=message):
            function(prediction, np.zeros((3, 5)))

    @pytest.mark.parametrize("function", WITH_REGION, **ids)
    def test_no_region(self, function):
        a, b = blob()
        with pytest.raises(ShapeError, match=r"region must be \(48, 57\) bool, got \(2, 2\) bool"):
            function(a, b, region=np.ones((2, 2), bool))
        with pytest.raises(ShapeError, match=r"region must be \(48, 57\) bool, got \(48, 57\) float32"):
            function(a, b, region=b)
        with pytest.raises(RangeError, match="region must be at least one pixel"):
            function(a, b, region=np.zeros(a.shape, bool))

    @pytest.mark.parametrize(
        ("call", "kind", "message"),
        [
            (lambda a, b: metrics.iou(a, b, level=2), RangeError, "level must be from 0 to 1, got 2"),
            (lambda a, b: metrics.f_measure(a, b, kind="best"), OptionError, "kind must be max, mean, adaptive"),
            (lambda a, b: metrics.f_measure(a, b, kind=-1), RangeError, "the level must be from 0 to 1, got -1"),
            (lambda a, b: metrics.f_measure(a, b, beta_squared=0), RangeError, "beta_squared must be above 0"),
            (lambda a, b: metrics.f_curve(a, b, beta_squared=math.inf), RangeError, "beta_squared must be above 0"),
            (lambda a, b: metrics.boundary_f(a, b, tolerance=-1), RangeError, "tolerance must be at least 0 pixels"),
            (lambda a, b: metrics.boundary_error(a, b, width=0.5), RangeError, "width must be at least 1 pixels"),
        ],
    )
    def test_numbers(self, call, kind, message):
        with pytest.raises(kind, match=message):
            call(*blob())


class TestBoundaryF:
    def by_definition(self, a, b, radius):
        """Outlines fattened by a disc, as DAVIS's program does it."""

        def outline(mask):
            height, width = mask.shape
            found = np.zeros_like(mask)
            for y in range(height):
                for x in range(width):
                    others = [(y, min(x + 1, width - 1)), (min(y + 1, height - 1), x)]
                    others.append((others[1][0], others[0][1]))
                    found[y, x] = any(mask[y, x] != mask[other] for other in others)
            return found

        def fat(line):
            y, x = np.mgrid[: line.shape[0], : line.shape[1]]
            out = np.zeros_like(line)
            for row, column in zip(*np.nonzero(line), strict=True):
                out |= (y - row) ** 2 + (x - column) ** 2 <= radius**2
            return out

        first, second = outline(a >= 0.5), outline(b >= 0.5)
        precision = (first & fat(second)).sum() / first.sum()
        recall = (second & fat(first)).sum() / second.sum()
        return 2 * precision * recall / (precision + recall)

    @pytest.mark.parametrize("radius", [0, 1, 2, 5])
    def test_definition(self, radius):
        a, b = blob()
        assert metrics.boundary_f(a, b, tolerance=radius) == pytest.approx(self.by_definition(a, b, radius))

    def test_the_usual_tolerance_is_a_share_of_the_diagonal(self):
        a, b = blob(size_hw=(150, 200))  # a diagonal of 250
        assert metrics.boundary_f(a, b) == metrics.boundary_f(a, b, tolerance=2)
        assert metrics.boundary_f(a, b) != metrics.boundary_f(a, b, tolerance=3)


class TestGradient:
    def test_definition(self):
        """One two-dimensional filter per axis, 9 by 9 pixels, as the benchmark's program builds it."""
        from scipy.ndimage import convolve

        sigma, radius = 1.4, 4
        y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(float)

        def gauss(values):
            return np.exp(-(values**2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))

        kernel = gauss(y) * (-x * gauss(x) / sigma**2)
        kernel /= math.sqrt((np.abs(kernel) ** 2).sum())
        a, b = (mask.astype(float) for mask in blob())
        lengths = [
            np.hypot(convolve(mask, kernel, mode="nearest"), convolve(mask, kernel.T, mode="nearest"))
            for mask in (a, b)
        ]
        expected = (lengths[0] - lengths[1]) ** 2
        assert metrics.gradient_error(a, b) == pytest.approx(expected.sum() / 1000)
        region = (b > 0) & (a < 1)
        assert metrics.gradient_error(a, b, region=region) == pytest.approx(expected[region].sum() / 1000)

    def test_a_blurred_edge_costs_and_an_offset_does_not(self):
        truth = np.zeros((20, 20))
        truth[:, 10:] = 1
        assert metrics.gradient_error(truth * 0.5 + 0.25, truth) > 0
        assert metrics.gradient_error(np.full((20, 20), 0.3), np.full((20, 20), 0.9)) == pytest.approx(0, abs=1e-20)


class TestConnectivity:
    def by_definition(self, a, b):
        """Level after level with a flood fill, as the paper's program does it."""
        reached = np.full(a.shape, -1.0)
        for number in range(1, 11):
            level = np.float32(number / 10)
            omega = self.largest((a >= level) & (b >= level))
            reached[(reached == -1) & ~omega] = (number - 1) / 10
        reached[reached == -1] = 1
        total = 0.0
        for y, x in np.ndindex(a.shape):
            d_a, d_b = float(a[y, x]) - reached[y, x], float(b[y, x]) - reached[y, x]
            total += abs((1 - d_a * (d_a >= 0.15)) - (1 - d_b * (d_b >= 0.15)))
        return total / 1000

    def largest(self, bits):
        best, left = set(), {(int(y), int(x)) for y, x in zip(*np.nonzero(bits), strict=True)}
        while left:
            heap, island = [left.pop()], set()
            while heap:
                y, x = heap.pop()
                island.add((y, x))
                near = {(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)} & left
                left -= near
                heap.extend(near)
            best = max(best, island, key=len)
        out = np.zeros_like(bits)
        for place in best:
            out[place] = True
        return out

    @pytest.mark.parametrize("seed", [0, 1])
    def test_definition(self, seed):
        a, b = blob(seed)
        b = np.float32(b * 0.8)
        assert metrics.connectivity_error(a, b) == pytest.approx(self.by_definition(a, b), abs=1e-7)

    def test_an_island_is_worse_than_the_same_beside_the_subject(self):
        truth = square()
        near, far = truth.copy(), truth.copy()
        near[10, 15] = far[1, 1] = 0.6  # neither is in the truth: both are loose from 0 on
        assert metrics.connectivity_error(near, truth) == pytest.approx(0.6 / 1000)
        assert metrics.connectivity_error(far, truth) == pytest.approx(0.6 / 1000)
        both = truth.copy()
        both[1, 1] = both[10, 15] = 1
        near[10, 15] = far[1, 1] = 1
        assert metrics.connectivity_error(near, both) < metrics.connectivity_error(truth, both)

    def test_little_looseness_is_none(self):
        truth = square()
        faint = truth.copy()
        faint[1, 1] = 0.14
        assert metrics.connectivity_error(faint, truth) == 0


def test_boundary_error_by_definition():
    a, b = blob()
    hard = b >= 0.5
    points = {side: np.argwhere(hard == side) for side in (True, False)}
    for width in (1, 3.5, 10):
        near = [
            abs(float(a[y, x]) - float(b[y, x]))
            for y, x in np.ndindex(a.shape)
            if np.hypot(*(points[not hard[y, x]] - (y, x)).T).min() <= width
        ]
        assert metrics.boundary_error(a, b, width=width) == pytest.approx(np.mean(near))


def pairs(shared_folder=None):
    """Name to a prediction in steps of 1/255 and a hard truth."""
    yield "blob", *blob()
    yield "blob in a corner", *(np.ascontiguousarray(mask[20:, 25:]) for mask in blob(3))
    yield "missed", np.zeros((48, 57), np.float32), blob()[1]
    if shared_folder is not None:
        for path in sorted((shared_folder / "gt_open" / "metric_fixtures" / "preds").glob("*.png")):
            prediction = np.asarray(Image.open(path).convert("L"), np.float32) / np.float32(255)
            truth = np.asarray(Image.open(path.parents[1] / "masks" / path.name).convert("L")) > 128
            yield path.stem, prediction, truth.astype(np.float32)


def measured(a, b):
    f = [metrics.f_measure(a, b, kind=kind) for kind in ("max", "mean", "adaptive")]
    return metrics.mae(a, b), *f, metrics.s_measure(a, b), metrics.iou(a, b, level=128 / 255)


def check_recorded(name, a, b):
    assert measured(a, b) == pytest.approx(PYSODMETRICS[name], abs=1e-7), name


def test_recorded_numbers_of_pysodmetrics():
    for pair in pairs():
        check_recorded(*pair)


def test_recorded_numbers_of_pysodmetrics_on_its_own_pictures(shared):
    if not (shared / "gt_open" / "metric_fixtures").is_dir():
        pytest.skip("no pictures of pysodmetrics (shared/gt_open/metric_fixtures)")
    for pair in pairs(shared):
        check_recorded(*pair)


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
def test_pysodmetrics_itself():
    theirs = pytest.importorskip("py_sod_metrics", reason="pip install pysodmetrics==1.6.2, apart from rembg")
    for name, a, b in pairs():
        arguments = (a.astype(np.float64), b >= 0.5)
        # Their maps are cut to 8 bits, not rounded.
        rounded = (np.rint(arguments[0] * 255) / 255, arguments[1])
        f, mae, s = theirs.Fmeasure(), theirs.MAE(), theirs.Smeasure()
        iou = theirs.FmeasureV2({"iou": theirs.IOUHandler(with_dynamic=True, with_adaptive=False)})
        for metric in (f, mae, s, iou):
            metric.step(*rounded, normalize=False)
        curve = f.get_results()["fm"]["curve"]
        expected = (
            mae.get_results()["mae"],
            curve.max(),
            curve.mean(),
            f.get_results()["fm"]["adp"],
            s.get_results()["sm"],
            iou.get_results()["iou"]["dynamic"][255 - 128],
        )
        assert measured(a, b) == pytest.approx(expected, abs=1e-7), name
        assert PYSODMETRICS[name] == pytest.approx(expected, abs=1e-9), name


class TestClips:
    def test_changes_count_and_not_what_stays_wrong(self):
        truth = [np.full((4, 5), value) for value in (0.2, 0.4, 0.4)]
        assert metrics.temporal_error([mask + 0.5 for mask in truth], truth) < 1e-6
        assert metrics.temporal_error([truth[0], truth[1] + 0.3, truth[2]], truth) == pytest.approx(0.3)

    def test_flicker_counts_where_the_motion_is_sure(self):
        mask, carried = np.zeros((2, 4)), np.zeros((2, 4))
        carried[:, 0], carried[0, 3] = 1, 0.5
        trust = np.array([[0.0, 1, 1, 1]] * 2)
        assert metrics.warping_error(mask, carried, trust) == pytest.approx(0.5 / 6)
        assert metrics.warping_error(mask, carried, trust * 0) == 0

    @pytest.mark.parametrize(("count", "truths"), [(1, 1), (2, 3), (0, 0)])
    def test_refused(self, count, truths):
        with pytest.raises(RangeError, match="the clip must be two frames or more"):
            metrics.temporal_error([np.zeros((2, 2))] * count, [np.zeros((2, 2))] * truths)
