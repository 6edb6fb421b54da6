"""``python -m energy``: simulations with energies, studies, comparisons, and what is known by name."""

from collections.abc import Sequence

from hw.cli import Command, run, run_command

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "sim": Command(
        "simulate a model on a ternary array and its INT8 and FP16 baselines, with energies and a report",
        "energy.commands.sim:add_sim",
        "--model llama2-7b --array 64x32 --memory hbm2-2000",
    ),
    "whatif": Command(
        "measure every combination of a study file, feasible or not with its reason, and mark the Pareto front",
        "energy.commands.whatif:add_whatif",
        "--study array_and_memory",
    ),
    "compare": Command(
        "compare methods of quantization on a model, or explain the difference of two designs term by term",
        "energy.commands.compare:add_compare",
        "edge-32x32 mobile-64x64 --kv-bits 8",
    ),
    "explore": Command(
        "open a local page whose sliders and choices redraw a design beside its rivals",
        "energy.commands.explore:add_explore",
        "--port 0 --no-browser",
    ),
    "bench-study": Command(
        "measure how fast a study is, beside single simulations, and what its memory and processes are",
        "energy.commands.bench_study:add_bench_study",
        "--points 1000 --json",
    ),
    "claims": Command(
        "find where ternary saves 91 % of compute energy and half of the latency, and where not",
        "energy.commands.claims:add_claims",
        "--models llama2-7b",
    ),
    "notebook": Command(
        "write and execute a notebook from a model to a decision: simulate, rivals, study, front, two designs, verdict",
        "energy.commands.notebook:add_notebook",
        "--out decision.ipynb",
    ),
    "table": Command(
        "write finished results as one table: Parquet, Arrow or CSV, a row per op, phase, point or recorded input",
        "energy.commands.table:add_table",
        "build/sim/RUN --out ops.parquet",
    ),
    "list": Command("list what is known by name", "energy.commands.listing:add_list", "models"),
    "docs": Command(
        "simulate the README's jobs again and rewrite its tables and picture", "energy.commands.docs:add_docs", ""
    ),
}


def main(arguments: Sequence[str]) -> None:
    """Run one command."""
    run_command("python -m energy", "Energies, reports and studies of simulated machines.", COMMANDS, arguments)


if __name__ == "__main__":
    run(main)
