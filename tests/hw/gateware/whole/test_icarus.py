"""The machine's Verilog under Icarus: interpreter's values, simulator's cycles, and a reset on any edge of a token."""

import numpy as np
import pytest

from hw.program.interpreter import Interpreter, Status
from hw.token.attention import AttentionFormat
from hw.verilog import machine_verilog
from sim.token.cycles import TokenCycles
from tests.hw.gateware.whole.icarus import run_icarus
from tests.hw.gateware.whole.test_machine import changed, image

TOKENS = [(3, False), (5, True)]
STALLS = np.random.default_rng(1).integers(0, 2, 3000).tolist()


@pytest.fixture(scope="module")
def built():
    small = {"scratch_words": 96, "activation_words": 16}
    program, _ = image(array="4x8", lanes=2, form=AttentionFormat(2, 2, True, 8), machine=small)
    return program, machine_verilog(program.machine)


def expected(program, tokens=TOKENS, latency=3, stalls=STALLS):
    """Answers, cycles of every instruction, memory."""
    golden = Interpreter(program)
    answers = [golden.step(token, wanted) for token, wanted in tokens]
    cycles = TokenCycles(program, latency, bytes(stalls) + b"\1" * 60_000)
    trace = [(one.operation, one.cycles) for _, wanted in tokens for one in cycles.step(wanted)]
    return [answer for answer, (_, wanted) in zip(answers, tokens, strict=True) if wanted], trace, golden.memory


def test_values_and_cycles_are_those_of_interpreter_and_simulator(built, tmp_path):
    program, text = built
    answers, trace, memory = expected(program)
    (run,), after = run_icarus(text, program, TOKENS, tmp_path, 3, STALLS)
    assert (run.answers, run.trace, run.status) == (answers, trace, Status.OK)
    assert np.array_equal(after, memory)


def resets(built, folder, edges):
    """Every second run is cut off on one of ``edges``, the others must be what they would be without."""
    program, text = built
    answers, trace, memory = expected(program)
    cuts = [cut for edge in edges for cut in (edge, None)]
    runs, after = run_icarus(text, program, TOKENS, folder, 3, STALLS, cuts)
    assert [run.cut for run in runs] == [cut is not None for cut in cuts]
    for run, edge in zip(runs[1::2], edges, strict=True):
        assert (run.answers, run.trace, run.status) == (answers, trace, Status.OK), f"behind a reset on edge {edge}"
    for run, edge in zip(runs[::2], edges, strict=True):
        assert run.trace == trace[: len(run.trace)], f"in front of a reset on edge {edge}"
    assert np.array_equal(after, memory)


def test_the_token_behind_a_reset_is_right(built, tmp_path):
    total = sum(cycles for _, cycles in expected(built[0])[1])
    resets(built, tmp_path, [1, 40, total // 3, total // 2 + 7, total - 20])


@pytest.mark.slow
def test_so_it_is_on_every_kind_of_edge(built, tmp_path):
    total = sum(cycles for _, cycles in expected(built[0])[1])
    resets(built, tmp_path, sorted(np.random.default_rng(3).integers(1, total - 1, 60).tolist()))


def test_a_stopped_machine_works_again_behind_a_reset(built, tmp_path):
    program, text = built
    broken = changed(program, 2, "operation", 31)
    runs, _ = run_icarus(text, broken, TOKENS, tmp_path, cuts=[None, None])
    assert [run.status for run in runs] == [Status.UNKNOWN_INSTRUCTION] * 2
    assert len(runs[0].trace) == len(runs[1].trace) == 2
