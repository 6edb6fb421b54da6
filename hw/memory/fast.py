"""``FastController``: the SDRAM controller on a clock of its own, a whole multiple of the machine's."""

from amaranth import DomainRenamer, Module, ResetInserter
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hw.gateware.whole.ports import request_layout, write_layout
from hw.memory.chip import SdramChip
from hw.memory.controller import SdramController
from hw.memory.crossing import Crossing
from hw.memory.pins import PinSignature

__all__ = ["MEMORY_CLOCK", "FastController"]

MEMORY_CLOCK = "memory_clk"  # the port of a top level whose memory's clock comes from outside


class FastController(Component):
    """``SdramController`` in domain ``memory`` behind the port of domain ``sync``, with the same members.

    Parameters
    ----------
    clock_hz : of domain ``memory``, which is the chip's clock too.
    cas, read_edges : as the controller has them.

    Members
    -------
    request, words, writes, ready : in domain ``sync``.
    pins : in domain ``memory``.
    """

    pins_domain = "memory"

    def __init__(
        self,
        chip: SdramChip,
        clock_hz: float,
        word_bits: int,
        cas: int | None = None,
        read_edges: int | None = None,
    ):
        self.controller = SdramController(chip, clock_hz, word_bits, cas, read_edges)
        self.chip, self.word_bits, self.timing = chip, word_bits, self.controller.timing
        super().__init__(
            {
                "request": In(stream.Signature(request_layout())),
                "words": Out(stream.Signature(word_bits)),
                "writes": In(stream.Signature(write_layout(word_bits))),
                "ready": Out(1),
                "pins": Out(PinSignature(chip)),
            }
        )

    def elaborate(self, platform) -> Module:
        """Wires, and the reset of the domain behind the crossing."""
        m = Module()
        m.submodules.crossing = crossing = Crossing(self.word_bits)
        inner = self.controller
        m.submodules.controller = ResetInserter({"memory": crossing.reset})(DomainRenamer("memory")(inner))
        connect(m, flipped(self.request), crossing.request)
        connect(m, flipped(self.writes), crossing.writes)
        connect(m, crossing.words, flipped(self.words))
        connect(m, crossing.inner_request, inner.request)
        connect(m, crossing.inner_writes, inner.writes)
        connect(m, inner.words, crossing.inner_words)
        connect(m, inner.pins, flipped(self.pins))
        m.d.comb += [crossing.inner_ready.eq(inner.ready), self.ready.eq(crossing.ready)]
        return m
