"""Ports of buffers, buses of the vector unit, several units and one for attention: cycles by hand, refusals, area."""

import json

import pytest

from energy.area import area_of
from energy.costs.sources import load_source
from hw.config import ArrayConfig, load_array, sized
from hw.document import validate_document
from hw.errors import InputError
from quant.shapes import load_shape
from sim.__main__ import main
from sim.cores import CoreGroup
from sim.counts import ActionCounts
from sim.gemm.cost import Cost
from sim.machine.ports import through_ports
from sim.machine.resources import Resources
from sim.memory import load_memory
from sim.simulator import simulate
from sim.trace.ops import Formats

SHAPE, MEMORY = load_shape("stories260K"), load_memory("hbm3-6400")
PORTS = ("weight_port_bits", "activation_port_bits", "accumulator_port_bits")


def wide(**fields):
    """16 x 16 lanes that nothing holds up, at a clock that leaves DRAM no time to matter."""
    base = {"weight_bus_bits": 1024, "vector_lanes": 4096, "clock_hz": 1e8, "token_tile": 64, "accumulator_bits": 24}
    return sized(16, 16).model_copy(update=base | fields)


def ops(array, prefill=64, decode=1):
    return {op.name: op for op in simulate(SHAPE, array, MEMORY, prefill, decode).phases[0].ops}


def test_a_port_half_as_wide_as_the_accumulators_are_used_takes_twice_the_vectors():
    """gate_proj: 64 tokens x 4 folds x 11 column tiles; each vector reads and writes 16 sums, but for a first fold."""
    free, tied = ops(wide())["gate_proj"], ops(wide(accumulator_port_bits=16 * 24))["gate_proj"]
    vectors, first = 64 * 4 * 11, 64 * 11
    assert free.causes["ideal"] == 5 * vectors
    assert tied.cycles == 5 * (2 * vectors - first)
    assert tied.causes["ideal"] == 5 * vectors
    assert tied.causes["port_stall"] == 5 * (vectors - first)
    assert ops(wide(accumulator_port_bits=2 * 16 * 24))["gate_proj"] == free


def test_the_vector_unit_shares_the_port_of_the_activation_buffer():
    """The residual reads two widths of 64 x 16 bits per token and writes one; a port of 48 bits takes 64 cycles."""
    residual = ops(wide(activation_port_bits=48))["attention_residual"]
    assert (residual.cycles, residual.causes["port_stall"]) == (5 * 64 * 64, 5 * 64 * 64)
    assert ops(wide(activation_port_bits=1 << 20))["attention_residual"].causes["port_stall"] == 0


def test_the_weight_buffer_is_written_by_dram_while_the_bus_reads_it():
    """A tile of 16 x 16 trits is 512 bits in and, on a 1024-bit bus, 1024 out: of 40 tiles of k_proj 8."""
    k_proj = ops(wide(weight_port_bits=8))["k_proj"]
    assert k_proj.cycles == 5 * 8 * (512 + 1024) // 8
    assert k_proj.causes["port_stall"] == k_proj.cycles - k_proj.causes["ideal"]


def test_a_vector_bus_holds_up_what_the_vector_unit_reads():
    """lm_head: 512 x 64 weights of 8 bits at 32 bits per cycle."""
    head = ops(wide(vector_bus_bits=32))["lm_head"]
    assert (head.cycles, head.causes["weight_stall"]) == (512 * 64 * 8 // 32, 512 * 64 * 8 // 32)


def test_units_take_whole_tokens():
    """Three units of one lane: of 64 tokens the busiest has 22, and with one token two of them rest."""
    norm = ops(wide(vector_lanes=1, vector_units=3))["attention_norm"]
    assert norm.cycles == 5 * 22 * 3 * 64
    assert ops(wide(vector_lanes=1, vector_units=3), prefill=1)["attention_norm"].cycles == 5 * 3 * 64
    assert ops(wide(vector_lanes=1, vector_units=1), prefill=1)["attention_norm"].cycles == 5 * 3 * 64


def test_an_attention_unit_makes_attention_faster_and_nothing_else():
    plain, dedicated = ops(wide(vector_lanes=1)), ops(wide(vector_lanes=1, attention_lanes=7))
    for name, op in plain.items():
        if name in ("attention_scores", "softmax", "attention_values"):
            assert dedicated[name].cycles == pytest.approx(op.cycles / 7, abs=5)
            assert dedicated[name].counts == op.counts
        else:
            assert dedicated[name] == op


@pytest.mark.parametrize(("units", "cores"), [(1, 1), (2, 1), (2, 3)])
def test_lanes_and_buses_beside_the_array_are_those_of_all_units_and_cores(units, cores):
    """1000 operations and 1000 bits: 7 lanes of each unit, a bus of 24 bits of each core."""
    array = wide(vector_lanes=7, vector_units=units, vector_bus_bits=24)
    resources = Resources(array, MEMORY, Formats(), cores=CoreGroup(count=cores))
    lanes, bits = 7 * units * cores, 24 * cores
    assert resources.beside_cycles(1000, 1000) == {"vector": -(-1000 // lanes), "weight_stall": -(-1000 // bits)}
    assert resources.beside_cycles(lanes, bits + 1) == {"vector": 1, "weight_stall": 2}
    free = Resources(
        array.model_copy(update={"vector_bus_bits": None}), MEMORY, Formats(), cores=CoreGroup(count=cores)
    )
    assert free.beside_cycles(0, 10**9) == {"vector": 0, "weight_stall": 0}


@pytest.mark.parametrize("name", [*PORTS, "vector_bus_bits", "vector_units"])
def test_nothing_of_zero_width(name):
    with pytest.raises(InputError, match=f"{name}.*greater than or equal to 1, not 0"):
        validate_document(sized(8, 8).model_dump() | {name: 0}, ArrayConfig, "array")


def test_defaults_leave_an_array_the_hash_that_it_had():
    """The hash of 8x8 that a trace of the docs was stored with, before there were such fields."""
    assert sized(8, 8).sha256.startswith("923e6f04da1d5250")
    for name in (*PORTS, "vector_bus_bits", "vector_units", "attention_lanes"):
        assert ArrayConfig(**sized(8, 8).model_dump() | {name: 7}).sha256 != sized(8, 8).sha256


def test_a_narrow_port_is_named_as_the_bound(capsys):
    """Fields of the array come from the command line, and the array's name says so."""
    narrow = ["--array-fields", "activation_port_bits=64", "--array-fields", "vector_lanes=512"]
    main(["run", "--model", "stories260K", "--array", "16x16", "--prefill", "64", *narrow, "--explain", "--json"])
    run = json.loads(capsys.readouterr().out)
    assert run["array"] == "16x16+activation_port_bits=64+vector_lanes=512"
    (prefill, _) = run["explanation"]
    assert prefill["bound"]["what"] == ["activation port"]
    assert prefill["shares"]["port_stall"] > 0.5
    assert "bound by the activation buffer's port (activation port doubled: " in prefill["sentences"][0]


def test_a_field_that_no_array_has_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"array_fields: unknown field 'vector_lane' = 5.*did you mean 'vector_lanes'"):
        main(["run", "--array-fields", "vector_lane=5"])


def test_area_counts_the_lanes_of_all_units():
    costs, array = load_source("gates:asap7"), load_array("mobile-64x64")
    one = area_of(array, costs).parts_mm2["vector"].typical
    more = array.model_copy(update={"vector_units": 2, "attention_lanes": array.vector_lanes})
    assert area_of(more, costs).parts_mm2["vector"].typical == pytest.approx(3 * one)


def test_each_execution_ends_on_a_whole_cycle():
    """100 bits through a port of 10 are 10 cycles, of three executions 4 each."""
    array = wide(weight_port_bits=10)
    cost = Cost(
        cycles=9, causes={"ideal": 9}, counts=ActionCounts(weight_buffer_read_bits=60, weight_buffer_write_bits=40)
    )
    assert through_ports(cost, array, 1, 3).cycles == 12
