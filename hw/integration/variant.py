"""Which top a kit stands around: streams or masters, its clocks, and its memories."""

from pathlib import Path
from typing import NamedTuple

from amaranth.lib.wiring import In, Member

from hw.config import ArrayConfig
from hw.gateware.bus.axi import axi_ports
from hw.gateware.bus.axi_dma import axi_dma_ports
from hw.gateware.bus.crossing import CORE_CLOCK_PORT, CoreClock
from hw.gateware.bus.register_map import DMA_REGISTER_MAP, REGISTER_MAP, Register
from hw.gateware.macros.memories import MACROS_NAME, Memories
from hw.verilog import AXI_NAME, DMA_NAME, write_verilog

__all__ = ["STREAMS", "Variant"]


class Variant(NamedTuple):
    """One of the tops with registers, as ``hw.verilog.write_verilog`` knows it."""

    top: str = "axi"  # or "axi-dma"
    core_clock: CoreClock = "bus"
    memories: Memories = "inferred"

    @property
    def name(self) -> str:
        """Of the top module."""
        return DMA_NAME if self.masters else AXI_NAME

    @property
    def masters(self) -> bool:
        """Whether the top fetches and stores its packets itself."""
        return self.top == "axi-dma"

    @property
    def separate(self) -> bool:
        """Whether the core has a clock of its own."""
        return self.core_clock == "separate"

    @property
    def sources(self) -> tuple[str, ...]:
        """Verilog files, the memories' modules among them."""
        return (f"{self.name}.v", *(MACROS_NAME,) * (self.memories == "macros"))

    @property
    def registers(self) -> tuple[Register, ...]:
        """What the bus reads and writes."""
        return DMA_REGISTER_MAP if self.masters else REGISTER_MAP

    def ports(self, config: ArrayConfig) -> dict[str, Member]:
        """Ports of the top module by name."""
        ports = axi_dma_ports(config) if self.masters else axi_ports(config)
        return ports | ({CORE_CLOCK_PORT: In(1)} if self.separate else {})

    def write(self, config: ArrayConfig, folder: Path) -> list[Path]:
        """Verilog, configuration and register map into ``folder``; returns the paths.

        Raises:
            InputError: see ``hw.verilog.axi_verilog``.
        """
        return write_verilog(config, folder, self.top, self.core_clock, self.memories)


STREAMS = Variant()  # what most kits stand around
