import pytest

from maskwright.errors import UnknownModel
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


def test_only_bria_is_not_for_commerce():
    assert [card.name for card in catalog() if card.commercial is False] == ["bria-rmbg"]
