"""A folder with small real things under the names that pages use: models, texts, runs, cells, documents, layers."""

import gzip
import json
import re
import shutil
import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import yaml

from tests.pages.commands import BLOCK, PAGES, ROOT

__all__ = ["Stage"]

_STORIES = {"dim": 32, "hidden": 64, "layers": 1, "heads": 2, "kv_heads": 1, "vocab": 288, "context": 256}
_NAMES = ("ada", "alan", "annie", "barbara", "charles", "edsger", "grace", "joan", "john", "konrad", "radia", "tony")
_CELLS = ROOT.parent / "shared" / "data" / "liberty"  # real libraries, where a checkout has them beside it
_LAYERS = """
- id: 0
  operator_type: Gemm
  equation: O[b][k][n]+=I[b][c][n]*W[k][c]
  loop_dims: [B, K, C, N]
  loop_sizes: [1, 64, 96, 49]
"""
_PROBLEM = """
{% set BATCH_SIZE = BATCH_SIZE | default(4) %}
workload:
  rank_sizes: {M: {{ BATCH_SIZE * 49 }}, N: 64, K: 96}
  einsums:
  - "Y[m, n] = X[m, k] * W[k, n]"
"""
_LAYER = """
workload = {0: {"operator_type": "Conv", "equation": "O[b][k][n]+=W[k][c]*I[b][c][n]",
                "loop_dim_size": {"B": 1, "K": 64, "C": 96, "N": 49}}}
"""
_SCALE_SIM = """
[general]
run_name = small
[architecture_presets]
ArrayHeight: 12
ArrayWidth: 14
IfmapSramSzkB: 108
FilterSramSzkB: 108
OfmapSramSzkB: 108
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
Bandwidth: 10
Dataflow: ws
MemoryBanks: 1
[run_presets]
InterfaceBandwidth: CALC
"""


class Stage:
    """``folder``: where commands run. What a command names is made before it runs, each once."""

    def __init__(self, folder: Path, call: Callable[..., None]):
        self.folder, self._call = folder, call
        self._makers: dict[str, Callable[[Path], object]] = {
            "tiny": _byte_model,
            "tiny.gguf": self._gguf,
            "bitnet": _bitnet,
            "bitnet.gguf": self._native_gguf,
            "stories260K.bin": _llama2c,
            "finished": self._finished,
            "measured.json": self._measured,
            "law.safetensors": self._task,
            "build/boards/icebreaker-4x2/config.json": lambda path: call(
                "verilog", "--board", "icebreaker", "--out", str(path.parent)
            ),
            "law": self._swapped,
            "simulated": lambda path: call("sim", *_SMALL, "--out", path.name),
            "build/programs/stories260K-16x16": self._program,
            "text.txt": lambda path: path.write_text(" the and you thought that" * 600),
            "words.txt": lambda path: path.write_text("abcdefghij klmnop " * 60),
            "names.txt": lambda path: path.write_text("\n".join(_NAMES)),
            "cells.lib.gz": _cells,
            "topology.csv": lambda path: path.write_text("name,m,n,k\nfirst,196,64,576\nsecond,49,128,1152\n"),
            "resnet18.yaml": lambda path: path.write_text(_LAYERS),
            "alexnet.yaml": lambda path: path.write_text(_PROBLEM),
            "workload1.py": lambda path: path.write_text(_LAYER),
            "eyeriss.cfg": lambda path: path.write_text(_SCALE_SIM),
            "job.yaml": lambda path: path.write_text("model: stories260K\narray: 16x16\nprefill: 8\n"),
            "test_my_array.py": lambda path: path.write_text(_snippet("tritforge_case")),
            "q.npy": lambda path: np.save(path, _drawn(-127, 128, (4, 64))),
            "t.npy": lambda path: np.save(path, _drawn(-1, 2, (8, 64))),
            "docs": lambda path: shutil.copytree(ROOT / "docs", path),
            **{name: lambda path, text=text: path.write_text(text) for name, text in _shown().items()},
        }

    def provide(self, words: list[str]) -> None:
        """Make what the words name and the folder lacks, and remove what they are to write."""
        written = {word for before, word in pairwise(words) if before == "--out"}
        written |= {word[4:] for word in words if word.startswith("OUT=")}
        for path in (self.folder / name for name in written):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        text = "\n".join(word for word in words if word.removeprefix("OUT=") not in written)
        for name, make in self._makers.items():
            if re.search(rf"(?<![\w./-]){re.escape(name)}(?![\w-]|[.]\w)", text):
                self._provide(name, make)

    def _provide(self, name: str, make: Callable[[Path], object]) -> Path:
        path = self.folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            make(path)
        return path

    def _need(self, name: str) -> Path:
        return self._provide(name, self._makers[name])

    def _finished(self, path: Path) -> None:
        """A run whose trits fit every format: one plane, groups of 256."""
        for name in ("tiny", "text.txt"):
            self._need(name)
        run = "--model tiny --method gptq --options group=256 --text text.txt --windows 1 --length 64"
        self._call("quant", *run.split(), "--calibration-windows", "1", "--recorded-tokens", "8")
        done = (self.folder / "build" / "models").glob("*/*/manifest.json")
        manifest = max((one for one in done if "gptq" in one.read_text()), key=lambda one: one.stat().st_mtime)
        shutil.copytree(manifest.parent, path)

    def _measured(self, path: Path) -> None:
        self._need("finished")
        self._call("evaluate", "finished", "--tasks", "copy_words", "--shots", "0", "--limit", "2", "--add", path.name)

    def _task(self, path: Path) -> None:
        for name in ("finished", "text.txt"):
            self._need(name)
        self._call("task", "finished", "--calib", "text.txt", "--out", path.name)

    def _swapped(self, path: Path) -> None:
        self._need("law.safetensors")
        self._call("swap", "finished", "law.safetensors", "--out", path.name)

    def _program(self, path: Path) -> None:
        self._need("stories260K.bin")
        self._call("program", "stories260K.bin", "--array", "16x16", "--out", str(path))

    def _gguf(self, path: Path) -> None:
        self._need("finished")
        self._call("export", "finished", "--format", "gguf-f16", "--out", "as-gguf")
        (written,) = (self.folder / "as-gguf").glob("*.gguf")
        shutil.copy(written, path)

    def _native_gguf(self, path: Path) -> None:
        self._need("finished")
        self._call("export", "finished", "--format", "gguf-tq2_0", "--out", "as-ternary-gguf")
        (written,) = (self.folder / "as-ternary-gguf").glob("*.gguf")
        shutil.copy(written, path)


_SMALL = ("--model", "stories260K", "--array", "16x16", "--prefill", "8", "--decode", "2")


def _drawn(low: int, high: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(low, high, shape, dtype=np.int8)


def _byte_model(path: Path) -> None:
    from tests.quant.exports.byte_models import save_byte_llama

    _lengthen(save_byte_llama(path))


def _bitnet(path: Path) -> None:
    from tests.quant.native.bitnet_folders import save_bitnet

    _lengthen(save_bitnet(path, "autobitlinear", "offline"))


def _lengthen(folder: Path) -> None:
    """Give a model a context in which the default request of ``sim`` fits."""
    config = folder / "config.json"
    document = json.loads(config.read_text(encoding="utf-8")) | {"max_position_embeddings": 1024}
    config.write_text(json.dumps(document), encoding="utf-8")


def _llama2c(path: Path) -> None:
    """A random checkpoint as llama2.c writes it, with letters for tokens."""
    dim, hidden, layers, heads, kv_heads, vocab, context = _STORIES.values()
    kv, rng = kv_heads * dim // heads, np.random.default_rng(1)
    gains, wide = [(layers, dim)], [(layers, dim, dim), (layers, kv, dim), (layers, kv, dim), (layers, dim, dim)]
    narrow = [(layers, hidden, dim), (layers, dim, hidden), (layers, hidden, dim)]
    shapes = [(vocab, dim), *gains, *wide, *gains, *narrow, (dim,), (context * dim // heads,)]
    arrays = [rng.normal(1 if shape in ((layers, dim), (dim,)) else 0, 0.15, shape).astype("<f4") for shape in shapes]
    path.write_bytes(struct.pack("<7i", *_STORIES.values()) + b"".join(array.tobytes() for array in arrays))
    pieces = [b"<unk>", b"<s>", b"</s>", *(b"<0x%02X>" % byte for byte in range(256))]
    pieces += [b" ", *(bytes([97 + i]) for i in range(vocab - len(pieces) - 1))]
    entries = b"".join(struct.pack("<fi", 0, len(piece)) + piece for piece in pieces)
    (path.parent / f"tok{vocab}.bin").write_bytes(struct.pack("<i", max(map(len, pieces))) + entries)


def _cells(path: Path) -> None:
    """SKY130 where it lies beside the checkout, or the hand-written library of the tests."""
    real = _CELLS / "sky130_fd_sc_hd__tt_025C_1v80.lib.gz"
    small = ROOT / "tests" / "hw" / "gates" / "flow" / "tiny.lib"
    path.write_bytes(real.read_bytes() if real.is_file() else gzip.compress(small.read_bytes()))


def _snippet(name: str) -> str:
    """The Python of a page in which a name stands."""
    bodies = (body for page in PAGES for _, body in BLOCK.findall(page.read_text(encoding="utf-8")))
    return next(body for body in bodies if name in body)


def _shown() -> dict[str, str]:
    """Documents that pages show whole, by their file's name."""
    found = {}
    for page in PAGES:
        for language, body in BLOCK.findall(page.read_text(encoding="utf-8")):
            if language == "yaml" and isinstance(document := yaml.safe_load(body), dict) and "name" in document:
                found[f"{document['name']}.yaml"] = body
    return found
