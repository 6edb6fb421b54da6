"""The weight unpacker in the Amaranth simulator: hw/trit.py's bytes, every one of them, and refusal of the others."""

import pytest
from amaranth.sim import Simulator

from hw.config import ArrayConfig
from hw.gateware.unpack import Unpacker
from tests import naive

PACKERS = {"2bit": (naive.pack_2bit, 4), "5in8": (naive.pack_5in8, 5)}


def decode(packing: str, words: list[int], bus_bits: int) -> list[tuple[list[int], int]]:
    """Trits and the illegal flags of each word."""
    dut = Unpacker(ArrayConfig(name="t", rows=1, cols=1, packing=packing, weight_bus_bits=bus_bits))
    out = []

    async def bench(ctx):
        for word in words:
            ctx.set(dut.word, word)
            await ctx.delay(1e-9)
            codes = [(ctx.get(trit.nonzero), ctx.get(trit.negative)) for trit in dut.trits]
            out.append(([{(0, 0): 0, (1, 0): 1, (1, 1): -1}.get(code, 9) for code in codes], ctx.get(dut.illegal)))

    simulator = Simulator(dut)
    simulator.add_testbench(bench)
    simulator.run()
    return out


@pytest.mark.parametrize("packing", PACKERS)
def test_every_legal_byte_decodes_and_every_other_is_flagged(packing):
    pack, per_byte = PACKERS[packing]
    rows = [[(number // 3**i) % 3 - 1 for i in range(per_byte)] for number in range(3**per_byte)]
    expected = {pack(row)[0]: row for row in rows}
    assert len(expected) == 3**per_byte
    for byte, (trits, illegal) in enumerate(decode(packing, list(range(256)), 8)):
        assert illegal == (byte not in expected)
        if byte in expected:
            assert trits == expected[byte]


@pytest.mark.parametrize("packing", PACKERS)
def test_the_first_byte_of_a_word_holds_the_first_trits(packing):
    pack, per_byte = PACKERS[packing]
    row = [1] * per_byte + [-1] * per_byte + [0] * per_byte
    ((trits, illegal),) = decode(packing, [int.from_bytes(bytes(pack(row)), "little")], 24)
    assert (trits, illegal) == (row, 0)
