"""`maskwright serve`: its flags, and a process that starts, answers and ends."""

import re
import signal
import subprocess
import sys

import httpx
import pytest

from maskwright.cli import main
from maskwright.server import ServerSettings
from maskwright.server.settings import is_loopback


@pytest.fixture
def started(monkeypatch):
    """The settings that a command line gives, without listening."""
    from maskwright.server import run

    taken = []
    monkeypatch.setattr(run, "serve", lambda settings, sessions, **_: taken.append((settings, sessions)))

    def call(*arguments):
        with pytest.raises(SystemExit) as leaving:
            main(["serve", *arguments])
        assert not leaving.value.code
        return taken.pop()[0]

    return call


def test_rembgs_flags(started):
    settings = started("-h", "127.0.0.2", "-p", "7001", "-l", "debug", "-t", "3", "--no-ui")
    assert (settings.host, settings.port, settings.log_level, settings.workers, settings.no_ui) == (
        "127.0.0.2",
        7001,
        "debug",
        3,
        True,
    )
    assert started("--log_level", "warning").log_level == "warning"
    assert started() == ServerSettings()


def test_flags_that_may_be_repeated(started):
    settings = started(
        "--allow-host", "a.example", "--allow-host", "b.example", "--models", "u2netp", "--models", "isnetis"
    )
    assert settings.allow_host == ("a.example", "b.example")
    assert settings.models == ("u2netp", "isnetis")


def test_the_token_may_come_from_the_environment(started, monkeypatch):
    monkeypatch.setenv("MASKWRIGHT_TOKEN", "from outside")
    assert started("-h", "0.0.0.0").token == "from outside"
    assert started("--token", "given").token == "given"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-h", "0.0.0.0"], "0.0.0.0 can be reached by other machines; give --token"),
        (["-p", "70000"], "port must be from 0 to 65535"),
        (["-l", "loud"], "loud"),
        (["--models", "sam"], "the nearest is isnet-general-use"),
    ],
)
def test_what_is_wrong(capsys, arguments, said):
    with pytest.raises(SystemExit) as leaving:
        main(["s", *arguments])
    assert leaving.value.code == 2
    assert said in capsys.readouterr().err


def test_without_its_libraries(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "maskwright.server.run", None)
    with pytest.raises(SystemExit) as leaving:
        main(["serve"])
    assert leaving.value.code == 1
    assert 'pip install "maskwright[server]"' in capsys.readouterr().err


def test_what_is_this_machine_alone():
    assert [is_loopback(host) for host in ("localhost", "::1", "127.9.9.9", "127.evil.example", "0.0.0.0", "")] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]


def test_threads_share_the_cores(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert (ServerSettings().workers, ServerSettings().network_threads) == (8, 1)
    assert (ServerSettings(threads=2).workers, ServerSettings(threads=2).network_threads) == (2, 4)
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert (ServerSettings().workers, ServerSettings(threads=2).network_threads) == (4, 2)
    monkeypatch.setenv("MASKWRIGHT_THREADS", "3")
    assert ServerSettings().network_threads is None


@pytest.mark.weights
def test_a_process_answers_and_ends_in_grace(u2netp_home, samples):
    process = subprocess.Popen(
        [sys.executable, "-m", "maskwright", "serve", "-p", "0"], stderr=subprocess.PIPE, text=True
    )
    try:
        address = re.search(r"page at (http://127\.0\.0\.1:\d+)/", process.stderr.readline())[1]
        with (
            (samples / "cat.jpg").open("rb") as photo,
            httpx.Client(base_url=address, trust_env=False, timeout=60) as client,
        ):
            assert client.get("/readyz").json() == {"status": "ready", "model": "u2netp"}
            answer = client.post("/api/remove", files={"file": photo})
        assert answer.content.startswith(b"\x89PNG")
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        assert answer.headers["x-request-id"] in said
        assert process.returncode in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait()
