"""A LLaMA that computes everything after the token id in gateware: the machine, Verilated, writes.

Every token is compared with the integer model's, and the cycles of every instruction with those of ``TokenCycles``.
"""

import json
import time
from argparse import Namespace
from collections.abc import Sequence
from functools import partial

from hw.artifact import check_results_file
from hw.config import load_array
from hw.errors import InputError
from hw.program.machine import MachineConfig, machine_around
from hw.progress import stage_bars
from sim.token.budget import budget_lines, budget_of
from sim.token.cycles import InstructionCycles, TokenCycles
from sim.token.memory import TokenMemory
from sim.token.results import BudgetRecord, add_budget_row, read_budget_results

__all__ = ["compare_cycles", "demo_whole"]

_HALF = "\ufffd"  # what the bytes of an unfinished character decode to


def demo_whole(options: Namespace) -> None:
    """Compile model and machine, write, compare, and print.

    Raises:
        InputError: a model or an array that cannot be, or a missing tool.
        RuntimeError: tokens or cycles differ: a defect.
    """
    if options.tokens < 1:
        raise InputError(f"tokens must be at least 1, not {options.tokens}")
    memory = TokenMemory.of(options)
    if options.add:
        check_results_file(options.add, read_budget_results)  # refused before anything is compiled
    machine = machine_around(load_array(options.array), options.lanes, weight_packing=options.weight_packing)
    from rich.console import Console

    from hw.simulation.verilated_machine import Sdram, VerilatedMachine, build_machine  # loads Amaranth
    from quant.token.program import ModelProgram  # loads torch

    form = {name: getattr(options, name) for name in ("key_digits", "value_digits", "table_digits")}
    fields = {"model": options.whole, "method": options.method, "options": _pairs(options.options), "form": form}
    with stage_bars() as report:
        program = ModelProgram.of(fields, options.context, machine, report)
    prompt = program.encode(options.prompt)
    if not prompt:
        raise InputError("--prompt must hold at least a token, not an empty text")
    if len(prompt) + options.tokens > options.context:
        raise InputError(
            f"context must be at least {len(prompt) + options.tokens} for a prompt of {len(prompt)} and "
            f"{options.tokens} tokens, not {options.context}"
        )
    timing = memory.timing(program.image)
    sdram = Sdram(memory.chip, memory.clock_hz, memory.ratio) if memory.chip else None
    console, say = Console(stderr=True), partial(print, end="", flush=True)
    array = machine.array
    with console.status(f"compiling {array.rows} x {array.cols} lanes, {machine.lanes} vector lanes (once, minutes)"):
        path = build_machine(machine, sdram=sdram)
    wanted = program.stream(prompt, options.tokens)
    cycles = TokenCycles(program.image, memory=timing)
    written, timed = list[int](), list[list[InstructionCycles]]()
    started, shown, compared = time.perf_counter(), 0, 0
    with VerilatedMachine(program.image, path, memory.latency, memory.stalls, sdram) as core:
        fed = list(prompt)
        with stage_bars() as report:
            for number, token in enumerate(prompt[:-1]):
                predicted = cycles.step(False, token)
                compare_cycles(number, core.step(token, False).trace, predicted)
                compared += len(predicted)
                report("prompt", number + 1, len(prompt) - 1)
        if not options.json:
            say(options.prompt)
        for number in range(len(prompt) - 1, len(prompt) + options.tokens - 1):
            step, predicted = core.step(fed[number]), cycles.step(token=fed[number])
            compare_cycles(number, step.trace, predicted)
            compared += len(predicted)
            timed.append(predicted)
            written.append(step.token)
            fed.append(step.token)
            if step.token != (other := next(wanted)):
                raise RuntimeError(f"token {number} is {step.token} on the RTL, {other} in the integer model")
            if options.add:  # by every token, for a large model takes a minute for one
                add_budget_row(
                    options.add, _record(options, program.name, machine, memory, fields, len(prompt), timed, compared)
                )
            text = program.decode(written)
            if not options.json and not text.endswith(_HALF):
                say(text[shown:])
                shown = len(text)
        saturated = step.saturated
    seconds = time.perf_counter() - started
    budget = budget_of(timed)
    if options.json:
        document = {"tokens": written, "text": program.decode(written), "saturated": saturated, "seconds": seconds}
        print(json.dumps(document | {"budget": budget.as_json()}, indent=1))
        return
    print("\n", *budget_lines(budget, memory.clock_hz), sep="\n")
    print(
        f"{options.tokens} tokens behind a prompt of {len(prompt)} in {seconds:.1f} s; tokens equal to the integer "
        f"model's, cycles of {compared} instructions equal to the simulator's; saturated: {saturated}"
    )


def _record(
    options: Namespace,
    model: str,
    machine: MachineConfig,
    memory: TokenMemory,
    fields: dict[str, object],
    prompt: int,
    timed: Sequence[Sequence[InstructionCycles]],
    compared: int,
) -> BudgetRecord:
    """What was written so far, behind a prompt of so many tokens."""
    budget = budget_of(timed)
    return BudgetRecord(
        model=model,
        method=options.method,
        options=fields["options"],
        machine=f"{machine.array.rows} x {machine.array.cols}",
        lanes=machine.lanes,
        weight_packing=machine.weight_packing,
        **fields["form"],
        latency=memory.latency,
        word_edges=memory.word_edges,
        chip=memory.chip.name if memory.chip else "",
        clock_mhz=memory.clock_hz / 1e6,
        memory_ratio=memory.ratio,
        context=options.context,
        prompt=prompt,
        tokens=len(timed),
        instructions=compared,
        cycles={row.operation: row.cycles for row in budget.rows},
        busy=budget.busy,
    )


def _pairs(given: Sequence[str]) -> dict[str, object]:
    """Options of a method, NAME=VALUE each."""
    found: dict[str, object] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise InputError(f"--options must be NAME=VALUE, not {text!r}")
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = value
    return found


def compare_cycles(number: int, trace: list[tuple[str, int]], predicted: list[InstructionCycles]) -> None:
    """Refuse a difference with its instruction."""
    mine = [(one.operation, one.cycles) for one in predicted]
    for place, (rtl, simulated) in enumerate(zip(trace, mine, strict=False)):
        if rtl != simulated:
            raise RuntimeError(
                f"token {number}, instruction {predicted[place].number}: {rtl[0]} took {rtl[1]} cycles on the RTL, "
                f"{simulated[1]} in the simulator"
            )
    if len(trace) != len(mine):
        raise RuntimeError(f"token {number}: {len(trace)} instructions ended on the RTL, {len(mine)} in the simulator")
