"""Accumulator buffer over the folds of K, the result queue behind it, and the credits that keep its results safe."""

from amaranth import Cat, Module, Signal
from amaranth.lib import data, stream
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from hw.cells import Cells, GatedAdder
from hw.config import ArrayConfig
from hw.ports import sums_layout, token_shape, totals_layout

__all__ = ["Accumulator"]


class Accumulator(Component):
    """Add each column's total to its token's partial sum; after the last fold the sums enter the result queue.

    ``issue`` and what describes it come with the control edge; the totals of that issue come
    ``1 + config.column_stages`` registers later, and so the description waits here that long. No overflow is possible
    for K up to ``config.max_k``.

    Members
    -------
    issue : this edge accepts a vector.
    first, last : its tile is the first, the last fold of K.
    token : its number inside the token tile.
    totals : per column, from the array.
    free : a credit is free: an issue of a last fold is allowed.
    alone : only one result is on its way or waiting.
    drained : this edge transfers it.
    results : ``cols`` sums, signed.
    """

    def __init__(self, config: ArrayConfig, cells: Cells = "portable"):
        self.config, self.cells = config, cells
        super().__init__(
            {
                "issue": In(1),
                "first": In(1),
                "last": In(1),
                "token": In(token_shape(config)),
                "totals": In(totals_layout(config)),
                "free": Out(1),
                "alone": Out(1),
                "drained": Out(1),
                "results": Out(stream.Signature(sums_layout(config))),
            }
        )

    def elaborate(self, platform) -> Module:
        """Delay line, read-add-write of the buffer in one edge, queue, credit counter."""
        m = Module()
        config = self.config
        description = data.StructLayout({"issue": 1, "first": 1, "last": 1, "token": len(self.token)})
        now = Signal(description)
        m.d.comb += [now.issue.eq(self.issue), now.first.eq(self.first), now.last.eq(self.last)]
        m.d.comb += now.token.eq(self.token)
        for stage in range(config.column_stages):
            delayed = Signal(description, name=f"description{stage}")
            m.d.sync += delayed.eq(now)
            now = delayed
        reading, adding = now, Signal(description)
        m.d.sync += adding.eq(reading)

        layout = sums_layout(config)
        m.submodules.buffer = buffer = Memory(shape=layout, depth=1 << len(self.token), init=[])
        write = buffer.write_port()
        read = buffer.read_port(transparent_for=(write,))
        m.d.comb += [read.addr.eq(reading.token), read.en.eq(1)]
        sums = Signal(layout)
        adders = [GatedAdder(config.accumulator_bits, self.cells) for _ in range(config.cols)]
        for column, adder in enumerate(adders):
            m.submodules[f"adder{column}"] = adder
            m.d.comb += [adder.a.eq(read.data[column]), adder.b.eq(self.totals[column]), adder.keep.eq(~adding.first)]
        m.d.comb += sums.as_value().eq(Cat(adder.total for adder in adders))
        m.d.comb += [write.addr.eq(adding.token), write.data.eq(sums), write.en.eq(adding.issue)]

        m.submodules.queue = queue = SyncFIFO(width=layout.size, depth=config.result_queue_depth)
        transfer = self.results.valid & self.results.ready
        m.d.comb += [
            queue.w_data.eq(sums),
            queue.w_en.eq(adding.issue & adding.last),
            self.results.payload.eq(queue.r_data),
            self.results.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.results.ready),
        ]

        credits = Signal(range(config.result_queue_depth + 1), init=config.result_queue_depth)
        m.d.sync += credits.eq(credits - (self.issue & self.last) + transfer)
        m.d.comb += [
            self.free.eq(credits != 0),
            self.alone.eq(credits == config.result_queue_depth - 1),
            self.drained.eq(transfer & self.alone),
        ]
        return m
