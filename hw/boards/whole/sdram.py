"""Which SDRAM a board has, and the pads that lead to it."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any, NamedTuple

from amaranth.build import Attrs, Pins, PinsN, Resource, Subsignal
from amaranth.hdl import IOPort
from amaranth.lib import io

from hw.boards.catalog import Board
from hw.boards.pins import Site
from hw.errors import InputError
from hw.memory.chip import SdramChip, load_chip

__all__ = ["BoardSdram", "SdramPads", "platform_of", "sdram_of", "sdram_sites"]

_PREFIX = "sdram"


class BoardSdram(NamedTuple):
    """A board's chip, the resource that names its pins, and whose I/O cells lead to it (a class of amaranth-boards).

    ``in_package``: the pins are not those of the part; place and route knows them by the names of the ports.
    """

    chip: SdramChip
    resource: Resource
    cells: str
    in_package: bool = False


# The ULX3S was made with chips of 32 MB of several makers: this one's clocks suffice all of them up to 100 MHz.
_CHIPS = {f"ulx3s-{size}f": "as4c16m16sa-7" for size in ("12", "25", "45", "85")} | {"tang-nano-20k": "gw2ar-18"}

# Ports of the SDRAM in the package of a GW2AR-18, as Gowin's IP and Apicula's database (sip_cst) name them; low when
# asserted where they end in n.
_GOWIN_PORTS = {
    "clk": "O_sdram_clk", "clk_en": "O_sdram_cke", "cs": "O_sdram_cs_n", "ras": "O_sdram_ras_n",
    "cas": "O_sdram_cas_n", "we": "O_sdram_wen_n", "ba": "O_sdram_ba", "a": "O_sdram_addr", "dqm": "O_sdram_dqm",
    "dq": "IO_sdram_dq",
}  # fmt: skip
_GOWIN_CELLS = "tang_nano_9k:TangNano9kPlatform"  # I/O cells are the family's


def sdram_of(board: Board, chip: str | None = None) -> BoardSdram | None:
    """The board's SDRAM, or None where it has none that is supported here.

    ``chip``: another one that is soldered in its place, by name.

    Raises:
        InputError: an unknown chip, or one that these pins do not reach.
    """
    if board.name not in _CHIPS:
        return None
    taken = load_chip(chip or _CHIPS[board.name])
    if board.platform:
        found = BoardSdram(taken, platform_of(board.platform).lookup(_PREFIX), board.platform)
    else:
        found = BoardSdram(taken, _packaged(load_chip(_CHIPS[board.name])), _GOWIN_CELLS, in_package=True)
    pins = {part.name: len(part.ios[0].names) for part in found.resource.ios}
    if (found.chip.data_bits, found.chip.address_bits) != (pins["dq"], pins["a"]):
        raise InputError(
            f"chip on {board.name} must have {pins['dq']} data and {pins['a']} address pins, not "
            f"{found.chip.data_bits} and {found.chip.address_bits} as {found.chip.name}"
        )
    return found


def platform_of(name: str) -> Any:
    """The class ``module:class`` of amaranth-boards, made."""
    module, _, kind = name.partition(":")
    return getattr(import_module(f"amaranth_boards.{module}"), kind)()


def _packaged(chip: SdramChip) -> Resource:
    """The pins of a chip in the FPGA's package."""
    widths = {"ba": chip.banks.bit_length() - 1, "a": chip.address_bits}
    widths |= {"dqm": chip.data_bits // 8, "dq": chip.data_bits}
    parts = []
    for name, port in _GOWIN_PORTS.items():
        names = " ".join(f"{port}{bit}" for bit in range(widths.get(name, 1)))
        kind = PinsN if port.endswith("n") else Pins
        parts.append(Subsignal(name, kind(names, dir="io" if name == "dq" else "o")))
    return Resource(_PREFIX, 0, *parts)


class SdramPads:
    """Ports of the top level for a board's SDRAM, by the names of its parts: what ``hw.memory.pins.SdramIo`` takes."""

    def __init__(self, found: BoardSdram):
        self.ports: dict[str, IOPort] = {}
        for part in found.resource.ios:
            pins = part.ios[0]
            name = _GOWIN_PORTS[part.name] if found.in_package else f"{_PREFIX}_{part.name}"
            port = IOPort(len(pins.names), name=name)
            self.ports[port.name] = port
            setattr(self, part.name, io.SingleEndedPort(port, invert=pins.invert, direction=pins.dir))


def sdram_sites(found: BoardSdram) -> dict[str, Site]:
    """Where each bit of these ports leaves the part, by its name in constraints; none for a chip in its package."""
    return {} if found.in_package else dict(_sites(found.resource))


def _sites(resource: Resource) -> Iterator[tuple[str, Site]]:
    for part in resource.ios:
        assert isinstance(part, Subsignal)
        names, attributes = part.ios[0].names, _words({**resource.attrs, **part.attrs})
        for bit, name in enumerate(names):
            port = f"{_PREFIX}_{part.name}" + (f"[{bit}]" if len(names) > 1 else "")
            yield port, Site(name, attributes, False)


def _words(attributes: Attrs) -> dict[str, str]:
    return {key: str(value) for key, value in attributes.items()}
