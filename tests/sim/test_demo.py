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
from sim.demo import RtlEngine, piece_text
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
