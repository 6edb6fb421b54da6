"""Carry chains of an ECP5 netlist, rewritten so that nextpnr adds no cells at their ends.

nextpnr feeds a constant carry in through a ``CCU2C`` of its own, and leads a carry out that nothing reads through
another: four tables per adder. Here the carry is made in a half that stands before the first bit, where an adder of odd
width has one to spare, and a carry that nothing reads is disconnected.

Ref: nextpnr, ecp5/pack.cc (``split_carry_chain``); Yosys' simulation model of ``CCU2C``: carry out = table's lowest
entries where the table is 0, else carry in. A table of zeros so passes on a constant, whatever its carry in is.
"""

from collections import Counter
from typing import NamedTuple

__all__ = ["shorten_chains"]

_CELL = "CCU2C"
_INPUTS = "ABCD"
_OPEN = ["x"]  # nextpnr wants the port, and takes this for no net
_STARTS = {"0": 0x0000, "1": 0x000F}  # tables that are 0 where C and D are 1, and the carry in their low entries


class _Half(NamedTuple):
    """A bit of a chain: its four inputs, its table as Yosys writes it, its sum."""

    inputs: tuple[list, ...]
    table: str
    total: list


def shorten_chains(netlist: dict) -> int:
    """Rewrite every carry chain of Yosys' JSON ``netlist`` in place, and return how many were.

    A chain is left alone where its carry in is no constant, or its carry out or one inside it has other readers.
    """
    return sum(_shorten(module) for module in netlist["modules"].values())


def _shorten(module: dict) -> int:
    """The chains of one module."""
    cells = {name: cell for name, cell in module["cells"].items() if cell["type"] == _CELL}
    readers = _readers(module)
    by_carry = {cell["connections"]["CIN"][0]: name for name, cell in cells.items()}
    starts = [name for name, cell in cells.items() if cell["connections"]["CIN"][0] in _STARTS]
    shortened = 0
    for start in starts:
        chain = [start]
        while (carry := _carry(cells[chain[-1]])) in by_carry and readers[carry] == 1:
            chain.append(by_carry[carry])
        if readers[_carry(cells[chain[-1]])] == 0 and all(_is_plain(cells[name]) for name in chain):
            _rewrite(module["cells"], chain, readers)
            shortened += 1
    return shortened


def _readers(module: dict) -> Counter:
    """How many inputs of cells, and ports, read each bit."""
    found = Counter(bit for port in module["ports"].values() for bit in port["bits"])
    for cell in module["cells"].values():
        for port, bits in cell["connections"].items():
            if cell["port_directions"].get(port) != "output":
                found.update(bits)
    return found


def _carry(cell: dict) -> object:
    """The net of a cell's carry out; the open one has no readers."""
    return (cell["connections"].get("COUT") or _OPEN)[0]


def _is_plain(cell: dict) -> bool:
    """Both halves take part in the chain."""
    return all(cell["parameters"][f"INJECT1_{half}"].strip() == "NO" for half in (0, 1))


def _halves(cell: dict) -> list[_Half]:
    """The two bits of a cell."""
    ports = cell["connections"]
    return [
        _Half(tuple(ports[f"{port}{half}"] for port in _INPUTS), cell["parameters"][f"INIT{half}"], ports[f"S{half}"])
        for half in (0, 1)
    ]


def _rewrite(cells: dict, chain: list[str], readers: Counter) -> None:
    """Put the carry's half before the bits of ``chain``, and drop what nothing reads behind them."""
    bits = [half for name in chain for half in _halves(cells[name])]
    while len(bits) > 1 and not readers[bits[-1].total[0]]:
        bits.pop()
    table = _STARTS[cells[chain[0]]["connections"]["CIN"][0]]
    halves = [_constant(table), *bits, *([] if len(bits) % 2 else [_constant(_STARTS["0"])])]
    names = [*chain, f"{chain[-1]}$end"][: len(halves) // 2]
    carries = [_OPEN, *([_carry(cells[name])] for name in names[:-1]), _OPEN]
    pattern = cells[chain[0]]
    for name in chain[len(names) :]:
        del cells[name]
    for index, name in enumerate(names):
        ports = {"CIN": carries[index], "COUT": carries[index + 1]}
        tables = {}
        for half, bit in enumerate(halves[2 * index : 2 * index + 2]):
            ports |= {f"{port}{half}": value for port, value in zip(_INPUTS, bit.inputs, strict=True)}
            ports[f"S{half}"] = bit.total
            tables[f"INIT{half}"] = bit.table
        cells[name] = pattern | {"parameters": pattern["parameters"] | tables, "connections": ports}


def _constant(table: int) -> _Half:
    """A half whose carry out is a constant."""
    return _Half((["0"], ["0"], ["1"], ["1"]), f"{table:016b}", _OPEN)
