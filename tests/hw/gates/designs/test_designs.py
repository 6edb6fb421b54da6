"""Every design computes its reference exactly at gate level, in the hand-written library and in SKY130 if present."""

import numpy as np
import pytest

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")

from hw.arithmetic.compressors import FULL_ADDER
from hw.errors import InputError
from hw.gates.designs.bench import array_bench, lane_bench
from hw.gates.designs.candidates import Candidate, Design, candidates, operand_kind
from hw.gates.designs.float_columns import FloatColumn, FloatLane
from hw.gates.designs.floats import BF16, FP16, FP32
from hw.gates.designs.operands import Operands, synthetic
from hw.gates.flow.event_simulation import simulate
from hw.gates.flow.icarus import icarus_toggles
from hw.gates.flow.netlist import netlist_of
from hw.gates.flow.power import net_edges
from hw.gates.flow.technology_mapping import Recipe, full_adder_verilog, synthesize
from hw.gates.flow.timing import analyse
from hw.gates.measure import best, measure

CYCLES = 256


def wrong_outputs(component, operands, library, cols=0, recipe=None):
    """Outputs of the netlist that differ from the reference."""
    candidate = Candidate("test", lambda: component, recipe or Recipe(), cols)
    netlist = netlist_of(synthesize(candidate.rtlil(component), library, candidate.recipe), library)
    bench = array_bench(component, operands) if cols else lane_bench(component, operands, 64)
    stimulus = np.concatenate([bench.inputs[port] for port in netlist.inputs], axis=1)
    activity = simulate(netlist, analyse(netlist), stimulus, warm_up=64 + bench.latency)
    assert len(set(activity.samples[-1])) == 2  # outputs that never move would prove nothing
    return bench.wrong(activity.samples, 64)


def extreme(kind, rows, cols, weight_limit):
    """Operands at the ends of their ranges, and everything between."""
    rng = np.random.default_rng(5)
    x = rng.choice([-128, -127, -1, 0, 1, 127], (CYCLES, rows))
    w = rng.integers(-weight_limit, weight_limit + (kind == "ternary"), (CYCLES // 64, cols, rows))
    return Operands(x.astype(np.int64), w.astype(np.int64), "extreme", None)


@pytest.mark.parametrize(("organisation", "format_", "rows", "cols"), [
    ("lane", "ternary", 1, 1),
    ("lane", "int2", 1, 1),
    ("lane", "int4", 1, 1),
    ("tree", "ternary", 1, 2),
    ("tree", "ternary", 5, 2),
    ("tree", "int2", 5, 2),
    ("tree", "int4", 3, 2),
    ("tree", "core", 5, 2),
])  # fmt: skip
def test_integer_designs_are_exact_in_any_library(tiny, organisation, format_, rows, cols):
    design = Design(organisation, format_, 14, rows, cols)
    for candidate in candidates(design, tiny):
        operands = synthetic(operand_kind(format_), CYCLES, 64 if organisation == "tree" else 1, rows, cols)
        assert measure(design, candidate, tiny, operands).outputs_checked > 100


@pytest.mark.parametrize("style", ["adders", "compressors"])
def test_ternary_columns_hold_at_the_ends_of_the_range(tiny, style):
    from hw.gates.designs.columns import TernaryColumn

    assert wrong_outputs(TernaryColumn(6, 12, style), extreme("ternary", 6, 2, 1), tiny, cols=2) == 0


def test_two_bit_columns_hold_at_the_ends_of_the_range(tiny):
    from hw.gates.designs.columns import TwoBitColumn

    assert wrong_outputs(TwoBitColumn(6, 13), extreme("int2", 6, 2, 2), tiny, cols=2) == 0


@pytest.mark.parametrize("registers", [False, True])
def test_integer_columns_hold_at_the_ends_of_the_range(tiny, registers):
    from hw.gates.designs.columns import IntegerColumn

    assert wrong_outputs(IntegerColumn(2, 8, 17, registers), extreme("int8", 2, 1, 128), tiny, cols=1) == 0


def float_bits(fmt, shape, seed, spread):
    """Floats of both signs over ``spread`` binades around 1, and zeros: cancellations, ties and far alignments."""
    rng = np.random.default_rng(seed)
    fraction = rng.integers(0, 1 << fmt.fraction_bits, shape) & -(1 << rng.integers(0, fmt.fraction_bits, shape))
    exponent = fmt.bias + rng.integers(-spread, spread + 1, shape)
    sign = rng.integers(0, 2, shape)
    bits = (sign << (fmt.bits - 1)) | (exponent << fmt.fraction_bits) | fraction
    return np.where(rng.random(shape) < 0.1, 0, bits)


@pytest.mark.parametrize(("operand", "accumulator", "spread"), [(FP16, FP16, 3), (FP16, FP32, 13), (BF16, FP32, 25)])
def test_float_lanes_equal_numpy(tiny, operand, accumulator, spread):
    shape = 1500
    x, w = (float_bits(operand, shape, seed, spread) for seed in (1, 2))
    operands = Operands(x[:, None], w[:, None, None], "random", None)
    assert wrong_outputs(FloatLane(operand, accumulator), operands, tiny) == 0


@pytest.mark.parametrize(
    ("operand", "accumulator", "spread"), [(FP16, FP32, 7), pytest.param(BF16, FP32, 12, marks=pytest.mark.slow)]
)
def test_float_columns_equal_numpy(tiny, operand, accumulator, spread):
    x, w = float_bits(operand, (CYCLES, 2), 3, spread), float_bits(operand, (CYCLES // 64, 1, 2), 4, spread)
    column = FloatColumn(2, operand, accumulator, frozenset({"distance", "aligned"}))
    assert wrong_outputs(column, Operands(x, w, "random", None), tiny, cols=1) == 0


def test_a_wrong_netlist_is_refused(tiny, monkeypatch):
    design = Design("lane", "ternary", 12)
    operands = synthetic("ternary", CYCLES, 1, 1, 1)
    monkeypatch.setattr("hw.gates.measure.lane_bench", lambda *a: _off_by_one(lane_bench(*a)))
    with pytest.raises(RuntimeError, match="outputs of the netlist differ"):
        measure(design, candidates(design, tiny)[0], tiny, operands)


def _off_by_one(bench):
    bench.expected[-5] += 1
    return bench


def test_icarus_counts_the_same_transitions(tiny):
    design = Design("lane", "int4", 12)
    candidate = candidates(design, tiny)[0]
    lane = candidate.build()
    netlist = netlist_of(synthesize(candidate.rtlil(lane), tiny, candidate.recipe), tiny)
    timing = analyse(netlist)
    bench = lane_bench(lane, synthetic("int4", CYCLES, 1, 1, 1), 64)
    stimulus = np.concatenate([bench.inputs[port] for port in netlist.inputs], axis=1)
    activity = simulate(netlist, timing, stimulus, warm_up=66)
    try:
        toggles, samples = icarus_toggles(netlist, timing, stimulus, warm_up=66)
    except InputError as error:
        pytest.skip(str(error))
    assert (samples[66:] == activity.samples[66:]).all()
    own = net_edges(netlist, activity).sum(axis=1)
    # Equal delays of equal cells make many ties here, which the two queues order differently.
    assert own @ timing.loads == pytest.approx(toggles @ timing.loads, rel=0.05)


def test_a_library_without_adder_and_xor_cells_gets_logic(tiny):
    declarations, module = full_adder_verilog(tiny)
    assert declarations == ""
    assert f"module {FULL_ADDER}" in module


def test_adder_cells_are_found_by_function(sky130):
    declarations, _ = full_adder_verilog(sky130)
    assert "module sky130_fd_sc_hd__fa_1" in declarations


def test_unknown_formats_are_refused(tiny):
    with pytest.raises(InputError, match="format must be one of ternary, int2, int4"):
        candidates(Design("lane", "int3", 20), tiny)


def test_sky130_tree_is_exact_with_adder_cells_and_clock_gates(sky130):
    design = Design("tree", "ternary", 20, 16, 2)
    result = best(design, sky130, synthetic("ternary", CYCLES, 64, 16, 2))
    assert result.structure == "compressors, adder cells"
    assert result.clock_gates == 2
    assert result.dynamic_j < 800e-15  # the goal for 16 lanes x 4 columns, met by half as many


def test_more_zeros_take_less_energy(sky130):
    design = Design("lane", "ternary", 20)
    candidate = candidates(design, sky130)[0]
    energies = [
        measure(design, candidate, sky130, synthetic("ternary", 1024, 1, 1, 1, zeros)).dynamic_j
        for zeros in (0.3, 0.6, 1)
    ]
    assert energies == sorted(energies, reverse=True)
