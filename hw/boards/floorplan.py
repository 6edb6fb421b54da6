"""Where an ECP5 array's operands lie: registers of the vectors are fixed, a line of them for each group of columns.

A placer that sees wires and no plan lays the groups over each other, and a vector's way to its columns is then as long
as the part. Each group gets a strip of the part, of full width together, with its vectors' registers on the line in the
middle, lane by lane; the columns come to lie around them. All else is the placer's.

Ref: Project Trellis, database/ECP5/*/tilegrid.json, for the rows and columns of logic tiles; nextpnr's attribute BEL.
"""

import re
from collections import defaultdict
from itertools import pairwise
from math import ceil
from typing import NamedTuple

from hw.arithmetic.lane import ACTIVATION_BITS
from hw.arithmetic.registers import COLUMNS_PER_COPY, COPY, groups_of
from hw.config import ArrayConfig
from hw.division import ceil_divide

__all__ = ["NAME_OPERANDS", "Die", "die_of", "fix_operands"]

# Synthesis gives what it likes to nets with several names, unless a name is to be kept.
NAME_OPERANDS = "setattr -set keep 1 *array/w:x* *tiles/w:swap* *tiles/w:here*"

_OPERAND = re.compile(rf".*\.array\.x(\d+)(?:{COPY}(\d+))?(?:_(\d+))?")  # lane, group, register of its chain's skew
_FLAG = re.compile(rf".*\.tiles\.(?:here\d+_\d+|swap\d+)(?:(?:{COPY}|_)(\d+))?")  # of a group
_TABLES_PER_LANE = 18  # of a whole top
_TABLES_PER_TILE = 8  # and flip-flops
_FILL = 0.6  # share of a strip's tables that the columns take
_ASIDE = 3  # columns of tiles beside a line, at most, that flags take


class Die(NamedTuple):
    """Logic tiles of a part: columns ``first`` to ``last``, bands of rows with memories or multipliers between."""

    first: int
    last: int
    bands: tuple[range, ...]

    @property
    def columns(self) -> int:
        """Tiles of a row."""
        return self.last - self.first + 1

    def middle(self, tiles: int) -> list[int]:
        """Rows of as many bands in the middle as hold ``tiles``; all where they do not."""
        count = min(len(self.bands), ceil_divide(tiles, self.columns * max(map(len, self.bands))))
        start = (len(self.bands) - count + 1) // 2
        return [row for band in self.bands[start : start + count] for row in band]


def _bands(last: int, between: tuple[int, ...]) -> tuple[range, ...]:
    """Rows 2 to ``last`` without those ``between``."""
    borders = (1, *between, last + 1)
    return tuple(range(low + 1, high) for low, high in pairwise(borders))


_DIES = {
    "LFE5U-12F": Die(2, 70, _bands(48, (13, 25, 37))),
    "LFE5U-25F": Die(2, 70, _bands(48, (13, 25, 37))),
    "LFE5U-45F": Die(2, 88, _bands(69, (10, 22, 34, 46, 58))),
    "LFE5U-85F": Die(2, 124, _bands(93, (10, 22, 34, 46, 58, 70, 82))),
}


def die_of(part: str) -> Die:
    """The die of a part such as ``LFE5U-85F-6BG381C``."""
    return _DIES["-".join(part.split("-")[:2])]


def fix_operands(netlist: dict, config: ArrayConfig, die: Die) -> int:
    """Give registers that all of a group reads a place in Yosys' JSON ``netlist``, and return how many have one.

    These are the last register of every lane's vector, and beside them in the middle those flags of the weight tiles
    that come out of registers: a place behind a table is the table's.

    Raises:
        RuntimeError: the registers of a lane are not found in the netlist.
    """
    top = next(module for module in netlist["modules"].values() if module["attributes"].get("top"))
    registers = {cell["connections"]["Q"][0]: cell for cell in top["cells"].values() if cell["type"] == "TRELLIS_FF"}
    operands, flags = _operands(top), _flags(top, registers)
    rows = die.middle(ceil(config.lanes * _TABLES_PER_LANE / (_TABLES_PER_TILE * _FILL)))
    for group in range(groups_of(config.cols)):
        first = group * COLUMNS_PER_COPY
        middle = first + min(COLUMNS_PER_COPY, config.cols - first) / 2
        line = min(die.first + round(die.columns * middle / config.cols), die.last - _ASIDE)
        for lane in range(config.rows):
            row = lane * len(rows) // config.rows
            place = lane - ceil_divide(row * config.rows, len(rows))  # among the lanes of that row
            bits = operands.get((lane, group), [])
            if len(bits) < ACTIVATION_BITS or not registers.keys() >= set(bits):
                raise RuntimeError(f"no register of every bit of lane {lane}, group {group} in the netlist")
            for number, bit in enumerate(bits):
                _place(registers[bit], line - place, rows[row], number)
        mine = flags[group][-_ASIDE * len(rows) :]  # of many, those by name behind others: the swaps
        around = len(rows) // 2 - min(len(mine), len(rows)) // 2
        for number, flag in enumerate(mine):
            aside, row = divmod(number, len(rows))
            _place(registers[flag], line + 1 + aside, rows[(around + row) % len(rows)], 0)
    return sum("BEL" in cell["attributes"] for cell in registers.values())


def _place(register: dict, column: int, row: int, number: int) -> None:
    """Fix a register to flip-flop ``number`` of a tile."""
    register["attributes"]["BEL"] = f"X{column}/Y{row}/SLICE{'ABCD'[number // 2]}.FF{number % 2}"


def _operands(top: dict) -> dict[tuple[int, int], list[int]]:
    """By lane and group, the nets of the bits behind the last register of the lane's skew."""
    latest: dict[tuple[int, int], tuple[int, list]] = {}
    for name, net in top["netnames"].items():
        if found := _OPERAND.fullmatch(name):
            lane, group, stage = int(found[1]), int(found[2] or 0), int(found[3] or -1)
            latest[lane, group] = max(latest.get((lane, group), (-2, [])), (stage, net["bits"]))
    return {key: bits for key, (_, bits) in latest.items()}


def _flags(top: dict, registers: dict[int, dict]) -> defaultdict[int, list[int]]:
    """By group, the nets of the flags that let its tiles take words and swap, out of registers fed by registers."""
    found: defaultdict[int, dict[int, None]] = defaultdict(dict)
    for name, net in sorted(top["netnames"].items()):
        if match := _FLAG.fullmatch(name):
            flag = net["bits"][0]
            before = registers[flag]["connections"] if flag in registers else {}
            if any(bit in registers for port in ("DI", "M") for bit in before.get(port, [])):
                found[int(match[1] or 0)][flag] = None
    return defaultdict(list, {group: list(nets) for group, nets in found.items()})
