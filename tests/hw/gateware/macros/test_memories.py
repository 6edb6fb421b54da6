"""Designs whose memories are modules compute what they compute with inferred ones, and never read what they write."""

import json
import re

import numpy as np
import pytest

from hw.__main__ import main
from hw.config import ArrayConfig, load_array
from hw.errors import InputError
from hw.gateware.macros.memories import MacroPlatform, default_macros
from hw.program.interpreter import Status
from hw.program.machine import machine_around
from hw.verilog import axi_verilog, core_verilog, dma_verilog, machine_verilog, write_verilog
from tests.hw.gateware.bus import test_crossing
from tests.hw.gateware.random_gemms import check, random_cases
from tests.hw.gateware.rtl import play_verilog
from tests.hw.gateware.whole import test_icarus
from tests.hw.gateware.whole.icarus import run_icarus
from tests.hw.synthesis.test_readable_verilog import lint

ARRAYS = [
    ArrayConfig(name="4x3", rows=4, cols=3, weight_bus_bits=16, token_tile=4),
    ArrayConfig(name="two", rows=3, cols=2, weight_bus_bits=8, token_tile=2, planes=2, results="int8", sum_of_x=True),
    ArrayConfig(name="grid", rows=3, cols=3, weight_bus_bits=8, token_tile=3, organisation="systolic"),
]


def with_macros(write, *what, **more) -> str:
    """One file of the design and the default modules."""
    return write(*what, platform=MacroPlatform(), **more) + default_macros()


@pytest.mark.parametrize("config", ARRAYS, ids=lambda config: config.name)
def test_random_gemms_have_the_same_results_and_cycles(config, tmp_path):
    cases = random_cases(config, 12, 5)
    for case, record in zip(
        cases, play_verilog(with_macros(core_verilog, config), config, cases, tmp_path), strict=True
    ):
        check(config, case, record)


def test_what_is_read_while_it_is_written_is_not_used(tmp_path):
    """A tile of two tokens reads the sum that is just written: the macro gives x then, and every result is right."""
    config = ARRAYS[1]
    text, x = with_macros(core_verilog, config), "read_data <= {WIDTH{1'bx}};"
    assert text.count(f"read_address == write_address) {x}") == 1
    text = text.replace(x, f'begin {x} $display("MET: %m"); end')
    cases = random_cases(config, 12, 5)
    for case, record in zip(cases, play_verilog(text, config, cases, tmp_path), strict=True):
        check(config, case, record)
    assert re.search(r"MET: \S*sums_storage\S*memory0", (tmp_path / "test.log").read_text())


@pytest.mark.slow
def test_dma_engines_and_two_clocks_work_on_macros(tmp_path):
    text = with_macros(dma_verilog, test_crossing.CONFIG, core_clock="separate")
    assert "tritforge_memory_1r1w_2clk #(" in text
    test_crossing.passes("dma", "13:2", tmp_path, text)


@pytest.mark.slow
def test_the_whole_token_machine_has_the_same_values_and_cycles(built, tmp_path):
    program, _ = built
    answers, trace, memory = test_icarus.expected(program)
    text = with_macros(machine_verilog, program.machine)
    (run,), after = run_icarus(text, program, test_icarus.TOKENS, tmp_path, 3, test_icarus.STALLS)
    assert (run.answers, run.trace, run.status) == (answers, trace, Status.OK)
    assert np.array_equal(after, memory)


built = test_icarus.built


def test_a_lint_is_clean(tmp_path):
    assert not lint(with_macros(core_verilog, ARRAYS[1]), "tritforge_core", tmp_path)
    assert not lint(with_macros(axi_verilog, ARRAYS[0]), "tritforge_axi", tmp_path)


@pytest.mark.slow
def test_a_lint_of_the_larger_ones_is_clean(tmp_path):
    machine = machine_around(load_array("8x8"), 2, scratch_words=256, activation_words=64)
    assert not lint(with_macros(dma_verilog, ARRAYS[0], core_clock="separate"), "tritforge_axi_dma", tmp_path)
    assert not lint(with_macros(machine_verilog, machine), "tritforge_machine", tmp_path)


def test_config_json_lists_the_macros_and_no_array_is_left(tmp_path):
    paths = write_verilog(load_array("4x4"), tmp_path, "core", memories="macros")
    assert [path.name for path in paths] == ["tritforge_core.v", "tritforge_memories.v", "config.json"]
    # By hand: four sums of 24 bits for 64 tokens, and a queue of six results.
    assert json.loads(paths[-1].read_text())["memories"] == [
        {"module": "tritforge_memory_1r1w", "width": 96, "depth": 64, "mask_bits": 1, "count": 1},
        {"module": "tritforge_registers_1r1w", "width": 96, "depth": 6, "mask_bits": 1, "count": 1},
    ]
    assert "] [" not in "".join(line for line in paths[0].read_text().splitlines(True) if line.startswith("  reg"))


def test_the_command_writes_them_and_refuses_them_where_memories_are_inferred(tmp_path, capsys):
    main(["verilog", "--array", "2x2", "--memories", "macros", "--out", str(tmp_path / "v"), "--json"])
    assert str(tmp_path / "v" / "tritforge_memories.v") in json.loads(capsys.readouterr().out)["files"]
    with pytest.raises(InputError, match=r"^--memories must be left out with --board, whose tool infers block RAM"):
        main(["verilog", "--memories", "macros", "--out", str(tmp_path), "--board", "ulx3s-12f"])


def test_an_unknown_kind_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"^memories must be one of inferred, macros, not 'latches'$"):
        write_verilog(load_array("2x2"), tmp_path, memories="latches")
