"""A kit whose bench is Python: the AXI top, its example GEMMs as JSON, and files that are copied as they are."""

from pathlib import Path

from hw.artifact import write_text
from hw.config import ArrayConfig
from hw.integration.examples import packets_json
from hw.integration.files import shipped
from hw.integration.variant import Variant

__all__ = ["write_python_bench"]


def write_python_bench(
    config: ArrayConfig, folder: Path, kit: str, names: tuple[str, ...], variant: Variant
) -> list[Path]:
    """Write top, register map, ``gemms.json`` and the files ``names`` of ``kit`` into ``folder``; returns the paths.

    Raises:
        InputError: see ``hw.verilog.axi_verilog``.
    """
    paths = variant.write(config, folder)
    texts = {"gemms.json": packets_json(config)} | {name: shipped(kit, name) for name in names}
    for name, text in texts.items():
        write_text(folder / name, text)
    return [*paths, *(folder / name for name in texts)]
