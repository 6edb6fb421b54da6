"""A real LLaMA writes with every decoder linear executed by the RTL, and the simulator's cycles beside the RTL's.

The core is compiled by Verilator; each product's integers are compared with the golden model's, each product's cycle
counter with the numba simulation of the same GEMM, and the tokens with those of the golden model alone.
"""

import json
import time
from argparse import Namespace
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
from rich.console import Console

from hw.config import ArrayConfig, load_array
from hw.errors import InputError
from hw.golden import gemm
from hw.job import CoreJob
from hw.simulation.verilated import VerilatedCore, build_core
from quant.integer_llama import IntegerLlama
from quant.llama2c import Llama2cTokenizer, read_header
from quant.shapes import Gemm
from sim.gemm.cycles import count_cycles

__all__ = ["Count", "RtlEngine", "demo", "piece_text"]

_HINT = "give a llama2.c checkpoint, as stories260K.bin of huggingface.co/karpathy/tinyllamas with its tok512.bin"


class Count(NamedTuple):
    """What the products of one kind of linear took."""

    products: int = 0
    macs: int = 0
    cycles: int = 0  # by the RTL's counter
    predicted: int = 0  # by the simulator


class RtlEngine:
    """An engine for ``IntegerLlama``: runs products on the Verilated core, checks and counts them.

    ``counts``: per kind of linear.
    """

    def __init__(self, core: VerilatedCore):
        self.core, self.counts = core, {}

    def __call__(self, kind: str, q: np.ndarray, trits: np.ndarray) -> np.ndarray:
        """``q @ trits.T`` on the RTL: int8 ``(m, k)``, int8 ``(n, k)`` -> int64 ``(m, n)``.

        Raises:
            RuntimeError: integers or cycles differ from golden model or simulator: a defect.
        """
        product, shape = self.core.run(CoreJob(q, trits[None])), Gemm(q.shape[0], *trits.shape)
        if not np.array_equal(product.results, gemm(q, trits)):
            raise RuntimeError(f"{kind}: the RTL's integers differ from the golden model's")
        predicted = _predicted(shape, self.core.config)
        if product.counters["cycles"] != predicted:
            raise RuntimeError(f"{kind}: the RTL took {product.counters['cycles']} cycles, the simulator {predicted}")
        before = self.counts.get(kind, Count())
        self.counts[kind] = Count(
            before.products + 1,
            before.macs + shape.macs,
            before.cycles + product.counters["cycles"],
            before.predicted + predicted,
        )
        return product.results

    @property
    def total(self) -> Count:
        """All kinds together."""
        return Count(*map(sum, zip(*self.counts.values(), strict=True)))


@lru_cache(maxsize=1024)
def _predicted(shape: Gemm, array: ArrayConfig) -> int:
    return count_cycles(shape, array).cycles


def piece_text(piece: bytes) -> str:
    """What a token prints as; ``<0x0A>`` is a raw byte."""
    raw = bytes([int(piece[3:5], 16)]) if piece.startswith(b"<0x") else piece
    return raw.decode(errors="replace")


def demo(options: Namespace) -> None:
    """Quantize, compile, write, compare, and print.

    Raises:
        InputError: no checkpoint, an array that cannot run it, or a missing tool.
    """
    if options.tokens < 1:
        raise InputError(f"tokens must be at least 1, not {options.tokens}")
    if not options.model.is_file():
        raise InputError(f"model {str(options.model)!r} is no file with weights: {_HINT}")
    shape, config = read_header(options.model), load_array(options.array)
    if config.options or config.structure.outputs_stationary:
        raise InputError(f"array {config.name!r} must be a tree that gives plain sums of one plane")
    config.check_k(max(shape.hidden_size, shape.intermediate_size), "demo")
    pieces = Llama2cTokenizer(options.model.with_name(f"tok{shape.vocab_size}.bin"), shape.vocab_size).pieces
    console, say = Console(stderr=True), partial(print, end="", flush=True)
    with console.status("quantizing the decoder's linears into two ternary planes"):
        reference = IntegerLlama(options.model, lambda _, q, trits: gemm(q, trits))
    with console.status(f"compiling {config.rows} lanes x {config.cols} columns with Verilator (once)"):
        program = build_core(config)
    with VerilatedCore(config, program) as core:
        engine, started, written = RtlEngine(core), time.perf_counter(), []
        for token in reference.anew(engine).write(options.tokens, options.seed):
            written.append(token)
            if not options.json:
                say(piece_text(pieces[token]))
        seconds = time.perf_counter() - started
    same = written == list(reference.write(options.tokens, options.seed))
    if options.json:
        text = "".join(piece_text(pieces[token]) for token in written)
        counts = {kind: count._asdict() for kind, count in engine.counts.items()} | {"total": engine.total._asdict()}
        print(json.dumps({"tokens": written, "text": text, "same_tokens": same, "seconds": seconds, "counts": counts}))
    else:
        _print_counts(engine, same, options.tokens, seconds)
    if not same:
        raise RuntimeError("the tokens differ from those of the golden model")


def _print_counts(engine: RtlEngine, same: bool, tokens: int, seconds: float) -> None:
    """One line per kind of linear: what the RTL counted and what the simulator said."""
    print(f"\n\n{'linear':>10} {'products':>9} {'MACs':>11} {'RTL cycles':>11} {'simulator':>11}")
    for kind, count in (*sorted(engine.counts.items()), ("total", engine.total)):
        print(f"{kind:>10} {count.products:9} {count.macs:11} {count.cycles:11} {count.predicted:11}")
    print(
        f"{tokens} tokens in {seconds:.1f} s; integers and cycles equal in every product, "
        f"tokens {'equal to' if same else 'OTHER than'} the golden model's"
    )
