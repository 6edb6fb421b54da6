"""DEQ, SCORE, OACC and ARGMAX on the vector unit: kernels that take the array's sums beat by beat."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import data

from hw.arithmetic.registers import delayed
from hw.gateware.whole.datapath import PASS_DEPTH, Kernel
from hw.gateware.whole.ports import POSITION_BITS, ScaleLayout, log2
from hw.gateware.whole.slices import slice_of
from hw.token.formats import ACCUMULATOR_BITS, WORD_BITS

if TYPE_CHECKING:
    from hw.gateware.whole.vector_unit import VectorUnit

__all__ = ["STREAMING", "argmax", "streaming"]

STREAMING = {"DEQ": Kernel.DEQ, "SCORE": Kernel.SCORE, "OACC": Kernel.OACC}


def streaming(unit: "VectorUnit", m: Module) -> Iterator[None]:
    """DEQ, SCORE, OACC: every beat of sums takes an edge per scratch word."""
    machine, one, path, rows = unit.machine, unit.instruction, unit.path, unit.rows
    lanes, groups = machine.lanes, machine.array.cols // machine.lanes
    unit.column, unit.group, unit.beat_row = column, group, beat_row = (
        Signal(16),
        Signal(range(max(2, groups))),
        Signal(8),
    )
    place, begin = Signal(17), Signal(16)  # word of a row's outputs, and where its first one lies
    drain = Signal(range(PASS_DEPTH + 1))
    outputs = Signal(16)
    m.d.comb += outputs.eq(Mux(one.by_block & ~one.by_lanes, unit.visible, one.n + lanes - 1 >> log2(lanes)))
    unit.outputs = outputs
    last_group, last_row = group == groups - 1, beat_row == one.rows - 1
    with m.If(unit.start):
        m.d.sync += [column.eq(0), group.eq(0), beat_row.eq(0), place.eq(0), begin.eq(one.destination)]
    scale = Mux(unit.runs("OACC"), rows.weight_scale.as_value(), rows.token_scale.as_value())
    scale = data.View(ScaleLayout, scale)
    constant = Mux(unit.runs("OACC"), one.first, one.shift)
    before, left = Signal(POSITION_BITS), Signal(POSITION_BITS)  # tokens of earlier blocks, and of this one up to ours
    m.d.sync += [before.eq(unit.block << unit.block_bits), left.eq(unit.position - before)]  # settled before any sum
    yield
    with m.State("STREAM"):
        m.d.comb += [
            unit.streaming.eq(1),
            rows.row.eq(beat_row),
            path.issue.eq(unit.results.valid),
            path.x.eq(begin + place),
            path.y.eq(one.second + place),
            path.destination.eq(begin + place),
            path.keep.eq(place < outputs),
            path.sums.eq(slice_of(unit.results.payload.as_value(), group, lanes * ACCUMULATOR_BITS)),
            path.hide.eq(Cat(Cat(Const(i, log2(lanes)), place) > left for i in range(lanes))),
            path.old_shift.eq(rows.state.shift),
            path.fresh.eq(unit.block == 0),
            path.factor2.eq(scale.mantissa),
            path.shift2.eq(constant - scale.exponent),
            unit.results.ready.eq(last_group),
        ]
        _streaming_kernel(unit, m)
        with m.If(unit.results.valid):
            m.d.sync += [
                group.eq(Mux(last_group, 0, group + 1)),
                place.eq(Mux(last_group & ~last_row, column, place + 1)),
            ]
            with m.If(last_group):
                m.d.sync += [beat_row.eq(beat_row + 1), begin.eq(begin + one.pitch)]
                with m.If(last_row):
                    m.d.sync += [beat_row.eq(0), begin.eq(one.destination), column.eq(column + groups)]
                    with m.If(column + groups >= outputs):
                        m.d.sync += drain.eq(PASS_DEPTH - 1)
                        m.next = "DRAIN"
    with m.State("DRAIN"):
        _streaming_kernel(unit, m)
        m.d.sync += drain.eq(drain - 1)
        with m.If(drain == 0):
            unit.end(m)


def _streaming_kernel(unit: "VectorUnit", m: Module) -> None:
    for name, kernel in STREAMING.items():
        with m.If(unit.runs(name)):
            m.d.comb += unit.kernel.eq(kernel)


def argmax(unit: "VectorUnit", m: Module) -> Iterator[None]:
    """ARGMAX: the beat of the high halves waits for that of the low ones; then a logit per edge."""
    machine, one, path, argmax = unit.machine, unit.instruction, unit.path, unit.argmax
    lanes, cols = machine.lanes, machine.array.cols
    high, place = Signal.like(unit.results.payload.as_value()), Signal(range(cols))
    waiting, drain = Signal(init=1), Signal(range(8))
    first = Signal()
    number = Signal(16)
    m.d.comb += number.eq((unit.column << log2(lanes)) + place)
    valid = Signal()
    low = unit.results.payload.as_value()
    element = {
        "high": slice_of(high, place, ACCUMULATOR_BITS),
        "low": slice_of(low, place, ACCUMULATOR_BITS),
        "valid": valid,
        "id": one.identity + number,
        "first": first,
        "lane": place[: max(1, log2(lanes))],
    }
    later = {name: delayed(m, value, 1, f"argmax_{name}") for name, value in element.items()}
    word = slice_of(path.y_word.as_value(), later["lane"], WORD_BITS)[:16]
    m.d.comb += [
        argmax.high.eq(later["high"]),
        argmax.low.eq(later["low"]),
        argmax.mantissa.eq(Cat(word[:11], word.any())),
        argmax.shift.eq(word[11:] - one.first),
        argmax.id.eq(later["id"]),
        argmax.first.eq(later["first"]),
        argmax.valid.eq(later["valid"]),
        unit.best.eq(argmax.best_id),
    ]
    with m.If(unit.start):
        m.d.sync += [waiting.eq(1), place.eq(0), first.eq(~one.add)]
    yield
    with m.State("ARGMAX"):
        m.d.comb += [unit.streaming.eq(1), path.y.eq(one.second + unit.column + (place >> log2(lanes)))]
        with m.If(unit.results.valid):
            with m.If(waiting):
                m.d.comb += unit.results.ready.eq(1)
                m.d.sync += [high.eq(unit.results.payload), waiting.eq(0)]
            with m.Else():
                m.d.comb += valid.eq(number < one.n)
                m.d.sync += [place.eq(place + 1), first.eq(0)]
                with m.If(place == cols - 1):
                    m.d.comb += unit.results.ready.eq(1)
                    m.d.sync += [waiting.eq(1), place.eq(0), unit.column.eq(unit.column + cols // lanes)]
                    with m.If(unit.column + cols // lanes >= unit.outputs):
                        m.d.sync += drain.eq(7)
                        m.next = "ARGMAX DRAIN"
    with m.State("ARGMAX DRAIN"):
        m.d.sync += drain.eq(drain - 1)
        with m.If(drain == 0):
            unit.end(m)
