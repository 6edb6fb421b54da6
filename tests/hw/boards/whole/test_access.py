"""The host's way into memory: what is written lies there, sums are zlib's, and a frozen memory holds nobody up."""

import random
import zlib

import pytest
from amaranth import Module, Signal
from amaranth.lib.wiring import Component
from amaranth.sim import Simulator

from hw.boards.whole.access import HostAccess
from hw.boards.whole.block_memory import BlockMemory
from hw.config import load_array
from hw.program.machine import machine_around
from tests.hw.boards.whole.machine_line import connect_frozen

PATIENCE_BITS = 6


class _Dut(Component):
    """Access and memory, which may be ``frozen``."""

    def __init__(self, machine, words):
        self.access, self.memory = HostAccess(machine, PATIENCE_BITS), BlockMemory(machine, words)
        self.frozen = Signal()
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules.access, m.submodules.memory = self.access, self.memory
        connect_frozen(m, self.access, self.memory, self.frozen)
        return m


def play(scenario, lanes=2, words=24):
    machine = machine_around(load_array("16x8" if lanes == 4 else "8x8"), lanes)
    dut = _Dut(machine, words)
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)

    async def run(ctx):
        await scenario(ctx, dut, Host(ctx, dut.access))

    simulator.add_testbench(run)
    simulator.run()


class Host:
    def __init__(self, ctx, access):
        self.ctx, self.access = ctx, access

    async def write(self, address, data):
        await self._piece(address, True)
        for at in range(0, len(data), 4):
            await self._piece(int.from_bytes(data[at : at + 4], "little"), False)
        await self.ctx.tick().repeat(3)

    async def _piece(self, value, first):
        ctx, port = self.ctx, self.access.pieces
        ctx.set(port.payload, value)
        ctx.set(self.access.first, first)
        ctx.set(port.valid, 1)
        await ctx.tick().until(port.ready)
        ctx.set(port.valid, 0)

    async def crc(self, address, count):
        ctx, port = self.ctx, self.access.check
        ctx.set(port.payload, address | count << 32)
        ctx.set(port.valid, 1)
        await ctx.tick().until(port.ready)
        ctx.set(port.valid, 0)
        for _ in range(4000):
            await ctx.tick()
            if not ctx.get(self.access.checking):
                return ctx.get(self.access.crc)
        raise AssertionError("the check sum does not end")


@pytest.mark.parametrize("lanes", [2, 4])
def test_words_land_at_their_address_and_their_sum_is_that_of_zlib(lanes):
    draw, size, words = random.Random(lanes), 4 * lanes, 24

    async def scenario(ctx, dut, host):
        memory = bytearray(words * size)
        for _ in range(12):
            address = draw.randrange(words)
            data = draw.randbytes(size * draw.randint(1, words - address))
            memory[address * size : address * size + len(data)] = data
            await host.write(address, data)
            begin = draw.randrange(words)
            count = draw.randint(1, words - begin)
            assert await host.crc(begin, count) == zlib.crc32(memory[begin * size : (begin + count) * size])

    play(scenario, lanes, words)


def test_addresses_beyond_the_memory_write_nothing_and_read_zeros():
    async def scenario(ctx, dut, host):
        await host.write(0, bytes(range(24 * 8)))
        await host.write(24, bytes([7]) * 16)
        assert await host.crc(0, 24) == zlib.crc32(bytes(range(24 * 8)))
        assert await host.crc(23, 3) == zlib.crc32(bytes(range(23 * 8, 24 * 8)) + bytes(16))

    play(scenario)


@pytest.mark.parametrize("what", ["write", "crc"])
def test_a_frozen_memory_is_given_up_and_everything_is_still_taken(what):
    async def scenario(ctx, dut, host):
        ctx.set(dut.frozen, 1)
        if what == "write":
            await host.write(0, bytes(8))
            await ctx.tick().repeat(2**PATIENCE_BITS)
        else:
            await host.crc(0, 4)
        assert ctx.get(dut.access.silent)
        ctx.set(dut.frozen, 0)
        await host.write(1, bytes(64))  # dropped, and taken at once
        await host.crc(1, 2)
        assert ctx.get(dut.access.silent)

    play(scenario)
