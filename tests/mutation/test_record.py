"""Judged samples: what is kept of them, and the tables that the documentation shows."""

from tests.mutation.record import recorded, scores_table, survivors_table, write_record

JUDGED = {
    "seed": 7,
    "commit": "abc1234",
    "rows": [
        {"key": "sim/a.py: x = a + b: + -> -", "verdict": "caught"},
        {"key": "sim/a.py: x = a | b: 1 -> 2", "verdict": "survived"},
        {"key": "hw/b.py: while x:: x -> not x", "verdict": "timeout", "by": "tests/test_declared.py"},
        {"key": "hw/b.py: _NEVER = -1: 1 -> 2", "verdict": "survived"},
        {"key": "quant/c.py: y = 3: 3 -> 4", "verdict": "untested"},
    ],
}
KNOWN = {"hw/b.py: _NEVER = -1: 1 -> 2": "any number serves"}


def test_what_has_no_effect_leaves_the_count_and_what_no_test_runs_stays():
    sample = recorded(JUDGED, KNOWN)
    assert (sample["sample"], sample["equivalent"]) == (5, 1)
    assert sample["mutants"] == {"energy": 0, "sim": 2, "quant": 1, "hw": 1}
    assert sample["caught"] == {"energy": 0, "sim": 1, "quant": 0, "hw": 1}
    assert sample["survivors"] == ["sim/a.py: x = a | b: 1 -> 2", "quant/c.py: y = 3: 3 -> 4"]


def test_a_sample_judged_again_replaces_itself_and_others_stay(tmp_path):
    path = tmp_path / "results.json"
    for known, judged in (({}, JUDGED), (KNOWN, JUDGED | {"seed": 8}), (KNOWN, JUDGED)):
        write_record(recorded(judged, known), path)
    assert scores_table(path).splitlines()[2:] == [
        "| 8 | `abc1234` | 5 | 1 | 0 of 0 | 1 of 2 | 0 of 1 | 1 of 1 | 2 of 4 | 1 | 50.0% |",
        "| 7 | `abc1234` | 5 | 1 | 0 of 0 | 1 of 2 | 0 of 1 | 1 of 1 | 2 of 4 | 1 | 50.0% |",
    ]
    assert survivors_table(path).splitlines()[2:] == [
        r"| sim/a.py | `x = a \| b` | `1 -> 2` |",
        "| quant/c.py | `y = 3` | `3 -> 4` |",
    ]
