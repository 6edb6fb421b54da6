"""Every part of a phase's energy, low, typical and high, equals the naive sums over the cost files."""

import pytest

from energy.costs.sources import load_source
from energy.costs.tables import load_costs, load_sram
from energy.model import COMPUTE, PARTS, energy_of
from energy.summary import summarize
from hw.config import ArrayConfig
from quant.shapes import load_shape
from sim.cores import CoreGroup
from sim.counts import ActionCounts
from sim.memory import load_memory
from sim.result import CAUSES, OpResult, PhaseResult, SimResult
from sim.trace.statistics import assumed_statistics
from tests.naive_energy import naive_energy

KIB = 1024
COUNTS = ActionCounts(*(1000 + 97 * number**2 for number in range(len(ActionCounts._fields))))  # all different
ORGANISATIONS = {"tree": {"token_tile": 700}, "systolic": {"organisation": "systolic", "token_tile": 5}}


def result(mac="ternary", cores=1, memory="lpddr5-6400", organisation="tree", counts=COUNTS, cycles=3000, **fields):
    """Two phases: ``counts`` in ``cycles`` by two tokens, and twice of both by three."""
    array = ArrayConfig(
        name="hand", **{"rows": 5, "cols": 7, "clock_hz": 5e8} | ORGANISATIONS[organisation] | fields
    ).baseline(mac)
    phases = []
    for name, tokens, times in (("prefill", 2, 1), ("decode", 3, 2)):
        causes = dict.fromkeys(CAUSES, 0) | {"ideal": times * cycles}
        op = OpResult(
            name="q_proj", unit="array", count=1, macs=500 * times, cycles=times * cycles, causes=causes,
            counts=counts.scaled(times),
        )  # fmt: skip
        phases.append(PhaseResult(name=name, tokens=tokens, steps=tokens, ops=[op]))
    return SimResult(
        model="hand", shape=load_shape("stories260K"), method="", array=array, memory=load_memory(memory),
        cores=CoreGroup(count=cores), prefill=1, decode=3, batch=2, phases=phases,
    )  # fmt: skip


def parts_of(run, costs):
    return {phase.name: phase.parts for phase in energy_of(run, load_source(costs)).phases}


@pytest.mark.parametrize("costs", ["horowitz-45nm", "bitnet-7nm"])
@pytest.mark.parametrize("mac", ["ternary", "int8", "fp16", "w4a8", "w2a8", "w4a16"])
@pytest.mark.parametrize("organisation", ["tree", "systolic"])
def test_each_part_of_each_arithmetic_has_the_naive_range(costs, mac, organisation, close):
    run = result(mac, organisation=organisation)
    found = parts_of(run, costs)
    for phase in run.phases:
        naive = naive_energy(run, phase, costs)
        assert set(found[phase.name]) == set(naive) == set(PARTS)
        for part, ends in naive.items():
            assert tuple(found[phase.name][part]) == close(ends), part


@pytest.mark.parametrize(
    "kib", [(1, 2), (64, 63), (65, 128), (255, 256), (257, 700), (1024, 1025), (5000, 90)], ids=str
)
def test_buffers_of_every_size_cost_what_their_points_say(kib, close):
    """Below, at, between and beyond the arrays of 64, 256 and 1024 KiB; accumulators of other sizes beside them."""
    weights, activations = kib
    for token_tile in (8, 4000, 40_000):
        run = result(
            weight_buffer_bytes=weights * KIB, activation_buffer_bytes=activations * KIB, token_tile=token_tile
        )
        for phase in run.phases:
            naive = naive_energy(run, phase, "horowitz-45nm")
            for part in ("sram", "leakage"):
                assert tuple(parts_of(run, "horowitz-45nm")[phase.name][part]) == close(naive[part])


@pytest.mark.parametrize("rows", [1, 2, 3, 8, 33])
@pytest.mark.parametrize("cores", [1, 3])
def test_columns_of_every_height_and_several_cores(rows, cores, close):
    run = result(cores=cores, rows=rows, memory="hbm2-2000")
    for phase in run.phases:
        naive = naive_energy(run, phase, "horowitz-45nm")
        found = parts_of(run, "horowitz-45nm")[phase.name]
        for part, ends in naive.items():
            assert tuple(found[part]) == close(ends), part


@pytest.mark.parametrize("field", ActionCounts._fields)
def test_every_action_is_paid_for_by_one_part_or_by_none(field, close):
    """Padding, dense MACs, accumulations and results are said and cost nothing of their own with operator tables."""
    with_one, without = (result(counts=ActionCounts(**{field: count})) for count in (1e6, 0))
    paid = {
        part
        for part in PARTS
        if parts_of(with_one, "horowitz-45nm")["decode"][part] != parts_of(without, "horowitz-45nm")["decode"][part]
    }
    paid = paid - {"dram_rows", "dram_standby"} if "dram" in paid else paid  # more rows, and longer open
    where = {
        "array_macs_active": "array", "reductions": "array", "vector_macs": "vector", "vector_ops": "vector",
        "scale_multiplies": "vector", "vector_float_macs": "vector", "host_macs": "host", "host_ops": "host",
        "host_link_bits": "host", "dram_read_bits": "dram", "dram_write_bits": "dram",
    }  # fmt: skip
    where |= {name: "sram" for name in ActionCounts._fields if "buffer" in name or name.startswith("accumulator_")}
    assert paid == {where[field]} if field in where else paid == set()


def test_open_adders_of_digit_planes_are_paid_for_and_closed_ones_are_not(close):
    """5 lanes: totals of 11 bits, times 81 at most: 17 bits."""
    able = {"planes": 5, "digits": True, "rows": 5}
    counts = COUNTS._replace(digit_additions=1e9)
    costs = load_costs("horowitz-45nm")
    for open_adders, run in ((1e9, result(counts=counts, **able)), (0, result(counts=counts))):
        (prefill, _), (phase, _) = energy_of(run, load_source("horowitz-45nm")).phases, run.phases
        naive = naive_energy(run, phase, "horowitz-45nm")["array"]
        assert prefill.parts["array"].typical == close(naive[1] + open_adders * costs.integer_add(17).typical)


def test_totals_and_compute_are_sums_of_their_parts(close):
    for phase in energy_of(result(), load_source("horowitz-45nm")).phases:
        for end in range(3):
            assert phase.total[end] == close(sum(cost[end] for cost in phase.parts.values()))
            assert phase.compute[end] == close(sum(phase.parts[part][end] for part in COMPUTE))
        assert phase.joules_per_token == close(phase.total.typical / phase.tokens)
    assert COMPUTE == ("array", "vector", "clock", "wires")


def test_every_figure_of_a_summary_is_a_quotient_of_counts_cycles_and_energies(close):
    runs = [result(), result("fp16", cycles=4000), result("int8", cycles=7000)]
    costs = load_source("horowitz-45nm")
    summary = summarize(runs, costs, [], None)
    energies = [energy_of(run, costs) for run in runs]
    assert summary.ternary is summary.machines[0]
    for machine, run, energy in zip(summary.machines, runs, energies, strict=True):
        assert (machine.lanes, machine.mac) == (35, run.array.mac)
        for phase in run.phases:
            found, joules = machine.phase(phase.name), energy.phase(phase.name)
            seconds = phase.cycles / 5e8
            assert (found.seconds, found.tokens_per_s) == (close(seconds), close(phase.tokens / seconds))
            assert found.utilization == close(phase.counts.array_macs / 35 / phase.cycles)
            assert found.causes["ideal"] == found.ops[0].cycles == phase.cycles
            for part in PARTS:
                assert tuple(found.joules_per_token[part]) == close([end / phase.tokens for end in joules.parts[part]])
            assert tuple(found.total_j_per_token) == close([end / phase.tokens for end in joules.total])
    assert [(one.baseline, one.phase) for one in summary.reductions] == [
        (run.array.name, phase) for run in runs[1:] for phase in ("prefill", "decode")
    ]
    for one, (other, cycles) in zip(summary.reductions[::2], ((1, 4000), (2, 7000)), strict=True):
        ours, theirs = (energies[number].phase("prefill") for number in (0, other))
        assert one.latency == close(1 - 3000 / cycles)
        assert one.array_energy == close(1 - ours.parts["array"].typical / theirs.parts["array"].typical)
        assert one.compute_energy == close(1 - ours.compute.typical / theirs.compute.typical)
        assert one.system_energy == close(1 - ours.total.typical / theirs.total.typical)


def test_clock_gating_weighs_operands_by_their_products(close):
    """3 x 500 products of which 20 % stay and 500 of which 80 % do: 35 %; an unmeasured op counts for nothing."""
    run = result()
    (first, second) = run.phases
    measured = assumed_statistics("decode").model_copy(update={"measured": True})
    ops = [
        first.ops[0].model_copy(update={"macs": macs, "statistics": measured.model_copy(update={"steady_operands": s})})
        for macs, s in ((1500, 0.2), (500, 0.8), (9999, None))
    ]
    run = run.model_copy(update={"phases": [first.model_copy(update={"ops": ops}), second]})
    source = load_source("gates:sky130")
    (gating,) = summarize([run], source, [], None).clock_gating
    assert (gating.phase, gating.steady_operands) == ("prefill", close(0.35))
    assert gating.saved == close(0.35 * source.clock_share(run.array))
    assert gating.clock_share == source.clock_share(run.array)


def test_an_sram_is_interpolated_on_the_segment_that_holds_it(close):
    """Twice 256 KiB is half of the way to 1 MiB on a logarithmic scale; 16 KiB goes on below, 4 MiB above."""
    table = load_sram("sram-cacti-hp-45nm")
    assert table.bit_energy_j(512 * KIB, False) == close((86.71 * 179.97) ** 0.5 * 1e-12 / 256)
    assert table.bit_energy_j(16 * KIB, True) == close(51.89**2 / 107.53 * 1e-12 / 256)
    assert table.bit_energy_j(4096 * KIB, False) == close(179.97**2 / 86.71 * 1e-12 / 256)
    assert table.bank_bytes == 64 * KIB


def test_ranges_of_operators_are_their_spread(close):
    table = load_costs("horowitz-45nm")
    assert tuple(table.op("fp32_mul")) == close([3.7e-12 * end for end in (0.7, 1, 1.4)])
    assert tuple(table.integer_add(14)) == close([(0.03 + 0.07 / 4) * 1e-12 * end for end in (0.7, 1, 1.4)])
