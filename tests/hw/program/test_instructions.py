"""Instructions: encoding and decoding are inverse, and whatever is no instruction is refused by name and place."""

import re
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.errors import InputError
from hw.program.instructions import FIELDS, OPERATIONS, Instruction, decode, disassembled, encode
from hw.program.machine import INSTRUCTION_BITS


def ranges(field):
    _, bits, _, signed = FIELDS[field]
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)


@st.composite
def instructions(draw):
    name = draw(st.sampled_from(sorted(OPERATIONS)))
    values = {field: draw(st.integers(*ranges(field))) for field in OPERATIONS[name].fields}
    return Instruction(name, {field: value for field, value in values.items() if value})


@given(instructions())
def test_decoding_gives_what_was_encoded(instruction):
    word = encode(instruction)
    assert 0 < word < 1 << INSTRUCTION_BITS
    assert decode(word) == instruction


@given(instructions(), st.integers(0, INSTRUCTION_BITS - 1))
def test_a_bit_that_an_operation_does_not_use_is_refused(instruction, bit):
    taken = {
        place
        for field in ("operation", *OPERATIONS[instruction.operation].fields)
        for place in range(FIELDS[field].low, FIELDS[field].low + FIELDS[field].bits)
    }
    word = encode(instruction) | 1 << bit
    if bit in taken:
        assert encode(decode(word)) == word if FIELDS["operation"].bits <= bit else True
    else:
        with pytest.raises(InputError, match=f"^{instruction.operation} does not use bit {bit}: it must be 0"):
            decode(word)


def test_fields_of_one_operation_share_no_bit_and_lie_within_the_instruction():
    for operation in OPERATIONS.values():
        for a, b in combinations(("operation", *operation.fields), 2):
            first, second = FIELDS[a], FIELDS[b]
            assert first.low + first.bits <= second.low or second.low + second.bits <= first.low, (a, b)
    assert max(field.low + field.bits for field in FIELDS.values()) <= INSTRUCTION_BITS


@pytest.mark.parametrize("code", [0, len(OPERATIONS) + 1, 31])
def test_an_unknown_code_is_refused(code):
    with pytest.raises(InputError, match=f"^operation code must be 1 to {len(OPERATIONS)}, not {code}$"):
        decode(code)


@pytest.mark.parametrize(
    ("instruction", "message"),
    [
        (Instruction("ADDD", {}), "operation must be one of STOP, .*, not 'ADDD'; did you mean 'ADD'?"),
        (Instruction("ADD", {"planes": 1}), "ADD has no field 'planes'; its fields are last_only, source, .*words"),
        (Instruction("ADD", {"words": 1 << 16}), "ADD: words must be 0 to 65535 (16 bits), not 65536"),
        (Instruction("OACC", {"first": -2049}), "OACC: first must be -2048 to 2047 (12 bits), not -2049"),
    ],
)
def test_what_cannot_be_encoded_is_refused(instruction, message):
    with pytest.raises(InputError, match=r"^" + re.escape(message).replace(r"\.\*", ".*") + "$"):
        encode(instruction)


def test_an_instruction_in_words():
    load = Instruction("LOAD", {"address": 7, "index": 3, "stride": 4, "words": 9, "element": 2, "by_block": 1})
    assert disassembled(load) == "LOAD   address=7 index=block stride=4 words=9 element=uint16 by_block"
    deq = Instruction("DEQ", {"first": -3, "width": 2, "last_only": 1})
    assert disassembled(deq) == "DEQ    last_only first=-3 width=32"
    assert disassembled(Instruction("STOP", {})) == "STOP"
