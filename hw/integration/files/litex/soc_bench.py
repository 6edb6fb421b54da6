"""cocotb bench of the example SoC: a host on its Wishbone bus writes packets to memory, starts, and reads the results.

SPDX-License-Identifier: Apache-2.0
"""

import json
from pathlib import Path

import cocotb
import tritforge_registers as registers
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

HERE = Path(__file__).parent
GEMMS = json.loads((HERE / "gemms.json").read_text(encoding="utf-8"))
ARRAY = json.loads((HERE / "config.json").read_text(encoding="utf-8"))["array"]
PLACES = json.loads((HERE / "build" / "csr.json").read_text(encoding="utf-8"))
BEAT_BYTES = {"weights": ARRAY["weight_bus_bits"] // 8, "activations": ARRAY["rows"]}
CORE = PLACES["memories"]["tritforge"]["base"]
MEMORY = PLACES["memories"]["main_ram"]["base"]
QUARTER = PLACES["memories"]["main_ram"]["size"] // 4
BUFFERS = {"weights": MEMORY, "activations": MEMORY + QUARTER, "results": MEMORY + 2 * QUARTER}
PATIENCE = 100_000  # edges


class Host:
    """A Wishbone master in the place of a CPU; what it does here is what a driver in C would do."""

    def __init__(self, dut):
        self.dut = dut
        Clock(dut.sys_clk, 10, unit="ns").start()
        for name in ("adr", "bte", "cti", "cyc", "dat_w", "sel", "stb", "we"):
            getattr(dut, f"host_{name}").value = 0

    async def start_up(self):
        """Hold the reset for a few edges."""
        self.dut.sys_rst.value = 1
        for _ in range(3):
            await RisingEdge(self.dut.sys_clk)
        self.dut.sys_rst.value = 0
        await RisingEdge(self.dut.sys_clk)

    async def _access(self, address, value=None):
        bus = {"adr": address // 4, "sel": 15, "we": value is not None, "dat_w": value or 0, "cyc": 1, "stb": 1}
        for name, level in bus.items():
            getattr(self.dut, f"host_{name}").value = int(level)
        for _ in range(PATIENCE):
            await RisingEdge(self.dut.sys_clk)
            if self.dut.host_ack.value == 1:
                break
        else:
            raise AssertionError(f"no answer at {address:#x}")
        assert self.dut.host_err.value == 0, f"an error was answered at {address:#x}"
        word = None if value is not None else int(self.dut.host_dat_r.value)
        self.dut.host_cyc.value = self.dut.host_stb.value = 0
        await RisingEdge(self.dut.sys_clk)
        return word

    async def write(self, address, value):
        """Set the word at a byte address."""
        await self._access(address, value)

    async def read(self, address):
        """The word at a byte address."""
        return await self._access(address)

    async def csr(self, name, value):
        """Set a CSR of the accelerator by its name."""
        await self.write(PLACES["csr_registers"][f"tritforge_{name}"]["addr"], value)

    async def gemm(self, words, packets, result_bytes):
        """One GEMM; returns the bytes that the accelerator wrote to memory."""
        length = -(-result_bytes // 4) * 4
        await self.csr("results_base", BUFFERS["results"])
        await self.csr("results_length", length)
        await self.csr("results_enable", 1)
        for name, packet in packets.items():
            padded = packet + bytes(-len(packet) % 4)
            for at in range(0, len(padded), 4):
                await self.write(BUFFERS[name] + at, int.from_bytes(padded[at : at + 4], "little"))
            await self.csr(f"{name}_base", BUFFERS[name])
            await self.csr(f"{name}_length", len(padded))
            await self.csr(f"{name}_beats", len(packet) // BEAT_BYTES[name])
            await self.csr(f"{name}_enable", 1)
        for name, value in words.items():
            await self.write(CORE + getattr(registers, name.upper()), value)
        await self.write(CORE + registers.CONTROL, registers.CONTROL_START_MASK | registers.CONTROL_ENABLE_MASK)
        for _ in range(PATIENCE):
            if self.dut.done.value == 1:
                break
            await RisingEdge(self.dut.sys_clk)
        status = await self.read(CORE + registers.STATUS)
        assert status == registers.STATUS_DONE_MASK, f"status is {status:#x}"
        await self.write(CORE + registers.CONTROL, registers.CONTROL_ACKNOWLEDGE_MASK)
        for name in BUFFERS:
            await self.csr(f"{name}_enable", 0)
        found = [await self.read(BUFFERS["results"] + at) for at in range(0, length, 4)]
        return b"".join(word.to_bytes(4, "little") for word in found)[:result_bytes]


@cocotb.test()
async def the_core_answers_on_the_bus(dut):
    host = Host(dut)
    await host.start_up()
    assert await host.read(CORE + registers.IDENTITY) == registers.IDENTITY_VALUE
    assert await host.read(CORE + registers.GEOMETRY) == ARRAY["rows"] | ARRAY["cols"] << 16


@cocotb.test()
async def gemms_from_memory_to_memory_equal_the_golden_model(dut):
    host = Host(dut)
    await host.start_up()
    for number, gemm in enumerate(GEMMS):
        packets = {name: bytes.fromhex(gemm[name]) for name in ("weights", "activations")}
        golden = bytes.fromhex(gemm["results"])
        assert await host.gemm(gemm["words"], packets, len(golden)) == golden, f"GEMM {number} is wrong"
