"""DRAM: presets with their source, and the bytes per core cycle that a sequential stream gets."""

from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from hw.document import Record, load_named, names_in
from hw.errors import InputError
from sim.dram import DramChannel

__all__ = ["MEMORY_FOLDER", "Channels", "MemoryConfig", "load_memory", "memory_names", "stream_table"]

MEMORY_FOLDER = Path(__file__).parent / "memories"


Channels = Annotated[int, Field(ge=1, le=4096)]


class MemoryConfig(Record):
    """One DRAM system. ``peak_bytes_per_s`` is of one channel's pins."""

    file_schema: ClassVar[str | None] = "tritforge.memory.1"

    name: str  # under which tables, folders and messages show it
    source: str  # data sheet or standard of pins and capacity
    standard: str  # key of the DRAM energy table, e.g. "DDR4", "LPDDR5", "HBM2"
    channels: Channels  # that work beside each other, each with its own pins
    peak_bytes_per_s: Annotated[float, Field(gt=0)]  # of one channel's pins
    channel_bytes: Annotated[int, Field(ge=1)] | None = (
        None  # capacity of one channel; None: not known, never too small
    )
    capacity_source: str = ""  # where the capacity was read, if elsewhere
    sequential_efficiency: Annotated[float, Field(gt=0, le=1)]  # share of peak that a long sequential stream reaches
    efficiency_source: str  # what measured the share, or that it is assumed
    write_cost: Annotated[float, Field(ge=1)] = 1.0  # time of a written byte over a read one's, with turnarounds
    burst_bytes: Annotated[int, Field(ge=1)] = 64  # least that one access moves
    latency_s: Annotated[float, Field(ge=0)] = 60e-9  # first word of an idle memory
    dram: DramChannel | None = None  # banks and timing behind the efficiency

    @property
    def capacity_bytes(self) -> int | None:
        """Of all channels; None where that of one is not known."""
        return None if self.channel_bytes is None else self.channels * self.channel_bytes

    def with_channels(self, channels: int | None) -> "MemoryConfig":
        """The same memory with so many channels, which its name then says; None: as many as it has."""
        if channels is None or channels == self.channels:
            return self
        return self.model_copy(update={"name": f"{self.name} x{channels}", "channels": channels})

    @property
    def bytes_per_s(self) -> float:
        """Sustained sequential bandwidth of all channels."""
        return self.channels * self.peak_bytes_per_s * self.sequential_efficiency

    def bytes_per_cycle(self, clock_hz: float) -> float:
        """Sustained bytes per cycle of a core at ``clock_hz``."""
        return self.bytes_per_s / clock_hz


def memory_names() -> list[str]:
    """Names of the memories that ship with the project."""
    return names_in(MEMORY_FOLDER)


def load_memory(name: str, channels: int | None = None) -> MemoryConfig:
    """A shipped memory by name, or a ``.yaml`` file; with so many ``channels``, where given.

    Raises:
        InputError: unknown name (the known ones are listed), or a faulty file.
    """
    memory = _shipped(name) if name in memory_names() else load_named(name, MEMORY_FOLDER, MemoryConfig, "memory")
    return memory.with_channels(channels)


@cache
def _shipped(name: str) -> MemoryConfig:
    """Read once, since a comparison asks for every machine."""
    return load_named(name, MEMORY_FOLDER, MemoryConfig, "memory")


def stream_table(memory: MemoryConfig) -> dict[str, float]:
    """Shares of peak that streams get from the banks of ``memory``: as it is, its losses, and with other settings.

    ``interleaved``: with neighbouring bursts spread over bank groups; ``in_order``: by a controller that reorders
    nothing; ``three_reads_per_write``: in runs of 64 bursts.

    Raises:
        InputError: the memory describes no banks.
    """
    if memory.dram is None:
        raise InputError(f"memory {memory.name!r}: field 'dram' must describe its banks")
    sequential = memory.dram.sequential()
    interleaved = memory.dram.interleaved().sequential()
    in_order = memory.dram.model_copy(update={"lookahead": 1}).sequential()
    return {
        "used": memory.sequential_efficiency,
        "sequential": sequential.efficiency,
        "bank_loss": sequential.bank_loss,
        "refresh_loss": sequential.refresh_loss,
        "interleaved": interleaved.efficiency,
        "in_order": in_order.efficiency,
        "three_reads_per_write": memory.dram.mixed(0.75).efficiency,
    }
