"""Faults seeded into the gateware, one at a time: the RTL tests must see every one of them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hw.config import ArrayConfig
from hw.formats import GemmFormat
from tests.hw.gateware.random_gemms import check
from tests.hw.gateware.rtl import Case, play_verilog, random_case
from tests.hw.seeded import SOURCE, Fault, copy_with

FAULTS = [
    Fault("arithmetic/lane.py", "x.as_unsigned() & code.nonzero", "x.as_unsigned() | code.nonzero"),
    Fault("arithmetic/lane.py", "selected ^ code.negative", "selected | code.negative"),
    Fault(
        "gateware/column.py", "(self.negatives, 0, self.config.rows) if head == 0", "(self.negatives, 0, 1) if head < 0"
    ),
    Fault("gateware/column.py", "return pairs + operands[len(pairs) * 2 :]", "return pairs or operands"),
    Fault("arithmetic/operand.py", "return max(bits_for(self.low, True), bits_for(self.high, True))", "return 8"),
    Fault("gateware/column.py", "if position < lanes:", "if position < lanes - 1:"),
    Fault("gateware/array.py", "lane % self.config.chain_lanes,", "0,"),
    Fault("gateware/array.py", "self.trits.as_value().word_select(index,", "self.trits.as_value().word_select(0,"),
    Fault("gateware/array.py", "column.negatives.eq(self.negatives[index])", "column.negatives.eq(self.negatives[0])"),
    Fault("gateware/unpack.py", "(0b11, 0b00, 0b01)[", "(0b01, 0b00, 0b11)["),
    Fault("gateware/unpack.py", "value // 3**i % 3", "value // 3 ** (4 - i) % 3"),
    Fault("gateware/unpack.py", "trit.negative & ~trit.nonzero", "trit.negative & trit.nonzero"),
    Fault("gateware/unpack.py", "byte > _LARGEST_BYTE", "byte > 255"),
    Fault("gateware/negatives.py", "count if number == first else running + count", "count"),
    Fault("gateware/negatives.py", "if last < config.trit_beats - 1:", "if last < config.trit_beats:"),
    Fault("gateware/negatives.py", "if last < config.trit_beats - 1:", "if False:"),
    Fault("gateware/negatives.py", "self._accepted & (late_beat == n) for", "self._accepted for"),
    Fault("gateware/negatives.py", "with m.If(self._accepted):", "with m.If(1):"),
    Fault("gateware/negatives.py", "min(i + _FEW, high)", "min(i + _FEW, high - 1)"),
    Fault("gateware/negatives.py", "range(1 << len(here))", "range(8)"),
    Fault("gateware/weights.py", "of_word[number] & accepted[apart] for", "accepted[apart] for"),
    Fault("gateware/weights.py", "of_word[number] & accepted[apart] for", "of_word[number] for"),
    Fault(
        "gateware/weights.py",
        "enable=swaps[apart], reset_less=True)\n                trits",
        "reset_less=True)\n                trits",
    ),
    Fault("gateware/weights.py", "with m.Elif(self.clear):", "with m.Elif(0):"),
    Fault("gateware/weights.py", "(m, self.word, spread,", "(m, self.word, 0,"),
    Fault("gateware/weights.py", "(m, self.accept, spread,", "(m, self.accept, 0,"),
    Fault("gateware/weights.py", "(m, self.beat, spread,", "(m, self.beat, 0,"),
    Fault("gateware/weights.py", "(m, self.swap, spread,", "(m, self.swap, 0,"),
    Fault("gateware/array.py", "self.vector[lane], self.config.spread_stages,", "self.vector[lane], 0,"),
    Fault("gateware/weights.py", "suspect.any() & accepted[0]", "suspect.any()"),
    Fault("gateware/accumulator.py", "m, reading.first_fold | again |", "m, again |"),
    Fault("gateware/accumulator.py", "soon_again = adding.issue & (", "soon_again = 0 & ("),
    Fault("gateware/accumulator.py", "soon_again = adding.issue & (", "soon_again = ("),
    Fault("gateware/accumulator.py", "copies(m, ~again,", "copies(m, again,"),
    Fault("gateware/accumulator.py", "registered(m, adder.total,", "registered(m, addend,"),
    Fault("gateware/accumulator.py", "again = read_now.issue & (", "again = 0 & ("),
    Fault("gateware/accumulator.py", "again = read_now.issue & (", "again = ("),
    Fault("gateware/accumulator.py", "ends = read_now.issue & read_now.last_fold", "ends = read_now.issue"),
    Fault("gateware/accumulator.py", "now, config.total_stages - 2,", "now, config.total_stages - 1,"),
    Fault("gateware/accumulator.py", "taken = self.issue & self.last_fold", "taken = self.issue"),
    Fault("gateware/accumulator.py", "credit_next.eq(transfer | (credits != 1))", "credit_next.eq(1)"),
    Fault("gateware/accumulator.py", "transfer | (credits != 1)", "transfer | (credits > 2)"),
    Fault("gateware/accumulator.py", "ResultQueue(widths, config.result_queue_depth)", "ResultQueue(widths, 2)"),
    Fault("gateware/accumulator.py", "write.addr.eq(adding_tokens[group])", "write.addr.eq(reading_tokens[group])"),
    Fault("gateware/results/queue.py", "address == self.depth - 1", "address == self.depth - 2"),
    Fault("gateware/results/queue.py", "self.r_rdy.eq(level != 1)", "self.r_rdy.eq(0)"),
    Fault("gateware/results/queue.py", "self.r_rdy.eq(level != 1)", "self.r_rdy.eq(1)"),
    Fault("gateware/accumulator.py", "queue.r_en.eq(self.results.ready)", "queue.r_en.eq(1)"),
    Fault("gateware/tile_walk.py", "Countdown(config.rows)", "Countdown(config.rows - 1)"),
    Fault("gateware/tile_walk.py", "Countdown(config.cols)", "Countdown(config.cols - 1)"),
    Fault("gateware/tile_walk.py", "Countdown(config.token_tile)", "Countdown(config.token_tile - 1)"),
    Fault("gateware/tile_walk.py", "self.last.eq(self.size <= self.step)", "self.last.eq(self.size < self.step)"),
    Fault("gateware/tile_walk.py", "two.eq(self.size <= 2 * self.step)", "two.eq(self.size < 2 * self.step)"),
    Fault("gateware/tile_walk.py", "after.eq(self.size <= 2 * self.step)", "after.eq(self.size < 2 * self.step)"),
    Fault("gateware/tile_walk.py", "(self.left <= 3 * self.step)", "(self.left < 3 * self.step)"),
    Fault("gateware/tile_walk.py", "[self.left.eq(whole), self.after", "[self.after"),
    Fault("gateware/tile_walk.py", "self.first_fold.eq(self.last_fold)", "self.first_fold.eq(0)"),
    Fault("gateware/tile_walk.py", "columns.advance.eq(self.step & self.last_fold)", "columns.advance.eq(self.step)"),
    Fault("gateware/tile_walk.py", "self.step & self.last_fold & columns.last)", "self.step & self.last_fold)"),
    Fault("gateware/tile_walk.py", "(left - done - 1)", "(left - done)"),
    Fault("gateware/tile_walk.py", "left <= done + whole", "left <= whole"),
    Fault("gateware/sequencer.py", "~self.shadow_full | self.swap", "~self.shadow_full"),
    Fault("gateware/sequencer.py", "load.more & (", "("),
    Fault("gateware/sequencer.py", "(walk.last_fold & ~self.credit_available)", "(~self.credit_available)"),
    Fault("gateware/sequencer.py", "(walk.last_fold & ~self.credit_available)", "(0)"),
    Fault("gateware/sequencer.py", "(~last_fold_next | self.credit_next)", "self.credit_next"),
    Fault("gateware/sequencer.py", "(~last_fold_next | self.credit_next)", "1"),
    Fault("gateware/sequencer.py", "Mux(self.last_in_tile, walk.last_fold_after, walk.last_fold)", "walk.last_fold"),
    Fault("gateware/tile_walk.py", "folds.after & on_last_after", "folds.after"),
    Fault("gateware/tile_walk.py", "left == done + 1 if", "left == done if"),
    Fault("gateware/sequencer.py", "accepted | self.last_in_tile", "self.last_in_tile"),
    Fault("gateware/sequencer.py", "self.token + 1 == walk.last_token", "self.token == walk.last_token"),
    Fault("gateware/sequencer.py", "~self.active | self.last_in_tile", "~self.active"),
    Fault("gateware/sequencer.py", "self.last_result_leaves & self.all_issued", "self.last_result_leaves"),
    Fault("gateware/sequencer.py", "self.descriptor.ready.eq(~self.running)", "self.descriptor.ready.eq(1)"),
    Fault("gateware/sequencer.py", "sizes.k > self._max_k()", "sizes.k >= self._max_k()"),
    Fault("gateware/sequencer.py", "(sizes.m == 0) | ", ""),
    Fault("gateware/tile_walk.py", "self.more.eq(~self.refused)", "self.more.eq(1)"),
    Fault("gateware/credits.py", "one_result_left.eq(credits == depth - 1)", "one_result_left.eq(credits != depth)"),
    Fault("gateware/counters.py", "m.d.sync += swapped.eq(1)", "m.d.sync += swapped.eq(0)"),
    Fault("gateware/counters.py", "self.shadow_full | self.weight_accepted", "self.weight_accepted"),
    Fault(
        "gateware/counters.py", "(draining & ~self.result_blocked) | (idle & filling)", "draining | (idle & filling)"
    ),
    Fault("gateware/counters.py", "held & ~self.credit_missing", "held"),
    Fault("gateware/counters.py", "waiting & self.active & ~self.restarting", "waiting & self.active"),
    Fault(
        "gateware/sequencer.py",
        "walk.last_fold & at_last_step & ~self.credit_available",
        "walk.last_fold & ~self.credit_available",
    ),
    Fault("gateware/sequencer.py", "self.restarting.eq(self.last_in_column_tile)", "self.restarting.eq(0)"),
    Fault("gateware/tile_walk.py", "positions if config.structure", "config.rows - 1 if config.structure"),
    Fault("arithmetic/adders.py", "Cat(carry, term(self.x, self.code))", "Cat(_ZERO, term(self.x, self.code))"),
    Fault("gateware/grid.py", "x, row + 1,", "x, row,"),
    Fault("gateware/grid.py", "code, column,", "code, column // 2,"),
    Fault("gateware/grid.py", "return flags[2:]", "return flags[1:]"),
    Fault("gateware/grid.py", "with m.If(~issued):", "with m.If(0):"),
    Fault("gateware/grid.py", "m.d.sync += wait.eq(self.last_token)", "m.d.sync += wait.eq(0)"),
    Fault("gateware/grid.py", "credits > self.last_token", "credits != 0"),
    Fault("gateware/grid.py", "taken.eq(self.last_token + 1)", "taken.eq(1)"),
    Fault("gateware/grid.py", "flags[-1] & (end != row - 1)", "flags[-1]"),
    Fault("gateware/grid.py", "with m.If(ended):", "with m.If(1):"),
    Fault("gateware/grid.py", "self.results.valid.eq(queues[-1].r_rdy)", "self.results.valid.eq(queues[0].r_rdy)"),
    Fault("gateware/counters.py", "counter.eq(self.running & counts)", "counter.eq(0)"),
    Fault("gateware/tile_walk.py", "folds.last & on_last)", "folds.last | on_last)"),
    Fault("gateware/sequencer.py", "Mux(index, values[1], values[0])", "values[0]"),
    Fault("gateware/tile_walk.py", "Mux(on_last, 0, self.plane + 1)", "self.plane + 1"),
    Fault("gateware/tile_walk.py", "[last_plane.eq(self.last_plane), self.plane.eq(0)]", "last_plane.eq(2)"),
    Fault("gateware/sequencer.py", "digits=True) for count in planes]", "digits=False) for count in planes]"),
    Fault("gateware/sequencer.py", "Mux(self.descriptor.payload.digits, weighted, equal)", "weighted"),
    Fault("gateware/sequencer.py", "values + [0] *", "values + [9] *"),
    Fault("gateware/plane_weight.py", "gate = self.digits &", "gate ="),
    Fault("formats.py", "DigitStage(1, (1, 3))", "DigitStage(1, (1,))"),
    Fault("formats.py", "DigitStage(3, (2, 3, 4)),", "DigitStage(2, (2, 3, 4)),"),
    Fault("formats.py", "DigitStage(3, (4,)))", "DigitStage(3, ()))"),
    Fault("gateware/plane_weight.py", "self.plane, 1 + config.array_stages,", "self.plane, config.array_stages,"),
    Fault("gateware/plane_weight.py", 'registered(m, plane, f"plane_of_stage{number}")', "plane"),
    Fault("gateware/tree.py", "sequencer.plane != 0 if", "0 if"),
    Fault("gateware/scales.py", "+ config.array_stages + config.digit_stages", "+ config.array_stages"),
    Fault(
        "gateware/weights.py",
        "Mux(self.by_lanes, here[by_lanes, apart], here[by_columns, apart])",
        "here[by_lanes, apart]",
    ),
    Fault("gateware/weights.py", "Mux(self.by_lanes, rows, columns)", "columns"),
    Fault("gateware/ports.py", "return lane * config.cols + column", "return lane * config.cols + (column ^ 1)"),
    Fault("gateware/negatives.py", "Mux(self.by_lanes, by_lanes[column], so_far)", "so_far"),
    Fault("gateware/negatives.py", "counter.negative.as_value() & within", "counter.negative.as_value()"),
    Fault("gateware/negatives.py", "Mux(now[0], 0, running)", "running"),
    Fault("gateware/negatives.py", "(counter.beat == 0) | (phase == phases - 1)", "phase == phases - 1"),
    Fault("gateware/negatives.py", "now[:last].any()", "now.any()"),
    Fault("gateware/negatives.py", "(phase * per_word + i) % config.cols", "i % config.cols"),
    Fault("gateware/sequencer.py", "last_fold & self.formats.row_scales", "self.formats.row_scales"),
    Fault("gateware/sequencer.py", "beat < config.trit_beats if", "beat < config.weight_beats if"),
    Fault("gateware/sequencer.py", "self.last_exponents_beat.eq(end)", "self.last_exponents_beat.eq(last_fold)"),
    Fault(
        "gateware/sequencer.py",
        "self.last_in_column_tile.eq(self.last_in_tile & walk.last_fold)",
        "self.last_in_column_tile.eq(self.last_in_tile)",
    ),
    Fault("gateware/sequencer.py", "self.plane.eq(walk.plane)", "self.plane.eq(0)"),
    Fault(
        "gateware/accumulator.py",
        "self.scales_taken.eq(adding.last_in_column_tile)",
        "self.scales_taken.eq(leaving[0])",
    ),
    Fault("gateware/results/requantize.py", "guard & (sticky | floor[0])", "guard"),
    Fault("gateware/results/requantize.py", "(shift[place] & whole[:step].any())", "shift[place]"),
    Fault("gateware/results/requantize.py", "Mux(nearest < -INT8_LIMIT, -INT8_LIMIT, nearest)", "nearest"),
    Fault("gateware/results/requantize.py", "floor[7:] == sign", "floor[8:] == sign"),
    Fault("gateware/results/requantize.py", "self.valid, config.requantizer_stages,", "self.valid, 4,"),
    Fault("gateware/results/requantize.py", "column.offset.eq(scale.offset)", "column.offset.eq(scale.multiplier)"),
    Fault("gateware/scales.py", "whole[self.bus_bits :]", "whole[: -self.bus_bits]"),
    Fault("gateware/scales.py", "queue.w_en.eq(self.accept & self.last)", "queue.w_en.eq(self.accept)"),
    Fault("gateware/scales.py", "depth=self.depth)", "depth=1)"),
    Fault("gateware/scales.py", "self.last_in_tile, 1 + config.array_stages", "self.last_in_tile, config.array_stages"),
    Fault("gateware/scales.py", "self.totals[index] << exponents[index]", "self.totals[index] << exponents[0]"),
    Fault("gateware/scales.py", "Mux(self.skip, 0, self.vector", "Mux(0, 0, self.vector"),
    Fault("gateware/tree.py", "queue.take.eq(accumulator.scales_taken & formats.row_scales)", "queue.take.eq(0)"),
    Fault("gateware/tree.py", "Mux(formats.row_scales, ", "Mux(1, "),
]


DIGITS = {"planes": 5, "digits": True, "lane_loading": True, "group_exponent_bits": 1, "sum_of_x": True}
DIGITS |= {"accumulator_bits": 20}
OPTIONS = {"planes": 2, "group_exponent_bits": 2, "sum_of_x": True, "results": "int8", "accumulator_bits": 18}


def configs() -> list[ArrayConfig]:
    """Small arrays that together use every line of the gateware."""
    fields = {"token_tile": 4, "accumulator_bits": 12, "adders_per_register": 1}
    return [
        ArrayConfig(name="a", rows=7, cols=3, chain_lanes=2, weight_bus_bits=16, **fields),
        ArrayConfig(name="b", rows=5, cols=4, packing="5in8", weight_bus_bits=32, **fields),
        ArrayConfig(name="c", rows=4, cols=3, weight_bus_bits=16, **fields | OPTIONS),
        ArrayConfig(name="d", rows=4, cols=3, weight_bus_bits=32, organisation="systolic", **fields),
        ArrayConfig(
            name="e", rows=5, cols=3, packing="5in8", weight_bus_bits=16, **fields | DIGITS | {"accumulator_bits": 20}
        ),
        ArrayConfig(
            name="f", rows=7, cols=3, chain_lanes=2, packing="5in8", weight_bus_bits=16, spread_stages=1, **fields
        ),
    ]


def battery(config: ArrayConfig) -> list[Case]:
    """Cases that a correct core passes and every fault must fail."""
    rng = np.random.default_rng(11)
    cases = []
    while len(cases) < 14:
        case = random_case(rng, config, stalls=len(cases) % 3 != 0)
        if case.formats.digits or case.k * case.formats.planes <= config.max_k:
            cases.append(case)
    for folds in (1, 2):  # so many results are refused at once that the credits run out
        q = rng.integers(-127, 128, (3 * config.token_tile, folds * config.rows), dtype=np.int8)
        trits = rng.integers(-1, 2, (3 * config.cols, q.shape[1]), dtype=np.int8)
        cases.append(Case(q, trits, result_readies="0" * 100))
        cases.append(Case(q, trits, activation_offers="01" * 60, result_readies="0" * 100))
    q = rng.integers(-127, 128, (2 * config.token_tile, 2 * config.rows), dtype=np.int8)
    cases.append(Case(q, rng.integers(-1, 2, (2 * config.cols, q.shape[1]), dtype=np.int8)))  # folds = column tiles
    cases.append(Case(q[: config.token_tile, :1], rng.integers(-1, 2, (4 * config.cols, 1), dtype=np.int8)))  # K = 1
    ones = np.ones((2, config.max_k), np.int8)
    cases.append(Case(127 * ones, ones))
    cases.append(Case(cases[0].q, cases[0].trits, damaged=True))
    cases.append(Case(ones[:, :1], ones[:, :1], refused=True, sizes=(0, 1, 1)))
    sums = np.array([[127, 1], [127, 0], [-127, -1], [-127, -2]], np.int8)  # at and beyond the ends of int8
    cases.append(Case(sums, np.ones((1, 2), np.int8)))
    if config.results == "int8":  # halves, which go to the even neighbour, on both sides of zero
        halves = np.array([[1], [3], [5], [-1], [-3], [2], [6], [10], [-6]], np.int8)
        cases += [Case(halves, np.ones((3, 1), np.int8), formats=GemmFormat(shift=shift)) for shift in (1, 2)]
    if config.planes == 2:
        sizes = (1, 1, config.max_k // 2 + 1)
        cases.append(Case(ones[:, :1], ones[:, :1], refused=True, sizes=sizes, formats=GemmFormat(2)))
    if config.digits:
        cases += _digit_cases(config, rng)
    cases.append(cases[1])
    return cases


def _digit_cases(config: ArrayConfig, rng: np.random.Generator) -> list[Case]:
    """The longest sums of each number of digits and planes, one more refused, and tiles by lanes with long pauses."""
    cases = []
    for planes in range(1, config.planes + 1):
        for digits in (True, False):
            k, formats = config.max_k_of(planes, digits), GemmFormat(planes, digits=digits)
            ones = np.ones((planes, 1, k), np.int8)
            cases.append(Case(np.full((1, k), 127, np.int8), ones[0], formats=formats, more=ones[1:]))
            cases.append(Case(ones[0, :, :1], ones[0, :, :1], refused=True, sizes=(1, 1, k + 1), formats=formats))
    cases.append(Case(ones[0, :, :1], ones[0, :, :1], refused=True, sizes=(1, 1, 1), formats=GemmFormat(8)))
    m = config.token_tile  # whose column tiles spend the credits evenly: none is left where one of them begins
    q = rng.integers(-127, 128, (m, config.rows), dtype=np.int8)
    trits = rng.integers(-1, 2, (2, (config.result_queue_depth // m + 3) * config.cols, config.rows), dtype=np.int8)
    formats = GemmFormat(2, digits=True)
    cases.append(Case(q, trits[0], result_readies="0" * 200, formats=formats, more=trits[1:]))
    for planes in (1, 3, 5):
        q = rng.integers(-127, 128, (2, 2 * config.rows), dtype=np.int8)
        trits = rng.integers(-1, 2, (planes, 2 * config.cols, q.shape[1]), dtype=np.int8)
        formats = GemmFormat(planes, digits=True, by_lanes=True)
        for offers in ("", "0001" * 60):
            cases.append(Case(q, trits[0], offers, formats=formats, more=trits[1:]))
    return cases


def verilog(folder: Path, config: ArrayConfig) -> str:
    """Verilog of ``config`` by the package ``hw`` in ``folder``; a RuntimeError where it makes none.

    A fault that no Verilog comes of has not been seen by any test.
    """
    program = "import sys; from hw.config import ArrayConfig; from hw.verilog import core_verilog\n"
    program += "sys.stdout.write(core_verilog(ArrayConfig.model_validate_json(sys.argv[1])))"
    done = subprocess.run(
        [sys.executable, "-c", program, config.model_dump_json()],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-500:])
    return done.stdout


def judge(config: ArrayConfig, text: str, folder: Path) -> None:
    """Run the battery and check every record."""
    cases = battery(config)
    for case, record in zip(cases, play_verilog(text, config, cases, folder), strict=True):
        if case.refused:
            assert record.status == (2 if case.sizes[0] else 1), case.formats
        else:
            check(config, case, record)


@pytest.mark.parametrize("config", configs(), ids=lambda config: config.name)
def test_the_battery_passes_without_a_fault(config, tmp_path):
    judge(config, verilog(SOURCE.parent, config), tmp_path)


def test_every_fault_is_about_text_that_is_there_once():
    assert len(FAULTS) >= 30
    for fault in FAULTS:
        assert fault.within((SOURCE / fault.file).read_text())


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.file}: {fault.old} -> {fault.new}"[:90])
def test_every_fault_is_caught(fault, tmp_path):
    copy_with(fault, Path(), tmp_path)
    for config in configs():
        try:
            judge(config, verilog(tmp_path, config), tmp_path / config.name)
        except AssertionError:
            return
    pytest.fail("no test noticed")
