"""What a GEMM's cycles are counted by: the causes as the kernels number them, and a GEMM's counts by name."""

from typing import NamedTuple

__all__ = [
    "DRAM_STALL",
    "FILL_DRAIN",
    "IDEAL",
    "INPUT_STALL",
    "OUTPUT_STALL",
    "WEIGHT_STALL",
    "CycleCounts",
    "TileCounts",
]

# docs/architecture.md, "Counting"; DRAM_STALL is the part of a weight stall in which the bus waits for DRAM.
IDEAL, FILL_DRAIN, WEIGHT_STALL, INPUT_STALL, OUTPUT_STALL, DRAM_STALL = range(6)


class CycleCounts(NamedTuple):
    """Cycles of one GEMM and their causes, named as in docs/architecture.md; the causes sum to ``cycles``."""

    cycles: int
    ideal: int
    fill_drain: int
    weight_stall: int
    input_stall: int = 0
    output_stall: int = 0


class TileCounts(NamedTuple):
    """Cycles of one GEMM behind a DRAM and their causes, which sum to ``cycles``; and what the DRAM moved."""

    cycles: int
    ideal: int
    fill_drain: int
    weight_stall: int  # the weight bus is the last to be ready
    dram_stall: int  # the round's bytes are
    output_stall: int
    bytes_moved: int
