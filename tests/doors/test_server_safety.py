"""Who may call, how much is taken in, and how it ends."""

import http.server
import io
import json
import socket
import threading
import time
import zipfile

import pytest

from maskwright.engines import FakeEngine
from maskwright.errors import OptionError
from maskwright.models.store import Store
from maskwright.server import ServerSettings
from maskwright.server.addresses import Fetcher
from maskwright.server.run import serve
from maskwright.server.sessions import Sessions
from tests.support.running import fake_engine, picture_bytes, running


class Gate:
    """Engines that stop until they are let through."""

    def __init__(self):
        self.open = threading.Event()
        self.entered = threading.Semaphore(0)
        self.calls = 0

    def __call__(self, card):
        def function(batch):
            self.calls += 1
            self.entered.release()
            assert self.open.wait(30)
            return [batch.mean(axis=1, keepdims=True)]

        return FakeEngine(function)


def in_background(function, *arguments, **named):
    """A thread that runs it; its answer will lie in `thread.answer`."""

    def run():
        thread.answer = function(*arguments, **named)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def raw(server, head, body=b""):
    """The status of a request written by hand, and all that came back."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        sock.sendall(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + body)
        data = b""
        while chunk := sock.recv(65536):
            data += chunk
    return int(data.split()[1]), data


@pytest.fixture(scope="module")
def server():
    with running(allow_host=("cut.example",), allow_origin=("https://shop.example",)) as it:
        yield it


class TestHost:
    @pytest.mark.parametrize(
        "host", ["localhost", "127.0.0.1:7000", "[::1]:7000", "LOCALHOST.", "cut.example:80", "[0:0:0:0:0:0:0:1]"]
    )
    def test_names_of_ours(self, server, host):
        assert server.client.get("/healthz", headers={"Host": host}).status_code == 200

    @pytest.mark.parametrize(
        "host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "10.0.0.1", "", "cut.example@evil"]
    )
    @pytest.mark.parametrize("path", ["/", "/healthz", "/api/models", "/metrics"])
    def test_other_names(self, server, host, path):
        answer = server.client.get(path, headers={"Host": host})
        assert answer.status_code == 403
        assert answer.json()["error"] == "the Host header"

    def test_two_names(self, server):
        assert raw(server, "GET /healthz HTTP/1.1\nHost: localhost\nHost: evil.example\nConnection: close")[0] in (
            400,
            403,
        )

    def test_any_name(self):
        with running(allow_host=("*",)) as server:
            assert server.client.get("/healthz", headers={"Host": "evil.example"}).status_code == 200


class TestOrigin:
    @pytest.mark.parametrize(
        "origin",
        [
            "https://evil.example",
            "null",
            "http://localhost:1",
            "http://127.0.0.1",
            "file://",
            "https://shop.example.evil",
        ],
    )
    def test_a_foreign_page_may_not_post(self, server, origin):
        for path in ("/api/remove", "/api/jobs"):
            answer = server.post(path, headers={"Origin": origin})
            assert answer.status_code == 403
            assert answer.json()["error"] == "the Origin of the page"
            assert "access-control-allow-origin" not in answer.headers

    def test_a_browser_that_names_no_origin(self, server):
        for site in ("cross-site", "same-site"):
            headers = {"Sec-Fetch-Site": site}
            assert server.post("/api/remove", headers=headers).status_code == 403
            assert (
                server.client.get("/api/remove?url=http://a.example/", headers=headers)
                .json()["error"]
                .startswith("the Origin")
            )
        assert server.post("/api/remove", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200

    def test_its_own_page(self, server):
        own = f"http://127.0.0.1:{server.port}"
        assert server.post("/api/remove", headers={"Origin": own}).status_code == 200
        https = {"Origin": "https://cut.example", "Host": "cut.example"}  # behind a proxy that speaks TLS
        assert server.post("/api/remove", headers=https).status_code == 200

    def test_an_origin_that_is_allowed(self, server):
        asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
        preflight = server.client.options("/api/remove", headers=asked)
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == "https://shop.example"
        assert "Authorization" in preflight.headers["access-control-allow-headers"]
        assert server.post("/api/remove", headers={"Origin": "https://shop.example"}).status_code == 200

    def test_no_cors_unless_named(self):
        with running() as server:
            asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
            assert server.client.options("/api/remove", headers=asked).status_code == 405
            assert "access-control-allow-origin" not in server.client.get("/api/models", headers=asked).headers


class TestToken:
    def test_other_addresses_need_one(self):
        with pytest.raises(OptionError, match=r"0\.0\.0\.0 can be reached by other machines; give --token"):
            ServerSettings(host="0.0.0.0")
        assert ServerSettings(host="0.0.0.0", insecure=True).hosts == ("localhost", "127.0.0.1", "::1")
        assert "192.168.1.5" in ServerSettings(host="192.168.1.5", token="a").hosts

    def test_who_knows_it(self):
        with running(token="secret") as server:
            for path in ("/api/models", "/metrics", "/api"):
                assert server.client.get(path).status_code == 200
                for sent in ("", "Bearer", "Bearer secre", "Bearer secret2", "Basic secret", "Bearer gehéim"):
                    answer = server.client.get(path, headers={"Authorization": sent.encode()})
                    assert answer.status_code == 401
                    assert answer.headers["www-authenticate"] == "Bearer"
            for path in ("/", "/healthz", "/readyz"):
                assert server.client.get(path, headers={"Authorization": ""}).status_code == 200
            assert server.client.get("/openapi.json").json()["security"] == [{"token": []}]

    @pytest.mark.parametrize("token", ["", " ", "a\nb", "é"])
    def test_what_is_none(self, token):
        with pytest.raises(OptionError, match=r"token must be printable ASCII|other machines"):
            ServerSettings(host="0.0.0.0", token=token)

    def test_no_models(self):
        with pytest.raises(OptionError, match="models must be one or more names"):
            ServerSettings(models=())


class TestLimits:
    def test_upload(self):
        with running(max_upload=0.01, max_job_upload=0.01) as server:
            for path in ("/api/remove", "/api/jobs"):
                answer = server.post(path, bytes(20_000))
                assert answer.status_code == 413
                assert "at most 0.01 MB" in answer.json()["detail"]
            # without a length stated beforehand
            body = b"--x\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\n" + bytes(20_000)
            answer = server.client.post(
                "/api/remove",
                content=iter([body[:9000], body[9000:]]),
                headers={"Content-Type": "multipart/form-data; boundary=x"},
            )
            assert answer.status_code == 413

    def test_pixels(self):
        with running(max_pixels=24 * 31) as server:
            answer = server.post("/api/remove")
            assert answer.status_code == 413
            assert "at most 744 pixels" in answer.json()["detail"]

    def test_time_of_an_upload(self):
        with running(timeout=0.3) as server:
            head = "POST /api/remove HTTP/1.1\nHost: localhost\nContent-Length: 999\nConnection: close\n"
            assert raw(server, head + "Content-Type: multipart/form-data; boundary=x", b"--x")[0] == 408

    def test_time_of_the_work(self):
        gate = Gate()
        with running(engines=gate, timeout=0.3) as server:
            answer = server.post("/api/remove")
            assert answer.status_code == 503
            assert "longer than" in answer.json()["detail"]
            assert server.workers.admitted == 1  # its place is taken as long as it is computed
            gate.open.set()
            while server.workers.admitted:
                time.sleep(0.01)

    def test_the_queue(self):
        gate = Gate()
        with running(engines=gate, threads=1, queue=1) as server:
            first, second = (in_background(server.post, "/api/remove") for _ in range(2))
            while server.workers.admitted < 2:
                time.sleep(0.01)
            answer = server.post("/api/remove", bytes(3_000_000))  # its answer is seen though it was not read
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
            assert server.client.get("/healthz").status_code == 200
            gate.open.set()
            first.join()
            second.join()
            assert first.answer.status_code == second.answer.status_code == 200
            assert server.post("/api/remove").status_code == 200
            assert "maskwright_refused_total 1" in server.client.get("/metrics").text

    def test_jobs(self):
        gate = Gate()
        with running(engines=gate, max_jobs=2, keep_results=1) as server:
            made = [server.post("/api/jobs") for _ in range(2)]
            answer = server.post("/api/jobs")
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) >= 1
            path = made[0].headers["location"]
            assert server.client.get(path + "/result").status_code == 409
            assert gate.entered.acquire(timeout=20)
            assert [server.client.get(each.headers["location"]).json()["state"] for each in made] == [
                "running",
                "queued",
            ]
            assert server.client.delete(path).status_code == 204
            folders = list(server.server.service.jobs._jobs.values())
            gate.open.set()
            path = made[1].headers["location"]
            while server.client.get(path).json()["state"] != "done":
                time.sleep(0.01)
            assert server.client.get(path + "/result").status_code == 200
            time.sleep(1.1)
            assert server.client.get(path).status_code == 404
            assert not folders[0].folder.exists()

    def test_a_cancelled_job_says_so(self):
        gate = Gate()
        with running(engines=gate) as server:
            created = server.client.post("/api/jobs", files=[("file", ("a.png", picture_bytes()))] * 5)
            assert gate.entered.acquire(timeout=20)
            with server.client.stream("GET", created.headers["location"] + "/events") as stream:
                lines = stream.iter_lines()
                assert next(lines) == "event: progress"
                assert server.client.delete(created.headers["location"]).status_code == 204
                gate.open.set()
                assert "event: cancelled" in list(lines)
            assert gate.calls == 1

    @pytest.mark.parametrize(
        ("settings", "status", "said"),
        [
            ({"max_job_files": 2}, 413, "at most 2 pictures"),
            ({"max_job_unpacked": 0.001}, 413, "at most 0.001 MB unpacked"),
        ],
    )
    def test_a_zip(self, settings, status, said):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(3):
                archive.writestr(f"{number}.png", bytes(1000))
        with running(**settings) as server:
            answer = server.post("/api/jobs", buffer.getvalue())
            assert answer.status_code == status
            assert said in answer.json()["detail"]

    def test_results_that_grow(self):
        with running(max_job_unpacked=0.001) as server:
            created = server.client.post("/api/jobs", files=[("file", ("a.png", picture_bytes()))] * 10)
            with server.client.stream("GET", created.headers["location"] + "/events") as stream:
                last = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: ")][-1]
            assert last["state"] == "failed"
            assert "results are larger" in last["error"]


class TestModels:
    def test_what_is_not_here_is_not_fetched_for_callers(self, own_home):
        with running(sessions=Sessions(Store(offline=True))) as server:
            answer = server.post("/api/remove", model="isnet-general-use")
            assert answer.status_code == 503
            assert (
                "weights of isnet-general-use are not on this server; there are: maskwright-parts"
                in answer.json()["detail"]
            )
            licensed = server.post("/api/remove", model="bria-rmbg")
            assert "the licence of bria-rmbg was not accepted" in licensed.json()["detail"]
            assert str(own_home) not in answer.text + licensed.text

    def test_few_are_held(self):
        with running() as server:
            names = ["u2net", "u2netp", "silueta", "isnet-general-use", "isnet-anime", "U2NETP", "isnetis"]
            for name in names:
                assert server.post("/api/remove", model=name).status_code == 200
            assert len(server.server.service.sessions) == 4


class TestErrors:
    def test_a_bug_is_no_secret_told(self, caplog):
        def engines(card):
            raise ZeroDivisionError("/secret/path")

        with running(engines=engines) as server:
            answer = server.post("/api/remove")
            assert answer.status_code == 500
            assert answer.json()["error"] == "the server failed"
            assert "secret" not in answer.text
            assert f"request {answer.headers['x-request-id']} failed" in caplog.text
            assert "ZeroDivisionError" in caplog.text

    def test_a_broken_network_tells_no_path(self, caplog):
        with running(engines=lambda card: FakeEngine(lambda batch: [batch * float("nan")])) as server:
            answer = server.post("/api/remove")
            assert answer.status_code == 500
            assert answer.json()["error"] == "the server cannot do this now"
            assert "must be finite numbers" in caplog.text

    def test_damaged_files_are_never_ours_to_blame(self, server, shared):
        """Every broken file as it is; a good one cut off and with bytes changed."""
        good = picture_bytes(format="JPEG")
        cases = [
            path.read_bytes() for path in sorted((shared / "images" / "broken").iterdir()) if path.stat().st_size < 1e6
        ]
        cases += [good[:length] for length in range(0, len(good), 41)]
        cases += [good[:place] + bytes([good[place] ^ 255]) + good[place + 1 :] for place in range(0, len(good), 41)]
        for case in cases:
            assert server.post("/api/remove", case).status_code in (200, 400, 413, 415, 422)
        assert server.client.get("/readyz").status_code == 200

    @pytest.mark.parametrize(
        ("head", "body", "status"),
        [
            ("Content-Type: text/plain", b"hello", 415),
            ("Content-Type: multipart/form-data", b"hello", 400),
            ("Content-Type: multipart/form-data; boundary=x", b"hello", 400),
            ("Content-Type: application/x-www-form-urlencoded", b"a=1", 422),
            ("X-Nothing: 1", b"", 415),
        ],
    )
    def test_what_is_no_form(self, server, head, body, status):
        head = f"POST /api/remove HTTP/1.1\nHost: localhost\nConnection: close\nContent-Length: {len(body)}\n{head}"
        assert raw(server, head, body)[0] == status


class TestStopping:
    def test_what_was_begun_is_finished_and_the_rest_handed_back(self):
        gate = Gate()
        with running(engines=gate, threads=1, grace=20) as server:
            begun = in_background(server.post, "/api/remove")
            assert gate.entered.acquire(timeout=20)
            server.server.handle_exit(15, None)
            assert server.workers.is_stopping
            gate.open.set()
            begun.join()
            assert begun.answer.status_code == 200

    def test_after_its_grace_a_request_is_handed_back(self):
        gate = Gate()
        with running(engines=gate, threads=1, grace=0.2) as server:
            first = in_background(server.post, "/api/remove")
            assert gate.entered.acquire(timeout=20)
            second = in_background(server.post, "/api/remove")
            while server.workers.admitted < 2:
                time.sleep(0.01)
            server.workers.stop()
            first.join()
            second.join()
            for thread in (first, second):
                assert thread.answer.status_code == 503
                assert "stopping" in thread.answer.json()["detail"]
                assert "retry-after" in thread.answer.headers
            assert server.post("/api/remove").status_code == 503
            assert server.post("/api/jobs").status_code == 503
            assert server.client.get("/readyz").status_code == 503
            gate.open.set()

    def test_an_address_that_is_taken(self):
        with running() as server, pytest.raises(Exception, match=r"cannot be listened on .*; choose another --port"):
            serve(ServerSettings(port=server.port), Sessions(Store(offline=True), engines=fake_engine))


class TestAddresses:
    """Pictures at web addresses; 127.0.0.1 stands for the public web, 127.0.0.2 for a machine behind the wall."""

    @pytest.fixture
    def web(self):
        class Web(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                place, _, rest = self.path[1:].partition("/")
                if place == "to":
                    self.send_response(302)
                    self.send_header("Location", rest)
                    self.end_headers()
                    return
                self.send_response(200)
                self.end_headers()
                self.wfile.write(picture_bytes() if place == "picture" else bytes(int(place)))

            def log_message(self, *arguments):
                pass

        web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web)
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield web.server_address[1]
        web.shutdown()
        web.server_close()

    @pytest.fixture
    def fetcher(self, web):
        return Fetcher(5000, 5, may_visit=lambda address: address == "127.0.0.1", ports=(("http", web),))

    def test_fetched(self, fetcher, web):
        assert fetcher.fetch(f"http://127.0.0.1:{web}/picture") == picture_bytes()
        assert fetcher.fetch(f"http://127.0.0.1:{web}/to//picture") == picture_bytes()

    def test_each_hop_is_checked(self, fetcher, web):
        assert fetcher.fetch(f"http://127.0.0.1:{web}/to/http://127.0.0.1:{web}/picture") == picture_bytes()
        for target in (
            f"http://127.0.0.2:{web}/picture",
            "file:///etc/passwd",
            "http://127.0.0.1:1/",
            f"ftp://127.0.0.1:{web}/",
        ):
            with pytest.raises(Exception, match=r"url must be an http or https address of the public web"):
                fetcher.fetch(f"http://127.0.0.1:{web}/to/{target}")

    def test_it_does_not_go_round_for_ever(self, fetcher, web):
        with pytest.raises(Exception, match="too many redirects"):
            fetcher.fetch(f"http://127.0.0.1:{web}/to/" * 9 + f"http://127.0.0.1:{web}/picture")

    def test_too_large(self, fetcher, web):
        with pytest.raises(Exception, match=r"at most 0\.005 MB"):
            fetcher.fetch(f"http://127.0.0.1:{web}/5001")

    def test_a_name_is_looked_up_once(self, fetcher, web, monkeypatch):
        """A name server that says something else the second time is not asked a second time."""
        answers = iter([[(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", web))]])
        monkeypatch.setattr("maskwright.server.addresses.socket.getaddrinfo", lambda *a, **k: next(answers))
        visited = []

        def connect(address, *arguments, **named):
            visited.append(address)
            sock = socket.socket()
            sock.settimeout(5)
            sock.connect(address)
            return sock

        monkeypatch.setattr("maskwright.server.addresses.socket.create_connection", connect)
        assert fetcher.fetch(f"http://rebind.example:{web}/picture") == picture_bytes()
        assert visited == [("127.0.0.1", web)]

    def test_one_private_address_among_several_is_enough(self, fetcher, web, monkeypatch):
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, web)) for address in ("127.0.0.1", "10.0.0.1")]
        monkeypatch.setattr("maskwright.server.addresses.socket.getaddrinfo", lambda *a, **k: found)
        with pytest.raises(Exception, match="of the public web"):
            fetcher.fetch(f"http://both.example:{web}/picture")

    def test_a_slow_machine(self, web):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            fetcher = Fetcher(5000, 0.3, may_visit=lambda address: True, ports=(("http", port),))
            with pytest.raises(Exception, match="could not be fetched"):
                fetcher.fetch(f"http://127.0.0.1:{port}/")

    @pytest.mark.parametrize(
        "url",
        [
            "http://127.0.0.1/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://169.254.169.254/latest/meta-data/",
            "http://0.0.0.0/",
            "http://10.1.2.3/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://localhost/",
            "http://8.8.8.8:22/",
            "file:///etc/passwd",
            "http://user@8.8.8.8/",
            "http://8.8.8.8 /",
            "http://8.8.8.8\r\nX: y/",
            "//8.8.8.8/",
            "http://[fe80::1%25eth0]/",
            "http://:80/",
        ],
    )
    def test_what_is_not_of_the_public_web(self, url):
        with pytest.raises(Exception, match=r"of the public web|no such host"):
            Fetcher(5000, 5).fetch(url)

    def test_off_unless_switched_on(self, server):
        answer = server.client.get("/api/remove", params={"url": "http://8.8.8.8/"})
        assert answer.status_code == 403
        assert "--allow-urls" in answer.json()["detail"]

    def test_switched_on(self, web, monkeypatch):
        monkeypatch.setattr(
            "maskwright.server.addresses.Fetcher.fetch",
            lambda self, url: picture_bytes() if "good" in url else self._check(url),
        )
        with running(allow_urls=True) as server:
            answer = server.client.get("/api/remove", params={"url": "http://good.example/", "om": "true"})
            assert answer.content == server.post("/api/remove", om="true").content
            assert server.client.get("/api/remove", params={"url": "file:///x"}).status_code == 422
            assert server.client.get("/api/remove").status_code == 422
