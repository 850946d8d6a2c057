"""What the code offers is documented: every command, option, model, variable, error and public name."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import re
import sys
from itertools import chain
from pathlib import Path

import click
import pytest

import maskwright
from maskwright import errors

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def generator():
    """scripts/generate_reference.py as a module."""
    return _load(ROOT / "scripts" / "generate_reference.py")


def _load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def app():
    from maskwright.cli import app

    return app


@pytest.fixture(scope="module")
def commands(generator, app):
    return dict(generator.walk_commands(app))


def test_reference_pages_are_fresh(run_python):
    done = run_python(ROOT / "scripts" / "generate_reference.py", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_stale_page_is_found(generator, monkeypatch, tmp_path, capsys):
    for page in (ROOT / "docs").rglob("*.md"):
        copy = tmp_path / "docs" / page.relative_to(ROOT / "docs")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(page.read_bytes())
    page = tmp_path / "docs" / "reference" / "options.md"
    page.write_text(page.read_text(encoding="utf-8").replace("`depth`", "`deep`"), encoding="utf-8")
    monkeypatch.setattr(generator, "DOCS", tmp_path / "docs")
    monkeypatch.setattr(generator, "make_pages", _with_root(generator, tmp_path))
    monkeypatch.setattr(generator, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["generate_reference.py", "--check"])
    assert generator.main() == 1
    assert "-| `deep`" in capsys.readouterr().out


def _with_root(generator, folder):
    """The pages, made from this checkout's code, for another folder of documentation."""
    pages = generator.make_pages()
    return lambda: {folder / path.relative_to(folder): text for path, text in pages.items()}


def test_every_command_is_explained(commands, prose_text):
    missing = [name for name in commands if not re.search(rf"\bmaskwright {name}\b|`{name}`", prose_text)]
    assert not missing, f"no page but the reference says a word of: {', '.join(missing)}"


def test_every_option_is_documented(generator, commands, docs_text):
    missing = {
        f"{name} {flag}"
        for name, command in commands.items()
        for option in generator.shown_options(command)
        for flag in (*option.opts, *option.secondary_opts)
        if f"`{flag}`" not in docs_text
    }
    assert not missing, ", ".join(sorted(missing))


def test_every_option_has_a_help(generator, commands):
    missing = [
        f"{name} {option.opts[-1]}"
        for name, command in commands.items()
        for option in generator.shown_options(command)
        if not option.help
    ]
    assert not missing, ", ".join(missing)


def test_every_field_of_the_options_is_a_flag(generator, commands):
    from maskwright.pipeline import CutoutOptions

    for name in ("cut", "batch", "stream"):
        flags = {flag for option in generator.shown_options(commands[name]) for flag in option.opts}
        missing = [
            field.name
            for field in dataclasses.fields(CutoutOptions)
            if f"--{field.name.replace('_', '-')}" not in flags
        ]
        assert not missing, f"{name} has no flag for {', '.join(missing)}"


def test_every_model_is_documented(docs_text):
    from maskwright.models import catalog

    missing = [name for card in catalog() for name in (card.name, *card.aliases) if f"`{name}`" not in docs_text]
    assert not missing, ", ".join(missing)


def test_every_published_file_is_in_third_party():
    from maskwright.models import catalog

    text = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")
    missing = [
        weights.file
        for card in catalog()
        for weights in card.weights
        if weights.sources and f"`{weights.file}`" not in text
    ]
    assert not missing, f"THIRD_PARTY.md does not name {', '.join(missing)}"


def test_every_paper_is_in_third_party():
    text = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")
    references = [
        (path.name, authors)
        for path in (ROOT / "maskwright").rglob("*.py")
        for authors in re.findall(r"Reference:\s+([A-Z]\w+)(?:,| et al)", path.read_text(encoding="utf-8"))
    ]
    assert len(references) > 10
    missing = [f"{authors} ({name})" for name, authors in references if authors not in text]
    assert not missing, f"THIRD_PARTY.md does not name {', '.join(missing)}"


def test_non_commercial_models_are_told_apart_in_third_party():
    from maskwright.models import catalog

    lines = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8").splitlines()
    for card in catalog():
        for weights in card.weights:
            row = next((line for line in lines if f"`{weights.file}`" in line and line.startswith("|")), None)
            if row is not None:
                said = row.rstrip(" |").rpartition("|")[2].strip()
                assert said == {True: "yes", False: "**no**", None: "not stated"}[card.commercial], card.name


def test_every_variable_is_explained(generator, prose_text):
    missing = [name for name in generator.find_variables() if f"`{name}" not in prose_text]
    assert not missing, ", ".join(missing)


def test_every_error_is_documented():
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    missing = [name for name in errors.__all__ if f"| `{name}` |" not in text]
    assert not missing, ", ".join(missing)
    for name in errors.__all__:
        assert name in (inspect.getdoc(errors) or ""), f"{name} is not in the tree that errors.py draws"


def test_every_public_name_is_documented(docs_text):
    missing = [name for name in maskwright.__all__ if not re.search(rf"\b{name}\b", docs_text)]
    assert not missing, ", ".join(missing)


def test_every_room_and_home_is_in_the_architecture():
    levels = _load(ROOT / "tests" / "architecture" / "test_levels.py")
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = [room.removesuffix(".__init__") for room in levels.LEVELS if room not in ("__init__", "__main__")]
    missing = [room for room in rooms if f"`{room}`" not in text]
    assert not missing, f"docs/architecture.md does not place {', '.join(missing)}"


def test_every_dependency_is_weighed():
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    named = [
        re.match(r"[\w.-]+", line)[0] for line in [*project["dependencies"], *chain.from_iterable(extras.values())]
    ]
    missing = [name for name in named if name != "maskwright" and not re.search(rf"\b{name}\b", text, re.I)]
    missing += [extra for extra in extras if extra != "all" and f"`{extra}`" not in text]
    assert not missing, ", ".join(missing)
    install = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    assert not [extra for extra in extras if f"| `{extra}` |" not in install]


def test_aliases_are_rembgs(generator, app):
    assert generator.find_aliases(app) == {"b": "stream", "d": "models fetch", "i": "cut", "p": "batch", "s": "serve"}
    assert isinstance(app, click.Group)
