"""Random GEMM cases, their run on the core's Verilog under a simulator, and the decoded record."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyosys

from hw.arithmetic.adders import Cells
from hw.config import ArrayConfig
from hw.formats import PLAIN, GemmFormat
from hw.golden import tiles
from hw.job import CoreJob
from hw.trit import tile_stream
from hw.verilog import CORE_NAME, core_verilog
from tests.hw.icarus import run_bench

# Yosys' simulation models of the families' carry cells, and for ECP5 the tables in them.
_SHARE = Path(pyosys.__file__).parent / "share"
VENDOR_MODELS = {
    "portable": [],
    "asic": [],
    "ecp5": [_SHARE / "lattice" / "ccu2c_sim.vh", Path(__file__).parent / "data" / "lut.v"],
    "lut6": [_SHARE / "xilinx" / "cells_sim.v"],
}


@dataclass
class Case:
    """One GEMM with the offers of its three streams: strings of 0 and 1, one per edge, then all 1."""

    q: np.ndarray  # int8 (m, k)
    trits: np.ndarray  # int8 (n, k)
    weight_offers: str = ""
    activation_offers: str = ""
    result_readies: str = ""
    reset_after: int | None = None  # edges, then the core is reset and nothing is recorded
    refused: bool = False  # the descriptor must start nothing
    damaged: bool = False  # the first weight word holds a code that is never written; the sums mean nothing
    sizes: tuple[int, int, int] | None = None  # what the descriptor says, if not the truth
    formats: GemmFormat = PLAIN
    more: np.ndarray | None = None  # int8 (planes - 1, n, k): trits of the planes behind the first
    exponents: np.ndarray | None = None  # (planes, folds, n)
    multipliers: np.ndarray | None = None  # (n,)
    offsets: np.ndarray | None = None  # (n,)

    @property
    def planes(self) -> np.ndarray:
        return self.trits[None] if self.more is None else np.concatenate([self.trits[None], self.more])

    @property
    def job(self) -> CoreJob:
        return CoreJob(self.q, self.planes, self.formats, self.exponents, self.multipliers, self.offsets)

    @property
    def m(self) -> int:
        return self.q.shape[0]

    @property
    def n(self) -> int:
        return self.trits.shape[0]

    @property
    def k(self) -> int:
        return self.q.shape[1]


@dataclass
class Record:
    """What the bench saw: results ``(m, n)``, status, counters, and the valid/ready bits of each edge."""

    results: np.ndarray
    status: int
    illegal_weights: int
    edges: int
    waited: int  # edges that the descriptor waited after the case before
    counters: dict[str, int]
    patterns: dict[str, list[int]] = field(repr=False, default_factory=dict)


def random_offers(rng: np.random.Generator, edges: int) -> str:
    """A stall pattern: none, a steady share, or bursts."""
    kind = rng.integers(4)
    if kind == 0:
        return ""
    if kind == 1:
        return "".join(rng.choice(["0", "1"], size=edges, p=[0.5, 0.5]))
    if kind == 2:
        return "".join(rng.choice(["0", "1"], size=edges, p=[0.85, 0.15]))
    runs = [("0", "1")[i % 2] * int(rng.integers(1, 30)) for i in range(edges // 15 + 1)]
    return "".join(runs)[:edges]


def random_case(rng: np.random.Generator, config: ArrayConfig, stalls: bool = True) -> Case:
    """Sizes around the array's own, so that edge tiles, several folds, columns and token tiles all occur."""
    m = int(rng.choice([1, 1, 2, config.token_tile, config.token_tile + 1, rng.integers(1, 3 * config.token_tile)]))
    n = int(rng.choice([1, config.cols, config.cols + 1, rng.integers(1, 3 * config.cols + 1)]))
    k = int(rng.choice([1, config.rows, config.rows + 1, rng.integers(1, 4 * config.rows + 1)]))
    q = rng.integers(-127, 128, size=(m, k), dtype=np.int8)
    if rng.integers(4) == 0:
        q = rng.choice(np.array([-127, 127], np.int8), size=(m, k))  # the extremes
    trits = rng.integers(-1, 2, size=(n, k), dtype=np.int8)
    if rng.integers(8) == 0:
        trits = np.full((n, k), -1, np.int8)
    offers = [random_offers(rng, 400) if stalls else "" for _ in range(3)]
    return with_formats(rng, config, Case(q, trits, *offers)) if config.options else Case(q, trits, *offers)


def with_formats(rng: np.random.Generator, config: ArrayConfig, case: Case) -> Case:
    """The case with random formats of those that the array has, on scales that keep most results off saturation."""
    planes = int(rng.integers(1, config.planes + 1))
    digits = bool(config.digits and rng.integers(4))
    if digits:  # as many as the accumulator holds, so that K stays what it is
        planes = next((p for p in range(planes, 0, -1) if case.k * (3**p - 1) // 2 <= config.max_k), 1)
    if planes > 1:
        case.more = rng.integers(-1, 2, size=(planes - 1, *case.trits.shape), dtype=np.int8)
        if (case.trits == -1).all():
            case.more[:] = -1
    loading = {"digits": digits, "by_lanes": bool(config.lane_loading and rng.integers(2))}
    if config.group_exponent_bits and rng.integers(4):
        folds = -(-case.k // config.rows)
        case.exponents = rng.integers(0, config.max_exponent + 1, (planes, folds, case.n))
    case.formats = GemmFormat(planes, **loading)
    if config.results == "int8":
        row_scales = bool(rng.integers(2))
        size = 2 ** int(rng.integers(1, 16))
        multipliers, offsets = rng.integers(-size, size, (2, case.n))
        shift = int(rng.choice([0, 1, rng.integers(64), 2 + size.bit_length(), 6 + size.bit_length()]))
        offset = int(offsets[0]) if config.sum_of_x else 0
        case.formats = GemmFormat(planes, row_scales, int(multipliers[0]), offset, shift, **loading)
        if row_scales:
            case.multipliers, case.offsets = multipliers, offsets if config.sum_of_x else None
    return case


def play(config: ArrayConfig, cases: list[Case], folder: Path, cells: Cells = "portable") -> list[Record]:
    """Run ``cases`` sequentially on the Verilog of ``config`` and return what came out."""
    return play_verilog(core_verilog(config, cells), config, cases, folder, VENDOR_MODELS[cells])


def play_verilog(
    text: str, config: ArrayConfig, cases: list[Case], folder: Path, models: Sequence[Path] = ()
) -> list[Record]:
    """Run ``cases`` on a core's Verilog ``text`` with the simulation models of its vendor cells."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / f"{CORE_NAME}.v"
    source.write_text(text)
    (folder / "cases.json").write_text(json.dumps([_bench_case(config, case) for case in cases]))
    environment = {"TRITFORGE_BENCH": str(folder)}
    run_bench([source, *models], CORE_NAME, "tests.hw.gateware.core_bench", folder, environment, tests=1)
    records = json.loads((folder / "records.json").read_text())
    return [_decode(config, case, record) for case, record in zip(cases, records, strict=True) if record]


def weight_words(config: ArrayConfig, case: Case) -> list[int]:
    """The whole weight stream of a GEMM."""
    words = []
    for _, columns, _ in tiles(case.m, case.n, 1, config.token_tile, config.cols, 1):
        for plane, trits in enumerate(case.planes):
            for number, first in enumerate(range(0, case.k, config.rows)):
                tile = np.zeros((config.cols, config.rows), np.int8)
                part = trits[columns, first : first + config.rows]
                tile[: part.shape[0], : part.shape[1]] = part
                if case.formats.by_lanes:  # trit (c, r) is number r * cols + c
                    flat = [tile[c, r] for r in range(config.rows) for c in range(config.cols)]
                    tile = np.array(flat, np.int8)
                words += tile_stream(tile, config.packing, config.weight_bus_bits)
                if config.group_exponent_bits:
                    exponents = [0] * case.n if case.exponents is None else case.exponents[plane, number]
                    words += _numbers(exponents[columns], config.group_exponent_bits, config)
        if case.formats.row_scales:
            pairs = np.stack([case.multipliers, case.offsets], 1) if config.sum_of_x else case.multipliers[:, None]
            words += _numbers(pairs[columns].reshape(-1), 16, config, config.cols * pairs.shape[1])
    if case.damaged:
        words[0] |= {"2bit": 0b10, "5in8": 0xFF}[config.packing]
        words[0] &= ~{"2bit": 0b01, "5in8": 0}[config.packing]
    return words


def _numbers(values: Sequence[int], bits: int, config: ArrayConfig, places: int | None = None) -> list[int]:
    """Bus words that hold ``places`` numbers (as many as columns) of ``bits`` bits, missing ones as 0."""
    texts = [format(int(value) % 2**bits, f"0{bits}b") for value in values]
    text = "".join(reversed(texts)).zfill((places or config.cols) * bits)  # the first number is the rightmost
    text = text.zfill(-(-len(text) // config.weight_bus_bits) * config.weight_bus_bits)
    words = [int(text[i : i + config.weight_bus_bits], 2) for i in range(0, len(text), config.weight_bus_bits)]
    return words[::-1]


def activation_vectors(config: ArrayConfig, case: Case) -> list[int]:
    """The whole activation stream of a GEMM: lane i in bits 8*i .. 8*i + 7."""
    vectors = []
    if config.organisation == "systolic":  # a position of K of all tokens of the tile
        for tokens, _, _ in tiles(case.m, case.n, 1, config.rows, config.cols, 1):
            for position in range(case.k):
                some = case.q[tokens, position]
                vectors.append(int.from_bytes(some.tobytes() + bytes(config.rows - len(some)), "little"))
        return vectors
    for tokens, _, _ in tiles(case.m, case.n, 1, config.token_tile, config.cols, 1):
        for first in [*range(0, case.k, config.rows)] * len(case.planes):
            for token in case.q[tokens, first : first + config.rows]:
                vector = np.zeros(config.rows, np.int8)
                vector[: token.size] = token
                vectors.append(int.from_bytes(vector.tobytes(), "little"))
    return vectors


def descriptor(config: ArrayConfig, case: Case) -> int:
    """The descriptor's payload: sizes of 24 bits, then the formats that the array has."""
    m, n, k = case.sizes or (case.m, case.n, case.k)
    formats, place, payload = case.formats, 72, m | n << 24 | k << 48
    fields = [(formats.planes - 1, {1: 0, 2: 1}.get(config.planes, 3))]
    fields += [(formats.digits, int(config.digits)), (formats.by_lanes, int(config.lane_loading))]
    if config.results == "int8":
        fields += [(formats.row_scales, 1), (formats.shift, 6), (formats.multiplier, 16)]
        fields += [(formats.offset, 16)] if config.sum_of_x else []
    for value, bits in fields:
        payload |= int(value) % 2**bits << place
        place += bits
    return payload


def _bench_case(config: ArrayConfig, case: Case) -> dict:
    column_tiles = -(-case.n // config.cols)
    return {
        "descriptor": hex(descriptor(config, case)),
        "weights": [] if case.refused else [hex(word) for word in weight_words(config, case)],
        "activations": [] if case.refused else [hex(vector) for vector in activation_vectors(config, case)],
        "results": 0 if case.refused else case.m * column_tiles,
        "weight_offers": case.weight_offers,
        "activation_offers": case.activation_offers,
        "result_readies": case.result_readies,
        "reset_after": case.reset_after,
    }


def _decode(config: ArrayConfig, case: Case, record: dict) -> Record:
    bits = 8 if config.results == "int8" else config.accumulator_bits
    more = config.sum_of_x and config.results == "sums"  # the sum of the activations behind the columns
    sums = np.zeros((case.m, -(-case.n // config.cols) * config.cols), np.int64)
    x_sums = np.zeros((case.m, 1), np.int64)
    beats = iter(record["results"])
    for first in range(0, case.m, config.token_tile) if not case.refused else ():
        for column in range(0, case.n, config.cols):
            for token in range(first, min(first + config.token_tile, case.m)):
                beat = int(next(beats), 16)
                for c in range(config.cols + more):
                    value = beat >> c * bits & (1 << bits) - 1
                    value -= (1 << bits) * (value >> bits - 1)
                    if c < config.cols:
                        sums[token, column + c] = value
                    else:
                        x_sums[token] = value
    patterns = {name: record[name] for name in ("weights_valid", "activations_valid", "results_ready")}
    return Record(
        np.concatenate([sums[:, : case.n], x_sums], axis=1) if more else sums[:, : case.n],
        record["status"],
        record["illegal_weights"],
        record["edges"],
        record["waited"],
        record["counters"],
        patterns,
    )
