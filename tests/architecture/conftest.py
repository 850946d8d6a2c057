"""The package's source as the architecture tests see it.

A test that asks for `module` runs once for each file.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "maskwright"


@dataclass(frozen=True)
class Module:
    """One file of the package.

    Attributes:
        name: Dotted, without the package: `refine.masks`; `engines` for its `__init__`; "" for the package's.
        path: Where it lies.
    """

    name: str
    path: Path

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text(encoding="utf-8"), str(self.path))

    @property
    def file(self) -> str:
        """The path below the package, with slashes."""
        return self.path.relative_to(PACKAGE).as_posix()

    @property
    def import_name(self) -> str:
        return f"maskwright.{self.name}" if self.name else "maskwright"

    @property
    def room(self) -> str:
        """The first part of the name."""
        return self.name.partition(".")[0]

    def ours(self, known: frozenset[str]) -> Iterator[tuple[int, str]]:
        """Line and name of each module of ours that is imported, wherever the import stands."""
        package = self.name.split(".") if self.path.name == "__init__.py" else self.name.split(".")[:-1]
        package = [part for part in package if part]
        for node in ast.walk(self.tree):
            if not isinstance(node, ast.ImportFrom) or not node.level:
                continue
            base = package[: len(package) - (node.level - 1)] + (node.module.split(".") if node.module else [])
            for alias in node.names:
                if alias.name == "__version__":
                    continue  # a constant of the package itself, which is loaded in any case
                deeper = ".".join([*base, alias.name])
                yield node.lineno, deeper if deeper in known else ".".join(base)

    def others(self) -> Iterator[tuple[int, str]]:
        """Line and full name of each module that is imported absolutely."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                yield node.lineno, node.module


def find_modules() -> list[Module]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found.append(Module(".".join(part for part in parts if part != "__init__"), path))
    return found


_MODULES = find_modules()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "module" in metafunc.fixturenames:
        metafunc.parametrize("module", _MODULES, ids=[module.file for module in _MODULES])


@pytest.fixture(scope="session")
def modules() -> list[Module]:
    """All files of the package."""
    return _MODULES


@pytest.fixture(scope="session")
def known() -> frozenset[str]:
    """The names of all files of the package."""
    return frozenset(module.name for module in _MODULES)
