"""Progress without a terminal: lines at a bearable rate, with count and remaining time."""

import io
import sys

from hw.progress import _Lines, stage_bars


def told(reports):
    """Lines of reports ``(second, stage, done, total)``."""
    file, now = io.StringIO(), 0.0
    lines = _Lines(file, lambda: now)
    for second, *report in reports:
        now = second
        lines(*report)
    return file.getvalue().splitlines()


def test_quick_work_says_nothing():
    assert told([(0, "load", 0, 1), (2, "load", 1, 1), (14.9, "quantize", 2, 2)]) == []


def test_a_line_every_five_seconds_after_fifteen_with_what_is_left():
    reports = [(second, "quantize", second, 100) for second in range(23)]
    assert told(reports) == [
        "quantize: 15 of 100, 15 s, about 1 min 25 s left",
        "quantize: 20 of 100, 20 s, about 1 min 20 s left",
    ]


def test_what_an_earlier_run_has_done_does_not_count_as_speed():
    assert told([(0, "quantize", 90, 100), (20, "quantize", 91, 100)]) == [
        "quantize: 91 of 100, 20 s, about 3 min 0 s left"
    ]


def test_a_stage_without_measured_speed_promises_nothing():
    assert told([(0, "load", 0, 1), (7300, "load", 0, 1)]) == ["load: 0 of 1, 2 h 1 min"]


def test_loading_says_nothing_for_a_minute_as_its_refusals_are_one_line():
    assert told([(0, "load", 0, 1), (59.9, "load", 1, 1), (60, "quantize", 1, 2)]) == ["quantize: 1 of 2, 0 s"]


def test_waiting_is_said_at_once():
    assert told([(0, "wait for another run", 0, 0)]) == ["wait for another run"]


def test_without_a_terminal_lines_are_written(monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    monkeypatch.setattr("hw.progress._EVERY_S", 0.0)
    monkeypatch.setattr("hw.progress._FIRST_S", 0.0)
    with stage_bars() as report:
        report("quantize", 1, 2)
    assert file.getvalue() == "quantize: 1 of 2, 0 s\n"
