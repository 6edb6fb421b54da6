"""Rows of measured token budgets: what replaces what, and what the table says of a machine."""

import pytest

from sim.token.results import BudgetRecord, add_budget_row, budget_markdown, read_budget_results

ROW = BudgetRecord(
    model="tiny", method="digits", options={}, machine="8 x 8", lanes=2, latency=8, context=32, prompt=1, tokens=4,
    instructions=10, cycles={"DEQ": 60.0, "LOAD": 40.0}, busy=0.1,
)  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "machine"),
    [
        ({"weight_packing": "5in8"}, "8 x 8, 2 lanes, latency 8, five trits a byte"),
        ({"key_digits": 4}, "8 x 8, 2 lanes, latency 8, K in 4 digits"),
        ({"value_digits": 3, "table_digits": 2}, "8 x 8, 2 lanes, latency 8, V in 3 digits, table in 2 digits"),
        ({"latency": 9}, "8 x 8, 2 lanes, latency 9"),
        ({"chip": "w9825g6kh-6", "clock_mhz": 50.0}, "8 x 8, 2 lanes, SDRAM w9825g6kh-6"),
        ({"word_edges": 4}, "8 x 8, 2 lanes, latency 8, a word in 4 edges"),
    ],
)
def test_a_row_of_another_machine_stands_beside_the_first(tmp_path, fields, machine):
    path, other = tmp_path / "rows.json", ROW.model_copy(update=fields)
    add_budget_row(path, ROW)
    add_budget_row(path, other)
    rows = read_budget_results(path).rows
    assert len(rows) == 2
    assert ROW in rows
    assert other in rows
    text = budget_markdown(path)
    clock = "500,000 at 50" if fields.get("chip") else "625,000 at 62.5"
    assert f"| tiny, digits | {machine} | 1 + 4 | 10 | 100 | {clock} MHz | 60.0 %" in text
    assert "| tiny, digits | 8 x 8, 2 lanes, latency 8 | 1 + 4 |" in text


def test_a_later_row_of_the_same_machine_replaces_the_first(tmp_path):
    path = tmp_path / "rows.json"
    for tokens in (4, 7):
        add_budget_row(path, ROW.model_copy(update={"tokens": tokens}))
    assert [row.tokens for row in read_budget_results(path).rows] == [7]
