"""The buffer in block RAM against a queue of Python: order, capacity, flags and level under random pauses."""

import random
from collections import deque
from typing import get_args

import pytest
from amaranth import Module
from amaranth.back import rtlil, verilog

from hw.boards.word_buffer import Shows, WordBuffer
from hw.synthesis.families import FAMILIES
from hw.synthesis.yosys import FIFO_READS, run_yosys
from tests.hw.amaranth_bench import played_by

WIDTH = 7


def played(
    depth: int, shows: Shows, writes: float, reads: float, width: int = WIDTH, edges: int = 1200
) -> tuple[int, int]:
    """Random words through a buffer; words that came out, and the most that it held.

    ``writes``, ``reads``: how often a side is willing.
    """
    buffer, held, chance = WordBuffer(width, depth, shows), deque(), random.Random(depth)
    m = Module()
    m.submodules += buffer
    seen = {"out": 0, "most": 0}

    async def bench(ctx):
        for _ in range(edges):
            word, write, read = chance.randrange(1 << width), chance.random() < writes, chance.random() < reads
            ctx.set(buffer.w_data, word)
            ctx.set(buffer.w_en, write)
            ctx.set(buffer.r_en, read)
            assert ctx.get(buffer.level) == len(held)
            taken, written = read and ctx.get(buffer.r_rdy), write and ctx.get(buffer.w_rdy)
            if taken:
                assert ctx.get(buffer.r_data) == held.popleft()
                seen["out"] += 1
            if written:
                held.append(word)
            seen["most"] = max(seen["most"], len(held))
            await ctx.tick()

    played_by(m, bench)
    return seen["out"], seen["most"]


@pytest.mark.parametrize(("writes", "reads"), [(1.0, 1.0), (0.9, 0.3), (0.3, 0.9), (0.5, 0.5)])
@pytest.mark.parametrize(
    ("depth", "shows"),
    [
        (3, "at once"),
        (3, "with pauses"),
        (4, "in turn"),
        (5, "at once"),
        (5, "in turn"),
        (16, "at once"),
        (16, "in turn"),
        (16, "with pauses"),
    ],
)
def test_words_come_out_in_order_and_none_is_lost(depth, shows, writes, reads):
    out, most = played(depth, shows, writes, reads)
    assert out > 0.25 * 1200 * min(writes, reads)
    assert most <= depth


@pytest.mark.parametrize("shows", get_args(Shows))
@pytest.mark.parametrize("depth", [1, 2])
def test_a_buffer_of_fewer_words_than_it_has_registers_holds_no_more(depth, shows):
    out, most = played(depth, shows, 1.0, 0.9, edges=200)
    assert out > 20
    assert most == depth


@pytest.mark.parametrize("shows", get_args(Shows))
def test_a_wide_word_comes_out_whole_though_its_parts_have_flags_of_their_own(shows):
    assert played(5, shows, 0.7, 0.7, width=300, edges=300)[0] > 100


@pytest.mark.parametrize("shows", get_args(Shows))
def test_a_full_buffer_holds_all_its_words_and_an_eager_reader_takes_as_many_as_it_shows(shows):
    assert played(16, shows, 1.0, 0.01)[1] == 16
    edges_per_word = 2 if shows == "with pauses" else 1
    assert played(16, shows, 1.0, 1.0)[0] >= 1200 // edges_per_word - 4


@pytest.mark.parametrize(
    ("language", "width", "told", "copies"),
    [("rtlil", 36, True, 0), ("rtlil", 36, False, 1), ("verilog", 288, True, 0)],
    ids=["told", "untold", "Verilog of two parts"],
)
def test_told_that_no_word_is_read_while_it_is_written_synthesis_copies_no_word(
    tmp_path, language, width, told, copies
):
    """Flip-flops per bit: a register before and behind the memory, and a copy of what was written where it compares."""
    buffer = WordBuffer(width, 64)
    ports = [buffer.w_data, buffer.w_en, buffer.w_rdy, buffer.r_data, buffer.r_rdy, buffer.r_en, buffer.level]
    text = {"rtlil": rtlil, "verilog": verilog}[language].convert(buffer, name="top", ports=ports, emit_src=False)
    (tmp_path / "top").write_text(text, encoding="utf-8")
    passes = [f"read_{language} top", *(FIFO_READS if told else ()), f"{FAMILIES['ecp5'].synthesis} -top top"]
    log = run_yosys([*passes, "select -count t:TRELLIS_FF"], tmp_path)
    flip_flops = int(log.rpartition(" objects.")[0].rsplit(maxsplit=1)[-1])
    # two addresses and four flags per part, words in the memory and in all, a flag for each side
    control = (2 * 6 + 4) * buffer.parts + 2 * 7 + 2
    assert flip_flops >= width * (2 + copies)
    assert (flip_flops <= 2 * width + control) == told
