"""``python -m sim run``: prefill and decode of a model on an array and a memory."""

import json
from argparse import Namespace, _SubParsersAction
from functools import partial
from pathlib import Path

from rich.console import Console

from hw.arithmetics import ARITHMETICS
from hw.artifact import sha256_json
from hw.config import ArrayConfig, load_array
from hw.document import load_document, validate_document
from hw.errors import InputError
from hw.organisations import ORGANISATIONS
from quant.manifest import read_manifest
from quant.shapes import load_shape
from sim.commands.replay import replayed
from sim.cores import CoreGroup
from sim.execution import Execution
from sim.host import Host
from sim.memory import load_memory
from sim.reports.explain import explain, explanation_json, explanation_lines
from sim.reports.screen import op_table, phase_table, run_json
from sim.reports.timeline import write_timeline
from sim.result import write_result
from sim.simulator import array_formats, simulate_trace
from sim.trace.build import build_trace
from sim.trace.file import read_trace, write_trace

__all__ = ["add_parser"]


def add_parser(commands: _SubParsersAction) -> None:
    """Add ``run`` to the simulator's command line."""
    parser = commands.add_parser("run", help="simulate prefill and decode of a model")
    parser.add_argument("--model", default="llama2-7b", help="a known model or a .yaml file")
    parser.add_argument("--array", default="edge-32x32", help="a known array, RxC, or a .yaml file")
    parser.add_argument(
        "--organisation", choices=tuple(ORGANISATIONS), help="the same lanes as adder trees or as a grid"
    )
    parser.add_argument("--mac", choices=tuple(ARITHMETICS), help="baseline arithmetic of the same array")
    parser.add_argument("--memory", default="lpddr5-6400", help="a known memory or a .yaml file")
    parser.add_argument("--prefill", type=int, default=512, help="prompt tokens per sequence")
    parser.add_argument("--decode", type=int, default=128, help="steps of one token per sequence")
    parser.add_argument("--batch", type=int, default=1, help="sequences")
    parser.add_argument("--kv-bits", type=int, choices=(4, 8, 16), default=16, help="bits of a KV cache element")
    parser.add_argument("--chunk", type=int, metavar="TOKENS", help="prompt tokens of a sequence that run together")
    parser.add_argument("--mixed", type=int, metavar="TOKENS", help="add a step of decode and that much of a prompt")
    parser.add_argument("--fuse", action="store_true", help="one GEMM for q, k and v, and one for gate and up")
    parser.add_argument(
        "--dense-on", choices=("array", "vector"), default="array", help="where attention and lm_head run"
    )
    parser.add_argument("--on-chip", action="store_true", help="weights and KV cache live in the weight buffer")
    parser.add_argument("--single-buffer", action="store_true", help="load no weight tile while another is used")
    parser.add_argument(
        "--mapping", choices=("auto", "tokens", "columns"), default="auto", help="outermost loop of GEMMs"
    )
    parser.add_argument("--token-tile", type=int, metavar="TOKENS", help="tokens of a GEMM under one descriptor")
    parser.add_argument("--prefetch", type=int, metavar="TILES", help="weight tiles that DRAM may be ahead of the bus")
    parser.add_argument("--prefetch-ops", action="store_true", help="fetch the next GEMM's tiles while DRAM is idle")
    parser.add_argument("--place", action="append", default=[], metavar="OP=UNIT", help="array, vector or host, per op")
    parser.add_argument("--host", type=Path, metavar="FILE", help="the host's rates, link and latency as a .yaml file")
    parser.add_argument("--cores", type=int, default=1, help="arrays side by side behind the same buffers and DRAM")
    parser.add_argument(
        "--core-split", choices=("auto", "columns", "rows"), default="auto", help="what cores share out"
    )
    parser.add_argument("--core-link", type=int, metavar="BITS", help="partial sums per cycle from core to core")
    parser.add_argument("--recording", type=Path, metavar="FOLDER", help="replay this recording for the statistics")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="run this trace.json instead of building one")
    parser.add_argument("--save-trace", type=Path, metavar="FILE", help="write the trace here")
    parser.add_argument("--manifest", type=Path, help="manifest.json of a quantized model")
    parser.add_argument("--ops", action="store_true", help="one line per op")
    parser.add_argument("--explain", action="store_true", help="say what bounds each phase and what would help most")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--timeline", type=Path, metavar="FILE", help="write a trace for ui.perfetto.dev here")
    parser.add_argument("--output", type=Path, help="write sim.json here")
    parser.set_defaults(action=_run)


def _run(options: Namespace) -> None:
    array = _array(options)
    manifest = read_manifest(options.manifest) if options.manifest else None
    shape = manifest.shape if manifest else load_shape(options.model)
    execution = _execution(options)
    group = {"count": options.cores, "split": options.core_split, "link_bits": options.core_link}
    cores = validate_document(group, CoreGroup, "cores")
    if options.trace:
        trace = read_trace(options.trace, shape, array)
    else:
        formats = array_formats(array).model_copy(update={"kv_bits": options.kv_bits})
        sizes = options.prefill, options.decode, options.batch
        statistics = replayed(options.recording, array)[1] if options.recording else None
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


def _array(options: Namespace) -> ArrayConfig:
    """The array that was named, in the organisation and with the arithmetic that were asked for."""
    array = load_array(options.array)
    if options.organisation not in (None, array.organisation):
        array = array.reorganised(options.organisation)
    return array if options.mac in (None, array.mac) else array.baseline(options.mac)


def _execution(options: Namespace) -> Execution:
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
    return validate_document(choices, Execution, "run")


def _placed(text: str) -> tuple[str, str]:
    """``op=unit`` as a pair.

    Raises:
        InputError: no equals sign.
    """
    op, equals, unit = text.partition("=")
    if not equals:
        raise InputError(f"place must be OP=UNIT (e.g. lm_head=host), not {text!r}")
    return op, unit
