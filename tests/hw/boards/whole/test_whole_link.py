"""The gateware between line, machine and memory: a memory that freezes, is reset and goes on; damaged frames."""

import random

import pytest

from hw.host.line import LinkError
from hw.host.whole.loading import load_memory
from hw.host.whole.protocol import WholeKind
from hw.host.whole.session import MachineSession
from hw.program.interpreter import Interpreter
from tests.hw.boards.whole.machine_line import MachineLine
from tests.hw.gateware.whole.test_machine import image
from tests.hw.host.whole.python_board import silent

pytestmark = pytest.mark.slow  # a machine, in Amaranth's simulator
PATIENCE_BITS = 9
FEW = 4  # damaged frames


@pytest.fixture(scope="module")
def program():
    return image(array="4x8", lanes=2, context=16, heads=1, hidden=8, intermediate=8)[0]  # six frames


def test_a_frozen_memory_is_said_wherever_it_freezes_and_a_reset_goes_on(program):
    line = MachineLine(program.machine, program.header.memory_words, PATIENCE_BITS)
    session = MachineSession(line)
    line.freeze = True
    with pytest.raises(LinkError, match=r"^the board's memory does not answer: run the command again"):
        load_memory(session, program, silent)
    line.freeze = False
    draw, damaged = random.Random(3), []

    def damage(data):
        if len(damaged) == FEW or draw.random() >= 0.2:
            return data
        damaged.append(len(data))
        spoiled = bytearray(data)
        spoiled[draw.randrange(len(spoiled))] ^= 1
        return bytes(spoiled)

    line.to_device = damage
    session = MachineSession(line)
    assert load_memory(session, program, silent).repeated > 0
    assert len(damaged) == FEW
    assert min(damaged) < 32 < 256 < max(damaged)  # a request that is asked again, words that a check misses
    line.to_device = lambda data: data
    assert load_memory(session, program, silent).sent == 0
    session.run()
    line.run(40)  # into the header
    line.freeze = True
    with pytest.raises(LinkError, match=r"^the machine stopped at position 0 with status 6: memory did not answer"):
        list(session.generate([3], 1))
    line.freeze = False
    session.reset()
    session.run()
    assert [one.token for one in session.generate([3, 1], 2)] == Interpreter(program).write([3, 1], 2)
    session.requests.ask(WholeKind.TOKENS, (3).to_bytes(4, "little"))
    line.run(300)
    assert session.status().working
    session.reset()  # in the middle of a token, with words of a burst on their way
    session.run()
    assert [one.token for one in session.generate([3, 1], 1)] == Interpreter(program).write([3, 1], 1)
