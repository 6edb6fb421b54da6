"""Cocotb bench of the AXI top, driven by cocotbext-axi: what software and DMA engines do to it, right and wrong."""

import os
from dataclasses import replace
from itertools import cycle

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge, with_timeout
from cocotbext.axi import (
    AxiResp,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSink,
    AxiStreamSource,
)

from hw.config import ArrayConfig
from hw.gateware.bus.axi import FORMAT_BITS, IDENTITY, REGISTERS, SCALES, result_bits
from hw.job import golden_results
from quant.shapes import Gemm
from sim.gemm.closed_form import closed_form
from tests.hw.gateware.bus.register_host import RegisterHost
from tests.hw.gateware.rtl import Case, activation_vectors, random_case, weight_words

CONFIG = ArrayConfig.model_validate_json(os.environ["TRITFORGE_ARRAY"])


class Bench(RegisterHost):
    """The masters around the top, and the words they exchange with it."""

    def __init__(self, dut):
        super().__init__(dut, REGISTERS)
        self.weights, self.activations = (
            AxiStreamSource(AxiStreamBus.from_prefix(dut, f"s_axis_{name}"), dut.aclk, **self.reset)
            for name in ("weights", "activations")
        )
        self.results = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis_results"), dut.aclk, **self.reset)

    def stall(self, rng: np.random.Generator) -> None:
        for stream in (self.weights, self.activations, self.results):
            stream.set_pause_generator(cycle([int(bit) for bit in rng.integers(0, 2, 37)]))

    async def counter(self, name: str) -> int:
        return await self.read(f"{name}_low") | await self.read(f"{name}_high") << 32

    async def begin(self, m: int, n: int, k: int, format_word: int = 0, scales_word: int = 0) -> AxiResp:
        words = {"m": m, "n": n, "k": k, "format": format_word, "scales": scales_word}
        for name, word in words.items():
            assert await self.write(name, word) == AxiResp.OKAY
        return await self.control("start", "enable")

    async def feed(self, case: Case, extra_weights: int = 0) -> None:
        """Queue both input packets; ``extra_weights``: words too many (or, negative, too few) before TLAST."""
        words = weight_words(CONFIG, case)
        words = words + [0] * extra_weights if extra_weights >= 0 else words[:extra_weights]
        await self.weights.send(_packet(words, CONFIG.weight_bus_bits // 8))
        await self.activations.send(_packet(activation_vectors(CONFIG, case), CONFIG.rows))

    async def run(self, case: Case) -> None:
        """One GEMM by interrupt; the result packet must be the golden sums."""
        assert await self.begin(case.m, case.n, case.k, *format_words(case)) == AxiResp.OKAY
        await self.feed(case)
        packet = await with_timeout(self.results.recv(), 1, "ms")
        if self.dut.interrupt.value == 0:
            await with_timeout(RisingEdge(self.dut.interrupt), 1, "us")
        assert self.is_golden(packet, case)
        assert await self.status() == {"done"}
        assert await self.control("acknowledge", "enable") == AxiResp.OKAY
        await RisingEdge(self.dut.aclk)
        assert self.dut.interrupt.value == 0
        assert self.results.empty()

    def is_golden(self, packet: AxiStreamFrame, case: Case) -> bool:
        """Whether a result packet has the golden sums."""
        values = np.frombuffer(bytes(packet.tdata), f"<i{result_bits(CONFIG) // 8}")
        return bool((_matrix(values, case) == golden_results(case.job, CONFIG)).all())

    async def fault(self) -> set[str]:
        """Wait for the interrupt; returns the status without ``done``."""
        if self.dut.interrupt.value == 0:
            await with_timeout(RisingEdge(self.dut.interrupt), 1, "ms")
        found = await self.status()
        assert "done" in found
        return found - {"done"}

    async def recover(self) -> None:
        """What software does after a fault: reset the core, drop what the DMA engines still hold."""
        assert await self.control("reset") == AxiResp.OKAY
        for stream in (self.weights, self.activations, self.results):
            stream.clear()
        await self.start_up()
        assert await self.status() == set()


def _packet(words: list[int], size: int) -> AxiStreamFrame:
    return AxiStreamFrame(b"".join(word.to_bytes(size, "little") for word in words))


def format_words(case: Case) -> tuple[int, int]:
    """Registers ``format`` and ``scales`` of a case."""
    formats = case.formats
    values = {"second_plane": formats.planes - 1, "row_scales": int(formats.row_scales), "shift": formats.shift}
    word = sum(value << FORMAT_BITS[name][0] for name, value in values.items())
    if CONFIG.results == "sums":
        return word, 0
    scales = (("multiplier", formats.multiplier), ("offset", formats.offset))
    return word, sum((value & 0xFFFF) << SCALES[name][0] for name, value in scales)


def _matrix(values: np.ndarray, case: Case) -> np.ndarray:
    """Result beats, in stream order, as (m, n), and the sums of activations behind them."""
    more = CONFIG.sum_of_x and CONFIG.results == "sums"
    sums = values.reshape(-1, CONFIG.cols + more)
    out = np.zeros((case.m, -(-case.n // CONFIG.cols) * CONFIG.cols), np.int64)
    x_sums = np.zeros((case.m, 1), np.int64)
    beats = iter(sums)
    for first in range(0, case.m, CONFIG.token_tile):
        for column in range(0, case.n, CONFIG.cols):
            for token in range(first, min(first + CONFIG.token_tile, case.m)):
                beat = next(beats)
                out[token, column : column + CONFIG.cols] = beat[: CONFIG.cols]
                x_sums[token] = beat[CONFIG.cols :].sum()
    assert next(beats, None) is None
    return np.concatenate([out[:, : case.n], x_sums], axis=1) if more else out[:, : case.n]


def chosen_cases(seed: int, count: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    cases = (random_case(rng, CONFIG, stalls=False) for _ in range(1000))
    return [case for case in cases if case.k * case.formats.planes <= CONFIG.max_k][:count]


@cocotb.test()
async def registers_read_as_documented(dut):
    bench = Bench(dut)
    await bench.start_up()
    assert await bench.read("identity") == IDENTITY
    assert await bench.read("config_hash") == int(CONFIG.sha256[:8], 16)
    assert await bench.read("geometry") == CONFIG.rows | CONFIG.cols << 16
    assert await bench.status() == set()
    assert await bench.read("control") == 0
    for name in ("m", "n", "k", "format", "scales"):
        assert await bench.write(name, 0x12345678) == AxiResp.OKAY
        assert await bench.read(name) == 0x12345678
    for name in ("identity", "config_hash", "geometry", "status", "cycles_low"):
        assert await bench.write(name, 1) == AxiResp.SLVERR
    assert (await bench.registers.read(4 * len(REGISTERS), 4)).resp == AxiResp.SLVERR
    assert (await bench.registers.write(4 * len(REGISTERS), bytes(4))).resp == AxiResp.SLVERR
    assert (await bench.registers.write(4 * REGISTERS.index("m"), bytes(2))).resp == AxiResp.SLVERR
    assert await bench.read("m") == 0x12345678


@cocotb.test()
async def gemms_by_interrupt_with_and_without_stalls(dut):
    bench = Bench(dut)
    await bench.start_up()
    for case in chosen_cases(1, 6):
        await bench.run(case)
        causes = [await bench.counter(name) for name in closed_form(Gemm(1, 1, 1), CONFIG)._fields]
        assert causes[0] == sum(causes[1:]) > 0
    bench.stall(np.random.default_rng(2))
    for case in chosen_cases(3, 6):
        await bench.run(case)


@cocotb.test()
async def refused_descriptors_answer_with_a_status(dut):
    bench = Bench(dut)
    await bench.start_up()
    for sizes, status in (
        ((0, 1, 1), "zero_size"),
        ((1, 0, 1), "zero_size"),
        ((1, 1, 0), "zero_size"),
        ((1, 1, CONFIG.max_k + 1), "k_too_large"),
        ((1 << 24, 1, 1), "k_too_large"),
        ((1, 1, 1 << 31), "k_too_large"),
    ):
        assert await bench.begin(*sizes) == AxiResp.OKAY
        assert await bench.fault() == {status}
        await bench.run(chosen_cases(4, 1)[0])


@cocotb.test()
async def formats_that_the_array_lacks_are_refused(dut):
    """Every bit of both registers: either a field of this array, or refused by a status and nothing started."""
    bench = Bench(dut)
    await bench.start_up()
    int8 = CONFIG.results == "int8"
    known = {0} if CONFIG.planes == 2 else set()
    known |= {1, *range(8, 14), *range(32, 48)} if int8 else set()
    known |= {*range(48, 64)} if int8 and CONFIG.sum_of_x else set()
    for bit in sorted({*range(64)} - known):
        word = 1 << bit
        assert await bench.begin(1, 1, 1, word & 0xFFFFFFFF, word >> 32) == AxiResp.OKAY
        assert await bench.fault() == {"illegal_format"}
    await bench.run(chosen_cases(4, 1)[0])


@cocotb.test()
async def tlast_in_the_wrong_place_is_told_and_recovered_from(dut):
    bench = Bench(dut)
    await bench.start_up()
    case = chosen_cases(5, 1)[0]
    for extra in (1, -1):
        await bench.begin(case.m, case.n, case.k, *format_words(case))
        await bench.feed(case, extra_weights=extra)
        assert "weights_tlast" in await bench.fault()
        assert await bench.control("start") == AxiResp.SLVERR
        await bench.recover()
        await bench.run(case)
    vectors = activation_vectors(CONFIG, case)
    for wrong in ([*vectors, 0], vectors[:-1]):
        await bench.begin(case.m, case.n, case.k, *format_words(case))
        await bench.weights.send(_packet(weight_words(CONFIG, case), CONFIG.weight_bus_bits // 8))
        await bench.activations.send(_packet(wrong, CONFIG.rows))
        assert "activations_tlast" in await bench.fault()
        await bench.recover()
        await bench.run(case)


@cocotb.test()
async def packets_are_whole_beats_or_told(dut):
    """TKEEP: a packet a byte short is a fault of its own; a result packet has exactly the bytes of its beats."""
    bench = Bench(dut)
    await bench.start_up()
    case = chosen_cases(8, 1)[0]
    words = weight_words(CONFIG, case)
    packet = _packet(words, CONFIG.weight_bus_bits // 8)
    vectors = _packet(activation_vectors(CONFIG, case), CONFIG.rows)
    for name, short in (("weights", packet), ("activations", vectors)):
        whole = {"weights": packet, "activations": vectors} | {name: AxiStreamFrame(bytes(short.tdata)[:-1])}
        if len(short.tdata) == 1 or (name == "weights" and CONFIG.weight_bus_bits == 8):
            continue  # a beat of one byte cannot be partial
        await bench.begin(case.m, case.n, case.k, *format_words(case))
        await bench.weights.send(whole["weights"])
        await bench.activations.send(whole["activations"])
        assert "partial_beat" in await bench.fault()
        assert await bench.control("start") == AxiResp.SLVERR
        await bench.recover()
        await bench.run(case)


@cocotb.test()
async def a_packet_for_the_next_gemm_waits_outside(dut):
    """What DMA engines offer before a start, or after a TLAST, is taken by the GEMM that it is for."""
    bench = Bench(dut)
    await bench.start_up()
    cases = chosen_cases(9, 2)
    for case in cases:
        await bench.feed(case)
    for case in cases:
        assert await bench.begin(case.m, case.n, case.k, *format_words(case)) == AxiResp.OKAY
        packet = await with_timeout(bench.results.recv(), 1, "ms")
        assert bench.is_golden(packet, case)
        assert await bench.fault() == set()
    assert await bench.begin(0, 1, 1) == AxiResp.OKAY  # refused: the next packet stays too
    await bench.feed(cases[0])
    assert await bench.fault() == {"zero_size"}
    assert not bench.weights.idle()
    assert await bench.begin(cases[0].m, cases[0].n, cases[0].k, *format_words(cases[0])) == AxiResp.OKAY
    await with_timeout(bench.results.recv(), 1, "ms")
    assert await bench.fault() == set()


@cocotb.test()
async def damaged_weights_are_told(dut):
    bench = Bench(dut)
    await bench.start_up()
    case = chosen_cases(6, 1)[0]
    damaged = replace(case, damaged=True)
    await bench.begin(case.m, case.n, case.k, *format_words(case))
    await bench.feed(damaged)
    await with_timeout(bench.results.recv(), 1, "ms")
    assert await bench.fault() == {"illegal_weights"}
    await bench.run(case)


@cocotb.test()
async def reset_in_the_middle_leaves_no_trace(dut):
    bench = Bench(dut)
    await bench.start_up()
    for case in chosen_cases(7, 4):
        await bench.begin(case.m, case.n, case.k, *format_words(case))
        await bench.weights.send(_packet(weight_words(CONFIG, case)[:1], CONFIG.weight_bus_bits // 8))
        for _ in range(5):
            await RisingEdge(dut.aclk)
        assert await bench.control("start") == AxiResp.SLVERR, "busy"
        await bench.recover()
        await bench.run(case)
