"""Which DDR3 a board has, and the pins that lead to it.

Pins are those of the OrangeCrab r0.2 in litex-boards (gsd_orangecrab.py), with which LiteX runs there. Those of
amaranth-boards 0.0.21 do not work: its ``ba`` (P5 N3 M3, the last one also the green LED) is wrong (D6 B7 A6), its
pairs of ``dqs`` are transposed (positive: B15 G18), and its ``dm`` are in the order of the bytes, where the PHY wants
that of its strobes.
"""

from typing import NamedTuple

from hw.boards.catalog import Board
from hw.boards.pins import Site
from hw.memory.ddr3.chips import Ddr3Chip, load_ddr3
from hw.memory.ddr3.core import pad_widths

__all__ = ["BoardDdr3", "ddr3_of", "ddr3_sites"]

_BOARDS = ("orangecrab-25f", "orangecrab-85f")
_CHIP = "mt41k64m16"  # of most boards; some came with a larger one

_PINS = {
    "a": "C4 D2 D3 A3 A4 D4 C3 B2 B1 D1 A7 C2 B6 C1 A2 C7",  # as many of them as the chip has rows for
    "ba": "D6 B7 A6",
    "ras_n": "C12",
    "cas_n": "D13",
    "we_n": "B12",
    "cs_n": "A12",
    "dm": "D16 G16",
    "dq": "C17 D15 B17 C16 A15 B13 A17 A13 F17 F16 G15 F15 J16 C18 H16 F18",
    "dqs_p": "B15 G18",
    "clk_p": "J18",
    "cke": "D18",
    "odt": "C13",
    "reset_n": "L18",
    "vccio": "K16 D17 K15 K17 B18 C6",
    "gnd": "L15 L16",
}
_LEVEL, _PAIR, _SUPPLY = "SSTL135_I", "SSTL135D_I", "SSTL135_II"
_LEVELS = {"dqs_p": _PAIR, "clk_p": _PAIR, "vccio": _SUPPLY, "gnd": _SUPPLY}  # of a pair, the other pin follows
_TERMINATION = {"dq": {"TERMINATION": "OFF"}, "dqs_p": {"TERMINATION": "OFF", "DIFFRESISTOR": "100"}}


class BoardDdr3(NamedTuple):
    """A board's chip, and the pin of each bit of its pads."""

    chip: Ddr3Chip
    pins: dict[str, tuple[str, ...]]


def ddr3_of(board: Board, chip: str | None = None) -> BoardDdr3 | None:
    """The board's DDR3, or None where it has none.

    ``chip``: another one that is soldered in its place, by name.

    Raises:
        InputError: an unknown chip.
    """
    if board.name not in _BOARDS:
        return None
    taken = load_ddr3(chip or _CHIP)
    return BoardDdr3(taken, {name: tuple(_PINS[name].split()[:bits]) for name, bits in pad_widths(taken).items()})


def ddr3_sites(found: BoardDdr3) -> dict[str, Site]:
    """Where each bit of the ports leaves the part, by its name in constraints."""
    sites = {}
    for pad, pins in found.pins.items():
        attributes = {"IO_TYPE": _LEVELS.get(pad, _LEVEL), "SLEWRATE": "FAST", **_TERMINATION.get(pad, {})}
        for bit, pin in enumerate(pins):
            sites[f"ddram_{pad}" + (f"[{bit}]" if len(pins) > 1 else "")] = Site(pin, attributes, False)
    return sites
