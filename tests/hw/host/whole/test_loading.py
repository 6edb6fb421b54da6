"""Loading a program onto a board and writing tokens, over a line that loses, damages and ends."""

import random
import time

import numpy as np
import pytest

from hw.host.line import LinkError
from hw.host.whole import loading
from hw.host.whole.loading import load_memory
from hw.host.whole.protocol import WholeKind, write_bytes
from hw.host.whole.session import STOPPED, MachineSession, check_image
from hw.program.interpreter import Interpreter, Status
from tests.hw.gateware.whole.test_machine import image
from tests.hw.host.whole.python_board import PythonBoard, silent


@pytest.fixture(scope="module")
def program():
    return image()[0]


@pytest.fixture
def board(program, monkeypatch):
    monkeypatch.setattr(loading, "STRETCH_BYTES", 1024)  # so that a small image has several
    return PythonBoard(program.machine, program.header.memory_words * program.machine.word_bytes)


def test_what_is_loaded_writes_the_tokens_of_the_interpreter(board, program):
    session = MachineSession(board)
    check_image(program, session.hello)
    done = load_memory(session, program, silent)
    assert bytes(board.memory[: len(program.memory)]) == program.memory.tobytes()
    assert (done.bytes, done.sent, done.repeated) == (len(program.memory), len(program.memory), 0)
    session.run()
    found = list(session.generate([3, 1, 4], 6))
    assert [one.token for one in found] == Interpreter(program).write([3, 1, 4], 6)
    assert {one.cycles for one in found} == {1000}


def test_what_lies_there_is_not_sent_again_and_a_changed_byte_costs_its_stretch(board, program):
    session = MachineSession(board)
    load_memory(session, program, silent)
    board.frames.clear()
    assert load_memory(session, program, silent).sent == 0
    assert WholeKind.WRITE not in board.frames
    board.memory[1500] ^= 4
    assert load_memory(session, program, silent).sent == 1024


def test_what_is_said_to_lie_there_is_compared_at_both_ends(board, program):
    session = MachineSession(board)
    for place in (5, len(program.memory) - 5):
        board.memory[: len(program.memory)] = program.memory.tobytes()
        assert load_memory(session, program, silent, loaded=True).sent == 0
        board.memory[place] ^= 1
        with pytest.raises(LinkError, match=r"^the memory does not hold this program: leave out --loaded"):
            load_memory(session, program, silent, loaded=True)


def test_frames_carry_whole_words_and_fill_their_payload():
    assert [write_bytes(size) for size in (8, 16, 32)] == [504, 496, 480]  # 508 bytes behind the address


def test_a_line_that_loses_and_damages_bytes_is_repaired(board, program):
    draw = random.Random(5)

    def damage(data):
        data = bytearray(data)
        if draw.random() < 0.15:
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        if draw.random() < 0.1:
            del data[draw.randrange(len(data))]
        return bytes(data)

    session = MachineSession(board)
    board.damage = damage
    done = load_memory(session, program, silent)
    assert bytes(board.memory[: len(program.memory)]) == program.memory.tobytes()
    assert done.repeated > 0


def test_a_cable_pulled_in_mid_load_leaves_what_was_loaded_and_the_next_load_goes_on(board, program):
    session = MachineSession(board)
    board.cable = 2600
    with pytest.raises(LinkError, match=r"was the board unplugged\?$"):
        load_memory(session, program, silent)
    board.cable = None
    done = load_memory(MachineSession(board), program, silent)
    assert done.sent == len(program.memory) - 2048  # two stretches were whole


def test_a_memory_that_answers_nothing_or_keeps_nothing_is_said(board, program):
    session = MachineSession(board)
    board.frozen = True
    with pytest.raises(LinkError, match=r"^the board's memory does not answer: run the command again"):
        load_memory(session, program, silent)
    board.frozen = False
    session.reset()
    board.wrong = True
    with pytest.raises(LinkError, match=r"^bytes 0 to 1023 of the image do not arrive in 5 tries"):
        load_memory(session, program, silent)


def test_a_program_for_another_bitstream_or_a_larger_memory_is_refused(board, program):
    other = image(array="16x8", lanes=4)[0]
    hello = MachineSession(board).hello
    with pytest.raises(
        LinkError, match=r"^the board holds a machine of configuration [0-9a-f]{16}, and the program is"
    ):
        check_image(other, hello)
    small = hello._replace(memory_words=hello.memory_words - 1)
    size = program.header.memory_words * program.machine.word_bytes
    with pytest.raises(LinkError, match=rf"^the program needs {size} bytes of memory .* the board has {size - 8}: "):
        check_image(program, small)


def test_a_machine_that_stops_or_ends_no_token_is_said(board, program):
    session = MachineSession(board)
    load_memory(session, program, silent)
    session.run()
    with pytest.raises(LinkError, match=r"^the machine stopped at position 40 with status 4: K and V have no room"):
        list(session.generate([3] * 39, 4))
    session.reset()
    session.run()
    board.mute, begun = True, time.monotonic()
    with pytest.raises(LinkError, match=r"^no token in 0\.1 s: the machine is not working; 0 answers wait$"):
        list(session.generate([3], 1, token_timeout_s=0.1))
    assert time.monotonic() - begun < 30


def test_every_status_of_a_machine_has_words():
    assert set(STOPPED) == set(Status) - {Status.OK}


def test_a_load_while_the_machine_runs_is_refused(board, program):
    session = MachineSession(board)
    load_memory(session, program, silent)
    session.run()
    with pytest.raises(LinkError, match=r"^the board has left its load: was it reset\? Run the command again$"):
        load_memory(session, program._replace(memory=np.roll(program.memory, 8)), silent)
