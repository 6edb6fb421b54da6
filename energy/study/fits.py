"""Whether an FPGA holds a machine: tables, flip-flops, DSPs and block RAMs that it takes, and that a part has."""

from typing import NamedTuple

from energy.costs.fpga import Elements, FpgaSource, fpga_names, load_fpga
from energy.luts import luts_of
from hw.boards.catalog import BOARDS
from hw.config import ArrayConfig
from hw.errors import did_you_mean
from sim.cores import ONE_CORE, CoreGroup

__all__ = ["Part", "check_fits", "excess", "load_part", "part_names"]

_FAMILIES = {"ecp5": "ecp5", "xc7": "7series", "xcup": "ultrascale+"}  # of boards -> of cost tables


class Part(NamedTuple):
    """A part by the name that it was asked for; ``has``: field of ``Elements`` -> how many, where it is known."""

    name: str
    family: str
    has: dict[str, int]


def part_names() -> list[str]:
    """Boards whose family has a table of costs, then parts of those tables."""
    boards = [board.name for board in BOARDS.values() if board.family in _FAMILIES]
    return [*boards, *(part for family in fpga_names() for part in load_fpga(family).table.parts)]


def check_fits(name: str) -> None:
    """Refuse a name that is neither.

    Raises:
        ValueError: with the names that there are.
    """
    known = part_names()
    if name not in known:
        raise ValueError(f"fits must be one of {', '.join(known)}, not {name!r}{did_you_mean(name, known)}")


def load_part(name: str) -> Part:
    """The part called ``name``, or the one on the board of that name."""
    if name in BOARDS:
        board = BOARDS[name]
        source = load_fpga(_FAMILIES[board.family])
        for part in source.table.parts:
            if board.part.lower().startswith(part.lower()):
                return Part(name, source.table.name, _has(source, part))
        has = {"tables": board.capacity.luts, "flip_flops": board.capacity.flip_flops}
        return Part(name, source.table.name, has | {"block_rams": board.capacity.block_rams})
    for family in fpga_names():
        if name in (source := load_fpga(family)).table.parts:
            return Part(name, family, _has(source, name))
    raise KeyError(name)


def excess(array: ArrayConfig, part: Part, cores: CoreGroup = ONE_CORE) -> str | None:
    """What ``array`` takes beyond ``part``, in words; None: it fits."""
    area = luts_of(array, part.family, cores)
    needed = {what: area.total(what).typical for what in part.has}
    beyond = [
        f"{needed[what]:,.0f} of {there:,} {what.replace('_', ' ')}"
        for what, there in part.has.items()
        if needed[what] > there
    ]
    return f"fits {part.name}: needs {', '.join(beyond)}" if beyond else None


def _has(source: FpgaSource, part: str) -> dict[str, int]:
    return {what: getattr(source.table.parts[part], what) for what in Elements._fields}
