"""Weight unpacker: one bus word of packed trits becomes trit codes, combinationally, at full rate."""

from amaranth import Cat, Module, Signal
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from hw.arithmetic.lane import TritCode
from hw.config import ArrayConfig
from hw.gateware.ports import trits_per_word

__all__ = ["Unpacker"]

_LARGEST_BYTE = 3**5 - 1  # five trits in a byte


class Unpacker(Component):
    """Decode ``hw/trit.py``'s packing.

    Members
    -------
    word : one bus word.
    trits : ``trits_per_word`` codes in stream order.
    illegal : per byte, it holds a code that is never written (10, or a byte above 242); such trits are undefined.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(
            {
                "word": In(config.weight_bus_bits),
                "trits": Out(data.ArrayLayout(TritCode, trits_per_word(config))),
                "illegal": Out(config.weight_bus_bits // 8),
            }
        )

    def elaborate(self, platform) -> Module:
        """Wires for 2-bit codes, a 243-entry table per byte for five trits in eight bits."""
        m = Module()
        if self.config.packing == "2bit":
            m.d.comb += self.trits.as_value().eq(self.word)
            for index in range(self.config.weight_bus_bits // 8):
                four = [self.trits[4 * index + i] for i in range(4)]
                m.d.comb += self.illegal[index].eq(Cat(trit.negative & ~trit.nonzero for trit in four).any())
            return m
        trits, illegal = [], []
        for index in range(self.config.weight_bus_bits // 8):
            byte = self.word.word_select(index, 8)
            five = Signal(10, name=f"five{index}")
            with m.Switch(byte):
                for value in range(_LARGEST_BYTE + 1):
                    with m.Case(value):
                        m.d.comb += five.eq(_codes(value))
            trits.append(five)
            illegal.append(byte > _LARGEST_BYTE)
        m.d.comb += [self.trits.as_value().eq(Cat(trits)), self.illegal.eq(Cat(illegal))]
        return m


def _codes(value: int) -> int:
    """Five 2-bit codes of a byte, the first trit in the lowest bits."""
    codes = 0
    for i in range(5):
        codes |= (0b11, 0b00, 0b01)[value // 3**i % 3] << 2 * i
    return codes
