"""A compiled program, run from its image's bits alone, gives the integer model's tokens, caches and residual stream."""

import re
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from hw.config import load_array
from hw.errors import InputError
from hw.program.compiler import compiled
from hw.program.image import CONFIG_FILE, IMAGE_FILE, load_image
from hw.program.instructions import encode
from hw.program.interpreter import Interpreter
from hw.program.layout import EMBEDDINGS
from hw.program.machine import MachineConfig, machine_around
from hw.token.attention import AttentionFormat
from hw.token.table import looked_up
from tests.hw.token.random_models import random_model

ARRAYS = ("8x4", "4x8", "8x8", "16x16", "16x8")


@st.composite
def models(draw):
    kv_heads, group = draw(st.sampled_from([(1, 1), (1, 3), (2, 2), (3, 1)]))
    form = AttentionFormat(
        draw(st.integers(2, 5)), draw(st.integers(2, 5)), draw(st.booleans()), draw(st.sampled_from([16, 32]))
    )
    return random_model(
        draw(st.integers(0, 1000)),
        layers=draw(st.integers(1, 2)),
        hidden=draw(st.sampled_from([12, 16, 22])),
        intermediate=draw(st.sampled_from([9, 20, 33])),
        heads=kv_heads * group,
        kv_heads=kv_heads,
        head_dim=draw(st.sampled_from([8, 16, 24])),
        vocabulary=draw(st.sampled_from([11, 40])),
        context=40,
        form=form,
        digits=draw(st.integers(1, 3)),
    )


@settings(max_examples=8, phases=(Phase.explicit, Phase.generate))  # models shrink slowly
@given(models(), st.sampled_from(ARRAYS), st.sampled_from([2, 4]), st.sampled_from(["2bit", "5in8"]), st.data())
def test_tokens_caches_and_stream_are_those_of_the_model(model, array, lanes, packing, data):
    config = load_array(array)
    lanes = min(lanes, config.rows, config.cols, config.lanes // 16)
    image = compiled(
        model, machine_around(config, lanes, weight_packing=packing), data.draw(st.sampled_from(EMBEDDINGS))
    )
    vocabulary, residual = len(model.embedding.weights), []
    prompt = data.draw(st.lists(st.integers(0, vocabulary - 1), min_size=1, max_size=5))
    count = data.draw(st.integers(1, 35))
    machine = Interpreter(image)
    machine.watch = lambda _, one: (
        one.operation == "STOP" and residual.append(machine.row(0, len(machine.scratch)).copy())
    )
    expected = list(model.generate(prompt, count, model.state()))
    assert machine.write(prompt, count) == expected
    hidden = model.hidden([*prompt, *expected[:-1]], model.state())
    assert np.array_equal(np.stack(residual)[:, : hidden.shape[1]], hidden)


def test_parts_with_scales_of_their_own_are_added_up_in_order():
    model = random_model(5, hidden=16, intermediate=32, head_dim=8, heads=2, kv_heads=1, parts=2)
    image = compiled(model, machine_around(load_array("4x8")))
    assert {one["add"] for one in image.program() if one.operation == "DEQ"} == {0, 1}
    assert Interpreter(image).write([1, 2], 10) == list(model.generate([1, 2], 10, model.state()))


def test_a_prompt_token_skips_the_head_and_leaves_the_same_state():
    model = random_model(9)
    image = compiled(model, machine_around(load_array("8x8")))
    seen = []
    one, other = Interpreter(image, lambda _, made: seen.append(made.operation)), Interpreter(image)
    one.step(3, wanted=False)
    assert "ARGMAX" not in seen
    other.step(3)
    assert np.array_equal(one.memory, other.memory)
    assert one.step(4) == other.step(4)


def test_embedding_alone_is_the_table():
    random = random_model(2, layers=1)
    image = compiled(random, machine_around(load_array("8x8")))
    machine, kept = Interpreter(image), []
    machine.watch = lambda _, one: one.operation == "ADD" and kept.append(machine.row(0, 6)[:12].copy())
    for token in (0, 7, 10):
        machine.step(token, wanted=False)
    assert np.array_equal(np.stack(kept), looked_up(np.array([0, 7, 10]), random.embedding))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    ("array", "lanes", "packing"), [("8x8", 2, "2bit"), ("8x4", 2, "5in8"), ("8x16", 2, "5in8"), ("16x8", 4, "5in8")]
)
def test_rows_out_of_tiles_are_the_table_wherever_a_token_lies(array, lanes, packing, tied):
    model = random_model(2, layers=1, hidden=28, vocabulary=93)
    if not tied:
        model = replace(model, head=random_model(3, layers=1, hidden=28, vocabulary=93).head)
    machine = machine_around(load_array(array), lanes, weight_packing=packing)
    with patch("hw.program.compiler.CHUNK", 16):  # the head in several GEMMs, which begin where packed words do
        image = compiled(model, machine, "tiles")
    assert sum(one.operation == "ARGMAX" for one in image.program()) > 1
    interpreter, kept = Interpreter(image), []
    emb = next(number for number, one in enumerate(image.program()) if one.operation == "EMB")
    for token in range(93):
        interpreter.token, interpreter.begun = token, False
        for one in image.program()[: emb + 2]:
            interpreter._run(0, one)
        kept.append(interpreter.row(0, 28 // lanes).copy())
    assert np.array_equal(np.stack(kept), looked_up(np.arange(93), model.embedding))
    assert interpreter.write([92, 5], 8) == list(model.generate([92, 5], 8, model.state()))


def test_rows_out_of_the_heads_tiles_take_no_memory_of_their_own():
    model = random_model(2, layers=1, hidden=32, vocabulary=64)
    machine = machine_around(load_array("8x8"), weight_packing="5in8")
    sizes = [{name: words for name, (_, words) in compiled(model, machine, how).regions.items()} for how in EMBEDDINGS]
    assert sizes[0]["embedding table"] == 64 * (1 + 32 // 8)  # a word of scale, 8 numbers of int8 a word of 64 bits
    tiles = {name: words for name, words in sizes[1].items() if "table" in name and name != "rotary table"}
    assert tiles == {"table": -(-3 * 64 * 32 // (5 * 8)), "table, scales": 64 * 2 // 8}  # 3 digits, five a byte
    assert sum(sizes[0].values()) - sum(sizes[1].values()) == 64 * 5


def test_an_unknown_place_of_the_embedding_is_refused():
    with pytest.raises(InputError, match=r"^embedding must be one of rows, tiles, not 'head'$"):
        compiled(random_model(1, layers=1), machine_around(load_array("8x8")), "head")


def test_five_trits_a_byte_take_four_words_for_five():
    model = random_model(2, layers=1, hidden=48, intermediate=80)
    plain, packed = (
        compiled(model, machine_around(load_array("8x8"), weight_packing=packing)) for packing in ("2bit", "5in8")
    )
    sizes = [{name: words for name, (_, words) in image.regions.items()} for image in (plain, packed)]
    weights = [name for name in sizes[0] if " rows " in name and not name.endswith("scales")]
    assert len(weights) == 8  # q, k, v, o, gate, up, down and the table
    for name, words in sizes[0].items():
        assert sizes[1][name] == (words - words // 5 if name in weights else words), name
    assert Interpreter(packed).write([1], 8) == Interpreter(plain).write([1], 8)


def test_constants_stay_in_scratch_memory_where_all_of_them_have_room():
    model = random_model(3, layers=2)
    images = [compiled(model, machine_around(load_array("8x8"), scratch_words=words)) for words in (260, 4096)]
    reading, resident = images
    assert reading.header.entry == 0
    program = resident.program()
    # per layer two gains and the scales of seven linears; the last gain, the table's scales, its spread and mean
    assert resident.header.entry == 2 * 9 + 4
    assert {one.operation for one in program[: resident.header.entry]} == {"LOAD"}
    assert len(program) == len(reading.program())
    ran = []
    machine = Interpreter(resident, lambda number, _: ran.append(number))
    assert (
        machine.write([1, 2], 10)
        == Interpreter(reading).write([1, 2], 10)
        == list(model.generate([1, 2], 10, model.state()))
    )
    assert ran.count(1) == ran.count(22) == 1  # with the number of the next
    assert ran.count(23) == 11
    machine.position = 0
    assert machine.write([1, 2], 10) == Interpreter(resident).write([1, 2], 10)


@pytest.fixture
def image():
    return compiled(random_model(1, layers=1, context=20), machine_around(load_array("8x8")))


def test_what_the_memory_has_no_room_for_is_refused(image):
    machine = Interpreter(image)
    with pytest.raises(InputError, match=r"^token must be 0 to 10, not 11$"):
        machine.step(11)
    machine.write([1], 20)
    with pytest.raises(InputError, match=r"^context must be at most 20 tokens, as K and V have room for$"):
        machine.step(1)


@pytest.mark.parametrize(
    ("changes", "machine", "message"),
    [
        ({}, {"scratch_words": 64}, "scratch memory must hold 200 words of 2 lanes for this model, not 64: give --scr"),
        ({"hidden": 200}, {"activation_words": 16}, "the machine needs at least 50 words of activation buffer, not 16"),
        ({"heads": 34, "kv_heads": 1}, {}, "the machine needs at most 16 queries per KV head, not 34"),
        (
            {"form": AttentionFormat(block=24)},
            {},
            "the machine needs blocks of a power of two of at least 8 tokens, not",
        ),
        ({"head_dim": 6}, {"lanes": 4}, "the machine needs heads of a multiple of 4 .a number per lane., not 6"),
        (
            {"head_dim": 12, "parts": 5},
            {},
            "layer 0, q: groups of inputs must begin at multiples of the array's 8 rows",
        ),
    ],
)
def test_a_model_that_does_not_fit_is_refused_with_numbers(changes, machine, message):
    model = random_model(1, layers=1, **changes)
    with pytest.raises(InputError, match=f"^{message}"):
        compiled(model, machine_around(load_array("8x8"), **machine))


@pytest.mark.parametrize(
    ("array", "fields", "message"),
    [
        ("12x8", {}, "array '12x8': rows of a whole-token machine must be a power of two, not 12"),
        ("2x8", {}, "array '2x8': array of a whole-token machine must be 4x4 or larger, not 2x8"),
        ("8x8", {"lanes": 16}, "array '8x8': weight_bus_bits must be 64 or more and at most 32 per row and per column"),
        (
            "64x8",
            {"lanes": 2},
            "array '64x8': weight_bus_bits must be at least 128 so that it holds a column and a lane",
        ),
        ("4x4", {"lanes": 2}, "array '4x4': weight_bus_bits must be at most 32, a whole tile of 4 x 4 trits, not 64"),
        ("8x8", {"lanes": 0}, "lanes must be at least 1, not 0"),
        ("8x8", {"scratch_words": 8}, "array '8x8': Input should be greater than or equal to 16"),
        (
            "8x8",
            {"instruction_lines": 3},
            "array '8x8': instruction_lines of a whole-token machine must be a power of two",
        ),
    ],
)
def test_a_machine_that_cannot_be_is_refused(array, fields, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        machine_around(load_array(array), **fields)


def test_a_plain_array_is_no_machine():
    with pytest.raises(ValueError, match="of a whole-token machine must have digits in 5 planes"):
        MachineConfig(array=load_array("16x16"))


def test_a_written_program_is_read_back(image, tmp_path):
    image.write(tmp_path)
    again = load_image(tmp_path)
    assert np.array_equal(again.memory, image.memory)
    assert (again.machine, again.regions) == (image.machine, image.regions)
    listing = (tmp_path / "program.txt").read_text().splitlines()
    assert len(listing) == image.header.instructions
    assert listing[-1].split() == [str(len(listing) - 1), "STOP"]


@pytest.mark.parametrize("damage", ["truncated", "changed", "missing", "no json", "other machine"])
def test_a_damaged_program_is_refused(image, tmp_path, damage):
    image.write(tmp_path)
    data, config = tmp_path / IMAGE_FILE, tmp_path / CONFIG_FILE
    if damage == "truncated":
        data.write_bytes(data.read_bytes()[:-1])
        message = f"must be {len(image.memory)} bytes as config.json says, not {len(image.memory) - 1}"
    elif damage == "changed":
        data.write_bytes(data.read_bytes()[:-1] + b"\x55")
        message = "must have the hash that config.json says; it has been changed"
    elif damage == "missing":
        data.unlink()
        message = "must hold image.bin and config.json of `tritforge program` .FileNotFoundError."
    elif damage == "no json":
        config.write_text("{")
        message = "must hold image.bin and config.json of `tritforge program` .JSONDecodeError."
    else:
        config.write_text(config.read_text().replace('"scratch_words": 4096', '"scratch_words": 2048'))
        message = "program must be for this machine .configuration [0-9a-f]{16}., not for [0-9a-f]{16}: compile"
    with pytest.raises(InputError, match=message):
        load_image(tmp_path)


def test_a_damaged_instruction_is_refused_by_number(image):
    memory = image.memory.copy()
    memory[4 * 32 + 31] = 0x80  # the last bit of instruction 3
    with pytest.raises(InputError, match=r"^instruction 3: LOAD does not use bit 255: it must be 0"):
        Interpreter(image._replace(memory=memory))
    with pytest.raises(InputError, match=r"^image must begin with the bytes TFW1"):
        Interpreter(image._replace(memory=memory[32:]))
    program = image.program()
    number = next(number for number, one in enumerate(program) if one.operation == "DEQ")
    for changes, message in (
        ({"packed": 1}, f"instruction {number}: packed must be 0 on a machine with weight_packing 2bit, not 1"),
        ({"burst": 5}, f"burst of DEQ must be {program[number]['burst']} memory words, not 5"),
    ):
        memory = image.memory.copy()
        one = program[number]._replace(values={**program[number].values, **changes})
        memory[32 * (1 + number) : 32 * (2 + number)] = np.frombuffer(encode(one).to_bytes(32, "little"), np.uint8)
        with pytest.raises(InputError, match=f"^{message}$"):
            Interpreter(image._replace(memory=memory)).step(1)
    # another GEMM of the same weights with a burst of its own is not taken for the one that was right
    first, second = [number for number, one in enumerate(program) if one.operation == "DEQ"][:2]
    twice = {**program[second].values, "address": program[first]["address"], "burst": program[first]["burst"] + 1}
    twice |= {name: program[first][name] for name in ("n", "k", "planes")}
    memory = image.memory.copy()
    code = encode(program[second]._replace(values=twice)).to_bytes(32, "little")
    memory[32 * (1 + second) : 32 * (2 + second)] = np.frombuffer(code, np.uint8)
    with pytest.raises(InputError, match=r"^burst of DEQ must be"):
        Interpreter(image._replace(memory=memory)).step(1)
    header = image.header._replace(entry=image.header.instructions)
    memory = np.concatenate([np.frombuffer(header.encoded(), np.uint8), image.memory[32:]])
    with pytest.raises(InputError, match=r"^entry of the header must be below [0-9]+ instructions, not [0-9]+$"):
        Interpreter(image._replace(memory=memory))
    with pytest.raises(InputError, match=r"^image must hold [0-9]+ instructions, not 96 bytes: it is truncated$"):
        Interpreter(image._replace(memory=image.memory[:96]))
