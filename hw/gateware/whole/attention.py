"""EXP and ONORM on the vector unit: what a row of attention keeps between blocks, and its outputs at last."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from amaranth import Module, Mux, Signal, signed

from hw.gateware.whole.datapath import Kernel
from hw.gateware.whole.scale_unit import ScaleTask, bit_length
from hw.token.formats import WORD_BITS
from hw.token.softmax import FIRST_MAXIMUM

if TYPE_CHECKING:
    from hw.gateware.whole.vector_unit import VectorUnit

__all__ = ["exp", "onorm"]


def exp(unit: "VectorUnit", m: Module) -> Iterator[None]:
    """EXP: a row's largest score, its maximum and J, its powers and their sum."""
    one, path, rows = unit.instruction, unit.path, unit.rows
    fresh = unit.block == 0
    maximum, total, kept = Signal(signed(17)), Signal(WORD_BITS), Signal(WORD_BITS)
    highest = Signal.like(path.highest)
    m.d.comb += [
        maximum.eq(Mux(fresh, FIRST_MAXIMUM, rows.state.maximum)),
        total.eq(Mux(fresh, 0, rows.state.total)),
        unit.row_maximum.maximum.eq(maximum),
        unit.row_maximum.highest.eq(highest),
        path.maximum.eq(unit.row_maximum.result),
    ]
    m.d.sync += kept.eq(total >> unit.row_maximum.shift)  # settled while the row's powers are made
    with m.If(unit.runs("EXP")):  # powers leave the lanes while the next row is scanned
        m.d.comb += [unit.kernel.eq(Kernel.EXP), unit.passes.powers.eq(unit.more_rows)]
    yield
    unit.run_scan(m, "EXP MAXIMUM", "EXP HIGHEST")
    with m.State("EXP HIGHEST"):
        m.d.sync += highest.eq(path.highest)
        m.d.comb += path.clear.eq(1)
        m.next = "EXP SHIFT"
    with m.State("EXP SHIFT"):
        m.next = "EXP POWERS"
    unit.run_pass(m, "EXP POWERS", Kernel.EXP, "EXP END")
    with m.State("EXP END"):
        m.d.comb += [
            path.clear.eq(1),
            rows.write_state.eq(1),
            rows.new_state.maximum.eq(unit.row_maximum.result),
            rows.new_state.shift.eq(unit.row_maximum.shift),
            rows.new_state.total.eq(kept + path.powers),
        ]
        unit.next_row(m, one.pitch, "EXP MAXIMUM")


def onorm(unit: "VectorUnit", m: Module) -> Iterator[None]:
    """ONORM: the reciprocal of a row's total, then its outputs."""
    one, path, rows, scaling = unit.instruction, unit.path, unit.rows, unit.scale_unit
    pre = Signal(5)
    with m.If(unit.runs("ONORM")):  # outputs leave the lanes while the next row's reciprocal is made
        m.d.comb += [
            unit.kernel.eq(Kernel.ONORM),
            path.pre.eq(pre),
            path.factor2.eq(scaling.scale.mantissa),
            path.shift2.eq(one.first - scaling.scale.exponent - pre),
        ]
    yield
    unit.run_scale(m, "ONORM", ScaleTask.RECIPROCAL, rows.state.total, "ONORM SHIFT")
    with m.State("ONORM SHIFT"):
        above = Signal(signed(13))
        m.d.comb += above.eq(bit_length(m, rows.state.total, "total") - one.shift)
        m.d.sync += pre.eq(Mux(above > 0, above, 0))
        m.next = "ONORM OUTPUTS"
    unit.run_pass(m, "ONORM OUTPUTS", Kernel.ONORM, "ONORM END", early="ONORM END")
    with m.State("ONORM END"):
        unit.next_row(m, one.pitch, "ONORM")
        m.d.sync += unit.row_destination.eq(unit.row_destination + one.words)
