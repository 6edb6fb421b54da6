"""The verdict: its numbers are those of the JSON, losses stand beside gains, and a collapse is called one."""

import json
import re
from pathlib import Path

import pytest

from energy.costs.tables import Cost
from energy.reports.rows import percent, si
from energy.reports.verdict import collapse, plain, question, verdict
from energy.summary import JobSummary, Quality

RESULT = Path(__file__).parents[3] / "docs" / "results" / "sim-llama2-7b.json"


@pytest.fixture(scope="module")
def document():
    return json.loads(RESULT.read_text(encoding="utf-8"))


def summary_of(document, **changes):
    return JobSummary.model_validate(document | changes)


def changed(document, phase, rival, **fields):
    """``document`` with other fields of one reduction."""
    machine = document["machines"][rival]["name"]
    reductions = [
        one | (fields if (one["baseline"], one["phase"]) == (machine, phase) else {}) for one in document["reductions"]
    ]
    return summary_of(document, reductions=reductions)


def test_the_first_sentence_has_speed_and_energy_of_every_machine_as_the_json_has_them(document):
    first = plain(verdict(summary_of(document))[:1])
    expected = []
    for machine in document["machines"]:
        decode = machine["phases"][1]
        expected += [f"{decode['tokens_per_s']:.3g}", si(decode["total_j_per_token"][1], "J").split()[0]]
    found = re.findall(r"(\d[\d.]*)(?: tokens/s)? at (\d[\d.]*) [mµ]?J", first)
    assert [float(number) for pair in found for number in pair] == [float(number) for number in expected]


def test_the_second_sentence_splits_what_is_saved_against_the_first_and_the_closest_rival(document):
    second = plain(verdict(summary_of(document))[1:])
    decode = {one["baseline"].rpartition("/")[2]: one for one in document["reductions"] if one["phase"] == "decode"}
    int8, closest = decode["int8"], min(decode.values(), key=lambda one: one["system_energy"])
    for item in (int8, closest):
        assert f"saves {percent(item['system_energy'])} of the energy" in second
        share = item["split"]["fewer_bits"] / item["system_energy"]
        assert f"{percent(share)} of that by fewer bits" in second


def test_every_loss_is_said_with_its_number(document):
    for one in document["reductions"]:
        for field in ("latency", "system_energy"):
            assert isinstance(one[field], float)
    summary = changed(document, "prefill", 1, latency=-0.041, system_energy=-0.25)
    text = plain(verdict(summary))
    assert "but against INT8 its prefill is 4.1 % slower and its prefill takes 25 % more energy" in text


def test_without_a_loss_it_says_so_and_small_differences_are_none(document):
    reductions = [one | {"latency": 0.2, "system_energy": 0.3} for one in document["reductions"]]
    text = plain(verdict(summary_of(document, reductions=reductions)))
    assert text.endswith("no rival is faster or takes less energy, in either phase.")
    reductions[0] |= {"latency": -0.004}
    assert plain(verdict(summary_of(document, reductions=reductions))) == text


def test_a_machine_that_takes_more_energy_is_not_said_to_save_any(document):
    text = plain(verdict(changed(document, "decode", 1, system_energy=-0.5)))
    assert "It takes 50 % more energy per token than INT8" in text
    assert "against INT8 it saves" not in text
    assert "it takes as much energy per token as INT8" in plain(
        verdict(changed(document, "decode", 1, system_energy=0.001))
    ).replace("It takes", "it takes")


def test_a_job_without_decode_is_judged_by_its_prefill(document):
    machines = [one | {"phases": one["phases"][:1]} for one in document["machines"]]
    reductions = [one for one in document["reductions"] if one["phase"] == "prefill"]
    text = plain(verdict(summary_of(document, decode=0, machines=machines, reductions=reductions)))
    speed = document["machines"][0]["phases"][0]["tokens_per_s"]
    assert text.startswith(f"Ternary reads {speed:.0f} prompt tokens/s at ")


def test_what_is_held_equal_is_in_the_question(document):
    assert "the same 4096 lanes" in question(summary_of(document, hold="lanes"))
    assert any(part.startswith("the same silicon area (0.") for part in question(summary_of(document, hold="area")))


@pytest.mark.parametrize(("after", "times"), [(131.9, 6.0), (43.0, None), (44.0, 2.0)])
def test_a_perplexity_of_twice_what_it_was_is_a_collapse(after, times):
    fields = {"method": "rtn", "true_bits": 1.7, "zero_fraction": 0.3, "text": "t", "calibration": "c"}
    quality = Quality(**fields, perplexity={"fp": 21.6, "fp_a8": 21.99, "a16": after, "a8": after})
    assert collapse(quality) == (None if times is None else pytest.approx(times, rel=1e-2))
    assert collapse(None) is None


def test_the_range_of_a_cost_is_no_part_of_the_verdict(document):
    """Typical figures alone: a wider range changes no word."""
    summary = summary_of(document)
    machines = []
    for machine in summary.machines:
        phases = [
            phase.model_copy(update={"total_j_per_token": Cost(0, phase.total_j_per_token.typical, 99)})
            for phase in machine.phases
        ]
        machines.append(machine.model_copy(update={"phases": phases}))
    assert plain(verdict(summary.model_copy(update={"machines": machines}))) == plain(verdict(summary))
