"""LiteDRAM's controller with its DDR3 PHY for ECP5, or with a simulated PHY and chip, as Verilog; no processor.

What LiteX leaves to a processor's software (mode registers, read levelling) is left to ``hw.memory.ddr3.levelling``,
which has the PHY's command interface until it is ``ready``. LiteDRAM (BSD-2-Clause) is installed by
``pip install litedram==2024.12 litex==2024.12``; the Verilog is made of its sources and stands under its licence.

Ref: the clocks and settings are those of the OrangeCrab in litex-boards, gsd_orangecrab.py.
"""

import re
from functools import lru_cache
from typing import Any

from hw.errors import InputError
from hw.memory.ddr3.chips import CAS, CAS_WRITE, PHASES, Ddr3Chip, Skew

__all__ = ["CORE_NAME", "PADS", "core_ports", "ddr3_verilog", "pad_widths"]

CORE_NAME = "tritforge_ddr3"
_INIT_HZ = 24e6  # of the state machine that starts the PHY's clocks
_PIN_DELAY_BELOW_HZ = 64e6  # up to this clock, commands and the chip's clock leave through a delay line
_PIN_DELAY = 100  # of its 127 steps
_POWER_ON_BITS = 16  # of the counter of the input clock that holds the PLL in reset
_FIRST_NUMBER = 1 << 20  # above those of objects that LiteX makes when it is imported
_SUPPLY_PINS, _GROUND_PINS = 6, 2  # of the OrangeCrab r0.2

PADS = {  # io: driven from both sides; vccio, gnd: pins beside the chip's that strengthen the supply of its bank
    "a": "o", "ba": "o", "ras_n": "o", "cas_n": "o", "we_n": "o", "cs_n": "o", "dm": "o", "dq": "io", "dqs_p": "io",
    "clk_p": "o", "cke": "o", "odt": "o", "reset_n": "o", "vccio": "o", "gnd": "o",
}  # fmt: skip


def pad_widths(chip: Ddr3Chip) -> dict[str, int]:
    """Bits of each of ``PADS``."""
    bytes_ = chip.data_bits // 8
    widths = {"a": chip.row_bits, "ba": chip.banks.bit_length() - 1, "dm": bytes_, "dq": chip.data_bits}
    return dict.fromkeys(PADS, 1) | widths | {"dqs_p": bytes_, "vccio": _SUPPLY_PINS, "gnd": _GROUND_PINS}


def core_ports(chip: Ddr3Chip) -> dict[str, tuple[int, bool]]:
    """Ports of the module but for clocks and pads: bits, and whether the core drives it.

    ``init_*``: the chip's command pins (low when asserted), driven while ``ready`` is low; a read or a write carries a
    whole burst. ``selected``: bytes whose read delay (0 to 7) and bit slip (0 to 3) are stepped or reset, and which
    stand still as long. ``burst_seen``: a strobe of the byte came since ``burst_clear``. ``port_*``: LiteDRAM's native
    port.
    """
    banks, bytes_, burst = chip.banks.bit_length() - 1, chip.data_bits // 8, chip.burst_bits
    return {
        "ready": (1, False), "init_command": (3, False), "init_read": (1, False), "init_write": (1, False),
        "init_a": (chip.row_bits, False), "init_ba": (banks, False), "init_cke": (1, False),
        "init_reset_n": (1, False), "init_written": (burst, False), "init_came": (1, True), "init_words": (burst, True),
        "selected": (bytes_, False), "delay_reset": (1, False), "delay_step": (1, False), "slip_reset": (1, False),
        "slip_step": (1, False), "burst_clear": (1, False), "burst_seen": (bytes_, True),
        "port_valid": (1, False), "port_ready": (1, True), "port_we": (1, False),
        "port_address": (chip.address_bits, False), "port_take": (1, True),
        "port_written": (burst, False), "port_mask": (burst // 8, False),
        "port_came": (1, True), "port_words": (burst, True),
    }  # fmt: skip


@lru_cache(maxsize=8)
def ddr3_verilog(chip: Ddr3Chip, clock_hz: float, input_hz: float | None, skew: tuple[Skew, ...] = ()) -> str:
    """Verilog of module ``tritforge_ddr3``, the same bytes on every run; generated once for the same arguments.

    ``clock_hz``: of controller and machine, half of the chip's. ``input_hz``: of the board's clock, from which a PLL
    makes it; None: simulated, ``clk`` is the clock itself and ``rst`` its reset, and ``skew`` what levelling must find.

    Raises:
        InputError: LiteDRAM is missing, or no setting of the PLL makes the clock.
    """
    try:
        from litex.build.lattice.common import lattice_ecp5_trellis_special_overrides
        from litex.gen.fhdl.verilog import convert
        from migen.fhdl.structure import DUID

        DUID._DUID__next_uid = _FIRST_NUMBER  # Migen orders what it writes by the numbers of its objects
        module, ports = _module(chip, clock_hz, input_hz, skew)
    except ImportError:
        raise InputError(
            f"a DDR3 controller for {chip.name} needs its generator: pip install litedram==2024.12 litex==2024.12"
        ) from None
    overrides = lattice_ecp5_trellis_special_overrides if input_hz else {}
    try:
        text = str(convert(module, ports, name=CORE_NAME, special_overrides=overrides))
    except ValueError as error:
        if "PLL" not in str(error):
            raise
        raise InputError(
            f"the PLL of ecp5 cannot make {2 * clock_hz / 1e6:g} MHz for DDR3 of {(input_hz or 0) / 1e6:g} MHz; "
            "take another --mhz"
        ) from None
    kind = "its ECP5 PHY" if input_hz else "a simulated PHY and chip"
    header = (
        f"// {CORE_NAME}: LiteDRAM 2024.12's controller with {kind} for {chip.name} at {clock_hz / 1e6:g} MHz.\n"
        "// Generated by LiteDRAM and LiteX, copyright (c) Enjoy-Digital and contributors.\n"
        "// SPDX-License-Identifier: BSD-2-Clause\n"
    )
    body = text[text.index("`timescale") :]  # in front of it LiteX writes the date
    body = re.sub(r"(?m)^//.*\n", "", body)
    both = "|".join(name for name, direction in PADS.items() if direction == "io")
    return header + re.sub(rf"input ( wire .* ddram_(?:{both}),)", r"inout \1", body)  # LiteX says input of these


def _module(chip: Ddr3Chip, clock_hz: float, input_hz: float | None, skew: tuple[Skew, ...]) -> tuple[Any, set]:
    """The Migen module and its ports."""
    import litedram.modules
    from litedram.core.controller import ControllerSettings, LiteDRAMController
    from litedram.core.crossbar import LiteDRAMCrossbar
    from migen import Cat, ClockSignal, If, Module, ResetInserter, ResetSignal, Signal

    m = Module()
    times = getattr(litedram.modules, chip.litedram)(clock_hz, f"1:{PHASES}")
    ports = {name: Signal(bits, name=name) for name, (bits, _) in core_ports(chip).items()}
    clocks = {name: Signal(name=name) for name in ("clk", "sys_clk", "sys_rst" if input_hz else "rst")}
    pads = {}
    if input_hz:
        phy = _ecp5_phy(m, chip, clock_hz, input_hz, clocks["clk"], pads)
        m.comb += clocks["sys_rst"].eq(ResetSignal("sys"))
        burst_seen = phy._burstdet_seen.status
    else:
        phy = _simulated_phy(m, chip, clock_hz, clocks, times, skew)
        burst_seen = phy.burst_seen
    m.comb += clocks["sys_clk"].eq(ClockSignal("sys"))
    m.submodules.phy = phy
    m.submodules.controller = controller = ResetInserter()(
        LiteDRAMController(phy.settings, times.geom_settings, times.timing_settings, clock_hz, ControllerSettings())
    )
    m.submodules.crossbar = crossbar = LiteDRAMCrossbar(controller.interface)
    port = crossbar.get_port()
    m.comb += [
        controller.reset.eq(~ports["ready"]),
        phy._dly_sel.storage.eq(ports["selected"]),
        phy._rdly_dq_rst.re.eq(ports["delay_reset"]),
        phy._rdly_dq_inc.re.eq(ports["delay_step"]),
        phy._rdly_dq_bitslip_rst.re.eq(ports["slip_reset"]),
        phy._rdly_dq_bitslip.re.eq(ports["slip_step"]),
        phy._burstdet_clr.re.eq(ports["burst_clear"]),
        ports["burst_seen"].eq(burst_seen),
        port.cmd.valid.eq(ports["port_valid"]),
        ports["port_ready"].eq(port.cmd.ready),
        port.cmd.we.eq(ports["port_we"]),
        port.cmd.addr.eq(ports["port_address"]),
        port.wdata.valid.eq(1),
        ports["port_take"].eq(port.wdata.ready),
        port.wdata.data.eq(ports["port_written"]),
        port.wdata.we.eq(ports["port_mask"]),
        port.rdata.ready.eq(1),
        ports["port_came"].eq(port.rdata.valid),
        ports["port_words"].eq(port.rdata.data),
        If(ports["ready"], controller.dfi.connect(phy.dfi)).Else(*_initialising(phy, ports)),
        ports["init_words"].eq(Cat(*[phase.rddata for phase in phy.dfi.phases])),
        ports["init_came"].eq(phy.dfi.phases[0].rddata_valid),
    ]
    return m, {*ports.values(), *clocks.values(), *pads.values()}


def _initialising(phy, ports: dict[str, Any]) -> list:
    """The PHY's command interface while the controller does not have it: one command, on the phase that it wants."""
    settings, found = phy.settings, []
    bits = settings.dfi_databits
    for number, phase in enumerate(phy.dfi.phases):
        read, write = ports["init_read"], ports["init_write"]
        here = (number == settings.rdphase) & read | (number == settings.wrphase) & write
        if number == 0:
            here = here | ~read & ~write
        found += [
            phase.address.eq(ports["init_a"]),
            phase.bank.eq(ports["init_ba"]),
            phase.ras_n.eq(ports["init_command"][2] | ~here),
            phase.cas_n.eq(ports["init_command"][1] | ~here),
            phase.we_n.eq(ports["init_command"][0] | ~here),
            phase.cs_n.eq(0),
            phase.cke.eq(ports["init_cke"]),
            phase.odt.eq(ports["init_cke"]),
            phase.reset_n.eq(ports["init_reset_n"]),
            phase.wrdata_en.eq(here & write),
            phase.rddata_en.eq(here & read),
            phase.wrdata.eq(ports["init_written"][number * bits : (number + 1) * bits]),
            phase.wrdata_mask.eq(0),
        ]
    return found


def _ecp5_phy(m, chip: Ddr3Chip, clock_hz: float, input_hz: float, clk, pads: dict[str, Any]):
    """The PHY with its pads, and the clocks that it needs: half the chip's clock is divided from its own."""
    from litedram.phy import ECP5DDRPHY
    from litex.soc.cores.clock import ECP5PLL
    from migen import ClockDomain, If, Instance, Record, Signal
    from migen.genlib.resetsync import AsyncResetSynchronizer

    record = Record(list(pad_widths(chip).items()), name="ddram")
    for name in PADS:
        signal = getattr(record, name)
        signal.name_override = f"ddram_{name}"
        pads[name] = signal
    # The mask of the low byte leaves through the pad beside the strobe of the high one and the other way round.
    phy = ECP5DDRPHY(
        record, clock_hz, cl=CAS, cwl=CAS_WRITE, dm_remapping={0: 1, 1: 0},
        cmd_delay=0 if clock_hz > _PIN_DELAY_BELOW_HZ else _PIN_DELAY,
    )  # fmt: skip
    for name, reset_less in {"init": False, "por": True, "sys": False, "sys2x": True, "sys2x_i": True}.items():
        setattr(m.clock_domains, f"cd_{name}", ClockDomain(name, reset_less=reset_less))
    held, through = Signal(_POWER_ON_BITS, reset=2**_POWER_ON_BITS - 1), Signal()
    m.submodules.pll = pll = ECP5PLL()
    m.comb += [record.vccio.eq(2**_SUPPLY_PINS - 1), record.gnd.eq(0)]
    m.comb += [m.cd_por.clk.eq(clk), pll.reset.eq(held != 0)]
    m.sync.por += If(held != 0, held.eq(held - 1))
    pll.register_clkin(clk, input_hz)
    pll.create_clkout(m.cd_sys2x_i, PHASES * clock_hz, margin=1e-6, with_reset=False)
    pll.create_clkout(m.cd_init, _INIT_HZ)
    m.specials += [
        Instance("ECLKBRIDGECS", i_CLK0=m.cd_sys2x_i.clk, i_SEL=0, o_ECSOUT=through),
        Instance("ECLKSYNCB", i_ECLKI=through, i_STOP=phy.init.stop, o_ECLKO=m.cd_sys2x.clk),
        Instance(
            "CLKDIVF", p_DIV="2.0", i_ALIGNWD=0, i_CLKI=m.cd_sys2x.clk, i_RST=phy.init.reset, o_CDIVX=m.cd_sys.clk
        ),
        AsyncResetSynchronizer(m.cd_sys, ~pll.locked | phy.init.reset),
    ]
    return phy


def _simulated_phy(m, chip: Ddr3Chip, clock_hz: float, clocks: dict[str, Any], times, skew: tuple[Skew, ...]):
    """A model of the PHY and the chip."""
    from migen import ClockDomain

    from hw.memory.ddr3.phy_model import SkewedPhy

    m.clock_domains.cd_sys = ClockDomain("sys")
    m.comb += [m.cd_sys.clk.eq(clocks["clk"]), m.cd_sys.rst.eq(clocks["rst"])]
    return SkewedPhy(chip, clock_hz, times, skew)
