"""``Levelling``: brings a DDR3 chip up and finds where in time its bytes are read, which LiteX leaves to software.

Power-up and mode registers, then a scan: for every bit slip and read delay of the PHY three patterns are written and
read back, and a byte's setting is good where all of them come right with a strobe. Each byte takes the middle of its
longest run of good delays. It needs neither host nor processor; a failure begins anew, for ever.

Ref: JESD79-3F, 3.3.1 (power-up), 3.4 (mode registers); liblitedram's sdram.c for the scan and its pauses.
"""

import math
import random
from typing import NamedTuple

from amaranth import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

from hw.memory.ddr3.chips import Ddr3Chip, mode_registers
from hw.memory.ddr3.core import core_ports
from hw.memory.pins import ACTIVATE, MODE, NOTHING, PRECHARGE, READ, WRITE

__all__ = ["PATTERNS", "Levelling", "patterns"]

DELAYS, SLIPS = 8, 4  # settings of a byte's reads in ECP5DDRPHY
PATTERNS = 3
_ZQ_CALIBRATION = 0b110  # RAS, CAS, WE, low when asserted
_ALL = 1 << 10  # address bit: every bank, or the long calibration
_RESET_S, _QUIET_S = 200e-6, 500e-6  # reset held, then clock enable low. Ref: JESD79-3F, 3.3.1
_DLL_CLOCKS = 512  # of the chip, until its DLL has locked and the output drivers are calibrated
_PAUSE = 16  # clock cycles between commands of the scan, longer than every time of the chip
_ANSWER = 48  # clock cycles in which a read has come, or does not come
_SEED = 42


class Step(NamedTuple):
    """A command of the power-up and the clock cycles behind it."""

    command: int
    bank: int
    address: int
    reset_n: int
    cke: int
    wait: int


def power_up(clock_hz: float) -> tuple[Step, ...]:
    """Reset, clock enable, mode registers, calibration. ``clock_hz``: of the controller, half the chip's."""
    locked = _DLL_CLOCKS // 2 + _PAUSE
    quiet = [
        Step(NOTHING, 0, 0, 0, 0, math.ceil(_RESET_S * clock_hz)),
        Step(NOTHING, 0, 0, 1, 0, math.ceil(_QUIET_S * clock_hz)),
        Step(NOTHING, 0, 0, 1, 1, locked),  # tXPR, which is shorter
    ]
    modes = [Step(MODE, number, value, 1, 1, _PAUSE) for number, value in mode_registers()]
    return (*quiet, *modes, Step(_ZQ_CALIBRATION, 0, _ALL, 1, 1, locked))


def patterns(burst_bits: int) -> tuple[int, ...]:
    """What is written and read back: no byte's beats look alike when moved, nor like another pattern's."""
    draw = random.Random(_SEED)
    return tuple(draw.getrandbits(burst_bits) for _ in range(PATTERNS))


class Levelling(Component):
    """Drives the core's ``init_*`` ports, delays and slips until every byte reads right, then raises ``ready``.

    Members
    -------
    the ports of ``core_ports`` but for those of the native port, from the other side.
    delays, slips : what each byte got.
    """

    def __init__(self, chip: Ddr3Chip, clock_hz: float):
        self.chip, self.clock_hz = chip, clock_hz
        self.bytes = chip.data_bits // 8
        members = {
            name: In(bits) if driven else Out(bits)
            for name, (bits, driven) in core_ports(chip).items()
            if not name.startswith("port_")
        }
        members["init_command"] = Out(3, init=NOTHING)
        super().__init__(members | {"delays": Out(3 * self.bytes), "slips": Out(2 * self.bytes)})

    def elaborate(self, platform) -> Module:
        """The sequence, a pause counter, a pattern's errors, and each byte's best run."""
        m = Module()
        steps, words = power_up(self.clock_hz), patterns(self.chip.burst_bits)
        self.pause = pause = Signal(range(max(step.wait for step in steps) + 1))
        step, pattern = Signal(range(len(steps))), Signal(range(PATTERNS))
        self.delay, self.slip = Signal(range(DELAYS)), Signal(range(SLIPS))
        self.good, self.final = Signal(self.bytes), Signal()
        current = Array([Const.cast(_packed(one, self.chip)) for one in steps])[step]
        command, bank, address, held_n, cke = _fields(current, self.chip)
        waits = Array([Const(one.wait, len(pause)) for one in steps])
        reset_n, enabled = Signal(), Signal()
        m.d.comb += [
            self.init_written.eq(Array([Const(word, self.chip.burst_bits) for word in words])[pattern]),
            self.init_reset_n.eq(reset_n),
            self.init_cke.eq(enabled),
        ]
        with m.If(pause != 0):
            m.d.sync += pause.eq(pause - 1)
        with m.FSM():
            with m.State("POWER UP"), m.If(pause == 0):
                m.d.comb += [self.init_command.eq(command), self.init_ba.eq(bank), self.init_a.eq(address)]
                m.d.sync += [reset_n.eq(held_n), enabled.eq(cke), pause.eq(waits[step]), step.eq(step + 1)]
                with m.If(step == len(steps) - 1):
                    m.d.sync += [step.eq(0), self.final.eq(0)]
                    self._begin_scan(m)
                    m.next = "SET"
            self._settings(m)
            self._trial(m, pattern)
            with m.State("READY"):
                m.d.comb += self.ready.eq(1)
        return m

    def _begin_scan(self, m: Module) -> None:
        """Nothing found yet; the first setting is no delay and no slip."""
        m.d.sync += [self.delay.eq(0), self.slip.eq(0)]
        self.run = [Signal(range(DELAYS + 1), name=f"run{i}") for i in range(self.bytes)]
        self.best = [Signal(range(DELAYS + 1), name=f"best{i}") for i in range(self.bytes)]
        m.d.sync += [register.eq(0) for register in (*self.run, *self.best)]

    def _settings(self, m: Module) -> None:
        """Bytes set from nothing to a delay and a slip, by as many steps; then all of them stand still together."""
        byte, steps = Signal(range(self.bytes)), Signal(range(DELAYS))
        slips = Signal(range(SLIPS))
        delay = Mux(self.final, self.delays.word_select(byte, 3), self.delay)
        slip = Mux(self.final, self.slips.word_select(byte, 2), self.slip)
        one = Const(1, self.bytes) << byte
        step = self.pause == 0
        with m.State("SET"):
            m.d.comb += self.selected.eq(one)
            with m.If(step):
                m.d.comb += [self.delay_reset.eq(1), self.slip_reset.eq(1)]
                m.d.sync += [steps.eq(delay), slips.eq(slip), self.pause.eq(_PAUSE)]
                m.next = "STEP"
        with m.State("STEP"):
            m.d.comb += self.selected.eq(one)
            with m.If(step):
                m.d.sync += self.pause.eq(_PAUSE)
                with m.If(steps != 0):
                    m.d.comb += self.delay_step.eq(1)
                    m.d.sync += steps.eq(steps - 1)
                with m.Elif(slips != 0):
                    m.d.comb += self.slip_step.eq(1)
                    m.d.sync += slips.eq(slips - 1)
                with m.Else():
                    m.next = "NEXT BYTE"
        with m.State("NEXT BYTE"), m.If(step):
            m.d.sync += [self.pause.eq(_PAUSE), byte.eq(byte + 1)]
            m.next = "SET"
            with m.If(byte == self.bytes - 1):
                m.d.sync += byte.eq(0)
                m.next = "ALIGN"
        with m.State("ALIGN"):  # the strobes' pointers of all bytes begin together
            m.d.comb += self.selected.eq((1 << self.bytes) - 1)
            with m.If(step):
                m.d.sync += [self.pause.eq(_PAUSE), self.good.eq((1 << self.bytes) - 1)]
                m.next = "OPEN"

    def _trial(self, m: Module, pattern: Signal) -> None:
        """Every pattern written and read back with the present setting, which is then judged."""
        step, came = self.pause == 0, Signal(self.bytes)
        bits = self.chip.data_bits
        alike = [
            Cat(
                self.init_words[bits * beat + 8 * i :][:8] == self.init_written[bits * beat + 8 * i :][:8]
                for beat in range(self.chip.burst_bits // bits)
            ).all()
            for i in range(self.bytes)
        ]
        states = {"OPEN": (ACTIVATE, "WRITE"), "WRITE": (WRITE, "READ"), "CLOSE": (PRECHARGE, "OPEN")}
        for name, (command, following) in states.items():
            with m.State(name), m.If(step):
                m.d.comb += [self.init_command.eq(command), self.init_write.eq(command == WRITE)]
                m.d.sync += self.pause.eq(_PAUSE)
                m.next = following
                if name == "CLOSE":
                    m.d.sync += pattern.eq(pattern + 1)
                    with m.If(pattern == PATTERNS - 1):
                        m.d.sync += pattern.eq(0)
                        m.next = "JUDGE"
        with m.State("READ"), m.If(step):
            m.d.comb += [self.init_command.eq(READ), self.init_read.eq(1), self.burst_clear.eq(1)]
            m.d.sync += [self.pause.eq(_ANSWER), came.eq(0)]
            m.next = "COMPARE"
        with m.State("COMPARE"):
            with m.If(self.init_came):
                m.d.sync += came.eq(Cat(alike))
            with m.If(step):
                m.d.sync += self.good.eq(self.good & came & self.burst_seen)
                m.next = "CLOSE"
        with m.State("JUDGE"):
            m.next = "SET"
            with m.If(self.final):
                m.next = "POWER UP"
                with m.If(self.good.all()):
                    m.next = "READY"
            with m.Else():
                for i in range(self.bytes):
                    self._keep_best(m, i)
                m.d.sync += self.delay.eq(self.delay + 1)
                with m.If(self.delay == DELAYS - 1):
                    m.d.sync += [*(run.eq(0) for run in self.run), self.slip.eq(self.slip + 1)]
                    with m.If(self.slip == SLIPS - 1):
                        m.d.sync += self.final.eq(1)

    def _keep_best(self, m: Module, i: int) -> None:
        """The byte's run of good delays, and the middle of the longest one, with its slip."""
        run, best = self.run[i], self.best[i]
        longer = Signal(range(DELAYS + 1), name=f"longer{i}")
        m.d.comb += longer.eq(run + 1)
        m.d.sync += run.eq(Mux(self.good[i], longer, 0))
        with m.If(self.good[i] & (longer > best)):
            m.d.sync += [
                best.eq(longer),
                self.delays.word_select(i, 3).eq(self.delay - (run >> 1)),
                self.slips.word_select(i, 2).eq(self.slip),
            ]


def _packed(step: Step, chip: Ddr3Chip) -> Const:
    """A step as the bits of ``_fields``."""
    banks = chip.banks.bit_length() - 1
    value, at = 0, 0
    for part, bits in zip(step, (3, banks, chip.row_bits, 1, 1), strict=False):
        value, at = value | part << at, at + bits
    return Const(value, at)


def _fields(packed, chip: Ddr3Chip) -> tuple:
    """Command, bank, address, reset and clock enable of packed bits."""
    found, at = [], 0
    for bits in (3, chip.banks.bit_length() - 1, chip.row_bits, 1, 1):
        found.append(packed[at : at + bits])
        at += bits
    return tuple(found)
