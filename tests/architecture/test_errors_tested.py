"""Each kind of error that a file raises is met by a test of its room, and the test looks at the message.

What counts: `pytest.raises(Kind, match=...)` in a test file of the room; or, where the kinds stand in a
table, `pytest.raises(kind, match=...)` with a variable in a file that names the kind.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from maskwright import errors

TESTS = Path(__file__).resolve().parents[1]
ELSEWHERE = {"decode": "imageio", "encode": "imageio", "metadata": "imageio", "png": "imageio", "server": "doors"}


def _last_name(node):
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else None


def _raised(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            name = _last_name(node.exc.func)
            if name in errors.__all__:
                yield node.lineno, name


def _kinds_met(tree):
    """The kinds of error whose message a test file looks at."""
    met, table = set(), False
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.raises" and node.args):
            continue
        if not any(keyword.arg == "match" for keyword in node.keywords):
            continue
        kinds = node.args[0].elts if isinstance(node.args[0], ast.Tuple) else [node.args[0]]
        names = {_last_name(kind) for kind in kinds}
        met |= names & set(errors.__all__)
        table = table or not names <= set(errors.__all__)
    if table:
        met |= {_last_name(node) for node in ast.walk(tree)} & set(errors.__all__)
    return met


def _files_of(module):
    """The test files of a module's room: their folder, name, or a part of it is the room's or the file's."""
    own = {module.room, module.name.rpartition(".")[2], ELSEWHERE.get(module.room, module.room)}
    for path in sorted(TESTS.rglob("test_*.py")):
        parts = path.relative_to(TESTS).parts
        if parts[0] in ("architecture", "docs"):
            continue
        stem = path.stem.removeprefix("test_")
        if own & {*parts[:-1], stem, *stem.split("_")}:
            yield path


def test_each_kind_raised_is_matched(module):
    if module.room == "cli":
        pytest.skip("its errors arrive as text and an exit code: tests/doors reads those")
    raised = {}
    for line, name in _raised(module.tree):
        raised.setdefault(name, line)
    if not raised:
        pytest.skip("raises none of our errors")
    files = list(_files_of(module))
    met = set().union(*(_kinds_met(ast.parse(path.read_text(encoding="utf-8"))) for path in files))
    missing = [f"{module.file}:{line} raises {name}" for name, line in raised.items() if name not in met]
    assert not missing, "no test of the room matches the message of: " + "; ".join(missing)


def test_every_kind_is_raised_or_a_base(modules):
    """A kind that nothing raises and nothing derives from is a promise nobody keeps."""
    later = {"CacheNotWritable", "RefineError"}
    raised = {name for module in modules for _, name in _raised(module.tree)}
    bases = {base.__name__ for name in errors.__all__ for base in getattr(errors, name).__mro__[1:]}
    assert set(errors.__all__) - raised - bases <= later
