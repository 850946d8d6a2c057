"""Pages of small pictures in rows, with words beside them, for people to look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

__all__ = ["CELL", "Row", "draw_pages", "shrink"]

CELL = 300  # pixels, the longest side of a small picture
_GAP = 8
_LINE = 16
_FONT_SIZE = 12
_SQUARE = 8
_PAPER, _INK = (250, 250, 250), (20, 20, 20)
_LIGHT, _DARK = 240, 195  # of the checkerboard


@dataclass(frozen=True, eq=False)
class Row:
    """One row of a sheet.

    Attributes:
        title: The line above the row.
        cells: Small pictures from `shrink`, each with the line below it.
    """

    title: str
    cells: tuple[tuple[Image.Image, str], ...]


def shrink(image: Image.Image, size: int = CELL) -> Image.Image:
    """The picture in RGB, no side longer than `size` pixels; what is transparent in it shows a checkerboard.

    Examples:
        >>> shrink(Image.new("RGBA", (480, 120))).size
        (300, 75)
    """
    small = image.convert("RGBA")
    small.thumbnail((size, size), Image.Resampling.LANCZOS)
    board = _checkerboard(small.size)
    board.paste(small, mask=small.getchannel("A"))
    return board


def draw_pages(rows: Sequence[Row], headings: Sequence[str], *, rows_per_page: int = 8) -> Iterator[Image.Image]:
    """One page after the other, each with the headings on top.

    Args:
        rows: In their order; each has as many cells as there are headings.
        headings: One for each column.
        rows_per_page: How many rows a page has at most.

    Examples:
        >>> row = Row("a.jpg", ((Image.new("RGB", (300, 300)), "IoU 0.9"),))
        >>> [page.size for page in draw_pages([row] * 3, ["model"], rows_per_page=2)]
        [(316, 712), (316, 372)]
    """
    for start in range(0, len(rows), rows_per_page):
        yield _draw_page(rows[start : start + rows_per_page], headings)


def _draw_page(rows: Sequence[Row], headings: Sequence[str]) -> Image.Image:
    heights = [max(cell.height for cell, _ in row.cells) + 2 * _LINE + _GAP for row in rows]
    width = _GAP + len(headings) * (CELL + _GAP)
    page = Image.new("RGB", (width, 2 * _GAP + _LINE + sum(heights)), _PAPER)
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(_FONT_SIZE)

    def write(x: int, y: int, text: str, room: int) -> None:
        while text and draw.textlength(text, font) > room:
            text = text[:-4] + "..." if len(text) > 4 else ""
        draw.text((x, y), text, _INK, font)

    lefts = [_GAP + column * (CELL + _GAP) for column in range(len(headings))]
    for left, heading in zip(lefts, headings, strict=True):
        write(left, _GAP, heading, CELL)
    top = _GAP + _LINE + _GAP
    for row, height in zip(rows, heights, strict=True):
        write(_GAP, top, row.title, width - 2 * _GAP)
        for left, (cell, caption) in zip(lefts, row.cells, strict=True):
            page.paste(cell, (left, top + _LINE))
            write(left, top + _LINE + cell.height, caption, CELL)
        top += height
    return page


def _checkerboard(size: tuple[int, int]) -> Image.Image:
    across, down = (-(-side // _SQUARE) for side in size)
    squares = bytes(_LIGHT if (x + y) % 2 else _DARK for y in range(down) for x in range(across))
    board = Image.frombytes("L", (across, down), squares)
    full = board.resize((across * _SQUARE, down * _SQUARE), Image.Resampling.NEAREST)
    return full.crop((0, 0, *size)).convert("RGB")
