"""The systolic organisation: a grid of accumulators, and the readout that brings their sums into the result queue."""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from amaranth import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import Component, In, Out

from hw.arithmetic.adders import Cells, TermAdder
from hw.arithmetic.lane import ACTIVATION_BITS, TritCode
from hw.arithmetic.registers import delayed
from hw.config import ArrayConfig
from hw.gateware.credits import count_credits, result_ports
from hw.gateware.ports import tile_layout, token_shape, vector_layout
from hw.gateware.sequencer import Sequencer
from hw.gateware.weights import WeightTiles

if TYPE_CHECKING:
    from hw.gateware.core import Core

__all__ = ["Element", "Grid", "connect_grid"]


class Element(Component):
    """A processing element: adds one activation times one trit per edge and hands both on.

    Members
    -------
    x, code : what it adds on this edge; ``next_x``, ``next_code`` follow one edge later.
    clear : forget the sum instead.
    sum : the accumulator.
    """

    def __init__(self, bits: int, cells: Cells):
        self.bits, self.cells = bits, cells
        super().__init__(
            {
                "x": In(ACTIVATION_BITS),
                "code": In(TritCode),
                "clear": In(1),
                "next_x": Out(ACTIVATION_BITS),
                "next_code": Out(TritCode),
                "sum": Out(signed(bits)),
            }
        )

    def elaborate(self, platform) -> Module:
        """An adder around a register; ``clear`` is its synchronous reset, and there is no other."""
        m = Module()
        m.submodules.adder = adder = TermAdder(self.bits, self.cells, exact=True)
        total = Signal(signed(self.bits), reset_less=True)
        x = Signal(ACTIVATION_BITS, reset_less=True)
        code = Signal(TritCode, reset_less=True)
        m.d.sync += [x.eq(self.x), code.eq(self.code), total.eq(adder.total)]
        with m.If(self.clear):
            m.d.sync += total.eq(0)
        m.d.comb += [adder.a.eq(total), adder.x.eq(self.x), adder.code.eq(self.code)]
        m.d.comb += [self.next_x.eq(x), self.next_code.eq(code), self.sum.eq(total)]
        return m


class Grid(Component):
    """``rows`` x ``cols`` elements: token r of a tile times output c, one position of K per issue.

    Members
    -------
    vector : one activation per token of the token tile.
    issue : this edge accepts ``vector``.
    step : its position of K inside the active tile.
    last_in_column_tile : this edge issues the last vector of a column tile.
    last_token : number of the last token of its token tile, read with ``last_in_column_tile``.
    trits : the active tile.
    credit_available : credits and readout allow the last issue of a column tile on this edge.
    results : ``cols`` sums, signed; the first can be transferred ``config.pipeline_latency`` edges after that.
    one_result_left, last_result_leaves : see ``result_ports``.
    """

    def __init__(self, config: ArrayConfig, cells: Cells = "portable"):
        self.config, self.cells = config, cells
        super().__init__(
            {
                "vector": In(vector_layout(config)),
                "issue": In(1),
                "step": In(token_shape(config)),
                "last_in_column_tile": In(1),
                "last_token": In(token_shape(config)),
                "trits": In(tile_layout(config)),
            }
            | result_ports(config)
        )

    def elaborate(self, platform) -> Module:
        """Skewed operands, the elements, and a readout that follows the wave of the last additions."""
        m = Module()
        sums = self._elements(m, self._activations(m), self._codes(m), self._clears(m))
        flags = self._readout(m)
        valid, queues = Cat(flags).any(), []
        for column in range(self.config.cols):
            chosen = Signal(signed(self.config.accumulator_bits), name=f"chosen{column}", reset_less=True)
            finished = [Mux(flag, line[column], 0) for line, flag in zip(sums, flags, strict=True)]  # one at most
            m.d.sync += chosen.eq(reduce(or_, finished))
            valid = delayed(m, valid, 1, f"valid{column}_")
            flags = [delayed(m, flag, 1, f"flag{row}_{column}_", reset_less=True) for row, flag in enumerate(flags)]
            m.submodules[f"queue{column}"] = queue = SyncFIFO(width=len(chosen), depth=self.config.result_queue_depth)
            m.d.comb += [queue.w_data.eq(chosen), queue.w_en.eq(valid)]
            queues.append(queue)
        transfer = self.results.valid & self.results.ready
        m.d.comb += [
            self.results.valid.eq(queues[-1].r_rdy),  # the last column's sums come last
            self.results.payload.as_value().eq(Cat(queue.r_data for queue in queues)),
            *(queue.r_en.eq(transfer) for queue in queues),
        ]
        self._credits(m, transfer)
        return m

    def _activations(self, m: Module) -> list[Value]:
        """Row r's activations, r + 2 edges after their issue."""
        rows = []
        for row in range(self.config.rows):
            x = Signal(ACTIVATION_BITS, name=f"vector{row}", reset_less=True)
            with m.If(self.issue):
                m.d.sync += x.eq(self.vector[row])
            rows.append(delayed(m, x, row + 1, f"x{row}_", reset_less=True))
        return rows

    def _codes(self, m: Module) -> list[Value]:
        """Column c's trit of the issued position, c + 2 edges after the issue; 0 where none was issued."""
        rows = self.config.rows
        issued, step = delayed(m, self.issue, 1, "issued"), delayed(m, self.step, 1, "step_taken", reset_less=True)
        columns = []
        for column in range(self.config.cols):
            code = Signal(TritCode, name=f"code{column}")
            mine = [self.trits[column * rows + position].as_value() for position in range(rows)]
            m.d.sync += code.as_value().eq(_picked(mine, step))
            with m.If(~issued):
                m.d.sync += code.as_value().eq(0)
            columns.append(delayed(m, code, column, f"code{column}_", reset_less=True))
        return columns

    def _clears(self, m: Module) -> list[Value]:
        """For the elements of each diagonal: the edge after their last addition, and every edge of a reset.

        After a reset the flags stay high until what was under way has passed, so that nothing else needs one.
        """
        clear, flags = self.last_in_column_tile, []
        for stage in range(2 + self.config.rows + self.config.cols - 1):
            flag = Signal(name=f"clear{stage}", init=1)
            m.d.sync += flag.eq(clear)
            clear = flag
            flags.append(flag)
        return flags[2:]

    def _elements(self, m: Module, xs: list[Value], codes: list[Value], clears: list[Value]) -> list[list[Value]]:
        """The sums of all elements, by row and column."""
        sums = []
        for row, x in enumerate(xs):
            line = []
            for column in range(self.config.cols):
                element = Element(self.config.accumulator_bits, self.cells)
                m.submodules[f"element{row}_{column}"] = element
                m.d.comb += [element.x.eq(x), element.code.eq(codes[column]), element.clear.eq(clears[row + column])]
                x, codes[column] = element.next_x, element.next_code
                line.append(element.sum)
            sums.append(line)
        return sums

    def _readout(self, m: Module) -> list[Value]:
        """For each row whether its element of column 0 has just finished: row 0 three edges after the last issue."""
        ended = delayed(m, self.last_in_column_tile, 2, "ended")
        last_token = delayed(m, self.last_token, 2, "last_token", reset_less=True)
        end = Signal.like(self.last_token)
        with m.If(ended):
            m.d.sync += end.eq(last_token)
        flags = [delayed(m, ended, 1, "flag0_")]
        for row in range(1, self.config.rows):
            flags.append(delayed(m, flags[-1] & (end != row - 1), 1, f"flag{row}_"))
        return flags

    def _credits(self, m: Module, transfer: Value) -> None:
        """Credits for the queue, and the distance that a readout asks between two last issues."""
        taken = Signal(range(self.config.rows + 1))
        wait = Signal.like(self.last_token)
        with m.If(self.last_in_column_tile):
            m.d.comb += taken.eq(self.last_token + 1)
            m.d.sync += wait.eq(self.last_token)
        with m.Elif(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        credits = count_credits(m, self, taken, transfer)
        m.d.comb += self.credit_available.eq((credits > self.last_token) & (wait == 0))


def _picked(values: list[Value], index: Value) -> Value:
    """One of ``values``, bit by bit."""
    return Cat(Cat(value[bit] for value in values).bit_select(index, 1) for bit in range(len(values[0])))


def connect_grid(m: Module, core: "Core", sequencer: Sequencer, tiles: WeightTiles) -> Grid:
    """Add the datapath of the systolic organisation to ``m``; the grid gives the results."""
    m.submodules.grid = grid = Grid(core.config, core.cells)
    m.d.comb += [
        grid.vector.eq(core.activations.payload),
        grid.issue.eq(sequencer.issue),
        grid.step.eq(sequencer.token),
        grid.last_in_column_tile.eq(sequencer.last_in_column_tile),
        grid.last_token.eq(sequencer.last_token),
        grid.trits.eq(tiles.trits),
    ]
    return grid
