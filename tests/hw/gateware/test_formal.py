"""Proofs over every input: columns compute their sum, bus and result streams obey the stream rules.

Yosys unrolls the design and its SAT solver looks for a counterexample. A column has no feedback, so unrolling it over
its own depth from an arbitrary state is a full proof; control is proved for every input sequence of the stated length
after reset. Each proof has a mutated copy whose fault must be found.
"""

import pytest
from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib.wiring import Component, In, Out

from hw.config import ArrayConfig
from hw.gateware.accumulator import Accumulator
from hw.gateware.bus.axi_lite import AxiLiteRegisters
from hw.gateware.column import Column
from tests.hw.gateware.proof import prove


class ColumnSpec(Component):
    """A column beside its definition: the products by selection, summed at once, delayed."""

    def __init__(self, config: ArrayConfig, fault: bool = False):
        self.config, self.fault = config, fault
        super().__init__({"x": In(8 * config.rows), "codes": In(2 * config.rows), "ok": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        config = self.config
        m.submodules.column = column = Column(config)
        products, negatives, legal = [], [], []
        for lane in range(config.rows):
            x = self.x.word_select(lane, 8)
            code = self.codes.word_select(lane, 2)
            value = Signal(signed(9), name=f"product{lane}")
            m.d.comb += value.eq(Mux(code[0], Mux(code[1], -x.as_signed(), x.as_signed()), 0))
            products.append(value)
            negatives.append(code[1])
            legal.append(code != 0b10)
            for stage in range(lane % config.chain_lanes):
                late_x, late_code = Signal(8, name=f"x{lane}_{stage}"), Signal(2, name=f"code{lane}_{stage}")
                m.d.sync += [late_x.eq(x), late_code.eq(code)]
                x, code = late_x, late_code
            m.d.comb += [column.x[lane].eq(x), column.trits[lane].as_value().eq(code)]
        m.d.comb += column.negatives.eq(sum(negatives))
        expected, all_legal = sum(products), Cat(legal).all()
        for stage in range(config.column_stages - self.fault):
            late, late_legal = Signal.like(expected, name=f"sum{stage}"), Signal(name=f"legal{stage}")
            m.d.sync += [late.eq(expected), late_legal.eq(all_legal)]
            expected, all_legal = late, late_legal
        m.d.comb += self.ok.eq(~all_legal | (column.total == expected))
        return m


@pytest.mark.parametrize(("rows", "chain", "per_register"), [(1, 1, 1), (3, 1, 2), (3, 2, 1), (3, 3, 1)])
def test_a_column_is_the_sum_of_its_products(rows, chain, per_register, tmp_path):
    config = ArrayConfig(name="t", rows=rows, cols=1, chain_lanes=chain, adders_per_register=per_register)
    prove(ColumnSpec(config), tmp_path, config.column_stages + 1, from_reset=False)


def test_a_sum_that_comes_an_edge_early_is_found(tmp_path):
    config = ArrayConfig(name="t", rows=3, cols=1)
    with pytest.raises(RuntimeError, match="proof did fail"):
        prove(ColumnSpec(config, fault=True), tmp_path, config.column_stages + 1, from_reset=False)


class ResultRules(Component):
    """The accumulator, fed as credits allow: a refused result stays, and the queue never has to refuse one."""

    def __init__(self, results: str, fault: bool = False):
        self.config = ArrayConfig(name="t", rows=1, cols=1, accumulator_bits=9, token_tile=2, results=results)
        self.fault = fault
        super().__init__({"issue": In(1), "first": In(1), "last": In(1), "token": In(1), "ready": In(1), "ok": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.accumulator = accumulator = Accumulator(self.config)
        results = accumulator.results
        allowed = self.issue & (~self.last | accumulator.credit_available | self.fault)
        m.d.comb += [
            accumulator.issue.eq(allowed),
            accumulator.first_fold.eq(self.first),
            accumulator.last_fold.eq(self.last),
            accumulator.token.eq(self.token),
            results.ready.eq(self.ready),
        ]
        under_way, refused, kept = Signal(8), Signal(), Signal.like(results.payload.as_value())
        transfer = results.valid & results.ready
        m.d.sync += [
            under_way.eq(under_way + (allowed & self.last) - transfer),
            refused.eq(results.valid & ~results.ready),
            kept.eq(results.payload.as_value()),
        ]
        stays = ~refused | (results.valid & (results.payload.as_value() == kept))
        m.d.comb += self.ok.eq(stays & (under_way <= self.config.result_queue_depth))
        return m


RESULTS = pytest.mark.parametrize(("results", "steps"), [("sums", 14), ("int8", 18)])  # behind int8: a requantizer


@RESULTS
def test_a_refused_result_stays_and_no_result_is_lost(results, steps, tmp_path):
    prove(ResultRules(results), tmp_path, steps, from_reset=True)


@RESULTS
def test_issues_without_credit_are_found(results, steps, tmp_path):
    with pytest.raises(RuntimeError, match="proof did fail"):
        prove(ResultRules(results, fault=True), tmp_path, steps, from_reset=True)


class PartialSums(Component):
    """The accumulator beside its definition, a sum per token that is read, added to and written at once."""

    def __init__(self, fault: bool = False):
        self.config = ArrayConfig(name="t", rows=1, cols=1, accumulator_bits=9, token_tile=2)
        self.fault = fault
        super().__init__({"issue": In(1), "first": In(1), "token": In(1), "total": In(signed(8)), "ok": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.accumulator = accumulator = Accumulator(self.config)
        issue = self.issue & accumulator.credit_available
        m.d.comb += [
            accumulator.issue.eq(issue),
            accumulator.first_fold.eq(self.first),
            accumulator.last_fold.eq(1),
            accumulator.token.eq(self.token),
            accumulator.totals[0].eq(self.total),
            accumulator.results.ready.eq(1),
        ]
        now = Cat(issue, self.first | self.fault, self.token)
        for stage in range(1 + self.config.total_stages):
            late = Signal(3, name=f"now{stage}")
            m.d.sync += late.eq(now)
            now = late
        partial = [Signal(signed(9), name=f"partial{token}", reset_less=True) for token in range(2)]
        expected, added = Signal(signed(9)), Signal()
        total = Mux(now[1], 0, Mux(now[2], partial[1], partial[0])) + self.total
        m.d.sync += [expected.eq(total), added.eq(now[0])]
        for token, value in enumerate(partial):
            with m.If(now[0] & (now[2] == token)):
                m.d.sync += value.eq(total)
        results = accumulator.results
        m.d.comb += self.ok.eq((results.valid == added) & (~added | (results.payload[0] == expected)))
        return m


def test_partial_sums_are_those_of_a_memory_that_is_read_added_to_and_written_at_once(tmp_path):
    prove(PartialSums(), tmp_path, 9, from_reset=True)


def test_a_sum_that_forgets_its_folds_is_found(tmp_path):
    with pytest.raises(RuntimeError, match="proof did fail"):
        prove(PartialSums(fault=True), tmp_path, 9, from_reset=True)


class BusRules(Component):
    """The register file under any sequence of accesses: answers stay until they are taken, one per access."""

    def __init__(self, fault: bool = False):
        self.fault = fault
        super().__init__(
            {name: In(1) for name in ("want_write", "want_read", "bready", "rready")}
            | {"awaddr": In(4), "araddr": In(4), "wdata": In(32), "values": In(96), "ok": Out(1)}
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.registers = bus = AxiLiteRegisters(3)
        m.d.comb += [
            bus.awvalid.eq(self.want_write),
            bus.wvalid.eq(self.want_write),
            bus.wstrb.eq(0b1111),
            bus.arvalid.eq(self.want_read),
            *(getattr(bus, name).eq(getattr(self, name)) for name in ("awaddr", "araddr", "wdata", "values")),
            *(getattr(bus, name).eq(getattr(self, name)) for name in ("bready", "rready")),
        ]
        good = []
        for valid, ready, payload, taken in (
            (bus.bvalid, bus.bready, bus.bresp, bus.awvalid & bus.awready),
            (bus.rvalid, bus.rready, Cat(bus.rdata, bus.rresp), bus.arvalid & bus.arready),
        ):
            owed, refused, kept = Signal(8), Signal(), Signal.like(payload)
            m.d.sync += [
                owed.eq(owed + taken - (valid & (ready | self.fault))),
                refused.eq(valid & ~ready),
                kept.eq(payload),
            ]
            waited = Signal()  # the access before this edge has no answer yet, which it must have now
            m.d.sync += waited.eq((owed != 0) & ~valid)
            good += [~refused | (valid & (payload == kept)), owed <= 1, ~valid | (owed == 1)]
            good += [~waited | valid]
        m.d.comb += self.ok.eq(Cat(good).all())
        return m


def test_the_bus_answers_every_access_once(tmp_path):
    prove(BusRules(), tmp_path, 10, from_reset=True)


def test_a_bus_that_forgets_answers_is_found(tmp_path):
    with pytest.raises(RuntimeError, match="proof did fail"):
        prove(BusRules(fault=True), tmp_path, 10, from_reset=True)
