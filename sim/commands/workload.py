"""``tritforge workload``: the products of a model's step, or of a file, as a file that other simulators read."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from hw.document import validate_document
from hw.errors import InputError
from hw.fields import add_fields, given_fields, options_origin
from hw.pages import screen
from quant.source import resolve
from sim.job import SimJob
from sim.trace.products import phase_products
from sim.workload.job import WorkloadJob, refuse_beside_workload
from sim.workload.products import Workload
from sim.workload.write import FORMATS, write_workload

__all__ = ["add_workload"]

_SIZES = ("model", "prefill", "decode", "batch")
_SUFFIXES = {"csv": ".csv", "scale-sim": ".csv", "zigzag": ".yaml"}


def add_workload(parser: ArgumentParser) -> None:
    """Options of ``workload``."""
    add_fields(parser, SimJob, "a model's step", leave_out=SimJob.model_fields.keys() - set(_SIZES))
    parser.add_argument(
        "--phase", choices=("prefill", "decode"), default="prefill", help="whose step (default: prefill)"
    )
    parser.add_argument(
        "--linears-only",
        action="store_true",
        help="leave out scores and values of attention, whose operands are no weights",
    )
    add_fields(parser, WorkloadJob, "or the products of a file")
    parser.add_argument("--format", choices=tuple(FORMATS), default="csv", help="of the file (default: csv)")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="file to write (default: build/workloads/NAME.csv or .yaml)"
    )
    parser.add_argument("--json", action="store_true", help="print the products as JSON")
    parser.set_defaults(run=_run)


def _run(options: Namespace) -> None:
    workload = _workload(options)
    suffix = _SUFFIXES[options.format]
    out = options.out or Path("build") / "workloads" / f"{workload.name}{suffix}"
    if out.suffix != suffix:
        raise InputError(f"out must end in {suffix} with format {options.format}, not {str(out)!r}")
    write_workload(out, workload, options.format)
    if options.json:
        print(json.dumps(workload.model_dump(mode="json"), indent=1))
        return
    products = sum(one.count for one in workload.products)
    macs = sum(one.count * one.gemm.macs for one in workload.products)
    screen().print(f"wrote {out}: {products} products, {macs:,} multiply-accumulates", style="green", highlight=False)


def _workload(options: Namespace) -> Workload:
    fields, listed = given_fields(options, SimJob, WorkloadJob)
    fields = {name: value for name, value in fields.items() if name in _SIZES}
    if workload := validate_document(listed, WorkloadJob, options_origin(options)).load():
        refuse_beside_workload(fields, {})
        return workload
    job = validate_document(fields, SimJob, options_origin(options))
    if options.phase == "decode" and not job.decode:
        raise InputError("decode must be at least 1 for phase decode, not 0")
    shape = resolve(job.model).shape
    trace = job.model_copy(update={"attention": "vector"}).trace(shape, job.load_array())
    return phase_products(trace, options.phase, attention=not options.linears_only)
