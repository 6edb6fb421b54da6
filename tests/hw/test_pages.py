"""Tables on the screen: no digit is lost on 80 columns or in a pipe."""

import pytest
from rich.table import Table

from hw.pages import screen

NUMBERS = [f"{10**digit:,}" for digit in range(4, 16)]


@pytest.mark.parametrize("columns", ["20", "80", "200"])
def test_numbers_are_whole_whatever_the_terminal_is(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", columns)
    table = Table("name", box=None)
    for number in NUMBERS:
        table.add_column(number, justify="right")
    table.add_row("a name that may fold", *NUMBERS)
    screen().print(table)
    head, row, *_ = capsys.readouterr().out.splitlines()
    assert "\u2026" not in head + row
    assert head.split()[-len(NUMBERS) :] == NUMBERS
    assert row.split()[-len(NUMBERS) :] == NUMBERS
