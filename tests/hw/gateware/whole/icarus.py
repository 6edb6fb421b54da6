"""Verilog of the whole-token machine under Icarus, in ``data/bench.v``: tokens, stalls, and resets on any edge."""

import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hw.program.image import Image
from hw.program.instructions import OPERATIONS

__all__ = ["Run", "run_icarus"]

_BENCH = Path(__file__).parent / "data" / "bench.v"
_NAMES = {operation.code: name for name, operation in OPERATIONS.items()}
_NEVER = 0xFFFFFFFF


class Run(NamedTuple):
    """From one reset to the next. ``cut``: that reset came before the tokens were through."""

    answers: list[int]
    trace: list[tuple[str, int]]  # operation and cycles of every instruction
    status: int
    cut: bool


def run_icarus(
    text: str, image: Image, tokens: list[tuple[int, bool]], folder: Path, latency: int = 4, stalls: list[int] = (),
    cuts: list[int | None] = (None,), position: int = 0,
) -> tuple[list[Run], np.ndarray]:  # fmt: skip
    """Runs of the same tokens on Verilog ``text``, and the memory at last; ``cuts``: per run the edge of its reset."""
    header, width = image.header, 8 * image.machine.word_bytes
    memory = np.zeros(header.memory_words * image.machine.word_bytes, np.uint8)
    memory[: len(image.memory)] = image.memory
    words = [word[::-1].tobytes().hex() for word in memory.reshape(header.memory_words, -1)]
    files = {
        "machine.v": text,
        "memory.hex": "\n".join(words),
        "stalls.bin": "\n".join(map(str, stalls or [1])),
        "tokens.hex": "\n".join(f"{token | wanted << 20:x}" for token, wanted in tokens),
        "cuts.hex": "\n".join(f"{_NEVER if cut is None else cut:x}" for cut in cuts),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(content + "\n")
    sizes = {
        "WIDTH": width, "DEPTH": header.memory_words, "LATENCY": latency, "STALLS": len(stalls or [1]),
        "TOKENS": len(tokens), "RUNS": len(cuts), "POSITION": position,
    }  # fmt: skip
    given = [f"-Pbench.{name}={value}" for name, value in sizes.items()]
    _call(["iverilog", "-g2005-sv", "-o", "bench.vvp", *given, "-s", "bench", str(_BENCH), "machine.v"], folder)
    runs = list(_runs(_call(["vvp", "-n", "bench.vvp"], folder)))
    lines = [line for line in (folder / "after.hex").read_text().splitlines() if not line.startswith("//")]
    after = np.stack([np.frombuffer(bytes.fromhex(line), np.uint8)[::-1] for line in lines])
    return runs, after


def _runs(text: str):
    answers, trace, status = [], [], 0
    for line in text.splitlines():
        kind, *numbers = line.split()
        if kind == "retired":
            trace.append((_NAMES[int(numbers[0])], int(numbers[1])))
        elif kind == "answer":
            answers.append(int(numbers[0]))
        elif kind == "status":
            status = int(numbers[0])
        elif kind in ("end", "cut"):
            yield Run(answers, trace, status, kind == "cut")
            answers, trace, status = [], [], 0
        else:
            raise AssertionError(f"the bench said {line!r}")


def _call(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-500:]
    return done.stdout
