import json

import pytest

from maskwright.batch import Choices, Entry, LocalPlace, Recipe, Stamp
from maskwright.batch.journal import Writer, compact_journal, digest, has_parts, load_journal

RECIPE = Recipe("/in", "options", "weights", "u2netp")


def entry(target, content=b"png", source="x.jpg"):
    return Entry(target, source, "0" * 64, Stamp(3, "1"), digest(content), len(content), RECIPE.key)


@pytest.fixture
def place(tmp_path):
    return LocalPlace(tmp_path)


def read(place):
    return (place.path(".maskwright/journal.jsonl")).read_bytes()


def test_what_was_confirmed_is_known(place):
    writer = Writer(place, RECIPE)
    for target in ("b.png", "a.png"):
        writer.announce(entry(target))
        writer.confirm(entry(target))
    known = load_journal(place)
    assert known.entries == {"a.png": entry("a.png"), "b.png": entry("b.png")}
    assert known.recipes == {RECIPE.key: RECIPE}


@pytest.mark.parametrize(("there", "counts"), [(None, False), (b"pn", False), (b"pnG", False), (b"png", True)])
def test_what_was_only_announced_counts_if_it_is_what_was_announced(place, there, counts):
    Writer(place, RECIPE).announce(entry("a.png"))
    if there is not None:
        place.write("a.png", there)
    known = load_journal(place)
    assert ("a.png" in known.entries, "a.png" in known.announced) == (counts, not counts)


def test_a_piece_of_a_line_is_passed_over(place):
    writer = Writer(place, RECIPE)
    writer.note([entry("a.png")])
    [part] = place.names(".maskwright/journal")
    whole = place.read(part)
    for cut in range(len(whole)):
        place.write(part, whole[:cut])
        assert set(load_journal(place).entries) <= {"a.png"}
    place.write(part, whole + b"\xff\xfe[]\n7\n")
    assert load_journal(place).entries == {"a.png": entry("a.png")}


def test_a_compact_journal_is_the_same_whatever_the_order_was(tmp_path):
    found = []
    for number, order in enumerate([("a.png", "b.png"), ("b.png", "a.png")]):
        place = LocalPlace(tmp_path / str(number))
        Writer(place, RECIPE).note([entry("c.png")])
        for target in order:
            Writer(place, RECIPE).note([entry(target)])
        compact_journal(place, load_journal(place))
        assert not has_parts(place)
        found.append(read(place))
        assert load_journal(place).entries.keys() == {"a.png", "b.png", "c.png"}
    assert found[0] == found[1]
    assert len(found[0].splitlines()) == 4
    assert json.loads(found[0].splitlines()[0])["model"] == "u2netp"


def test_after_a_line_that_could_not_be_written_another_part_begins(place, monkeypatch):
    writer = Writer(place, RECIPE)
    writer.note([entry("a.png")])
    real = place.append

    def torn(name, data):
        real(name, data[: len(data) // 2])
        from maskwright.errors import MediaError

        raise MediaError("full")

    monkeypatch.setattr(place, "append", torn)
    with pytest.raises(Exception, match="full"):
        writer.note([entry("b.png")])
    monkeypatch.setattr(place, "append", real)
    writer.note([entry("c.png")])
    assert load_journal(place).entries.keys() == {"a.png", "c.png"}
    assert len(place.names(".maskwright/journal")) == 2


def test_a_second_run_makes_anew_what_changed_and_nothing_else(tmp_path, fill, cut_all):
    fill(tmp_path / "in", "x.jpg", "y.jpg", "z.jpg")
    assert cut_all().written == 3
    assert (cut_all().written, cut_all().skipped) == (0, 3)
    fill(tmp_path / "in", "other.jpg", "x.jpg")  # x.jpg has another colour now
    (tmp_path / "out" / "z.png").unlink()
    report = cut_all()
    assert (report.written, report.skipped) == (3, 1)
    assert cut_all(manifest=True).written == 4  # other options
    assert cut_all(manifest=True, choices=Choices(rehash=True)).skipped == 4
