import json

from maskwright.batch import BatchReport


def test_a_report_is_for_programs_and_for_people():
    report = BatchReport(written=3, skipped=2, deleted=1, seconds=1.5)
    report.failed = {f"{number:02}.jpg": "is\nempty" for number in range(25)}
    report.notes = {"a.jpg": ("only the first of 2 frames was read",)}
    report.stages["compute"], report.stages["wait"] = 3.0, 1.0
    said = json.loads(json.dumps(report.to_json({"input": "in"})))
    assert (said["input"], said["failed"], said["pictures_per_second"]) == ("in", 25, 2.0)
    assert said["errors"]["00.jpg"] == "is\nempty"
    assert said["notes"] == {"a.jpg": ["only the first of 2 frames was read"]}
    lines = report.summary().splitlines()
    assert lines[0].startswith("3 written, 2 skipped, 25 failed, 1 inputs deleted; 1.5 s, 2.00 pictures/s")
    assert "busy 75% of its time" in lines[0]
    assert lines[1] == "  00.jpg: is empty"
    assert lines[-1] == "  and 5 more: --report FILE lists all"


def test_rounds_of_a_watch_add_up():
    report, later = BatchReport(written=1), BatchReport(written=2, batch_size=4, stopped="full")
    later.failed = {"x.jpg": "bad"}
    report.join(later)
    assert (report.written, report.batch_size, report.failed, report.ok) == (3, 4, {"x.jpg": "bad"}, False)
    assert report.summary().endswith("stopped: full; run again to go on")
