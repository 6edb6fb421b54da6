"""The result table of one library: which designs are measured with which operands, saved after every measurement."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from hw.artifact import read_artifact, sha256_file, write_artifact
from hw.gates.designs.candidates import FORMATS, Design, operand_kind
from hw.gates.designs.operands import Operands, recorded, synthetic
from hw.gates.flow.cells import Library
from hw.gates.measure import SUM_LENGTH, best

__all__ = ["RESULTS", "SCHEMA", "Point", "points", "read_table", "run_table"]

RESULTS = Path(__file__).parent / "results"
SCHEMA, VERSION = "tritforge.gates", 1
STANDARD_BITS = 20  # accumulator of the main comparison
STANDARD_ZEROS = 0.4
_LANE_CYCLES = 2048
_TREE_CYCLES = 512
_ROWS, _COLS = 16, 4
_OTHER_BITS = (16, 24, 32)
_BASELINE_BITS = 32
_OTHER_ZEROS = (0.3, 0.5, 0.6)


class Point(NamedTuple):
    """One line of the table; ``zero_fraction`` None means recorded operands."""

    design: Design
    zero_fraction: float | None

    @property
    def key(self) -> str:
        """Unique within a table."""
        return f"{self.design.name} zeros {self.zero_fraction if self.zero_fraction is not None else 'recorded'}"


def points(with_recorded: bool) -> Iterator[Point]:
    """All lines; float trees, whose synthesis takes longest, come last."""
    lanes = [Design("lane", name, STANDARD_BITS) for name in FORMATS]
    trees = [Design("tree", name, STANDARD_BITS, _ROWS, _COLS) for name in FORMATS]
    for design in (*lanes, *(tree for tree in trees if "fp" not in tree.format)):
        yield Point(design, STANDARD_ZEROS)
    ternary = (lanes[0], trees[0])
    if with_recorded:
        yield from (Point(design, None) for design in ternary)
    for zeros in _OTHER_ZEROS:
        yield from (Point(design, zeros) for design in ternary)
    for bits in _OTHER_BITS:
        for name in ("ternary", "int8"):
            yield Point(Design("lane", name, bits), STANDARD_ZEROS)
        yield Point(Design("tree", "ternary", bits, _ROWS, _COLS), STANDARD_ZEROS)
    for design in (tree for tree in trees if "fp" in tree.format):
        yield Point(design, STANDARD_ZEROS)
    for name in ("int8", "int2", "int4"):  # the baselines' accumulators
        yield Point(Design("tree", name, _BASELINE_BITS, _ROWS, _COLS), STANDARD_ZEROS)


def read_table(path: Path) -> dict:
    """A result file: ``rows`` by key, and what it was made from.

    Raises:
        InputError: missing, or another schema.
    """
    return read_artifact(path, SCHEMA, VERSION, remedy="measure again: tritforge gates --table --lib PATH")


def run_table(
    library: Library,
    name: str,
    folder: Path,
    cache: Path,
    operand_files: tuple[Path, Path] | None = None,
    progress: Callable[[str, int, int], None] = lambda text, done, total: None,
) -> Path:
    """Measure every point that ``folder/name.json`` does not hold yet; the file is whole after each.

    Points beside the main comparison keep the structure that won it, so that only one thing changes at a time.
    """
    path = folder / f"{name}.json"
    before = read_table(path) if path.is_file() else {"rows": {}, "inputs": {}}
    rows, inputs = before["rows"], before["inputs"] | {"library": library.sha256}
    if operand_files:
        inputs |= {file.name: sha256_file(file) for file in operand_files}
    plan = list(points(operand_files is not None))
    winners = {}
    for done, point in enumerate(plan):
        design = point.design
        family = (design.organisation, design.format)
        if point.key not in rows:
            measured = best(
                design,
                library,
                _operands(point, operand_files),
                cache,
                only=winners.get(family),
                progress=lambda text, at=done: progress(text, at, len(plan)),
            )
            rows[point.key] = measured.row()
            body = {"library": library.name, "voltage": library.voltage, "rows": rows}
            write_artifact(path, SCHEMA, VERSION, body, inputs)
        winners.setdefault(family, rows[point.key]["structure"])
    progress("done", len(plan), len(plan))
    return path


def _operands(point: Point, files: tuple[Path, Path] | None) -> Operands:
    """A new pair every cycle for a lane; tiles of ``SUM_LENGTH`` vectors for an array."""
    design = point.design
    lane = design.organisation == "lane"
    vectors, run = (_LANE_CYCLES, 1) if lane else (_TREE_CYCLES, SUM_LENGTH)
    if point.zero_fraction is None:
        return recorded(*files, vectors, run, design.rows, design.cols)
    return synthetic(operand_kind(design.format), vectors, run, design.rows, design.cols, point.zero_fraction)
