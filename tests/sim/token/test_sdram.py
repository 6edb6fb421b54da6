"""The SDRAM controller's edges: those of the gateware, edge by edge, and of a machine with its controller and chip."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from hw.errors import InputError
from hw.memory.chip import load_chip
from hw.memory.controller import SdramController
from hw.memory.pins import ACTIVATE, MODE, NOTHING, PRECHARGE, READ, REFRESH, WRITE
from sim.token import sdram
from sim.token.cycles import TokenCycles
from sim.token.port import fetch, fetched, read, sdram_memory, write
from tests.hw.memory.bench import tiny
from tests.sim.token.coverage import covered_machine
from tests.sim.token.random_programs import random_runs

COMMANDS = (NOTHING, READ, WRITE, ACTIVATE, PRECHARGE, PRECHARGE, REFRESH, MODE)  # by number of the model's


class Twin:
    """Model and gateware side by side under random traffic; every edge's command and handshakes are compared."""

    def __init__(self, chip, clock_hz, word_bits, seed):
        self.dut = SdramController(chip, clock_hz, word_bits)
        self.controller = sdram.controller_of(chip, clock_hz, word_bits)
        self.state, self.banks = sdram.new_state(self.controller), sdram.new_banks(self.controller)
        self.rng, self.words = np.random.default_rng(seed), chip.bytes * 8 // word_bits
        self.seen = set()

    def run(self, edges):
        simulator = Simulator(self.dut)
        simulator.add_clock(1e-6)
        self.edges = edges
        simulator.add_testbench(self._drive)
        simulator.run()
        return self.seen

    async def _drive(self, ctx):
        dut, rng, controller, state, banks = self.dut, self.rng, self.controller, self.state, self.banks
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
            expected = (
                state[sdram._LEFT] == 0,
                sdram.offered(controller, state, edge),
                sdram.takes(controller, state, banks, edge),
                COMMANDS[sdram._command(controller, state, banks, edge)[0]],
            )
            ready, valid, writable = (ctx.get(one) for one in (dut.request.ready, dut.words.valid, dut.writes.ready))
            command = ctx.get(dut.pins.command)
            assert (ready, valid, writable, command) == expected, f"edge {edge}"
            self.seen.add(command)
            asked, stored = asking and ready, writing and writable
            sdram.next_edge(
                controller, state, banks, edge, count if asked else 0, address if asked else 0, bool(valid and take),
                written if writing else -1,
            )  # fmt: skip
            asking, writing = asking and not asked, writing and not stored
            await ctx.tick()


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


def test_a_word_takes_what_the_data_sheet_and_the_registers_add_up_to():
    chip = load_chip("as4c16m16sa-7")
    timing = chip.timing(50e6)
    memory = sdram_memory(chip, 50e6, 128)
    read(memory, timing.power_up + 1000, 0, 1, 1, 1)
    settled = int(memory.state[sdram._TICK]) + 30  # a refresh, which closed all rows, is over
    first = read(memory, settled, 0, 1, 1, 1)
    # taken; activate on the next edge, tRCD, CAS latency, two registers, eight beats, and a word is there
    assert first - settled == 1 + timing.rcd + timing.cas + 2 + 8
    second = read(memory, first + 1, 1, 1, 1, 1)
    assert second - first - 1 == 1 + timing.cas + 2 + 8  # the row is open
    many = read(memory, second + 1, 2, 30, 1, 1)
    assert many - second - 1 == 1 + timing.cas + 2 + 8 * 30  # words follow without a gap


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
def test_random_programs_take_what_the_verilated_machine_counts_behind_its_controller_and_chip():
    from hw.simulation.verilated_machine import Sdram, VerilatedMachine, build_machine

    machine, memory = covered_machine(weight_packing="5in8"), Sdram(load_chip("as4c16m16sa-7"), 62.5e6)
    try:
        path = build_machine(machine, sdram=memory)
    except InputError as error:
        pytest.skip(str(error))
    rng = np.random.default_rng(0)
    for number, run in enumerate(random_runs(machine, 40, seed=5)):
        cycles = TokenCycles(run.image, memory=sdram_memory(*memory, machine.array.weight_bus_bits))
        with VerilatedMachine(run.image, path, sdram=memory) as core:  # which refuses a broken rule of the chip
            if run.position:
                core.seek(run.position)
                cycles.seek(run.position)
            for wanted in run.wanted:
                token = int(rng.integers(run.image.header.vocabulary))
                found = cycles.step(wanted, token)
                assert core.step(token, wanted).trace == [(one.operation, one.cycles) for one in found], number
