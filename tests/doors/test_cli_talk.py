"""What commands say while they work: a warning once, and how far they have come."""

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from maskwright.cli import talk

ROOT = Path(__file__).resolve().parents[2]


def test_a_warning_that_comes_again_is_counted(capsys):
    logger = logging.getLogger("maskwright.somewhere")
    with talk.talking(quiet=False, debug=False):
        for _ in range(3):
            logger.warning("the trimap is empty")
            logger.info("going on")
        logger.warning("once")
        assert capsys.readouterr().err.count("trimap") == 1
    assert capsys.readouterr().err == "maskwright: warning: the trimap is empty (3 times)\n"
    with talk.talking(quiet=True, debug=False):
        logger.warning("the trimap is empty")
    assert not capsys.readouterr().err


def test_logs_get_a_line_each_half_minute_with_rate_and_time_left(capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(talk.time, "monotonic", lambda: now[0])
    with talk.work_bar("cutting", "pictures", quiet=False) as show:
        for done in range(20, 91):  # 20 of them were done before
            show(done, 120, done // 50)
            now[0] += 1
    assert capsys.readouterr().err.splitlines() == [
        "50 of 120, 1.00 pictures/s, 1 failed, 70 s left",
        "80 of 120, 1.00 pictures/s, 1 failed, 40 s left",
    ]
    with talk.work_bar("cutting", "frames", quiet=False) as show:
        show(0, 0)
        now[0] += 30
        show(60, 0)  # of a clip that does not say how long it is
    assert capsys.readouterr().err == "60, 2.00 frames/s\n"
    with talk.work_bar("cutting", "frames", quiet=True) as show:
        assert show is None


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal of its own")
def test_a_terminal_gets_a_bar_with_rate_and_time_left():
    script = """
from maskwright.cli.talk import time, work_bar
with work_bar("cutting", "pictures", False) as show:
    for done in range(41):
        show(done, 80, done // 40)
        time.sleep(0.05)
"""
    mine, its = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", script], stderr=its, cwd=ROOT, env={**os.environ, "PYTHONPATH": "."}
    )
    os.close(its)
    shown = b""
    try:
        while piece := os.read(mine, 4096):
            shown += piece
    except OSError:  # the other end is closed
        pass
    os.close(mine)
    assert process.wait() == 0
    lines = re.findall(rb"cutting .*40/80 .*\d\d:\d\d:\d\d .*\d+\.\d\d pictures/s, 1 failed", shown)
    assert lines, shown
