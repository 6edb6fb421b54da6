"""Every memory of a design as an instance of a module that a memory compiler's macro, or a vendor's RAM, may replace.

The modules and what they promise stand in ``tritforge_memories.v``, with a behavioural default of each. What a macro
reads on the edge that writes the same word may be anything: no design uses it.
"""

from collections import Counter
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from amaranth import Cat, ClockSignal, Elaboratable, Instance, Module, Shape, Signal, Value
from amaranth.lib.memory import Memory, ReadPort, WritePort
from amaranth.utils import ceil_log2

from hw.errors import InputError

__all__ = ["MACROS_NAME", "MacroPlatform", "Memories", "MemoryShape", "check_memories", "default_macros"]

Memories = Literal["inferred", "macros"]
MACROS_NAME = "tritforge_memories.v"
_MEMORY = "tritforge_memory_1r1w"


class MemoryShape(NamedTuple):
    """The module of a memory, and its parameters."""

    module: str
    width: int
    depth: int
    mask_bits: int  # write enables; each is of so many of the word's bits


def check_memories(name: str) -> None:
    """Raises InputError unless there is such a choice."""
    if name not in get_args(Memories):
        raise InputError(f"memories must be one of {', '.join(get_args(Memories))}, not {name!r}")


def default_macros() -> str:
    """Text of ``tritforge_memories.v``."""
    return Path(__file__).with_name(MACROS_NAME).read_text(encoding="utf-8")


class MacroPlatform:
    """What Amaranth asks for memories while a design is elaborated; ``shapes`` counts those that it has."""

    def __init__(self):
        self.shapes: Counter[MemoryShape] = Counter()

    def listed(self) -> list[dict[str, int | str]]:
        """Modules, parameters and how many there are of each, for ``config.json``."""
        return [shape._asdict() | {"count": count} for shape, count in sorted(self.shapes.items())]

    def get_memory(self, memory: Memory) -> Elaboratable:
        """``memory`` as one macro per read port; tables that nothing writes stay logic.

        Raises:
            InputError: more than one write port, or contents at reset, which a macro has not.
        """
        if not memory.write_ports:
            return _Table(memory)
        if len(memory.write_ports) > 1 or any(Value.cast(word).value for word in memory.data.init if word):
            raise InputError("a memory macro must have one write port and no contents at reset")
        return _Macros(memory, self.shapes)


class _Table(Elaboratable):
    """A memory without write ports, read from an array of constants, on an edge or at once."""

    def __init__(self, memory: Memory):
        self.memory = memory

    def elaborate(self, platform) -> Module:
        """A choice by the address, and a register where the port has a clock."""
        m = Module()
        for port in self.memory.read_ports:
            value = Signal(Shape.cast(self.memory.shape))
            with m.Switch(port.addr):
                for address, word in enumerate(self.memory.data.init):
                    with m.Case(address):
                        m.d.comb += value.eq(word)
            if port.domain == "comb":
                m.d.comb += Value.cast(port.data).eq(value)
            else:
                held = Signal.like(value, reset_less=True)
                with m.If(port.en):
                    m.d[port.domain] += held.eq(value)
                m.d.comb += Value.cast(port.data).eq(held)
        return m


class _Macros(Elaboratable):
    """A memory with one write port: a macro per read port, each of which holds all words."""

    def __init__(self, memory: Memory, shapes: Counter[MemoryShape]):
        self.memory, self.shapes = memory, shapes

    def elaborate(self, platform) -> Module:
        """Each read port by what it is: at once, or on an edge of the writing clock or of another."""
        m = Module()
        [write] = self.memory.write_ports
        for number, read in enumerate(self.memory.read_ports):
            data = Value.cast(read.data)
            if read.domain == "comb":
                made = self._instance("tritforge_registers_1r1w", write, read, data)
            elif read.domain != write.domain:
                clocks = {"i_read_clk": ClockSignal(read.domain), "i_read_enable": read.en}
                made = self._instance("tritforge_memory_1r1w_2clk", write, read, data, **clocks)
            elif write in read.transparent_for:
                raise InputError("a memory macro must not be asked for a word on the edge that writes it")
            else:
                made = self._instance(_MEMORY, write, read, data, i_read_enable=read.en)
            m.submodules[f"memory{number}"] = made
        return m

    def _instance(self, module: str, write: WritePort, read: ReadPort, data: Value, **more: Value | int) -> Instance:
        width, depth = Shape.cast(self.memory.shape).width, self.memory.depth
        shape = MemoryShape(module, width, depth, len(write.en))
        self.shapes[shape] += 1
        clock = "write_clk" if module.endswith("2clk") else "clk"
        bits = max(1, ceil_log2(depth))  # a port of no bits is none in Verilog
        return Instance(
            module,
            p_WIDTH=width,
            p_DEPTH=depth,
            p_ADDRESS_BITS=bits,
            p_MASK_BITS=shape.mask_bits,
            **{f"i_{clock}": ClockSignal(write.domain)},
            i_write_enable=write.en,
            i_write_address=Cat(write.addr, 0)[:bits],
            i_write_data=Value.cast(write.data),
            i_read_address=Cat(read.addr, 0)[:bits],
            o_read_data=data,
            **more,
        )
