"""The generated tables of the documentation that this package makes, by the name of their block on the page."""

from collections.abc import Callable

from hw.memory.results import MEMORY_RESULTS, memory_markdown, memory_rows
from hw.pages import markdown_table
from hw.program.instructions import instruction_tables
from hw.synthesis.machine_results import MACHINE_TABLES
from hw.synthesis.vector_unit import VECTOR_RESULTS, vector_markdown

__all__ = ["TABLES"]

TABLES: dict[str, Callable[[], str]] = {
    "vector-unit": lambda: vector_markdown(VECTOR_RESULTS),
    "memory-controller": lambda: memory_markdown(memory_rows(MEMORY_RESULTS)),
    **MACHINE_TABLES,
    "program-operations": lambda: markdown_table(*instruction_tables()[0]),
    "program-fields": lambda: markdown_table(*instruction_tables()[1]),
}
