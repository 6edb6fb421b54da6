"""QUANT's element: ``q = rhe((v >> pre) * inverse, k)`` (``hw.token.quantize``); its division is in ``divide``."""

from amaranth import Module, Signal, signed
from amaranth.lib.wiring import Component, In, Out

from hw.arithmetic.registers import delayed
from hw.gateware.vector.rescale import Rescaler
from hw.token.formats import OPERAND_BITS, WORD_BITS

__all__ = ["QuantizerLane"]


class QuantizerLane(Component):
    """One element per edge, latency 4 registers, 1 multiplier (24 x 16 bits).

    Members
    -------
    word : signed, 32 bits.
    pre : 0 to 9, the bits by which the row's maximum exceeds 23.
    inverse, k : of the row: ``(limit << k) // (maximum >> pre)``, 16 bits.
    result : signed, 16 bits, within the limit: no flag.
    """

    latency, multipliers = 4, 1

    def __init__(self):
        super().__init__(
            {
                "word": In(signed(WORD_BITS)),
                "pre": In(4),
                "inverse": In(16),
                "k": In(6),
                "result": Out(signed(16)),
            }
        )

    def elaborate(self, platform) -> Module:
        """Shift, product, rounding."""
        m = Module()
        m.submodules.rescaler = rescaler = Rescaler(OPERAND_BITS + 17, 16, 7)
        operand = Signal(signed(OPERAND_BITS))
        inverse = delayed(m, self.inverse, 1, "inverse")
        m.d.sync += [
            operand.eq(self.word >> self.pre),
            rescaler.value.eq(operand * inverse),
            rescaler.shift.eq(delayed(m, self.k, 1, "k")),
        ]
        m.d.comb += self.result.eq(rescaler.result)
        return m
