"""The file of microGPT's measured rows, and its tables: the log, the sweep, what was placed, the rival."""

from pathlib import Path

from hw.artifact import write_artifact
from hw.document import Record, read_record
from hw.pages import markdown_table
from sim.microgpt.rows import LogRow, RoutedRow, SweepRow

__all__ = [
    "MICROGPT_RESULTS",
    "MICROGPT_TABLES",
    "PARAMETERS",
    "PUBLISHED",
    "add_log_row",
    "add_routed_row",
    "read_results",
    "write_sweep",
]

MICROGPT_RESULTS = Path("docs") / "results" / "microgpt.json"

PARAMETERS = 8280  # of quant.microgpt.model; a test counts them

_SCHEMA, _VERSION = "tritforge.microgpt", 1
_GROUPS = {  # of the log's columns
    "linears, head": ("DEQ", "ARGMAX"),
    "scores, values": ("SCORE", "OACC"),
    "quantization": ("QUANT", "KV"),
    "norms": ("NORM",),
    "softmax": ("EXP", "ONORM"),
    "other": ("LOAD", "ROW", "EMB", "ADD", "ROPE", "WHT", "GLU", "STOP", "END"),
}


class Published(Record):
    """Another project's figures, as its page states them."""

    name: str
    source: str
    first: int  # cycles of a first token
    average: int  # of a name's tokens
    longest: int  # of the token with the longest context
    clock_hz: float
    tables: str
    dsps: int
    device: str
    weights: str
    parameters: int  # counted from its sizes


PUBLISHED = Published(
    name="gateGPT",
    source="github.com/fguzman82/gateGPT, README, commit 04ef76c, tables of results and of the model",
    first=1156,
    average=1321,
    longest=1488,
    clock_hz=80e6,
    tables="15.5 k LUT6",
    dsps=62,
    device="Virtex-5 XC5VLX110T, placed, routed and run",
    weights="16-bit fixed point",
    parameters=8664,
)


class MicroGptResults(Record):
    """Every row, in the order in which the changes were made."""

    log: tuple[LogRow, ...] = ()
    sweep: tuple[SweepRow, ...] = ()
    routed: tuple[RoutedRow, ...] = ()


def add_log_row(path: Path, row: LogRow) -> None:
    """Add a row at the end, or in the place of one of the same change, machine and digits."""
    found = _or_none(path)
    keys = [one.key for one in found.log]
    place = keys.index(row.key) if row.key in keys else len(keys)
    _write(path, found.model_copy(update={"log": (*found.log[:place], row, *found.log[place + 1 :])}))


def add_routed_row(path: Path, row: RoutedRow) -> None:
    """Add a row, in the place of one of the same machine, formats and board; seeds of one Verilog stay together."""
    found, kept = _or_none(path), []
    for one in found.routed:
        if (one.board, *one.measured) != (row.board, *row.measured):
            kept.append(one)
        elif one.verilog_sha256 == row.verilog_sha256:
            row = row.model_copy(update={"mhz": one.mhz | row.mhz})
    _write(path, found.model_copy(update={"routed": (*kept, row)}))


def write_sweep(path: Path, rows: list[SweepRow]) -> None:
    """Replace the sweep."""
    _write(path, _or_none(path).model_copy(update={"sweep": tuple(rows)}))


def _or_none(path: Path) -> MicroGptResults:
    return read_results(path) if path.is_file() else MicroGptResults()


def _write(path: Path, results: MicroGptResults) -> None:
    write_artifact(path, _SCHEMA, _VERSION, results.model_dump(mode="json"), {})


def read_results(path: Path) -> MicroGptResults:
    """Read a results file.

    Raises:
        InputError: missing, damaged, or of another schema.
    """
    return read_record(path, _SCHEMA, _VERSION, MicroGptResults, "measure again: tritforge microgpt --add")


def log_markdown(path: Path) -> str:
    """The optimization log; tokens per second are those of gateGPT's clock."""
    rates = f"tokens/s at {PUBLISHED.clock_hz / 1e6:g} MHz"
    header = ("change", "machine", "cycles per token", rates, *_GROUPS, "equal instructions")
    rows = [
        (
            row.change,
            row.machine,
            f"{row.average:,.0f}",
            f"{PUBLISHED.clock_hz / row.average:,.0f}",
            *(f"{sum(row.cycles.get(name, 0) for name in names):,.0f}" for names in _GROUPS.values()),
            f"{row.instructions:,}",
        )
        for row in read_results(path).log
    ]
    return markdown_table(header, rows)


def sweep_markdown(path: Path) -> str:
    """The machines, fastest first."""
    rows = sorted(read_results(path).sweep, key=lambda row: row.average)
    cells = [
        (row.machine, f"{row.average:,.0f}", f"{row.memory_bytes:,}") for row in rows
    ]  # fmt: skip
    return markdown_table(("machine", "cycles per token", "bytes of memory"), cells)


def routed_markdown(path: Path) -> str:
    """Machines that were placed and routed, fastest first."""
    header = (
        "machine", "board", "LUT4", "flip-flops", "block RAM", "DSP", "bytes of memory", "MHz by seed",
        "cycles per token", "tokens/s at the best seed",
    )  # fmt: skip
    rows = [
        (
            row.machine,
            row.board,
            *(f"{count:,}" for count in (row.tables, row.flip_flops, row.block_rams, row.dsps, row.memory_bytes)),
            ", ".join(f"{mhz:.1f}" for mhz in row.mhz.values()),
            f"{row.average:,.0f}",
            f"{row.rate:,.0f}",
        )
        for row in sorted(read_results(path).routed, key=lambda row: -row.rate)
    ]
    return markdown_table(header, rows)


def rivals_markdown(path: Path) -> str:
    """Beside gateGPT: its published figures, the last row of the log, and the fastest routed machine of its formats."""
    found, other = read_results(path), PUBLISHED
    ours = found.log[-1]
    routed = [row for row in found.routed if row.digits == ours.digits]
    best = max(routed, key=lambda row: row.rate, default=None)
    weights = (
        f"trits with a scale per row; embedding and head in {ours.table_digits} digits; K in {ours.key_digits}, V in "
        f"{ours.value_digits}"
    )
    rows = [
        ("parameters", f"{other.parameters:,}", f"{PARAMETERS:,}"),
        ("weights", other.weights, weights),
        ("activations", "16 bits", "8 bits into the array (the head's 15), 32-bit words between"),
        ("cycles, first token", f"{other.first:,}", f"{ours.first:,}"),
        ("cycles, average", f"{other.average:,}", f"{ours.average:,.0f}"),
        ("cycles, longest context", f"{other.longest:,}", f"{ours.longest:,}"),
        (
            f"tokens/s at {other.clock_hz / 1e6:g} MHz, first token",
            f"{other.clock_hz / other.first:,.0f}",
            f"{other.clock_hz / ours.first:,.0f} (the clock is assumed)",
        ),
        (
            f"tokens/s at {other.clock_hz / 1e6:g} MHz, average",
            f"{other.clock_hz / other.average:,.0f}",
            f"{other.clock_hz / ours.average:,.0f} (the clock is assumed)",
        ),
    ]
    if best:  # whose machine need not be the column's
        mine = "" if best.machine == f"{ours.array}, {ours.lanes} lanes" else f" ({best.machine})"
        rows += [
            ("tokens/s at its own clock, average", f"{other.clock_hz / other.average:,.0f}", f"{best.rate:,.0f}{mine}"),
            ("clock", f"{other.clock_hz / 1e6:g} MHz", f"{max(best.mhz.values()):.1f} MHz{mine}"),
            ("device", other.device, f"FPGA of {best.board} ({best.machine}), placed and routed, not run"),
            ("look-up tables", other.tables, f"{best.tables:,} LUT4{mine}"),
            ("multiplier blocks", f"{other.dsps}", f"{best.dsps}{mine}, none of them in the array"),
        ]
    machine = f"this machine ({ours.array}, {ours.lanes} lanes)"
    return markdown_table(("", f"{other.name}, published", machine), rows)


MICROGPT_TABLES = {
    "microgpt-rivals": lambda: rivals_markdown(MICROGPT_RESULTS),
    "microgpt-routed": lambda: routed_markdown(MICROGPT_RESULTS),
    "microgpt-log": lambda: log_markdown(MICROGPT_RESULTS),
    "microgpt-sweep": lambda: sweep_markdown(MICROGPT_RESULTS),
}
