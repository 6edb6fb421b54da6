"""What `tritforge verilog --for` knows by name."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from hw.config import ArrayConfig
from hw.errors import InputError

if TYPE_CHECKING:
    from hw.gateware.bus.crossing import CoreClock
    from hw.gateware.macros.memories import Memories

__all__ = ["KITS", "write_kit"]

KITS = {  # what each writes, for the help
    "cocotb": "a bench that can be copied",
    "fusesoc": "a core file with simulation and lint",
    "litex": "a module with DMA, and an example SoC",
    "vivado": "an IP, and block designs for pynq-z2 and kv260",
}
_OF_MASTERS = ("fusesoc", "vivado")  # whose files do without streams


def write_kit(
    config: ArrayConfig, kit: str, folder: Path, core_clock: "CoreClock" = "bus", top: str = "axi",
    memories: "Memories" = "inferred",
) -> list[Path]:  # fmt: skip
    """Write the kit of that name around the AXI top of ``config`` into ``folder``; returns the paths.

    ``core_clock``, ``top``, ``memories``: as of ``hw.verilog.write_verilog``.

    Raises:
        InputError: an unknown kit, one that is not for this top, or see ``hw.verilog.axi_verilog``.
    """
    if kit not in KITS:
        raise InputError(f"kit must be one of {', '.join(KITS)}, not {kit!r}")
    if top not in ("axi", "axi-dma"):
        raise InputError(f"top must be axi or axi-dma in a kit, whose registers are on a bus, not {top!r}")
    if top == "axi-dma" and kit not in _OF_MASTERS:
        raise InputError(
            f"top must be axi in kit {kit}, whose bench or engines send packets as streams, not {top!r}; kits "
            f"{' and '.join(_OF_MASTERS)} take it"
        )
    from hw.integration.variant import Variant  # Amaranth is imported only by what elaborates

    write: Callable[[ArrayConfig, Path, Variant], list[Path]]
    write = getattr(import_module(f"hw.integration.{kit}"), f"write_{kit}")
    return write(config, folder, Variant(top, core_clock, memories))
