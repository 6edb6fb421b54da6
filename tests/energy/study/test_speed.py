"""What a study shares between its points changes no figure of any; its speed is measured as a person asks for it."""

import json
import random

import pytest

from energy.__main__ import main
from energy.job import Job
from energy.model import energy_of
from energy.study.document import Study
from energy.study.engine import measure, run_study
from energy.study.machine import Catalog
from energy.study.speed import POINTS, speed_study, timed_commands
from hw.errors import InputError
from sim.gemm.cost import forget_gemms

AXES = {  # of machine, memory, job and costs
    "array.rows": [16, 32, 64],
    "array.cols": [16, 48],
    "array.vector_lanes": [16, 64],
    "array.clock_hz": [5e8, 1e9],
    "memory": ["ddr4-3200", "lpddr5-6400", "hbm3-6400"],
    "prefill": [64, 300],
    "batch": [1, 3],
    "attention": ["auto", "vector"],
    "costs": ["horowitz-45nm", "gates:asap7", "gates:gt2n"],
}
STUDY = Study(name="shared", base={"model": "smollm2-135m", "array": "mobile-64x64", "decode": 8}, axes=AXES)


@pytest.fixture(scope="module")
def chosen():
    """Thirty of the combinations, in an order that has nothing to do with what they share."""
    return random.Random(0).sample([*STUDY.combinations()], 30)


def test_points_that_share_simulations_equal_points_that_are_measured_alone(chosen):
    catalog = Catalog()
    together = [measure(STUDY.base, values, catalog) for values in chosen]
    assert sum(not row.reason for row in together) > 20
    for values, row in zip(chosen, together, strict=True):
        forget_gemms()
        assert measure(STUDY.base, values, Catalog()) == row


def test_points_are_what_a_single_simulation_gives_to_the_last_bit(chosen):
    """As `tritforge sim` simulates and prices a job."""
    for values in chosen:
        row = measure(STUDY.base, values, Catalog())
        if row.reason:
            continue
        fields = {name: value for name, value in values.items() if not name.startswith("array.")}
        changed = {name.removeprefix("array."): value for name, value in values.items() if name.startswith("array.")}
        job = Job(model="smollm2-135m", array="mobile-64x64", decode=8, **fields)
        machine = Catalog().machine(STUDY.base, values)
        array = machine.costs.clocked(machine.array)
        assert array.rows == changed["rows"]
        result = job.simulate(machine.shape, array, None, None)
        energy = energy_of(result, machine.costs)
        assert row.figures["user_s_per_token"] == result.seconds(result.phase("decode")) / 8
        assert row.figures["first_token_s"] == result.seconds(result.phase("prefill"))
        for end, suffix in (("low", "_low"), ("typical", ""), ("high", "_high")):
            total = energy.phase("decode").total
            assert row.figures[f"decode_j_per_token{suffix}"] == getattr(total, end) * (1 / (8 * job.batch))


def test_points_of_one_simulation_follow_each_other_and_travel_together():
    assert STUDY.alike == 3
    rows = [{**values, "costs": None} for values in STUDY.combinations()]
    assert all(rows[first] == rows[first + 1] == rows[first + 2] for first in range(0, len(rows), 3))
    held = Study(name="held", base={"model": "stories260K", "rivals": ["int8"]}, axes={
        "hold": ["lanes", "area"], "prefill": [1, 2], "costs": ["gates:asap7"]
    })  # fmt: skip
    assert held.alike == 2
    assert [values["prefill"] for values in held.combinations()] == [1, 1, 2, 2]


@pytest.mark.parametrize("points", POINTS)
def test_the_measured_studies_have_so_many_points(points):
    study = speed_study(points)
    assert study.points == points
    assert study.alike == 4


def test_all_points_of_the_small_measured_study_can_be(tmp_path):
    assert len(run_study(speed_study(100), "speed").feasible) == 100


@pytest.mark.slow
def test_the_speed_of_a_study_is_measured_as_asked(capsys, tmp_path):
    main(["bench-study", "--points", "100", "--command=--processes 1", "--json", "--out", str(tmp_path / "speed.json")])
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "speed.json").read_text())
    assert printed["ratio"]["points"] == 100
    assert 0 < printed["ratio"]["point_s"] < printed["ratio"]["single_s"]  # of CPU time, by a factor of two and more
    (command,) = printed["commands"]
    assert command["points"] == 100
    assert command["cpu_s"] > 0
    assert 10e6 < command["peak_bytes"] < 2e9


def test_options_that_whatif_refuses_are_refused(capfd):
    with pytest.raises(InputError, match="command must be options of tritforge whatif, not '--procesess 2'"):
        timed_commands(100, ["--procesess 2"])
