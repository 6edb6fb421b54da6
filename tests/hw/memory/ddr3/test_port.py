"""Words through LiteDRAM's native port, held against a byte array; the port's other side is a few lines of Python."""

import random
import re
from collections import deque

import pytest
from amaranth import Module, ResetInserter
from amaranth.lib.wiring import Component, In, Out, connect, flipped
from amaranth.sim import Simulator

from hw.errors import InputError
from hw.memory.ddr3.port import QUEUED_BURSTS, BurstPort

BURST_BITS, ADDRESS_BITS, READ_LATENCY = 128, 5, 14


class Held(Component):
    """A port in the reset of a host."""

    def __init__(self, word_bits):
        self.port = BurstPort(word_bits, BURST_BITS, ADDRESS_BITS)
        members = {name: flow for name, flow in self.port.signature.members.items()}
        super().__init__(members | {"restart": In(1), "owed": Out(8)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.port = ResetInserter(self.restart)(self.port)
        for name in ("request", "writes", "words"):
            mine, its = flipped(getattr(self, name)), getattr(self.port, name)
            connect(m, mine, its)
        for name, member in self.port.signature.members.items():
            if member.is_port:
                mine, its = getattr(self, name), getattr(self.port, name)
                m.d.comb += mine.eq(its) if member.flow == Out else its.eq(mine)
        return m


class Core:
    """The other side of the port: commands after a random while, data of writes and reads later and in order."""

    def __init__(self, draw):
        self.draw, self.memory = draw, bytearray(draw.randbytes(BURST_BITS // 8 << ADDRESS_BITS))
        self.writes, self.reads, self.most = deque(), deque(), 0

    async def edge(self, ctx, dut, now):
        """Outputs of this edge, then what the port did on it."""
        ready = self.draw.random() < 0.5
        takes = bool(self.writes) and self.writes[0][0] <= now
        comes = bool(self.reads) and self.reads[0][0] <= now
        ctx.set(dut.port_ready, ready)
        ctx.set(dut.port_take, takes)
        ctx.set(dut.port_came, comes)
        ctx.set(dut.port_words, int.from_bytes(self.reads[0][1], "little") if comes else self.draw.getrandbits(128))
        if comes:
            self.reads.popleft()
        if takes:
            _, at = self.writes.popleft()
            data = ctx.get(dut.port_written).to_bytes(BURST_BITS // 8, "little")
            for i in range(BURST_BITS // 8):
                if ctx.get(dut.port_mask) >> i & 1:
                    self.memory[at + i] = data[i]
        if ready and ctx.get(dut.port_valid):
            at = ctx.get(dut.port_address) * BURST_BITS // 8
            if ctx.get(dut.port_we):
                assert not self.writes, "data of a write are owed to the core, and the next one begins"
                self.writes.append((now + self.draw.randrange(1, 6), at))
            else:
                when = max(now + READ_LATENCY, self.reads[-1][0] + 1 if self.reads else 0)
                self.reads.append((when, None, at))
        for i, (when, words, at) in enumerate(self.reads):
            if words is None and not self.writes:
                self.reads[i] = when, bytes(self.memory[at : at + BURST_BITS // 8]), at
        self.most = max(self.most, len(self.reads))


def run(word_bits, operations, draw, restarts=0.0, slow=0.0):
    """Carry out operations; words that came, those that must have come, and the core."""
    dut, core = Held(word_bits), Core(draw)
    size, words = word_bits // 8, len(core.memory) * 8 // word_bits
    shadow, came, expected = bytearray(core.memory), [], []

    async def bench(ctx):
        ctx.set(dut.enabled, 1)
        now, left = 0, deque(operations)
        owed, idle = deque(), 0
        while idle < 60:
            now += 1
            assert now < 60_000, "the port hangs"
            one = left[0] if left else None
            reads, writes = one is not None and one[0] == "r", one is not None and one[0] == "w" and not owed
            ctx.set(dut.request.valid, reads)
            ctx.set(dut.writes.valid, writes)
            if reads:
                ctx.set(dut.request.payload, {"address": one[1], "count": one[2]})
            if writes:
                ctx.set(dut.writes.payload, {"address": one[1], "data": one[2], "mask": one[3]})
            ctx.set(dut.words.ready, draw.random() >= slow)
            restart = draw.random() < restarts
            ctx.set(dut.restart, restart)
            await core.edge(ctx, dut, now)
            if ctx.get(dut.words.valid) and ctx.get(dut.words.ready):
                came.append(ctx.get(dut.words.payload))
                expected.append(owed.popleft() if owed else None)
            if reads and ctx.get(dut.request.ready):
                left.popleft()
                for i in range(one[2]):
                    at = (one[1] + i) % words * size
                    owed.append(int.from_bytes(shadow[at : at + size], "little"))
            if writes and ctx.get(dut.writes.ready):
                left.popleft()
                at, data = one[1] % words * size, one[2].to_bytes(size, "little")
                for i in range(size):
                    if one[3] >> i & 1:
                        shadow[at + i] = data[i]
            if restart:
                owed.clear()
            idle = 0 if left or owed else idle + 1
            await ctx.tick()
        assert not owed
        assert not core.writes

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert core.memory == shadow
    return came, expected, core


def traffic(draw, word_bits, count):
    """Reads across bursts and the end of the memory, and masked writes."""
    words = (BURST_BITS << ADDRESS_BITS) // word_bits
    found = []
    for _ in range(count):
        if draw.random() < 0.5:
            found.append(("r", draw.randrange(words), draw.choice((0, 1, 1, 2, 3, draw.randrange(1, 40)))))
        else:
            found.append(("w", draw.randrange(words), draw.getrandbits(word_bits), draw.getrandbits(word_bits // 8)))
    return found


@pytest.mark.parametrize("word_bits", [32, 64, 128, 256, 512])
@pytest.mark.parametrize("slow", [0.0, 0.8])
def test_random_traffic_equals_a_byte_array(word_bits, slow):
    draw = random.Random(word_bits)
    came, expected, core = run(word_bits, traffic(draw, word_bits, 60), draw, slow=slow)
    assert came == expected
    assert len(came) > 60
    assert 2 <= core.most <= QUEUED_BURSTS


@pytest.mark.parametrize("word_bits", [64, 128, 256, 512])
def test_a_read_sees_every_burst_of_the_write_that_was_taken_before_it(word_bits):
    draw = random.Random(word_bits)
    operations = []
    for _ in range(30):
        at = draw.randrange(4)
        operations += [("w", at, draw.getrandbits(word_bits), (1 << word_bits // 8) - 1), ("r", at, 1)]
    came, expected, _ = run(word_bits, operations, draw)
    assert came == expected == [data for _, _, data, *_ in operations[::2]]


@pytest.mark.parametrize("word_bits", [64, 256])
def test_a_reset_on_any_edge_spoils_no_word_and_leaves_none_over(word_bits):
    draw = random.Random(3)
    came, expected, _ = run(word_bits, traffic(draw, word_bits, 120), draw, restarts=0.02, slow=0.3)
    assert came == expected
    assert len(came) > 60


def test_nothing_is_accepted_before_the_core_may_be_used():
    dut = BurstPort(64, BURST_BITS, ADDRESS_BITS)

    async def bench(ctx):
        for signal in (dut.request.valid, dut.writes.valid, dut.port_ready):
            ctx.set(signal, 1)
        for _ in range(20):
            await ctx.tick()
            assert not any(ctx.get(one) for one in (dut.request.ready, dut.writes.ready, dut.port_valid))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def test_words_must_be_a_power_of_two_of_bits():
    with pytest.raises(InputError, match=f"^{re.escape('word_bits must be a power of two from 8 on, not 96')}$"):
        BurstPort(96, BURST_BITS, ADDRESS_BITS)
