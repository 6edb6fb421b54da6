"""The whole core: descriptor, packed weights and activations in, exact sums out, every cycle accounted for."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hw.arithmetic.adders import Cells, check_cells
from hw.config import ArrayConfig
from hw.gateware.accumulator import Accumulator
from hw.gateware.array import Array
from hw.gateware.counters import CounterPorts, Counters
from hw.gateware.grid import Grid
from hw.gateware.ports import descriptor_layout, results_layout, scales_layout, vector_layout
from hw.gateware.scales import ActivationSum, ScaleQueue, TileShifter
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
        systolic = self.config.organisation == "systolic"
        sums = self._grid(m, sequencer, tiles) if systolic else self._tree(m, sequencer, tiles)
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
            sequencer.free.eq(sums.free),
            sequencer.drained.eq(sums.drained),
            tiles.word.eq(self.weights.payload),
            tiles.accept.eq(sequencer.accept_trits),
            tiles.beat.eq(sequencer.beat),
            tiles.swap.eq(sequencer.swap),
            tiles.clear.eq(sequencer.start),
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
            self.weights_last.eq(sequencer.weight_final),
            self.activations_last.eq(sequencer.issue_final),
            self.results_last.eq(sequencer.all_issued & sums.alone),
            self.running.eq(sequencer.running),
            self.status.eq(sequencer.status),
            self.illegal_weights.eq(tiles.illegal),
        ]
        return m

    def _grid(self, m: Module, sequencer: Sequencer, tiles: WeightTiles) -> Grid:
        """The systolic organisation."""
        m.submodules.grid = grid = Grid(self.config, self.cells)
        self._issue(m, sequencer, grid)
        m.d.comb += [
            grid.step.eq(sequencer.token),
            grid.final.eq(sequencer.column_end),
            grid.last_token.eq(sequencer.last_token),
            grid.trits.eq(tiles.trits),
        ]
        return grid

    def _tree(self, m: Module, sequencer: Sequencer, tiles: WeightTiles) -> Accumulator:
        """The tree organisation: array, accumulator, and the options between and behind them."""
        m.submodules.array = array = Array(self.config, self.cells)
        m.submodules.accumulator = accumulator = Accumulator(self.config, self.cells)
        self._issue(m, sequencer, array)
        m.d.comb += [
            array.trits.eq(tiles.trits),
            array.negatives.eq(tiles.negatives),
            accumulator.issue.eq(sequencer.issue),
            accumulator.first.eq(sequencer.first),
            accumulator.last.eq(sequencer.last),
            accumulator.token.eq(sequencer.token),
        ]
        totals = self._totals(m, sequencer, array)
        m.d.comb += [addend.eq(total) for addend, total in zip(accumulator.totals, totals, strict=True)]
        if self.config.sum_of_x:
            m.submodules.activation_sum = activation_sum = ActivationSum(self.config)
            self._issue(m, sequencer, activation_sum)
            m.d.comb += [
                activation_sum.skip.eq(sequencer.second),
                accumulator.x_total.eq(activation_sum.total),
            ]
        if self.config.results == "int8":
            self._scales(m, sequencer, accumulator)
        return accumulator

    def _issue(self, m: Module, sequencer: Sequencer, datapath: Grid | Array | ActivationSum) -> None:
        """Every vector that is accepted enters ``datapath``."""
        m.d.comb += [datapath.vector.eq(self.activations.payload), datapath.issue.eq(sequencer.issue)]

    def _totals(self, m: Module, sequencer: Sequencer, array: Array) -> data.View:
        """What the columns add: the array's totals, shifted by the tile's exponents where it has some."""
        if not self.config.group_exponent_bits:
            return array.totals
        m.submodules.shifter = shifter = TileShifter(self.config)
        m.d.comb += [
            shifter.word.eq(self.weights.payload),
            shifter.accept.eq(sequencer.accept),
            shifter.beat_last.eq(sequencer.exponents_end),
            shifter.tile_end.eq(sequencer.tile_end),
            shifter.totals.eq(array.totals),
        ]
        return shifter.shifted

    def _scales(self, m: Module, sequencer: Sequencer, accumulator: Accumulator) -> None:
        """The requantizer's numbers: from the descriptor for all outputs, or of each from behind its weights."""
        layout, formats = scales_layout(self.config), sequencer.formats
        m.submodules.scales = queue = ScaleQueue(self.config, layout.size, self.config.tiles_in_flight)
        m.d.comb += [
            queue.word.eq(self.weights.payload),
            queue.accept.eq(sequencer.accept),
            queue.last.eq(sequencer.scales_end),
            queue.take.eq(accumulator.scales_taken & formats.row_scales),
            accumulator.shift.eq(formats.shift),
            accumulator.column_end.eq(sequencer.column_end),
        ]
        queued = Signal(layout)
        m.d.comb += queued.as_value().eq(queue.head)
        for column in range(self.config.cols):
            for name in layout.elem_shape.members:
                one = Mux(formats.row_scales, getattr(queued[column], name), getattr(formats, name))
                m.d.comb += getattr(accumulator.scales[column], name).eq(one)
