"""``tritforge program``: a quantized model as a memory image and a program for a whole-token machine."""

import json
from argparse import ArgumentParser, Namespace
from collections import Counter
from pathlib import Path
from typing import get_args

from hw.config import load_array
from hw.document import validate_document
from hw.errors import InputError
from hw.fields import add_fields, given_fields
from hw.program.layout import EMBEDDINGS
from hw.program.machine import MachineConfig, machine_around
from hw.program.results import IMAGES, add_size, image_size
from hw.progress import stage_bars
from hw.trit import Packing
from quant.token.job import TokenFormat, TokenJob

__all__ = ["add_program"]

_OUT = Path("build") / "programs"
_JOB_FIELDS = ("method", "options", "checkpoint", "calib", "calibration_windows")


def add_program(parser: ArgumentParser) -> None:
    """Options of ``program``."""
    fields = TokenJob.model_fields
    parser.add_argument("model", metavar="MODEL", help=fields["model"].description)
    parser.add_argument("--array", default="16x16", help="a known array, RxC, or a .yaml file (default: 16x16)")
    parser.add_argument("--lanes", type=int, metavar="N", help="vector lanes, 32 bits of the memory port each; "
                        "by default as few as the array allows")  # fmt: skip
    for name in ("scratch_words", "activation_words", "instruction_lines"):
        flag, field = f"--{name.replace('_', '-')}", MachineConfig.model_fields[name]
        parser.add_argument(
            flag, type=int, default=field.default, metavar="N", help=f"{field.description} (default: {field.default})"
        )
    packing = MachineConfig.model_fields["weight_packing"]
    parser.add_argument(
        "--weight-packing", choices=get_args(Packing), default=packing.default,
        help=f"{packing.description} (default: {packing.default})",
    )  # fmt: skip
    parser.add_argument(
        "--embedding", choices=EMBEDDINGS, default=EMBEDDINGS[0],
        help="where a token's row of the embedding is read: rows = a table of its own as int8; tiles = digits in the "
        "head's weight tiles, or in tiles of its own where the tables differ (default: rows)",
    )  # fmt: skip
    parser.add_argument(
        "--context", type=int, default=256, metavar="N", help="tokens that K and V have room for (default: 256)"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"folder to write into (default: {_OUT}/MODEL-ARRAY)")
    parser.add_argument(
        "--check", type=int, default=0, metavar="N",
        help="run N greedy tokens of the program on its image and of the integer model, and compare",
    )  # fmt: skip
    parser.add_argument(
        "--add", type=Path, nargs="?", const=IMAGES, metavar="FILE",
        help=f"add what the program takes of a memory to a results file (without FILE: {IMAGES})",
    )  # fmt: skip
    left_out = [name for name in fields if name not in _JOB_FIELDS]
    add_fields(parser, TokenJob, leave_out=left_out)
    add_fields(parser, TokenFormat, "number formats")
    parser.add_argument("--json", action="store_true", help="print sizes and files as JSON")
    parser.set_defaults(run=_program)


def _program(options: Namespace) -> None:
    from hw.program.interpreter import Interpreter
    from quant.token.program import ModelProgram  # imports torch

    if options.context < 1:
        raise InputError(f"--context must be at least 1 token, not {options.context}")
    if not 0 <= options.check < options.context:
        raise InputError(f"--check must be 0 to {options.context - 1} tokens, not {options.check}")
    machine = machine_around(
        load_array(options.array), options.lanes, scratch_words=options.scratch_words,
        activation_words=options.activation_words, weight_packing=options.weight_packing,
        instruction_lines=options.instruction_lines,
    )  # fmt: skip
    fields, form = given_fields(options, TokenJob, TokenFormat)
    fields["form"] = validate_document(form, TokenFormat, "options")
    with stage_bars() as report:
        made = ModelProgram.of(fields, options.context, machine, report, options.embedding)
    image, name, job = made.image, made.name, made.run.job
    folder = options.out or _OUT / f"{name}-{options.array.rpartition('/')[2].removesuffix('.yaml')}"
    about = {"model": name, "source": options.model, "method": made.method, "options": job.options}
    about |= {"embedding": options.embedding, "form": job.form.model_dump(mode="json")}
    written = image.write(folder, **about)
    tokens = made.write([1], options.check)
    if options.check and (found := Interpreter(image).write([1], options.check)) != tokens:
        raise RuntimeError(f"the program writes {found}, the integer model {tokens}: a defect")
    if options.add:
        add_size(options.add, image_size(image, about))
    header, used = image.header, Counter(one.operation for one in image.program())
    kept = header.memory_words * machine.word_bytes - len(image.memory)
    if options.json:
        sizes = {"instructions": dict(used), "image_bytes": len(image.memory), "kv_bytes": kept}
        sizes |= {"context": header.context, "configuration": f"{header.config:016x}", "tokens": tokens}
        print(json.dumps({"model": name, **sizes, "files": [str(path) for path in written]}, indent=1))
        return
    print(f"{name} for {machine.array.rows} x {machine.array.cols} lanes, {machine.lanes} vector lanes")
    print(f"  program       {header.instructions:12,} instructions: {', '.join(f'{n} {op}' for op, n in used.items())}")
    print(f"  image         {len(image.memory):12,} bytes")
    print(f"  K and V       {kept:12,} bytes for {header.context} tokens")
    print(f"  configuration {header.config:016x}")
    print(*(f"  {path}" for path in written), sep="\n")
    if options.check:
        print(f"  {options.check} greedy tokens of the program equal the integer model's")
