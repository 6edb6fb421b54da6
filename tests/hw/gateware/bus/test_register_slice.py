"""A register slice keeps every word and its order, takes one per edge, and lets nothing through within an edge."""

import numpy as np
import pytest
from amaranth import Module
from amaranth.back import rtlil
from amaranth.sim import Simulator

from hw.config import ArrayConfig
from hw.gateware.bus.axi import AxiCore
from hw.gateware.bus.register_slice import RegisterSlice
from hw.synthesis.yosys import run_yosys
from tests.hw.gateware.rtl import random_offers

REGISTERS = "$dff,$sdff,$dffe,$sdffe,$sdffce,$adff,$adffe,$dffsr,$aldff,clocked_read"
# Memories are read on an edge or at once: the ports of the first kind are renamed, so that no path passes them.
CLOCKED_READS = "chtype -set clocked_read t:$memrd_v2 r:CLK_ENABLE=1 %i"


def played(offers: str, readies: str, words: int) -> tuple[list[int], int]:
    """Words that came out, and the edges it took."""
    slice_ = RegisterSlice(8)
    top = Module()
    top.submodules.slice = slice_
    out: list[int] = []
    edges = 0

    async def bench(ctx):
        nonlocal edges
        sent = 0
        while len(out) < words:
            offered = sent < words and (edges >= len(offers) or offers[edges] == "1")
            ctx.set(slice_.i.valid, offered)
            ctx.set(slice_.i.payload, sent & 255)
            ctx.set(slice_.o.ready, edges >= len(readies) or readies[edges] == "1")
            *_, ready, valid, payload, taken = await ctx.tick().sample(
                slice_.i.ready, slice_.o.valid, slice_.o.payload, slice_.o.ready
            )
            sent += offered and ready
            if valid and taken:
                out.append(payload)
            edges += 1
            assert edges < 10 * words + 1000

    simulator = Simulator(top)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return out, edges


@pytest.mark.parametrize("seed", range(6))
def test_every_word_comes_once_and_in_order(seed):
    rng = np.random.default_rng(seed)
    out, _ = played(random_offers(rng, 200), random_offers(rng, 200), 100)
    assert out == list(range(100))


def test_one_word_per_edge_where_nothing_stalls():
    assert played("", "", 50)[1] == 51


OUTPUTS = (
    *("s_axis_weights_tready", "s_axis_activations_tready", "m_axis_results_t*", "interrupt"),
    *("s_axil_*ready", "s_axil_*valid", "s_axil_*resp", "s_axil_rdata"),
)


CLOCKS = ("aclk", "aresetn")


def assert_registered(text: str, folder, *more: str, outputs=OUTPUTS, count=15, clocks=CLOCKS) -> None:
    """Fail unless no input but clock and reset reaches an output of the AXI top without a register on the way."""
    (folder / "top.il").write_text(text)
    chosen = " ".join(f"o:{name} %u" if i else f"o:{name}" for i, name in enumerate(outputs))
    unasked = " ".join(f"i:{name} %d" for name in clocks)
    cone = f"select -assert-none {chosen} %ci*:-{REGISTERS} i:* %i {unasked}"
    passes = ["read_rtlil top.il", "hierarchy -top top", "proc", "flatten", "opt_dff", "cd top", CLOCKED_READS, *more]
    run_yosys([*passes, f"select -assert-count {count} o:*", f"select -assert-count {count} {chosen}", cone], folder)


CONFIG = ArrayConfig(name="4x3", rows=4, cols=3, weight_bus_bits=16, token_tile=4, planes=2, sum_of_x=True)


def test_no_output_of_the_axi_top_follows_an_input_within_an_edge(tmp_path):
    assert_registered(rtlil.convert(AxiCore(CONFIG), name="top", emit_src=False), tmp_path)


@pytest.mark.parametrize(("output", "by"), [("s_axis_weights_tready", "s_axis_activations_tvalid")])
def test_a_ready_that_follows_another_streams_valid_is_found(output, by, tmp_path):
    text = rtlil.convert(AxiCore(CONFIG), name="top", emit_src=False)
    with pytest.raises(RuntimeError, match="selection is not empty"):
        assert_registered(text, tmp_path, f"connect -set {output} {by}")
