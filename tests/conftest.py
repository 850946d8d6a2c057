"""Fixtures and guards shared by all tests.

There is no conftest.py beside the repository's `__init__.py`, and there must be none: pytest would import it
as a part of a package named after the checkout's folder, and in a folder called `maskwright` that package
hides ours.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
_FOREIGN = ("U2NET_HOME", "REMBG_HOME", "XDG_DATA_HOME", "OMP_NUM_THREADS", "MODEL_CHECKSUM_DISABLED")
_SESSION_HOME = os.environ.get("MASKWRIGHT_HOME")  # read before it is cleared


class _RootIsNoPackage:
    """The repository's `__init__.py` is for ComfyUI: pytest must not import it to collect what lies below."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collect_directory(self, path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        return pytest.Dir.from_parent(parent, path=path) if path == ROOT else None


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_RootIsNoPackage(), "root-is-no-package")


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder for each test: none reads or writes the developer's own store."""
    home = tmp_path_factory.mktemp("home")
    for name in [*os.environ]:
        if name.startswith("MASKWRIGHT_") or name in _FOREIGN:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    if "maskwright.models.store" in sys.modules:  # it read the environment of another test
        sys.modules["maskwright.models.store"].default_store.cache_clear()
    return home


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of sample pictures beside the checkout; tests that use it are skipped without it."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("no folder of sample pictures (shared) beside the checkout")
    return folder


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of the example scripts and their two photos, which every checkout has."""
    return ROOT / "examples"


@pytest.fixture(scope="session")
def u2netp_store() -> Path:
    """The home of a store that holds u2netp's weights, fetched once and kept between runs."""
    from maskwright.models import find_card
    from maskwright.models.store import Store

    home = Path(_SESSION_HOME) if _SESSION_HOME else ROOT / ".cache" / "maskwright-tests"
    Store(home).ensure(find_card("u2netp").weights[0])
    return home


@pytest.fixture
def one_thread() -> Iterator[None]:
    """PyTorch on one thread: on a busy machine many small steps cost more in waiting for each other than they save."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def u2netp_home(u2netp_store: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, named by `MASKWRIGHT_HOME` for this test and the programs it starts."""
    monkeypatch.setenv("MASKWRIGHT_HOME", str(u2netp_store))
    return u2netp_store


@pytest.fixture
def run_python(tmp_path: Path, own_home: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run this Python in a temporary folder, on this checkout's package, with the test's environment."""

    def run(
        *arguments: str | Path, cwd: Path = tmp_path, extra: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        return subprocess.run(
            [sys.executable, *extra, *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=300,
            check=False,
        )

    return run
