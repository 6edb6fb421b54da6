"""An example SoC: memory and accelerator on a Wishbone bus, whose master is a host outside (``host_*``), not a CPU.

``python soc.py`` writes build/tritforge_soc.v, to be compiled with tritforge_axi.v, and build/csr.json: the addresses.

SPDX-License-Identifier: Apache-2.0
"""

import json
import sys
from pathlib import Path

from litex.build.generic_platform import GenericPlatform, Pins
from litex.gen import LiteXModule
from litex.soc.integration.export import get_csr_json
from litex.soc.integration.soc_core import SoCCore
from litex.soc.interconnect import wishbone
from migen import ClockDomain
from tritforge_litex import TritforgeAccelerator

__all__ = ["REGISTERS", "TOP", "ExampleSoC", "build"]

TOP = "tritforge_soc"
REGISTERS = 0x30000000  # where the accelerator's registers stand
PACKETS = ("weights", "activations", "results")
BUFFER_BYTES = 0x4000  # of a packet, or as many more as the largest example takes
CLOCK_HZ = 100_000_000
_IO = [("sys_clk", 0, Pins(1)), ("sys_rst", 0, Pins(1)), ("done", 0, Pins(1))]


class ExampleSoC(SoCCore):
    """Memory at 0x40000000, the accelerator at ``REGISTERS``, CSRs at 0xf0000000.

    ``buffer_bytes``: of each quarter of the memory, three of which hold a packet.
    """

    def __init__(self, platform, buffer_bytes=BUFFER_BYTES):
        self.crg = _Clock(platform)
        super().__init__(
            platform, CLOCK_HZ, cpu_type=None, with_uart=False, with_timer=False, integrated_rom_size=0,
            integrated_sram_size=0, integrated_main_ram_size=4 * buffer_bytes, ident="Tritforge example",
        )  # fmt: skip
        host = wishbone.Interface(data_width=32, adr_width=30, addressing="word")
        self.bus.add_master("host", master=host)
        platform.add_extension(host.get_ios("host"))
        self.comb += host.connect_to_pads(platform.request("host"), mode="slave")
        self.tritforge = TritforgeAccelerator(platform)
        self.tritforge.add_to(self, "tritforge", origin=REGISTERS)
        self.comb += platform.request("done").eq(self.tritforge.ev.done.trigger)


class _Clock(LiteXModule):
    """The system clock and its reset are pins."""

    def __init__(self, platform):
        self.cd_sys = ClockDomain()
        self.comb += [
            self.cd_sys.clk.eq(platform.request("sys_clk")),
            self.cd_sys.rst.eq(platform.request("sys_rst")),
        ]


def build(folder):
    """Write the SoC's Verilog and addresses into ``folder``; returns the path of the Verilog."""
    platform = GenericPlatform("simulated", _IO, name="tritforge_example")
    soc = ExampleSoC(platform, _buffer_bytes())
    soc.finalize()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{TOP}.v"
    platform.get_verilog(soc, name=TOP, regular_comb=False).write(str(path))
    path.write_text(_evaluated_at_once(path.read_text(encoding="utf-8")), encoding="utf-8")
    addresses = get_csr_json(soc.csr_regions, soc.constants, soc.mem_regions)
    (folder / "csr.json").write_text(addresses, encoding="utf-8")
    return path


def _buffer_bytes():
    """A power of two that holds any packet of gemms.json."""
    gemms = json.loads((Path(__file__).parent / "gemms.json").read_text(encoding="utf-8"))
    largest = max(len(bytes.fromhex(gemm[name])) for gemm in gemms for name in PACKETS)
    return max(BUFFER_BYTES, 1 << (largest - 1).bit_length())


def _evaluated_at_once(verilog):
    """``verilog`` for event-driven simulators: its ``always @(*)`` would not be evaluated before an input changes."""
    declared = "reg woken;\nreg wake;\ninitial wake <= 1'd0;\n"
    head, end, body = verilog.partition("\n);\n")
    return head + end + declared + body.replace("always @(*) begin\n", "always @(*) begin\n    woken <= wake;\n")


if __name__ == "__main__":
    print(build(Path(sys.argv[1] if len(sys.argv) > 1 else "build").resolve()))
