"""Functional coverage of the whole-token machine: instructions x shapes x stalls that random programs have run.

``python -m tests.sim.token.coverage`` runs them on the Verilated machine, holds the cycles of every instruction against
the simulator's, and prints how many instructions fell into each declared bin; ``--cases 30`` is a shorter run, and
``--memory sdram:as4c16m16sa-7@62.5`` one behind an SDRAM. ``--add`` keeps the groups for docs/token_machine.md. An
empty bin, like a difference, ends in an error.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import get_args

from hw.cli import run as run_main
from hw.config import load_array
from hw.program.machine import MachineConfig, machine_around
from hw.simulation.verilated_machine import Sdram, VerilatedMachine, build_machine
from hw.trit import Packing
from sim.token.coverage_results import COVERAGE_RESULTS, CoverageGroup, CoverageRun, add_coverage_run
from sim.token.cycles import InstructionCycles, TokenCycles
from sim.token.memory import TokenMemory
from sim.token.port import sdram_memory
from tests.sim.token.coverage_bins import Event, bins_of
from tests.sim.token.random_programs import RandomRun, random_runs

__all__ = ["Hits", "cover", "covered_machine", "empty_bins", "events", "play"]

Hits = Counter  # (group, bin) -> instructions


def covered_machine(**fields: str) -> MachineConfig:
    """Another number of rows than of columns, several words per tile, 4 lanes."""
    return machine_around(load_array("16x8"), 4, scratch_words=320, activation_words=128, **fields)


def events(
    run: RandomRun, steps: list[InstructionCycles], position: int, wanted: bool, token: int = 0, sdram: bool = False
) -> Iterator[Event]:
    """What a token's instructions were, from those that the cycle model stepped."""
    even = run.stalls[:1] == b"\1" and len(run.stalls) > 1 and not any(run.stalls[1:])
    header, machine, program = run.image.header, run.image.machine, run.image.program()
    size, block, stretch = 1 << header.block_bits, 0, machine.stretch
    for step in steps:
        one = program[step.number]
        visible = -(-min(position + 1 - block * size, size) // stretch) * stretch
        skipped = bool(one["last_only"] and not wanted)
        stalled = bool(run.stalls)
        yield Event(
            one, skipped, machine, header, position, block, visible, stalled, run.latency, token, even, sdram
        )  # fmt: skip
        if one.operation == "END":
            block = block + 1 if (block + 1) * size <= position else 0


def play(run: RandomRun, path: object, hits: Hits, sdram: Sdram | None = None) -> int:
    """Run on the Verilated machine at ``path``: cycles of every instruction equal; bins counted; the instructions."""
    if sdram:
        width = run.image.machine.array.weight_bus_bits
        cycles = TokenCycles(run.image, memory=sdram_memory(sdram.chip, sdram.chip_hz, width, sdram.ratio))
    else:
        cycles = TokenCycles(run.image, run.latency, run.stalls)
    count = 0
    with VerilatedMachine(run.image, path, run.latency, run.stalls, sdram) as core:
        if run.position:
            core.seek(run.position)
            cycles.seek(run.position)
        for number, wanted in enumerate(run.wanted):
            position, token = cycles.position, number % run.image.header.vocabulary
            step, steps = core.step(token, wanted), cycles.step(wanted, token)
            assert [(one.operation, one.cycles) for one in steps] == step.trace, (number, run.latency)
            count += len(steps)
            for event in events(run, steps, position, wanted, token, sdram is not None):
                cover(hits, event)
    return count


def cover(hits: Hits, event: Event) -> None:
    """Count the bins that an instruction falls into."""
    for group, bins in bins_of(event.machine, event.sdram).items():
        for name, judge in bins.items():
            hits[group, name] += bool(judge(event))


def empty_bins(hits: Hits, machine: MachineConfig, sdram: bool = False) -> list[tuple[str, str]]:
    """Group and name of each bin of ``machine`` that no instruction fell into."""
    return [(group, name) for group, bins in bins_of(machine, sdram).items() for name in bins if not hits[group, name]]


def main(arguments: Sequence[str]) -> None:
    """Play, check and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=300, help="random programs")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--weight-packing", choices=get_args(Packing), default="2bit", help="of weights in memory")
    parser.add_argument("--memory", metavar="sdram:CHIP@MHZ[xN]", help="an SDRAM with its controller, not a pattern")
    parser.add_argument("--add", action="store_true", help=f"keep the groups in {COVERAGE_RESULTS}")
    options = parser.parse_args(arguments)
    machine, hits, sdram = covered_machine(weight_packing=options.weight_packing), Hits(), _sdram(options.memory)
    path = build_machine(machine, sdram=sdram)
    count = sum(play(run, path, hits, sdram) for run in random_runs(machine, options.cases, options.seed))
    print(f"{options.cases} random programs, {count:,} instructions, the cycles of each equal")
    for group, bins in bins_of(machine, sdram is not None).items():
        print(f"\n{group}")
        for name in bins:
            print(f"  {hits[group, name]:7}  {name}")
    if empty := empty_bins(hits, machine, sdram is not None):
        raise SystemExit(f"empty bins: {empty}")
    if options.add:
        name = "SDRAM" if sdram else {"2bit": "2 bits a trit", "5in8": "five trits a byte"}[options.weight_packing]
        groups = [
            CoverageGroup(name=group, bins=len(bins), fewest=min(hits[group, one] for one in bins))
            for group, bins in bins_of(machine, sdram is not None).items()
        ]
        run = CoverageRun(name=name, programs=options.cases, instructions=count, groups=tuple(groups))
        add_coverage_run(COVERAGE_RESULTS, run)


def _sdram(text: str | None) -> Sdram | None:
    if text is None:
        return None
    memory = TokenMemory.of(argparse.Namespace(latency=None, word_edges=None, mhz=None, memory=text))
    return Sdram(memory.chip, memory.clock_hz, memory.ratio)


if __name__ == "__main__":
    run_main(main)
