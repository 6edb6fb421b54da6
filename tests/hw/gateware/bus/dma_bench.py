"""Cocotb bench of the top with DMA engines: memories that stall and that answer with errors, bursts one by one."""

import os
from itertools import cycle

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge, with_timeout
from cocotbext.axi import (
    AxiReadBus,
    AxiResp,
    AxiSlaveRead,
    AxiSlaveWrite,
    AxiWriteBus,
    SparseMemoryRegion,
)

from hw.config import ArrayConfig
from hw.gateware.bus.register_map import DMA_REGISTERS, DMA_STATUS
from hw.integration.examples import example_gemms
from tests.hw.gateware.bus.register_host import RegisterHost

CONFIG = ArrayConfig.model_validate_json(os.environ["TRITFORGE_ARRAY"])
PLACES = {"weights": 0x1_0000_0FF8, "activations": 0x2_0000_0FE0, "results": 0x3_0000_0FE8}  # just below 4 KiB
SPACE = 2**40


class Memory(SparseMemoryRegion):
    """A memory where accesses at or above ``limit`` are errors."""

    limit = SPACE

    async def _read(self, address, length, **_):
        if address >= self.limit:
            raise ValueError("beyond the memory")
        return await super()._read(address, length)

    async def _write(self, address, data, **_):
        if address >= self.limit:
            raise ValueError("beyond the memory")
        await super()._write(address, data)


class Bench(RegisterHost):
    def __init__(self, dut):
        super().__init__(dut, DMA_REGISTERS)
        reset = self.reset
        self.memories = {name: Memory(SPACE) for name in PLACES}
        self.ports = [
            AxiSlaveRead(AxiReadBus.from_prefix(dut, f"m_axi_{name}"), dut.aclk, target=self.memories[name], **reset)
            for name in ("weights", "activations")
        ]
        self.ports.append(
            AxiSlaveWrite(
                AxiWriteBus.from_prefix(dut, "m_axi_results"), dut.aclk, target=self.memories["results"], **reset
            )
        )
        self.bursts = {name: [] for name in PLACES}
        for name in PLACES:
            cocotb.start_soon(self._watch(name))

    async def _watch(self, name):
        """Every burst that is asked for; what is asked stays as it is until it is taken."""
        channel = "aw" if name == "results" else "ar"
        valid, ready, place, length = (
            getattr(self.dut, f"m_axi_{name}_{channel}{field}") for field in ("valid", "ready", "addr", "len")
        )
        held = None
        while True:
            await RisingEdge(self.dut.aclk)
            await ReadOnly()
            asked = (int(place.value), int(length.value)) if valid.value == 1 else None
            assert held is None or asked == held, f"{name}: a request changed before it was taken"
            held = None if ready.value == 1 else asked
            if asked and ready.value == 1:
                self.bursts[name].append(asked)

    def stall(self, seed):
        rng = np.random.default_rng(seed)
        for port in self.ports:
            for channel in ("ar_channel", "r_channel", "aw_channel", "w_channel", "b_channel"):
                if hasattr(port, channel):
                    pauses = cycle([int(bit) for bit in rng.integers(0, 2, 37)])
                    getattr(port, channel).set_pause_generator(pauses)

    async def start(self, gemm, places=PLACES):
        for name in ("weights", "activations"):
            await self.memories[name].write(places[name] & ~7, getattr(gemm, name))
        for name in PLACES:
            assert await self.write(f"{name}_address_low", places[name] & 0xFFFFFFFF) == AxiResp.OKAY
            await self.write(f"{name}_address_high", places[name] >> 32)
            await self.write(f"{name}_bytes", len(getattr(gemm, name)))
        for name, value in gemm.words.items():
            await self.write(name, value)
        return await self.control("start", "enable")

    async def ended(self):
        if self.dut.interrupt.value == 0:
            await with_timeout(RisingEdge(self.dut.interrupt), 1, "ms")
        return await self.status()

    async def run(self, gemm):
        """One GEMM; what is in memory at the interrupt must be the golden packet, and nothing beside it."""
        size = len(gemm.results)
        await self.memories["results"].write(PLACES["results"] - 8, b"\xa5" * (size + 24))
        assert await self.start(gemm) == AxiResp.OKAY
        assert await self.ended() == {"done"}
        found = bytes(await self.memories["results"].read(PLACES["results"] - 8, size + 24))
        assert found == b"\xa5" * 8 + gemm.results + b"\xa5" * 16
        assert await self.control("acknowledge") == AxiResp.OKAY

    async def recover(self):
        assert await self.control("reset") == AxiResp.OKAY
        for _ in range(1000):
            if await self.status() == set():
                return
        raise AssertionError("the engines do not come to rest")


@cocotb.test()
async def gemms_from_memory_to_memory_with_and_without_stalls(dut):
    bench = Bench(dut)
    await bench.start_up()
    for gemm in example_gemms(CONFIG):
        await bench.run(gemm)
    bench.stall(1)
    for gemm in example_gemms(CONFIG):
        await bench.run(gemm)
    for name, bursts in bench.bursts.items():
        assert bursts, name
        assert all(place % 4096 + 8 * (length + 1) <= 4096 and length < 16 for place, length in bursts)
        assert all(place % 8 == 0 for place, _ in bursts)
    asked = sum(length + 1 for _, length in bench.bursts["weights"])
    assert asked == 2 * sum(-(-len(gemm.weights) // 8) for gemm in example_gemms(CONFIG)), "each word once"


@cocotb.test()
async def an_error_of_a_memory_is_told_and_recovered_from(dut):
    bench = Bench(dut)
    await bench.start_up()
    gemm = example_gemms(CONFIG)[-1]
    for stalls in (False, True):
        if stalls:
            bench.stall(2)
        for name, memory in bench.memories.items():
            memory.limit = PLACES[name] + 8
            assert await bench.start(gemm) == AxiResp.OKAY
            assert "dma_fault" in await bench.ended()
            assert await bench.flags("dma_status", DMA_STATUS) == {f"{name}_error"}
            assert await bench.control("start") == AxiResp.SLVERR
            memory.limit = SPACE
            await bench.recover()
            assert await bench.read("dma_status") == 0
            await bench.run(gemm)


@cocotb.test()
async def an_unaligned_address_is_told(dut):
    bench = Bench(dut)
    await bench.start_up()
    gemm = example_gemms(CONFIG)[0]
    for name in PLACES:
        before = len(bench.bursts[name])
        await bench.start(gemm, PLACES | {name: PLACES[name] + 4})
        assert "dma_fault" in await bench.ended()
        assert await bench.flags("dma_status", DMA_STATUS) == {f"{name}_unaligned"}
        assert len(bench.bursts[name]) == before, "memory is left alone"
        await bench.recover()
        await bench.run(gemm)


@cocotb.test()
async def a_reset_in_the_middle_leaves_no_trace(dut):
    bench = Bench(dut)
    await bench.start_up()
    bench.stall(3)
    gemm = example_gemms(CONFIG)[-1]
    for edges in range(0, 60, 9):
        await bench.start(gemm)
        for _ in range(edges):
            await RisingEdge(dut.aclk)
        await bench.recover()
        await bench.run(gemm)


@cocotb.test()
async def a_packet_of_the_wrong_size_is_told(dut):
    bench = Bench(dut)
    await bench.start_up()
    gemm = example_gemms(CONFIG)[-1]
    for name, beat in (("weights", CONFIG.weight_bus_bits // 8), ("activations", CONFIG.rows)):
        packet = getattr(gemm, name)
        for wrong in (packet[:-beat], packet + bytes(beat)):
            await bench.start(gemm._replace(**{name: wrong}))
            assert f"{name}_tlast" in await bench.ended()
            await bench.recover()
            await bench.run(gemm)


@cocotb.test()
async def results_of_another_size_leave_the_core_running_until_a_reset(dut):
    """Nothing but the size says where the results end: too few bytes hold the core up, for too many it waits."""
    bench = Bench(dut)
    await bench.start_up()
    gemm = example_gemms(CONFIG)[-1]
    for wrong in (b"", gemm.results[:1], gemm.results + bytes(64)):
        await bench.start(gemm._replace(results=wrong))
        await ClockCycles(dut.aclk, 400)
        assert (dut.interrupt.value, await bench.status()) == (0, {"running"}), len(wrong)
        await bench.recover()
        await bench.run(gemm)
