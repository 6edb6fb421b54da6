"""Designs that a study can tell apart: hand-made points of a time without a range and an energy with one."""

import pytest

from energy.reports.answer import answer, designs
from energy.study.document import Study
from energy.study.points import StoredPoints, StudyPoint
from energy.study.ranges import equal
from energy.study.result import StudyResult, marked

STUDY = Study(
    name="hand",
    base={"model": "stories260K"},
    axes={"memory": ["ddr4-3200", "lpddr5-6400"], "batch": [1, 2, 4]},
    minimize=["user_s_per_token", "decode_j_per_token"],
)


def point(memory, batch, seconds, low, typical, high, pareto=True):
    metrics = {"user_s_per_token": seconds, "decode_j_per_token": typical}
    metrics |= {"decode_j_per_token_low": low, "decode_j_per_token_high": high}
    return StudyPoint(values={"memory": memory, "batch": batch}, metrics=metrics, sha256="0" * 64, pareto=pareto)


ONE = point("lpddr5-6400", 1, 1.0, 2.0, 4.0, 8.0)


@pytest.mark.parametrize(
    ("other", "energies_equal"),
    [
        (point("lpddr5-6400", 2, 2.0, 1.9, 3.8, 7.6), False),  # shared costs: better at both ends
        (point("lpddr5-6400", 2, 2.0, 1.9, 3.9, 8.1), True),  # shared costs: better at one end only
        (point("lpddr5-6400", 2, 2.0, 2.0, 3.8, 7.6), True),  # shared costs: better at one end, equal at the other
        (point("ddr4-3200", 2, 2.0, 1.9, 3.8, 7.6), True),  # other costs: the ranges overlap
        (point("ddr4-3200", 2, 2.0, 9.0, 9.5, 10.0), False),  # other costs: they do not
        (point("ddr4-3200", 2, 2.0, 8.5, 4.01, 9.9), True),  # typical figures within half a per cent
    ],
)
def test_ranges_of_shared_costs_are_compared_end_by_end_and_others_by_overlap(other, energies_equal):
    assert equal(STUDY, ONE, other, "decode_j_per_token") is energies_equal
    assert equal(STUDY, other, ONE, "decode_j_per_token") is energies_equal
    assert not equal(STUDY, ONE, other, "user_s_per_token")


def test_a_time_is_equal_within_half_a_per_cent():
    assert equal(STUDY, ONE, point("ddr4-3200", 1, 1.004, 1, 1, 1), "user_s_per_token")
    assert not equal(STUDY, ONE, point("ddr4-3200", 1, 1.006, 1, 1, 1), "user_s_per_token")


def test_points_know_in_which_objectives_they_are_equal_to_the_best():
    points = [ONE, point("lpddr5-6400", 4, 3.0, 1.0, 2.0, 4.0), point("ddr4-3200", 4, 1.001, 3.5, 9.0, 20.0)]
    stored = StoredPoints([*ONE.metrics], len(points), [one.values for one in points].__getitem__)
    for number, one in enumerate(points):
        stored.put(number, one)
    assert [one.equal_to_best for one in marked(STUDY, stored).points] == [
        ["user_s_per_token"],
        ["decode_j_per_token"],
        ["user_s_per_token", "decode_j_per_token"],
    ]
    assert [*marked(STUDY, StoredPoints([*ONE.metrics], 0, {}.__getitem__)).points] == []


def test_the_half_per_cent_itself_is_equal():
    assert equal(STUDY, ONE, point("ddr4-3200", 1, 1.005, 1, 1, 1), "user_s_per_token")


def result_of(*points):
    return StudyResult(study=STUDY, points=list(points))


def test_the_answer_names_the_ends_and_the_compromise_with_what_each_gives_up():
    ends = [point("lpddr5-6400", 1, 1.0, 5.0, 8.0, 9.0), point("lpddr5-6400", 4, 4.0, 0.5, 1.0, 2.0)]
    middle = point("lpddr5-6400", 2, 1.5, 1.0, 1.5, 3.0)
    result = result_of(*ends, middle, point("ddr4-3200", 1, 9.0, 9.0, 9.0, 9.0, pareto=False))
    assert [one.point for one in designs(result)] == [*ends, middle]
    assert answer(result) == (
        "Worth building: A for least user time per token, at 8.00 times the least decode energy per token; "
        "B for least decode energy per token, at 4.00 times the least user time per token; "
        "C for the compromise, at 1.50 times the least user time per token and "
        "1.50 times the least decode energy per token."
    )


def test_the_answer_says_what_ranges_cannot_tell_apart():
    result = result_of(ONE, point("ddr4-3200", 4, 2.0, 1.5, 3.0, 6.0))
    assert answer(result).endswith(" From low to high costs, A and B are equal in decode energy per token.")


def test_one_design_that_is_best_in_everything_and_none_at_all():
    assert answer(result_of(ONE)) == "Build A (memory lpddr5-6400, batch 1): it is best in every objective."
    assert answer(result_of()) == "No combination can be built, run and meet every constraint; the reasons stand below."


def test_the_compromise_is_near_the_best_of_what_is_to_be_large():
    """Speed to be large, energy to be small: the corner is fast and frugal, not slow and frugal."""
    study = STUDY.model_copy(update={"minimize": ["decode_j_per_token"], "maximize": ["decode_tokens_per_s"]})
    figures = [(1.0, 1.0), (8.0, 1.3), (10.0, 10.0), (1.3, 1.05)]  # tokens/s, J per token
    points = [
        StudyPoint(
            values={"memory": "lpddr5-6400", "batch": number},
            metrics={"decode_tokens_per_s": speed, "decode_j_per_token": energy},
            sha256="0",
            pareto=True,
        )
        for number, (speed, energy) in enumerate(figures)
    ]
    named = designs(StudyResult(study=study, points=points))
    assert [(one.point.values["batch"], one.why) for one in named] == [
        (0, "least decode energy per token"),
        (2, "most decode speed"),
        (1, "the compromise"),
    ]
