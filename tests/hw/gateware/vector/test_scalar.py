"""Quotients and roots against Python's integers: random, extreme, back to back, exhaustive at reduced width."""

from math import isqrt

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.gateware.vector.scalar import Divider, SquareRoot
from hw.synthesis.word_level import MULTIPLIERS, word_level_cells
from tests.hw.gateware.vector.bench import icarus


def run(dut, operands, result):
    """Results of operations that start on the edge after the one before is done; their latency is checked."""
    found = []

    async def bench(ctx):
        for operand in operands:
            for name, value in operand.items():
                ctx.set(getattr(dut, name), value)
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            for edge in range(1, dut.latency + 1):
                assert not ctx.get(dut.done), edge
                await ctx.tick()
            assert ctx.get(dut.done)
            found.append(ctx.get(getattr(dut, result)))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return found


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**38 - 1), st.integers(1, 2**23 - 1)), min_size=1, max_size=5))
def test_a_quotient_is_pythons(pairs):
    operands = [{"dividend": a, "divisor": b} for a, b in pairs]
    assert run(Divider(38, 23), operands, "quotient") == [a // b for a, b in pairs]


def test_every_quotient_at_reduced_width():
    pairs = [(a, b) for a in range(64) for b in range(1, 16)]
    operands = [{"dividend": a, "divisor": b} for a, b in pairs]
    assert run(Divider(6, 4), operands, "quotient") == [a // b for a, b in pairs]


def test_a_quotient_of_few_bits_takes_as_many_edges():
    dut = Divider(6, 4, quotient_bits=3)
    assert dut.latency == 3
    pairs = [(a, b) for a in range(64) for b in range(1, 16) if a // b < 8]
    assert run(dut, [{"dividend": a, "divisor": b} for a, b in pairs], "quotient") == [a // b for a, b in pairs]


def test_the_reciprocal_of_a_mantissa_and_a_row_by_hand():
    operands = [{"dividend": 1 << 31, "divisor": 0x8000}, {"dividend": 1 << 31, "divisor": 0xFFFF}]
    assert run(Divider(32, 16), operands, "quotient") == [65536, 32768]
    assert run(Divider(38, 23), [{"dividend": 127 << 31, "divisor": 2**22}], "quotient") == [65024]


def test_a_divisor_of_zero_gives_all_ones_and_does_not_hang():
    assert run(Divider(6, 4), [{"dividend": 9, "divisor": 0}, {"dividend": 9, "divisor": 2}], "quotient") == [63, 4]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 2**16 - 1).map(lambda r: r * r), min_size=1, max_size=5))
def test_a_root_is_pythons(values):
    assert run(SquareRoot(), [{"value": v} for v in values], "root") == [isqrt(v) for v in values]


def test_every_root_at_reduced_width():
    values = [*range(1 << 10)]
    assert run(SquareRoot(10), [{"value": v} for v in values], "root") == [isqrt(v) for v in values]


@pytest.mark.parametrize("bits_per_edge", [2, 3])
def test_several_bits_per_edge_give_the_same_in_fewer_edges(bits_per_edge):
    rng = np.random.default_rng(bits_per_edge)
    divider, root = Divider(39, 23, 18, bits_per_edge), SquareRoot(36, bits_per_edge)
    assert (divider.latency, root.latency) == (18 // bits_per_edge, 18 // bits_per_edge)
    divisors = [1, 2**23 - 1, *rng.integers(1, 2**23, 30).tolist()]
    pairs = [(quotient * b + int(rng.integers(0, b)), b) for b in divisors for quotient in (0, 1, 54321, 2**16, 2**17)]
    pairs = [(a, b) for a, b in pairs if a < 2**39]
    assert run(divider, [{"dividend": a, "divisor": b} for a, b in pairs], "quotient") == [a // b for a, b in pairs]
    values = [0, 1, 2**36 - 1, *rng.integers(0, 2**36, 30).tolist(), *(n * n - 1 for n in (2, 255, 2**18 - 1))]
    assert run(root, [{"value": v} for v in values], "root") == [isqrt(v) for v in values]


def test_a_number_of_bits_that_takes_no_whole_number_of_edges_is_refused():
    with pytest.raises(ValueError, match=r"^bits_per_edge must divide quotient_bits = 17, not be 2$"):
        Divider(39, 23, 17, 2)
    with pytest.raises(ValueError, match=r"^bits_per_edge must divide bits / 2 = 16, not be 3$"):
        SquareRoot(32, 3)


def test_their_verilog_in_icarus_does_too(tmp_path):
    rng = np.random.default_rng(0)
    for name, make, result in (("divide", lambda: Divider(38, 23), "quotient"), ("root", SquareRoot, "root")):
        dut = make()
        gap, count = dut.latency + 1, 40
        operands = {"dividend": 38, "divisor": 23} if name == "divide" else {"value": 32}
        drawn = {key: rng.integers(1, 1 << bits, count).tolist() for key, bits in operands.items()}
        rows = {key: [v for value in values for v in [value] * gap] for key, values in drawn.items()}
        rows["start"] = ([1] + [0] * (gap - 1)) * count
        dut.latency = 1  # of the bench: what the edge before left
        folder = tmp_path / name
        folder.mkdir()
        found = icarus(dut, rows, folder)
        values = [v for v, done in zip(found[result], found["done"], strict=True) if done]
        columns = zip(*drawn.values(), strict=True)
        assert values == [a[0] // a[1] if len(a) == 2 else isqrt(a[0]) for a in columns]


@pytest.mark.parametrize("dut", [lambda: Divider(38, 23), SquareRoot])
def test_neither_multiplies(dut):
    cells = word_level_cells(rtlil.convert(dut(), name="dut", emit_src=False))
    assert not set(cells) & set(MULTIPLIERS)
