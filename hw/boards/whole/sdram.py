"""Which SDRAM a board has, and the pads that lead to it."""

from collections.abc import Iterator
from importlib import import_module
from typing import NamedTuple

from amaranth.build import Attrs, Resource, Subsignal
from amaranth.hdl import IOPort
from amaranth.lib import io

from hw.boards.catalog import Board
from hw.boards.pins import Site
from hw.errors import InputError
from hw.memory.chip import SdramChip, load_chip

__all__ = ["BoardSdram", "SdramPads", "sdram_of", "sdram_sites"]

_PREFIX = "sdram"


class BoardSdram(NamedTuple):
    """A board's chip, and the resource of amaranth-boards that names its pins."""

    chip: SdramChip
    resource: Resource


# The ULX3S was made with chips of 32 MB of several makers: this one's clocks suffice all of them up to 100 MHz.
_CHIPS = {f"ulx3s-{size}f": "as4c16m16sa-7" for size in ("12", "25", "45", "85")}


def sdram_of(board: Board, chip: str | None = None) -> BoardSdram | None:
    """The board's SDRAM, or None where it has none that is supported here.

    ``chip``: another one that is soldered in its place, by name.

    Raises:
        InputError: an unknown chip, or one that these pins do not reach.
    """
    if board.name not in _CHIPS or not board.platform:
        return None
    module, name = board.platform.split(":")
    platform = getattr(import_module(f"amaranth_boards.{module}"), name)()
    found = BoardSdram(load_chip(chip or _CHIPS[board.name]), platform.lookup(_PREFIX))
    pins = {part.name: len(part.ios[0].names) for part in found.resource.ios}
    if (found.chip.data_bits, found.chip.address_bits) != (pins["dq"], pins["a"]):
        raise InputError(
            f"chip on {board.name} must have {pins['dq']} data and {pins['a']} address pins, not "
            f"{found.chip.data_bits} and {found.chip.address_bits} as {found.chip.name}"
        )
    return found


class SdramPads:
    """Ports of the top level for a resource, by the names of its parts: what ``hw.memory.pins.SdramIo`` takes."""

    def __init__(self, resource: Resource):
        self.ports: dict[str, IOPort] = {}
        for part in resource.ios:
            pins = part.ios[0]
            port = IOPort(len(pins.names), name=f"{_PREFIX}_{part.name}")
            self.ports[port.name] = port
            setattr(self, part.name, io.SingleEndedPort(port, invert=pins.invert, direction=pins.dir))


def sdram_sites(resource: Resource) -> dict[str, Site]:
    """Where each bit of these ports leaves the part, by its name in constraints."""
    return dict(_sites(resource))


def _sites(resource: Resource) -> Iterator[tuple[str, Site]]:
    for part in resource.ios:
        assert isinstance(part, Subsignal)
        names, attributes = part.ios[0].names, _words({**resource.attrs, **part.attrs})
        for bit, name in enumerate(names):
            port = f"{_PREFIX}_{part.name}" + (f"[{bit}]" if len(names) > 1 else "")
            yield port, Site(name, attributes, False)


def _words(attributes: Attrs) -> dict[str, str]:
    return {key: str(value) for key, value in attributes.items()}
