import errno
import threading
import time

import pytest

from maskwright.batch import Limits, Worker, record
from maskwright.batch.report import BatchReport
from maskwright.batch.run import is_fatal
from maskwright.engines import FakeEngine
from maskwright.errors import MediaError


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("pixels", [1, 70, 10**9])
def test_every_picture_is_done_however_little_room_there_is(tmp_path, fill, open_batch, threads, pixels):
    names = [f"{number}.jpg" for number in range(12)]
    source = fill(tmp_path / "in", *names)
    (source / "bad.jpg").write_bytes(b"not a picture")
    (source / "cut.jpg").write_bytes((source / "0.jpg").read_bytes()[:-40])
    seen = []
    with open_batch(limits=Limits(threads, pixels)) as batch:
        report = batch.run(batch.plan(), progress=lambda report: seen.append(report.written + len(report.failed)))
    assert (report.written, sorted(report.failed)) == (12, ["bad.jpg", "cut.jpg"])
    assert seen == sorted(seen)
    assert seen[-1] == 14
    assert all(seconds > 0 for seconds in report.stages.values())
    assert not report.ok


def test_small_pictures_count_as_what_the_network_makes_of_them(tmp_path, fill, open_batch, monkeypatch):
    """Thumbnails by the thousand, each enlarged to a network's megapixel, would fill the memory."""
    fill(tmp_path / "in", *(f"{number:02}.jpg" for number in range(20)))
    lock, held, most = threading.Lock(), [0], [0]
    real = {name: getattr(Worker, name) for name in ("decode", "compute", "finish")}

    def decode(self, read):
        with lock:
            held[0] += 1
            most[0] = max(most[0], held[0])
        return real["decode"](self, read)

    def finish(self, decoded, output):
        with lock:
            held[0] -= 1
        return real["finish"](self, decoded, output)

    monkeypatch.setattr(Worker, "decode", decode)
    monkeypatch.setattr(Worker, "finish", finish)
    monkeypatch.setattr(Worker, "compute", lambda self, group: (time.sleep(0.02), real["compute"](self, group))[1])
    engine = FakeEngine(input_shape=(1, 3, 96, 96))
    with open_batch(limits=Limits(threads=2, pixels=3 * 96 * 96), engine=engine) as batch:
        assert batch.run(batch.plan()).written == 20
    assert 2 <= most[0] <= 3


def test_an_unexpected_error_is_noted_and_the_rest_goes_on(tmp_path, fill, open_batch, engine, monkeypatch):
    fill(tmp_path / "in", "x.jpg", "y.jpg", "z.jpg")
    real, calls = engine.run, []

    def stumble(batch, outputs=(0,)):
        calls.append(1)
        if len(calls) == 2:
            raise MemoryError("too large")
        return real(batch, outputs)

    monkeypatch.setattr(engine, "run", stumble)
    with open_batch() as batch:
        report = batch.run(batch.plan())
    assert (report.written, list(report.failed.values())) == (2, ["unexpected MemoryError: too large"])


def test_a_stop_finishes_what_was_read_and_no_more(tmp_path, fill, open_batch, cut_all):
    fill(tmp_path / "in", *(f"{number:02}.jpg" for number in range(30)))
    stop = threading.Event()
    with open_batch(limits=Limits(threads=1, pixels=60)) as batch:
        report = batch.run(batch.plan(), stop=stop, progress=lambda report: report.written == 3 and stop.set())
    written = {path.stem for path in (tmp_path / "out").glob("*.png")}
    assert report.interrupted
    assert 3 <= report.written == len(written) < 10
    rest = cut_all()
    assert (rest.written, rest.skipped) == (30 - len(written), len(written))


@pytest.mark.parametrize(
    ("error", "fatal"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (ValueError("no"), False),
    ],
)
def test_what_will_be_no_better_with_the_next_picture_stops_the_run(error, fatal):
    wrapped = MediaError("x cannot be written")
    wrapped.__cause__ = error
    assert is_fatal(error) is is_fatal(wrapped) is fatal
    report = BatchReport()
    record(report, "x.jpg", wrapped)
    assert report.stopped == ("x cannot be written" if fatal else None)


def test_a_full_disk_stops_the_run_and_loses_nothing(tmp_path, fill, open_batch, cut_all, monkeypatch):
    source = fill(tmp_path / "in", *(f"{number:02}.jpg" for number in range(20)))
    from maskwright.batch import places

    real, left = places.write_bytes, [3]

    def write(path, data, **extras):
        if path.suffix == ".png":
            left[0] -= 1
            if left[0] < 0:
                raise MediaError(f"{path} cannot be written (No space left)") from OSError(errno.ENOSPC, "full")
        return real(path, data, **extras)

    monkeypatch.setattr(places, "write_bytes", write)
    with open_batch(delete_input=True, limits=Limits(threads=1, pixels=60)) as batch:
        report = batch.run(batch.plan())
    assert "No space left" in report.stopped
    assert (report.written, report.deleted) == (3, 3)
    assert len(report.failed) == 1
    assert len(list(source.iterdir())) == 17
    monkeypatch.setattr(places, "write_bytes", real)
    assert cut_all().written == 17
