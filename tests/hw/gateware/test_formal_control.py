"""Proofs about control over every input sequence of the stated length after reset: inputs and queues of scales.

Each proof has a mutated copy whose fault must be found.
"""

import pytest
from amaranth import Cat, Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

from hw.arithmetic.registers import delayed
from hw.config import ArrayConfig
from hw.gateware.sequencer import Sequencer
from tests.hw.gateware.proof import prove

STEPS = 13  # a GEMM of up to four tiles, with its stalls
STREAMS = {"descriptor_valid": In(1), "weight_valid": In(1), "activation_valid": In(1)}


class ScaleBound(Component):
    """The sequencer of one GEMM whose sums never wait: sets of scales that are queued are at most the queue's slots.

    That is the worst case, since an array that waits for credits issues fewer tiles into the pipeline. A set is taken
    only after it came.
    """

    def __init__(self, config: ArrayConfig, slots: int):
        self.config, self.slots = config, slots
        super().__init__({"sizes": In(72), "row_scales": In(1), "ok": Out(1)} | STREAMS)

    def elaborate(self, platform) -> Module:
        m = Module()
        config = self.config
        m.submodules.sequencer = sequencer = Sequencer(config)
        m.d.comb += [
            sequencer.descriptor.payload.as_value().eq(Cat(self.sizes, self.row_scales)),
            sequencer.descriptor.valid.eq(self.descriptor_valid),
            sequencer.weight_valid.eq(self.weight_valid),
            sequencer.activation_valid.eq(self.activation_valid),
            sequencer.credit_next.eq(1),
        ]
        good = []
        for name, comes, goes in (
            (
                "exponents",
                sequencer.accept & sequencer.last_exponents_beat,
                delayed(m, sequencer.last_in_tile, 1 + config.column_stages, "last_in_tile"),
            ),
            (
                "scales",
                sequencer.accept & sequencer.last_scales_beat,
                delayed(m, sequencer.last_in_column_tile, 1 + config.total_stages, "last_in_column_tile")
                & sequencer.formats.row_scales,
            ),
        ):
            waiting = Signal(5, name=name)
            m.d.sync += waiting.eq(waiting + comes - goes)
            good += [waiting <= self.slots, ~goes | (waiting != 0)]
        m.d.comb += self.ok.eq(Cat(good).all())
        return m


SCALED = [
    ArrayConfig(name="t", rows=1, cols=1, weight_bus_bits=32, token_tile=1, group_exponent_bits=1, results="int8"),
    ArrayConfig(
        name="t", rows=3, cols=1, chain_lanes=3, weight_bus_bits=32, token_tile=1, group_exponent_bits=1, results="int8"
    ),
]


@pytest.mark.parametrize("config", SCALED, ids=["1 lane", "chain of 3"])
def test_no_more_scales_wait_than_their_queues_hold(config, tmp_path):
    prove(ScaleBound(config, config.tiles_in_flight), tmp_path, 20, from_reset=True)


def test_queues_that_are_too_short_are_found(tmp_path):
    with pytest.raises(RuntimeError, match="proof did fail"):
        prove(ScaleBound(SCALED[1], 3), tmp_path, 20, from_reset=True)


class Transfers(Component):
    """A GEMM of up to 2 x 2 x 2 in two planes on one lane: as many transfers on both inputs as it has, never more."""

    def __init__(self, fault: bool = False):
        self.config = ArrayConfig(name="t", rows=1, cols=1, token_tile=1, weight_bus_bits=8, planes=2)
        self.fault = fault
        sizes = {name: In(1) for name in ("two_tokens", "two_outputs", "two_inputs", "two_planes")}
        super().__init__(STREAMS | sizes | {"free": In(1), "ok": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.sequencer = sequencer = Sequencer(self.config)
        sizes, twos = (
            sequencer.descriptor.payload,
            (self.two_tokens, self.two_outputs, self.two_inputs, self.two_planes),
        )
        m.d.comb += [
            *(getattr(sizes, name).eq(1 + two) for name, two in zip("mnk", twos, strict=False)),
            sizes.second_plane.eq(self.two_planes),
            sequencer.descriptor.valid.eq(self.descriptor_valid),
            sequencer.weight_valid.eq(self.weight_valid),
            sequencer.activation_valid.eq(self.activation_valid),
            sequencer.credit_next.eq(self.free),
        ]
        expected, words, vectors = Signal(6), Signal(6), Signal(6)
        with m.If(sequencer.start):
            m.d.sync += expected.eq(1 << sum(twos))
        with m.Else():
            m.d.sync += [words.eq(words + sequencer.accept), vectors.eq(vectors + sequencer.issue)]
        ended = sequencer.running & sequencer.all_issued
        known = ~sequencer.running | ((words <= expected) & (vectors <= expected) & (vectors <= words - self.fault))
        m.d.comb += self.ok.eq(known & Mux(ended, (words == expected) & (vectors == expected), 1))
        return m


def test_inputs_are_taken_exactly_as_often_as_the_gemm_has_them(tmp_path):
    prove(Transfers(), tmp_path, STEPS, from_reset=True)


def test_a_vector_before_its_weights_would_be_found(tmp_path):
    with pytest.raises(RuntimeError, match="proof did fail"):
        prove(Transfers(fault=True), tmp_path, STEPS, from_reset=True)


class Readiness(Component):
    """GEMMs of any sizes: what is made an edge ahead is what the edge itself says.

    Readiness is that of the tile and its credit, and the last vector of a tile is that of its last token.
    """

    def __init__(self, fault: bool = False):
        self.config = ArrayConfig(name="t", rows=1, cols=1, token_tile=2, weight_bus_bits=8, planes=2)
        self.fault = fault
        super().__init__(STREAMS | {"sizes": In(49), "free": In(1), "ok": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.sequencer = sequencer = Sequencer(self.config)
        free = Signal(init=1)
        m.d.sync += free.eq(self.free)
        ready = sequencer.active & ~sequencer.credit_missing
        last = sequencer.issue & (sequencer.token == sequencer.last_token)
        m.d.comb += [
            sequencer.descriptor.payload.as_value().eq(self.sizes),
            sequencer.descriptor.valid.eq(self.descriptor_valid),
            sequencer.weight_valid.eq(self.weight_valid),
            sequencer.activation_valid.eq(self.activation_valid),
            sequencer.credit_next.eq(self.free),
            sequencer.credit_available.eq(self.free if self.fault else free),
            self.ok.eq((sequencer.activation_ready == ready) & (sequencer.last_in_tile == last)),
        ]
        return m


def test_a_readiness_made_an_edge_ahead_is_that_of_the_edge(tmp_path):
    prove(Readiness(), tmp_path, STEPS, from_reset=True)


def test_a_readiness_of_another_edge_would_be_found(tmp_path):
    with pytest.raises(RuntimeError, match="proof did fail"):
        prove(Readiness(fault=True), tmp_path, STEPS, from_reset=True)
