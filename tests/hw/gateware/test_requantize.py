"""The requantizer against exact fractions: random in the simulator, rounding and saturation proved for every input."""

from fractions import Fraction

import numpy as np
import pytest
from amaranth import Const, Module, Mux, Signal, signed
from amaranth.lib.wiring import Component, In, Out
from amaranth.sim import Simulator
from hypothesis import given
from hypothesis import strategies as st

from hw.config import ArrayConfig
from hw.errors import InputError
from hw.gateware.results.requantize import Requantizer, RequantizerColumn, rounded, shifted
from hw.golden import fixed_point, requantize
from tests.hw.gateware.proof import prove


def exact(acc: int, multiplier: int, shift: int, x_sum: int = 0, offset: int = 0) -> int:
    """The definition, by Python's fractions: ``round`` takes halves to even."""
    return max(-127, min(127, round(Fraction(acc * multiplier + x_sum * offset, 2**shift))))


NUMBERS = {
    "acc": st.integers(-(2**31), 2**31 - 1),
    "multiplier": st.integers(-(2**15), 2**15 - 1),
    "shift": st.integers(0, 63),
    "x_sum": st.integers(-(2**31), 2**31 - 1),
    "offset": st.integers(-(2**15), 2**15 - 1),
}


@given(**NUMBERS)
def test_the_golden_model_rounds_the_exact_fraction_half_to_even(acc, multiplier, shift, x_sum, offset):
    got = requantize(np.array([[acc]]), multiplier, shift, np.array([x_sum]), offset)
    assert got.item() == exact(acc, multiplier, shift, x_sum, offset)


@given(st.lists(st.floats(0, 3e4), min_size=1, max_size=8))
def test_fixed_point_keeps_the_bound_that_it_states(scales):
    multipliers, shift = fixed_point(np.array(scales))
    assert abs(multipliers).max() <= 2**15 - 1
    errors = [abs(Fraction(int(m), 2**shift) - Fraction(s)) for m, s in zip(multipliers, scales, strict=True)]
    assert max(errors) <= Fraction(1, 2 ** (shift + 1))
    if shift < 63:
        assert errors[scales.index(max(scales))] <= Fraction(max(scales)) / 2**15


def test_a_scale_that_no_multiplier_holds_is_refused():
    with pytest.raises(InputError, match=r"^scales must be at most 32767 for a multiplier of 16 bits, not 40000$"):
        fixed_point(np.array([4e4]))


@pytest.mark.parametrize("offsets", [False, True])
def test_a_column_gives_a_result_per_edge(offsets):
    """Random operands at full width, halves and saturation among them; results come 4, with offsets 5, edges later."""
    dut = RequantizerColumn(24, offsets=offsets)
    rng = np.random.default_rng(1)
    latency, edges = 4 + offsets, 300

    async def bench(ctx):
        for shift in (0, 1, 7, 23, 40):
            ctx.set(dut.shift, shift)
            due = []
            for edge in range(edges + latency):
                bits = int(rng.integers(1, 24))
                acc, x_sum = (int(v) for v in rng.integers(-(2**bits) // 2, 2**bits // 2, 2))
                multiplier = int(rng.choice([1, -1, rng.integers(-(2**15), 2**15)]))
                offset = int(rng.integers(-(2**15), 2**15)) if offsets else 0
                ctx.set(dut.sum, acc)
                ctx.set(dut.multiplier, multiplier)
                if offsets:
                    ctx.set(dut.x_sum, x_sum)
                    ctx.set(dut.offset, offset)
                due.append(exact(acc, multiplier, shift, x_sum, offset))
                await ctx.tick()
                if edge + 1 >= latency:
                    assert ctx.get(dut.result) == due[edge + 1 - latency], (shift, edge)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


class RoundingSpec(Component):
    """Shift, rounding and saturation beside their definition, which neither shifts to the right nor clips early.

    ``r`` is right when it is the nearest: ``|2 p - 2 r 2**s| <= 2**s``, an even one where that is an equality; beyond
    +-127.5 it is +-127.
    """

    def __init__(self, width: int, shift_bits: int, fault: bool = False):
        self.width, self.shift_bits, self.fault = width, shift_bits, fault
        super().__init__({"value": In(signed(width)), "shift": In(shift_bits), "ok": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        wide = self.width + 2**self.shift_bits + 10
        floor, guard, sticky = shifted(m, self.value, self.shift)
        held, result = Signal(signed(8)), Signal(signed(8))
        m.d.comb += [held.eq(floor), result.eq(rounded(held, guard, 0 if self.fault else sticky))]
        unit, twice, error = Signal(signed(wide)), Signal(signed(wide)), Signal(signed(wide))
        m.d.comb += [
            unit.eq(Const(1, 2) << self.shift),
            twice.eq(self.value * 2),
            error.eq(twice - ((result * 2) << self.shift)),
        ]
        size = Mux(error < 0, -error, error)
        nearest = (size < unit) | ((size == unit) & ~result[0])
        too_large = (result == 127) & (error > 0)
        too_small = (result == -127) & (error < 0)
        m.d.comb += self.ok.eq((nearest | too_large | too_small) & (result != -128))
        return m


@pytest.mark.parametrize(("width", "shift_bits"), [(20, 5), (49, 6)])
def test_rounding_and_saturation_are_right_for_every_value_and_shift(width, shift_bits, tmp_path):
    prove(RoundingSpec(width, shift_bits), tmp_path, 1, from_reset=False)


def test_rounding_that_forgets_the_last_bits_is_found(tmp_path):
    with pytest.raises(RuntimeError, match="proof did fail"):
        prove(RoundingSpec(12, 4, fault=True), tmp_path, 1, from_reset=False)


class PipelineSpec(Component):
    """A whole column of few bits beside the same steps done at once, delayed."""

    def __init__(self, offsets: bool, fault: bool = False):
        self.offsets, self.fault = offsets, fault
        super().__init__(
            {name: In(signed(5)) for name in ("sum", "x_sum")}
            | {name: In(signed(3)) for name in ("multiplier", "offset")}
            | {"ok": Out(1)}
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.column = column = RequantizerColumn(5, 3, self.offsets)
        names = ("sum", "multiplier", *(("x_sum", "offset") if self.offsets else ()))
        m.d.comb += [*(getattr(column, name).eq(getattr(self, name)) for name in names), column.shift.eq(1)]
        value = Signal(signed(9))
        m.d.comb += value.eq(self.sum * self.multiplier + (self.x_sum * self.offset if self.offsets else 0))
        floor, guard = value >> 1, value[0]
        expected = Signal(signed(8))
        m.d.comb += expected.eq(Mux(guard & floor[0], floor + 1, floor))
        for stage in range(4 + self.offsets - self.fault):
            late = Signal(signed(8), name=f"late{stage}")
            m.d.sync += late.eq(expected)
            expected = late
        m.d.comb += self.ok.eq(column.result == expected)
        return m


@pytest.mark.parametrize("offsets", [False, True])
def test_a_column_is_its_formula_after_its_latency(offsets, tmp_path):
    prove(PipelineSpec(offsets), tmp_path, 7, from_reset=False)


def test_a_result_that_comes_an_edge_late_is_found(tmp_path):
    with pytest.raises(RuntimeError, match="proof did fail"):
        prove(PipelineSpec(offsets=False, fault=True), tmp_path, 7, from_reset=False)


def test_valid_takes_as_long_as_the_results():
    config = ArrayConfig(name="t", rows=2, cols=2, results="int8", sum_of_x=True)
    dut = Requantizer(config)

    async def bench(ctx):
        ctx.set(dut.sums[0], 300)
        ctx.set(dut.sums[1], -5)
        ctx.set(dut.sums[2], 7)
        for column, (multiplier, offset) in enumerate(((2, 4), (8, -1))):
            ctx.set(dut.scales[column].multiplier, multiplier)
            ctx.set(dut.scales[column].offset, offset)
        ctx.set(dut.shift, 3)
        ctx.set(dut.valid, 1)
        seen = []
        for _ in range(7):
            seen.append(ctx.get(dut.results_valid))
            if seen[-1]:
                break
            await ctx.tick()
        assert len(seen) - 1 == config.requantizer_stages == 5
        assert [ctx.get(value) for value in dut.results] == [78, -6]  # 628 / 8 = 78.5; -47 / 8 = -5.875

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
