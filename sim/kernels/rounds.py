"""What ``sim.kernels.tiles`` steps: rounds of weight tiles, a core's timing, what DRAM feeds it; needs no numba."""

from typing import NamedTuple

__all__ = ["NO_DRAM", "TICKS_PER_CYCLE", "CoreTiming", "DramFeed", "Rounds"]

TICKS_PER_CYCLE = 1 << 24  # time of the DRAM stream, so that a rate of any bytes per cycle is an integer


class Rounds(NamedTuple):
    """How a GEMM falls into rounds: token tiles outermost, then column tiles, then folds."""

    tokens: int
    token_tile: int  # tokens of a tile; the last may be short
    column_tiles: int
    folds: int  # of all planes
    column_cores: int = 1
    fold_cores: int = 1


class CoreTiming(NamedTuple):
    """What a core's timing depends on."""

    beats: int  # of a tile on its weight bus
    last_beats: int  # of the last fold's tile, which brings the scales of its rows
    latency: int  # cycles from the last vector to its result, over the cores that reduce
    result_interval: int = 1  # cycles from one result of a column tile to the next
    double_buffer: bool = True  # a tile loads while another is used; else only after the other's last vector


class DramFeed(NamedTuple):
    """What DRAM moves, and how fast: one byte after another, in the order of the rounds."""

    buffer_rounds: int = 1  # rounds that the weight buffer holds; a slot is free after its round's last beat
    ticks_per_byte: int = 0
    ticks_per_written_byte: int = 0
    first_word_ticks: int = 0  # latency of the first fetch
    head_start: int = 0  # cycles before the GEMM at which that starts
    weight_bytes: int = 0  # of a tile
    scale_bytes: int = 0  # more of a last fold's tile
    weights_stay: bool = False  # weights are fetched with the first token tile only, else with each
    input_bytes: int = 0  # per token of a fold
    input_folds: int = 0  # of a column tile that bring inputs: those of the first plane where inputs stay, else all
    inputs_stay: bool = True  # inputs are fetched with the first column tiles only, else with each
    output_bytes: int = 0  # per token of a column tile, charged with the last fold's round


NO_DRAM = DramFeed()
