"""Every figure of an explanation by hand, from runs whose cycles and counts were chosen; no phase is simulated."""

import math

import pytest

from hw.config import ArrayConfig, sized
from quant.shapes import load_shape
from sim.cores import CoreGroup
from sim.counts import ActionCounts
from sim.memory import MemoryConfig, load_memory
from sim.reports.explain import explain, explanation_json, explanation_lines
from sim.result import CAUSES, OpResult, PhaseResult, SimResult

# 2 channels of 4 GB/s at half of their peak: 8 bytes per cycle at 500 MHz; a written byte takes three times as long.
MEMORY = MemoryConfig(
    name="m", source="test", standard="DDR4", channels=2, peak_bytes_per_s=4e9, sequential_efficiency=0.5,
    efficiency_source="test", write_cost=3.0, latency_s=8e-9,
)  # fmt: skip
ARRAY = ArrayConfig(
    name="hand", rows=4, cols=5, weight_bus_bits=16, clock_hz=5e8, weight_buffer_bytes=64, vector_lanes=3
)
COUNTS = ActionCounts(array_macs=900, array_macs_padding=300, dram_read_bits=8 * 640, dram_write_bits=8 * 160)


def op(name, cycles, macs=0, counts=None, tried=None, **causes):
    causes = dict.fromkeys(CAUSES, 0) | (causes or {"ideal": cycles})
    return OpResult(
        name=name, unit="array", count=1, macs=macs, cycles=cycles, causes=causes, counts=counts or ActionCounts(),
        tried=tried or {},
    )  # fmt: skip


def run(*ops, array=ARRAY, memory=MEMORY, cores=3):
    phase = PhaseResult(name="decode", tokens=1, steps=1, ops=list(ops))
    return SimResult(
        model="hand", shape=load_shape("stories260K"), method="", array=array, memory=memory,
        cores=CoreGroup(count=cores), prefill=1, decode=1, batch=1, phases=[phase],
    )  # fmt: skip


OPS = [
    op("q_proj", 100, 800, COUNTS, {"tokens": 100, "columns": 130}, ideal=40, dram_stall=60),
    op("norm", 50, vector=50),
    op("gate_proj", 40, 100, tried={"columns": 40, "tokens": 30}),
    op("lm_head", 10, 60, host=8, output_stall=2),
]
FASTER = {
    "memory channels": 160, "columns": 199, "weight bus": 150, "vector lanes": 190, "activation buffer": 200,
    "weight buffer": 180, "memory latency": 200,
}  # fmt: skip


def explained(result, cycles=FASTER, more_cores=125, pairs=None):
    """The explanation of ``result``'s only phase, and the machines that were asked for.

    ``pairs``: cycles with two things doubled; others take those of the faster of the two.
    """
    asked = {}

    def rerun(machine):
        array, memory, cores, _ = machine
        if cores != result.cores:
            asked["cores"] = array, memory, cores
            return run(op("q_proj", more_cores))
        changed = {
            name
            for one, other in ((array, result.array), (memory, result.memory))
            for name in type(one).model_fields
            if getattr(one, name) != getattr(other, name)
        }
        if "cols" in changed:
            changed -= {"weight_buffer_bytes"}
        names = {
            "channels": "memory channels", "latency_s": "memory latency", "cols": "columns",
            "weight_bus_bits": "weight bus",
            "vector_lanes": "vector lanes", "activation_buffer_bytes": "activation buffer",
            "weight_buffer_bytes": "weight buffer",
        }  # fmt: skip
        found = tuple(title for name, title in names.items() if name in changed)
        what = found if len(found) > 1 else found[0]
        asked[what] = array, memory, cores
        both = (pairs or {}).get(what, min(cycles[one] for one in found))
        return run(op("q_proj", both if len(found) > 1 else cycles[what]))

    (one,) = explain(result, rerun)
    return one, asked


def test_roofline_shares_and_losses_by_hand():
    """200 cycles on 3 x 20 lanes: 960 MACs take 16, 800 bytes 100, with writes charged three times 140."""
    one, _ = explained(run(*OPS))
    assert one.cycles == 200
    assert one.shares == {
        "ideal": 80 / 200, "fill_drain": 0, "weight_stall": 0, "dram_stall": 60 / 200, "vector": 50 / 200,
        "host": 8 / 200, "port_stall": 0, "output_stall": 2 / 200,
    }  # fmt: skip
    assert one.edge_loss == 300 / 1200
    roofline = one.roofline
    assert roofline.macs_per_byte == pytest.approx(960 / 800)
    assert roofline.ridge == pytest.approx(60 / 8)
    assert roofline.roof_cycles == pytest.approx(100)
    assert roofline.reached == pytest.approx(0.5)
    assert roofline.dram_busy == pytest.approx((640 + 3 * 160) / 8 / 200)
    assert (one.dram_efficiency, one.dram_losses, one.interleaving) == (0.5, None, 1.0)
    assert one.largest_ops == [("q_proj", 0.5), ("norm", 0.25), ("gate_proj", 0.2)]
    assert (one.mapped_op, one.mappings) == ("q_proj", {"tokens": 100, "columns": 130})


def test_the_array_is_the_roof_where_products_outweigh_bytes():
    one, _ = explained(run(op("q_proj", 300, 12_000, COUNTS)))
    assert one.roofline.roof_cycles == pytest.approx(12_000 / 60)
    assert one.roofline.macs_per_byte == 15 > one.roofline.ridge
    assert "so the array is the roof; 67% of it is reached" in "".join(explanation_lines(one))


def test_changes_double_one_thing_each_and_are_sorted_by_what_they_gain():
    one, asked = explained(run(*OPS))
    assert [(change.what, change.speedup) for change in one.changes] == [
        ("weight bus", pytest.approx(200 / 150)), ("memory channels", pytest.approx(200 / 160)),
        ("weight buffer", pytest.approx(200 / 180)), ("vector lanes", pytest.approx(200 / 190)),
        ("columns", pytest.approx(200 / 199)), ("memory latency", pytest.approx(1)),
        ("activation buffer", pytest.approx(1)),
    ]  # fmt: skip
    machines = {what: (array, memory, cores) for what, (array, memory, cores) in asked.items()}
    assert machines["memory latency"] == (ARRAY, MEMORY.model_copy(update={"latency_s": 4e-9}), CoreGroup(count=3))
    assert machines["memory channels"] == (ARRAY, MEMORY.model_copy(update={"channels": 4}), CoreGroup(count=3))
    # a tile of 4 x 10 trits takes twice 5 bytes; two of them for each of three cores are 60
    assert (machines["columns"][0].cols, machines["columns"][0].weight_buffer_bytes) == (10, 64)
    assert machines["weight bus"][0].weight_bus_bits == 32
    assert machines["vector lanes"][0].vector_lanes == 6
    assert machines["activation buffer"][0].activation_buffer_bytes == 2 * ARRAY.activation_buffer_bytes
    assert machines["weight buffer"][0].weight_buffer_bytes == 128
    assert one.twice_the_cores == pytest.approx(200 / 125)
    array, memory, cores = asked["cores"]
    assert (array, memory, cores.count) == (ARRAY, MEMORY, 6)  # 2 x 6 tiles of 5 bytes still fit


def test_buffers_grow_where_twice_the_columns_or_cores_need_it():
    """At least four tiles of 5 bytes per core for columns of 4 x 10, two for each of ten cores."""
    small = ARRAY.model_copy(update={"weight_buffer_bytes": 50})
    _, asked = explained(run(*OPS, array=small, cores=5))
    assert asked["columns"][0].weight_buffer_bytes == 4 * 5 * 5
    assert asked["cores"][0].weight_buffer_bytes == 2 * 10 * 5


def test_a_change_that_no_machine_can_have_is_left_out():
    widest = sized(4, 1024)
    one, _ = explained(run(*OPS, array=widest, cores=1))
    assert {change.what for change in one.changes} == set(FASTER) - {"columns"}


def test_sentences_carry_the_figures():
    one, _ = explained(run(*OPS))
    assert explanation_lines(one) == [
        "decode: 200 cycles, bound by the weight bus: tiles are used faster than they stream in "
        "(weight bus doubled: 1.33x)",
        "  cycles: ideal 40%, dram stall 30%, vector 25%, host 4%, output stall 1%; "
        "edge tiles and masks idle 25.0% of issued lanes",
        "  largest ops: q_proj 50%, norm 25%, gate_proj 20%",
        "  mapping of q_proj: tokens (100 cycles); others tried: columns: +30.0%",
        "  DRAM is busy for 70% of the cycles at 50% of its pins' peak",
        "  roofline: 1.2 MACs per DRAM byte, ridge at 7.5, so the memory is the roof; 50% of it is reached",
        "  doubled one at a time and simulated: weight bus 1.33x, "
        "memory channels 1.25x, weight buffer 1.11x, vector lanes 1.05x, columns 1.01x, memory latency 1.00x, "
        "activation buffer 1.00x",
        "  twice the cores behind the same buffers and DRAM: 1.60x",
    ]
    document = explanation_json(one)
    assert document["sentences"] == explanation_lines(one)
    assert document["roofline"]["ridge"] == 7.5
    assert document["changes"][0] == {"what": "weight bus", "speedup": pytest.approx(4 / 3)}


def test_sentences_where_nothing_helps_and_nothing_else_costs():
    quiet = [op("q_proj", 1000, 10, COUNTS, {"tokens": 1000}, ideal=991, host=9)]
    one, _ = explained(run(*quiet), dict.fromkeys(FASTER, 991), 1000)
    lines = explanation_lines(one)
    assert lines[0] == (
        "decode: 1,000 cycles, and no doubling helps; most of them: the array works on every cycle that anything "
        "could give it"
    )
    assert lines[1].startswith("  cycles: ideal 99%; ")
    assert lines[3] == "  mapping of q_proj: tokens (1,000 cycles); no other fits it"
    one, _ = explained(run(*quiet), dict.fromkeys(FASTER, 990), 1000)
    assert explanation_lines(one)[0].endswith("DRAM: its bandwidth (memory channels doubled: 1.01x)")


LEVEL = [op("q_proj", 1000, 10, COUNTS, ideal=400, weight_stall=300, dram_stall=299, fill_drain=1)]


def test_two_that_help_only_together_are_named_together():
    both = {("memory channels", "weight bus"): 600}
    one, _ = explained(run(*LEVEL), dict.fromkeys(FASTER, 1000), pairs=both)
    assert one.bound == (("weight bus", "memory channels"), pytest.approx(1000 / 600), None)
    assert explanation_lines(one)[0] == (
        "decode: 1,000 cycles, bound by weight bus and memory channels, which are level: one alone helps nothing, "
        "both doubled 1.67x"
    )


def test_what_is_close_behind_a_small_bound_is_named_and_not_behind_a_large_one():
    cycles, both = dict.fromkeys(FASTER, 1000) | {"memory channels": 950}, {("memory channels", "weight bus"): 600}
    one, _ = explained(run(*LEVEL), cycles, pairs=both)
    assert one.bound == (("memory channels",), pytest.approx(1000 / 950), ("weight bus", pytest.approx(1000 / 600)))
    assert "with weight bus close behind (both doubled: 1.67x)" in explanation_lines(one)[0]
    one, _ = explained(run(*LEVEL), cycles, pairs={("memory channels", "weight bus"): 900})
    assert one.bound.level_with is None
    one, asked = explained(run(*LEVEL), cycles | {"memory channels": 900}, pairs=both)
    assert one.bound == (("memory channels",), pytest.approx(1000 / 900), None)
    assert not [what for what in asked if isinstance(what, tuple)]


def test_a_phase_without_products_or_traffic():
    one, _ = explained(run(op("norm", 10, vector=10)))
    assert (one.edge_loss, one.roofline.macs_per_byte, one.roofline.dram_busy) == (0, math.inf, 0)
    assert (one.mapped_op, one.mappings) == ("", {})
    assert not any("mapping" in line for line in explanation_lines(one))


def test_banks_say_what_they_lose_and_what_interleaving_would_gain():
    memory = load_memory("ddr4-2400")
    one, _ = explained(run(*OPS, memory=memory))
    stream = memory.dram.sequential()
    assert one.dram_losses == (stream.bank_loss, stream.refresh_loss)
    assert one.interleaving == memory.dram.interleaved().sequential().efficiency / stream.efficiency
    line = next(line for line in explanation_lines(one) if "DRAM is busy" in line)
    assert f"; banks lose {stream.bank_loss:.1%}, refresh {stream.refresh_loss:.1%}; an address map" in line


def test_words_at_the_borders_of_their_figures():
    """At the ridge the array is the roof; of interleaving only more than 1 % is a gain."""
    one, _ = explained(run(*OPS))
    level = one._replace(roofline=one.roofline._replace(macs_per_byte=7.5))
    assert "so the array is the roof" in "".join(explanation_lines(level))
    assert "an address map" not in "".join(explanation_lines(one._replace(interleaving=1.01)))
    assert "streams 1.02x as fast" in "".join(explanation_lines(one._replace(interleaving=1.02)))
