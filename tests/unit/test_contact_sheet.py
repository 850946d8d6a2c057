import numpy as np
import pytest
from PIL import Image

from maskwright.contact_sheet import CELL, Row, draw_pages, shrink


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
@pytest.mark.parametrize("size", [(1, 1), (CELL, 20), (CELL * 3, CELL), (10, 4000)])
def test_small_pictures_keep_their_shape(mode, size):
    small = shrink(Image.new(mode, size))
    assert small.mode == "RGB"
    assert max(small.size) == min(CELL, max(size))
    assert small.width / small.height == pytest.approx(size[0] / size[1], rel=0.1) or 1 in small.size


def test_what_is_transparent_shows_a_checkerboard():
    image = Image.new("RGBA", (40, 40), (200, 0, 0, 0))
    image.paste((200, 0, 0, 255), (20, 0, 40, 40))
    pixels = np.asarray(shrink(image))
    assert (pixels[:, 20:] == (200, 0, 0)).all()
    grays = np.unique(pixels[:, :20].reshape(-1, 3), axis=0)
    assert len(grays) == 2
    assert (np.ptp(grays, axis=1) == 0).all()


def row(*colors, size=(CELL, CELL)):
    return Row("title", tuple((Image.new("RGB", size, color), "caption") for color in colors))


def test_rows_and_columns_stand_in_their_order():
    (page,) = draw_pages([row("red", "lime"), row("blue", "yellow")], ["first", "second"])
    pixels = np.asarray(page)

    def place_of(color):
        return np.argwhere((pixels == color).all(-1)).mean(0)

    red, lime, blue, yellow = map(place_of, [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)])
    assert red[0] == lime[0] < blue[0] == yellow[0]
    assert red[1] == blue[1] < lime[1] == yellow[1]
    assert np.count_nonzero((pixels == (255, 0, 0)).all(-1)) == CELL * CELL  # nothing written over it


def test_pages_hold_so_many_rows():
    pages = list(draw_pages([row("red")] * 7, ["only"], rows_per_page=3))
    heights = [page.height for page in pages]
    assert heights[0] == heights[1] > heights[2]
    assert list(draw_pages([], ["only"])) == []


def test_words_that_are_too_long_are_cut():
    wide = Row("t" * 900, ((Image.new("RGB", (30, 30), "red"), "c" * 400), (Image.new("RGB", (30, 30), "red"), "")))
    (page,) = draw_pages([wide], ["h" * 400, ""])
    ink = np.asarray(page.convert("L")) < 100
    assert ink[:, 10:].any()
    assert not ink[:, -4:].any()
    assert not ink[: 8 + 16, CELL + 10 :].any()  # the first heading stays in its column


def test_names_in_other_letters_are_drawn():
    (page,) = draw_pages([Row("猫.jpg é", ((Image.new("RGB", (30, 30)), "ß"),))], ["моя модель"])
    assert page.width == CELL + 16
