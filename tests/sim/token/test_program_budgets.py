"""Rows of simulated budgets: whose program they are of, what replaces what, and what the table says."""

import json

import pytest

from hw.config import load_array
from hw.errors import InputError
from hw.program.compiler import compiled
from hw.program.machine import machine_around
from sim.__main__ import main
from sim.token.program_budgets import program_budgets_markdown, read_program_budgets
from tests.hw.token.random_models import random_model

ABOUT = {
    "model": "tiny", "method": "digits", "embedding": "rows",
    "form": {"table_digits": 1, "key_digits": 4, "value_digits": 3, "rotate": True},
}  # fmt: skip


@pytest.fixture(scope="module")
def image():
    return compiled(random_model(1, layers=1), machine_around(load_array("8x8")))


def test_every_memory_and_position_has_a_row_and_a_later_one_takes_its_place(image, tmp_path, capsys):
    image.write(tmp_path, **ABOUT)
    path = tmp_path / "rows.json"
    clocks = ("40x3", "50", "40x2", "50")
    for memory in (*(["--memory", f"sdram:as4c16m16sa-7@{clock}"] for clock in clocks), [], ["--position", "7"]):
        main(["budget", str(tmp_path), *memory, "--add", str(path), "--json"])
    capsys.readouterr()
    rows = read_program_budgets(path)
    assert [(row.chip, row.clock_mhz, row.memory_ratio, row.position) for row in rows] == [
        ("", 62.5, 1, 0),
        ("", 62.5, 1, 7),
        ("as4c16m16sa-7", 50, 1, 0),
        ("as4c16m16sa-7", 40, 2, 0),
        ("as4c16m16sa-7", 40, 3, 0),
    ]
    total = sum(rows[4].cycles.values())
    text = program_budgets_markdown(path)
    context = f"{image.header.context}, blocks of {1 << image.header.block_bits}"
    row = f"| tiny, digits | 8 x 8, 2 lanes | 1, 4, 3 | rows | as4c16m16sa-7 at 120 MHz | 40 | {context} | 0 |"
    assert f"{row} {total:,.0f} | {40e6 / total:,.2f} |" in text


def test_programs_of_other_options_stand_side_by_side(image, tmp_path, capsys):
    path = tmp_path / "rows.json"
    for options in ({"digits": 1}, {"digits": 2}, {"digits": 1}):
        image.write(tmp_path, **ABOUT, options=options)
        main(["budget", str(tmp_path), "--add", str(path), "--json"])
    capsys.readouterr()
    assert [row.options for row in read_program_budgets(path)] == [{"digits": 1}, {"digits": 2}]
    assert "| tiny, digits (digits=2) |" in program_budgets_markdown(path).splitlines()[-1]


def test_programs_of_another_context_or_embedding_are_told_apart_in_the_table(image, tmp_path, capsys):
    path = tmp_path / "rows.json"
    tiles, longer = (
        compiled(random_model(1, layers=1, context=context), image.machine, "tiles")
        for context in (image.header.context, 48)
    )
    for program, embedding in ((image, "rows"), (tiles, "tiles"), (longer, "tiles")):
        program.write(tmp_path, **ABOUT | {"embedding": embedding})
        main(["budget", str(tmp_path), "--add", str(path), "--json"])
    capsys.readouterr()
    head, _, *rows = (line.split(" | ") for line in program_budgets_markdown(path).splitlines())
    columns = head.index("embedding"), head.index("context")
    found = [tuple(row[one].partition(",")[0] for one in columns) for row in rows]
    assert found == [("rows", "24"), ("tiles", "24"), ("tiles", "48")]


def test_programs_of_other_machines_or_formats_and_other_patterns_are_told_apart_in_the_table(image, tmp_path, capsys):
    path = tmp_path / "rows.json"
    machine = machine_around(load_array("8x8"), instruction_lines=4)
    other, turned = compiled(random_model(1, layers=1), machine), ABOUT["form"] | {"rotate": False}
    for program, form, latency in (
        (image, ABOUT["form"], 8), (other, ABOUT["form"], 8), (image, turned, 8), (image, ABOUT["form"], 3),
    ):  # fmt: skip
        program.write(tmp_path, **ABOUT | {"form": form})
        for _ in range(2):
            main(["budget", str(tmp_path), "--latency", str(latency), "--add", str(path), "--json"])
    capsys.readouterr()
    _, _, *rows = program_budgets_markdown(path).splitlines()
    assert len(rows) == 4
    assert len({row[: row.index(" | 62.5 | ")] for row in rows}) == 4


def test_a_program_that_does_not_say_whose_it_is_is_refused(image, tmp_path):
    image.write(tmp_path, **{name: value for name, value in ABOUT.items() if name != "form"})
    with pytest.raises(InputError, match=r"config\.json: must name model, method, embedding and form for --add, as "):
        main(["budget", str(tmp_path), "--add", str(tmp_path / "rows.json")])


def test_results_that_are_none_are_refused_before_anything_is_counted(image, tmp_path):
    image.write(tmp_path, **ABOUT)
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"schema": "other"}))
    with pytest.raises(InputError, match=r"rows\.json"):
        main(["budget", str(tmp_path), "--add", str(path)])
