"""The SDRAM controller's edges, on one clock and on its own: those of the gateware, and of a machine with both."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from hw.errors import InputError
from hw.memory.chip import load_chip
from hw.memory.controller import SdramController
from hw.memory.fast import FastController
from hw.memory.pins import ACTIVATE, MODE, NOTHING, PRECHARGE, READ, REFRESH, WRITE
from sim.token import crossing, sdram
from sim.token.port import fetch, fetched, read, sdram_memory, write
from tests.hw.memory.bench import tiny
from tests.sim.token.coverage import Hits, covered_machine, empty_bins, play
from tests.sim.token.random_programs import random_runs

COMMANDS = (NOTHING, READ, WRITE, ACTIVATE, PRECHARGE, PRECHARGE, REFRESH, MODE)  # by number of the model's


class Twin:
    """Model and gateware side by side under random traffic; every edge's command and handshakes are compared."""

    def __init__(self, chip, clock_hz, word_bits, seed):
        self.dut = self.gateware(chip, clock_hz, word_bits)
        self.controller = sdram.controller_of(chip, clock_hz, word_bits)
        self.banks = sdram.new_banks(self.controller)
        self.rng, self.words = np.random.default_rng(seed), chip.bytes * 8 // word_bits
        self.seen = set()

    def gateware(self, *what):
        self.state = sdram.new_state(sdram.controller_of(*what))
        return SdramController(*what)

    def run(self, edges):
        simulator = Simulator(self.dut)
        self.clocks(simulator)
        self.edges = edges
        simulator.add_testbench(self._drive)
        simulator.run()
        return self.seen

    def clocks(self, simulator):
        simulator.add_clock(1e-6)

    async def tick(self, ctx):
        await ctx.tick()

    def expected(self, edge):
        """Request, word and write that are taken on an edge, and the command sent there if it is compared."""
        controller, state = self.controller, self.state
        command = COMMANDS[sdram.at_pins(state)]
        valid, writable = sdram.offered(controller, state, edge), sdram.takes(controller, state, edge)
        return sdram.requestable(state), valid, writable, command

    def carry_out(self, edge, *traffic):
        sdram.next_edge(self.controller, self.state, self.banks, edge, *traffic)

    async def _drive(self, ctx):
        dut, rng = self.dut, self.rng
        asking = writing = False
        busy, slow = 0.5, 1.0
        for edge in range(self.edges):
            if edge % 100 == 0:
                busy, slow = rng.choice([0.01, 0.1, 1.0]), rng.choice([0.05, 0.5, 1.0])
            if not asking and rng.random() < busy:
                asking, count = True, int(rng.choice([1, 2, 9, 40]))
                address = int(rng.integers(self.words))
                ctx.set(dut.request.payload, {"address": address, "count": count})
            if not writing and rng.random() < busy * 0.3:
                writing, written = True, int(rng.integers(self.words))
                ctx.set(dut.writes.payload, {"address": written, "data": 0, "mask": 1})
            take = bool(rng.random() < slow)
            ctx.set(dut.request.valid, asking)
            ctx.set(dut.writes.valid, writing)
            ctx.set(dut.words.ready, take)
            ready, valid, writable = (ctx.get(one) for one in (dut.request.ready, dut.words.valid, dut.writes.ready))
            command = ctx.get(dut.pins.command)
            assert (ready, valid, writable, command) == self.expected(edge), f"edge {edge}"
            self.seen.add(command)
            asked, stored = asking and ready, writing and writable
            self.carry_out(
                edge, count if asked else 0, address if asked else 0, bool(valid and take), written if writing else -1
            )
            asking, writing = asking and not asked, writing and not stored
            await self.tick(ctx)


class CrossedTwin(Twin):
    """The same on two clocks; commands are those of the edges that coincide."""

    def __init__(self, chip, clock_hz, word_bits, seed, ratio):
        self.ratio, self.crossing = ratio, crossing.new_crossing()
        super().__init__(chip, clock_hz, word_bits, seed)

    def gateware(self, *what):
        self.state = sdram.new_state(sdram.controller_of(*what), crossing.first_edge(self.ratio))
        return FastController(*what)

    def clocks(self, simulator):
        simulator.add_clock(self.ratio * 1e-6, phase=0.5e-6)
        simulator.add_clock(1e-6, phase=0.5e-6, domain="memory")

    async def tick(self, ctx):
        await ctx.tick()
        for _ in range(self.ratio - 1):
            await ctx.tick("memory")

    def expected(self, edge):
        now, command = self.ratio * edge, NOTHING
        if now >= crossing.first_edge(self.ratio):
            command = COMMANDS[sdram.at_pins(self.state)]
        accepts = crossing.accepts(self.ratio, self.crossing, edge)
        valid = crossing.offered(self.ratio, self.crossing, edge)
        return accepts, valid, crossing.takes(self.ratio, self.crossing, edge), command

    def carry_out(self, edge, *traffic):
        crossing.next_edge(self.ratio, self.crossing, self.controller, self.state, self.banks, edge, *traffic)


@pytest.mark.parametrize(
    ("fields", "clock_hz", "word_bits"),
    [
        ({}, 100e6, 128),  # a burst of 8 is a word
        ({"columns": 16, "banks": 2}, 50e6, 32),  # bursts of 2
        ({"data_bits": 8}, 143e6, 128),  # two bursts a word, CAS latency 3
        ({"data_bits": 32}, 27e6, 32),  # bursts of one beat: a write is taken on the edge of the one before
    ],
)
def test_every_command_and_handshake_is_that_of_the_gateware(fields, clock_hz, word_bits):
    assert Twin(tiny(**fields), clock_hz, word_bits, seed=len(fields)).run(3000) == set(COMMANDS)


@pytest.mark.parametrize(
    ("fields", "clock_hz", "word_bits", "ratio"),
    [
        ({}, 100e6, 128, 2),
        ({}, 143e6, 64, 3),  # a word and a third per edge of the port: the slots of the crossing fill
        ({"data_bits": 32}, 80e6, 32, 4),
        ({"data_bits": 8}, 120e6, 128, 3),
    ],
)
def test_every_command_and_handshake_is_that_of_the_gateware_on_two_clocks(fields, clock_hz, word_bits, ratio):
    seen = CrossedTwin(tiny(**fields), clock_hz, word_bits, len(fields), ratio).run(1500)
    assert seen >= {READ, WRITE, ACTIVATE, PRECHARGE}


def test_a_word_takes_what_the_data_sheet_and_the_registers_add_up_to():
    chip = load_chip("as4c16m16sa-7")
    timing = chip.timing(50e6)
    memory = sdram_memory(chip, 50e6, 128)
    read(memory, timing.power_up + 1000, 0, 1, 1, 1)
    settled = int(memory.state[sdram._TICK]) + 30  # a refresh, which closed all rows, is over
    first = read(memory, settled, 0, 1, 1, 1)
    # taken, looked up, found; activate, looked up and found again, CAS latency, three registers, eight beats
    assert timing.rcd < 3
    assert first - settled == 3 + 3 + timing.cas + 3 + 8
    second = read(memory, first + 1, 1, 1, 1, 1)
    assert second - first - 1 == 3 + timing.cas + 3 + 8  # the row is open
    many = read(memory, second + 1, 2, 30, 1, 1)
    assert many - second - 1 == 3 + timing.cas + 3 + 8 * 30  # words follow without a gap


def test_a_write_is_carried_out_before_instructions_that_are_fetched_behind_it():
    timing, found = load_chip("as4c16m16sa-7").timing(50e6), []
    for writes in (0, 3):
        memory = sdram_memory(load_chip("as4c16m16sa-7"), 50e6, 128)
        begin = timing.power_up + 2000
        read(memory, begin, 0, 1, 1, 1)
        fetch(memory, begin + 100, 5, 16)
        if writes:
            write(memory, begin + 100, 300, 0, writes)
        found.append(fetched(memory))
    assert found[1] - found[0] > 3 * 8  # their beats, and the way to writing and back


def test_a_clock_that_the_chip_does_not_reach_is_refused():
    with pytest.raises(InputError, match=r"^clock of as4c16m16sa-7 must be above 0 and at most 143 MHz, not 200 MHz$"):
        sdram_memory(load_chip("as4c16m16sa-7"), 200e6, 128)


@pytest.mark.slow
@pytest.mark.parametrize(("machine_mhz", "ratio", "runs"), [(62.5, 1, 40), (40, 3, 15)])
def test_random_programs_take_what_the_verilated_machine_counts_behind_controller_and_chip(machine_mhz, ratio, runs):
    from hw.simulation.verilated_machine import Sdram, build_machine

    machine, memory = (
        covered_machine(weight_packing="5in8"),
        Sdram(load_chip("as4c16m16sa-7"), 1e6 * machine_mhz, ratio),
    )
    try:
        path = build_machine(machine, sdram=memory)
    except InputError as error:
        pytest.skip(str(error))
    hits = Hits()
    for run in random_runs(machine, runs, seed=5):
        play(run, path, hits, memory)  # the machine refuses a broken rule of the chip
    assert empty_bins(hits, machine, sdram=True) == []
