"""What `tritforge verilog --for` knows by name."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from hw.config import ArrayConfig
from hw.errors import InputError

__all__ = ["KITS", "write_kit"]

KITS = {  # what each writes, for the help
    "cocotb": "a bench that can be copied",
    "fusesoc": "a core file with simulation and lint",
    "litex": "a module with DMA, and an example SoC",
    "vivado": "an IP, and block designs for pynq-z2 and kv260",
}


def write_kit(config: ArrayConfig, kit: str, folder: Path, core_clock: str = "bus") -> list[Path]:
    """Write the kit of that name around the AXI top of ``config`` into ``folder``; returns the paths.

    ``core_clock``: as of ``hw.verilog.write_verilog``.

    Raises:
        InputError: an unknown kit, or see ``hw.verilog.axi_verilog``.
    """
    if kit not in KITS:
        raise InputError(f"kit must be one of {', '.join(KITS)}, not {kit!r}")
    # Amaranth is imported only by what elaborates.
    write: Callable[[ArrayConfig, Path, str], list[Path]]
    write = getattr(import_module(f"hw.integration.{kit}"), f"write_{kit}")
    return write(config, folder, core_clock)
