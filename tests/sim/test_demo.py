"""The demo: a LLaMA on the RTL, golden tokens in the simulator's cycles, and what it refuses."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from hw.config import load_array
from hw.errors import InputError
from hw.golden import gemm
from hw.job import CoreJob
from hw.simulation.verilated import Product
from quant.shapes import Gemm
from sim.__main__ import main
from sim.demo import Count, RtlEngine, piece_text
from sim.gemm.closed_form import closed_form

STORIES = Path(__file__).parents[3] / "shared" / "data" / "models" / "stories260K.bin"


class FakeCore:
    """A core that computes right, late by ``late`` cycles and wrong by ``wrong``."""

    config = load_array("4x4")

    def __init__(self, wrong: int = 0, late: int = 0):
        self.wrong, self.late = wrong, late

    def run(self, job: CoreJob) -> Product:
        cycles = closed_form(Gemm(*job.sizes), self.config).cycles
        return Product(gemm(job.q, job.planes[0]) + self.wrong, {"cycles": cycles + self.late})


def product(core: FakeCore) -> RtlEngine:
    engine = RtlEngine(core)
    engine("q_proj", np.ones((1, 6), np.int8), np.ones((5, 6), np.int8))
    return engine


def test_products_are_counted_by_kind():
    engine = product(FakeCore())
    engine("o_proj", np.ones((1, 3), np.int8), np.ones((2, 3), np.int8))
    assert engine.counts["q_proj"][:2] == (1, 30)
    assert engine.total.macs == 36
    assert engine.total.cycles == engine.total.predicted == sum(count.cycles for count in engine.counts.values())


def test_a_wrong_integer_and_a_lost_cycle_are_not_passed_over():
    with pytest.raises(RuntimeError, match="q_proj: the RTL's integers differ"):
        product(FakeCore(wrong=1))
    with pytest.raises(RuntimeError, match=r"q_proj: the RTL took \d+ cycles, the simulator \d+"):
        product(FakeCore(late=1))


@pytest.mark.parametrize(("piece", "text"), [(b" once", " once"), (b"<0x0A>", "\n"), (b"\xff", "\ufffd")])
def test_raw_bytes_print_as_characters(piece, text):
    assert piece_text(piece) == text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "llama2-7b"], r"^model 'llama2-7b' is no file with weights: give a llama2.c checkpoint"),
        (["--model", "{bin}", "--tokens", "0"], r"^tokens must be at least 1, not 0$"),
        (["--model", "{bin}"], r"tok8.bin: tokenizer of the llama2.c checkpoint cannot be read"),
    ],
)
def test_what_cannot_run_is_refused_before_the_minutes(arguments, message, tmp_path):
    path = tmp_path / "m.bin"
    dim, hidden, layers, heads, kv_heads, vocab, length = 8, 8, 1, 2, 2, 8, 4
    weights = vocab * dim + layers * (2 * dim + 4 * dim * dim + 3 * dim * hidden) + dim + length * dim // heads
    header = struct.pack("<7i", dim, hidden, layers, heads, kv_heads, vocab, length)
    path.write_bytes(header + np.ones(weights, "<f4").tobytes())
    with pytest.raises(InputError, match=message):
        main(["demo", *(word.format(bin=path) for word in arguments)])


@pytest.mark.slow  # compiles C++, needs torch
def test_a_real_llama_writes_the_same_tokens_on_the_rtl(capsys):
    pytest.importorskip("torch")
    if not STORIES.exists():
        pytest.skip("stories260K.bin is not there")
    main(["demo", "--model", str(STORIES), "--tokens", "20", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["same_tokens"]
    assert len(told["tokens"]) == 20
    assert len(set(told["tokens"])) > 5  # it says something
    assert told["counts"]["total"]["cycles"] == told["counts"]["total"]["predicted"] > 0
    assert set(told["counts"]) == {"total", *(f"{kind}_proj" for kind in ("q", "k", "v", "o", "gate", "up", "down"))}


def test_products_of_one_kind_add_up():
    engine = product(FakeCore())
    engine("q_proj", np.ones((1, 6), np.int8), np.ones((5, 6), np.int8))
    engine("o_proj", np.ones((1, 3), np.int8), np.ones((2, 3), np.int8))
    q = closed_form(Gemm(1, 5, 6), load_array("4x4")).cycles
    o = closed_form(Gemm(1, 2, 3), load_array("4x4")).cycles
    assert engine.counts == {"q_proj": (2, 60, 2 * q, 2 * q), "o_proj": (1, 6, o, o)}
    assert engine.total == (3, 66, 2 * q + o, 2 * q + o)
    assert Count() == (0, 0, 0, 0)


class FakeLlama:
    """Writes the tokens 0, 1, 2, ...; on an engine, after a product each, one of them changed where ``other`` says."""

    other = False

    def __init__(self, path, engine, on_rtl=False):
        self.engine, self.on_rtl = engine, on_rtl

    def anew(self, engine):
        return type(self)(None, engine, on_rtl=True)

    def write(self, tokens, seed):
        for token in range(tokens):
            self.engine("q_proj", np.ones((1, 8), np.int8), np.ones((8, 8), np.int8))
            yield token + (self.other and self.on_rtl and token == 1)


class FakeVerilated(FakeCore):
    def __init__(self, config, program):
        super().__init__()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """A llama2.c file of 8 tokens with its tokenizer, and a demo whose model and core are fakes."""
    path = tmp_path / "m.bin"
    dim, hidden, layers, heads, kv_heads, vocab, length = 8, 600, 1, 2, 2, 8, 4
    weights = vocab * dim + layers * (2 * dim + 4 * dim * dim + 3 * dim * hidden) + dim + length * dim // heads
    path.write_bytes(struct.pack("<7i", *(dim, hidden, layers, heads, kv_heads, vocab, length)) + bytes(4 * weights))
    pieces = b"".join(struct.pack("<fi", 0.0, 2) + b"%d " % token for token in range(vocab))
    (tmp_path / "tok8.bin").write_bytes(struct.pack("<i", 2) + pieces)
    clock = iter([5.0, 7.5])
    monkeypatch.setattr("sim.demo.IntegerLlama", FakeLlama)
    monkeypatch.setattr("sim.demo.build_core", lambda config: None)
    monkeypatch.setattr("sim.demo.VerilatedCore", FakeVerilated)
    monkeypatch.setattr("sim.demo.time.perf_counter", lambda: next(clock))
    return path


def test_what_is_told_is_what_was_written_counted_and_timed(checkpoint, capsys):
    main(["demo", "--model", str(checkpoint), "--array", "4x4", "--tokens", "3", "--json"])
    told = json.loads(capsys.readouterr().out)
    cycles = 3 * closed_form(Gemm(1, 8, 8), load_array("4x4")).cycles
    counts = {"products": 3, "macs": 3 * 64, "cycles": cycles, "predicted": cycles}
    assert told == {
        "tokens": [0, 1, 2], "text": "0 1 2 ", "same_tokens": True, "seconds": 2.5,
        "counts": {"q_proj": counts, "total": counts},
    }  # fmt: skip


def test_one_token_is_enough_and_is_printed_as_it_comes(checkpoint, capsys):
    main(["demo", "--model", str(checkpoint), "--array", "4x4", "--tokens", "1"])
    printed = capsys.readouterr().out
    assert printed.startswith("0 \n")
    assert "1 tokens in 2.5 s; integers and cycles equal in every product, tokens equal to" in printed


def test_other_tokens_than_the_golden_models_are_a_defect(checkpoint, capsys, monkeypatch):
    monkeypatch.setattr(FakeLlama, "other", True)
    with pytest.raises(RuntimeError, match="the tokens differ from those of the golden model"):
        main(["demo", "--model", str(checkpoint), "--array", "4x4", "--tokens", "3"])
    assert "tokens OTHER than the golden model's" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("planes: 2", "must be a tree that gives plain sums of one plane"),
        ("organisation: systolic\ntoken_tile: 4", "must be a tree that gives plain sums of one plane"),
        ("accumulator_bits: 16", "demo: K = 600 needs accumulator_bits of at least 18, not 16"),
    ],
)
def test_arrays_that_cannot_run_the_model_are_refused(checkpoint, tmp_path, fields, message):
    path = tmp_path / "array.yaml"
    path.write_text(f"schema: tritforge.array.1\nname: odd\nrows: 4\ncols: 4\n{fields}\n")
    with pytest.raises(InputError, match=message):
        main(["demo", "--model", str(checkpoint), "--array", str(path), "--tokens", "2"])
