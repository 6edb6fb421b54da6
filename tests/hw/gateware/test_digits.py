"""Digit planes and tiles that load by lanes: proofs over every input, and an attention head on the core's RTL."""

import numpy as np
import pytest
from amaranth import Cat, Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

from hw.arithmetic.registers import delayed
from hw.config import ArrayConfig
from hw.formats import GemmFormat
from hw.gateware.plane_weight import PlaneWeight
from hw.gateware.ports import number_by_lanes, plane_shape, totals_layout, trits_per_word
from hw.gateware.weights import WeightTiles
from hw.golden import digits, from_digits, hadamard, quantize_digits, quantize_tokens
from sim.machine.attention import attention_cost
from sim.machine.resources import Resources
from sim.memory import MemoryConfig
from sim.trace.ops import AttentionOp, Formats, KvDigits
from tests.hw.gateware.proof import prove
from tests.hw.gateware.random_gemms import check, tree
from tests.hw.gateware.rtl import Case, play, random_offers


def digit_array(planes: int, **fields) -> ArrayConfig:
    return ArrayConfig(**{"name": "t", "rows": 3, "cols": 1, "planes": planes, "digits": True} | fields)


class PlaneWeightSpec(Component):
    """Plane weights beside their definition: the total times 3**plane by a multiplication, in time with the adders."""

    def __init__(self, config: ArrayConfig, wrong: int | None = None):
        self.config, self.wrong = config, wrong  # plane whose definition is spoiled
        members = {"plane": In(plane_shape(config)), "digits": In(1), "totals": In(totals_layout(config))}
        super().__init__(members | {"ok": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        config = self.config
        m.submodules.dut = dut = PlaneWeight(config)
        digits = Signal()
        m.d.sync += digits.eq(self.digits)  # constant during a GEMM
        m.d.comb += [dut.plane.eq(self.plane), dut.digits.eq(digits), dut.totals.eq(self.totals)]
        stays = digits == self.digits
        plane = delayed(m, self.plane, 1 + config.column_stages, "spec_plane")
        factor = Signal(8)
        for number in range(config.planes):
            with m.If(digits & (plane == number)):
                m.d.comb += factor.eq(3**number + (number == self.wrong))
        with m.If(~digits):
            m.d.comb += factor.eq(1)
        product, known = Signal.like(dut.weighted[0]), plane < config.planes
        m.d.comb += product.eq(self.totals[0] * factor)
        expected = delayed(m, product, config.digit_stages, "expected")
        known = delayed(m, known & stays, config.digit_stages, "known")
        for stage in range(config.digit_stages):
            known = known & delayed(m, stays, stage, f"stays{stage}_")
        m.d.comb += self.ok.eq(~known | ~stays | (dut.weighted[0] == expected))
        return m


@pytest.mark.parametrize("planes", [2, 3, 4, 5])
def test_plane_weights_multiply_every_total_by_the_power_of_three(planes, tmp_path):
    config = digit_array(planes)
    prove(PlaneWeightSpec(config), tmp_path, config.total_stages + 3, from_reset=False)


@pytest.mark.parametrize(("planes", "wrong"), [(2, 1), (5, 0), (5, 4)])
def test_a_wrong_weight_of_any_plane_would_be_found(planes, wrong, tmp_path):
    config = digit_array(planes)
    with pytest.raises(RuntimeError, match="proof did fail"):
        prove(PlaneWeightSpec(config, wrong), tmp_path, config.total_stages + 3, from_reset=False)


class SameTile(Component):
    """One tile loaded column by column and lane by lane by two stores, any pauses between words: equal afterwards."""

    def __init__(self, config: ArrayConfig, fault: bool = False):
        self.config, self.fault = config, fault
        bits = 2 * trits_per_word(config) * config.trit_beats
        super().__init__({"tile": In(2 * config.lanes), "more": In(bits), "offer": In(1), "ok": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        config = self.config
        tile, word_bits = Signal(2 * config.lanes, init=0), 2 * trits_per_word(config)
        padding = self.more[2 * config.lanes :]  # anything behind the tile
        started, beat, accept = Signal(), Signal(range(config.trit_beats + 1)), Signal()
        with m.If(~started):
            m.d.sync += [tile.eq(self.tile), started.eq(1)]
        m.d.comb += accept.eq(started & self.offer & (beat < config.trit_beats))
        with m.If(accept):
            m.d.sync += beat.eq(beat + 1)
        swap = delayed(m, accept & (beat == config.trit_beats - 1), 1, "swap")
        stores = []
        for by_lanes in (0, 1):
            m.submodules[f"store{by_lanes}"] = store = WeightTiles(config)
            ordered = Signal(2 * config.lanes, name=f"ordered{by_lanes}")
            for number in range(config.lanes):
                place = number_by_lanes(config, number) if by_lanes else number
                m.d.comb += ordered.word_select(place, 2).eq(tile.word_select(number, 2))
            m.d.comb += [
                store.word.eq(Cat(ordered, padding).word_select(beat, word_bits)),
                store.accept.eq(accept),
                store.beat.eq(beat),
                store.swap.eq(swap),
                store.by_lanes.eq(by_lanes ^ self.fault if by_lanes else 0),
            ]
            stores.append(store)
        legal = Cat(tile.word_select(number, 2) != 0b10 for number in range(config.lanes)).all()
        loaded = Signal()
        with m.If(delayed(m, swap, 1, "late_swap")):
            m.d.sync += loaded.eq(1)
        first, second = stores
        same = (first.trits.as_value() == second.trits.as_value()) & (
            first.negatives.as_value() == second.negatives.as_value()
        )
        counts = [Signal(range(config.rows + 1), name=f"count{column}") for column in range(config.cols)]
        for column, count in enumerate(counts):
            negatives = [tile[2 * (column * config.rows + lane) + 1] for lane in range(config.rows)]
            m.d.comb += count.eq(sum(negatives))
        exact = second.negatives.as_value() == Cat(counts)
        m.d.comb += self.ok.eq(Mux(loaded & legal, same & exact, 1))
        return m


LOADED = [
    ArrayConfig(name="one beat", rows=2, cols=2, weight_bus_bits=8, lane_loading=True),
    ArrayConfig(name="cut lanes", rows=2, cols=3, weight_bus_bits=8, lane_loading=True),
    ArrayConfig(name="lane a word", rows=3, cols=4, weight_bus_bits=8, lane_loading=True),
]


@pytest.mark.parametrize("config", LOADED, ids=lambda config: config.name)
def test_a_tile_by_lanes_is_the_tile_by_columns_with_its_counts(config, tmp_path):
    prove(SameTile(config), tmp_path, config.trit_beats + 7, from_reset=True)


def test_a_tile_taken_in_the_wrong_order_would_be_found(tmp_path):
    with pytest.raises(RuntimeError, match="proof did fail"):
        prove(SameTile(LOADED[1], fault=True), tmp_path, LOADED[1].trit_beats + 7, from_reset=True)


@pytest.mark.parametrize(("k_digits", "v_digits"), [(3, 3), (4, 3), (5, 5)])
def test_scores_and_values_of_an_attention_head_are_exact_on_the_array(k_digits, v_digits, tmp_path):
    """q . k with k rotated and in digits; then p . v, whose tiles load by lanes as v is stored, a token per lane."""
    rng = np.random.default_rng(k_digits)
    head, context, queries = 8, 11, 3
    config = tree(8, 4, planes=5, digits=True, lane_loading=True, weight_bus_bits=16, token_tile=4)
    q, k, v = (rng.normal(size=(count, head)).astype(np.float32) for count in (queries, context, context))
    q_int, _ = quantize_tokens(hadamard(q))
    k_int, _ = quantize_digits(hadamard(k), k_digits)
    v_int, _ = quantize_digits(v, v_digits)
    p_int = rng.integers(0, 128, (queries, context)).astype(np.int8)
    cases = []
    for left, right, count, by_lanes in ((q_int, k_int, k_digits, False), (p_int, v_int.T, v_digits, True)):
        planes = np.moveaxis(digits(right, count), -1, 0)
        assert (from_digits(np.moveaxis(planes, 0, -1)) == right).all()
        formats = GemmFormat(count, digits=True, by_lanes=by_lanes)
        for offers in ([""] * 3, [random_offers(rng, 300) for _ in range(3)]):
            cases.append(Case(left, planes[0], *offers, formats=formats, more=planes[1:]))
    records = play(config, cases, tmp_path)
    for case, record in zip(cases, records, strict=True):
        check(config, case, record)
    scores, values = records[0].results, records[2].results
    assert scores.tolist() == [[sum(int(a) * int(b) for a, b in zip(x, y, strict=True)) for y in k_int] for x in q_int]
    assert values.tolist() == [
        [sum(int(p_int[i, t]) * int(v_int[t, c]) for t in range(context)) for c in range(head)] for i in range(queries)
    ]


@pytest.mark.parametrize(
    ("k_digits", "v_digits", "group", "queries", "past", "steps"),
    [
        (4, 3, 1, 9, 0, 1),  # prefill of three query tiles, the last short
        (5, 4, 2, 6, 5, 1),  # a chunk behind a cache; queries of a group share the tiles
        (3, 5, 3, 1, 7, 5),  # decode over a context that grows by a lane
    ],
)
def test_the_attention_of_a_run_takes_the_cycles_that_the_array_takes(
    k_digits, v_digits, group, queries, past, steps, tmp_path
):
    """Every GEMM that the simulator charges an op for, query tile by query tile and block by block, on the RTL."""
    rng = np.random.default_rng(group)
    head, tile = 6, 4
    config = tree(
        4, 3, planes=5, digits=True, lane_loading=True, weight_bus_bits=8, token_tile=tile, packing="5in8",
        activation_buffer_bytes=192, accumulator_bits=24,
    )  # fmt: skip
    held = KvDigits(key_digits=k_digits, value_digits=v_digits, rotate=True, lanes=3)
    instant = MemoryConfig(
        name="m", source="test", standard="DDR4", channels=1, peak_bytes_per_s=1e18, sequential_efficiency=1.0,
        efficiency_source="test", write_cost=1.0, latency_s=0.0,
    )  # fmt: skip
    machine = Resources(config.model_copy(update={"vector_lanes": 10**6}), instant, Formats(digits=held))
    cases: dict[str, list[Case]] = {"attention_scores": [], "attention_values": []}
    for step in range(steps):
        for first in range(0, queries, tile):
            rows = min(tile, queries - first) * group
            context = past + step * queries + min(first + tile, queries)
            block = max(4, 8 * 192 // 2 // (16 * rows) // 4 * 4)
            for start in range(0, context, block):
                keys = min(block, context - start)
                for name, n, k, count in (
                    ("attention_scores", keys, head, k_digits),
                    ("attention_values", head, keys, v_digits),
                ):
                    planes = rng.integers(-1, 2, (count, n, k), dtype=np.int8)
                    q = rng.integers(-127, 128, (rows, k), dtype=np.int8)
                    formats = GemmFormat(count, digits=True, by_lanes=name == "attention_values")
                    cases[name].append(Case(q, planes[0], formats=formats, more=planes[1:]))
    records = iter(play(config, [*cases["attention_scores"], *cases["attention_values"]], tmp_path))
    for name, of_op in cases.items():
        edges = 0
        for case in of_op:
            record = next(records)
            check(config, case, record)
            edges += 1 + record.edges  # and the edge that takes the descriptor
        op = AttentionOp(
            name=name, count=1, batch=2, queries=queries, past=past, steps=steps, kv_heads=1, group=group, head_dim=head
        )
        assert attention_cost(machine, op).cycles == 2 * edges
        assert len(of_op) > steps * (queries > 1)


def test_descriptors_of_more_digits_than_fit_are_refused_and_leave_no_trace(tmp_path):
    config = tree(4, 2, planes=3, digits=True, accumulator_bits=14, weight_bus_bits=8)
    ones = np.ones((1, 1), np.int8)
    limits = {(1, False): 64, (2, False): 32, (3, False): 21, (1, True): 64, (2, True): 16, (3, True): 4}
    cases = []
    for (planes, weighted), k in limits.items():
        assert config.max_k_of(planes, weighted) == k
        formats = GemmFormat(planes, digits=weighted)
        cases.append(Case(ones, ones, refused=True, sizes=(1, 1, k + 1), formats=formats))
        whole = np.full((1, k), 127, np.int8)
        cases.append(Case(whole, np.ones((1, k), np.int8), formats=formats, more=np.ones((planes - 1, 1, k), np.int8)))
    cases.append(Case(ones, ones, refused=True, sizes=(1, 1, 1), formats=GemmFormat(4)))  # more planes than there are
    for case, record in zip(cases, play(config, cases, tmp_path), strict=True):
        if case.refused:
            assert record.status == 2
        else:
            check(config, case, record)
