"""The tree organisation: array, accumulator, and the options between and behind them, wired into the core."""

from typing import TYPE_CHECKING

from amaranth import Module, Mux, Signal
from amaranth.lib import data

from hw.gateware.accumulator import Accumulator
from hw.gateware.array import Array
from hw.gateware.plane_weight import PlaneWeight
from hw.gateware.ports import scales_layout
from hw.gateware.scales import ActivationSum, ScaleQueue, TileShifter
from hw.gateware.sequencer import Sequencer
from hw.gateware.weights import WeightTiles

if TYPE_CHECKING:
    from hw.gateware.core import Core

__all__ = ["connect_tree"]


def connect_tree(m: Module, core: "Core", sequencer: Sequencer, tiles: WeightTiles) -> Accumulator:
    """Add the datapath of a tree to ``m``; the accumulator gives the results."""
    config = core.config
    m.submodules.array = array = Array(config, core.cells)
    m.submodules.accumulator = accumulator = Accumulator(config, core.cells)
    m.d.comb += [
        array.vector.eq(core.activations.payload),
        array.trits.eq(tiles.trits),
        array.negatives.eq(tiles.negatives),
        accumulator.issue.eq(sequencer.issue),
        accumulator.first_fold.eq(sequencer.first_fold),
        accumulator.last_fold.eq(sequencer.last_fold),
        accumulator.token.eq(sequencer.token),
    ]
    totals = _totals(m, core, sequencer, array)
    m.d.comb += [addend.eq(total) for addend, total in zip(accumulator.totals, totals, strict=True)]
    if config.sum_of_x:
        m.submodules.activation_sum = activation_sum = ActivationSum(config)
        m.d.comb += [
            activation_sum.vector.eq(core.activations.payload),
            activation_sum.issue.eq(sequencer.issue),
            activation_sum.skip.eq(sequencer.plane != 0 if config.planes > 2 else sequencer.plane),
            accumulator.x_total.eq(activation_sum.total),
        ]
    if config.results == "int8":
        _connect_scales(m, core, sequencer, accumulator)
    return accumulator


def _totals(m: Module, core: "Core", sequencer: Sequencer, array: Array) -> data.View:
    """What the columns add: the array's totals, times their plane's weight, shifted by the tile's exponents."""
    totals = array.totals
    if core.config.digits:
        m.submodules.plane_weight = plane_weight = PlaneWeight(core.config, core.cells)
        m.d.comb += [
            plane_weight.plane.eq(sequencer.plane),
            plane_weight.digits.eq(sequencer.formats.digits),
            plane_weight.totals.eq(totals),
        ]
        totals = plane_weight.weighted
    if not core.config.group_exponent_bits:
        return totals
    m.submodules.shifter = shifter = TileShifter(core.config)
    m.d.comb += [
        shifter.word.eq(core.weights.payload),
        shifter.accept.eq(sequencer.accept),
        shifter.last_exponents_beat.eq(sequencer.last_exponents_beat),
        shifter.last_in_tile.eq(sequencer.last_in_tile),
        shifter.totals.eq(totals),
    ]
    return shifter.shifted


def _connect_scales(m: Module, core: "Core", sequencer: Sequencer, accumulator: Accumulator) -> None:
    """The requantizer's numbers: from the descriptor for all outputs, or of each from behind its weights."""
    layout, formats = scales_layout(core.config), sequencer.formats
    m.submodules.scales = queue = ScaleQueue(core.config, layout.size, core.config.tiles_in_flight)
    m.d.comb += [
        queue.word.eq(core.weights.payload),
        queue.accept.eq(sequencer.accept),
        queue.last.eq(sequencer.last_scales_beat),
        queue.take.eq(accumulator.scales_taken & formats.row_scales),
        accumulator.shift.eq(formats.shift),
        accumulator.last_in_column_tile.eq(sequencer.last_in_column_tile),
    ]
    queued = Signal(layout)
    m.d.comb += queued.as_value().eq(queue.head)
    for column in range(core.config.cols):
        for name in layout.elem_shape.members:
            one = Mux(formats.row_scales, getattr(queued[column], name), getattr(formats, name))
            m.d.comb += getattr(accumulator.scales[column], name).eq(one)
