"""Reader, loader and activation buffer: what comes out, in which order, and on which edge."""

import numpy as np
import pytest

from hw.config import load_array
from hw.gateware.whole.activations import ActivationBuffer
from hw.gateware.whole.loader import Loader
from hw.gateware.whole.reader import MemoryReader
from hw.program.instructions import ELEMENTS
from hw.program.machine import machine_around
from hw.program.memory import int_words
from tests.hw.amaranth_bench import played_by

MACHINE = machine_around(load_array("8x8"), 4, activation_words=32)
RNG = np.random.default_rng(5)


@pytest.mark.parametrize(("tokens", "folds"), [(1, 1), (3, 1), (1, 4), (2, 3)])
@pytest.mark.parametrize("pauses", [False, True])
def test_vectors_are_replayed_fold_by_fold_without_a_gap(tokens, folds, pauses):
    dut, base, found = ActivationBuffer(MACHINE), 5, []
    numbers = RNG.integers(0, 256, (32, 8))

    async def bench(ctx):
        ctx.set(dut.write, 1)
        for address in range(32):
            for part in range(2):
                ctx.set(dut.write_address, address)
                ctx.set(dut.write_slice, part)
                for i in range(4):
                    ctx.set(dut.write_numbers[i], int(numbers[address, 4 * part + i]))
                await ctx.tick()
        ctx.set(dut.write, 0)
        ctx.set(dut.base, base)
        ctx.set(dut.tokens, tokens)
        ctx.set(dut.folds, folds)
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        for edge in range(40):
            ready = not pauses or edge % 3 != 1
            ctx.set(dut.vectors.ready, ready)
            assert ctx.get(dut.vectors.valid)
            if ready:
                found.append([ctx.get(dut.vectors.payload[i]) for i in range(8)])
            await ctx.tick()

    played_by(dut, bench)
    order = [base + i % (tokens * folds) for i in range(len(found))]
    assert found == numbers[order].tolist()


def read(address, count, bursts=1, jump=0, limit=1000, ready=lambda edge: True):
    dut, requests, words, state = MemoryReader(MACHINE), [], [], {"done": [], "outside": 0}

    async def bench(ctx):
        for name, value in (
            ("address", address),
            ("count", count),
            ("bursts", bursts),
            ("jump", jump),
            ("limit", limit),
        ):
            ctx.set(getattr(dut, name), value)
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        left = place = 0
        for edge in range(100):
            ctx.set(dut.request.ready, left == 0)
            ctx.set(dut.words.valid, left > 0)
            ctx.set(dut.words.payload, place)
            ctx.set(dut.output.ready, ready(edge))
            if ctx.get(dut.request.valid) and not left:
                left, place = ctx.get(dut.request.payload.count), ctx.get(dut.request.payload.address)
                requests.append((edge, place, left))
            elif left and ctx.get(dut.words.ready):
                words.append(ctx.get(dut.output.payload))
                left, place = left - 1, place + 1
            if ctx.get(dut.done):
                state["done"].append(len(words))
            await ctx.tick()
        state["outside"] = ctx.get(dut.outside)

    played_by(dut, bench)
    return requests, words, state


def test_one_burst_is_asked_for_at_once_and_passed_on():
    requests, words, state = read(7, 5)
    assert requests == [(0, 7, 5)]
    assert words == list(range(7, 12))
    assert state == {"done": [5], "outside": 0}


def test_bursts_follow_each_other_a_jump_apart():
    requests, words, state = read(10, 3, bursts=3, jump=20, ready=lambda edge: edge % 2)
    assert [request[1:] for request in requests] == [(10, 3), (30, 3), (50, 3)]
    assert words == [10, 11, 12, 30, 31, 32, 50, 51, 52]
    assert state == {"done": [9], "outside": 0}


@pytest.mark.parametrize(("limit", "asked"), [(53, 3), (52, 2), (12, 0)])
def test_a_burst_beyond_the_memory_is_not_asked_for(limit, asked):
    requests, words, state = read(10, 3, bursts=3, jump=20, limit=limit)
    assert len(requests) == asked
    assert len(words) == 3 * asked
    assert state["outside"] == (asked < 3)


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("words", [1, 2, 3, 4, 7])
def test_numbers_of_every_kind_become_words_of_scratch(element, words):
    dut, found, done = Loader(MACHINE), {}, []
    bits = {"int8": 8, "int16": 16, "uint16": 16, "int32": 32}[element]
    low = 0 if element.startswith("u") else -(1 << bits - 1)
    numbers = RNG.integers(low, low + (1 << bits), 4 * words)
    memory = [int.from_bytes(word.tobytes(), "little") for word in int_words(numbers[None], element, MACHINE)[0]]

    async def bench(ctx):
        ctx.set(dut.destination, 9)
        ctx.set(dut.words, words)
        ctx.set(dut.element, ELEMENTS.index(element))
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        assert ctx.get(dut.memory_words) == len(memory)
        at = 0
        for edge in range(40):
            ctx.set(dut.input.valid, at < len(memory) and edge % 3 != 2)
            ctx.set(dut.input.payload, memory[min(at, len(memory) - 1)])
            if ctx.get(dut.write):
                found[ctx.get(dut.address)] = [ctx.get(dut.word[i]) for i in range(4)]
            if ctx.get(dut.done):
                done.append(len(found))
            at += ctx.get(dut.input.valid) and ctx.get(dut.input.ready)
            await ctx.tick()
        assert at == len(memory)

    played_by(dut, bench)
    assert found == {9 + i: numbers[4 * i : 4 * i + 4].tolist() for i in range(words)}
    assert done == [words]
