"""A cocotb bench around the AXI top that may be copied anywhere: it needs cocotb and cocotbext-axi, not Tritforge."""

from pathlib import Path

from hw.config import ArrayConfig
from hw.integration.python_bench import write_python_bench
from hw.integration.variant import Variant

__all__ = ["write_cocotb"]

_FILES = ("tritforge_bench.py", "test_tritforge.py", "Makefile")


def write_cocotb(config: ArrayConfig, folder: Path, variant: Variant) -> list[Path]:
    """Write top, register map, example GEMMs, bench and the two ways to run it into ``folder``; returns the paths.

    Raises:
        InputError: see ``hw.verilog.axi_verilog``.
    """
    return write_python_bench(config, folder, "cocotb", _FILES, variant)
