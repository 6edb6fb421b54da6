"""The generated tables of the documentation that this package makes, by the name of their block on the page."""

from collections.abc import Callable

from hw.synthesis.vector_unit import VECTOR_RESULTS, vector_markdown

__all__ = ["TABLES"]

TABLES: dict[str, Callable[[], str]] = {"vector-unit": lambda: vector_markdown(VECTOR_RESULTS)}
