"""Cocotb bench of the AXI top with two clocks: resets by software alone, resets of one edge, counters that run."""

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, RisingEdge
from cocotb.utils import get_sim_time
from cocotbext.axi import AxiResp

from tests.hw.gateware.bus.axi_bench import Bench, chosen_cases, format_words
from tests.hw.gateware.bus.clocks import core_edges

RNG = np.random.default_rng(11)


async def renewed(bench: Bench) -> None:
    """What a driver does after a fault: reset the core, then the DMA engines; the bus goes on."""
    assert await bench.control("reset", "enable") == AxiResp.OKAY
    for stream in (bench.weights, bench.activations, bench.results):
        stream.assert_reset()
        stream.clear()


@cocotb.test(timeout_time=500, timeout_unit="us")
async def a_reset_by_software_leaves_no_beat_in_a_queue(dut):
    bench = Bench(dut)
    await bench.start_up()
    for number, case in enumerate(chosen_cases(20, 12)):
        await bench.begin(case.m, case.n, case.k, *format_words(case))
        await bench.feed(case, extra_weights=number % 2 * 20)
        bench.results.pause = number % 3 == 0
        await ClockCycles(dut.aclk, int(RNG.integers(1, 60)))
        await renewed(bench)
        bench.results.pause = False
        assert await bench.status() == set()
        assert await bench.begin(0, 1, 1) == AxiResp.OKAY
        assert await bench.fault() == {"zero_size"}
        await bench.run(case)


@cocotb.test(timeout_time=500, timeout_unit="us")
async def a_start_at_once_behind_a_reset_is_a_whole_gemm(dut):
    """Both writes are on their way together, and the packets wait outside."""
    bench = Bench(dut)
    await bench.start_up()
    for case in chosen_cases(21, 6):
        await bench.begin(case.m, case.n, case.k, *format_words(case))
        await bench.feed(case)
        await ClockCycles(dut.aclk, int(RNG.integers(1, 30)))
        again = cocotb.start_soon(renewed(bench))
        started = cocotb.start_soon(bench.control("start", "enable"))
        await again
        assert await started == AxiResp.OKAY
        await bench.feed(case)
        packet = await bench.results.recv()
        assert bench.is_golden(packet, case)
        assert await bench.fault() == set()


@cocotb.test(timeout_time=500, timeout_unit="us")
async def one_edge_of_reset_is_enough(dut):
    bench = Bench(dut)
    await bench.start_up()
    for case in chosen_cases(22, 8):
        await bench.begin(case.m, case.n, case.k, *format_words(case))
        await bench.feed(case)
        await ClockCycles(dut.aclk, int(RNG.integers(1, 60)))
        dut.aresetn.value = 0
        await RisingEdge(dut.aclk)
        dut.aresetn.value = 1
        for stream in (bench.weights, bench.activations, bench.results):
            stream.clear()
        assert await bench.status() == set()
        await bench.run(case)


@cocotb.test(timeout_time=500, timeout_unit="us")
async def a_running_counter_is_read_whole(dut):
    """What is read lies between the edges of the core's clock before the request and behind the answer."""
    bench = Bench(dut)
    await bench.start_up()
    await bench.begin(1, 1, 1)
    begun = core_edges()
    await ClockCycles(dut.aclk, 100)
    before = 0
    for _ in range(60):
        value = await bench.counter("cycles")
        assert before < value <= core_edges() - begun + 40, get_sim_time("ns")
        before = value
        await ClockCycles(dut.aclk, int(RNG.integers(1, 40)))
    await renewed(bench)
