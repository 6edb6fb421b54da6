"""Accumulator buffer over the folds of K, the result queue behind it, and the credits that keep its results safe."""

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from hw.arithmetic.adders import Cells, EitherAdder
from hw.arithmetic.registers import COLUMNS_PER_COPY, cleared, copies, delayed, groups_of, registered
from hw.config import ArrayConfig
from hw.division import ceil_divide
from hw.formats import SHIFT_BITS
from hw.gateware.credits import count_credits, result_ports
from hw.gateware.ports import addends_layout, results_layout, scales_layout, sums_layout, token_shape, total_shape
from hw.gateware.results.queue import ResultQueue
from hw.gateware.results.requantize import Requantizer

__all__ = ["Accumulator"]

_COLUMNS_PER_PART = 2  # of the result queue of several groups of columns

_REQUANTIZED = {"shift": In(SHIFT_BITS), "last_in_column_tile": In(1), "scales_taken": Out(1)}  # beside the scales


class Accumulator(Component):
    """Add each column's total to its token's partial sum; after the last fold the sums enter the result queue.

    ``issue`` and what describes it come with the control edge; the addends of that issue come
    ``1 + config.total_stages`` registers later, and so the description waits here that long. No overflow is possible
    for K up to ``config.max_k``. Where results are int8, a requantizer stands before the queue.

    Block RAM, addition and block RAM are three edges: the partial sum is read one edge before it is needed, and waits
    in the register ``partial``. Where one of the two edges between adds to the same token, the later one's sum comes
    through ``forwarded`` instead, and what the memory reads while it writes that word is not used. Of the two at most
    one is not 0, so that the adder takes both in the table that it has anyway.

    ======  =========================  ============================  ==============================
    edge    of one issue               of the next, the same token   of the one after it
    ======  =========================  ============================  ==============================
    t - 2   address: ``reading_token``
    t - 1   block RAM: ``read``        address
    t       ``partial`` + addend       ``forwarded`` takes the sum   address; ``last`` takes the sum
    t + 1   written                    ``forwarded`` + addend        ``forwarded`` takes ``last``
    t + 2                                                            ``forwarded`` + addend
    ======  =========================  ============================  ==============================

    Members
    -------
    issue : this edge accepts a vector.
    first_fold, last_fold : its tile is the first, the last fold of K.
    token : its number inside the token tile.
    totals : per column, what to add.
    x_total : the same of the activations, where the array sums them.
    last_in_column_tile : this edge issues the last vector of a column tile.
    scales, scales_taken : int8 results: of the columns whose sums are made; the edge of the last that needs them.
    shift : int8 results: of the whole GEMM.
    credit_available, credit_next : an issue of a last fold is allowed on this edge, on the next.
    one_result_left, last_result_leaves, results : see ``result_ports``.
    """

    def __init__(self, config: ArrayConfig, cells: Cells = "portable"):
        self.config, self.cells = config, cells
        super().__init__(
            {
                "issue": In(1),
                "first_fold": In(1),
                "last_fold": In(1),
                "token": In(token_shape(config)),
                "totals": In(addends_layout(config)),
            }
            | result_ports(config)
            | {"credit_available": Out(1, init=1), "credit_next": Out(1)}
            | ({"x_total": In(total_shape(config))} if config.sum_of_x else {})
            | (_REQUANTIZED | {"scales": In(scales_layout(config))} if config.results == "int8" else {})
        )

    def elaborate(self, platform) -> Module:
        """Delay line, buffer, partial sums and additions, queue, credit counter."""
        m = Module()
        config = self.config
        requantize = config.results == "int8"
        description = data.StructLayout(
            {"issue": 1, "first_fold": 1, "last_fold": 1, "token": len(self.token)}
            | ({"last_in_column_tile": 1} if requantize else {})
        )
        now = Signal(description)
        m.d.comb += [now.issue.eq(self.issue), now.first_fold.eq(self.first_fold), now.last_fold.eq(self.last_fold)]
        m.d.comb += now.token.eq(self.token)
        if requantize:
            m.d.comb += now.last_in_column_tile.eq(self.last_in_column_tile)
        layout = sums_layout(config)
        sums = Signal(layout)
        addends = [*self.totals, *([self.x_total] if config.sum_of_x else [])]
        groups = groups_of(len(addends))
        reading, reading_tokens = now, [now.token] * groups
        if config.total_stages > 1:
            before = delayed(m, now, config.total_stages - 2, "description")
            reading = registered(m, before, f"description{config.total_stages - 2}")
            reading_tokens = copies(m, before.token, "reading_token", groups)
        read_now = registered(m, reading, "read")
        adding = registered(m, read_now, "adding")
        adding_tokens = copies(m, read_now.token, "adding_token", groups)
        # a reset clears these and ``leaving``: nothing that was under way enters a memory behind it
        writing = copies(m, read_now.issue, "writing", groups, reset_less=False)

        partial_sums: list[Value] = []
        for group in range(groups):
            mine = slice(group * COLUMNS_PER_COPY, min((group + 1) * COLUMNS_PER_COPY, len(addends)))
            part = data.ArrayLayout(layout.elem_shape, mine.stop - mine.start)
            buffer = Memory(shape=part, depth=1 << len(self.token), init=[])
            m.submodules["sums_storage" if groups == 1 else f"sums{group}_storage"] = buffer
            write, read = buffer.write_port(), buffer.read_port()
            m.d.comb += [
                read.addr.eq(reading_tokens[group]),
                read.en.eq(1),
                write.addr.eq(adding_tokens[group]),
                write.data.eq(Cat(sums[column] for column in range(mine.start, mine.stop))),
                write.en.eq(writing[group]),
            ]
            partial_sums += list(read.data)
        again = read_now.issue & (reading.token == read_now.token)
        soon_again = adding.issue & (reading.token == adding.token)
        not_read = copies(m, reading.first_fold | again | soon_again, "not_read", groups)
        not_forwarded = copies(m, reading.first_fold | ~(again | soon_again), "not_forwarded", groups)
        last_forwarded = copies(m, ~again, "last_forwarded", groups)
        adders = [EitherAdder(config.accumulator_bits, self.cells) for _ in addends]
        for column, (adder, addend) in enumerate(zip(adders, addends, strict=True)):
            m.submodules[f"adder{column}"] = adder
            group = column // COLUMNS_PER_COPY
            last = registered(m, adder.total, f"last{column}", reset_less=True)
            known = Mux(last_forwarded[group], last, adder.total)
            m.d.comb += [
                adder.a.eq(cleared(m, partial_sums[column], not_read[group], f"partial{column}")),
                adder.b.eq(addend),
                adder.c.eq(cleared(m, known, not_forwarded[group], f"forwarded{column}")),
            ]
        m.d.comb += sums.as_value().eq(Cat(adder.total for adder in adders))

        # small parts: memory that is read without a clock lies beside its sums, and an address of its own beside it
        per_part = len(addends) if groups == 1 else _COLUMNS_PER_PART
        parts = ceil_divide(len(addends), per_part)
        outgoing, widths = sums, [config.accumulator_bits * per_part] * parts
        widths[-1] = layout.size - sum(widths[:-1])
        ends = read_now.issue & read_now.last_fold
        leaving = copies(m, ends, "leaving", 1 if requantize else parts, reset_less=False)
        if requantize:
            m.submodules.requantizer = requantizer = Requantizer(config)
            m.d.comb += [
                requantizer.sums.eq(sums),
                requantizer.valid.eq(leaving[0]),
                requantizer.scales.eq(self.scales),
                requantizer.shift.eq(self.shift),
                self.scales_taken.eq(adding.last_in_column_tile),
            ]
            outgoing, leaving = requantizer.results, [requantizer.results_valid]
            widths = [results_layout(config).size]
        m.submodules.queue = queue = ResultQueue(widths, config.result_queue_depth)
        transfer = self.results.valid & self.results.ready
        m.d.comb += [
            queue.w_data.eq(outgoing),
            *(enable.eq(leaves) for enable, leaves in zip(queue.w_en, leaving, strict=True)),
            self.results.payload.eq(queue.r_data),
            self.results.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.results.ready),
        ]

        taken = self.issue & self.last_fold
        credits = count_credits(m, self, taken, transfer)
        m.d.comb += self.credit_next.eq(self.credit_available)
        with m.If(taken != transfer):
            m.d.comb += self.credit_next.eq(transfer | (credits != 1))
        m.d.sync += self.credit_available.eq(self.credit_next)
        return m
