"""What a board's top level takes and how fast it is: one record, its committed files, its tables."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.box import SIMPLE
from rich.table import Table

from hw.boards.catalog import BOARDS
from hw.errors import InputError
from hw.host.whole.results import runs_markdown
from hw.pages import fill_blocks, markdown_table
from hw.program.results import images_markdown

__all__ = ["RESULTS", "BoardResult", "load_results", "markdown", "result_path", "table"]

RESULTS = Path("docs/results/boards")
_TRIALS = Path("docs/results/board-trials.json")
_HEAD = (
    *("board", "part", "array", "LUT", "FF", "BRAM", "DSP", "clock MHz", "fmax MHz"),
    *("MAC/cycle", "GMAC/s", "LUT/MAC", "kind", "status"),
)
_WHOLE_HEAD = (
    *("board", "machine", "memory", "LUT", "FF", "BRAM", "DSP"),
    *("clock MHz", "fmax MHz", "of seeds", "kind", "status"),
)
_BLOCK_HEAD = ("board", "machine", "block", "LUT", "FF", "BRAM", "DSP")
_MAY_LACK = ("seeds_mhz", "asked_hz", "whole")  # fields of a result
_SHORT = ("board", "array", "LUT", "FF", "BRAM", "DSP", "fmax MHz", "GMAC/s", "LUT/MAC")


@dataclass(frozen=True)
class BoardResult:
    """A board's top level with an array, in cells of its part.

    ``kind`` is "placed and routed" or "estimate after synthesis"; an estimate has no ``fmax_hz``. ``luts``: as nextpnr
    packs them, with carry and RAM cells (ECP5: TRELLIS_COMB, iCE40: logic cells), or LUT cells after synthesis.
    """

    board: str
    part: str
    kind: str
    array: dict[str, object]  # fields of ArrayConfig
    array_sha256: str
    rtlil_sha256: str  # of what was synthesized
    luts: int
    flip_flops: int
    block_rams: float
    dsps: int
    clock_hz: float
    fmax_hz: float | None
    seed: int | None
    tools: list[str]
    seeds_mhz: dict[str, float] | None = None  # what each seed reached, where every one was placed
    asked_hz: float | None = None  # of place and route, where more than the clock
    whole: dict[str, object] | None = None  # of a whole-token machine: lanes, memory, configuration, line

    @property
    def filled(self) -> float:
        """Share of the part's LUTs as its data sheet counts them."""
        return self.luts / BOARDS[self.board].capacity.luts

    @property
    def macs_per_cycle(self) -> int:
        """Lanes."""
        return self.array["rows"] * self.array["cols"]

    @property
    def gmacs_per_s(self) -> float:
        """At the board's clock, every lane busy; 1e9 multiply-accumulates (selected additions) per second."""
        return self.macs_per_cycle * self.clock_hz / 1e9

    @property
    def luts_per_mac(self) -> float:
        """Of the whole top level, link and control included."""
        return self.luts / self.macs_per_cycle

    @property
    def status(self) -> str:
        """How far the bitstream is verified; green, which none is yet, would be a bitstream that ran on its board."""
        return "red" if self.fmax_hz is None or self.fmax_hz < self.clock_hz else "amber"

    def to_json(self) -> dict[str, object]:
        """Every field, and what follows from them."""
        derived = ("macs_per_cycle", "gmacs_per_s", "luts_per_mac")
        kept = {name: value for name, value in asdict(self).items() if value is not None or name not in _MAY_LACK}
        return kept | {name: round(getattr(self, name), 3) for name in derived}

    @classmethod
    def from_json(cls, document: dict) -> "BoardResult":
        """Read ``to_json`` back."""
        return cls(
            **{name: document.get(name) if name in _MAY_LACK else document[name] for name in cls.__dataclass_fields__}
        )


def result_path(board: str, machine: str | None = None) -> Path:
    """Where the result of a board is committed, with its array or with the whole-token machine of that name."""
    return RESULTS / f"{board}{'-' + machine if machine else ''}.json"


def load_results(whole: bool = False) -> list[BoardResult]:
    """The committed results, in the order of the boards; ``whole``: those with a whole-token machine.

    Raises:
        InputError: there are none.
    """
    paths = [
        path for name in BOARDS for path in sorted(RESULTS.glob(f"{name}-whole-*.json" if whole else f"{name}.json"))
    ]
    if not paths:
        raise InputError(f"{RESULTS}: no results; make one with `tritforge bitstream --board NAME --save`")
    return [BoardResult.from_json(json.loads(path.read_text(encoding="utf-8"))) for path in paths]


def _row(result: BoardResult) -> tuple[str, ...]:
    """A result in words, one per column of the table."""
    return (
        result.board,
        result.part,
        f"{result.array['rows']}x{result.array['cols']}",
        f"{result.luts} ({result.filled:.0%})",
        str(result.flip_flops),
        f"{result.block_rams:g}",
        str(result.dsps),
        f"{result.clock_hz / 1e6:g}",
        _clocks(result.seeds_mhz) or _fmax(result),
        str(result.macs_per_cycle),
        f"{result.gmacs_per_s:.2f}",
        f"{result.luts_per_mac:.1f}",
        result.kind,
        result.status,
    )


def _clocks(seeds_mhz: dict[str, float] | None) -> str:
    """MHz of every seed; nothing where they were not all placed."""
    return ", ".join(f"{mhz:.1f}" for mhz in (seeds_mhz or {}).values())


def _fmax(result: BoardResult) -> str:
    """MHz of the placement that is kept."""
    return "-" if result.fmax_hz is None else f"{result.fmax_hz / 1e6:.1f}"


def _whole_row(result: BoardResult) -> tuple[str, ...]:
    """A whole-token machine's result in words."""
    about = result.whole or {}
    return (
        result.board,
        f"{result.array['rows']} x {result.array['cols']}, {about.get('lanes')} lanes",
        f"{about.get('memory')}{_memory_clock(result)}",
        f"{result.luts} ({result.filled:.0%})",
        str(result.flip_flops),
        f"{result.block_rams:g}",
        str(result.dsps),
        f"{result.clock_hz / 1e6:g}",
        _fmax(result),
        _clocks(result.seeds_mhz) or "-",
        result.kind,
        result.status,
    )


def _memory_clock(result: BoardResult) -> str:
    """Of a memory whose clock is not the machine's."""
    ratio = (result.whole or {}).get("memory_ratio", 1)
    return f" at {ratio * result.clock_hz / 1e6:g} MHz" if ratio > 1 else ""


def _block_rows(result: BoardResult) -> list[tuple[str, ...]]:
    """What each block of a whole-token machine's top level takes."""
    blocks = (result.whole or {}).get("blocks", {})
    clock = _memory_clock(result)
    machine = f"{result.array['rows']} x {result.array['cols']}{clock and f', memory{clock}'}"
    kinds = ("tables", "flip_flops", "block_rams", "dsps")
    return [(result.board, machine, name, *(f"{found[kind]:,g}" for kind in kinds)) for name, found in blocks.items()]


def table(results: list[BoardResult]) -> Table:
    """Results on screen: one of them as lines of a column, several with what tells them apart and the clock of
    the slowest seed, to fit 80 columns.
    """
    if len(results) == 1:
        found = Table(show_header=False, box=SIMPLE)
        for line in zip(_HEAD, _row(results[0]), strict=True):
            found.add_row(*line)
        return found
    found = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    for name in (*_SHORT, "kind"):
        found.add_column(name, no_wrap=name == "board")
    for result in results:
        least = f"{min(result.seeds_mhz.values()):.1f}" if result.seeds_mhz else _fmax(result)
        cells = dict(zip(_HEAD, _row(result), strict=True)) | {"fmax MHz": least}
        found.add_row(*(cells[name] for name in _SHORT), result.kind.split()[-1])
    return found


def _trials_markdown() -> str:
    """What each step of the tops' RTL gave, in the order of the steps; a size that comes twice shows what one gave."""
    trials = json.loads(_TRIALS.read_text(encoding="utf-8"))
    rows = []
    for trial in trials["rows"]:
        lanes = math.prod(map(int, trial["array"].split("x")))
        clocks = ", ".join(f"{mhz:.1f}" for mhz in trial["mhz"]) or "-"
        counts = (str(trial["luts"]), f"{trial['luts'] / lanes:.1f}", f"{trial['asked_mhz']:g}")
        rows.append((trials["steps"][trial["step"]], trial["board"], trial["array"], *counts, clocks))
    return markdown_table(("step", "board", "array", "LUT", "LUT/MAC", "asked MHz", "MHz by seed"), rows)


def markdown(page: str, results: list[BoardResult]) -> str:
    """``page`` with its generated block made anew."""
    return fill_blocks(
        page,
        {
            "boards": lambda: markdown_table(_HEAD, [_row(result) for result in results]),
            "board-trials": _trials_markdown,
            "whole-runs": runs_markdown,
            "whole-images": images_markdown,
            "whole-blocks": lambda: markdown_table(
                _BLOCK_HEAD, [row for one in load_results(whole=True) for row in _block_rows(one)]
            ),
            "whole-boards": lambda: markdown_table(_WHOLE_HEAD, [_whole_row(one) for one in load_results(whole=True)]),
        },
        "docs/boards.md",
    )
