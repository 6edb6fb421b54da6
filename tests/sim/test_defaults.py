"""Defaults and limits of what a run may say: pinned against what their documentation derives them from."""

import json

import numpy as np
import pytest
from pydantic import ValidationError

from hw.config import sized
from hw.errors import InputError
from quant.shapes import Gemm, ModelShape
from sim.cores import ONE_CORE, CoreGroup
from sim.dram import DramChannel
from sim.execution import Execution
from sim.gemm.schedule import GemmJob
from sim.host import Host
from sim.job import SimJob
from sim.machine.cost import op_cost
from sim.machine.linear import linear_cost
from sim.machine.resources import Resources
from sim.memory import MemoryConfig, load_memory, stream_table
from sim.result import Statistics, read_result, write_result
from sim.simulator import array_formats, simulate
from sim.trace.build import build_trace
from sim.trace.ops import EmbeddingOp, Formats, LinearOp, VectorOp

SHAPE = ModelShape(
    name="tiny", source="made up", hidden_size=12, intermediate_size=18, layers=2, heads=4, kv_heads=2, head_dim=3,
    vocab_size=21, max_positions=64,
)  # fmt: skip
MEMORY = load_memory("lpddr5-6400")


def test_a_host_is_four_cores_at_2_ghz_with_two_128_bit_units():
    host = Host()
    assert host.macs_per_s == 4 * 2e9 * 2 * (128 / 8)
    assert host.operations_per_s == 4 * 2e9 * 2 * (128 / 16)
    assert (host.link_bytes_per_s, host.latency_s) == (8e9, 5e-6)


def test_a_run_is_one_prompt_of_512_and_128_steps_on_one_core():
    job = SimJob()
    assert (job.prefill, job.decode, job.batch, job.kv_bits, job.cores) == (512, 128, 1, 16, 1)
    assert (job.array, job.memory) == ("mobile-64x64", "lpddr5-6400")
    assert job.core_group == ONE_CORE == CoreGroup(count=1, split="auto", link_bits=None)
    assert job.execution == Execution()
    assert Execution() == Execution(
        prefill_chunk=None, mixed_chunk=None, fuse_projections=False, on_chip=False, dense_products="array",
        placement={}, prefetch_across_ops=False, double_buffer=True, mapping="auto", descriptor_tokens=None,
        prefetch_tiles=None,
    )  # fmt: skip
    assert Formats() == Formats(activation_bits=8, kv_bits=16, head_bits=8, embedding_bits=16, residual_bits=16)
    trace = build_trace(SHAPE.model_copy(update={"max_positions": 640}))
    assert (trace.prefill, trace.decode, trace.batch) == (512, 128, 1)
    result = simulate(SHAPE.model_copy(update={"max_positions": 640}), sized(32, 32), MEMORY)
    assert (result.prefill, result.decode, result.batch) == (512, 128, 1)


def test_what_a_job_says_reaches_the_simulator():
    job = SimJob(
        memory="ddr4-2400", prefill=5, decode=2, batch=3, kv_bits=4, cores=2, core_split="rows", core_link_bits=7,
        fuse_projections=True,
    )  # fmt: skip
    array = sized(4, 4).baseline("fp16")
    found = job.simulate(SHAPE, array)
    assert found == simulate(
        SHAPE, array, load_memory("ddr4-2400"), 5, 2, 3,
        formats=Formats(activation_bits=16, head_bits=16, kv_bits=4), execution=Execution(fuse_projections=True),
        cores=CoreGroup(count=2, split="rows", link_bits=7),
    )  # fmt: skip


def test_a_gemm_is_one_plane_of_two_byte_outputs_with_nothing_on_chip():
    assert GemmJob(Gemm(1, 2, 3)) == (
        *(Gemm(1, 2, 3), 1, None, False, 0, 0, False, False, 16, False, True, None, None, None, 0, ()),
    )


def test_a_linear_is_one_plane_of_trits_with_nothing_beside_it():
    op = LinearOp(name="q_proj", count=1, gemm=Gemm(1, 2, 3))
    assert (op.planes, op.group, op.scale_groups, op.offset_groups, op.permuted) == (1, None, 1, 0, False)
    assert (op.scale_bits, op.float_macs, op.int8_macs, op.side_bits, op.statistics) == (0, 0, 0, 0, None)
    assert VectorOp(name="v", count=1, tokens=1, input_bits=1, output_bits=1, operations=1).dram_write_bits == 0
    assert EmbeddingOp(tokens=1, row_bits=1).count == 1


def test_a_memory_without_banks():
    memory = MemoryConfig(
        name="m", source="test", standard="DDR4", channels=1, peak_bytes_per_s=1, sequential_efficiency=1,
        efficiency_source="test",
    )  # fmt: skip
    assert (memory.write_cost, memory.burst_bytes, memory.latency_s, memory.dram) == (1, 64, 60e-9, None)
    with pytest.raises(InputError, match="memory 'm': field 'dram' must describe its banks"):
        stream_table(memory)


def test_a_channel_reorders_nothing_by_itself_and_collects_sixteen_writes():
    fields = MEMORY.dram.model_dump()
    del fields["lookahead"], fields["write_buffer"]
    channel = DramChannel(**fields)
    assert (channel.lookahead, channel.write_buffer) == (1, 16)


def test_a_refresh_must_leave_time_for_an_access():
    times = MEMORY.dram.tRFC + MEMORY.dram.tRP + MEMORY.dram.tRCD + MEMORY.dram.tRAS
    assert DramChannel(**MEMORY.dram.model_dump() | {"tREFI": times + 1}).tREFI == times + 1
    with pytest.raises(ValidationError, match=f"an access: {times}, not {times}"):
        DramChannel(**MEMORY.dram.model_dump() | {"tREFI": times})


def test_a_table_of_streams_holds_each_setting_of_the_banks():
    memory = load_memory("ddr4-3200")
    table, dram = stream_table(memory), memory.dram
    alone = dram.model_copy(update={"lookahead": 1})
    assert table == {
        "used": memory.sequential_efficiency,
        "sequential": dram.sequential().efficiency,
        "bank_loss": dram.sequential().bank_loss,
        "refresh_loss": dram.sequential().refresh_loss,
        "interleaved": dram.model_copy(update={"address_map": "row-bank-column-group"}).sequential().efficiency,
        "in_order": alone.sequential().efficiency,
        "three_reads_per_write": dram.mixed(0.75, run=64, shared_banks=False).efficiency,
    }
    assert table["in_order"] < table["sequential"] < table["interleaved"]
    assert table["bank_loss"] + table["refresh_loss"] + table["sequential"] == pytest.approx(1)


def test_the_cost_of_a_written_burst_solves_the_time_of_a_mixture():
    """At three reads per write: (3 read bursts + 1 written one) / 4 = the time of a burst of the mixture."""
    dram = load_memory("ddr4-3200").dram
    read, mixed = 1 / dram.sequential().efficiency, 1 / dram.mixed(0.75).efficiency
    assert (3 * read + dram.write_cost() * read) / 4 == pytest.approx(mixed)


@pytest.mark.parametrize(
    ("place", "address_map", "shift", "found"),
    [
        (0, "row-bank-group-column", 0, (0, 0, 0)),
        (3, "row-bank-group-column", 0, (0, 0, 0)),
        (4, "row-bank-group-column", 0, (1, 3, 0)),
        (8, "row-bank-group-column", 0, (0, 1, 0)),
        (24, "row-bank-group-column", 0, (0, 0, 1)),
        (8, "row-bank-group-column", 1, (0, 2, 0)),
        (16, "row-bank-group-column", 1, (0, 0, 0)),
        (1, "row-bank-column-group", 0, (1, 3, 0)),
        (7, "row-bank-column-group", 0, (1, 3, 0)),
        (8, "row-bank-column-group", 0, (0, 1, 0)),
        (25, "row-bank-column-group", 2, (1, 5, 1)),
    ],
)
def test_places_fall_on_rows_banks_and_groups_by_the_address_map(place, address_map, shift, found):
    """Rows of 4 bursts in 2 groups of 3 banks; banks are numbered over all groups."""
    fields = {"bank_groups": 2, "banks_per_group": 3, "bursts_per_row": 4, "address_map": address_map}
    channel = MEMORY.dram.model_copy(update=fields)
    assert tuple(int(one[0]) for one in channel.locate(np.array([place]), shift)) == found


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [({"prefill_chunk": 50}, [("prefill", 14, 1), ("decode", 4, 2)]),
     ({"prefill_chunk": 7}, [("prefill", 14, 1), ("decode", 4, 2)]),
     ({"prefill_chunk": 3}, [("prefill", 12, 2), ("prefill", 2, 1), ("decode", 4, 2)]),
     ({"mixed_chunk": 3}, [("prefill", 14, 1), ("decode", 4, 2), ("mixed", 5, 1)]),
     ({"mixed_chunk": 50}, [("prefill", 14, 1), ("decode", 4, 2), ("mixed", 9, 1)])],
)  # fmt: skip
def test_phases_of_a_trace_have_the_tokens_of_their_steps(tokens, expected):
    trace = build_trace(SHAPE, 7, 2, 2, execution=Execution(**tokens))
    assert [(phase.name, phase.tokens, phase.steps) for phase in trace.phases] == expected


def test_contexts_up_to_the_models_limit_run():
    assert build_trace(SHAPE, 60, 4).prefill == 60
    assert [phase.name for phase in build_trace(SHAPE, 64, 0).phases] == ["prefill"]
    with pytest.raises(InputError, match=r"not prefill 60 \+ decode 5 = 65"):
        build_trace(SHAPE, 60, 5)


@pytest.mark.parametrize(("count", "fits"), [(1, True), (1024, True), (0, False), (1025, False)])
def test_cores_are_one_to_1024(count, fits):
    if fits:
        assert CoreGroup(count=count).count == count
    else:
        with pytest.raises(ValidationError):
            CoreGroup(count=count)


def test_grids_hold_the_fewest_cores_that_take_as_few_rounds():
    """Seven columns on five cores take two rounds, as on four; three folds on two take two."""
    assert CoreGroup(count=5, split="columns").grids(7, 3) == [(4, 1)]
    assert CoreGroup(count=5, split="rows").grids(7, 3) == [(1, 3)]
    assert CoreGroup(count=4, split="auto").grids(7, 3) == [(1, 3), (2, 2), (3, 1), (4, 1)]
    assert CoreGroup(count=4, split="auto").grids(1, 1) == [(1, 1)]


@pytest.mark.parametrize(
    ("mac", "formats", "dense", "table_bits"),
    [
        ("ternary", Formats(), "array", 8 + 16),
        ("ternary", Formats(head_bits=16, embedding_bits=8), "array", 16 + 8),
        ("int8", Formats(head_bits=16), "array", 8 + 16),  # the array's own format, whatever is stored elsewhere
        ("int8", Formats(head_bits=16), "vector", 16 + 16),
        ("fp16", Formats(activation_bits=16, head_bits=8), "array", 16 + 16),
        ("w4a8", Formats(), "array", 2 * 4 + 16),
        ("w4a16", Formats(activation_bits=16), "array", 16 + 16),
    ],
)
@pytest.mark.parametrize("kv_bits", [4, 16])
def test_what_lives_on_chip_is_counted_to_the_byte(mac, formats, dense, table_bits, kv_bits):
    """Weights, both tables, and K and V of every token of two sequences of seven and two."""
    formats = formats.model_copy(update={"kv_bits": kv_bits})
    weights = {"ternary": 2, "int8": 8, "fp16": 16, "w4a8": 4, "w4a16": 4}[mac]
    linear = 12 * (12 + 6 + 6) + 12 * 12 + 3 * 12 * 18
    bits = 2 * linear * weights + 21 * 12 * table_bits + 2 * 2 * 2 * 3 * (7 + 2) * 2 * kv_bits
    needed = -(-bits // 8)
    execution = Execution(on_chip=True, dense_products=dense)

    def run(size):
        array = sized(4, 4).baseline(mac).model_copy(update={"weight_buffer_bytes": size})
        return simulate(SHAPE, array, MEMORY, 7, 2, 2, formats=formats, execution=execution)

    run(needed)
    with pytest.raises(InputError, match=f"weight_buffer_bytes must be at least {needed} .*, not {needed - 1} of"):
        run(needed - 1)


def test_formats_of_an_array_are_those_of_its_arithmetic():
    found = {mac: array_formats(sized(4, 4).baseline(mac)) for mac in ("ternary", "w2a8", "fp16", "w4a16")}
    assert {mac: (one.activation_bits, one.head_bits) for mac, one in found.items()} == {
        "ternary": (8, 8), "w2a8": (8, 8), "fp16": (16, 16), "w4a16": (16, 16)
    }  # fmt: skip


def test_steady_operands_are_unknown_unless_they_were_measured():
    fields = {"zero_fraction": 0.1, "toggle_rate": 0.2, "input_toggle_rate": 0.3, "measured": False, "origin": ""}
    assert Statistics(**fields).steady_operands is None


def test_a_result_speaks_of_all_of_its_cores():
    one, three = (
        simulate(SHAPE, sized(4, 6).model_copy(update={"clock_hz": 4e8}), MEMORY, 5, 2, cores=CoreGroup(count=count))
        for count in (1, 3)
    )
    assert (one.machine, one.lanes, one.vector_lanes) == ("4x6", 24, 64)
    assert (three.machine, three.lanes, three.vector_lanes) == ("3 x 4x6", 72, 192)
    for result in (one, three):
        for phase in result.phases:
            assert result.phase(phase.name) is phase
            assert result.seconds(phase) == pytest.approx(phase.cycles / 4e8)
            macs = sum(op.counts.array_macs for op in phase.ops)
            assert result.utilization(phase) == pytest.approx(macs / result.lanes / phase.cycles)


def test_two_tiles_per_core_are_just_enough():
    array = sized(4, 4).model_copy(update={"weight_buffer_bytes": 2 * 3 * 4})
    CoreGroup(count=3).check(array)
    with pytest.raises(InputError, match=r"two tiles for each of 4 cores \(32 bytes\), not 24"):
        CoreGroup(count=4).check(array)
    assert CoreGroup(count=3).fed(array) == array
    assert CoreGroup(count=5).fed(array).weight_buffer_bytes == 40


def test_a_link_takes_as_many_cycles_as_a_vector_of_sums_has_words():
    """Four sums of 24 bits are 96: 20 words of 5 bits, 6 of 16, one of 96; one core sends nothing."""
    array = sized(4, 4)
    for bits, cycles in ((5, 20), (16, 6), (96, 1), (None, 1)):
        assert CoreGroup(count=4, link_bits=bits).result_interval(array, 4) == cycles
        assert CoreGroup(count=4, link_bits=bits).result_interval(array, 1) == 1
    assert [CoreGroup(count=8).reduction_latency(cores) for cores in (1, 2, 3, 4, 5, 8)] == [0, 1, 2, 2, 3, 3]


def test_results_are_files_of_a_named_schema(tmp_path):
    result = simulate(SHAPE, sized(4, 4), MEMORY, 3, 1)
    write_result(tmp_path / "sim.json", result, {"a": "b"})
    document = json.loads((tmp_path / "sim.json").read_text())
    assert (document["schema"], document["version"]) == ("tritforge.sim", 1)
    assert read_result(tmp_path / "sim.json") == result
    (tmp_path / "sim.json").write_text(json.dumps(document | {"version": 2}))
    with pytest.raises(InputError, match="version"):
        read_result(tmp_path / "sim.json")


def test_an_op_alone_finds_nothing_fetched_ahead():
    array = sized(4, 4)
    trace = build_trace(SHAPE, 3, 1)
    resources = Resources(array, MEMORY, trace.formats)
    phase = simulate(SHAPE, array, MEMORY, 3, 1).phase("prefill")
    for op, result in zip(trace.phases[0].ops, phase.ops, strict=True):
        cost = op_cost(resources, op)
        assert (cost.cycles, cost.counts) == (result.cycles, result.counts)
        if op.kind == "linear":
            assert linear_cost(resources, op) == cost
