"""Coverage as it is kept: a run replaces one of its name, a column per run; damaged files are refused."""

import pytest

from hw.errors import InputError
from sim.token.coverage_results import CoverageGroup, CoverageRun, add_coverage_run, coverage_markdown

GROUP = CoverageGroup(name="LOAD", bins=3, fewest=1200)
RUN = CoverageRun(name="2 bits a trit", programs=30, instructions=9000, groups=(GROUP,))


def test_runs_stand_side_by_side_and_replace_their_like(tmp_path):
    path = tmp_path / "coverage.json"
    add_coverage_run(path, RUN.model_copy(update={"programs": 4}))
    behind = GROUP.model_copy(update={"name": "behind an SDRAM", "bins": 2, "fewest": 7})
    add_coverage_run(path, CoverageRun(name="SDRAM", programs=5, instructions=70, groups=(behind,)))
    add_coverage_run(path, RUN)
    assert coverage_markdown(path).splitlines() == [
        "| group | bins | 2 bits a trit | SDRAM |",
        "| --- | ---: | ---: | ---: |",
        "| programs |  | 30 | 5 |",
        "| instructions, their cycles equal |  | 9,000 | 70 |",
        "| LOAD | 3 | 1,200 |  |",
        "| behind an SDRAM | 2 |  | 7 |",
    ]


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "coverage.json"
    path.write_text("{")
    with pytest.raises(InputError, match=r"measure again: python -m tests\.sim\.token\.coverage --add"):
        coverage_markdown(path)
