"""Simulated budgets of compiled programs: what a token takes on a machine behind a memory, a row for each of them."""

import json
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from hw.artifact import write_artifact
from hw.document import Record, read_record
from hw.errors import InputError
from hw.pages import markdown_table, with_options
from hw.program.image import CONFIG_FILE, Image
from hw.trit import Packing
from quant.manifest import trits_of
from sim.token.budget import Budget
from sim.token.memory import TokenMemory
from sim.token.results import GROUPS

__all__ = ["PROGRAM_BUDGETS", "ProgramBudget", "add_program_budget", "program_budgets_markdown", "read_program_budgets"]

PROGRAM_BUDGETS = Path("docs") / "results" / "program-budgets.json"

_SCHEMA, _VERSION = "tritforge.program-budgets", 1
_HEAD = (
    *("model", "machine", "digits of table, K, V", "embedding", "memory", "machine MHz", "context", "position"),
    *("cycles per token", "tokens/s"),
    *GROUPS,
    "array busy",
)


class ProgramBudget(Record):
    """Cycles of one token by operation; ``sim.token.cycles`` computes them, nothing has run."""

    model: str
    method: str
    options: dict[str, float | int | str | bool | None] = {}  # of the method
    machine: str  # rows x columns of the array
    lanes: int  # of the vector unit
    machine_options: dict[str, int] = {}  # other fields of the machine that are not their defaults
    weight_packing: Packing
    embedding: str
    table_digits: int
    key_digits: int
    value_digits: int
    rotate: bool = True  # q and k, by the Walsh-Hadamard transform
    image_bytes: int
    context: int
    block: int = 64  # tokens, of the softmax
    position: int  # tokens in front of the one that is counted
    latency: int  # of a pattern; 0 with a chip
    word_edges: int
    chip: str  # SDRAM behind its controller
    clock_mhz: float  # of the machine
    memory_ratio: int  # of the chip's clock to that
    cycles: dict[str, float]
    busy: float  # share of edges on which the array takes a vector in

    @classmethod
    def of(cls, folder: Path, image: Image, memory: TokenMemory, position: int, budget: Budget) -> Self:
        """The row of a program in ``folder``.

        Raises:
            InputError: the folder does not say whose program it is.
        """
        machine, array = image.machine, image.machine.array
        try:
            about: dict[str, Any] = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
            return cls(
                **{name: about[name] for name in ("model", "method", "embedding")},
                options=about.get("options", {}),
                **{name: about["form"][name] for name in ("table_digits", "key_digits", "value_digits", "rotate")},
                machine=f"{array.rows} x {array.cols}",
                lanes=machine.lanes,
                machine_options=machine.own_options,
                weight_packing=machine.weight_packing,
                image_bytes=len(image.memory),
                context=image.header.context,
                block=1 << image.header.block_bits,
                position=position,
                latency=memory.latency,
                word_edges=memory.word_edges,
                chip=memory.chip.name if memory.chip else "",
                clock_mhz=memory.clock_hz / 1e6,
                memory_ratio=memory.ratio,
                cycles={row.operation: row.cycles for row in budget.rows},
                busy=budget.busy,
            )
        except (KeyError, TypeError, ValidationError) as error:
            raise InputError(
                f"{folder / CONFIG_FILE}: must name model, method, embedding and form for --add, as "
                f"`tritforge program` writes them ({type(error).__name__})"
            ) from None

    @property
    def key(self) -> tuple[object, ...]:
        """What a later budget replaces, in the order of the table."""
        rows, columns = (int(size) for size in self.machine.split(" x "))
        machine = rows * columns, rows, self.lanes, self.weight_packing, str(self.machine_options), self.embedding
        digits = self.table_digits, self.key_digits, self.value_digits, not self.rotate
        memory = self.chip, self.clock_mhz * self.memory_ratio, self.memory_ratio, self.latency, self.word_edges
        tokens = self.context, self.block, self.position
        return self.model, self.method, str(self.options), *machine, *digits, *memory, *tokens

    @property
    def memory(self) -> str:
        """In words."""
        if self.chip:
            return f"{self.chip} at {self.clock_mhz * self.memory_ratio:g} MHz"
        edges = f"{self.word_edges} edges" if self.word_edges > 1 else "edge"
        return f"latency {self.latency}, a word per {edges}"


class _Budgets(Record):
    """All of them."""

    rows: tuple[ProgramBudget, ...] = ()


def add_program_budget(path: Path, row: ProgramBudget) -> None:
    """Add a row, in the place of one of the same program and memory."""
    kept = [one for one in (read_program_budgets(path) if path.is_file() else ()) if one.key != row.key]
    rows = tuple(sorted([*kept, row], key=lambda one: one.key))
    write_artifact(path, _SCHEMA, _VERSION, _Budgets(rows=rows).model_dump(mode="json"), {})


def read_program_budgets(path: Path = PROGRAM_BUDGETS) -> tuple[ProgramBudget, ...]:
    """The committed rows.

    Raises:
        InputError: missing, damaged, or of another schema.
    """
    return read_record(path, _SCHEMA, _VERSION, _Budgets, "count again: tritforge budget DIR --add").rows


def program_budgets_markdown(path: Path = PROGRAM_BUDGETS) -> str:
    """The rows as a Markdown table; shares are of a token's cycles."""
    rows = []
    for row in read_program_budgets(path):
        total = sum(row.cycles.values())
        shares = [sum(row.cycles.get(name, 0) for name in names) / total for names in GROUPS.values()]
        packing = ", five trits a byte" if row.weight_packing == "5in8" else ""
        rows.append(
            (
                trits_of(row.model, row.method, row.options),
                with_options(f"{row.machine}, {row.lanes} lanes{packing}", row.machine_options),
                f"{row.table_digits}, {row.key_digits}, {row.value_digits}" + ("" if row.rotate else ", not rotated"),
                row.embedding,
                row.memory,
                f"{row.clock_mhz:g}",
                f"{row.context}, blocks of {row.block}",
                str(row.position),
                f"{total:,.0f}",
                f"{row.clock_mhz * 1e6 / total:,.2f}",
                *(f"{100 * share:.1f} %" for share in shares),
                f"{100 * row.busy:.1f} %",
            )
        )
    return markdown_table(_HEAD, rows)
