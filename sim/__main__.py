"""``python -m sim``: simulate a model on an array and a memory; list what is known."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from hw.artifact import sha256_json, write_text
from hw.cli import CommandParser, run
from hw.config import ArrayConfig, array_names, load_array
from hw.document import load_document, validate_document
from hw.errors import InputError
from quant.checkpoint import Checkpoint
from quant.manifest import read_manifest
from quant.recording import read_recording
from quant.shapes import load_shape, model_names
from sim.bench import bench
from sim.cores import CoreGroup
from sim.demo_command import add_parser as add_demo
from sim.docs import draw_timeline, load_results, measure, render_file, write_results
from sim.execution import Execution
from sim.explain import explain, explanation_json, explanation_lines
from sim.host import Host
from sim.mappings import MAPPINGS, as_grid, linear_mappings
from sim.memory import load_memory, memory_names, stream_table
from sim.references import ASSUMPTIONS, agreements
from sim.replay import LinearReplay, mean_skipping, recording_origin, replay, replay_statistics
from sim.result import write_result
from sim.screen import op_table, phase_table, run_json
from sim.simulator import array_formats, simulate_trace
from sim.timeline import write_timeline
from sim.trace import TraceStatistics, build_trace
from sim.trace_file import read_trace, write_trace

__all__ = ["main"]


def main(arguments: Sequence[str]) -> None:
    """Dispatch one command line.

    Raises:
        InputError: whatever the user can correct.
    """
    options = _parser().parse_args(arguments)
    match options.command:
        case "run":
            _run(options)
        case "replay":
            _replay(options)
        case "bench":
            _bench(options)
        case "mappings":
            _mappings(options)
        case "docs":
            _docs(options)
        case "references":
            _references(options)
        case "dram":
            _dram(options)
        case "demo":
            _demo(options)
        case _:
            _list(options.command, options.json)


def _parser() -> CommandParser:
    parser = CommandParser(prog="python -m sim", description="Cycle simulator of ternary LLM inference")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    one = commands.add_parser("run", help="simulate prefill and decode of a model")
    one.add_argument("--model", default="llama2-7b", help="a known model or a .yaml file")
    one.add_argument("--array", default="edge-32x32", help="a known array, RxC, or a .yaml file")
    one.add_argument("--organisation", choices=("tree", "systolic"), help="the same lanes as adder trees or as a grid")
    one.add_argument("--mac", choices=("ternary", "int8", "fp16"), help="baseline arithmetic of the same array")
    one.add_argument("--memory", default="lpddr5-6400", help="a known memory or a .yaml file")
    one.add_argument("--prefill", type=int, default=512, help="prompt tokens per sequence")
    one.add_argument("--decode", type=int, default=128, help="steps of one token per sequence")
    one.add_argument("--batch", type=int, default=1, help="sequences")
    one.add_argument("--kv-bits", type=int, choices=(4, 8, 16), default=16, help="bits of a KV cache element")
    one.add_argument("--chunk", type=int, metavar="TOKENS", help="prompt tokens of a sequence that run together")
    one.add_argument("--mixed", type=int, metavar="TOKENS", help="add a step of decode and that much of a prompt")
    one.add_argument("--fuse", action="store_true", help="one GEMM for q, k and v, and one for gate and up")
    one.add_argument("--dense-on", choices=("array", "vector"), default="array", help="where attention and lm_head run")
    one.add_argument("--on-chip", action="store_true", help="weights and KV cache live in the weight buffer")
    one.add_argument("--single-buffer", action="store_true", help="load no weight tile while another is used")
    one.add_argument("--mapping", choices=("auto", "tokens", "columns"), default="auto", help="outermost loop of GEMMs")
    one.add_argument("--token-tile", type=int, metavar="TOKENS", help="tokens of a GEMM under one descriptor")
    one.add_argument("--prefetch", type=int, metavar="TILES", help="weight tiles that DRAM may be ahead of the bus")
    one.add_argument("--prefetch-ops", action="store_true", help="fetch the next GEMM's tiles while DRAM is idle")
    one.add_argument("--place", action="append", default=[], metavar="OP=UNIT", help="array, vector or host, per op")
    one.add_argument("--host", type=Path, metavar="FILE", help="the host's rates, link and latency as a .yaml file")
    one.add_argument("--cores", type=int, default=1, help="arrays side by side behind the same buffers and DRAM")
    one.add_argument("--core-split", choices=("auto", "columns", "rows"), default="auto", help="what cores share out")
    one.add_argument("--core-link", type=int, metavar="BITS", help="partial sums per cycle from core to core")
    one.add_argument("--recording", type=Path, metavar="FOLDER", help="replay this recording for the statistics")
    one.add_argument("--trace", type=Path, metavar="FILE", help="run this trace.json instead of building one")
    one.add_argument("--save-trace", type=Path, metavar="FILE", help="write the trace here")
    one.add_argument("--manifest", type=Path, help="manifest.json of a quantized model")
    one.add_argument("--ops", action="store_true", help="one line per op")
    one.add_argument("--explain", action="store_true", help="say what bounds each phase and what would help most")
    one.add_argument("--json", action="store_true", help="print JSON instead of tables")
    one.add_argument("--timeline", type=Path, metavar="FILE", help="write a trace for ui.perfetto.dev here")
    one.add_argument("--output", type=Path, help="write sim.json here")
    two = commands.add_parser("replay", help="replay a recorded pass: sums bit for bit, zero fractions, toggles")
    two.add_argument("folder", type=Path, help="folder of ternary.safetensors and the recording")
    two.add_argument("--array", default="edge-32x32", help="a known array, RxC, or a .yaml file")
    two.add_argument("--json", action="store_true", help="print JSON instead of a table")
    four = commands.add_parser("bench", help="speed of the simulator, beside SCALE-Sim and ZigZag")
    four.add_argument("--scale-sim", type=Path, metavar="PYTHON", help="a Python that has scalesim==3.0.0")
    four.add_argument("--zigzag", type=Path, metavar="PYTHON", help="a Python that has zigzag-dse==3.9.1 and six")
    four.add_argument("--json", action="store_true", help="print JSON instead of a table")
    five = commands.add_parser("references", help="figures of other simulators and of a chip beside ours")
    five.add_argument("--json", action="store_true", help="print JSON instead of a table")
    seven = commands.add_parser("mappings", help="cycles of a model's linears under every mapping of the same lanes")
    seven.add_argument("--model", default="llama2-7b", help="a known model or a .yaml file")
    seven.add_argument("--array", default="edge-32x32", help="a known array, RxC, or a .yaml file")
    seven.add_argument("--tokens", type=int, default=1, help="tokens that run together; 1 = a decode step")
    seven.add_argument("--json", action="store_true", help="print JSON instead of a table")
    six = commands.add_parser("docs", help="the generated parts of docs/simulator.md")
    six.add_argument("--measure", action="store_true", help="measure the results again")
    six.add_argument("--scale-sim", type=Path, metavar="PYTHON", help="a Python that has scalesim==3.0.0")
    six.add_argument("--zigzag", type=Path, metavar="PYTHON", help="a Python that has zigzag-dse==3.9.1 and six")
    three = commands.add_parser("dram", help="bandwidth of sequential and mixed streams on every memory's banks")
    three.add_argument("--json", action="store_true", help="print JSON instead of a table")
    add_demo(commands)
    for name in ("arrays", "memories", "models"):
        commands.add_parser(name, help=f"list the known {name}").add_argument("--json", action="store_true")
    return parser


def _demo(options) -> None:
    from sim.demo import demo  # loads Amaranth

    demo(options)


def _run(options) -> None:
    array = load_array(options.array)
    if options.organisation == "systolic" and array.organisation != "systolic":
        array = as_grid(array)
    if options.organisation == "tree" and array.organisation != "tree":
        raise InputError(
            f"organisation of array {options.array!r} must be tree to run as one, not {array.organisation}"
        )
    if options.mac is not None and options.mac != array.mac:
        array = array.baseline(options.mac)
    manifest = read_manifest(options.manifest) if options.manifest else None
    shape = manifest.shape if manifest else load_shape(options.model)
    choices = {
        "prefill_chunk": options.chunk,
        "mixed_chunk": options.mixed,
        "fuse_projections": options.fuse,
        "dense_products": options.dense_on,
        "on_chip": options.on_chip,
        "double_buffer": not options.single_buffer,
        "mapping": options.mapping,
        "descriptor_tokens": options.token_tile,
        "prefetch_tiles": options.prefetch,
        "prefetch_across_ops": options.prefetch_ops,
        "placement": dict(_placed(text) for text in options.place),
        "host": load_document(options.host, Host) if options.host else Host(),
    }
    execution = validate_document(choices, Execution, "run")
    group = {"count": options.cores, "split": options.core_split, "link_bits": options.core_link}
    cores = validate_document(group, CoreGroup, "cores")
    formats = array_formats(array).model_copy(update={"kv_bits": options.kv_bits})

    if options.trace:
        trace = read_trace(options.trace, shape, array)
    else:
        sizes = options.prefill, options.decode, options.batch
        statistics = _replayed(options.recording, array)[1] if options.recording else None
        trace = build_trace(shape, *sizes, formats, manifest, statistics, execution)
    if options.save_trace:
        write_trace(options.save_trace, trace, array)
    result = simulate_trace(trace, array, load_memory(options.memory), cores)
    explanations = explain(result, partial(simulate_trace, trace)) if options.explain else []
    if options.output:
        inputs = {
            "shape": shape.sha256,
            "array": array.sha256,
            "memory": sha256_json(result.memory.model_dump()),
        }
        write_result(options.output, result, inputs)
    if options.timeline:
        write_timeline(options.timeline, result)
    if options.json:
        explained = {"explanation": [explanation_json(one) for one in explanations]} if options.explain else {}
        print(json.dumps(run_json(result) | explained, indent=1))
        return
    console = Console()
    console.print(phase_table(result))
    for one in explanations:
        print("\n".join(explanation_lines(one)))
    if options.ops:
        for phase in result.phases:
            console.print(op_table(phase))
    for note in result.notes:
        console.print(f"[dim]- {note}[/dim]")


def _placed(text: str) -> tuple[str, str]:
    """``op=unit`` as a pair.

    Raises:
        InputError: no equals sign.
    """
    op, equals, unit = text.partition("=")
    if not equals:
        raise InputError(f"place must be OP=UNIT (e.g. lm_head=host), not {text!r}")
    return op, unit


def _replayed(folder: Path, array: ArrayConfig) -> tuple[list[LinearReplay], TraceStatistics]:
    """Replay every linear of a recording, with a progress bar on the error stream."""
    recording = read_recording(folder)
    replays = replay(recording, Checkpoint(folder / "ternary.safetensors"), array)
    bar = track(replays, "replay", total=len(recording.linears), console=Console(stderr=True), transient=True)
    done = list(bar)
    return done, replay_statistics(done, recording_origin(recording, array))


def _replay(options) -> None:
    array = load_array(options.array)
    done, statistics = _replayed(options.folder, array)
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
    console = Console()
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


def _dram(options) -> None:
    rows = {name: stream_table(load_memory(name)) for name in memory_names()}
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    table = Table(title="share of the pins' peak bandwidth")
    headings = list(next(iter(rows.values())))
    for heading in ("memory", *headings):
        table.add_column(heading.replace("_", " "), justify="left" if heading == "memory" else "right")
    for name, values in rows.items():
        table.add_row(name, *(f"{values[heading]:.1%}" for heading in headings))
    Console().print(table)


def _references(options) -> None:
    rows = agreements()
    if options.json:
        records = [row._asdict() | {"difference": row.difference} for row in rows]
        print(json.dumps({"rows": records, "assumptions": ASSUMPTIONS}, indent=1))
        return
    table = Table(title="figures of references, and ours on the same machine")
    for heading in ("reference", "what", "theirs", "ours", "difference"):
        table.add_column(heading, justify="left" if heading in ("reference", "what") else "right")
    for row in rows:
        theirs, ours = f"{row.theirs:,.7g} {row.unit}", f"{row.ours:,.7g}"
        table.add_row(row.reference, row.what, theirs, ours, f"{row.difference:+.2%}")
    console = Console()
    console.print(table)
    for reference, lines in ASSUMPTIONS.items():
        for line in lines:
            console.print(f"[dim]- {reference}: {line}[/dim]")


def _mappings(options) -> None:
    rows = linear_mappings(load_shape(options.model), load_array(options.array), options.tokens)
    if options.json:
        print(json.dumps([row._asdict() | {"best": row.best} for row in rows], indent=1))
        return
    table = Table(title=f"cycles of {options.tokens} tokens on {options.array}, memory never waiting")
    table.add_column("mapping")
    for row in rows:
        table.add_column(f"{row.kind}\n{row.gemm.m} x {row.gemm.n} x {row.gemm.k}", justify="right")
    for mapping in MAPPINGS:
        table.add_row(mapping, *(f"{row.cycles[mapping]:,}{' *' if mapping == row.best else ''}" for row in rows))
    Console().print(table)


def _docs(options) -> None:
    results_path, page = Path("docs/results/simulator.json"), Path("docs/simulator.md")
    if options.measure:
        write_results(results_path, measure(options.scale_sim, options.zigzag))
        draw_timeline(Path("docs/images/timeline.svg"))
    write_text(page, render_file(page, load_results(results_path)))


def _bench(options) -> None:
    rows, peak_bytes = bench(options.scale_sim, options.zigzag)
    if options.json:
        print(json.dumps({"rows": [row._asdict() for row in rows], "peak_bytes": peak_bytes}, indent=1))
        return
    table = Table(title="speed, kernels compiled, nothing remembered between rows")
    for heading in ("what", "wall ms", "cycles", "cycles/s", ""):
        table.add_column(heading, justify="left" if heading in ("what", "") else "right")
    for row in rows:
        rate = f"{row.cycles / row.wall_s:.1e}"
        table.add_row(row.what, f"{row.wall_s * 1e3:.1f}", f"{row.cycles:,}", rate, row.note)
    console = Console()
    console.print(table)
    console.print(f"peak memory {peak_bytes / 2**20:.0f} MiB")


def _list(what: str, as_json: bool) -> None:
    names = {"arrays": array_names, "memories": memory_names, "models": model_names}[what]()
    print(json.dumps(names) if as_json else "\n".join(names))


if __name__ == "__main__":
    run(main)
