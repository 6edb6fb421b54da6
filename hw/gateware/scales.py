"""Scales that travel with the weights: collected from the bus, queued until their tile's sums come out of the array.

A tile is followed on the weight stream by one exponent per column (arrays with ``group_exponent_bits``), and the tile
of a last fold then by one multiplier, and offset, per column (GEMMs with ``row_scales``).
"""

from amaranth import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import Component, In, Out

from hw.arithmetic.lane import ACTIVATION_BITS
from hw.arithmetic.registers import delayed
from hw.config import ArrayConfig
from hw.division import ceil_divide
from hw.gateware.ports import addends_layout, exponents_layout, total_shape, vector_layout, weighted_layout

__all__ = ["ActivationSum", "ScaleQueue", "TileShifter"]


class ScaleQueue(Component):
    """Bus words become sets of ``bits`` bits, low word first; sets wait in order until they are taken.

    ``depth``: sets that can wait; the caller sees to it that no more do.

    Members
    -------
    word, accept, last : a bus word, whether this edge takes it, and whether it completes a set, whose other words came
        right before it.
    head : the oldest set, from the edge after its last word.
    take : this edge removes it.
    """

    def __init__(self, config: ArrayConfig, bits: int, depth: int):
        self.bus_bits, self.depth = config.weight_bus_bits, depth
        self.words = ceil_divide(bits, self.bus_bits)
        super().__init__({"word": In(self.bus_bits), "accept": In(1), "last": In(1), "head": Out(bits), "take": In(1)})

    def elaborate(self, platform) -> Module:
        """A shift register of all words but the last, and a queue."""
        m = Module()
        kept = Signal(self.bus_bits * (self.words - 1))
        whole = Cat(kept, self.word)
        if self.words > 1:
            with m.If(self.accept):
                m.d.sync += kept.eq(whole[self.bus_bits :])
        m.submodules.queue = queue = SyncFIFO(width=len(self.head), depth=self.depth)
        m.d.comb += [
            queue.w_data.eq(whole),
            queue.w_en.eq(self.accept & self.last),
            queue.r_en.eq(self.take),
            self.head.eq(queue.r_data),
        ]
        return m


class TileShifter(Component):
    """Power-of-two scales: a tile's column totals are shifted left by its exponents on their way to the accumulator.

    Latency one register behind the array.

    Members
    -------
    word, accept, last_exponents_beat : words of the weight stream, and the last of a tile's exponents.
    last_in_tile : this edge issues the last vector of a tile.
    totals : from the array or its plane weights, ``config.total_stages`` edges after their issue.
    shifted : one edge later.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(
            {
                "word": In(config.weight_bus_bits),
                "accept": In(1),
                "last_exponents_beat": In(1),
                "last_in_tile": In(1),
                "totals": In(weighted_layout(config)),
                "shifted": Out(addends_layout(config)),
            }
        )

    def elaborate(self, platform) -> Module:
        """The queue of exponents, which a tile's last totals take from, and a shifter per column."""
        m = Module()
        config = self.config
        layout = exponents_layout(config)
        m.submodules.queue = queue = ScaleQueue(config, layout.size, config.tiles_in_flight)
        exponents = Signal(layout)
        end = delayed(m, self.last_in_tile, 1 + config.array_stages + config.digit_stages, "end")
        m.d.comb += [
            queue.word.eq(self.word),
            queue.accept.eq(self.accept),
            queue.last.eq(self.last_exponents_beat),
            queue.take.eq(end),
            exponents.as_value().eq(queue.head),
        ]
        for index in range(config.cols):
            m.d.sync += self.shifted[index].eq(self.totals[index] << exponents[index])
        return m


class ActivationSum(Component):
    """The sum of each vector, in time with the accumulator's addends: what an output's offset is multiplied with.

    Members
    -------
    vector, issue : an activation vector, and whether this edge accepts it.
    skip : count this vector as 0 (a further plane sees the same activations again).
    total : ``1 + config.total_stages`` edges later.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(
            {"vector": In(vector_layout(config)), "issue": In(1), "skip": In(1), "total": Out(total_shape(config))}
        )

    def elaborate(self, platform) -> Module:
        """The vector register, a tree of additions with a register every few levels, then mere registers."""
        m = Module()
        config = self.config
        levels_at_once = ceil_divide((config.rows - 1).bit_length(), config.total_stages)
        values: list[Value] = []
        for lane in range(config.rows):
            x = Signal(signed(ACTIVATION_BITS), name=f"x{lane}")
            with m.If(self.issue):
                m.d.sync += x.eq(Mux(self.skip, 0, self.vector[lane].as_signed()))
            values.append(x)
        for stage in range(config.total_stages):
            for _ in range(levels_at_once):
                values = [sum(values[i + 1 : i + 2], start=values[i]) for i in range(0, len(values), 2)]
            registers = [Signal(value.shape(), name=f"sum{stage}_{index}") for index, value in enumerate(values)]
            m.d.sync += [register.eq(value) for register, value in zip(registers, values, strict=True)]
            values = list(registers)
        m.d.comb += self.total.eq(values[0])
        return m
