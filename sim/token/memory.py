"""Memory and clock that a token budget is told for, as options give them."""

import math
from argparse import ArgumentParser, Namespace, _ArgumentGroup
from typing import TYPE_CHECKING, NamedTuple, Self

from hw.errors import InputError
from hw.memory.chip import SdramChip, check_ratio, load_chip
from hw.program.image import Image

if TYPE_CHECKING:
    from sim.token.port import Memory

__all__ = ["MOST_LATENCY", "TokenMemory", "add_memory_options", "check_memory"]

MOST_LATENCY = 4096  # edges; 65 us at the default clock, a thousand times what a DRAM takes
_MOST_WORD_EDGES = 64
_LATENCY, _MHZ = 8, 62.5
_FORM = "sdram:CHIP@MHZ[xN]"


def add_memory_options(parser: ArgumentParser | _ArgumentGroup) -> None:
    """``--latency``, ``--word-edges``, ``--memory`` and ``--mhz``."""
    parser.add_argument(
        "--latency", type=int, metavar="N", help=f"edges from a request to memory's first word (default: {_LATENCY})"
    )
    parser.add_argument(
        "--word-edges", type=int, metavar="N",
        help="edges per memory word, for a memory that is slower than the port (default: 1)",
    )  # fmt: skip
    parser.add_argument(
        "--memory", metavar=_FORM,
        help="instead of these two: the SDRAM controller with a chip, edge by edge, on the machine's clock; with xN "
        "behind it, such as sdram:as4c16m16sa-7@40x3, on a clock N times as fast; chips: tritforge memory --help",
    )  # fmt: skip
    parser.add_argument(
        "--mhz", type=float, metavar="F",
        help=f"clock that tokens per second are told for (default: {_MHZ}, or that of --memory)",
    )  # fmt: skip


def check_memory(latency: int, mhz: float) -> None:
    """Refuse a latency in edges, or a clock, that no memory has.

    Raises:
        InputError: a latency of no edge or of more than ``MOST_LATENCY``, a clock that is not above 0 and finite.
    """
    if not 1 <= latency <= MOST_LATENCY:
        raise InputError(f"--latency must be 1 to {MOST_LATENCY} edges, not {latency}")
    if not (mhz > 0 and math.isfinite(mhz)):
        raise InputError(f"--mhz must be above 0 and finite, not {mhz:g}")


class TokenMemory(NamedTuple):
    """A memory behind the machine's port, and the clock.

    ``latency`` in edges and ``word_edges`` of a pattern, or ``chip`` behind its controller, both ``ratio`` times as
    fast as the machine.
    """

    latency: int
    word_edges: int
    chip: SdramChip | None
    clock_hz: float  # of the machine
    ratio: int = 1

    @classmethod
    def of(cls, options: Namespace) -> Self:
        """The memory that options name.

        Raises:
            InputError: a latency of no edge or of more than ``MOST_LATENCY``, a word on no edge or on fewer than every
                64th, a clock that is not above 0 and finite or that the chip does not reach, a ratio of clocks that is
                none, an unknown chip, a pattern beside a chip.
        """
        latency = _LATENCY if options.latency is None else options.latency
        word_edges = 1 if options.word_edges is None else options.word_edges
        check_memory(latency, _MHZ if options.mhz is None else options.mhz)
        if not 1 <= word_edges <= _MOST_WORD_EDGES:
            raise InputError(f"--word-edges must be 1 to {_MOST_WORD_EDGES}, not {word_edges}")
        if options.memory is None:
            return cls(latency, word_edges, None, 1e6 * (options.mhz or _MHZ))
        for name in ("latency", "word_edges", "mhz"):
            if getattr(options, name) is not None:
                raise InputError(f"--{name.replace('_', '-')} must be left out with --memory, which tells it")
        kind, colon, rest = options.memory.partition(":")
        name, at, clocks = rest.rpartition("@")
        clock, times, count = clocks.partition("x")
        try:
            mhz, ratio = float(clock), int(count) if times else 1
        except ValueError:
            mhz, ratio = math.nan, 1
        if kind != "sdram" or not (colon and at) or not (mhz > 0 and math.isfinite(mhz)):
            raise InputError(f"--memory must be {_FORM}, not {options.memory!r}")
        chip = load_chip(name)
        check_ratio("--memory", chip, 1e6 * mhz, ratio)  # refused before anything is compiled
        return cls(0, 0, chip, 1e6 * mhz, ratio)

    @property
    def stalls(self) -> bytes:
        """The pattern of a memory that gives or takes a word on one of so many edges; empty: on every edge."""
        return bytes([1] + [0] * (self.word_edges - 1)) if self.word_edges > 1 else b""

    def timing(self, image: Image) -> "Memory":
        """Behind reset, for the words of a program.

        Raises:
            InputError: the program takes more memory than the chip has.
        """
        from sim.token.port import pattern, sdram_memory  # loads numba

        if self.chip is None:
            return pattern(self.latency, self.stalls)
        needed = image.header.memory_words * image.machine.word_bytes
        if needed > self.chip.bytes:
            raise InputError(
                f"memory of the program must be at most the {self.chip.bytes:,} bytes of {self.chip.name}, not "
                f"{needed:,}: another chip, fewer digits of the table or --weight-packing 5in8"
            )
        return sdram_memory(self.chip, self.ratio * self.clock_hz, image.machine.array.weight_bus_bits, self.ratio)
