"""Measured memory controllers: a row per controller, chip, clock, word and traffic."""

from pathlib import Path

from hw.artifact import write_artifact
from hw.document import Record, read_record
from hw.pages import markdown_table

__all__ = ["MEMORY_RESULTS", "MemoryRecord", "add_memory_rows", "memory_markdown", "memory_rows"]

MEMORY_RESULTS = Path("docs") / "results" / "memory-controller.json"

_SCHEMA, _VERSION = "tritforge.memory-controller", 1
_HEADER = (
    "controller", "chip", "clock", "CL", "word", "traffic", "words", "of peak", "MB/s", "first word",
    "commands checked", "broken rules", "wrong words",
)  # fmt: skip


class MemoryRecord(Record):
    """Traffic on one controller and one simulated chip that checks every command."""

    controller: str
    chip: str
    clock_hz: float
    cas: int
    word_bits: int
    traffic: str
    words: int  # read
    written: int
    edges: int  # from the end of the initialisation to the last word
    efficiency: float  # share of the edges on which data moved
    bytes_per_s: float
    first_edges: float  # from a request's offer to its first word, on average
    commands: dict[str, int]  # that the chip checked; none where it does not count them
    violations: int
    messages: tuple[str, ...]  # the first breach of each rule
    wrong: int  # words
    ratio: int = 1  # of the chip's clock to the port's

    @property
    def key(self) -> tuple[object, ...]:
        """What a later measurement replaces."""
        return self.chip, self.clock_hz, self.word_bits, self.traffic, self.controller, self.cas, self.ratio


class MemoryResults(Record):
    """Every row that was measured."""

    rows: tuple[MemoryRecord, ...] = ()


def add_memory_rows(path: Path, rows: list[MemoryRecord]) -> None:
    """Add rows, in the place of those of the same controller, chip, clock, word and traffic."""
    kept = {row.key: row for row in (memory_rows(path) if path.is_file() else ())}
    kept |= {row.key: row for row in rows}
    body = MemoryResults(rows=tuple(kept[key] for key in sorted(kept))).model_dump(mode="json")
    write_artifact(path, _SCHEMA, _VERSION, body, {})


def memory_rows(path: Path) -> tuple[MemoryRecord, ...]:
    """The rows of a results file.

    Raises:
        InputError: a file that is not one.
    """
    remedy = "measure again: tritforge memory --chip CHIP --save"
    return read_record(path, _SCHEMA, _VERSION, MemoryResults, remedy).rows


def memory_markdown(rows: tuple[MemoryRecord, ...] | list[MemoryRecord]) -> str:
    """The rows as a Markdown table."""
    return markdown_table(
        _HEADER,
        [
            (
                row.controller, row.chip,
                f"{row.clock_hz / 1e6:g} MHz" + (f", port 1/{row.ratio}" if row.ratio > 1 else ""), str(row.cas),
                f"{row.word_bits} bit",
                row.traffic,
                f"{row.words + row.written:,}", f"{100 * row.efficiency:.1f} %", f"{row.bytes_per_s / 1e6:.1f}",
                f"{row.first_edges:.1f}" if row.first_edges else "-",
                f"{sum(row.commands.values()):,}" if row.commands else "-", str(row.violations), str(row.wrong),
            )
            for row in rows
        ],
    )  # fmt: skip
