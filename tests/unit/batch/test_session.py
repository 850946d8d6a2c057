import threading

import pytest

from maskwright.batch import watch
from maskwright.errors import MediaError


def snapshot(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_runs_into_one_folder_are_refused(tmp_path, fill, open_batch):
    fill(tmp_path / "in", "x.jpg")
    with (
        open_batch(),
        pytest.raises(MediaError, match=r"another run writes to .*out; wait until it is done, or name another folder"),
        open_batch(),
    ):
        pass


def test_a_run_that_ends_anywhere_is_finished_by_the_next(tmp_path, fill, open_batch, cut_all, monkeypatch):
    """Stopped at each line of its journal and each file it writes, then run again: the same folder, byte by byte."""
    from maskwright.batch import LocalPlace

    fill(tmp_path / "in", "x.jpg", "y.jpg", "a/z.jpg")
    cut_all(manifest=True)
    whole = snapshot(tmp_path / "out")
    assert set(whole) >= {"x.png", "x.png.json", "a/z.png", ".maskwright/journal.jsonl"}

    class Killed(BaseException):
        """Nothing catches this: as if the process were gone."""

    for point in range(100):
        left = [point]
        with monkeypatch.context() as patch:

            def dying(real, left=left):
                def step(self, name, data):
                    left[0] -= 1
                    if left[0] < 0:
                        raise Killed
                    return real(self, name, data)

                return step

            patch.setattr(LocalPlace, "write", dying(LocalPlace.write))
            patch.setattr(LocalPlace, "append", dying(LocalPlace.append))
            try:
                with open_batch(tmp_path / "in", tmp_path / str(point), manifest=True) as batch:
                    for job in batch.plan().jobs:  # one by one, in this thread
                        decoded = batch._worker.decode(batch._worker.read(job))
                        batch._worker.finish(decoded, batch._worker.compute([decoded])[0])
                break
            except Killed:
                pass
        cut_all(tmp_path / "in", tmp_path / str(point), manifest=True)
        assert snapshot(tmp_path / str(point)) == whole, point
    assert point > 12


def test_a_journal_that_cannot_be_made_one_file_stays_in_pieces(
    tmp_path, fill, open_batch, cut_all, monkeypatch, caplog
):
    from maskwright.batch import session

    def full(*_):
        raise MediaError("no room")

    fill(tmp_path / "in", "x.jpg")
    with monkeypatch.context() as patch:
        patch.setattr(session, "compact_journal", full)
        assert cut_all().written == 1
    assert "the journal stays in pieces, which loses nothing: no room" in caplog.text
    assert cut_all().skipped == 1


def test_a_watch_waits_until_a_file_has_settled(tmp_path, fill, open_batch):
    source = fill(tmp_path / "in", "x.jpg", "bad.jpg")
    (source / "bad.jpg").write_bytes(b"no picture")
    looks = []
    with open_batch() as batch:
        real = batch.plan

        def plan():
            looks.append(len(looks))
            if len(looks) == 2:  # still arriving when it is looked at for the second time
                (source / "x.jpg").write_bytes((source / "x.jpg").read_bytes() + b"more")
            if len(looks) == 5:
                fill(source, "later.jpg")
            if len(looks) == 9:
                (source / "stop.txt").touch()
            return real()

        batch.plan = plan
        rounds = watch(batch, stop=threading.Event(), interval=0.001)
        reports = [(len(looks), report.written, sorted(report.failed)) for report in rounds]
    assert reports == [(2, 0, ["bad.jpg"]), (3, 1, []), (6, 1, [])]
    assert not (source / "stop.txt").exists()


def test_a_watch_that_is_interrupted_ends(tmp_path, fill, open_batch):
    fill(tmp_path / "in", "x.jpg")
    stop = threading.Event()
    stop.set()
    with open_batch() as batch:
        assert list(watch(batch, stop=stop)) == []
