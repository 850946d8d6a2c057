import numpy as np
import pytest

from maskwright.errors import OptionError
from maskwright.refine.budget import EXACT_PIXELS, Budget, parse_budget, plan_exact, plan_refinement

SIZE = (1000, 1000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, Budget()),
        (2, Budget(2.0)),
        (0.5, Budget(0.5)),
        (np.float32(0.5), Budget(0.5)),
        ("2", Budget(2.0)),
        ("2s", Budget(2.0)),
        (" .5 S ", Budget(0.5)),
        ("0.1mp", Budget(megapixels=0.1)),
        ("4 MP", Budget(megapixels=4.0)),
    ],
)
def test_a_budget_is_seconds_or_megapixels(text, expected):
    assert parse_budget(text) == expected


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf"), "", "fast", "0mp", "2 minutes", "-1s", True, [2]])
def test_what_is_no_budget_is_refused(wrong):
    with pytest.raises(OptionError, match="budget must be seconds or megapixels above 0, got"):
        parse_budget(wrong)


def test_without_a_budget_nothing_is_given_up():
    assert plan_refinement((6000, 4000), 200_000, Budget()).side == 512
    assert plan_refinement((6000, 4000), 200_000, Budget()).note == ""


def test_less_budget_never_gives_a_finer_solution():
    for budgets in (
        [Budget(s) for s in (9, 1, 0.5, 0.4, 0.3, 0.1)],
        [Budget(None, m) for m in (1, 0.1, 0.02, 0.005, 1e-5)],
    ):
        sides = [plan_refinement(SIZE, 60_000, budget).side for budget in budgets]
        assert sides == sorted(sides, reverse=True)
        assert sides[0] == 512
        assert sides[-1] == 0


def test_what_is_given_up_is_said():
    assert (
        plan_refinement(SIZE, 60_000, Budget(None, 0.05)).note == "budget: opacity solved at 256 instead of 512 pixels"
    )
    assert plan_refinement(SIZE, 60_000, Budget(0.01)).note == "budget: opacity by the guided filter"


def test_seconds_count_the_whole_picture():
    assert plan_refinement((1000, 1000), 30_000, Budget(1.0)).side == 512
    assert plan_refinement((6000, 4000), 30_000, Budget(1.0)).side == 0


def test_a_trimap_is_solved_exactly_up_to_a_limit_that_is_said():
    assert plan_exact(SIZE, EXACT_PIXELS, Budget()).side is None
    large = plan_exact((6000, 4000), EXACT_PIXELS + 1, Budget())
    assert large.side == 512
    assert large.note == "size: 1000001 unknown pixels solved at 512 pixels"
    assert plan_exact(SIZE, 5000, Budget(9.0)).side is None
    small = plan_exact(SIZE, 400_000, Budget(None, 0.3))
    assert small.side == 512
    assert small.note == "budget: 400000 unknown pixels solved at 512 pixels"
    assert plan_exact(SIZE, 400_000, Budget(None, 1e-6)).side == 0
