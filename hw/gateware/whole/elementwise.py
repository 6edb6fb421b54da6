"""EMB, ROPE, GLU, ADD and WHT on the vector unit: passes over words of scratch memory, and little else."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from amaranth import Cat, Module, Mux, Signal

from hw.gateware.whole.datapath import Kernel

if TYPE_CHECKING:
    from hw.gateware.whole.vector_unit import VectorUnit

__all__ = ["SINGLE", "emb", "single", "wht"]

_LIFT = 16  # of a table's integers, see ``hw.token.table``
SINGLE = {"ROPE": Kernel.ROPE, "GLU": Kernel.GLU, "ADD": Kernel.ADD}  # one pass and nothing else


def emb(unit: "VectorUnit", m: Module) -> Iterator[None]:
    """The row's stored scale first; then one pass."""
    path, one = unit.path, unit.instruction
    scale = Signal(16)
    with m.If(unit.runs("EMB")):
        m.d.comb += [
            path.factor1.eq(Mux(scale.any(), Cat(scale[:11], 1), 0)),
            path.first.eq(one.first - scale[11:]),
            path.shift2.eq(one.shift),
            path.pre.eq(-_LIFT),
        ]
    yield
    with m.State("EMB SCALE"):
        m.d.comb += path.y.eq(one.row_scale)
        m.next = "EMB LATCH"
    with m.State("EMB LATCH"):
        m.d.sync += scale.eq(path.y_word[0][:16])
        m.next = "EMB"
    unit.run_pass(m, "EMB", Kernel.EMB, "END")
    with m.State("END"):
        unit.end(m)


def single(unit: "VectorUnit", m: Module) -> Iterator[None]:
    """ROPE, GLU, ADD."""
    one, passes = unit.instruction, unit.passes
    with m.If(unit.runs("ROPE", "WHT")):
        m.d.comb += passes.rows.eq(one.rows)
    with m.If(unit.runs("GLU")):
        m.d.comb += unit.path.shift2.eq(one.shift)
    yield
    with m.State("SINGLE"):
        m.d.comb += passes.start.eq(1)
        m.next = "SINGLE RUNS"
    with m.State("SINGLE RUNS"):
        m.d.comb += unit.path.keep.eq(1)
        for name, kernel in SINGLE.items():
            with m.If(unit.runs(name)):
                m.d.comb += unit.kernel.eq(kernel)
        with m.If(passes.done):
            unit.end(m)


def wht(unit: "VectorUnit", m: Module) -> Iterator[None]:
    """Partners in two words, from half a row apart to neighbours; then partners within a word."""
    lanes = unit.machine.lanes
    yield
    with m.State("WHT"):
        m.d.sync += [unit.step.eq(unit.words >> 1), unit.half_step.eq(lanes >> 1)]
        m.d.sync += unit.row_destination.eq(unit.row_source)
        m.next = "WHT STAGE"
    with m.State("WHT STAGE"):
        m.d.comb += unit.passes.start.eq(1)
        m.next = "WHT STAGE RUNS"
    with m.State("WHT STAGE RUNS"):
        m.d.comb += [unit.path.keep.eq(1), unit.kernel.eq(Mux(unit.step != 0, Kernel.WHT, Kernel.MIX))]
        with m.If(unit.passes.done):
            m.next = "WHT STAGE"
            with m.If(unit.step != 0):
                m.d.sync += unit.step.eq(unit.step >> 1)
            with m.Else():
                m.d.sync += unit.half_step.eq(unit.half_step >> 1)
                with m.If(unit.half_step == 1):
                    unit.end(m)
