"""A kit whose bench is Python: the AXI top, its example GEMMs as JSON, and files that are copied as they are."""

from pathlib import Path

from hw.artifact import write_text
from hw.config import ArrayConfig
from hw.gateware.bus.crossing import CoreClock
from hw.integration.examples import packets_json
from hw.integration.files import shipped
from hw.verilog import write_verilog

__all__ = ["write_python_bench"]


def write_python_bench(
    config: ArrayConfig, folder: Path, kit: str, names: tuple[str, ...], core_clock: CoreClock
) -> list[Path]:
    """Write top, register map, ``gemms.json`` and the files ``names`` of ``kit`` into ``folder``; returns the paths.

    Raises:
        InputError: see ``hw.verilog.axi_verilog``.
    """
    paths = write_verilog(config, folder, "axi", core_clock)
    texts = {"gemms.json": packets_json(config)} | {name: shipped(kit, name) for name in names}
    for name, text in texts.items():
        write_text(folder / name, text)
    return [*paths, *(folder / name for name in texts)]
