"""Energy of a token on boards with a whole-token machine: what was placed, all active, over the cycles of a run."""

from energy.costs.tables import Cost
from energy.reports.sources.fpga import ends_text, published_power
from hw.boards.results import BoardResult, load_results
from hw.host.whole.results import RUNS, WholeRun, read_runs
from hw.pages import markdown_table

__all__ = ["board_watts", "token_energy_table"]

_FAMILY = "ecp5"
_DIES = {"LFE5U-12F": "LFE5U-25F", "LFE5U-25F": "LFE5U-25F", "LFE5U-45F": "LFE5U-45F", "LFE5U-85F": "LFE5U-85F"}
_HEAD = ("board", "machine", "model", "W", "tokens/s", "mJ per token", "without static power")


def board_watts(placed: BoardResult, clock_hz: float, static: bool = True) -> Cost | None:
    """Power of the FPGA at a clock, W, its I/O and the SDRAM aside; None for families without figures."""
    die = next((whole for begin, whole in _DIES.items() if placed.part.startswith(begin)), None)
    if die is None:
        return None
    return published_power(
        {
            "family": _FAMILY, "part": die if static else None, "clock_hz": clock_hz, "tables": placed.luts,
            "flip_flops": placed.flip_flops, "dsps": placed.dsps, "block_rams": placed.block_rams,
        }
    )  # fmt: skip


def token_energy_table() -> str:
    """Every run whose array and lanes have been placed on its board; buffers may be of other sizes."""
    placed = {_machine(one): one for one in load_results(whole=True)}
    rows = (_row(run, placed.get((run.board, run.machine, run.lanes))) for run in read_runs(RUNS))
    return markdown_table(_HEAD, [row for row in rows if row])


def _machine(placed: BoardResult) -> tuple[str, str, object]:
    """Board, array and lanes, as a run has them."""
    return placed.board, f"{placed.array['rows']} x {placed.array['cols']}", (placed.whole or {}).get("lanes")


def _row(run: WholeRun, placed: BoardResult | None) -> tuple[str, ...] | None:
    """A run in words, where there are figures for it."""
    watts = board_watts(placed, run.clock_hz) if placed else None
    if placed is None or watts is None:
        return None
    active = board_watts(placed, run.clock_hz, static=False)
    assert active is not None
    token_mj = 1e3 / run.tokens_per_s
    machine = f"{run.machine}, {run.lanes} lanes"
    energies = (ends_text(cost.scaled(token_mj)) for cost in (watts, active))
    return run.board, machine, run.model, ends_text(watts), f"{run.tokens_per_s:.2f}", *energies
