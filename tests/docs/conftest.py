"""The documentation as the tests see it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^(<!-- not run: .+? -->\n+)?```(\w*)\n(.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A piece of code in a page.

    Attributes:
        page: The page, relative to the root.
        line: Where it starts.
        language: `python`, `bash`, …
        code: The lines between the fences.
        skipped: Whether a comment before it says that it is not run.
    """

    page: str
    line: int
    language: str
    code: str
    skipped: bool


def _pages() -> list[Path]:
    """Every page: the root's and those below docs/."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def _blocks() -> list[Block]:
    found = []
    for page in _pages():
        text = page.read_text(encoding="utf-8")
        for match in _FENCE.finditer(text):
            line = text.count("\n", 0, match.start(2)) + 1
            found.append(Block(page.relative_to(ROOT).as_posix(), line, match[2], match[3], match[1] is not None))
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "page" in metafunc.fixturenames:
        pages = _pages()
        metafunc.parametrize("page", pages, ids=[page.relative_to(ROOT).as_posix() for page in pages])
    if "python_block" in metafunc.fixturenames:
        blocks = [block for block in _blocks() if block.language == "python" and not block.skipped]
        metafunc.parametrize(
            "python_block",
            [
                pytest.param(
                    block,
                    id=f"{block.page}:{block.line}",
                    marks=() if "FakeEngine" in block.code else pytest.mark.weights,
                )
                for block in blocks
            ],
        )
    if "shell_block" in metafunc.fixturenames:
        blocks = [block for block in _blocks() if block.language in ("bash", "sh") and "maskwright" in block.code]
        metafunc.parametrize("shell_block", blocks, ids=[f"{block.page}:{block.line}" for block in blocks])


@pytest.fixture(scope="session")
def docs_text() -> str:
    """All pages below docs/, one after the other."""
    return "\n".join(page.read_text(encoding="utf-8") for page in _pages() if page.is_relative_to(ROOT / "docs"))


@pytest.fixture(scope="session")
def prose_text() -> str:
    """The pages below docs/ that people wrote."""
    pages = [page for page in _pages() if page.is_relative_to(ROOT / "docs") and page.parent.name != "reference"]
    return "\n".join(page.read_text(encoding="utf-8") for page in pages)
