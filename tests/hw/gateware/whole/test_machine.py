"""The machine beside the golden interpreter, instruction by instruction; and how it stops."""

import numpy as np
import pytest
from amaranth.back import rtlil

from hw.config import load_array
from hw.gateware.whole.machine import Machine
from hw.program.compiler import compiled
from hw.program.instructions import FIELDS, OPERATIONS
from hw.program.interpreter import Status
from hw.program.machine import machine_around
from hw.synthesis.word_level import MULTIPLIERS, word_level_cells
from hw.token.attention import AttentionFormat
from tests.hw.gateware.whole.bench import Bench
from tests.hw.token.random_models import random_model

FORM = AttentionFormat(5, 3, True, 16)
FEW = {"scratch_words": 160, "activation_words": 32}
SMALL = {"layers": 1, "hidden": 12, "intermediate": 20, "heads": 2, "kv_heads": 1, "head_dim": 8}


def image(array="8x8", lanes=2, form=FORM, seed=3, machine=FEW, embedding="rows", **model):
    made = random_model(seed, form=form, **SMALL | {"context": 40} | model)
    return compiled(made, machine_around(load_array(array), lanes, **machine), embedding), made


def beside(program, tokens, **how):
    """Runs tokens with every instruction compared; the operations that ran."""
    bench = Bench(program, **how)
    bench.run(tokens)
    assert bench.answers == [bench.golden.best_id]
    assert bench.status == Status.OK
    return {name for name, operation in OPERATIONS.items() for code, _ in bench.trace if code == operation.code}


def test_state_behind_every_instruction_is_that_of_the_interpreter():
    assert beside(image(embedding="tiles")[0], [(5, True)]) == set(OPERATIONS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("machine", "model"),
    [
        ({}, {"layers": 2}),
        ({"array": "16x8", "lanes": 4, "form": AttentionFormat(4, 5, False, 16)}, {"head_dim": 24, "hidden": 22}),
        ({"array": "4x8", "lanes": 2, "form": AttentionFormat(2, 2, True, 8)}, {"kv_heads": 2, "parts": 2}),
        ({"packing": "5in8"}, {"vocabulary": 23}),
        ({"array": "16x8", "lanes": 4, "packing": "5in8"}, {"hidden": 22, "embedding": "tiles"}),
    ],
)
def test_so_it_is_on_other_machines_and_with_a_memory_that_stalls(machine, model):
    wanted = {"hidden": 16, "intermediate": 32} if model.get("parts") else {}
    fields = {"scratch_words": 256, "activation_words": 64, "weight_packing": machine.get("packing", "2bit")}
    where = {name: value for name, value in machine.items() if name != "packing"}
    program, _ = image(**where, **wanted | model, machine=fields)
    stalls = np.random.default_rng(1).integers(0, 2, 3000)
    found = beside(program, [(3, False), (5, True)], latency=3, stalls=stalls)
    assert found == {one.operation for one in program.program()}


def test_constants_that_stay_are_loaded_by_the_first_token_alone():
    program, model = image(machine={"scratch_words": 512, "activation_words": 32})
    assert program.header.entry == 13
    bench = Bench(program)
    bench.run([(5, False), (3, True)])
    assert bench.answers == list(model.generate([5, 3], 1, model.state()))
    loads = [code for code, _ in bench.trace].count(OPERATIONS["LOAD"].code)
    again = program.program()[13:]
    assert loads == 13 + 2 * sum(one.operation == "LOAD" for one in again)


def test_it_goes_on_at_any_position():
    program, _ = image(form=AttentionFormat(5, 3, True, 8))
    beside(program, [(5, True)], position=9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("operation", "field", "octaves"),
    [
        ("EMB", "first", 4), ("EMB", "shift", 24), ("DEQ", "first", 4), ("DEQ", "shift", 16), ("SCORE", "first", 8),
        ("SCORE", "shift", 16), ("EXP", "first", 4), ("OACC", "first", 4), ("OACC", "first", 8), ("ONORM", "first", 12),
        ("ONORM", "shift", 16), ("GLU", "shift", 16),
    ],
)  # fmt: skip
def test_an_instruction_that_clips_raises_the_flag_as_the_interpreter_does(program, operation, field, octaves):
    """Its first one makes values so many octaves larger (OACC 4: ONORM clips its operand); the bench compares each."""
    number, one = next((at, one) for at, one in enumerate(program.program()) if one.operation == operation)
    bench = Bench(changed(program, number, field, one[field] - octaves & (1 << FIELDS[field].bits) - 1))
    bench.run([(5, True)])
    assert bench.golden.flags.saturated
    assert bench.status == Status.OK


@pytest.mark.slow
def test_only_lanes_scale_unit_argmax_and_addresses_multiply():
    program, _ = image()
    cells = word_level_cells(rtlil.convert(Machine(program.machine), name="machine", emit_src=False))
    found = {kind: count for kind, count in cells.items() if kind in MULTIPLIERS}
    assert found == {"$mul": 2 * program.machine.lanes + 1 + 1 + 5}


@pytest.mark.slow
def test_tokens_over_two_blocks_of_the_context():
    program, model = image()
    bench = Bench(program)
    bench.compare = False
    prompt = [token % 11 for token in range(17)]
    bench.run([*((token, False) for token in prompt[:-1]), (prompt[-1], True)])
    assert bench.answers == list(model.generate(prompt, 1, model.state()))


def stopped(program, tokens=((1, True),), **how):
    bench = Bench(program, **how)
    bench.compare = False
    bench.run(tokens, 40000)
    return Status(bench.status)


def changed(program, instruction, field, value):
    memory = program.memory.copy()
    at = 32 * (1 + instruction)
    word = int.from_bytes(memory[at : at + 32].tobytes(), "little")
    low, bits, *_ = FIELDS[field]
    word = word & ~((1 << bits) - 1 << low) | value << low
    memory[at : at + 32] = np.frombuffer(word.to_bytes(32, "little"), np.uint8)
    return program._replace(memory=memory)


@pytest.fixture(scope="module")
def program():
    return image()[0]


def damaged(program, place, value):
    memory = program.memory.copy()
    memory[place] ^= value
    return program._replace(memory=memory)


def bare(program, monkeypatch):
    """The bench on an image that the interpreter would refuse."""
    monkeypatch.setattr("tests.hw.gateware.whole.bench.Interpreter", lambda _: _Golden(program))


class _Golden:
    """What the bench needs of an interpreter that is not compared."""

    def __init__(self, program):
        self.memory = np.zeros((program.header.memory_words, program.machine.word_bytes), np.uint8)
        self.program, self.first = (), 0


@pytest.mark.parametrize(
    ("what", "status"),
    [
        ("magic", Status.NOT_AN_IMAGE),
        ("configuration", Status.OTHER_CONFIGURATION),
        ("operation", Status.UNKNOWN_INSTRUCTION),
        ("unused bit", Status.UNKNOWN_INSTRUCTION),
        ("packed", Status.UNKNOWN_INSTRUCTION),
        ("address", Status.OUTSIDE_MEMORY),
        ("short burst", Status.WRONG_BURST),
        ("long burst", Status.WRONG_BURST),
        ("token", Status.UNKNOWN_TOKEN),
    ],
)
def test_what_is_wrong_ends_in_a_status(program, monkeypatch, what, status):
    bare(program, monkeypatch)
    deq = next(number for number, one in enumerate(program.program()) if one.operation == "DEQ")
    burst = program.program()[deq]["burst"]
    tokens = ((11, True),) if what == "token" else ((1, True),)
    broken = {
        "magic": lambda: damaged(program, 0, 1),
        "configuration": lambda: damaged(program, 8, 1),
        "operation": lambda: changed(program, 2, "operation", 31),
        "unused bit": lambda: damaged(program, 32 * 4 + 31, 0x80),
        "packed": lambda: changed(program, deq, "packed", 1),
        "short burst": lambda: changed(program, deq, "burst", burst - 1),
        "long burst": lambda: changed(program, deq, "burst", burst + 1),
        "address": lambda: changed(program, 0, "address", program.header.memory_words),
        "token": lambda: program,
    }[what]()
    assert stopped(broken, tokens) == status


@pytest.mark.slow
def test_a_full_context_ends_in_a_status():
    full, _ = image(context=2)
    assert stopped(full, ((1, False), (2, False), (3, False))) == Status.CONTEXT_FULL


def test_a_memory_that_never_answers_ends_in_a_status(program, monkeypatch):
    bare(program, monkeypatch)
    assert stopped(program, stalls=[1] * 100 + [0] * 40000, patience_bits=8) == Status.MEMORY_SILENT
