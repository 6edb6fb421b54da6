"""Rivals fit what is held and no larger shape does; refusals carry the numbers; the split of what is saved sums up."""

import json
import re

import pytest

from energy.__main__ import main
from energy.area import area_of
from energy.costs.sources import load_source
from energy.job import Job, Rivals, simulate_machines
from energy.model import COMPUTE, energy_of
from energy.sizing import chip_power_w
from energy.split import narrow, split_energy
from hw.config import ArrayConfig, load_array
from hw.errors import InputError
from quant.shapes import load_shape

GATES = load_source("gates:asap7")
JOB = Job(model="stories260K", array="16x16", prefill=16, decode=4, costs="gates:asap7")
ALL = "int8,fp16,w4a8,w2a8,w4a16"


def sized(hold, rivals=ALL, bus="balanced", job=JOB):
    return simulate_machines(job, load_shape(job.model), None, Rivals(rivals=rivals, rival_bus=bus, hold=hold))


def array_of(result, rows, cols):
    return result.array.resized(rows, cols)


def squarish(rows, cols):
    return max(rows, cols) <= 2 * min(rows, cols)


def test_equal_lanes_are_what_rivals_have_by_default():
    assert Rivals().hold == "lanes"
    summary, results = sized("lanes")
    assert {machine.size for machine in summary.machines} == {"16x16"}
    assert {result.lanes for result in results} == {256}


@pytest.mark.parametrize(("hold", "part"), [("compute-area", "compute"), ("area", "total")])
def test_no_squarish_shape_of_more_lanes_fits_the_area(hold, part):
    """By exhaustion over 32 to 1 rows, powers of two, and every number of columns."""
    _, results = sized(hold)
    budget = getattr(area_of(results[0].array, GATES), part).typical
    for result in results[1:]:
        assert getattr(area_of(result.array, GATES), part).typical <= budget
        lanes = [
            rows * cols
            for rows in (32, 16, 8, 4, 2, 1)
            for cols in range(1, 65)
            if squarish(rows, cols) and getattr(area_of(array_of(result, rows, cols), GATES), part).typical <= budget
        ]
        assert result.lanes == max(lanes), result.array.mac


def test_equal_power_is_that_of_prefill_on_the_chip():
    job = JOB.model_copy(update={"model": "llama2-7b", "array": "32x32", "prefill": 64, "decode": 1})
    _, results = sized("power", "int8,w2a8", job=job)
    ternary, *rivals = results
    energy = energy_of(ternary, GATES).phase("prefill")
    parts = sum(energy.parts[name].typical for name in (*COMPUTE, "sram", "leakage"))
    assert chip_power_w(ternary, GATES) == pytest.approx(parts / energy.seconds, rel=1e-9)
    for rival in rivals:
        assert chip_power_w(rival, GATES) <= chip_power_w(ternary, GATES)
        larger = job.simulate(load_shape(job.model), rival.array.resized(rival.array.rows, rival.array.cols + 4))
        assert chip_power_w(larger, GATES) > chip_power_w(ternary, GATES)
    assert rivals[0].lanes < rivals[1].lanes < 2 * ternary.lanes


def test_equal_bandwidth_gives_the_fewest_lanes_that_are_as_fast():
    job = JOB.model_copy(update={"model": "llama2-7b", "array": "32x32", "prefill": 64, "decode": 1})
    _, (ternary, rival) = sized("bandwidth", "w2a8", job=job)
    wanted = ternary.seconds(ternary.phase("prefill"))
    assert rival.seconds(rival.phase("prefill")) <= wanted
    fewer = job.simulate(load_shape(job.model), rival.array.resized(rival.array.rows, rival.array.cols - 2))
    assert fewer.seconds(fewer.phase("prefill")) > wanted


def test_a_budget_without_a_lane_is_refused_with_the_numbers():
    """Of power; an int8 machine of one lane is the smaller one, as its vector unit needs no multiply-accumulate."""
    job = JOB.model_copy(update={"array": "1x1"})
    with pytest.raises(
        InputError,
        match=r"^hold power: int8 must fit power of prefill on the chip of 0\.00\d+ W, but 1x1 lanes take "
        r"0\.00\d+ W; hold lanes, or leave int8 out of rivals$",
    ):
        sized("power", "int8", job=job)


def test_costs_without_areas_hold_no_area(tmp_path):
    text = (load_array.__globals__["ARRAY_FOLDER"].parents[1] / "energy" / "tech" / "bitnet-7nm.yaml").read_text()
    path = tmp_path / "mine.yaml"
    path.write_text("\n".join(line for line in text.splitlines() if not line.startswith("area:")))
    with pytest.raises(InputError, match=r"^hold area: costs .* must name a cell library \(field area\)"):
        sized("area", "int8", job=JOB.model_copy(update={"costs": str(path)}))


def test_a_resized_array_keeps_its_bus_when_smaller_and_its_beats_when_larger():
    array = load_array("edge-32x32")  # 1024 trits of two bits over 256 bits
    assert array.resized(16, 8).weight_bus_bits == 256
    assert array.resized(64, 32).weight_bus_bits == 512
    assert array.resized(64, 32, widen_bus=False).weight_bus_bits == 256
    assert array.resized(512, 512).weight_buffer_bytes == 256 * 1024
    assert array.baseline("w4a16").resized(512, 512).weight_buffer_bytes == 2 * 512 * 512 * 2  # dense tiles of FP16
    assert array.resized(16, 8).name == array.name


def test_a_narrowed_rival_differs_in_the_bits_of_its_linears_alone():
    shape = load_shape("stories260K")
    rival = load_array("16x16").baseline("int8")
    narrowed = narrow(rival, 2.0)
    assert isinstance(narrowed, ArrayConfig)
    own, thin = JOB.simulate(shape, rival), JOB.simulate(shape, narrowed)
    for phase in ("prefill", "decode"):
        for op, other in zip(own.phase(phase).ops, thin.phase(phase).ops, strict=True):
            times = 4 if op.name.endswith("_proj") else 1
            if op.unit == "array":
                assert op.counts.weight_buffer_read_bits == times * other.counts.weight_buffer_read_bits, op.name
            assert op.counts.array_macs == other.counts.array_macs


def test_the_three_reasons_sum_to_what_is_saved(close):
    summary, _ = sized("lanes")
    for item in summary.reductions:
        why = item.split
        assert why.fewer_bits + why.arithmetic + why.rest == pytest.approx(item.system_energy, abs=1e-12)


@pytest.mark.parametrize(("planes", "bits"), [(1.0, 2.0), (1.5, 3.0)])
def test_each_reason_is_the_difference_of_two_machines(planes, bits, close):
    """Fewer bits: the rival and itself with narrow weights; arithmetic: the latter's products and the ternary ones."""
    shape, seen = load_shape(JOB.model), []

    def run(array):
        seen.append(array.arithmetic.stored_bits)
        return JOB.simulate(shape, array)

    ternary, rival = (
        JOB.simulate(shape, array) for array in (load_array("16x16"), load_array("16x16").baseline("int8"))
    )
    found = split_energy(ternary, rival, GATES, run, planes)
    assert seen == [bits]
    thin = energy_of(JOB.simulate(shape, narrow(rival.array, bits)), GATES)
    for name, why in found.items():
        own, other, between = (
            {part: cost.typical for part, cost in energy.phase(name).parts.items()}
            for energy in (energy_of(ternary, GATES), energy_of(rival, GATES), thin)
        )
        whole = sum(other.values())
        products = sum(between[part] - own[part] for part in COMPUTE) / whole
        assert why.fewer_bits == close((whole - sum(between.values())) / whole)
        assert why.arithmetic == close(products)
        assert why.rest == close((sum(between.values()) - sum(own.values())) / whole - products)


def test_weights_of_equal_bits_leave_nothing_to_fewer_bits():
    summary, _ = sized("lanes", "w2a8,int8")
    bits = {(item.baseline, item.phase): item.split.fewer_bits for item in summary.reductions}
    assert bits["16x16/w2a8", "decode"] == bits["16x16/w2a8", "prefill"] == 0
    assert bits["16x16/int8", "decode"] > 0.3


def test_the_command_sizes_rivals_and_says_what_is_held(capsys, tmp_path):
    job = ["sim", "--model", "stories260K", "--shapes-only", "--prefill", "8", "--decode", "2", "--array", "16x16"]
    main([*job, "--costs", "gates:asap7", "--rivals", "w2a8", "--hold", "area", "--out", str(tmp_path)])
    screen = capsys.readouterr().out
    assert "rivals of as much area" in screen
    assert re.search(r"rows x columns +16x16 +\d+x\d+", screen)
    document = json.loads((tmp_path / "energy.json").read_text())
    assert document["hold"] == "area"
    assert set(document["reductions"][0]["split"]) == {"fewer_bits", "arithmetic", "rest"}
    assert "fewer bits" in (tmp_path / "report.md").read_text()
    assert "fewer bits" in (tmp_path / "report.html").read_text()
