"""``tritforge run``: prefill and decode of a model on one machine, op by op."""

import json
from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path

from hw.arithmetics import ARITHMETICS
from hw.artifact import sha256_json
from hw.config import ArrayConfig
from hw.document import validate_document
from hw.errors import InputError
from hw.fields import add_fields, add_job_file, given_fields, options_origin
from hw.organisations import ORGANISATIONS
from hw.pages import screen
from quant.manifest import read_manifest
from quant.shapes import load_shape
from sim.execution import Execution
from sim.job import SimJob
from sim.reports.explain import explain, explanation_json, explanation_lines
from sim.reports.screen import op_table, phase_table, run_json
from sim.reports.timeline import write_timeline
from sim.result import write_result
from sim.simulator import simulate_on, simulate_trace
from sim.trace.build import TraceStatistics
from sim.trace.file import read_trace, write_trace
from sim.workload.job import WorkloadJob, refuse_beside_workload

__all__ = ["add_run"]

_OF_MODELS = ("manifest", "recording", "trace")  # options


def add_run(parser: ArgumentParser) -> None:
    """Options of ``run``."""
    add_job_file(parser, "the job")
    add_fields(parser, SimJob, "model and machine", leave_out=Execution.model_fields)
    machine = parser.add_argument_group("the same lanes otherwise")
    machine.add_argument(
        "--organisation",
        choices=tuple(ORGANISATIONS),
        help="organisation of the same lanes: adder trees, or a systolic grid (default: the array's own)",
    )
    machine.add_argument(
        "--mac",
        choices=tuple(ARITHMETICS),
        help="baseline arithmetic of the same array (default: the array's own)",
    )
    add_fields(parser, Execution, "how the machine runs it")
    add_fields(parser, WorkloadJob, "products instead of a model")
    parser.add_argument("--manifest", type=Path, metavar="FILE", help="manifest.json of a quantized model")
    parser.add_argument(
        "--recording", type=Path, metavar="FOLDER", help="replay this recording for zero fractions and toggles"
    )
    parser.add_argument("--trace", type=Path, metavar="FILE", help="run this trace.json instead of building one")
    parser.add_argument("--save-trace", type=Path, metavar="FILE", help="write the trace here")
    parser.add_argument("--ops", action="store_true", help="print one line per op")
    parser.add_argument("--explain", action="store_true", help="say what bounds each phase and what would help most")
    parser.add_argument("--timeline", type=Path, metavar="FILE", help="write a trace for ui.perfetto.dev here")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write sim.json here")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(run=_run)


def _run(options: Namespace) -> None:
    fields, listed = given_fields(options, SimJob, WorkloadJob)
    workload = validate_document(listed, WorkloadJob, options_origin(options)).load()
    if workload is not None:
        beside = {name: str(getattr(options, name)) for name in _OF_MODELS if getattr(options, name)}
        refuse_beside_workload(fields, beside)
    job = validate_document(fields, SimJob, options_origin(options))
    array, cores = _array(job.load_array(), options), job.core_group
    manifest = read_manifest(options.manifest) if options.manifest else None
    shape = workload or (manifest.shape if manifest else load_shape(job.model))
    if options.trace:
        trace = read_trace(options.trace, shape, array)
    else:
        statistics = _statistics(options.recording, array) if options.recording else None
        trace = job.trace(shape, array, manifest, statistics)
    if options.save_trace:
        write_trace(options.save_trace, trace, array)
    if job.is_split and options.trace:
        raise InputError("trace: must be of one machine; leave out decode_array, decode_memory and decode_cores")
    if job.is_split:
        result = job.simulate(shape, array, manifest, statistics)
    else:
        result = simulate_trace(trace, array, job.load_memory(), cores)
    explanations = explain(result, partial(simulate_on, trace)) if options.explain else []
    if options.out:
        inputs = {
            "shape": shape.sha256,
            "array": array.sha256,
            "memory": sha256_json(result.memory.model_dump()),
        }
        write_result(options.out, result, inputs)
    if options.timeline:
        write_timeline(options.timeline, result)
    if options.json:
        explained = {"explanation": [explanation_json(one) for one in explanations]} if options.explain else {}
        print(json.dumps(run_json(result) | explained, indent=1))
        return
    console = screen()
    console.print(phase_table(result))
    for one in explanations:
        print("\n".join(explanation_lines(one)))
    if options.ops:
        for phase in result.phases:
            console.print(op_table(phase))
    for note in result.notes:
        console.print(f"[dim]- {note}[/dim]")


def _statistics(folder: Path, array: ArrayConfig) -> TraceStatistics:
    """What a recording's operands look like on ``array``."""
    from sim.commands.replay import replayed  # loads what reads checkpoints

    return replayed(folder, array)[1]


def _array(array: ArrayConfig, options: Namespace) -> ArrayConfig:
    """``array`` in the organisation and with the arithmetic that were asked for."""
    if options.organisation not in (None, array.organisation):
        array = array.reorganised(options.organisation)
    return array if options.mac in (None, array.mac) else array.baseline(options.mac)
