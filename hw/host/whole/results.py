"""Committed runs of models on boards with a whole-token machine: how fast, from the line to the token."""

from pathlib import Path
from typing import Literal

from hw.artifact import write_artifact
from hw.document import Record, read_record
from hw.host.whole.protocol import frame_bytes
from hw.pages import markdown_table

__all__ = ["RUNS", "WholeRun", "add_run", "read_runs", "runs_markdown"]

RUNS = Path("docs") / "results" / "whole-boards.json"

_SCHEMA, _VERSION = "tritforge.whole-boards", 1
_LINE_BITS = 10  # of a byte on the line: start, eight, stop
_HEAD = (
    *("board", "model", "machine", "memory", "clock MHz", "tokens", "cycles per token", "tokens/s"),
    *("image MB", "load s", "first token s", "played on"),
)


class WholeRun(Record):
    """A prompt and tokens behind it, every one equal to the program's golden interpreter."""

    board: str
    model: str
    machine: str  # rows x columns of the array
    lanes: int
    packing: str  # of weights in memory
    memory: str
    clock_hz: float
    baud: int
    configuration: str
    image_bytes: int
    word_bytes: int
    prompt: int  # tokens
    tokens: int  # written behind it
    first_cycles: int  # the whole prompt's, to the first token
    cycles: float  # of every token behind the first, on average
    played_on: Literal["board", "simulated board"]

    @property
    def key(self) -> tuple[str, ...]:
        """What a later run replaces."""
        return self.board, self.model, self.machine, self.memory, self.packing

    @property
    def tokens_per_s(self) -> float:
        """By the board's clock."""
        return self.clock_hz / self.cycles

    @property
    def load_s(self) -> float:
        """Of the image into an empty memory: frames at the line's rate, and two sums of a byte per clock cycle."""
        line = _LINE_BITS * frame_bytes(self.image_bytes, self.word_bytes) / self.baud
        return line + 2 * self.image_bytes * (1 + 1 / self.word_bytes) / self.clock_hz

    @property
    def first_token_s(self) -> float:
        """From an empty memory to the first token."""
        return self.load_s + self.first_cycles / self.clock_hz


class _Runs(Record):
    """Every run."""

    rows: tuple[WholeRun, ...] = ()


def add_run(path: Path, run: WholeRun) -> None:
    """Add a run, in the place of one of the same board, model, machine and memory."""
    kept = [one for one in (read_runs(path) if path.is_file() else ()) if one.key != run.key]
    rows = tuple(sorted([*kept, run], key=lambda one: one.key))
    write_artifact(path, _SCHEMA, _VERSION, _Runs(rows=rows).model_dump(mode="json"), {})


def read_runs(path: Path = RUNS) -> tuple[WholeRun, ...]:
    """The committed runs.

    Raises:
        InputError: missing, damaged, or of another schema.
    """
    return read_record(path, _SCHEMA, _VERSION, _Runs, "measure again: tritforge host --whole DIR --check --add").rows


def runs_markdown(path: Path = RUNS) -> str:
    """The runs as a Markdown table."""
    return markdown_table(_HEAD, [_row(run) for run in read_runs(path)])


def _row(run: WholeRun) -> tuple[str, ...]:
    """A run in words."""
    return (
        run.board,
        run.model,
        f"{run.machine}, {run.lanes} lanes, {run.packing}",
        run.memory,
        f"{run.clock_hz / 1e6:g}",
        f"{run.prompt} + {run.tokens}",
        f"{run.cycles:,.0f}",
        f"{run.tokens_per_s:.2f}",
        f"{run.image_bytes / 1e6:.2f}",
        f"{run.load_s:.1f}",
        f"{run.first_token_s:.1f}",
        run.played_on,
    )
