"""The pages themselves: links lead somewhere, code runs, commands are real."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import pkgutil
import re
import shlex
import shutil
from pathlib import Path

import click
import pytest

import maskwright

ROOT = Path(__file__).resolve().parents[2]
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_FENCED = re.compile(r"^```.*?^```$", re.M | re.S)


def _anchors(page):
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def test_links_lead_somewhere(page):
    wrong = []
    for link in _LINK.findall(_FENCED.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            wrong.append(f"{link}: no such file")
        elif anchor and target.suffix == ".md" and anchor not in _anchors(target):
            wrong.append(f"{link}: no such heading")
        elif not target.is_relative_to(ROOT):
            wrong.append(f"{link}: outside the repository")
        elif page.is_relative_to(ROOT / "docs") and not target.is_relative_to(ROOT / "docs"):
            wrong.append(f"{link}: outside the site")
    assert not wrong, "\n".join(wrong)


def test_lines_are_not_too_long(page):
    if page.parent.name == "reference":
        pytest.skip("generated")
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    long = [line for line in text.splitlines() if len(line) > 125 and not line.startswith("|") and "](" not in line]
    assert not long, "\n".join(long)


def test_every_page_is_in_the_menu():
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")]
    assert not [page for page in pages if f": {page}\n" not in menu + "\n"]


def test_site_builds_in_strict_mode(run_python, tmp_path):
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed")
    done = run_python("-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path / "site", cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    for page in (tmp_path / "site").rglob("*.html"):
        loaded = re.findall(r'(?:src=|<link[^>]*href=)"(https?://[^"]+)', page.read_text(encoding="utf-8"))
        assert not [url for url in loaded if "stylesheet" in url or url.endswith((".js", ".css", ".woff2"))]


def test_python_runs(python_block, run_python, tmp_path, request):
    if request.node.get_closest_marker("weights"):
        request.getfixturevalue("u2netp_home")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    done = run_python("-c", python_block.code)
    assert done.returncode == 0, done.stderr


def _command_lines(code):
    """The arguments of each `maskwright …` in a shell block."""
    for line in code.replace("\\\n", " ").splitlines():
        for part in re.split(r"\||&&|;|>", line.partition("  #")[0]):
            words = shlex.split(part)
            if words[:1] == ["maskwright"]:
                yield words[1:]


def _parse(arguments):
    """Walk to the command and let it parse its arguments; nothing runs."""
    from maskwright.cli import app

    command, context = app, click.Context(app, info_name="maskwright")
    while isinstance(command, click.Group):
        name, *arguments = arguments
        command = command.get_command(context, name)
        assert command is not None, f"no command {name}"
        context = click.Context(command, info_name=name, parent=context)
    command.make_context(command.name, list(arguments)).close()


def test_shell_commands_are_real(shell_block):
    for arguments in _command_lines(shell_block.code):
        _parse(arguments)


def test_inline_commands_are_real(page):
    if page.parent.name == "reference":
        pytest.skip("generated")
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    for code in re.findall(r"`maskwright ([a-z][^`]*)`", text):
        if "…" not in code:
            _parse(shlex.split(code.replace(", or", "")))


def test_readme_and_ci_run_the_same_tests():
    command = re.search(r"^TEST='(.+?)'", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.M)[1]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert command in _bash_lines(readme), f"README.md must have the line {command} in a shell block"


def test_readme_begins_with_a_cut_out():
    lines = _bash_lines((ROOT / "README.md").read_text(encoding="utf-8"))
    assert re.match(r'pip install ["\']?\.\[cpu\]["\']? && maskwright cut ', lines[0]), lines[0]


def _bash_lines(text):
    blocks = re.findall(r"^```(?:bash|sh|shell)\n(.*?)^```$", text, re.M | re.S)
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


def _module_names():
    found = pkgutil.walk_packages(maskwright.__path__, "maskwright.", onerror=lambda name: None)
    return ["maskwright", *(module.name for module in found if not module.name.endswith("__main__"))]


@pytest.mark.parametrize("name", _module_names())
def test_docstring_examples(name):
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("maskwright"):
            raise
        pytest.skip(f"needs {error.name}")
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.failed == 0, f"{name}: {result.failed} examples fail; python -m doctest shows them"
