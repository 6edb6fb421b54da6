"""WHT: a head by additions, all stages one behind the other (``hw.token.hadamard``)."""

from amaranth import Module, Signal, signed
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from hw.errors import InputError
from hw.token.formats import WORD_BITS

__all__ = ["HadamardTransformer"]


class HadamardTransformer(Component):
    """A block of ``size`` elements per edge, latency log2(size) registers, no multiplier.

    Members
    -------
    words : ``size`` signed words of ``width`` bits, which the caller keeps ``log2(size)`` bits below full.
    result : the transform, not normalized, in as many words.
    """

    multipliers = 0

    def __init__(self, size: int, width: int = WORD_BITS):
        if size < 2 or size & (size - 1):
            raise InputError(f"size of a Hadamard transform must be a power of two of at least 2, not {size}")
        self.size, self.width, self.latency = size, width, size.bit_length() - 1
        layout = data.ArrayLayout(signed(width), size)
        super().__init__({"words": In(layout), "result": Out(layout)})

    def elaborate(self, platform) -> Module:
        """Stage by stage: sums and differences of elements size / 2, then size / 4, ... apart."""
        m = Module()
        values = [self.words[i] for i in range(self.size)]
        step = self.size // 2
        while step:
            stage = [Signal(signed(self.width), name=f"stage{step}_{i}") for i in range(self.size)]
            for i in range(0, self.size, 2 * step):
                for a in range(i, i + step):
                    m.d.sync += [
                        stage[a].eq(values[a] + values[a + step]),
                        stage[a + step].eq(values[a] - values[a + step]),
                    ]
            values, step = stage, step // 2
        m.d.comb += [self.result[i].eq(value) for i, value in enumerate(values)]
        return m
