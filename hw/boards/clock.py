"""From the board's clock to the array's and its memory's: PLLs of the FPGA families, settings by search, the reset."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from amaranth import ClockDomain, ClockSignal, Const, Elaboratable, Instance, Module, ResetSignal, Signal

from hw.boards.catalog import Board
from hw.errors import InputError

__all__ = ["Clock", "PllSettings", "pll_settings", "settings_of"]

_RESET_EDGES = 15  # after the PLL has locked
_FILTER_EDGES_HZ = (17e6, 26e6, 44e6, 66e6, 101e6)  # of the iCE40 PLL's phase detector
_EXACT = 1e-6  # relative error that a UART never sees


class PllSettings(NamedTuple):
    """``board_hz * multiply / divide`` is the output; ``vco_hz = output_hz * vco_divide`` is the oscillator inside."""

    divide: int
    multiply: int
    vco_divide: int
    output_hz: float
    vco_hz: float


class _Limits(NamedTuple):
    """What a family's PLL can do, with its source."""

    divide: range
    multiply: range
    vco_divide: Sequence[int]
    vco_hz: tuple[float, float]
    detector_hz: tuple[float, float]
    vco_in_loop: bool  # the loop closes at the oscillator, not at the output


_PLLS: dict[str, _Limits] = {
    # Lattice FPGA-DS-02012, sysCLOCK PLL timing
    "ecp5": _Limits(range(1, 41), range(1, 81), range(1, 129), (400e6, 800e6), (10e6, 400e6), False),
    # Lattice FPGA-DS-02008 (iCE40 UltraPlus), sysCLOCK PLL timing, and FPGA-TN-02052: feedback path SIMPLE
    "ice40": _Limits(range(1, 17), range(1, 129), (2, 4, 8, 16, 32, 64), (533e6, 1066e6), (10e6, 133e6), True),
    # Gowin UG286, and DS117 and DS226: what GW1NR-9C and GW2AR-18 have in common
    "gowin": _Limits(range(1, 65), range(1, 65), (2, 4, 8, *range(16, 129, 16)), (500e6, 1200e6), (3e6, 400e6), False),
    # Xilinx DS181 (Artix-7, speed -1L): PLLE2
    "xc7": _Limits(range(1, 6), range(2, 65), range(1, 129), (800e6, 1600e6), (19e6, 450e6), True),
}


def pll_settings(family: str, board_hz: float, clock_hz: float, ratio: int = 1) -> PllSettings:
    """Settings that give ``clock_hz`` exactly, with the oscillator as near as possible to the middle of its range.

    ``ratio``: a second output has a period so many times as long, which its divider must be able to make.

    Raises:
        InputError: the family's PLL cannot make it, or the family has none here.
    """
    if ratio > 1 and family not in _TWO_OUTPUTS:
        raise InputError(
            f"--memory-clock must be left out on {family}: a second clock is made by the PLL of "
            f"{', '.join(_TWO_OUTPUTS)} alone, here"
        )
    if family not in _PLLS:
        raise InputError(f"clock must be the board's {board_hz / 1e6:g} MHz on {family}, not {clock_hz / 1e6:g} MHz")
    limits = _PLLS[family]
    middle = sum(limits.vco_hz) / 2
    found = [
        s for s in _candidates(limits, board_hz)
        if abs(s.output_hz - clock_hz) <= _EXACT * clock_hz and s.vco_divide * ratio in limits.vco_divide
    ]  # fmt: skip
    if not found:
        raise InputError(
            f"the PLL of {family} cannot make {clock_hz / 1e6:g} MHz of {board_hz / 1e6:g} MHz exactly; "
            f"take the board's clock or another multiple"
        )
    return min(found, key=lambda s: (s.divide, abs(s.vco_hz - middle)))


def settings_of(board: Board, ratio: int = 1) -> PllSettings | None:
    """Settings of the board's PLL; None where its own clock, or that of a processing system, is the array's.

    ``ratio``: of a memory's clock, which is then the PLL's first output, to the array's, its second one.

    Raises:
        InputError: see ``pll_settings``.
    """
    if "clk" not in board.ports or (ratio == 1 and board.clock_hz == board.board_hz):
        return None
    return pll_settings(board.family, board.board_hz, ratio * board.clock_hz, ratio)


def _candidates(limits: _Limits, board_hz: float) -> Iterator[PllSettings]:
    """Every setting inside the limits."""
    for divide in limits.divide:
        if not limits.detector_hz[0] <= board_hz / divide <= limits.detector_hz[1]:
            continue
        for multiply in limits.multiply:
            for vco_divide in limits.vco_divide:
                product = board_hz * multiply / divide
                output, vco = (product / vco_divide, product) if limits.vco_in_loop else (product, product * vco_divide)
                if limits.vco_hz[0] <= vco <= limits.vco_hz[1]:
                    yield PllSettings(divide, multiply, vco_divide, output, vco)


class Clock(Elaboratable):
    """Drives domain ``sync``, which its parent defines, at ``board.clock_hz``; at rest until the clock is good.

    Behind a PLL of the ECP5 the clock stands still until then, and no register needs a reset: each begins as the
    bitstream says. A reset is one net to all of them, across the chip, and was longer than any addition. Elsewhere it
    comes out of a register.

    With a ``ratio`` above 1, domain ``memory`` gets a clock that is so much faster, with aligned edges and without a
    reset: the PLL's first output, of which ``sync`` is a second one. ``simulated``: both come from outside.

    Attributes
    ----------
    pin : the board's clock; unused where the processing system gives it.
    memory_pin : where ``simulated``, the memory's.
    gated : the clock stands still instead of a reset, so that ``sync`` has none.
    """

    def __init__(self, board: Board, ratio: int = 1, simulated: bool = False):
        self.board, self.ratio = board, ratio
        self.pin = Signal()
        self.memory_pin = Signal()
        self.settings = None if simulated else settings_of(board, ratio)
        self.gated = self.settings is not None and board.family in _GATES

    def elaborate(self, platform) -> Module:
        """Source and a counter that ends the rest."""
        m = Module()
        board = self.board
        clock = Signal()
        memory_clock = Signal()
        locked = Signal()
        if "clk" not in board.ports:
            _processing_system(m, clock, locked)
        elif self.settings is None:
            m.d.comb += [clock.eq(self.pin), memory_clock.eq(self.memory_pin), locked.eq(1)]
        elif self.ratio > 1:
            _ecp5(m, board, self.settings, self.pin, memory_clock, locked, self.ratio, clock)
        else:
            _MAKERS[board.family](m, board, self.settings, self.pin, clock, locked)
        m.domains.start = ClockDomain(reset_less=True, local=True)
        waited = Signal(range(_RESET_EDGES + 1))
        with m.If(~locked):
            m.d.start += waited.eq(0)
        with m.Elif(waited != _RESET_EDGES):
            m.d.start += waited.eq(waited + 1)
        resting = Signal(init=1)
        m.d.start += resting.eq(waited != _RESET_EDGES)
        if self.gated:  # nextpnr reaches a gate from the PLL alone, not from a net that clocks registers too
            m.d.comb += ClockSignal("start").eq(self.pin)
            clocks = {"sync": clock, "memory": memory_clock} if self.ratio > 1 else {"sync": clock}
            for domain, source in clocks.items():
                name = "gate" if domain == "sync" else f"{domain}_gate"
                m.submodules[name] = Instance(
                    _GATES[board.family], i_CLKI=source, i_CE=~resting, o_CLKO=ClockSignal(domain)
                )
            return m
        if self.ratio > 1:
            m.d.comb += ClockSignal("memory").eq(memory_clock)
        m.d.comb += [
            ClockSignal("start").eq(clock),
            ClockSignal("sync").eq(clock),
            ResetSignal("sync").eq(resting),
        ]
        return m


def _ecp5(
    m: Module, board: Board, s: PllSettings, pin: Signal, clock: Signal, locked: Signal, ratio: int = 1,
    slower: Signal | None = None,
) -> None:  # fmt: skip
    """EHXPLLL with feedback from its output; ``slower``: a second output, whose edges are every ``ratio``-th of it.

    A phase of the divider less one is none, so that both rise together. Ref: Lattice FPGA-TN-02200.
    """
    second = {}
    if slower is not None:
        divide = ratio * s.vco_divide
        second = {
            "a_FREQUENCY_PIN_CLKOS": f"{s.output_hz / ratio / 1e6:g}", "p_OUTDIVIDER_MUXB": "DIVB",
            "p_CLKOS_ENABLE": "ENABLED", "p_CLKOS_DIV": divide, "p_CLKOS_CPHASE": divide - 1, "p_CLKOS_FPHASE": 0,
            "o_CLKOS": slower,
        }  # fmt: skip
    m.submodules.pll = Instance(
        "EHXPLLL",
        a_FREQUENCY_PIN_CLKI=f"{board.board_hz / 1e6:g}",
        a_FREQUENCY_PIN_CLKOP=f"{s.output_hz / 1e6:g}",
        a_ICP_CURRENT="12",
        a_LPF_RESISTOR="8",
        a_MFG_ENABLE_FILTEROPAMP="1",
        a_MFG_GMCREF_SEL="2",
        p_PLLRST_ENA="DISABLED",
        p_INTFB_WAKE="DISABLED",
        p_STDBY_ENABLE="DISABLED",
        p_DPHASE_SOURCE="DISABLED",
        p_OUTDIVIDER_MUXA="DIVA",
        p_CLKOP_ENABLE="ENABLED",
        p_CLKOP_CPHASE=s.vco_divide - 1,
        p_CLKOP_FPHASE=0,
        p_CLKOP_DIV=s.vco_divide,
        p_CLKI_DIV=s.divide,
        p_CLKFB_DIV=s.multiply,
        p_FEEDBK_PATH="CLKOP",
        i_CLKI=pin,
        i_CLKFB=clock,
        **{f"i_{port}": Const(0) for port in ("RST", "STDBY", "PHASESEL0", "PHASESEL1", "PHASEDIR", "PHASESTEP")},
        **second,
        i_PHASELOADREG=Const(0),
        i_PLLWAKESYNC=Const(0),
        i_ENCLKOP=Const(0),
        o_CLKOP=clock,
        o_LOCK=locked,
    )


def _ice40(m: Module, board: Board, s: PllSettings, pin: Signal, clock: Signal, locked: Signal) -> None:
    """SB_PLL40_PAD, whose input is the pad itself. Ref: Lattice FPGA-TN-02052; the filter's ranges are icepll's."""
    detector_hz = board.board_hz / s.divide
    m.submodules.pll = Instance(
        "SB_PLL40_PAD",
        p_FEEDBACK_PATH="SIMPLE",
        p_DIVR=Const(s.divide - 1, 4),
        p_DIVF=Const(s.multiply - 1, 7),
        p_DIVQ=Const(s.vco_divide.bit_length() - 1, 3),
        p_FILTER_RANGE=Const(1 + sum(detector_hz >= edge for edge in _FILTER_EDGES_HZ), 3),
        i_PACKAGEPIN=pin,
        i_RESETB=Const(1),
        i_BYPASS=Const(0),
        o_PLLOUTGLOBAL=clock,
        o_LOCK=locked,
    )


def _gowin(m: Module, board: Board, s: PllSettings, pin: Signal, clock: Signal, locked: Signal) -> None:
    """RPLL with its feedback inside. Ref: Gowin UG286."""
    zeros = {
        "CLKFB": 1,
        "RESET": 1,
        "RESET_P": 1,
        "FBDSEL": 6,
        "IDSEL": 6,
        "ODSEL": 6,
        "DUTYDA": 4,
        "PSDA": 4,
        "FDLY": 4,
    }
    m.submodules.pll = Instance(
        "rPLL",
        p_DEVICE=board.pack_options.split()[-1].replace("-", "R-"),  # the same die with memory in its package
        p_FCLKIN=f"{board.board_hz / 1e6:g}",
        p_IDIV_SEL=s.divide - 1,
        p_FBDIV_SEL=s.multiply - 1,
        p_ODIV_SEL=s.vco_divide,
        p_DYN_IDIV_SEL="false",
        p_DYN_FBDIV_SEL="false",
        p_DYN_ODIV_SEL="false",
        p_DYN_DA_EN="false",
        p_PSDA_SEL="0000",
        p_DUTYDA_SEL="1000",
        p_CLKFB_SEL="internal",
        i_CLKIN=pin,
        **{f"i_{port}": Const(0, bits) for port, bits in zeros.items()},
        o_CLKOUT=clock,
        o_LOCK=locked,
    )


def _xc7(m: Module, board: Board, s: PllSettings, pin: Signal, clock: Signal, locked: Signal) -> None:
    """PLLE2_BASE with its feedback inside. Ref: Xilinx UG472."""
    feedback = Signal()
    output = Signal()
    m.submodules.pll = Instance(
        "PLLE2_BASE",
        p_CLKIN1_PERIOD=1e9 / board.board_hz,
        p_DIVCLK_DIVIDE=s.divide,
        p_CLKFBOUT_MULT=s.multiply,
        p_CLKOUT0_DIVIDE=s.vco_divide,
        i_CLKIN1=pin,
        i_CLKFBIN=feedback,
        i_RST=Const(0),
        i_PWRDWN=Const(0),
        o_CLKFBOUT=feedback,
        o_CLKOUT0=output,
        o_LOCKED=locked,
    )
    m.submodules.buffer = Instance("BUFG", i_I=output, o_O=clock)


def _processing_system(m: Module, clock: Signal, locked: Signal) -> None:
    """``pl_clk0`` of a Zynq UltraScale+; the firmware starts and sets it. Ref: Xilinx UG1085."""
    clocks = Signal(4)
    m.submodules.system = Instance("PS8", o_PLCLK=clocks)
    m.submodules.buffer = Instance("BUFG_PS", i_I=clocks[0], o_O=clock)
    m.d.comb += locked.eq(1)


_TWO_OUTPUTS = ("ecp5",)
_GATES = {"ecp5": "DCCA"}  # cells that stop a clock without a glitch. Ref: Lattice FPGA-TN-02200
_MAKERS = {"ecp5": _ecp5, "ice40": _ice40, "gowin": _gowin, "xc7": _xc7}  # as many as _PLLS
