"""cocotb bench of ``tritforge_axi``: copy this folder and change what you like, nothing else of the project is needed.

SPDX-License-Identifier: Apache-2.0
"""

import json
import os
from itertools import cycle
from pathlib import Path

import cocotb
import tritforge_registers as registers
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, with_timeout
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiResp,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSink,
    AxiStreamSource,
)

HERE = Path(__file__).parent
GEMMS = json.loads((HERE / "gemms.json").read_text(encoding="utf-8"))
HASH = json.loads((HERE / "config.json").read_text(encoding="utf-8"))["array_sha256"]
CORE_PERIOD_PS = int(os.environ.get("CORE_PERIOD_PS", "7000"))  # an even number
TIMEOUT_MS = 10  # of simulated time for one GEMM
STALLS = (0, 1, 1, 0, 1, 0, 0, 0, 1, 1, 0)  # 1: the stream pauses on this edge


class Tritforge:
    """Driver of the accelerator: registers by an AXI4-Lite master, packets by two stream sources and a sink."""

    def __init__(self, dut):
        self.dut = dut
        Clock(dut.aclk, 10, unit="ns").start()
        if hasattr(dut, "core_clk"):  # a top whose core has a clock of its own
            Clock(dut.core_clk, CORE_PERIOD_PS, unit="ps").start()
        reset = {"reset": dut.aresetn, "reset_active_level": False}
        self.registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.aclk, **reset)
        self.weights = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis_weights"), dut.aclk, **reset)
        self.activations = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis_activations"), dut.aclk, **reset)
        self.results = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis_results"), dut.aclk, **reset)

    async def start_up(self):
        """Hold the reset for a few edges."""
        self.dut.aresetn.value = 0
        for _ in range(3):
            await RisingEdge(self.dut.aclk)
        self.dut.aresetn.value = 1
        await RisingEdge(self.dut.aclk)

    async def read(self, offset):
        """The word at a byte offset."""
        answer = await self.registers.read(offset, 4)
        assert answer.resp == AxiResp.OKAY, f"reading register {offset:#x} was answered by {answer.resp}"
        return int.from_bytes(answer.data, "little")

    async def write(self, offset, value):
        """Set the word at a byte offset."""
        answer = await self.registers.write(offset, value.to_bytes(4, "little"))
        assert answer.resp == AxiResp.OKAY, f"writing register {offset:#x} was answered by {answer.resp}"

    async def start(self, words):
        """Set m, n, k, format and scales, and start with the interrupt enabled."""
        for name, value in words.items():
            await self.write(getattr(registers, name.upper()), value)
        await self.write(registers.CONTROL, registers.CONTROL_START_MASK | registers.CONTROL_ENABLE_MASK)

    async def gemm(self, words, weights, activations):
        """Run one GEMM; returns the bytes of the result packet."""
        await self.start(words)
        await self.weights.send(AxiStreamFrame(weights))
        await self.activations.send(AxiStreamFrame(activations))
        packet = await with_timeout(self.results.recv(), TIMEOUT_MS, "ms")
        await self.interrupted()
        status = await self.read(registers.STATUS)
        assert status == registers.STATUS_DONE_MASK, f"status is {status:#x}"
        await self.write(registers.CONTROL, registers.CONTROL_ACKNOWLEDGE_MASK)
        return bytes(packet.tdata)

    async def interrupted(self):
        """Wait for the interrupt."""
        if self.dut.interrupt.value == 0:
            await with_timeout(RisingEdge(self.dut.interrupt), TIMEOUT_MS, "ms")


async def run_all(core):
    """Every example, compared byte for byte; nothing may be left in the queues."""
    for number, gemm in enumerate(GEMMS):
        packets = [bytes.fromhex(gemm[name]) for name in ("weights", "activations")]
        assert await core.gemm(gemm["words"], *packets) == bytes.fromhex(gemm["results"]), f"GEMM {number} is wrong"
        cycles = await core.read(registers.CYCLES_LOW)
        core.dut._log.info("GEMM %d: %s, %d cycles", number, gemm["words"], cycles)
    assert core.results.empty()
    assert core.weights.empty()
    assert core.activations.empty()


@cocotb.test()
async def it_is_the_array_of_config_json(dut):
    core = Tritforge(dut)
    await core.start_up()
    assert await core.read(registers.IDENTITY) == registers.IDENTITY_VALUE
    assert await core.read(registers.CONFIG_HASH) == int(HASH[:8], 16)


@cocotb.test()
async def gemms_equal_the_golden_model(dut):
    core = Tritforge(dut)
    await core.start_up()
    await run_all(core)


@cocotb.test()
async def gemms_equal_the_golden_model_while_streams_stall(dut):
    core = Tritforge(dut)
    await core.start_up()
    for shift, stream in enumerate((core.weights, core.activations, core.results)):
        stream.set_pause_generator(cycle(STALLS[shift:] + STALLS[:shift]))
    await run_all(core)


@cocotb.test()
async def a_short_packet_is_told_and_recovered_from(dut):
    core = Tritforge(dut)
    await core.start_up()
    gemm = GEMMS[-1]
    await core.start(gemm["words"])
    beat = len(dut.s_axis_weights_tdata) // 8
    await core.weights.send(AxiStreamFrame(bytes.fromhex(gemm["weights"])[:beat]))
    await core.activations.send(AxiStreamFrame(bytes.fromhex(gemm["activations"])))
    await core.interrupted()
    assert await core.read(registers.STATUS) & registers.STATUS_WEIGHTS_TLAST_MASK
    await core.write(registers.CONTROL, registers.CONTROL_RESET_MASK)
    for stream in (core.weights, core.activations, core.results):
        stream.clear()
    await core.start_up()
    await run_all(core)
