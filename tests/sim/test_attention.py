"""Attention on the array as a choice of a run: what it stores, where it runs, and what is refused."""

import json

import pytest
import yaml

from hw.config import ArrayConfig, sized
from hw.errors import InputError
from quant.kv.formats import parse_kv
from quant.manifest import Manifest
from quant.shapes import load_shape
from sim.__main__ import main
from sim.attention import choose_digits, measured_in_digits
from sim.execution import Execution
from sim.gemm.cost import forget_gemms
from sim.gemm.schedule import stepped_schedules
from sim.job import SimJob
from sim.memory import load_memory
from sim.residence import stored_bytes
from sim.simulator import simulate_trace
from sim.trace.build import build_trace
from sim.trace.file import read_trace, write_trace
from sim.trace.ops import Formats, KvDigits

SHAPE = load_shape("stories260K")  # 8 query and 4 KV heads of 8
ABLE = {"planes": 5, "digits": True, "lane_loading": True}


def array(**fields) -> ArrayConfig:
    return ArrayConfig(**sized(8, 8).model_dump() | {"name": "a"} | ABLE | fields)


def run(tmp_path, capsys, *options, **fields):
    """``tritforge run`` of a prompt of 5 and 3 steps on ``array(**fields)``: units by op, and the notes."""
    path = tmp_path / "array.yaml"
    path.write_text(yaml.safe_dump({"schema": "tritforge.array.1"} | array(**fields).model_dump()), encoding="utf-8")
    sizes = ["--model", "stories260K", "--array", str(path), "--prefill", "5", "--decode", "3"]
    main(["run", *sizes, "--json", *options])
    found = json.loads(capsys.readouterr().out)
    return {op["name"]: op["unit"] for op in found["phases"][0]["ops"]}, " ".join(found["notes"])


def test_bytes_of_k_and_v_by_hand():
    """128 elements on 64 lanes: 13 bytes of five trits for each half and plane; on 50 lanes 10 + 10 + 6."""
    four_three = KvDigits(key_digits=4, value_digits=3, rotate=True, lanes=64)
    assert (four_three.key_bytes(128), four_three.value_bytes(128)) == (104, 78)
    assert four_three.token_bits(128) == 8 * (104 + 78) + 16 + 16
    assert KvDigits(key_digits=5, value_digits=5, rotate=True, lanes=50).key_bytes(128) == 5 * (10 + 10 + 6)
    assert KvDigits(key_digits=3, value_digits=3, rotate=True, lanes=64).key_bytes(8) == 3 * 2
    assert Formats(kv_bits=8).cached_bits(128) == 2 * 128 * 8
    assert Formats(kv_bits=8, digits=four_three).cached_bits(128) == four_three.token_bits(128)


def test_an_array_that_can_runs_attention_unless_told_otherwise(tmp_path, capsys):
    units, notes = run(tmp_path, capsys)
    assert (units["attention_scores"], units["attention_values"], units["softmax"]) == ("array", "array", "vector")
    assert "attention products run on the array, lm_head on the vector unit; K in 4 and V in 3" in notes
    assert "q and k rotated, 9.00 bits an element" in notes  # (8 x (8 + 6) + 32) / 16
    assert [name for name in units if name in ("rope", "rotate", "quantize_queries", "kv_cache_write")] == [
        "rope", "rotate", "quantize_queries", "kv_cache_write",
    ]  # fmt: skip
    units, notes = run(tmp_path, capsys, "--key-digits", "5", "--value-digits", "3", "--no-rotate")
    assert "rotate" not in units
    assert "K in 5 and V in 3 balanced-ternary digits, " in notes
    for choice in ("--attention", "vector"), ("--placement", "attention_values=vector"):
        units, notes = run(tmp_path, capsys, *choice)
        assert (units["attention_scores"], units["attention_values"]) == ("vector", "vector")
        assert "rotate" not in units
        assert "KV cache 16 bits" in notes


def test_an_array_that_cannot_keeps_k_and_v_as_they_were(tmp_path, capsys):
    units, notes = run(tmp_path, capsys, "--kv-bits", "8", digits=False)
    assert units["attention_scores"] == "vector"
    assert "KV cache 8 bits" in notes
    too_narrow = array(rows=2, accumulator_bits=16)  # heads of 8 in 4 digits need 17 bits
    assert choose_digits(too_narrow, 8, Execution()) is None
    assert choose_digits(array(planes=3), 8, Execution()) is None


def test_heads_of_an_odd_size_are_not_rotated():
    assert not choose_digits(array(), 7, Execution()).rotate
    with pytest.raises(InputError, match=r"^rotate must be left out with heads of 7, an odd number"):
        choose_digits(array(), 7, Execution(), rotate=True)


@pytest.mark.parametrize("mac", ["ternary", "int8"])
def test_attention_over_many_steps_and_query_tiles_steps_each_number_of_tiles_once(mac):
    """1000 steps behind 1000 tokens on 8 columns: 125 more tiles at the end; in blocks of 512 keys, 64 for digits."""
    able = array(token_tile=16, activation_buffer_bytes=4096).baseline(mac)
    shape = SHAPE.model_copy(update={"max_positions": 4096})
    job = SimJob(prefill=1000, decode=1000)
    steps = []
    for decode in (job.decode, 1):
        forget_gemms()
        job.model_copy(update={"decode": decode}).simulate(shape, able)
        steps.append(stepped_schedules())
    assert 0 < steps[0] - steps[1] <= (2 * 64 if mac == "ternary" else 2 * 125)


def test_the_old_spelling_asks_for_it_too():
    able, placed = array(), Execution(placement={"attention_scores": "array"}, attention="vector")
    assert choose_digits(able, 8, placed) == KvDigits(key_digits=4, value_digits=3, rotate=True, lanes=8)
    for rows, cols in ((4, 8), (8, 4)):  # K is loaded along rows and V along columns: the shorter of both
        assert choose_digits(array(rows=rows, cols=cols, **ABLE), 8, placed).lanes == 4
    with pytest.raises(InputError, match="digits and lane_loading must be true"):
        choose_digits(sized(8, 8), 8, placed)


@pytest.mark.parametrize(
    ("fields", "options", "message"),
    [
        (
            {"digits": False, "lane_loading": False, "planes": 1},
            ["--attention", "array"],
            r"^attention on array 'a': digits and lane_loading must be true, and planes at least 4 for K in 4 and V in "
            r"3 digits .fields of the array., or attention must be vector$",
        ),
        ({"lane_loading": False}, ["--key-digits", "3"], "^attention on array 'a': lane_loading must be true, and"),
        (
            {"planes": 3},
            ["--attention", "array"],
            "^key_digits must be at most 3, the planes of array 'a' .--array-fields planes=4., not 4; or attention "
            "must be vector$",
        ),
        ({"planes": 3}, ["--key-digits", "3", "--value-digits", "5"], "^value_digits must be at most 3, the planes"),
        (
            {"rows": 2, "accumulator_bits": 16},
            ["--key-digits", "5"],
            "^attention on array 'a': key_digits must be at most 3 for heads of 8, since accumulators of 16 bits hold "
            "K = 2 in 5 digits; or attention must be vector$",
        ),
        (
            {"rows": 1, "accumulator_bits": 12, "planes": 3},  # 127 x 4 x 8 is 4064: 13 bits with its sign
            ["--key-digits", "3"],
            "^attention on array 'a': accumulator_bits must be at least 13 for heads of 8, since accumulators of 12 "
            "bits hold K = 1 in 3 digits; or attention must be vector$",
        ),
        (
            {},
            ["--attention", "vector", "--no-rotate"],
            "^rotate must be left out with attention on the vector: K and V",
        ),
        ({}, ["--mac", "int8", "--key-digits", "4"], "^key_digits must be left out with the int8 lanes of 'a/int8'"),
    ],
)
def test_what_cannot_be_is_refused_with_the_nearest_that_can(fields, options, message, tmp_path, capsys):
    with pytest.raises(InputError, match=message):
        run(tmp_path, capsys, *options, **fields)


def test_digits_go_with_a_trace(tmp_path):
    job = SimJob(prefill=5, decode=3, key_digits=5, rotate=False)
    trace = build_trace(SHAPE, 5, 3, formats=job.formats(array(), SHAPE), execution=job.execution)
    write_trace(tmp_path / "trace.json", trace, array())
    read = read_trace(tmp_path / "trace.json", SHAPE, array())
    assert read == trace
    assert read.formats.digits == KvDigits(key_digits=5, value_digits=3, rotate=False, lanes=8)
    memory = load_memory("lpddr5-6400")
    assert simulate_trace(read, array(), memory).phases == job.simulate(SHAPE, array()).phases
    with pytest.raises(InputError, match="attention must be auto or array, on a ternary array, where K and V are dig"):
        simulate_trace(read, array().baseline("int8"), memory)
    plain = build_trace(SHAPE, 5, 3, execution=Execution(attention="array"))
    with pytest.raises(InputError, match="formats must have digits for attention on the ternary array 'a'"):
        simulate_trace(plain, array(), memory)


def test_kept_bytes_are_those_of_the_digits():
    """5 layers of 4 KV heads, 8 tokens: 14 bytes of digits and two scales of 2 bytes, against 2 x 8 x 2 bytes."""
    job = SimJob(prefill=5, decode=3)
    bytes_of = [
        stored_bytes(build_trace(SHAPE, 5, 3, formats=formats), array())
        for formats in (job.formats(array(), SHAPE), Formats(kv_bits=16))
    ]
    assert bytes_of[1] - bytes_of[0] == SHAPE.layers * 4 * 8 * (32 - 18)


def manifest_of(kv):
    """A measured model whose perplexities are over K and V in ``kv``."""
    return Manifest.model_construct(
        model="stories260K", shape=SHAPE, method="made up", options={}, packing="2bit", linears=[], kv=parse_kv(kv),
        weights_sha256="0", source_sha256="0", calibration="none",
    )  # fmt: skip


def test_a_run_takes_the_digits_over_which_perplexity_was_measured():
    job = SimJob()
    for kv, expected in (("digits:5/3", (5, 3, False)), ("digits:2,rotate", (2, 2, True)), ("float", (4, 3, True))):
        digits = job.formats(array(), SHAPE, manifest_of(kv)).digits
        assert (digits.key_digits, digits.value_digits, digits.rotate) == expected
        assert measured_in_digits(digits, manifest_of(kv)) == (kv != "float")
    asked = SimJob(key_digits=3).formats(array(), SHAPE, manifest_of("digits:5")).digits
    assert (asked.key_digits, asked.value_digits, asked.rotate) == (3, 5, False)
    assert not measured_in_digits(asked, manifest_of("digits:5"))
    assert job.formats(array(), SHAPE, manifest_of("kivi:2")).digits == job.formats(array(), SHAPE).digits
    assert job.formats(array(planes=4), SHAPE, manifest_of("digits:5")).digits is None


def test_rivals_keep_k_and_v_as_they_multiply_them():
    job = SimJob(attention="array", key_digits=5, value_digits=5, rotate=True, kv_bits=8)
    plain = job.as_rival()
    assert (plain.attention, plain.key_digits, plain.value_digits, plain.rotate) == ("auto", None, None, None)
    assert plain.formats(array().baseline("int8"), SHAPE).digits is None
    assert plain.kv_bits == 8
