"""RowRegisters: what an attention's rows keep from one instruction to the next: scales, maximum, total, shift."""

from amaranth import Module
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from hw.gateware.whole.ports import RowState, ScaleLayout
from hw.program.machine import MachineConfig

__all__ = ["RowRegisters"]


class RowRegisters(Component):
    """Three small memories with one address; reads are combinational, writes take an edge.

    Members
    -------
    row : which one is read and written.
    token_scale, weight_scale, state : what it holds.
    new_scale, write_token, write_weight : a scale for one of the two.
    new_state, write_state : a new state.
    """

    def __init__(self, machine: MachineConfig):
        self.depth = machine.row_registers
        super().__init__(
            {
                "row": In(range(self.depth)),
                "token_scale": Out(ScaleLayout),
                "weight_scale": Out(ScaleLayout),
                "state": Out(RowState),
                "new_scale": In(ScaleLayout),
                "write_token": In(1),
                "write_weight": In(1),
                "new_state": In(RowState),
                "write_state": In(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """A memory each."""
        m = Module()
        for name, out, new, enable in (
            ("token", self.token_scale, self.new_scale, self.write_token),
            ("weight", self.weight_scale, self.new_scale, self.write_weight),
            ("state", self.state, self.new_state, self.write_state),
        ):
            memory = Memory(shape=len(out.as_value()), depth=self.depth, init=[])
            m.submodules[name] = memory
            read, write = memory.read_port(domain="comb"), memory.write_port()
            m.d.comb += [
                read.addr.eq(self.row),
                out.eq(read.data),
                write.addr.eq(self.row),
                write.data.eq(new),
                write.en.eq(enable),
            ]
        return m
