"""The machine as a netlist of gates: interpreter's values and simulator's cycles, which are those of the RTL."""

import re
from threading import Timer

import numpy as np
import pytest

from hw.errors import InputError
from hw.gateware.macros.memories import MacroPlatform, default_macros
from hw.process.verilator import compile_program
from hw.simulation.verilated_machine import HARNESS, MachineStopped, VerilatedMachine
from hw.verilog import MACHINE_NAME, machine_rtlil
from tests.hw.gateware.gate_level import generic_netlist
from tests.hw.gateware.whole import test_icarus
from tests.hw.gateware.whole.test_icarus import STALLS, TOKENS, expected

SWAPPED = 60  # gates, one at a time
PATIENCE = 30  # seconds for a machine that a swapped gate may have stopped for ever
_NAND = re.compile(r"^  assign (\S+) = ~\((\S+) & (\S+)\);$", re.MULTILINE)
_CHOICE = """  reg [7:0] swapped = 0; integer file;
  initial begin file = $fopen("swapped", "r"); if ($fscanf(file, "%d", swapped) != 1) $finish; end
"""

pytestmark = pytest.mark.slow  # a minute and a half of synthesis, Verilator and C++
built = test_icarus.built


def with_swaps(gates):
    """A gate is AND, not NAND, where the file ``swapped`` in the folder of the simulation names it, from 1 on."""
    found = list(_NAND.finditer(gates))
    picked = [found[i] for i in np.random.default_rng(16).choice(len(found), SWAPPED, replace=False)]
    numbers = {match.start(): number for number, match in enumerate(picked, 1)}

    def choose(match):
        out, a, b = match.groups()
        number = numbers.get(match.start())
        return f"  assign {out} = swapped == {number} ? {a} & {b} : ~({a} & {b});" if number else match[0]

    head, body = _NAND.sub(choose, gates).split(");\n", 1)
    return f"{head});\n{_CHOICE}{body}"


@pytest.fixture(scope="module")
def program(built):
    """The program of ``built``, and the machine that plays it as gates."""
    rtlil = machine_rtlil(built[0].machine, MacroPlatform()).replace(f"\\{MACHINE_NAME}", "\\top")
    gates = with_swaps(generic_netlist(rtlil, MACHINE_NAME, default_macros())) + default_macros()
    try:
        return compile_program(gates, MACHINE_NAME, HARNESS, optimization="-O0")
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture
def play(built, program, tmp_path, monkeypatch):
    """Answers, cycles of every instruction and memory, with a gate swapped; 0: none."""
    monkeypatch.chdir(tmp_path)

    def run(swapped):
        (tmp_path / "swapped").write_text(f"{swapped}\n")
        with VerilatedMachine(built[0], program, 3, bytes(STALLS) + b"\1" * 60_000) as machine:
            watch = Timer(PATIENCE, machine._process.kill)
            watch.start()
            try:
                steps = [machine.step(token, wanted) for token, wanted in TOKENS]
                after = machine.memory().tobytes()
            finally:
                watch.cancel()
        answers = [step.token for step in steps if step.token is not None]
        return answers, [one for step in steps for one in step.trace], after

    return run


def test_gates_play_tokens_as_the_rtl_does(built, play):
    """``test_icarus`` says the same of the Verilog of this machine, with this program, tokens and stalls."""
    answers, trace, memory = expected(built[0])
    assert play(0) == (answers, trace, memory.tobytes())


def test_most_swapped_gates_are_seen(play):
    """Others do not matter to two tokens: high bits of counters, of addresses, of sums."""
    right, seen = play(0), 0
    for number in range(1, SWAPPED + 1):
        try:
            seen += play(number) != right
        except (MachineStopped, RuntimeError):  # with a status; or killed, as it did not go on
            seen += 1
    assert seen > SWAPPED / 2, seen
