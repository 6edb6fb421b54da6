"""Generated tables of the whole-token machine's pages, by the name of their block."""

from sim.token.coverage_results import COVERAGE_RESULTS, coverage_markdown
from sim.token.program_budgets import program_budgets_markdown
from sim.token.results import BUDGET_RESULTS, budget_markdown

__all__ = ["MACHINE_TABLES"]

MACHINE_TABLES = {
    "token-machine": lambda: budget_markdown(BUDGET_RESULTS),
    "machine-coverage": lambda: coverage_markdown(COVERAGE_RESULTS),
    "program-budgets": program_budgets_markdown,
}
