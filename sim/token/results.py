"""Measured token budgets: what a model took on the Verilated machine, a row per model, machine and memory."""

from pathlib import Path

from hw.artifact import write_artifact
from hw.document import Record, read_record
from hw.pages import markdown_table
from hw.trit import Packing
from quant.manifest import trits_of

__all__ = [
    "BUDGET_RESULTS",
    "GROUPS",
    "BudgetRecord",
    "add_budget_row",
    "budget_markdown",
    "read_budget_results",
]

BUDGET_RESULTS = Path("docs") / "results" / "token-machine.json"

_SCHEMA, _VERSION = "tritforge.token-machine", 1
GROUPS = {  # of the table's columns
    "linears": ("DEQ",),
    "head": ("ARGMAX",),
    "scores, values": ("SCORE", "OACC"),
    "loads": ("LOAD", "ROW"),
    "quantization": ("QUANT", "KV"),
    "other vector work": ("NORM", "EXP", "ONORM", "WHT", "ROPE", "GLU", "EMB", "ADD", "STOP", "END"),
}


class BudgetRecord(Record):
    """Tokens that a model wrote on the machine, all equal to the integer model's, and their average budget."""

    model: str
    method: str
    options: dict[str, float | int | str | bool | None]
    machine: str  # rows x columns of the array
    lanes: int  # of the vector unit
    weight_packing: Packing = "2bit"
    key_digits: int = 5  # rows that do not say it are of the command's defaults
    value_digits: int = 5
    table_digits: int = 4
    latency: int  # of the memory; 0 with a chip
    word_edges: int = 1  # of which one gives or takes a memory word; 0 with a chip
    chip: str = ""  # SDRAM behind its controller
    clock_mhz: float = 62.5  # of tokens per second
    memory_ratio: int = 1  # of a chip's clock to that
    context: int
    prompt: int  # tokens
    tokens: int  # written behind it
    instructions: int  # whose cycles on the RTL equal the simulator's, prompt included
    cycles: dict[str, float]  # of a written token on average, by operation
    busy: float  # share of edges on which the array takes a vector in

    @property
    def key(self) -> tuple[object, ...]:
        """What a later measurement replaces."""
        machine = self.machine, self.lanes, self.weight_packing, self.latency, self.context, self.word_edges
        chip = self.chip, self.clock_mhz, self.memory_ratio
        digits = self.key_digits, self.value_digits, self.table_digits
        return self.model, self.method, str(self.options), *machine, *digits, *chip


class BudgetResults(Record):
    """Every row that was measured."""

    rows: tuple[BudgetRecord, ...] = ()


def add_budget_row(path: Path, row: BudgetRecord) -> None:
    """Add a row, in the place of one of the same model, machine and memory."""
    rows = read_budget_results(path).rows if path.is_file() else ()
    kept = [one for one in rows if one.key != row.key]
    body = BudgetResults(rows=tuple(sorted([*kept, row], key=lambda one: one.key))).model_dump(mode="json")
    write_artifact(path, _SCHEMA, _VERSION, body, {})


def budget_markdown(path: Path) -> str:
    """The rows as a Markdown table; shares are of a token's cycles."""
    header = ("model, trits", "machine", "tokens", "equal instructions", "cycles per token", "tokens/s")
    header += (*GROUPS, "array busy")
    rows = []
    for row in read_budget_results(path).rows:
        total = sum(row.cycles.values())
        shares = [sum(row.cycles.get(name, 0) for name in names) / total for names in GROUPS.values()]
        rows.append(
            (
                trits_of(row.model, row.method, row.options),
                _machine(row),
                f"{row.prompt} + {row.tokens}",
                f"{row.instructions:,}",
                f"{total:,.0f}",
                f"{_rate(row.clock_mhz * 1e6 / total)} at {row.clock_mhz:g} MHz",
                *(f"{100 * share:.1f} %" for share in shares),
                f"{100 * row.busy:.1f} %",
            )
        )
    return markdown_table(header, rows)


def _rate(per_second: float) -> str:
    """Four digits, or all in front of the point: never an exponent."""
    return f"{per_second:,.0f}" if per_second >= 1000 else f"{per_second:.4g}"


def _machine(row: BudgetRecord) -> str:
    """Array, lanes and memory, and what is not as the command has it by default."""
    packing = ", five trits a byte" if row.weight_packing == "5in8" else ""
    digits = {"K": "key_digits", "V": "value_digits", "table": "table_digits"}
    other = [
        f", {name} in {getattr(row, field)} digits"
        for name, field in digits.items()
        if getattr(row, field) != BudgetRecord.model_fields[field].default
    ]
    words = f", a word in {row.word_edges} edges" if row.word_edges > 1 else ""
    faster = f" at {row.memory_ratio} x the clock" if row.memory_ratio > 1 else ""
    memory = f"SDRAM {row.chip}{faster}" if row.chip else f"latency {row.latency}{words}"
    return f"{row.machine}, {row.lanes} lanes, {memory}{packing}{''.join(other)}"


def read_budget_results(path: Path) -> BudgetResults:
    """Read a results file.

    Raises:
        InputError: missing, damaged, or of another schema.
    """
    return read_record(path, _SCHEMA, _VERSION, BudgetResults, "measure again: tritforge demo --whole MODEL --add")
