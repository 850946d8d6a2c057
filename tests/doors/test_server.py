"""The API over a real connection: what it answers, and that it is what the other doors give."""

import io
import json
import time
import zipfile

import httpx
import numpy as np
import pytest
from PIL import Image

import maskwright as mw
from maskwright.anime import color_labels
from maskwright.models.store import Store
from maskwright.refine.shapes import rle_to_mask
from maskwright.server.film import make_film_cutter
from maskwright.server.sessions import Sessions
from tests.support.clips import write_clip
from tests.support.running import fake_engine, picture_bytes, running


@pytest.fixture(scope="module")
def server():
    with running() as it:
        yield it


def pixels(response):
    assert response.status_code == 200, response.text
    return np.asarray(Image.open(io.BytesIO(response.content)))


def wait_until(holds):
    """Until it holds; a machine that is slow may take its time."""
    for _ in range(2000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it never held")


def mask_bytes(mask):
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(mask, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.weights
def test_the_bytes_are_those_of_cut(u2netp_home, samples, tmp_path, run_python):
    """One picture, model and options: one file, whichever door it leaves by."""
    photo = samples / "astronaut.jpg"
    flags = ["-a", "--grow", "1.5", "-bgc", "255", "255", "255", "255", "--crop", "--crop-padding", "5%"]
    fields = {"a": "1", "grow": "1.5", "bgc": "255,255,255,255", "crop": "true", "crop_padding": "5%"}
    with running(sessions=Sessions(Store(offline=True), threads=1)) as server:
        for options, sent, ending in (
            ([], {}, "png"),
            (flags, fields, "png"),
            (flags, fields, "webp"),
            (flags, fields, "jpeg"),
        ):
            target = tmp_path / f"cut.{ending}"
            done = run_python("-m", "maskwright", "cut", photo, target, *options)
            assert done.returncode == 0, done.stderr
            answer = server.post("/api/remove", photo.read_bytes(), headers={"Accept": f"image/{ending}"}, **sent)
            assert answer.content == target.read_bytes(), ending
        assert Image.open(io.BytesIO(answer.content)).size == tuple(
            right - left
            for left, right in zip(
                *np.array_split(list(map(int, answer.headers["X-Maskwright-Crop-Region"].split(","))), 2), strict=True
            )
        )


class TestRembgsClients:
    def test_form_and_query_mean_the_same(self, server):
        names = {"model": "u2netp", "a": "true", "af": "230", "ab": "20", "ae": "3", "ppm": "true", "dc": "false"}
        by_form = server.post("/api/remove", **names)
        by_query = server.client.post("/api/remove", params=names, files={"file": picture_bytes()})
        assert by_form.headers["content-type"] == "image/png"
        assert by_form.content == by_query.content != server.post("/api/remove").content

    def test_the_form_goes_before_the_query(self, server):
        both = server.client.post("/api/remove?om=false", data={"om": "true"}, files={"file": picture_bytes()})
        assert pixels(both).ndim == 2

    def test_bgc_stands_in_the_query_of_a_post(self, server):
        answer = server.client.post("/api/remove?bgc=10,20,30,255", files={"file": picture_bytes()})
        assert pixels(answer)[..., 3].min() == 255

    def test_numbers_given_are_rembgs_rule(self, server):
        expected = mw.cutout(
            picture_bytes(),
            model=server.server.service.sessions.cutter("u2netp", compat=False),
            options=mw.CutoutOptions(alpha_matting=True, alpha_matting_foreground_threshold=240),
        )
        assert server.post("/api/remove", a="1", af="240").content == expected.to_bytes()

    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ({"vm": "true"}, "ViTMatte"),
            ({"extras": "{"}, "JSON object"),
            ({"extras": '{"model_path": "/etc/passwd"}'}, "only cc, got model_path"),
            ({"model": "u2nett"}, "did you mean u2net"),
            ({"af": "300"}, "from 1 to 255"),
            ({"a": "maybe"}, "true or false"),
            ({"bgc": "1,2,3"}, "four numbers"),
            ({"bgc": "red"}, "numbers with commas"),
            ({"grow": "much"}, "a number"),
            ({"feather_side": "left"}, "centered"),
            ({"alpha_mating": "1"}, "did you mean alpha_matting"),
            ({"background": "/etc/passwd"}, "a colour must be"),
            ({"crop_padding": "3"}, "need crop"),
        ],
    )
    def test_what_is_wrong_is_said(self, server, fields, said):
        answer = server.post("/api/remove", **fields)
        assert answer.status_code == 422
        assert said in answer.json()["detail"]
        assert set(answer.json()) == {"error", "expected", "got", "hint", "detail", "request_id"}

    def test_a_garment_is_a_part(self, server):
        sent = {"model": "u2net_cloth_seg", "extras": json.dumps({"cc": "upper"})}
        assert (
            server.post("/api/remove", **sent).content
            == server.post("/api/remove", model="u2net_cloth_seg", part="upper").content
        )


class TestAnswers:
    @pytest.mark.parametrize(
        ("accept", "media"),
        [
            (None, "image/png"),
            ("*/*", "image/png"),
            ("image/avif,image/webp,image/*,*/*;q=0.8", "image/png"),
            ("image/png;q=0.5, image/webp", "image/webp"),
            ("image/jpeg, image/webp;q=0.1", "image/webp"),
            ("application/json", "application/json"),
            ("text/html, application/*;q=0.2", "application/json"),
        ],
    )
    def test_accept_chooses(self, server, accept, media):
        answer = server.post("/api/remove", headers={"Accept": accept} if accept else {})
        assert answer.headers["content-type"] == media
        assert "Accept" in answer.headers["vary"]

    @pytest.mark.parametrize(
        ("accept", "said"),
        [("image/gif", "leave it out for PNG"), ("image/jpeg", "give bgcolor"), ("image/png;q=0", "one of")],
    )
    def test_what_cannot_be_had(self, server, accept, said):
        answer = server.post("/api/remove", headers={"Accept": accept})
        assert answer.status_code == 406
        assert said in answer.json()["detail"]

    def test_jpeg_where_nothing_is_transparent(self, server):
        answer = server.post("/api/remove", headers={"Accept": "image/jpeg"}, background="white")
        assert Image.open(io.BytesIO(answer.content)).format == "JPEG"

    def test_json_holds_the_mask(self, server):
        record = server.post("/api/remove", headers={"Accept": "application/json"}).json()
        alpha = pixels(server.post("/api/remove", om="true"))
        assert record["size"] == [24, 32]
        assert (rle_to_mask(record["masks"]["mask"]["segmentation"]) == (alpha >= 128)).all()
        assert record["provenance"]["model"] == "u2netp"

    def test_notes_come_along(self, server):
        frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
        buffer = io.BytesIO()
        frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:])
        answer = server.post("/api/remove", buffer.getvalue())
        assert json.loads(answer.headers["X-Maskwright-Notes"]) == ["only the first of 2 frames was read"]

    def test_a_request_has_an_id(self, server, caplog):
        caplog.set_level("INFO", logger="maskwright")
        assert server.client.get("/healthz", headers={"X-Request-Id": "mine-1"}).headers["X-Request-Id"] == "mine-1"
        made = server.client.get("/nowhere", headers={"X-Request-Id": "not mine"})
        assert made.headers["X-Request-Id"] == made.json()["request_id"] != "not mine"
        server.client.get("/healthz")  # what came before is in the log by then
        assert f"{made.headers['X-Request-Id']} GET /nowhere 404" in caplog.text
        assert "mine-1 GET /healthz 200" in caplog.text


class TestTasks:
    def test_a_mask_of_ones_own(self, server):
        mask = np.zeros((24, 32), np.uint8)
        mask[:, :16] = 255
        sent = {"file": picture_bytes(), "mask": mask_bytes(mask)}
        rgba = pixels(server.client.post("/api/remove", files=sent))
        assert (rgba[..., 3] == mask).all()
        wrong = server.client.post("/api/remove", files={**sent, "mask": mask_bytes(mask[:9])})
        assert wrong.status_code == 422
        assert "mask size must be that of file, (24, 32)" in wrong.json()["detail"]

    def test_a_background_picture(self, server):
        sent = {"file": picture_bytes(), "background": mask_bytes(np.full((24, 32), 200))}
        rgba = pixels(server.client.post("/api/remove", files=sent))
        assert (rgba[..., 3] == 255).all()
        assert server.client.post("/api/remove", files=sent, data={"background": "white"}).status_code == 422

    def test_person(self, server):
        sent = {"parts": "hair,face", "headers": {"Accept": "application/json"}}
        record = server.post("/api/person", **sent).json()
        assert set(record["masks"]) == {"hair", "face"}
        assert record["provenance"]["model"] == "maskwright-parts"
        assert pixels(server.post("/api/person", parts="hair")).shape == (24, 32)
        assert pixels(server.post("/api/person", parts="hair", cutout="1")).shape == (24, 32, 4)
        assert list(
            server.post("/api/person", model="u2netp", headers={"Accept": "application/json"}).json()["masks"]
        ) == ["person"]
        assert "parts must be one or more of" in server.post("/api/person", parts="tail").json()["detail"]

    def test_anime(self, server):
        colors, labels = (pixels(server.post("/api/anime", answer=each)) for each in ("colors", "labels"))
        assert (colors == color_labels(labels)).all()
        assert pixels(server.post("/api/anime", answer="mask")).shape == (24, 32)
        record = server.post("/api/anime", headers={"Accept": "application/json"}, keep_background="1").json()
        assert rle_to_mask(record["masks"]["mask"]["segmentation"]).all()
        assert server.post("/api/anime", headers={"Accept": "image/jpeg"}).status_code == 406

    def test_mask_work(self, server):
        left, right = np.zeros((10, 12)), np.zeros((10, 12))
        left[:, :6], right[:, 4:] = 255, 255
        files = [
            ("file", mask_bytes(left)),
            ("intersect", mask_bytes(right)),
            ("subtract", mask_bytes(right)),
            ("union", mask_bytes(right)),
        ]
        shown = pixels(server.client.post("/api/mask", files=files, data={"invert": "true"}))
        assert (shown[:, 4:] == 255).all()  # all is added, nothing of `right` is left after the subtraction
        assert (pixels(server.post("/api/mask", mask_bytes(left), crop="true")) == 255).all()
        assert "field" in server.post("/api/mask", mask_bytes(left), outline="3").json()["detail"]
        wrong = server.client.post("/api/mask", files={"file": mask_bytes(left), "join": mask_bytes(right)})
        assert "a file's field must be one of file, union" in wrong.json()["detail"]

    def test_models(self, server):
        listed = server.client.get("/api/models").json()
        assert listed["default"] == "u2netp"
        assert [each["name"] for each in listed["models"]] == [card.name for card in mw.models.catalog()]
        assert server.client.get("/api/models/isnetis").json()["name"] == "isnet-anime"
        assert server.client.get("/api/models/nothing").status_code == 404

    def test_signs_of_life(self, server):
        assert server.client.get("/healthz").json() == {"status": "alive"}
        assert server.client.get("/readyz").json()["status"] == "ready"

    def test_metrics_count(self, server):
        server.post("/api/remove")
        server.client.get('/made"up%0Alabel')
        text = server.client.get("/metrics").text
        assert 'maskwright_requests_total{method="POST",route="/api/remove",status="200"}' in text
        assert "made" not in text
        for line in text.splitlines():
            assert line.startswith("#") or float(line.rpartition(" ")[2]) >= 0


class TestJobs:
    def wait(self, server, created):
        """All events of a job, its record at the end."""
        assert created.status_code == 202, created.text
        with server.client.stream("GET", created.headers["location"] + "/events") as stream:
            assert stream.headers["content-type"] == "text/event-stream"
            events = [line for line in stream.iter_lines() if line]
        names = [line.removeprefix("event: ") for line in events if line.startswith("event: ")]
        records = [json.loads(line.removeprefix("data: ")) for line in events if line.startswith("data: ")]
        assert all(name == "progress" for name in names[:-1])
        assert [each["done"] for each in records] == sorted(each["done"] for each in records)
        assert names[-1] == records[-1]["state"]
        return records[-1]

    def entries(self, server, record):
        answer = server.client.get(record["result"])
        assert answer.headers["content-type"] == "application/zip"
        archive = zipfile.ZipFile(io.BytesIO(answer.content))
        return {name: archive.read(name) for name in archive.namelist()}

    def test_many_files(self, server):
        files = [
            ("file", (name, picture_bytes(format=kind))) for name, kind in (("a.png", "PNG"), ("sub/../a.jpg", "JPEG"))
        ]
        files.append(("file", ("broken.png", b"nothing")))
        record = self.wait(server, server.client.post("/api/jobs", files=files, data={"grow": "2"}))
        found = self.entries(server, record)
        assert set(found) == {"a.png", "a-2.png", "report.json"}
        assert found["a.png"] == server.post("/api/remove", grow="2").content
        assert list(record["failed"]) == ["broken.png"]
        assert json.loads(found["report.json"]) == {"done": 3, "failed": record["failed"]}
        assert 0 < record["expires_in"] <= 3600

    def test_a_zip(self, server):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in ("shoes/one.png", "hats/one.png", "__MACOSX/._one.png"):
                archive.writestr(name, picture_bytes())
        sent = {"task": "person", "parts": "hair", "format": "json"}
        record = self.wait(
            server, server.client.post("/api/jobs", files={"file": ("all.zip", buffer.getvalue())}, data=sent)
        )
        found = self.entries(server, record)
        assert set(found) == {"shoes/one.json", "hats/one.json", "report.json"}
        assert list(json.loads(found["shoes/one.json"])["masks"]) == ["hair"]

    def test_a_film_needs_one_who_cuts_films(self, server):
        film = b"\0\0\0\x18ftypmp42" + bytes(100)
        answer = server.client.post("/api/jobs", files={"file": ("a.mp4", film)})
        assert answer.status_code == 501
        assert "films cannot be cut" in answer.json()["detail"]

    def test_a_film(self):
        def cut(source, target, segmenter, options, progress):
            for done in range(3):
                progress(done + 1, 3)
            target.write_bytes(source.read_bytes()[::-1] + segmenter.card.name.encode() + b"%d" % options.grow)

        film = b"\0\0\0\x18ftypmp42" + bytes(100)
        with running(film=cut) as server:
            sent = {"format": "mov", "model": "isnetis", "grow": "2"}
            created = server.client.post("/api/jobs", files={"file": ("a.mp4", film)}, data=sent)
            record = self.wait(server, created)
            answer = server.client.get(record["result"])
            assert answer.content == film[::-1] + b"isnet-anime2"
            assert answer.headers["content-type"] == "video/quicktime"
            assert record["done"] == record["total"] == 3
            wrong = {"task": "person"}
            assert server.client.post("/api/jobs", files={"file": ("a.mp4", film)}, data=wrong).status_code == 422

    def test_a_real_film_gives_the_bytes_of_the_library(self, tmp_path):
        clip = write_clip(tmp_path / "in.mkv", [np.asarray(Image.open(io.BytesIO(picture_bytes())).convert("RGB"))] * 5)
        with running(film=make_film_cutter(24 * 32)) as server:
            created = server.client.post("/api/jobs", files={"file": clip.read_bytes()}, data={"format": "mov"})
            record = self.wait(server, created)
            assert record["state"] == "done", record
            answer = server.client.get(record["result"])
        with Sessions(Store(offline=True), engines=fake_engine).cutter("u2netp", compat=False) as segmenter:
            mw.video.cut_video(clip, tmp_path / "out.mov", model=segmenter)
        assert answer.content == (tmp_path / "out.mov").read_bytes()

    def test_a_film_that_cannot_be_cut(self):
        def cut(source, target, segmenter, options, progress):
            raise mw.errors.MediaError("the film is broken")

        with running(film=cut) as server:
            record = self.wait(
                server, server.client.post("/api/jobs", files={"file": ("a.webm", b"\x1aE\xdf\xa3" + bytes(9))})
            )
            assert (record["state"], record["error"], record["result"]) == ("failed", "the film is broken", None)

    @pytest.mark.parametrize(
        ("files", "fields", "status", "said"),
        [
            ([("file", ("a.png", b"1")), ("file", ("b.zip", b"PK\x03\x04"))], {}, 422, "a mixture"),
            ([("file", ("b.zip", b"PK\x03\x04 no end"))], {}, 400, "zip cannot be read"),
            ([("file", ("a.png", b"1"))], {"format": "webm"}, 422, "png or webp"),
            ([("file", ("a.png", b"1"))], {"task": "mask"}, 422, "remove or person or anime"),
            ([("file", ("a.png", b"1"))], {"task": "anime", "grow": "1"}, 422, "this request knows"),
            ([("mask", ("a.png", b"1"))], {}, 422, "file or background"),
            ([("background", ("a.png", b"1"))], {}, 422, "pictures, one zip"),
        ],
    )
    def test_what_is_wrong_is_said(self, server, files, fields, status, said):
        answer = server.client.post("/api/jobs", files=files, data=fields)
        assert answer.status_code == status
        assert said in answer.json()["detail"]
        assert len(server.server.service.jobs) <= 3  # nothing of it is kept

    def test_no_such_job(self, server):
        for method, path in (("GET", ""), ("GET", "/events"), ("GET", "/result"), ("DELETE", "")):
            assert server.client.request(method, "/api/jobs/nothing" + path).status_code == 404


def test_the_page_loads_nothing_from_elsewhere(server):
    page = server.client.get("/")
    assert page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http:" not in policy
    assert server.client.get("/../app.py").status_code == 404
    assert server.client.get("/%2e%2e/app.py").status_code == 404


def test_the_api_is_shown_to_people(server):
    answer = server.client.get("/api", headers={"Accept": "text/html"})
    assert "POST /api/remove" in answer.text
    assert "<script" not in answer.text
    assert server.client.get("/api").json() == server.client.get("/openapi.json").json()


def test_without_a_page():
    with running(no_ui=True) as server:
        assert server.client.get("/").status_code == 404
        assert server.post("/api/remove").status_code == 200


def test_a_caller_who_hangs_up_is_not_computed_for():
    """What waits for its turn is dropped when its caller has gone."""
    import threading

    go, calls = threading.Event(), []

    def engines(card):
        fake = fake_engine(card)

        def function(batch):
            calls.append(1)
            go.wait(20)
            return [batch.mean(axis=1, keepdims=True)]

        fake._function = function
        return fake

    with running(engines=engines, threads=1) as server:
        first = threading.Thread(target=server.post, args=("/api/remove",))
        first.start()
        wait_until(lambda: calls)
        with pytest.raises(httpx.ReadTimeout):
            server.client.post("/api/remove", files={"file": picture_bytes()}, timeout=0.5)
        wait_until(lambda: server.workers.admitted == 1)
        go.set()
        first.join()
        assert server.post("/api/remove").status_code == 200
        assert len(calls) == 2
