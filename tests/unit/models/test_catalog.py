import pytest

from maskwright.errors import OptionError, UnknownModel
from maskwright.models import catalog, find_card


def test_the_first_row_is_the_default():
    assert catalog()[0].name == "u2netp"


@pytest.mark.parametrize(
    ("name", "close"), [("u2nett", "u2net"), ("isnet-anme", "isnet-anime"), ("birefnet", "birefnet-")]
)
def test_an_unknown_name_lists_close_matches_then_all(name, close):
    with pytest.raises(UnknownModel, match=rf"'{name}'; did you mean {close}.*There are: u2netp, u2net, "):
        find_card(name)


def test_a_name_like_no_other_lists_all():
    with pytest.raises(UnknownModel, match=r"got 'zzz'; There are: u2netp"):
        find_card("zzz")


def test_no_two_rows_share_a_name_or_a_file():
    names = [name for card in catalog() for name in (card.name, *card.aliases)]
    files = [weights.file for card in catalog() for weights in card.weights]
    assert len(set(names)) == len(names)
    assert len(set(files)) == len(files)


def test_which_are_not_for_commerce():
    assert {card.name for card in catalog() if card.commercial is False} == {"anime-face", "bria-rmbg", "rmbg-1.4"}


def test_a_row_gives_the_rule_of_each_program_that_runs_its_weights():
    card = find_card("isnet-anime")
    assert card.choose_recipe(False) is card.recipe
    assert card.choose_recipe(True) is card.choose_recipe("rembg") is card.compat
    assert card.choose_recipe("art-venture").pre.mean == (0.5, 0.5, 0.5)
    assert card.choose_recipe("controlnet-aux").pre.fit == "as-is"


def test_a_program_whose_rule_is_not_known_is_refused():
    with pytest.raises(OptionError, match="compat of u2netp must be one of rembg, got 'photoshop'"):
        find_card("u2netp").choose_recipe("photoshop")


def test_what_was_converted_comes_before_the_checkpoint_it_was_made_from():
    for card in catalog():
        torch = [weights for weights in card.weights if weights.runtime == "torch"]
        if torch:
            assert torch[0].file == f"{card.name}.safetensors"
            assert not torch[0].sources
            assert len({weights.file for weights in card.weights}) == len(card.weights)
