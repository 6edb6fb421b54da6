"""LiteDRAM's controller behind the same port, pins and registers, for a comparison on the same simulated chip.

Its native port is as wide as the chip, where it is fastest; words are gathered and cut up outside, as ours are.
LiteDRAM (BSD-2-Clause) is installed by ``pip install litedram==2024.12 litex==2024.12``. It initialises chips by
software, of which a sequence of commands takes the place here.
"""

from hw.errors import InputError
from hw.gateware.whole.ports import ADDRESS_BITS, COUNT_BITS
from hw.memory.chip import ChipTiming, SdramChip
from hw.memory.geometry import IO_EDGES, QUEUED_WORDS, Geometry
from hw.memory.pins import MODE, NOTHING, PRECHARGE, REFRESH

__all__ = ["litedram_verilog"]

_WRITE_TO_READ = 2  # clocks that LiteDRAM keeps between the data of a write and a read of any SDR chip


def litedram_verilog(chip: SdramChip, clock_hz: float, timing: ChipTiming, word_bits: int, top: str) -> str:
    """Verilog of a module ``top`` with the ports of ``SdramTop``.

    Raises:
        InputError: LiteDRAM is missing.
    """
    Geometry.of(chip, word_bits)
    try:
        from litex.gen.fhdl.verilog import convert
    except ImportError:
        raise InputError(
            "comparing with LiteDRAM needs its generator: pip install litedram==2024.12 litex==2024.12"
        ) from None
    module, ports = _module(chip, clock_hz, timing, word_bits)
    return str(convert(module, ports, name=top, regs_init=True))


def _module(chip: SdramChip, clock_hz: float, timing: ChipTiming, word_bits: int):
    """The Migen module and its ports."""
    from litedram.common import GeomSettings, PhySettings, TimingSettings
    from litedram.core.controller import ControllerSettings, LiteDRAMController
    from litedram.core.crossbar import LiteDRAMCrossbar
    from migen import Cat, ClockDomain, If, Module, ResetInserter, Signal

    rows, columns, banks = (size.bit_length() - 1 for size in (chip.rows, chip.columns, chip.banks))
    phy = PhySettings(
        phytype="GENSDRPHY", memtype="SDR", databits=chip.data_bits, dfi_databits=chip.data_bits, nphases=1, rdphase=0,
        wrphase=0, cl=timing.cas, read_latency=timing.cas + IO_EDGES, write_latency=0,
    )  # fmt: skip
    times = TimingSettings(
        tRP=timing.rp, tRCD=timing.rcd, tWR=timing.wr, tWTR=_WRITE_TO_READ, tREFI=timing.refresh, tRFC=timing.rfc,
        tFAW=None, tCCD=1, tRRD=timing.rrd, tRC=timing.rc, tRAS=timing.ras, tZQCS=None,
    )  # fmt: skip
    m = Module()
    widths = {
        "clk": 1, "rst": 1, "ready": 1, "request__valid": 1, "request__ready": 1,
        "request__payload": ADDRESS_BITS + COUNT_BITS,
        "words__valid": 1, "words__ready": 1, "words__payload": word_bits, "writes__valid": 1, "writes__ready": 1,
        "writes__payload": ADDRESS_BITS + word_bits + word_bits // 8, "chip__cke": 1, "chip__command": 3,
        "chip__ba": banks, "chip__a": chip.address_bits, "chip__dqm": chip.data_bits // 8,
        "chip__dq_o": chip.data_bits, "chip__dq_oe": 1, "chip__dq_i": chip.data_bits,
    }  # fmt: skip
    ports = {
        name: Signal(bits, name=name, reset=NOTHING if name == "chip__command" else 0) for name, bits in widths.items()
    }
    m.clock_domains.cd_sys = ClockDomain("sys")
    m.comb += [m.cd_sys.clk.eq(ports["clk"]), m.cd_sys.rst.eq(ports["rst"]), ports["chip__cke"].eq(1)]
    m.submodules.controller = controller = ResetInserter()(
        LiteDRAMController(
            phy, GeomSettings(bankbits=banks, rowbits=rows, colbits=columns), times, clock_hz, ControllerSettings()
        )
    )
    m.submodules.crossbar = crossbar = LiteDRAMCrossbar(controller.interface)
    port = crossbar.get_port()
    ready, command, a = ports["ready"], Signal(3, reset=NOTHING), Signal(chip.address_bits)
    m.comb += controller.reset.eq(~ready)
    _initialise(m, chip, timing, ready, command, a)
    dfi = controller.dfi.p0
    mine = Cat(dfi.we_n, dfi.cas_n, dfi.ras_n)
    owed = Signal(phy.read_latency)
    m.sync += [  # the registers at the pins, and the delay that LiteDRAM leaves to its PHY
        If(ready, ports["chip__command"].eq(mine | Cat(*3 * [dfi.cs_n])), ports["chip__a"].eq(dfi.address)).Else(
            ports["chip__command"].eq(command), ports["chip__a"].eq(a)
        ),
        ports["chip__ba"].eq(dfi.bank),
        ports["chip__dqm"].eq(Cat(*[dfi.wrdata_en & bit for bit in dfi.wrdata_mask])),
        ports["chip__dq_o"].eq(dfi.wrdata),
        ports["chip__dq_oe"].eq(dfi.wrdata_en),
        dfi.rddata.eq(ports["chip__dq_i"]),
        owed.eq(Cat(dfi.rddata_en, owed)),
    ]
    m.comb += dfi.rddata_valid.eq(owed[-1])
    _words(m, port, ports, word_bits // chip.data_bits, chip.data_bits)
    return m, set(ports.values())


def _initialise(m, chip: SdramChip, timing: ChipTiming, ready, command, a) -> None:
    """All banks closed, refreshes, the mode register: bursts of one beat, since LiteDRAM sends every beat's command."""
    from migen import If, Signal

    at = timing.power_up
    script = {at: (PRECHARGE, 1 << 10)}
    for i in range(chip.init_refreshes):
        script[at + timing.rp + i * timing.rfc] = (REFRESH, 0)
    end = at + timing.rp + chip.init_refreshes * timing.rfc
    script[end] = (MODE, timing.cas << 4)
    edge = Signal(max=end + timing.mrd + 2)
    m.sync += [If(~ready, edge.eq(edge + 1)), If(edge == end + timing.mrd, ready.eq(1))]
    for when, (which, address) in script.items():
        m.comb += If(edge == when, command.eq(which), a.eq(address))


def _words(m, port, ports, beats: int, beat_bits: int) -> None:
    """Requests and writes of words as commands of single beats; one write, or reads, at a time."""
    from migen import Cat, If, Signal
    from migen.genlib.fifo import SyncFIFO

    word_bits, shift = beats * beat_bits, beats.bit_length() - 1
    m.submodules.queue = queue = SyncFIFO(word_bits, QUEUED_WORDS)
    at, left, claimed = Signal(len(port.cmd.addr)), Signal(COUNT_BITS + shift), Signal(max=QUEUED_WORDS + 1)
    writing, data, mask = Signal(max=beats + 1), Signal(word_bits), Signal(word_bits // 8)
    gathered, part = Signal(word_bits), Signal(max=max(2, beats))
    request, writes, words = ports["request__payload"], ports["writes__payload"], ports["words__payload"]
    idle, reads, first = Signal(), Signal(), Signal()
    word = Cat(gathered[beat_bits:], port.rdata.data)
    taken = Signal()
    m.comb += [
        idle.eq((left == 0) & (writing == 0)),
        ports["writes__ready"].eq(ports["ready"] & idle),
        ports["request__ready"].eq(ports["ready"] & idle & ~ports["writes__valid"]),
        first.eq(at[:shift] == 0 if shift else 1),
        reads.eq(port.cmd.valid & port.cmd.ready & ~port.cmd.we),
        port.cmd.addr.eq(at),
        port.cmd.we.eq(writing != 0),
        port.cmd.valid.eq((left != 0) & (port.cmd.we | ~first | (claimed != QUEUED_WORDS))),
        port.wdata.valid.eq(writing != 0),
        port.wdata.data.eq(data),
        port.wdata.we.eq(mask),
        port.rdata.ready.eq(1),
        queue.din.eq(word),
        queue.we.eq(port.rdata.valid & (part == beats - 1)),
        queue.re.eq(ports["words__ready"]),
        words.eq(queue.dout),
        ports["words__valid"].eq(queue.readable),
        taken.eq(queue.readable & ports["words__ready"]),
    ]
    m.sync += [
        If(port.cmd.valid & port.cmd.ready, at.eq(at + 1), left.eq(left - 1)),
        If(port.wdata.valid & port.wdata.ready, data.eq(data >> beat_bits), mask.eq(mask >> beat_bits // 8),
            writing.eq(writing - 1)),
        If(port.rdata.valid, gathered.eq(word), part.eq(part + 1)),
        If(port.rdata.valid & (part == beats - 1), part.eq(0)),
        claimed.eq(claimed + (reads & first) - taken),
        If(ports["request__valid"] & ports["request__ready"], at.eq(request[:ADDRESS_BITS] << shift),
            left.eq(request[ADDRESS_BITS:] << shift)),
        If(ports["writes__valid"] & ports["writes__ready"], at.eq(writes[:ADDRESS_BITS] << shift), left.eq(beats),
            writing.eq(beats), data.eq(writes[ADDRESS_BITS : ADDRESS_BITS + word_bits]),
            mask.eq(writes[ADDRESS_BITS + word_bits :])),
    ]  # fmt: skip
