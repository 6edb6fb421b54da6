"""The AXI top as a LiteX module, with an example SoC that a simulator plays."""

from pathlib import Path

from hw.config import ArrayConfig
from hw.integration.python_bench import write_python_bench
from hw.integration.variant import Variant

__all__ = ["write_litex"]

_FILES = ("tritforge_litex.py", "soc.py", "soc_bench.py", "test_soc.py")


def write_litex(config: ArrayConfig, folder: Path, variant: Variant) -> list[Path]:
    """Write the module, its Verilog, the example SoC and its bench into ``folder``; returns the paths.

    The module is a file beside its Verilog and no part of this package, because LiteX's environment is another one.

    Raises:
        InputError: see ``hw.verilog.axi_verilog``.
    """
    return write_python_bench(config, folder, "litex", _FILES, variant)
