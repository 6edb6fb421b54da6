"""A memory behind the machine's port, and the machine's inner state beside the golden interpreter's."""

import numpy as np
from amaranth.sim import Simulator

from hw.gateware.whole.machine import Machine
from hw.program.interpreter import Interpreter

__all__ = ["Bench"]


class Bench:
    """Runs tokens on ``Machine`` in the Amaranth simulator; ``stalls``: bits by edge, 0 keeps words and writes back."""

    def __init__(self, image, latency=4, stalls=(), patience_bits=16, position=0):
        self.image, self.latency, self.stalls = image, latency, list(stalls)
        self.golden, self.position = Interpreter(image), position
        self.golden.position = position
        self.memory = np.zeros_like(self.golden.memory)
        self.memory.reshape(-1)[: len(image.memory)] = image.memory
        self.dut = Machine(image.machine, patience_bits)
        self.answers, self.trace, self.status = [], [], 0
        self.compare = True

    def run(self, tokens, limit=10**6):
        """Feed ``(id, wanted)`` pairs; answers, and a list of (operation, cycles) of every instruction."""
        simulator = Simulator(self.dut)
        simulator.add_clock(1e-6)
        self.limit, self.tokens = limit, list(tokens)
        simulator.add_testbench(self._host)
        simulator.run()
        return self.answers

    async def _host(self, ctx):
        tokens = self.tokens
        dut, left, address, wait, edge = self.dut, 0, 0, 0, 0
        compared = self._golden(tokens)
        fed, sought = 0, not self.position
        ctx.set(dut.seek.payload, self.position)
        while edge < self.limit:
            open_now = edge >= len(self.stalls) or self.stalls[edge]
            ctx.set(dut.request.ready, left == 0)
            valid = left > 0 and wait == 0 and bool(open_now)
            ctx.set(dut.words.valid, valid)
            if valid:
                word = self.memory[address] if address < len(self.memory) else np.zeros(self.memory.shape[1], np.uint8)
                ctx.set(dut.words.payload, int.from_bytes(word.tobytes(), "little"))
            ctx.set(dut.writes.ready, bool(open_now))
            ctx.set(dut.seek.valid, not sought)
            ctx.set(dut.tokens.valid, sought and fed < len(tokens))
            if fed < len(tokens):
                ctx.set(dut.tokens.payload, tokens[fed][0] | int(tokens[fed][1]) << 20)
            ctx.set(dut.next.ready, 1)
            if left > 0 and wait > 0:
                wait -= 1
            if ctx.get(dut.request.valid) and left == 0:
                request = dut.request.payload
                left, address, wait = ctx.get(request.count), ctx.get(request.address), self.latency - 1
            elif valid and ctx.get(dut.words.ready):
                left, address = left - 1, address + 1
            if ctx.get(dut.writes.valid) and open_now:
                self._write(ctx, dut.writes.payload)
            if sought and fed < len(tokens) and ctx.get(dut.tokens.ready):
                fed += 1
            sought = sought or bool(ctx.get(dut.seek.ready))
            if ctx.get(dut.next.valid):
                self.answers.append(ctx.get(dut.next.payload))
            retired = ctx.get(dut.retired)
            if retired:
                self.trace.append((ctx.get(dut.operation), ctx.get(dut.counter)))
            await ctx.tick()
            edge += 1
            if retired and self.compare:
                self._compare(ctx, *next(compared))
            self.status = ctx.get(dut.status)
            if self.status or (sought and fed == len(tokens) and ctx.get(dut.tokens.ready)):
                return
        raise AssertionError("the machine did not end")

    def _golden(self, tokens):
        """After every instruction: its number and name."""
        for token, wanted in tokens:
            golden = self.golden
            golden.token, golden.block, number = token, 0, golden.first
            while True:
                one = golden.program[number]
                here = number
                number = golden._run(number, one) if wanted or not one["last_only"] else number + 1
                yield here, one
                if one.operation == "STOP":
                    break

    def _write(self, ctx, payload):
        data = ctx.get(payload.data).to_bytes(self.memory.shape[1], "little")
        mask, address = ctx.get(payload.mask), ctx.get(payload.address)
        assert address < len(self.memory), f"write to word {address} beyond the memory"
        for i, byte in enumerate(data):
            if mask >> i & 1:
                self.memory[address, i] = byte

    def _compare(self, ctx, number, one):
        """Scratch memory, activation buffer, memory and the flag of clipped values are those of the interpreter."""
        golden, lanes, array = self.golden, self.image.machine.lanes, self.image.machine.array
        where = f"behind instruction {number}, {one}"
        vector = self.dut.vector
        assert ctx.get(self.dut.saturated) == (golden.flags.saturated > 0), f"saturated {where}"
        for address, want in enumerate(golden.scratch):
            got = ctx.get(vector.path.scratch.data[address])
            expected = sum((int(value) & 0xFFFFFFFF) << 32 * i for i, value in enumerate(want))
            assert got == expected, f"scratch word {address} {where}: {_numbers(got, lanes, 32)} for {list(want)}"
        for address, want in enumerate(golden.activations):
            got = ctx.get(self.dut.activations.memory.data[address])
            expected = sum((int(value) & 0xFF) << 8 * i for i, value in enumerate(want))
            assert got == expected, f"activation {address} {where}: {_numbers(got, array.rows, 8)} for {list(want)}"
        assert np.array_equal(self.memory, golden.memory), (
            f"memory {where}: {np.argwhere(self.memory != golden.memory)[:5]}"
        )


def _numbers(word, count, bits):
    values = [word >> bits * i & (1 << bits) - 1 for i in range(count)]
    return [value - (1 << bits) if value >> bits - 1 else value for value in values]
