"""A DDR3 chip and PHY in a few lines of Python, beside ``Levelling`` in the Amaranth simulator."""

from typing import NamedTuple

from amaranth.sim import Simulator

from hw.memory.ddr3.levelling import Levelling

LATENCY = 13  # edges from a read to its words


class Seen(NamedTuple):
    """A command at the pins: its edge, RAS, CAS and WE as bits (low when asserted), bank and address."""

    edge: int
    command: int
    bank: int
    address: int


class Bytes:
    """Bytes of a PHY: what delay and slip each has, and which of them it reads right with.

    ``skew``: of each byte its slip, its good delays, and perhaps delays that give what is right without a strobe.
    """

    def __init__(self, skew):
        self.skew = list(skew)
        self.delay, self.slip, self.seen = ([0] * len(self.skew) for _ in range(3))

    def step(self, get):
        """One edge of the controls."""
        for i in range(len(self.skew)):
            if not get("selected") >> i & 1:
                continue
            if get("delay_reset"):
                self.delay[i] = 0
            if get("slip_reset"):
                self.slip[i] = 0
            self.delay[i] = (self.delay[i] + get("delay_step")) % 8
            self.slip[i] = (self.slip[i] + get("slip_step")) % 4
        if get("burst_clear"):
            self.seen = [0] * len(self.skew)

    def right(self, i):
        """Whether byte ``i`` has a strobe, whether its beats are where they belong, and whether they are themselves."""
        slip, good, *silent = self.skew[i]
        strobe = self.delay[i] in good
        return strobe, self.slip[i] == slip, strobe or self.delay[i] in (silent or [()])[0]

    def read(self, burst):
        """A burst of 8 beats as it comes out."""
        found = bytearray(burst)
        count = len(self.skew)
        for i in range(count):
            strobe, aligned, alike = self.right(i)
            self.seen[i] |= strobe
            beats = burst[i::count]
            if not aligned:
                beats = beats[1:] + beats[:1]
            found[i::count] = beats if alike else bytes(~beat & 255 for beat in beats)
        return bytes(found)


def level(chip, clock_hz, skew, edges, change=None):
    """Run until ``ready`` or so many edges; the commands, the bytes, edges of reset and clock enable, and ``ready``'s.

    ``change``: called on every edge with its number and the bytes.
    """
    dut, found = Levelling(chip, clock_hz), {"commands": [], "reset_n": None, "cke": None, "ready": None}
    found["bytes"] = phy = Bytes(skew)

    async def bench(ctx):
        stored, owed = bytes(16), {}
        for edge in range(edges):
            _, _, *_ = await ctx.tick().sample(dut.ready)

            def get(name):
                return ctx.get(getattr(dut, name))

            for name in ("reset_n", "cke"):
                if get(f"init_{name}") and found[name] is None:
                    found[name] = edge
            if change:
                change(edge, phy)
            command = get("init_command")
            if command != 0b111:
                found["commands"].append(Seen(edge, command, get("init_ba"), get("init_a")))
            assert get("init_write") == (command == 0b100)
            assert get("init_read") == (command == 0b101)
            phy.step(get)
            if command == 0b100:
                stored = get("init_written").to_bytes(16, "little")
            if command == 0b101:
                owed[edge + LATENCY] = phy.read(stored)
            burst = owed.pop(edge, None)
            ctx.set(dut.init_came, burst is not None)
            ctx.set(dut.init_words, int.from_bytes(burst or bytes(16), "little"))
            ctx.set(dut.burst_seen, sum(bit << i for i, bit in enumerate(phy.seen)))
            if get("ready"):
                found["ready"] = edge
                found["delays"], found["slips"] = (ctx.get(getattr(dut, name)) for name in ("delays", "slips"))
                return

    simulator = Simulator(dut)
    simulator.add_clock(1 / clock_hz)
    simulator.add_testbench(bench)
    simulator.run()
    return found
