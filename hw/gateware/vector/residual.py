"""The residual stream's addition: ``sat32(stream + branch)`` (``hw.token.decoder``)."""

from amaranth import Module, signed
from amaranth.lib.wiring import Component, In, Out

from hw.gateware.vector.rescale import clipped
from hw.token.formats import WORD_BITS

__all__ = ["ResidualAdder"]


class ResidualAdder(Component):
    """One element per edge, latency 1 register, no multiplier.

    Members
    -------
    stream, branch, result : signed, 32 bits.
    saturated : 1 where the sum did not fit.
    """

    latency, multipliers = 1, 0

    def __init__(self):
        word = signed(WORD_BITS)
        super().__init__({"stream": In(word), "branch": In(word), "result": Out(word), "saturated": Out(1)})

    def elaborate(self, platform) -> Module:
        """Sum, clipped."""
        m = Module()
        value, clips = clipped(self.stream + self.branch, WORD_BITS)
        m.d.sync += [self.result.eq(value), self.saturated.eq(clips)]
        return m
