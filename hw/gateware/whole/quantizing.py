"""QUANT, NORM and KV on the vector unit: a row's maximum, its division, its numbers, and where they go."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from amaranth import Cat, Const, Module, Mux, Signal, Value, signed

from hw.arithmetic.registers import delayed
from hw.gateware.whole.datapath import Kernel
from hw.gateware.whole.lane import LANE_LATENCY
from hw.gateware.whole.ports import ADDRESS_BITS, ScaleLayout, log2
from hw.gateware.whole.scale_unit import ScaleTask, bit_length
from hw.token.scales import KV_BIAS

if TYPE_CHECKING:
    from hw.gateware.whole.vector_unit import VectorUnit

__all__ = ["activations", "kv", "norm", "quantizing"]


def quantizing(unit: "VectorUnit", m: Module) -> Iterator[None]:
    """QUANT and the start of KV: a row's maximum, its division, its numbers."""
    one, scaling, path, rows = unit.instruction, unit.scale_unit, unit.path, unit.rows
    with m.If(unit.runs("QUANT", "KV", "NORM") & (unit.kernel == Kernel.QUANT)):
        m.d.comb += [path.pre.eq(scaling.pre), path.factor2.eq(scaling.inverse), path.shift2.eq(scaling.k)]
    divided, scanned, source = Signal(), Signal(), Signal(16)
    ahead = unit.runs("QUANT") & unit.more_rows  # the next row is scanned while this one is divided
    with m.If(unit.runs("QUANT")):  # and its numbers leave the lanes meanwhile
        m.d.comb += unit.kernel.eq(Kernel.QUANT)
        with m.If(~unit.scanning):
            m.d.comb += path.x.eq(source + unit.passes.offset)
    yield
    unit.run_scan(m, "MAXIMUM", "DIVISION")
    with m.State("DIVISION"):
        m.d.comb += [scaling.start.eq(1), scaling.task.eq(ScaleTask.QUANT), scaling.value.eq(path.largest)]
        m.d.comb += [path.clear.eq(ahead), unit.passes.start.eq(ahead)]
        m.d.sync += [divided.eq(0), scanned.eq(~ahead), source.eq(unit.row_source)]
        with m.If(ahead):
            m.d.sync += unit.row_source.eq(unit.row_source + one.pitch)
        m.next = "DIVISION RUNS"
    with m.State("DIVISION RUNS"):
        m.d.comb += unit.scanning.eq(1)
        with m.If(scaling.done):
            m.d.sync += divided.eq(1)
        with m.If(unit.passes.done):
            m.d.sync += scanned.eq(1)
        with m.If((divided | scaling.done) & (scanned | unit.passes.done)):
            m.next = "DIVIDED"
    with m.State("DIVIDED"):
        m.d.comb += [
            rows.new_scale.eq(scaling.scale),
            rows.write_weight.eq(one.weights),
            rows.write_token.eq(~one.weights),
        ]
        m.next = "NUMBERS"
        with m.If(unit.runs("KV")):
            m.d.comb += [rows.write_weight.eq(0), rows.write_token.eq(0)]
            m.next = "KV PIECE"
    unit.run_pass(m, "NUMBERS", Kernel.QUANT, "NUMBERS END", keep=False, early="NUMBERS END")
    with m.State("NUMBERS END"):
        unit.next_row(m, Const(0), "DIVISION")


def norm(unit: "VectorUnit", m: Module) -> Iterator[None]:
    """NORM: maximum, products and squares, root, division, numbers once or twice."""
    one, scaling, path, rows = unit.instruction, unit.scale_unit, unit.path, unit.rows
    h, low_half = Signal(signed(7)), unit.low_half
    total, root, epsilon, twice = Signal(48), Signal(ScaleLayout), Signal(48), Signal(7)
    m.d.comb += twice.eq((h + 15) << 1)
    m.d.sync += epsilon.eq(one.epsilon >> twice)  # settled long before the sum
    with m.If(unit.runs("NORM")):
        m.d.comb += [scaling.root.eq(root), scaling.use_root.eq(1)]
        with m.If(unit.kernel == Kernel.NORM):
            m.d.comb += path.pre.eq(h - 8)
    yield
    unit.run_scan(m, "NORM MAXIMUM", "NORM SHIFT")
    with m.State("NORM SHIFT"):
        m.d.sync += h.eq(bit_length(m, path.largest, "norm") - 15)
        m.d.comb += path.clear.eq(1)
        m.next = "NORM PRODUCTS"
    unit.run_pass(m, "NORM PRODUCTS", Kernel.NORM, "NORM SUM")
    with m.State("NORM SUM"):
        m.d.sync += total.eq(path.squares + epsilon)
        m.next = "NORM ROOT"
    unit.run_scale(m, "NORM ROOT", ScaleTask.ROOT, total, "NORM ROOT END")
    with m.State("NORM ROOT END"):
        m.d.sync += [root.eq(scaling.scale), low_half.eq(0)]
        m.next = "NORM DIVISION"
    unit.run_scale(m, "NORM DIVISION", ScaleTask.QUANT, path.largest, "NORM DIVIDED")
    with m.State("NORM DIVIDED"):
        m.d.comb += [rows.new_scale.eq(scaling.scale), rows.write_token.eq(1)]
        m.d.sync += unit.row_source.eq(one.destination)
        m.next = "NORM NUMBERS"
    unit.run_pass(m, "NORM NUMBERS", Kernel.QUANT, "NORM END", keep=False)
    with m.State("NORM END"):
        m.d.sync += low_half.eq(1)
        m.next = "NORM NUMBERS"
        with m.If(~one.split | low_half):
            unit.end(m)


def kv(unit: "VectorUnit", m: Module) -> Iterator[None]:
    """KV behind the division: pieces of a head, each gathered and written, then the stored scale."""
    machine, one, kv = unit.machine, unit.instruction, unit.kv
    lanes, array = machine.lanes, machine.array
    tile_bits = log2(machine.tile_words)
    piece_words, left = Signal(16), Signal(16)
    head, piece, scales = Signal(ADDRESS_BITS), Signal(ADDRESS_BITS), Signal(ADDRESS_BITS)
    pieces, scale = Signal(16), Signal(16)
    per_piece = Mux(one.by_lanes, array.cols // lanes, array.rows // lanes)
    m.d.comb += [
        piece_words.eq(Mux(left < per_piece, left, per_piece)),
        pieces.eq(one.words + array.rows // lanes - 1 >> log2(array.rows // lanes)),
        kv.numbers.eq(unit.path.numbers),
        kv.valid.eq(unit.path.numbers_valid & (unit.kernel == Kernel.QUANT)),
        kv.place.eq(delayed(m, unit.passes.word[:8], 1 + LANE_LATENCY, "place")),
        kv.address.eq(piece),
        kv.plane_words.eq(Mux(one.by_lanes, one.stride, pieces << tile_bits)),
        kv.by_lanes.eq(one.by_lanes),
        kv.planes.eq(one.planes),
        kv.position.eq(unit.position),
        kv.scale_address.eq(scales),
        kv.scale.eq(scale),
    ]
    with m.If(unit.start):
        outer = (unit.position >> log2(array.rows)) << tile_bits  # V: the tile of this token in every plane
        m.d.sync += [head.eq(unit.address + Mux(one.by_lanes, outer, 0)), scales.eq(one.scales)]
    source = Signal(16)
    yield
    with m.State("KV PIECE"):
        m.d.sync += [piece.eq(head), left.eq(one.words), source.eq(unit.row_source)]
        m.d.sync += scale.eq(_stored(unit, m))
        m.next = "KV GATHER"
    with m.State("KV GATHER"):
        m.d.comb += [unit.passes.start.eq(1), unit.passes.words.eq(piece_words), kv.clear.eq(1)]
        m.next = "KV GATHER RUNS"
    with m.State("KV GATHER RUNS"):
        m.d.comb += [unit.kernel.eq(Kernel.QUANT), unit.passes.words.eq(piece_words)]
        m.d.comb += unit.path.x.eq(source + unit.passes.offset)
        with m.If(unit.passes.done):
            m.d.comb += kv.flush.eq(1)
            m.next = "KV WRITES"
    with m.State("KV WRITES"), m.If(kv.done):
        m.d.sync += [left.eq(left - per_piece), source.eq(source + per_piece)]
        m.d.sync += piece.eq(Mux(one.by_lanes, kv.following, piece + machine.tile_words))
        m.next = "KV GATHER"
        with m.If(left <= per_piece):
            m.next = "KV SCALE"
    with m.State("KV SCALE"):
        m.d.comb += kv.flush_scale.eq(1)
        m.next = "KV SCALE WRITES"
    with m.State("KV SCALE WRITES"), m.If(kv.done):
        m.d.comb += unit.path.clear.eq(1)
        m.d.sync += [head.eq(head + one.jump), scales.eq(scales + one.pitch)]
        unit.next_row(m, one.words, "MAXIMUM")


def _stored(unit: "VectorUnit", m: Module) -> Value:
    """The row's scale as a stored word, see ``hw.token.scales.store``."""
    scale = unit.scale_unit.scale
    mantissa, exponent = Signal(13), Signal(signed(12))
    whole = scale.mantissa[4:]
    m.d.comb += [
        mantissa.eq(whole + (scale.mantissa[3] & (scale.mantissa[:3].any() | scale.mantissa[4]))),
        exponent.eq(scale.exponent + 4 + mantissa[12] + KV_BIAS),
    ]
    large = exponent > 31
    fraction = Mux(large, 2047, Mux(mantissa[12], mantissa[1:12], mantissa[:11]))
    word = Cat(fraction[:11], Mux(large, 31, exponent[:5])[:5])
    with m.If(large):
        m.d.sync += unit.saturated.eq(1)
    return Mux(scale.mantissa.any() & (exponent >= 0), word, 0)


def activations(unit: "VectorUnit", m: Module) -> None:
    """Quantized numbers into the activation buffer: fold by fold, rows beside each other."""
    machine, one = unit.machine, unit.instruction
    slices = machine.array.rows // machine.lanes
    number = delayed(m, unit.passes.word, 1 + LANE_LATENCY, "activation_word")
    slice_bits = log2(slices)
    address, following = Signal(16), Signal(16)
    end = number[:slice_bits].all() if slice_bits else Const(1, 1)
    row = Mux(unit.runs("NORM"), unit.low_half, unit.row)
    stride = Mux(unit.runs("NORM"), Mux(one.split, 2, 1), one.rows)
    first = delayed(m, one.activation + delayed(m, row, LANE_LATENCY, "activation_row"), 1, "activation_first")
    m.d.comb += address.eq(Mux(number == 0, first, following))
    with m.If(unit.path.numbers_valid):
        m.d.sync += following.eq(Mux(end, address + stride, address))
    numbers = unit.path.numbers
    m.d.comb += [
        unit.activation_write.eq(unit.path.numbers_valid & (unit.kernel == Kernel.QUANT) & unit.runs("NORM", "QUANT")),
        unit.activation_address.eq(address),
        unit.activation_slice.eq(number[:slice_bits] if slice_bits else 0),
    ]
    for i in range(machine.lanes):
        value = numbers[i]
        whole = (value >> 7) + (value[6] & (value[:6].any() | value[7]))
        rest = value - (whole << 7)
        halves = Mux(unit.low_half, rest[:8], whole[:8])
        m.d.comb += unit.activation_numbers[i].eq(Mux(unit.runs("NORM") & one.split, halves, value[:8]))
