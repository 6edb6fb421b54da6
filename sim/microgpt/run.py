"""``tritforge microgpt`` carried out: train, compile, write names on the RTL, compare, and print."""

import hashlib
import json
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hw.artifact import atomic_folder, check_results_file, sha256_json, write_artifact
from hw.document import Record, read_record, validate_document
from hw.errors import InputError
from hw.fields import given_fields
from hw.progress import stage_bars
from hw.synthesis.command import seeds_of
from quant.microgpt.names import LETTERS, read_names
from quant.microgpt.sizes import CONTEXT
from quant.microgpt.training import Training
from sim.microgpt.choice import MachineChoice
from sim.microgpt.program import microgpt_program
from sim.microgpt.results import PUBLISHED, add_log_row, read_results, write_sweep
from sim.microgpt.route import check_route, route
from sim.microgpt.rows import LogRow, SweepRow
from sim.token.budget import Budget, budget_lines, budget_of
from sim.token.memory import check_memory

if TYPE_CHECKING:
    from quant.token.program import ModelProgram

__all__ = ["microgpt"]

_ARRAYS = ("8x4", "8x8", "16x8", "16x16", "32x8", "32x16", "32x32")  # --sweep
_LANES = (2, 4, 8)
_FOUND = "training.json"


class _Found(Record):
    """What a finished training left beside its checkpoint."""

    loss: float  # nats per letter, on names that were kept back
    names: int
    kept_back: int
    parameters: int


def microgpt(options: Namespace) -> None:
    """Everything from names to names.

    Raises:
        InputError: names, sizes or letters that cannot be, or a missing tool.
        RuntimeError: tokens or cycles differ: a defect.
    """
    given, chosen = given_fields(options, Training, MachineChoice)
    training = validate_document(given, Training, "options")
    choice = validate_document(chosen, MachineChoice, "options")
    letters = _letters(options.letters)
    check_memory(choice.latency, options.mhz)
    machine = choice.machine
    _check(options, choice)
    if options.add:
        check_results_file(options.add, read_results)
    with stage_bars() as report:
        model, found = _trained(training, options, report)
        if options.sweep:
            _sweep(model, choice, letters, report, options)
            return
        program = microgpt_program(model, choice, report)
    say = partial(print, end="", flush=True) if not options.json else (lambda _: None)
    folder = options.out / f"{machine.array.rows}x{machine.array.cols}-{machine.lanes}"
    program.image.write(folder, model="microgpt", source=str(model), method=program.method)
    from sim.microgpt.write import simulated_names, verilated_names

    verilog = ""
    if options.route:
        _route(program, choice, letters, folder, options)
        return
    if options.no_rtl:
        names = list(simulated_names(program, letters, choice.latency))
        say(" ".join(name.text for name in names))
    else:
        from rich.console import Console

        from hw.simulation.verilated_machine import VerilatedMachine, build_machine  # loads Amaranth
        from hw.verilog import machine_verilog

        with Console(stderr=True).status(f"compiling {machine.array.name}, {machine.lanes} lanes (once, minutes)"):
            path = build_machine(machine)
        with VerilatedMachine(program.image, path, choice.latency) as core:
            names = list(verilated_names(program, core, letters, choice.latency, say))
        if options.row:
            verilog = hashlib.sha256(machine_verilog(machine).encode()).hexdigest()
    written = [token for name in names for token in name.tokens[1:]]
    budget = budget_of(written)
    row = LogRow(
        change=options.row or "",
        **choice.row,
        names=len(names),
        tokens=sum(len(name.tokens) for name in names),
        instructions=sum(len(token) for name in names for token in name.tokens),
        names_sha256=sha256_json([name.text for name in names]),
        first=min(_total(name.tokens[1]) for name in names),
        longest=max(map(_total, written)),
        cycles={one.operation: one.cycles for one in budget.rows},
        verilog_sha256=verilog,
    )
    if options.row:
        add_log_row(options.add, row)
    if options.json:
        document = {"names": [name.text for name in names], "loss": found.loss, "parameters": found.parameters}
        document |= {"tokens_per_second": options.mhz * 1e6 / budget.cycles, "program": str(folder)}
        print(json.dumps(document | {"budget": budget.as_json(), "row": row.model_dump(mode="json")}, indent=1))
        return
    _print(row, budget, found, options, folder)


def _check(options: Namespace, choice: MachineChoice) -> None:
    """Refuse options that do not go together."""
    if (ways := [name for name in ("no_rtl", "sweep", "route") if getattr(options, name)]) and options.row:
        raise InputError(f"--row must be left out with --{ways[0].replace('_', '-')}: a row is measured on the RTL")
    if len(ways) > 1:
        raise InputError(f"--{ways[0].replace('_', '-')} must be left out with --{ways[1]}")
    if options.row and not options.add:
        raise InputError("--row must come with --add, which writes it")
    if options.add and not (options.row or options.sweep or options.route):
        raise InputError("--add must come with --row TEXT, what was changed, with --sweep or with --route")
    if options.route:  # before anything is trained
        check_route(options.route)
        if not seeds_of(options.seeds):
            raise InputError(f"--seeds must be at least one number, not {options.seeds!r}")
        if choice.latency != (placed := MachineChoice.model_fields["latency"].default):
            raise InputError(
                f"--latency must be {placed} with --route, whose memory is the board's block RAM, not {choice.latency}"
            )


def _route(program: "ModelProgram", choice: MachineChoice, letters: str, folder: Path, options: Namespace) -> None:
    """Place and route, and print the row."""
    from sim.microgpt.write import simulated_names

    seeds = seeds_of(options.seeds)
    names = simulated_names(program, letters, choice.latency)
    average = budget_of([token for name in names for token in name.tokens[1:]]).cycles
    with stage_bars() as report:
        row = route(options.route, program.image, choice, average, seeds, folder / "board", options.add, report)
    if options.json:
        print(json.dumps(row.model_dump(mode="json") | {"tokens_per_second": row.rate}, indent=1))
        return
    clocks = ", ".join(f"{mhz:.1f} (seed {seed})" for seed, mhz in row.mhz.items())
    print(
        f"{row.machine} on {row.board}, {row.memory_bytes:,} bytes of memory in block RAM\n"
        f"{row.tables:,} look-up tables, {row.flip_flops:,} flip-flops, {row.block_rams} block RAMs, {row.dsps} DSPs\n"
        f"MHz: {clocks}\n{row.average:,.0f} cycles per token: {row.rate:,.0f} tokens/s at the best seed's clock"
    )


def _total(token: Sequence) -> int:
    return sum(one.cycles for one in token)


def _print(row: LogRow, budget: Budget, found: _Found, options: Namespace, folder: Path) -> None:
    clock = options.mhz * 1e6
    print("\n", *budget_lines(budget, clock), sep="\n")
    where = "by the simulator alone" if options.no_rtl else "equal to the simulator's, tokens to the integer model's"
    print(
        f"{row.names} names, {row.tokens} tokens; cycles of {row.instructions} instructions {where}\n"
        f"{row.first:,} cycles for a first letter, {row.average:,.0f} on average, {row.longest:,} at most; "
        f"{PUBLISHED.name} states {PUBLISHED.first:,}, {PUBLISHED.average:,} and {PUBLISHED.longest:,}\n"
        f"{clock / row.average:,.0f} tokens/s at {options.mhz:g} MHz on average; {PUBLISHED.name} states "
        f"{PUBLISHED.clock_hz / PUBLISHED.average:,.0f} on average, {PUBLISHED.clock_hz / PUBLISHED.first:,.0f} "
        f"for a first token ({PUBLISHED.source})\n"
        f"{found.parameters:,} parameters, {found.loss:.3f} nats per letter on {found.kept_back} names kept back of "
        f"{found.names + found.kept_back:,}\nprogram: {folder}"
    )


def _letters(text: str) -> str:
    """First letters of the names to write.

    Raises:
        InputError: none, or what is no letter.
    """
    if not text or set(text) - set(LETTERS):
        raise InputError(f"--letters must be first letters out of a to z, not {text!r}")
    return text


def _trained(training: Training, options: Namespace, report) -> tuple[Path, _Found]:
    """The checkpoint of these names and this training, made now if it is not there."""
    from quant.microgpt.checkpoint import write_checkpoint  # loads torch
    from quant.microgpt.train import train

    names = read_names(options.names, CONTEXT)
    key = sha256_json([names, training.model_dump(mode="json")])
    folder = options.out / f"model-{key[:12]}"
    if not (folder / _FOUND).is_file():
        trained = train(names, training, report)
        with atomic_folder(folder) as temporary:
            write_checkpoint(temporary, trained.parameters, names)
            found = _Found(
                loss=trained.loss, names=trained.names, kept_back=trained.kept_back, parameters=trained.count
            )
            write_artifact(temporary / _FOUND, "tritforge.microgpt-training", 1, found.model_dump(), {"job": key})
    return folder, read_record(folder / _FOUND, "tritforge.microgpt-training", 1, _Found, "remove the folder")


def _sweep(model: Path, choice: MachineChoice, letters: str, report, options: Namespace) -> None:
    """Cycles of every machine that can run the model, by the simulator."""
    from sim.microgpt.write import simulated_names

    rows = []
    machines = [(array, lanes) for array in _ARRAYS for lanes in _LANES]
    for number, (array, lanes) in enumerate(machines, start=1):
        one = choice.model_copy(update={"array": array, "lanes": lanes})
        report("machines", number, len(machines))
        if not _possible(one):
            continue
        program = microgpt_program(model, one, report)
        names = list(simulated_names(program, letters, choice.latency))
        average = budget_of([token for name in names for token in name.tokens[1:]]).cycles
        used = program.image.header.memory_words * program.image.machine.word_bytes
        rows.append(SweepRow(**one.row, average=average, memory_bytes=used))
    if options.add:
        write_sweep(options.add, rows)
    if options.json:
        print(json.dumps([row.model_dump(mode="json") for row in rows], indent=1))
        return
    print(f"{'machine':<18} {'cycles per token':>16} {'tokens/s':>10} {'bytes':>8}  at {options.mhz:g} MHz")
    for row in sorted(rows, key=lambda row: row.average):
        print(f"{row.machine:<18} {row.average:16,.0f} {options.mhz * 1e6 / row.average:10,.0f} {row.memory_bytes:8,}")


def _possible(choice: MachineChoice) -> bool:
    try:
        return choice.machine is not None
    except InputError:
        return False
