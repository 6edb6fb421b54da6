"""``SkewedPhy``: LiteDRAM's simulated PHY and chip, whose bytes come wrong until levelling has set them.

The ECP5's own PHY consists of cells that have no simulation model, so this stands for it: the same settings, latencies
and controls. A byte with the wrong bit slip comes with its beats moved, one with a read delay outside its window comes
wrong, and without a strobe.
"""

from typing import Any

from litedram.common import PhySettings, get_sys_latency, get_sys_phase
from litedram.phy.dfi import Interface
from litedram.phy.model import SDRAM_VERBOSE_STD, SDRAMPHYModel
from migen import Array, Cat, If, Module, Signal

from hw.memory.ddr3.chips import BEATS, CAS, CAS_WRITE, PHASES, Ddr3Chip, Skew

__all__ = ["SkewedPhy"]

_PHY_LATENCY = 10  # clock cycles that ECP5DDRPHY adds to the CAS latency of a read


class _Strobe:
    """A register that is written for its effect, as ``CSR`` of LiteX."""

    def __init__(self) -> None:
        self.re = Signal()


class _Storage:
    """A register that keeps what is written, as ``CSRStorage``."""

    def __init__(self, bits: int) -> None:
        self.storage = Signal(bits)


class SkewedPhy(Module):
    """As ``ECP5DDRPHY``: ``dfi``, ``settings``, and the registers by their names there; ``burst_seen`` per byte.

    ``skew``: for each byte the bit slip (0 to 3) that it needs, the first and the last good read delay (0 to 7).
    """

    def __init__(self, chip: Ddr3Chip, clock_hz: float, times: Any, skew: tuple[Skew, ...]):
        bytes_ = chip.data_bits // 8
        skew = skew or ((0, 0, 7),) * bytes_
        read, write = get_sys_latency(PHASES, CAS), get_sys_latency(PHASES, CAS_WRITE)
        self.settings = PhySettings(
            phytype="ECP5DDRPHY", memtype="DDR3", databits=chip.data_bits, dfi_databits=4 * chip.data_bits, nranks=1,
            nphases=PHASES, rdphase=get_sys_phase(PHASES, read, CAS),
            wrphase=get_sys_phase(PHASES, write, CAS_WRITE),
            cl=CAS, cwl=CAS_WRITE, read_latency=read + _PHY_LATENCY, write_latency=write, read_leveling=True,
            bitslips=4, delays=8,
        )  # fmt: skip
        period_ps = int(1e12 / clock_hz / PHASES)  # the timing checker counts in whole ones, and this is not later
        checked_hz = 1e12 / period_ps / PHASES
        model = SDRAMPHYModel(times, self.settings, clk_freq=checked_hz, verbosity=SDRAM_VERBOSE_STD)
        self.submodules.model = model
        self.dfi = Interface(chip.row_bits, chip.banks.bit_length() - 1, 1, 4 * chip.data_bits, PHASES)
        self._dly_sel, self.burst_seen = _Storage(bytes_), Signal(bytes_)
        self._rdly_dq_rst, self._rdly_dq_inc = _Strobe(), _Strobe()
        self._rdly_dq_bitslip_rst, self._rdly_dq_bitslip, self._burstdet_clr = _Strobe(), _Strobe(), _Strobe()
        self.comb += self.dfi.connect(model.dfi, omit={"rddata", "rddata_valid"})
        came = model.dfi.phases[0].rddata_valid
        self.comb += [phase.rddata_valid.eq(came) for phase in self.dfi.phases]
        true, seen = Signal(chip.burst_bits), Signal(chip.burst_bits)
        self.comb += true.eq(Cat(*[phase.rddata for phase in model.dfi.phases]))
        self.comb += Cat(*[phase.rddata for phase in self.dfi.phases]).eq(seen)
        for byte, (needed, first, last) in enumerate(skew):
            delay, slip, good = Signal(3), Signal(2), Signal()
            mine = self._dly_sel.storage[byte]
            self.sync += [
                If(mine & self._rdly_dq_inc.re, delay.eq(delay + 1)),
                If(mine & self._rdly_dq_rst.re, delay.eq(0)),
                If(mine & self._rdly_dq_bitslip.re, slip.eq(slip + 1)),
                If(mine & self._rdly_dq_bitslip_rst.re, slip.eq(0)),
                If(self._burstdet_clr.re, self.burst_seen[byte].eq(0)),
                If(came & good, self.burst_seen[byte].eq(1)),
            ]
            self.comb += good.eq((delay >= first) & (delay <= last))
            places = [slice(low, low + 8) for low in range(8 * byte, chip.burst_bits, chip.data_bits)]
            beats = [true[place] for place in places]
            for beat, place in enumerate(places):
                moved = Array(beats[(beat + slips - needed) % BEATS] for slips in range(4))[slip]
                self.comb += If(good, seen[place].eq(moved)).Else(seen[place].eq(~moved))
