"""CSV of products: ``name,m,n,k``, and SCALE-Sim's topologies of GEMMs and of convolutions.

Ref: SCALE-Sim v2 and v3, ``topology_utils.py``: a convolution's output is ``ceil((size - filter + stride) / stride)``
on each side; a layer whose name has ``DP`` is depthwise, a product per channel; every row may end with a comma.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hw.errors import InputError, did_you_mean
from sim.workload.products import Workload, workload_of

__all__ = ["read_table"]

_NAMES = ("name", "layer", "layer name")
_GEMM = ("m", "n", "k", "count", "sparsity")
_CONVOLUTION = (  # by position, as the published files repeat "IFMAP Width": the spellings of each
    _NAMES,
    ("ifmap height", "ifmap h", "ifmap width"),
    ("ifmap width", "ifmap w"),
    ("filter height", "filter h"),
    ("filter width", "filter w"),
    ("channels", "channel"),
    ("num filter", "num filters"),
    ("strides", "stride", "stride height"),
)
_OPTIONAL = ("stride width", "batch size", "sparsity")  # may follow them
_DENSE = ("", "1:1")  # of SCALE-Sim v3's column of N:M sparsity

Cells = list[str]


def read_table(path: Path, text: str) -> Workload:
    """Products of a CSV, told by its header.

    A row that holds a name alone is the heading of those after it; what follows ``#`` in a row is a comment.

    Raises:
        InputError: an unknown column, a row that lacks one, a size that is no number, by line.
    """
    lines = list(_lines(text))
    if not lines:
        raise InputError(f"{path}: must start with a header such as name,m,n,k, and is empty")
    header = [cell.lower() for cell in lines[0][1]]
    if "m" in header or header[0] not in _NAMES:
        columns = _gemm_columns(path, header)
        rows = _rows(path, lines[1:], columns)
        return workload_of(path.stem, str(path), (_gemm(where, cells) for where, cells in rows))
    columns = _convolution_columns(path, header)
    rows = _rows(path, lines[1:], columns)
    return workload_of(path.stem, str(path), (_convolution(path, where, cells) for where, cells in rows))


def _lines(text: str) -> Iterator[tuple[int, Cells]]:
    """Number and cells of every line that has any, without comments and the empty cells after the last."""
    first = text.lstrip("\ufeff").partition("\n")[0]
    delimiter = next((one for one in ",\t;" if one in first), ",")
    for number, row in enumerate(csv.reader(text.lstrip("\ufeff").splitlines(), delimiter=delimiter), 1):
        cells = [cell.strip() for cell in row]
        comment = next((place for place, cell in enumerate(cells) if cell.startswith("#")), len(cells))
        cells = cells[:comment]
        while cells and not cells[-1]:
            cells.pop()
        if cells:
            yield number, cells


def _gemm_columns(path: Path, header: Cells) -> Cells:
    known = (*_NAMES, *_GEMM)
    for name in header:
        if name not in known:
            raise _unknown(path, name, known)
    for name in ("m", "n", "k"):
        if header.count(name) != 1:
            raise InputError(
                f"{path}: header must have column {name!r} once, as name,m,n,k has, not {','.join(header)}"
            )
    return ["name" if name in _NAMES else name for name in header]


def _convolution_columns(path: Path, header: Cells) -> Cells:
    columns = [names[0] for names in _CONVOLUTION]
    for place, names in enumerate(_CONVOLUTION):
        if place >= len(header):
            raise InputError(f"{path}: header must have column {names[0]!r} after {header[-1]!r}, and ends there")
        if header[place] not in names:
            raise _unknown(path, header[place], [name for one in _CONVOLUTION for name in one])
    for name in filter(None, header[len(columns) :]):
        if name not in _OPTIONAL:
            raise _unknown(path, name, [*columns, *_OPTIONAL])
        columns.append(name)
    return columns


def _unknown(path: Path, name: str, known: Cells | tuple[str, ...]) -> InputError:
    meant = did_you_mean(name, known)
    return InputError(f"{path}: unknown column {name!r}{meant}; known columns: {', '.join(dict.fromkeys(known))}")


def _rows(path: Path, lines: list[tuple[int, Cells]], columns: Cells) -> Iterator[tuple[str, dict[str, str]]]:
    """Where a row stands and its cells by column, headings before names."""
    heading, needed = "", len([name for name in columns if name not in (*_OPTIONAL, "count")])
    for number, cells in lines:
        if len(cells) == 1 and columns[0] == "name":
            heading = f"{cells[0]} / "
            continue
        if not needed <= len(cells) <= len(columns):
            raise InputError(
                f"{path}, line {number}: must have {needed} cells ({', '.join(columns[:needed])}), not {len(cells)}: "
                f"{','.join(cells)}"
            )
        found = dict(zip(columns, cells, strict=False))
        found["name"] = heading + found.get("name", "") if found.get("name") else f"product {number}"
        if found.get("sparsity", "") not in _DENSE:
            raise InputError(
                f"{path}, line {number}: sparsity must be 1:1, not {found['sparsity']!r}; zeros of ternary weights are "
                "no pattern of the array"
            )
        yield f"line {number}", found


def _gemm(where: str, cells: dict[str, str]) -> tuple[str, dict[str, Any]]:
    return where, {name: value for name, value in cells.items() if name != "sparsity" and value}


def _convolution(path: Path, where: str, cells: dict[str, str]) -> tuple[str, dict[str, Any]]:
    """Rows are output pixels, columns filters, and K is a filter's window."""
    sizes = {name: _size(path, where, name, cells[name]) for name in cells.keys() - {"name", "layer", "sparsity"}}
    high, wide, tall, broad = (sizes[names[0]] for names in _CONVOLUTION[1:5])
    channels, filters, stride = (sizes[names[0]] for names in _CONVOLUTION[5:8])
    for side, size, window in (("height", high, tall), ("width", wide, broad)):
        if window > size:
            raise InputError(f"{path}, {where}: filter {side} must be at most IFMAP {side} {size}, not {window}")
    rows = _outputs(high, tall, stride) * _outputs(wide, broad, sizes.get("stride width", stride))
    depthwise = "DP" in cells["name"]
    return where, {
        "name": cells["name"],
        "m": rows * sizes.get("batch size", 1),
        "n": filters,
        "k": tall * broad * (1 if depthwise else channels),
        "count": channels if depthwise else 1,
    }


def _outputs(size: int, window: int, stride: int) -> int:
    return -((window - size - stride) // stride)


def _size(path: Path, where: str, column: str, cell: str) -> int:
    if not cell.isdecimal() or len(cell) > 10 or int(cell) < 1:
        raise InputError(f"{path}, {where}: {column} must be a whole number from 1, not {cell!r}")
    return int(cell)
