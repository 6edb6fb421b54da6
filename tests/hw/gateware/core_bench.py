"""Cocotb bench of the core: plays GEMMs with stall patterns, obeys and checks the stream rules, records what it saw.

It judges nothing but the rules; ``tests/hw/gateware/rtl.py`` starts it and hands its record to the tests.
"""

import json
import os
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

CAUSES = ("cycles", "ideal", "fill_drain", "weight_stall", "input_stall", "output_stall")


class Source:
    """One input stream; once valid it stays until the transfer, and the payload is garbage while it is not valid."""

    def __init__(self, payload, valid, ready, items, offers):
        self.payload, self.valid, self.ready = payload, valid, ready
        self.items, self.offers = items, offers
        self.sent, self.held, self.bits = 0, False, []

    def drive(self, edge: int) -> None:
        offered = self.held or edge >= len(self.offers) or self.offers[edge] == "1"
        now = offered and self.sent < len(self.items)
        self.valid.value = int(now)
        if not self.held:
            self.payload.value = self.items[self.sent] if now else (1 << len(self.payload)) - 1
        self.held = now
        self.bits.append(int(now))

    def sample(self) -> None:
        if self.held and self.ready.value == 1:
            self.sent += 1
            self.held = False


class Sink:
    """The output stream; checks that a refused payload stays."""

    def __init__(self, payload, valid, ready, offers):
        self.payload, self.valid, self.ready, self.offers = payload, valid, ready, offers
        self.items, self.refused, self.bits = [], None, []

    def drive(self, edge: int) -> None:
        self.bits.append(int(edge >= len(self.offers) or self.offers[edge] == "1"))
        self.ready.value = self.bits[-1]

    def sample(self) -> None:
        valid = self.valid.value == 1
        payload = self.payload.value.to_unsigned() if valid else None
        if self.refused is not None:
            assert payload == self.refused, "a refused result changed or vanished"
        self.refused = payload if valid and not self.bits[-1] else None
        if valid and self.bits[-1]:
            self.items.append(payload)


async def reset(dut) -> None:
    """Two edges of reset with every stream idle."""
    for name in ("descriptor__valid", "weights__valid", "activations__valid", "results__ready"):
        getattr(dut, name).value = 0
    for name in ("descriptor__payload", "weights__payload", "activations__payload"):
        getattr(dut, name).value = 0
    dut.rst.value = 1
    for _ in range(2):
        await RisingEdge(dut.clk)
    dut.rst.value = 0


async def play(dut, case: dict) -> dict:
    """One GEMM from its descriptor to its last result, or a reset after ``reset_after`` edges."""
    words = [int(word, 16) for word in case["weights"]]
    vectors = [int(vector, 16) for vector in case["activations"]]
    weights = Source(dut.weights__payload, dut.weights__valid, dut.weights__ready, words, case["weight_offers"])
    activations = Source(
        dut.activations__payload, dut.activations__valid, dut.activations__ready, vectors, case["activation_offers"]
    )
    results = Sink(dut.results__payload, dut.results__valid, dut.results__ready, case["result_readies"])

    dut.descriptor__payload.value = int(case["descriptor"], 16)
    dut.descriptor__valid.value = 1
    await RisingEdge(dut.clk)
    waited = 0
    while dut.descriptor__ready.value != 1:
        waited += 1
        await RisingEdge(dut.clk)
    dut.descriptor__valid.value = 0

    edge, limit = 0, 1000 + 20 * (len(words) + len(vectors) + case["results"] + len(case["result_readies"]))
    while len(results.items) < case["results"] and edge != case["reset_after"]:
        for stream in (weights, activations, results):
            stream.drive(edge)
        await RisingEdge(dut.clk)
        for stream in (weights, activations, results):
            stream.sample()
        edge += 1
        assert dut.descriptor__ready.value == 0, "a descriptor is accepted while a GEMM runs"
        assert edge < limit, f"no end after {edge} edges, {len(results.items)} of {case['results']} results"
    dut.weights__valid.value = dut.activations__valid.value = dut.results__ready.value = 0
    if case["reset_after"]:
        await reset(dut)
        return {}

    await RisingEdge(dut.clk)
    assert dut.running.value == 0, "the core still runs after the last result"
    assert dut.results__valid.value == 0, "more results than asked for"
    assert dut.weights__ready.value == 0, "weights are accepted without a GEMM"
    assert dut.activations__ready.value == 0, "activations are accepted without a GEMM"
    assert weights.sent == len(words), "weight words left over"
    assert activations.sent == len(vectors), "activation vectors left over"
    return {
        "waited": waited,
        "edges": edge,
        "results": [hex(item) for item in results.items],
        "status": dut.status.value.to_unsigned(),
        "illegal_weights": int(dut.illegal_weights.value),
        "counters": {name: getattr(dut, f"counters__{name}").value.to_unsigned() for name in CAUSES},
        "weights_valid": weights.bits,
        "activations_valid": activations.bits,
        "results_ready": results.bits,
    }


@cocotb.test()
async def play_all(dut) -> None:
    """Every case of the given file, in order, without reset in between."""
    folder = Path(os.environ["TRITFORGE_BENCH"])
    cases = json.loads((folder / "cases.json").read_text())
    Clock(dut.clk, 10, unit="ns").start()
    await reset(dut)
    records = [await play(dut, case) for case in cases]
    (folder / "records.json").write_text(json.dumps(records))
