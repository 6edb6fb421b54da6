"""A cocotb bench around the AXI top that may be copied anywhere: it needs cocotb and cocotbext-axi, not Tritforge."""

from pathlib import Path

from hw.artifact import write_text
from hw.config import ArrayConfig
from hw.integration.examples import packets_json
from hw.integration.files import shipped
from hw.verilog import write_verilog

__all__ = ["write_cocotb"]

_FILES = ("tritforge_bench.py", "test_tritforge.py", "Makefile")


def write_cocotb(config: ArrayConfig, folder: Path) -> list[Path]:
    """Write top, register map, example GEMMs, bench and the two ways to run it into ``folder``; returns the paths.

    Raises:
        InputError: see ``hw.verilog.axi_verilog``.
    """
    paths = write_verilog(config, folder, "axi")
    write_text(folder / "gemms.json", packets_json(config))
    for name in _FILES:
        write_text(folder / name, shipped("cocotb", name))
    return [*paths, folder / "gemms.json", *(folder / name for name in _FILES)]
