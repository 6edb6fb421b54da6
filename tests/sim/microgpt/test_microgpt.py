"""``tritforge microgpt`` as a person types it, names of the integer model, and cycles that the page prints."""

import json
from pathlib import Path

import pytest

from hw.errors import InputError
from hw.program.instructions import OPERATIONS
from hw.program.interpreter import Interpreter
from quant.microgpt.names import END, encoded
from quant.microgpt.training import Training
from sim.__main__ import main
from sim.microgpt.choice import MachineChoice
from sim.microgpt.program import microgpt_program
from sim.microgpt.results import (
    MICROGPT_RESULTS,
    add_log_row,
    add_routed_row,
    log_markdown,
    read_results,
    rivals_markdown,
    routed_markdown,
    sweep_markdown,
    write_sweep,
)
from sim.microgpt.rows import LogRow, RoutedRow, SweepRow
from sim.microgpt.write import integer_name, simulated_names, verilated_names

NAMES = "anna\nannie\nbea\nbella\ncara\ncarla\ndora\ndoris\nella\nelsa\nemma\nerna\n"
WORDS = ["--steps", "30", "--batch", "8"]
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Names, and a model that was trained on them by the command."""
    folder = tmp_path_factory.mktemp("microgpt")
    (folder / "names.txt").write_text(NAMES, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def call(folder):
    """Run the command on them."""

    def call(*words):
        training = [] if "--steps" in words else WORDS
        main(["microgpt", "--names", str(folder / "names.txt"), "--out", str(folder / "out"), *training, *words])

    return call


@pytest.fixture(scope="module")
def program(folder, call):
    call("--no-rtl", "--letters", "a")
    (model,) = (folder / "out").glob("model-*")
    return microgpt_program(model, MachineChoice(), lambda *_: None)


def test_the_command_writes_a_name_for_every_letter_and_tells_its_cycles(call, program, capsys):
    call("--no-rtl", "--letters", "ab", "--json", "--key-digits", "2")
    shown = json.loads(capsys.readouterr().out)
    assert [name[0] for name in shown["names"]] == ["a", "b"]
    row = LogRow.model_validate(shown["row"])
    assert row.names == 2
    assert row.digits == (2, 3, 3)
    assert row.tokens == sum(1 + len(integer_name(program, letter)) for letter in "ab")
    assert shown["tokens_per_second"] == pytest.approx(80e6 / row.average)
    assert shown["budget"]["cycles"] == pytest.approx(row.average)
    assert row.first <= row.average <= row.longest
    call("--no-rtl", "--letters", "b", "--mhz", "50")
    out = capsys.readouterr().out
    assert shown["names"][1] in out.splitlines()[0]
    assert "tokens/s at 50 MHz on average; gateGPT states 60,560 on average, 69,204 for a first token" in out


def test_the_program_run_from_its_bits_writes_the_integer_models_names(program):
    for letter in "acz":
        machine, expected = Interpreter(program.image), integer_name(program, letter)
        assert machine.write(encoded(f".{letter}"), len(expected)) == expected
        assert END not in expected[:-1]
        assert expected[-1] == END or len(expected) == 14  # the context's 16 tokens less the prompt's two


def test_a_name_costs_what_its_tokens_do_and_the_next_one_begins_at_position_0(program):
    one, two = simulated_names(program, "ab", 3)
    again = next(simulated_names(program, "b", 3))
    assert [len(token) for token in one.tokens[1:]] == [33] * (len(one.tokens) - 1)  # operations of the budget
    # constants are loaded once, in front of the first token
    assert len(one.tokens[0]) > len(two.tokens[0])
    assert [[i.cycles for i in token] for token in two.tokens[1:]] == [
        [i.cycles for i in token] for token in again.tokens[1:]
    ]


@pytest.mark.slow
def test_the_verilated_machine_writes_the_same_letters_in_the_same_cycles(program, tmp_path):
    from hw.simulation.verilated_machine import VerilatedMachine, build_machine
    from quant.token.program import ModelProgram
    from tests.sim.token.coverage import covered_machine

    machine = covered_machine()  # which the random programs compile too
    fields = program.run.job.model_dump(include={"model", "method", "options", "form", "calib"})
    other = ModelProgram.of(fields, 16, machine, lambda *_: None)
    try:
        path = build_machine(machine)
    except InputError as error:
        pytest.skip(str(error))
    said = []
    with VerilatedMachine(other.image, path, 3) as core:
        names = list(verilated_names(other, core, "ad", 3, said.append))
    simulated = list(simulated_names(other, "ad", 3))
    assert [name.text for name in names] == [name.text for name in simulated]
    assert [name.tokens for name in names] == [name.tokens for name in simulated]
    assert "".join(said).replace(".", "").split() == [name.text for name in names]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--letters", ""], r"^--letters must be first letters out of a to z, not ''$"),
        (["--letters", "aB"], r"^--letters must be first letters out of a to z, not 'aB'$"),
        (["--mhz", "0"], r"^--mhz must be above 0 and finite, not 0$"),
        (["--row", "x"], r"^--row must come with --add, which writes it$"),
        (["--add", "x.json"], r"^--add must come with --row TEXT, what was changed, with --sweep or with --route$"),
        (["--row", "x", "--add", "x.json", "--no-rtl"], r"^--row must be left out with --no-rtl: a row is measured on"),
        (["--sweep", "--route", "ulx3s-85f"], r"^--sweep must be left out with --route$"),
        (["--route", "ulx3s-85f", "--seeds", ""], r"^--seeds must be at least one number, not ''$"),
        (["--route", "ulx3s-85f", "--latency", "4"], r"^--latency must be 3 with --route, whose memory is .* not 4$"),
        (
            ["--route", "icebreaker"],
            r"^board icebreaker: a machine of 8x4 with 2 lanes, the smallest measured, takes 29750",
        ),
        (
            ["--route", "tang-nano-9k"],
            r"^board tang-nano-9k: .* takes 23154 LUTs and GW1NR-LV9QN88PC6/I5 has 8640; take",
        ),
        (
            ["--row", "x", "--add", "/proc/x.json"],
            r"^/proc/x.json: /proc must be a folder that can be written in; give",
        ),
        (["--steps", "0"], r"^options: field 'steps' should be greater than or equal to 1, not 0$"),
        (["--lanes", "16", "--no-rtl"], r"weight_bus_bits must be 64 or more and at most 32 per row and per column"),
        (["--key-digits", "6"], r"^options: field 'key_digits' should be less than or equal to 5, not 6$"),
    ],
)
def test_what_cannot_be_is_refused(call, folder, words, message):
    before = sorted(folder.rglob("*"))
    with pytest.raises(InputError, match=message):
        call(*words)
    assert sorted(folder.rglob("*")) == before  # nothing was trained


def test_names_beyond_the_context_are_refused_before_anything_is_trained(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text(NAMES + "b" * 16, encoding="utf-8")
    with pytest.raises(InputError, match="at most 15 letters for a context of 16 tokens, not 16"):
        main(["microgpt", "--names", str(path), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


ROW = LogRow(
    change="as it was", array="8 x 8", lanes=4, names=2, tokens=9, instructions=300, names_sha256="0", first=2000,
    longest=2200, cycles={"DEQ": 1500.0, "NORM": 600.0}, verilog_sha256="1",
)  # fmt: skip
ROUTED = RoutedRow(
    board="b", array="8 x 8", lanes=4, memory_bytes=8192, average=2000, tables=9000, flip_flops=4000, block_rams=30,
    dsps=20, mhz={"1": 50.0}, verilog_sha256="1",
)  # fmt: skip


def test_the_log_keeps_its_order_and_replaces_a_change_that_is_measured_again(tmp_path):
    path = tmp_path / "rows.json"
    for change, cycles in (("as it was", 2000.0), ("better", 1000.0), ("as it was", 1600.0)):
        add_log_row(path, ROW.model_copy(update={"change": change, "cycles": {"DEQ": cycles}}))
    assert [(row.change, row.average) for row in read_results(path).log] == [("as it was", 1600), ("better", 1000)]
    assert "| better | 8 x 8, 4 lanes, latency 2 | 1,000 | 80,000 | 1,000 | 0 |" in log_markdown(path)


def test_a_row_of_other_digits_stands_beside_the_one_of_three_and_says_so(tmp_path):
    path = tmp_path / "rows.json"
    add_log_row(path, ROW)
    add_log_row(path, ROW.model_copy(update={"key_digits": 5, "value_digits": 4, "table_digits": 2}))
    assert [row.key_digits for row in read_results(path).log] == [3, 5]
    usual, other = log_markdown(path).splitlines()[-2:]
    assert "digits" not in usual
    assert "| 8 x 8, 4 lanes, latency 2, digits of K, V and table 5, 4 and 2 |" in other
    assert "embedding and head in 2 digits; K in 5, V in 4 |" in rivals_markdown(path)


def test_placed_and_swept_machines_say_their_digits_and_stand_side_by_side(tmp_path):
    path, other = tmp_path / "rows.json", {"key_digits": 5, "value_digits": 4, "table_digits": 2, "latency": 4}
    add_log_row(path, ROW)
    add_routed_row(path, ROUTED)
    add_routed_row(path, ROUTED.model_copy(update=other | {"mhz": {"1": 90.0}}))
    write_sweep(path, [SweepRow(array="8 x 8", lanes=4, average=2100, memory_bytes=8000, **other)])
    assert [row.digits for row in read_results(path).routed] == [(3, 3, 3), (5, 4, 2)]
    named = "| 8 x 8, 4 lanes, latency 4, digits of K, V and table 5, 4 and 2 |"
    assert named in routed_markdown(path)
    assert named in sweep_markdown(path)
    assert "| FPGA of b (8 x 8, 4 lanes), placed and routed, not run |" in rivals_markdown(path)  # formats of the log


def test_rows_without_digits_are_of_three(tmp_path):
    path, said = tmp_path / "rows.json", {"latency", "key_digits", "value_digits", "table_digits"}
    write_sweep(path, [SweepRow(array="8 x 8", lanes=4, average=2100, memory_bytes=8000)])
    add_routed_row(path, ROUTED)
    document = json.loads(path.read_text())
    for row in (*document["sweep"], *document["routed"]):
        for name in said:
            del row[name]
    path.write_text(json.dumps(document))
    found = read_results(path)
    assert {(row.latency, *row.digits) for row in (*found.sweep, *found.routed)} == {(3, 3, 3, 3)}


def test_a_choice_fills_every_rows_common_fields():
    row = MachineChoice(array="8x4", lanes=2, latency=5, key_digits=5, value_digits=4, table_digits=2).row
    assert SweepRow(**row, average=1.0, memory_bytes=1).measured == ("8 x 4", 2, 5, 5, 4, 2)
    usual = SweepRow(**MachineChoice().row, average=1.0, memory_bytes=1)
    assert usual.machine == "16 x 8, 8 lanes"  # what the command has by default goes without saying


def test_every_cycle_of_a_row_is_in_a_column_of_the_log(tmp_path):
    path = tmp_path / "rows.json"
    add_log_row(path, ROW.model_copy(update={"cycles": dict.fromkeys(OPERATIONS, 1.0)}))
    cells = log_markdown(path).splitlines()[-1].split(" | ")
    assert sum(map(int, cells[4:-1])) == int(cells[2]) == len(OPERATIONS)


def test_seeds_of_one_machine_stand_together_and_those_of_an_older_one_go(tmp_path):
    path = tmp_path / "rows.json"
    add_log_row(path, ROW)
    write_sweep(path, [SweepRow(array="8 x 8", lanes=4, average=2100, memory_bytes=8000)])
    add_routed_row(path, ROUTED)
    add_routed_row(path, ROUTED.model_copy(update={"mhz": {"2": 60.0}}))
    assert read_results(path).routed[0].mhz == {"1": 50.0, "2": 60.0}
    assert "| 50.0, 60.0 | 2,000 | 30,000 |" in routed_markdown(path)
    assert "| tokens/s at its own clock, average | 60,560 | 30,000 |" in rivals_markdown(path)
    add_routed_row(path, ROUTED.model_copy(update={"verilog_sha256": "2", "mhz": {"3": 70.0}}))
    assert read_results(path).routed[0].mhz == {"3": 70.0}
    assert len(read_results(path).log) == len(read_results(path).sweep) == 1
    add_routed_row(path, ROUTED.model_copy(update={"array": "8 x 8", "lanes": 2, "mhz": {"1": 90.0}}))
    assert "| 45,000 (8 x 8, 2 lanes) |" in rivals_markdown(path)  # not the machine that the column is of


def test_the_pages_last_row_is_what_todays_machine_takes(program):
    """Cycles do not depend on the weights: any training gives those of the committed row."""
    row = read_results(ROOT / MICROGPT_RESULTS).log[-1]
    choice = MachineChoice(array=row.array.replace(" ", ""), lanes=row.lanes, latency=row.latency)
    model = Path(program.run.job.model)
    name = next(simulated_names(microgpt_program(model, choice, lambda *_: None), "a", row.latency))
    assert sum(one.cycles for one in name.tokens[1]) == row.first
    assert Training().steps == 1500
