"""The top with DMA engines under Icarus, against memories of cocotbext-axi; the gearbox against slices of bytes."""

import numpy as np
import pytest
from amaranth import Module
from amaranth.back import rtlil
from amaranth.sim import Simulator

from hw.config import ArrayConfig
from hw.gateware.bus.axi_dma import AxiDmaCore
from hw.gateware.bus.gearbox import Gearbox
from hw.verilog import DMA_NAME, dma_verilog
from tests.hw.gateware.bus.test_register_slice import assert_registered
from tests.hw.gateware.rtl import random_offers
from tests.hw.icarus import run_bench

ARRAYS = [
    ArrayConfig(name="8x4", rows=8, cols=4, weight_bus_bits=64, token_tile=4),
    ArrayConfig(name="odd", rows=5, cols=3, weight_bus_bits=24, token_tile=3, planes=2, results="int8", sum_of_x=True),
]
WIDE = ArrayConfig(name="wide", rows=24, cols=10, weight_bus_bits=160, token_tile=8)


@pytest.mark.parametrize(
    "config", [*ARRAYS, pytest.param(WIDE, marks=pytest.mark.slow)], ids=lambda config: config.name
)
def test_memories_are_read_and_written_right_and_their_errors_told(config, tmp_path):
    source = tmp_path / f"{DMA_NAME}.v"
    source.write_text(dma_verilog(config))
    environment = {"TRITFORGE_ARRAY": config.model_dump_json(), "COCOTB_LOG_LEVEL": "WARNING"}
    run_bench([source], DMA_NAME, "tests.hw.gateware.bus.dma_bench", tmp_path, environment, tests=6)


def test_no_output_of_the_masters_follows_an_input_within_an_edge(tmp_path):
    text = rtlil.convert(AxiDmaCore(ARRAYS[0]), name="top", emit_src=False)
    assert_registered(text, tmp_path, outputs=("m_axi_*", "s_axil_*", "interrupt"), count=40)  # 8 + 1, 2 x 9, 13


@pytest.mark.parametrize(("comes", "goes"), [(8, 8), (8, 1), (8, 3), (5, 8), (8, 20), (32, 8), (12, 8)])
def test_bytes_keep_their_order_through_a_gearbox(comes, goes):
    rng = np.random.default_rng(comes * 100 + goes)
    packet = rng.bytes(comes * 40)
    offers, readies = random_offers(rng, 300), random_offers(rng, 300)
    box = Gearbox(comes, goes)
    top = Module()
    top.submodules.box = box
    out = bytearray()

    async def bench(ctx):
        at = edges = 0
        while len(out) < len(packet):
            ctx.set(box.i.valid, at < len(packet) and (edges >= len(offers) or offers[edges] == "1"))
            ctx.set(box.i.payload, int.from_bytes(packet[at : at + comes], "little"))
            ctx.set(box.flush, at == len(packet))
            ctx.set(box.o.ready, edges >= len(readies) or readies[edges] == "1")
            *_, offered, taken, valid, ready, word = await ctx.tick().sample(
                box.i.valid, box.i.ready, box.o.valid, box.o.ready, box.o.payload
            )
            at += comes * (offered and taken)
            if valid and ready:
                out.extend(word.to_bytes(goes, "little"))
            edges += 1
            assert edges < 5000

    simulator = Simulator(top)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert bytes(out[: len(packet)]) == packet
    assert not any(out[len(packet) :])
