"""``tritforge replay``: a recorded pass on the array, its sums bit for bit and what its operands look like."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from rich.table import Table

from hw.config import ArrayConfig, load_array
from hw.pages import screen
from hw.progress import stage_bars
from quant.recording import read_recording
from quant.weights.checkpoint import Checkpoint
from sim.replay import LinearReplay, mean_skipping, recording_origin, replay, replay_statistics
from sim.trace.build import TraceStatistics

__all__ = ["add_replay", "replayed"]


def add_replay(parser: ArgumentParser) -> None:
    """Options of ``replay``."""
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="folder of ternary.safetensors and the recording (tritforge quant)"
    )
    parser.add_argument(
        "--array", default="edge-32x32", help="a known array, RxC, or a .yaml file (default: edge-32x32)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=_replay)


def replayed(folder: Path, array: ArrayConfig) -> tuple[list[LinearReplay], TraceStatistics]:
    """Replay every linear of a recording, with a progress bar on the error stream.

    Raises:
        InputError: no recording, or one of another checkpoint.
    """
    recording = read_recording(folder)
    done: list[LinearReplay] = []
    with stage_bars() as report:
        for one in replay(recording, Checkpoint(folder / "ternary.safetensors"), array):
            done.append(one)
            report("replay on the array", len(done), len(recording.linears))
    return done, replay_statistics(done, recording_origin(recording, array))


def _replay(options: Namespace) -> None:
    array = load_array(options.array)
    done, statistics = replayed(options.folder, array)
    skipping = mean_skipping(done)
    if options.json:
        records = {phase: {kind: s.model_dump() for kind, s in kinds.items()} for phase, kinds in statistics.items()}
        print(json.dumps(records | {"skipping": skipping._asdict() | {"speed_bound": skipping.speed_bound}}))
        return
    table = Table(title=next(iter(statistics["prefill"].values())).origin + ", sums equal to the bit")
    headings = ("linear", "zero trits", "toggles in prefill", "in decode", "of the activations", "in decode")
    for heading in (*headings, "clocks that may rest", "in decode"):
        table.add_column(heading, justify="left" if heading == "linear" else "right")
    for kind, prefill in statistics["prefill"].items():
        decode = statistics["decode"][kind]
        rates = (prefill.zero_fraction, prefill.toggle_rate, decode.toggle_rate)
        entered = (prefill.input_toggle_rate, decode.input_toggle_rate)
        steady = (prefill.steady_operands, decode.steady_operands)
        table.add_row(kind, *(f"{rate:.3f}" for rate in rates + entered + steady))
    console = screen()
    console.print(table)
    console.print(
        f"skipping zeros: {skipping.empty_tiles:.1%} of the tiles are empty; a tile's fullest column holds "
        f"{skipping.fullest_column:.0%} nonzero trits, so columns that add only those are at most "
        f"{skipping.speed_bound:.2f} times faster"
    )
    console.print(
        "gating clocks: the last two columns are the share of issues in which a lane's operand stays as it was, "
        "zero trits among them; make sim COSTS=gates:... says what that is worth"
    )
