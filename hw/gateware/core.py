"""The whole core: descriptor, packed weights and activations in, exact sums out, every cycle accounted for."""

from amaranth import Module
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hw.arithmetic.adders import Cells, check_cells
from hw.config import ArrayConfig
from hw.gateware.counters import CounterPorts, Counters
from hw.gateware.ports import descriptor_layout, results_layout, vector_layout
from hw.gateware.sequencer import Sequencer, Status
from hw.gateware.weights import WeightTiles

__all__ = ["Core"]


class Core(Component):
    """Ternary x int8 GEMM core; the machine of ``docs/architecture.md``.

    Members
    -------
    descriptor : m, n, k, and the formats that the array has a choice of.
    weights, activations, results : streams in the orders of the page.
    weights_last, activations_last, results_last : the next beat of that stream is the last of the GEMM.
    running : a GEMM is under way.
    status : of the latest descriptor.
    illegal_weights : a trit code that is never written arrived since the latest descriptor.
    counters : cycles of the latest GEMM, whole and by cause.

    Raises
    ------
    InputError
        ``config`` is not a ternary array, or ``cells`` do not exist.
    """

    def __init__(self, config: ArrayConfig, cells: Cells = "portable"):
        check_cells(cells)
        config.check_ternary()
        self.config, self.cells = config, cells
        super().__init__(
            {
                "descriptor": In(stream.Signature(descriptor_layout(config))),
                "weights": In(stream.Signature(config.weight_bus_bits)),
                "activations": In(stream.Signature(vector_layout(config))),
                "results": Out(stream.Signature(results_layout(config))),
                "weights_last": Out(1),
                "activations_last": Out(1),
                "results_last": Out(1),
                "running": Out(1),
                "status": Out(Status),
                "illegal_weights": Out(1),
                "counters": Out(CounterPorts),
            }
        )

    def elaborate(self, platform) -> Module:
        """Sequencer, weight tiles and counters around the datapath of the organisation, wired."""
        m = Module()
        m.submodules.sequencer = sequencer = Sequencer(self.config)
        m.submodules.tiles = tiles = WeightTiles(self.config)
        sums = self.config.structure.gateware("datapath")(m, self, sequencer, tiles)
        m.submodules.counters = counters = Counters()

        connect(m, flipped(self.descriptor), sequencer.descriptor)
        connect(m, sums.results, flipped(self.results))
        connect(m, counters.counters, flipped(self.counters))
        weight_accepted = self.weights.valid & self.weights.ready
        m.d.comb += [
            sequencer.weight_valid.eq(self.weights.valid),
            self.weights.ready.eq(sequencer.weight_ready),
            sequencer.activation_valid.eq(self.activations.valid),
            self.activations.ready.eq(sequencer.activation_ready),
            sequencer.credit_available.eq(sums.credit_available),
            *([] if self.config.structure.outputs_stationary else [sequencer.credit_next.eq(sums.credit_next)]),
            sequencer.last_result_leaves.eq(sums.last_result_leaves),
            tiles.word.eq(self.weights.payload),
            tiles.accept.eq(sequencer.accept_trits),
            tiles.beat.eq(sequencer.beat),
            tiles.swap.eq(sequencer.swap),
            tiles.clear.eq(sequencer.start),
            *([tiles.by_lanes.eq(sequencer.formats.by_lanes)] if self.config.lane_loading else []),
            counters.start.eq(sequencer.start),
            counters.running.eq(sequencer.running),
            counters.issue.eq(sequencer.issue),
            counters.weight_accepted.eq(weight_accepted),
            counters.shadow_full.eq(sequencer.shadow_full),
            counters.active.eq(sequencer.active),
            counters.all_issued.eq(sequencer.all_issued),
            counters.credit_missing.eq(sequencer.credit_missing),
            counters.restarting.eq(sequencer.restarting),
            counters.result_blocked.eq(self.results.valid & ~self.results.ready),
            self.weights_last.eq(sequencer.last_weight_beat),
            self.activations_last.eq(sequencer.last_vector),
            self.results_last.eq(sequencer.all_issued & sums.one_result_left),
            self.running.eq(sequencer.running),
            self.status.eq(sequencer.status),
            self.illegal_weights.eq(tiles.illegal),
        ]
        return m
