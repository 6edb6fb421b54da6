"""``python -m sim``: one machine without baselines and energies, replays, references, speed."""

from collections.abc import Sequence

from hw.cli import Command, run, run_command

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "run": Command(
        "simulate a model on one machine, without baselines and energies: ops, causes, timeline",
        "sim.commands.run:add_run",
        "--model llama2-7b --ops --explain",
    ),
    "workload": Command(
        "write the matrix products of a model's step as a file for SCALE-Sim, ZigZag or a spreadsheet",
        "sim.commands.workload:add_workload",
        "--model llama2-7b --phase decode --format scale-sim --out llama.csv",
    ),
    "replay": Command(
        "replay a recorded pass on the array: sums bit for bit, zero fractions, toggles",
        "sim.commands.replay:add_replay",
        "build/models/smollm2-135m/FOLDER",
    ),
    "budget": Command(
        "count the cycles of one token of a whole-token program, operation by operation",
        "sim.commands.budget:add_budget",
        "build/programs/stories260K-16x16 --position 100",
    ),
    "demo": Command(
        "let a LLaMA write on the compiled RTL, with the RTL's cycles beside the simulator's",
        "sim.commands.demo:add_demo",
        "--whole stories260K.bin",
    ),
    "microgpt": Command(
        "train a tiny model of names in ternary, let it write on the compiled RTL, and count its cycles per token",
        "sim.commands.microgpt:add_microgpt",
        "--letters abc",
    ),
    "mappings": Command(
        "compare the cycles of a model's linears under every mapping of the same lanes",
        "sim.commands.tables:add_mappings",
        "--model llama2-7b --tokens 1",
    ),
    "dram": Command(
        "show the bandwidth of sequential and mixed streams on every memory's banks", "sim.commands.tables:add_dram", ""
    ),
    "references": Command(
        "compare this simulator with figures of other simulators and of a chip",
        "sim.commands.tables:add_references",
        "",
    ),
    "bench": Command(
        "measure the speed of the simulator, beside SCALE-Sim and ZigZag", "sim.commands.tables:add_bench", ""
    ),
    "docs": Command("write the generated parts of docs/simulator.md", "sim.commands.docs:add_docs", ""),
}


def main(arguments: Sequence[str]) -> None:
    """Run one command."""
    run_command("python -m sim", "Cycle simulator of ternary LLM inference.", COMMANDS, arguments)


if __name__ == "__main__":
    run(main)
