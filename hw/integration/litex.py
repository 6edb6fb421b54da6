"""The AXI top as a LiteX module, with an example SoC that a simulator plays."""

from pathlib import Path

from hw.artifact import write_text
from hw.config import ArrayConfig
from hw.integration.examples import packets_json
from hw.integration.files import shipped
from hw.verilog import write_verilog

__all__ = ["write_litex"]

_FILES = ("tritforge_litex.py", "soc.py", "soc_bench.py", "test_soc.py")


def write_litex(config: ArrayConfig, folder: Path) -> list[Path]:
    """Write the module, its Verilog, the example SoC and its bench into ``folder``; returns the paths.

    The module is a file beside its Verilog and no part of this package, because LiteX's environment is another one.

    Raises:
        InputError: see ``hw.verilog.axi_verilog``.
    """
    paths = write_verilog(config, folder, "axi")
    write_text(folder / "gemms.json", packets_json(config))
    for name in _FILES:
        write_text(folder / name, shipped("litex", name))
    return [*paths, folder / "gemms.json", *(folder / name for name in _FILES)]
