"""Faults seeded into the whole-token machine, one at a time: the battery sees every one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hw.seeded import SOURCE, Fault, copy_with

ROOM = Path("gateware") / "whole"


FAULTS = [
    # lane
    Fault("datapath.py", "\"pre\") + MOST_LEFT", "\"pre\") + MOST_LEFT + 1"),
    Fault("lane.py", "operand2 >> 8", "operand2 >> 7"),
    Fault("lane.py", "inner.instead.eq(mode.partner | mode.bypass)", "inner.instead.eq(mode.partner)"),
    Fault("lane.py", "Mux(mode.partner, self.partner,", "Mux(0, self.partner,"),
    Fault("lane.py", "Mux(mode.wide, 0, product7), mode.back)", "Mux(mode.wide, 0, product7), Const(0, 1))"),
    Fault("lane.py", "outer.result, ending == Ending.LESS)", "outer.result, Const(0, 1))"),
    Fault("lane.py", "inner.down.eq(mode.down)", "inner.down.eq(0)"),
    Fault("lane.py", "Mux(hide, HIDDEN, end)", "end"),
    Fault("lane.py", "index < 0), high.eq(index >= len(SIGMOIDS))", "index < 0), high.eq(index >= 600)"),
    Fault("lane.py", "Mux(gone, 0, power.data >> amount)", "power.data >> amount"),
    Fault("lane.py", "delayed(m, self.shift1, 3,", "delayed(m, self.shift1, 2,"),
    Fault("lane.py", "delayed(m, self.addend, 8,", "delayed(m, self.addend, 7,"),
    # datapath
    Fault("datapath.py", "lane.shift2.eq(15)]", "lane.shift2.eq(16)]"),
    Fault("datapath.py", "\"turn\" if odd else \"back\"", "\"back\" if odd else \"turn\""),
    Fault(
        "datapath.py",
        "lane.factor1.eq(y1[i & ~1]), lane.factor2.eq(y1[i | 1])",
        "lane.factor1.eq(y1[i | 1]), lane.factor2.eq(y1[i & ~1])",
    ),
    Fault("datapath.py", "Mux(less, Ending.LESS, Ending.SUM)", "Ending.SUM"),
    Fault("datapath.py", "ending = Ending.LESS if i & step", "ending = Ending.LESS if not i & step"),
    Fault("datapath.py", "Mux(row[\"fresh\"], 0, old)", "old"),
    Fault("datapath.py", "old.eq(own >> row[\"old_shift\"])", "old.eq(own)"),
    Fault("datapath.py", "lane.hide.eq(hide[i])", "lane.hide.eq(hide[0])"),
    Fault("datapath.py", "Mux(self.add, Ending.SUM, Ending.ALONE)", "Ending.ALONE"),
    Fault("datapath.py", "word[:-1] ^ word[-1].replicate(WORD_BITS - 1)", "word[:-1]"),
    Fault("datapath.py", "scans = delayed(m, self.scan, 2,", "scans = delayed(m, self.scan, 1,"),
    Fault("datapath.py", "self.issue & (self.kernel == Kernel.NORM)", "self.issue"),
    Fault("passes.py", "Mux(self.powers, POWERS_DEPTH, PASS_DEPTH)", "Mux(self.powers, POWERS_DEPTH - 1, PASS_DEPTH)"),
    Fault("vector_unit.py", "with m.If(self.passes.last & self.more_rows):", "with m.If(self.passes.last):"),
    Fault("datapath.py", "self.highest.eq(HIDDEN)", "self.highest.eq(0)"),
    Fault("datapath.py", "self.squares.eq(0)", "self.squares.eq(self.squares)"),
    Fault("datapath.py", "4, self.powers)", "3, self.powers)"),
    # scale unit and rows
    Fault("scale_unit.py", "bits = Mux(length == 0, 1,", "bits = 1 + Mux(length == 0, 1,"),
    Fault("scale_unit.py", "Mux(wide, divider.quotient >> 1, divider.quotient)", "divider.quotient"),
    Fault("scale_unit.py", "half = Signal(ScaleLayout), (length + 1)[1:]", "half = Signal(ScaleLayout), length[1:]"),
    Fault("scale_unit.py", "Mux(divisor == 0, 0, wide - 31 - exponent)", "Mux(divisor == 0, 0, wide - 30 - exponent)"),
    Fault("scale_unit.py", "with m.If(self.use_root | some):", "with m.If(self.use_root):"),
    Fault(
        "scale_unit.py",
        "Mux(self.use_root, self.root.as_value(), self.factor.as_value())",
        "self.factor.as_value()",
    ),
    Fault("rows.py", "self.new_scale, self.write_weight", "self.new_scale, self.write_token"),
    # memory side
    Fault("reader.py", "self.output.valid.eq(self.words.valid & reading)", "self.output.valid.eq(reading)"),
    Fault("reader.py", "Mux(bursts != 1, self.jump, 0)", "self.count"),
    Fault("reader.py", "beyond.eq(end > self.limit)", "beyond.eq(0)"),
    Fault("reader.py", "last.eq(transfer & (left == 1))", "last.eq(transfer & (left == 2))"),
    Fault("loader.py", "running & (last_part | (left == 1))", "running & last_part"),
    Fault("loader.py", 'not name.startswith("u")', "True"),
    Fault("loader.py", "part.eq(Mux(last_part, 0, part + 1))", "part.eq(part + 1)"),
    Fault("activations.py", "Mux(last_token & last_fold, base, place + 1)", "place + 1"),
    Fault("activations.py", "Mux(self.write, 1 << self.write_slice, 0)", "Mux(self.write, ~0, 0)"),
    Fault("kv_writer.py", "with m.If(self.clear):", "with m.If(0):"),
    Fault("kv_writer.py", "self.numbers[i][:8] + _MIDDLE", "self.numbers[i][:8] + _MIDDLE + 1"),
    Fault("kv_writer.py", "{0: 0, 1: 1, -1: 3}", "{0: 0, 1: 3, -1: 1}"),
    Fault("kv_writer.py", "scaling | (plane == self.planes - 1)", "scaling | (plane == self.planes)"),
    Fault("kv_writer.py", "payload.address.eq(address + word_number)", "payload.address.eq(address)"),
    Fault("kv_writer.py", "payload.mask.eq(mask)", "payload.mask.eq(~0)"),
    Fault("kv_writer.py", "Const(3) << Cat(Const(0, 1), slot)", "Const(3)"),
    Fault("kv_writer.py", "others = array.lanes // count", "others = count"),
    Fault("loader.py", "slice_of(self.input.payload, self.place, 16)", "self.input.payload[:16]"),
    Fault("embedding/row_reader.py", "Mux(large, doubled - _FIVES, doubled)", "doubled"),
    Fault("embedding/row_reader.py", "with m.If(passed == rest):", "with m.If(passed == 0):"),
    Fault("embedding/row_reader.py", "begin(beat + machine.tile_words)", "begin(beat + 1)"),
    Fault("embedding/row_reader.py", "trit[1].replicate(", "trit[0].replicate("),
    Fault("front.py", "one.skip + in_tile", "one.skip"),
    Fault("embedding/row_reader.py", "large.eq(doubled >= _FIVES)", "large.eq(doubled > _FIVES)"),
    Fault("embedding/row_reader.py", "~self.packed | (passed == _FIVES - 1)", "~self.packed | (passed == rest)"),
    Fault("embedding/row_reader.py", "Cat(part[: log2(parts)], self.place)", "Cat(part[: log2(parts)])"),
    Fault("embedding/row_reader.py", "with m.Elif(part == parts - 1):", "with m.Elif(part == parts):"),
    Fault("five_trits.py", "count + 1 if count < _PARTS else 0", "count + 1 if count < _PARTS else 1"),
    Fault("five_trits.py", "waiting.eq(there[bits:])", "waiting.eq(there[bits - part:])"),
    Fault("five_trits.py", "valid.eq(self.input.valid | (left == _PARTS))", "valid.eq(self.input.valid)"),
    Fault("five_trits.py", "self.output.ready & (left != _PARTS)", "self.output.ready"),
    Fault("five_trits.py", "with m.If(self.start):", "with m.If(0):"),
    # vector unit
    Fault("elementwise.py", "path.pre.eq(-_LIFT)", "path.pre.eq(1 - _LIFT)"),
    Fault("elementwise.py", "one.first - scale[11:]", "one.first"),
    Fault("quantizing.py", "bit_length(m, path.largest, \"norm\") - 15", "bit_length(m, path.largest, \"norm\") - 14"),
    Fault("quantizing.py", "twice.eq((h + 15) << 1)", "twice.eq(h + 15)"),
    Fault("quantizing.py", "m.d.sync += low_half.eq(1)", "m.d.sync += low_half.eq(0)"),
    Fault("attention.py", "Mux(fresh, FIRST_MAXIMUM, rows.state.maximum)", "FIRST_MAXIMUM"),
    Fault("attention.py", "kept.eq(total >> unit.row_maximum.shift)", "kept.eq(total)"),
    Fault("attention.py", "above.eq(bit_length(m, rows.state.total, \"total\") - one.shift)", "above.eq(0)"),
    Fault("streaming.py", "Cat(Const(i, log2(lanes)), place) > left", "Cat(Const(i, log2(lanes)), place) >= left"),
    Fault("streaming.py", "path.keep.eq(place < outputs)", "path.keep.eq(1)"),
    Fault("streaming.py", "begin.eq(begin + one.pitch)", "begin.eq(begin + groups)"),
    Fault("streaming.py", "first.eq(~one.add)", "first.eq(1)"),
    Fault("streaming.py", "valid.eq(number < one.n)", "valid.eq(1)"),
    Fault("streaming.py", "argmax.shift.eq(word[11:] - one.first)", "argmax.shift.eq(word[11:])"),
    Fault(
        "quantizing.py",
        "piece.eq(Mux(one.by_lanes, kv.following, piece + machine.tile_words))",
        "piece.eq(piece + machine.tile_words)",
    ),
    Fault("quantizing.py", "head.eq(head + one.jump)", "head.eq(head)"),
    Fault("quantizing.py", "scales.eq(scales + one.pitch)", "scales.eq(scales)"),
    Fault(
        "quantizing.py",
        "exponent.eq(scale.exponent + 4 + mantissa[12] + KV_BIAS)",
        "exponent.eq(scale.exponent + 4 + KV_BIAS)",
    ),
    Fault("quantizing.py", "Mux(end, address + stride, address)", "Mux(end, address + 1, address)"),
    Fault("quantizing.py", "delayed(m, row, LANE_LATENCY,", "delayed(m, row, 0,"),
    Fault("quantizing.py", "m.d.comb += unit.kernel.eq(Kernel.QUANT)", "m.d.comb += unit.kernel.eq(Kernel.EMB)"),
    Fault("quantizing.py", "path.clear.eq(ahead)", "path.clear.eq(0)"),
    Fault("quantizing.py", "(~ahead), source.eq(unit.row_source)", "(~ahead), source.eq(unit.row_source + one.pitch)"),
    Fault("quantizing.py", "(scanned | unit.passes.done)", "1"),
    Fault("attention.py", "unit.passes.powers.eq(unit.more_rows)", "unit.passes.powers.eq(1)"),
    Fault("quantizing.py", "scanned.eq(~ahead)", "scanned.eq(0)"),
    Fault("attention.py", "\"ONORM END\", early=\"ONORM END\")", "\"ONORM END\")"),
    Fault("datapath.py", "SCAN_DEPTH = 4", "SCAN_DEPTH = 3"),
    Fault("passes.py", "m.d.sync += left.eq(0)", "m.d.sync += left.eq(left - (left != 0))"),
    Fault("passes.py", "self.done.eq(left == 1)", "self.done.eq(left == 2)"),
    Fault("scale_unit.py", "_BITS_PER_EDGE = 2", "_BITS_PER_EDGE = 1"),
    Fault("scale_unit.py", "_QUOTIENT_BITS = 18", "_QUOTIENT_BITS = 16"),
    Fault("../vector/scalar.py", "remainder.eq(difference)", "remainder.eq(taken)"),
    Fault("../vector/scalar.py", "Cat(1, 0, root)", "Cat(1, 0, self.root)"),
    Fault("../vector/scalar.py", "Cat(0, 0, operand[:-2]), Cat(fits", "operand, Cat(fits"),
    # machine
    Fault(
        "front.py",
        "more.eq(following <= self.position)",
        "more.eq(following < self.position)",
    ),
    Fault("front.py", "Mux(more, self.block + 1, 0)", "self.block + 1"),
    Fault("front.py", "Mux(left > whole, whole, left) + (stretch - 1)", "whole + (stretch - 1)"),
    Fault("machine.py", "payload.by_lanes.eq(one.by_lanes)", "payload.by_lanes.eq(0)"),
    Fault("machine.py", "payload.last_plane.eq(one.planes - 1)", "payload.last_plane.eq(4)"),
    Fault("front.py", "known.eq(~(one.as_value() & strange).any())", "known.eq(1)"),
    Fault("front.py", "Mux(one.by_lanes, 0, tiles)", "tiles"),
    Fault("front.py", "filled[place] & (tags[place] == line)", "filled[place]"),
    Fault("front.py", "Mux(self.begun, self.header[\"entry\"], 0)", "0"),
    Fault("front.py", "self.skipped.eq(one.last_only & ~self.wanted)", "self.skipped.eq(0)"),
    Fault("front.py", "self.k.eq(Mux(one.by_block & one.by_lanes, self.visible, one.k))", "self.k.eq(one.k)"),
    Fault("front.py", "self.bursts.eq(Mux(one.by_lanes, tiles, 1))", "self.bursts.eq(1)"),
    Fault("front.py", "self.token >> log2(2 * self.machine.lanes)", "self.token >> log2(self.machine.lanes)"),
    Fault("front.py", "self.token >> log2(array.cols), index", "self.token >> log2(array.rows), index"),
    Fault("front.py", "self.token[: log2(array.cols)] >> log2(columns", "self.token >> log2(columns"),
    Fault("machine.py", "front.free.eq(~(busy & self._is(*READING) & ~self.skipped))", "front.free.eq(~busy)"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    FAULTS,
    ids=lambda fault: f"{fault.file}: {fault.old} -> {fault.new}"[:90],
)
def test_every_fault_is_caught(fault, tmp_path):
    copy_with(fault, ROOM, tmp_path)
    for name in ("sim", "quant", "tests"):
        (tmp_path / name).symlink_to(SOURCE.parent / name)
    done = subprocess.run(
        [sys.executable, "-m", "tests.hw.gateware.whole.battery"], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path)}, check=False,
    )  # fmt: skip
    assert done.returncode != 0, "no comparison noticed"
    assert "AssertionError" in done.stderr, done.stderr[-500:]


def test_every_fault_is_about_text_that_is_there_once():
    page = (SOURCE.parent / "docs" / "token_machine.md").read_text()
    assert f"| seeded faults | {len(FAULTS)} faults, " in page
    for fault in FAULTS:
        assert fault.within((SOURCE / ROOM / fault.file).read_text())
