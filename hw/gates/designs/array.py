"""An array: activation registers shared by columns; and the RTLIL of a design with each column described once."""

from amaranth import ClockSignal, Instance, Module, Signal
from amaranth.back import rtlil
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ColumnArray", "array_rtlil"]


class ColumnArray(wiring.Component):
    """``cols`` equal columns behind one set of activation registers.

    Ports: ``x`` (all lanes of a vector), ``first`` and ``load`` (registered with it), ``w`` and ``start`` and ``acc``
    (columns side by side). A weight tile given with ``load`` in cycle c serves the vectors from cycle c on.
    """

    def __init__(self, column: wiring.Component, cols: int) -> None:
        self.column = column
        self.cols = cols
        self.widths = {name: column.signature.members[name].shape for name in ("x", "w", "start", "acc")}
        super().__init__(
            {
                "x": In(self.widths["x"]),
                "first": In(1),
                "load": In(1),
                "w": In(cols * self.widths["w"]),
                "start": In(cols * self.widths["start"]),
                "acc": Out(cols * self.widths["acc"]),
            }
        )

    def elaborate(self, platform):
        """Build the registers and place the columns."""
        m = Module()
        x = Signal.like(self.x, reset_less=True)
        first = Signal(reset_less=True)
        m.d.sync += [x.eq(self.x), first.eq(self.first)]
        for c in range(self.cols):
            part = {name: getattr(self, name).word_select(c, self.widths[name]) for name in ("w", "start", "acc")}
            m.submodules[f"column_{c}"] = Instance(
                "column",
                i_clk=ClockSignal(),
                i_x=x,
                i_first=first,
                i_load=self.load,
                i_w=part["w"],
                i_start=part["start"],
                o_acc=part["acc"],
            )
        return m


def array_rtlil(array: ColumnArray) -> str:
    """RTLIL of the array as module ``top`` and of its column as module ``column``."""
    column = rtlil.convert(array.column, name="column", emit_src=False)
    return column + rtlil.convert(array, name="top", emit_src=False)
