"""One GEMM on a core in Amaranth's simulator: what happens on every edge, and on request every signal as a waveform."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import numpy as np
from amaranth import Module
from amaranth.sim import Simulator, SimulatorContext

from hw.artifact import atomic_path
from hw.config import ArrayConfig
from hw.division import ceil_divide
from hw.gateware.core import Core
from hw.gateware.counters import CAUSES
from hw.gateware.ports import results_layout
from hw.gateware.sequencer import Sequencer
from hw.job import CoreJob, descriptor_bits, golden_results, matrix, vector_stream, weight_stream

__all__ = ["Edge", "play"]

_EDGES_PER_BEAT = 50  # more than any GEMM needs: the core then hangs
_PERIOD_S = 10e-9


class Edge(NamedTuple):
    """What one rising edge does; numbers count from 0, None where nothing happens."""

    weight: int | None  # number of the weight word that is accepted
    weight_waits: bool  # a word is offered and not accepted
    shadow_full: bool
    swap: bool
    active: bool
    vector: int | None  # number of the activation vector that is accepted
    result: int | None  # number of the result beat that is transferred
    result_waits: bool  # a beat is offered and refused
    cause: str  # of hw.counters.CAUSES


def play(
    config: ArrayConfig, job: CoreJob, offers: Sequence[str] = ("", "", ""), waveform: Path | None = None
) -> list[Edge]:
    """Edges 1, 2, ... of a GEMM up to the one that transfers its last result; the results must be the golden ones.

    ``offers``: weights, activations, results: 0 or 1 per edge, then all 1. ``waveform``: write every signal of the core
    into this ``.vcd`` file, for GTKWave or Surfer, edge e at e * 10 ns after the descriptor's.

    Raises:
        InputError: a job that the array cannot do, or an array that has no core.
        RuntimeError: wrong results, or a core that hangs: a defect.
    """
    job.check(config)
    core = _OpenCore(config)
    player = _Player(config, core, job, offers)
    simulator = Simulator(core)
    simulator.add_clock(_PERIOD_S)
    simulator.add_testbench(player.bench)
    with atomic_path(waveform) if waveform else nullcontext() as path:
        with simulator.write_vcd(str(path)) if path else nullcontext():
            simulator.run()
    if not np.array_equal(player.results(), golden_results(job, config)):
        raise RuntimeError("the core's results differ from the golden model's")
    return player.edges


class _OpenCore(Core):
    """A core whose sequencer can be looked into."""

    def elaborate(self, platform) -> Module:
        module = super().elaborate(platform)
        self.sequencer: Sequencer = module.submodules.sequencer
        return module


class _Player:
    """Drives the streams of one GEMM and notes what happens."""

    def __init__(self, config: ArrayConfig, core: _OpenCore, job: CoreJob, offers: Sequence[str]):
        self.config, self.core, self.job, self.offers = config, core, job, offers
        self.edges: list[Edge] = []
        self.beats: list[list[int]] = []
        self.weights = _words(weight_stream(job, config), config.weight_bus_bits // 8)
        self.vectors = _words(vector_stream(job, config), config.rows)

    async def bench(self, ctx: SimulatorContext) -> None:
        """Reset is over; descriptor on the next edge, then one ``Edge`` after the other."""
        core, sent, got = self.core, [0, 0], 0
        expected = self.job.sizes[0] * ceil_divide(self.job.sizes[1], self.config.cols)
        ctx.set(core.descriptor.payload.as_value(), descriptor_bits(self.job, self.config))
        ctx.set(core.descriptor.valid, 1)
        await ctx.tick()
        ctx.set(core.descriptor.valid, 0)
        limit = _EDGES_PER_BEAT * (len(self.weights) + len(self.vectors) + expected) + sum(map(len, self.offers))
        while got < expected:
            if len(self.edges) > limit:
                raise RuntimeError(f"the core gave {got} of {expected} result beats in {limit} edges")
            offered = [self._offered(i) for i in range(3)]
            for index, (stream, words) in enumerate(((core.weights, self.weights), (core.activations, self.vectors))):
                valid = offered[index] and sent[index] < len(words)
                payload = stream.payload if index == 0 else stream.payload.as_value()
                ctx.set(payload, words[sent[index]] if valid else 0)
                ctx.set(stream.valid, valid)
            ctx.set(core.results.ready, offered[2])
            edge = self._look(ctx, sent, got)
            self.edges.append(edge)
            sent = [sent[0] + (edge.weight is not None), sent[1] + (edge.vector is not None)]
            got += edge.result is not None
            before = self._counts(ctx)
            await ctx.tick()
            after = self._counts(ctx)
            cause = next(name for name in CAUSES if after[name] > before[name]) if after != before else CAUSES[0]
            self.edges[-1] = edge._replace(cause=cause)

    def _offered(self, index: int) -> bool:
        offer = self.offers[index]
        return len(self.edges) >= len(offer) or offer[len(self.edges)] == "1"

    def _counts(self, ctx: SimulatorContext) -> dict[str, int]:
        return {name: ctx.get(getattr(self.core.counters, name)) for name in CAUSES}

    def _look(self, ctx: SimulatorContext, sent: list[int], got: int) -> Edge:
        core = self.core
        moves = [
            (bool(ctx.get(port.valid)), bool(ctx.get(port.ready)))
            for port in (core.weights, core.activations, core.results)
        ]
        if moves[2] == (True, True):
            self.beats.append([ctx.get(value) for value in core.results.payload])
        return Edge(
            weight=sent[0] if moves[0] == (True, True) else None,
            weight_waits=moves[0] == (True, False),
            shadow_full=bool(ctx.get(core.sequencer.shadow_full)),
            swap=bool(ctx.get(core.sequencer.swap)),
            active=bool(ctx.get(core.sequencer.active)),
            vector=sent[1] if moves[1] == (True, True) else None,
            result=got if moves[2] == (True, True) else None,
            result_waits=moves[2] == (True, False),
            cause="",
        )

    def results(self) -> np.ndarray:
        """What came out, as ``hw.job.golden_results``."""
        values = np.array(self.beats, np.int64).reshape(-1, results_layout(self.config).length)
        return matrix(values, self.job, self.config)


def _words(data: bytes, size: int) -> list[int]:
    return [int.from_bytes(data[i : i + size], "little") for i in range(0, len(data), size)]
