"""What the project says of itself in more than one place agrees."""

from __future__ import annotations

import importlib.util
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest

import maskwright

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def installed():
    try:
        return metadata.metadata("maskwright")
    except metadata.PackageNotFoundError:
        pytest.skip('maskwright is not installed here: pip install -e ".[test]"')


def test_version_stands_in_one_place(project):
    assert "version" in project["project"]["dynamic"]
    places = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "maskwright").rglob("*.py")
        if re.search(rf"['\"]{re.escape(maskwright.__version__)}['\"]", path.read_text(encoding="utf-8"))
    ]
    assert places == ["maskwright/__init__.py"]


def test_comfyuis_registry_finds_version_and_icon(project):
    """It reads no `dynamic` but by a path of its own, and wants the icon as an address."""
    comfy = project["tool"]["comfy"]
    assert f'__version__ = "{maskwright.__version__}"' in (ROOT / comfy["version"]["path"]).read_text(encoding="utf-8")
    address, _, icon = comfy["Icon"].partition("/main/")
    assert address.startswith("https://")
    assert (ROOT / icon).is_file()
    assert "Repository" in project["project"]["urls"]
    known = ("Environment :: GPU", "Environment :: NPU")  # with any other it drops them all
    assert all(one.startswith(known) for one in project["project"]["classifiers"] if one.startswith("Environment"))


def test_changelog_knows_the_version():
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert maskwright.__version__ in headings


def test_python_versions_agree(project):
    oldest = project["project"]["requires-python"].removeprefix(">=")
    assert oldest == "3.10"
    assert project["tool"]["ruff"]["target-version"] == "py" + oldest.replace(".", "")
    assert project["tool"]["mypy"]["python_version"] == oldest
    assert f"Programming Language :: Python :: {oldest}" in project["project"]["classifiers"]


def test_license(project):
    assert project["project"]["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert not [line for line in project["project"]["classifiers"] if line.startswith("License ::")]
    for name in project["project"]["license-files"]:
        assert (ROOT / name).is_file()


def test_extras(project):
    extras = project["project"]["optional-dependencies"]
    names = {extra: {_name(line) for line in lines} for extra, lines in extras.items()}
    assert "onnxruntime-gpu" not in set().union(*(names[extra] for extra in names if extra != "gpu"))
    assert "onnxruntime" not in names["gpu"]
    assert not {"onnxruntime", "onnxruntime-gpu"} & {_name(line) for line in project["project"]["dependencies"]}


def _name(requirement):
    return re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower()


def test_typed():
    assert (ROOT / "maskwright" / "py.typed").is_file()


def test_installed_metadata(installed):
    assert installed["License-Expression"] == "Apache-2.0"
    assert installed["Requires-Python"] == ">=3.10"
    assert installed["Version"] == maskwright.__version__, "stale metadata: install the checkout again"


def test_oldest_python_by_vermin(run_python):
    if importlib.util.find_spec("vermin") is None:
        pytest.skip("vermin is not installed")
    run = "import sys, vermin; sys.exit(vermin.main())"  # it has no `python -m`
    done = run_python("-c", run, "-t=3.10-", "--no-tips", "--violations", "--eval-annotations", ROOT / "maskwright")
    assert done.returncode == 0, done.stdout + done.stderr


def test_this_python_is_supported(project):
    oldest = tuple(map(int, project["project"]["requires-python"].removeprefix(">=").split(".")))
    assert sys.version_info[:2] >= oldest


def test_no_conftest_beside_the_node_pack():
    """See tests/conftest.py: it would hide the package in a checkout that is called `maskwright`."""
    assert not (ROOT / "conftest.py").exists()
    assert not (ROOT / "tests" / "__init__.py").exists()


def test_doctor_knows_every_extra(project):
    from maskwright.doctor import examine
    from maskwright.models import Store

    extras = set(project["project"]["optional-dependencies"]) - {"cpu", "gpu", "all", "bench", "test"}
    assert set(examine(Store(offline=True))["extras"]) == {"cpu or gpu", *extras}
