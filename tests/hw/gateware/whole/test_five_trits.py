"""The unpacker of five trits a byte: the beats that the same trits have in 2 bits, on the edges that it says."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from hw.config import load_array
from hw.gateware.whole.five_trits import FiveTritUnpacker
from hw.program.machine import machine_around
from hw.trit import pack

RNG = np.random.default_rng(11)


def run(words, beats, bus_bits, offered, taken):
    """Beats that leave, on which edges, and how many words went in; ``offered``, ``taken``: bits by edge."""
    array = "16x16" if bus_bits == 128 else "8x8"
    dut = FiveTritUnpacker(machine_around(load_array(array), bus_bits // 32, weight_packing="5in8"))
    found, edges, given = [], [], 0

    async def bench(ctx):
        nonlocal given
        for edge in range(20 * beats):
            ctx.set(dut.input.valid, given < len(words) and bool(offered[edge % len(offered)]))
            ctx.set(dut.input.payload, words[given] if given < len(words) else 0)
            ctx.set(dut.output.ready, len(found) < beats and bool(taken[edge % len(taken)]))
            if ctx.get(dut.output.valid) and ctx.get(dut.output.ready):
                found.append(ctx.get(dut.output.payload))
                edges.append(edge)
            given += ctx.get(dut.input.valid) and ctx.get(dut.input.ready)
            await ctx.tick()
        assert ctx.get(dut.output.valid) == (beats % 5 == 4)  # the fifth needs no word
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        ctx.set(dut.input.valid, 0)
        assert not ctx.get(dut.output.valid)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return found, edges, given


def words_of(trits, packing, size):
    data = pack(trits, packing)
    return [int.from_bytes(data[at : at + size].tobytes(), "little") for at in range(0, len(data), size)]


@pytest.mark.parametrize("bus_bits", [64, 128])
@pytest.mark.parametrize("beats", [1, 4, 5, 13, 20])
@pytest.mark.parametrize(("offered", "taken"), [([1], [1]), ([1, 0, 0], [1]), ([1, 1, 0], [0, 1, 1, 0, 1])])
def test_beats_are_those_of_two_bit_trits(bus_bits, beats, offered, taken):
    size = bus_bits // 8
    trits = RNG.integers(-1, 2, beats * bus_bits // 2).astype(np.int8)
    padded = np.pad(trits, (0, -trits.size % (5 * size)))
    found, edges, given = run(words_of(padded, "5in8", size), beats, bus_bits, offered, taken)
    assert found == words_of(trits, "2bit", size)
    assert given == beats - beats // 5
    if offered == taken == [1]:
        assert edges == list(range(beats))  # a beat per edge, also where no word is needed


def test_a_byte_that_is_never_written_gives_zeros():
    found, _, _ = run([0xFF << 8 | 242], 1, 64, [1], [1])
    # byte 0: five +1; byte 1 (255): five 0; bytes 2 and up (0): -1
    assert found[0] & 0xFFFFF == 0b01_01_01_01_01
    assert found[0] >> 20 == (1 << 44) - 1
