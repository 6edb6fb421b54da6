"""``python -m hw wave``: every signal of one GEMM as a waveform, and the timing diagram of the documentation."""

import json
from argparse import Namespace, _SubParsersAction
from collections import Counter
from pathlib import Path

import numpy as np

from hw.artifact import write_text
from hw.config import load_array
from hw.errors import InputError

__all__ = ["add_parser"]

_BUILD = Path("build/wave")
_PICTURE = Path("docs/images/timing.svg")


def add_parser(commands: _SubParsersAction) -> None:
    """Add the command."""
    parser = commands.add_parser("wave", help="simulate one GEMM and write a waveform (.vcd) of every signal")
    parser.add_argument("--array", default="4x4", help="a name, RxC, or a .yaml file")
    parser.add_argument("--gemm", default="3x8x6", metavar="MxNxK", help="tokens x outputs x inputs, random operands")
    parser.add_argument("--seed", type=int, default=0, help="of the operands")
    for stream in ("weights", "activations", "results"):
        parser.add_argument(f"--{stream}", default="", metavar="BITS", help="0 or 1 per edge, then all 1: stalls")
    parser.add_argument("--out", type=Path, help="the .vcd file; default: build/wave/ARRAY-MxNxK.vcd")
    parser.add_argument("--docs", action="store_true", help=f"write {_PICTURE} instead")
    parser.add_argument("--json", action="store_true", help="print what every edge did as JSON")
    parser.set_defaults(run=_wave)


def _wave(options: Namespace) -> None:
    # Amaranth is imported only by the command that elaborates.
    if options.docs:
        from hw.simulation.timing_diagram import timing_svg

        write_text(_PICTURE, timing_svg())
        print(_PICTURE)
        return
    from hw.formats import GemmFormat
    from hw.job import CoreJob
    from hw.simulation.waveform import play

    config, (m, n, k) = load_array(options.array), _sizes(options.gemm)
    offers = [_pattern(name, getattr(options, name)) for name in ("weights", "activations", "results")]
    rng = np.random.default_rng(options.seed)
    planes = rng.integers(-1, 2, (config.planes, n, k), dtype=np.int8)
    job = CoreJob(rng.integers(-127, 128, (m, k), dtype=np.int8), planes, GemmFormat(config.planes))
    path = options.out or _BUILD / f"{config.name}-{options.gemm}.vcd"
    edges = play(config, job, offers, path)
    if options.json:
        print(json.dumps({"waveform": str(path), "edges": [edge._asdict() for edge in edges]}))
        return
    causes = ", ".join(f"{name} {count}" for name, count in Counter(edge.cause for edge in edges).items())
    print(f"{path}: {len(edges)} edges ({causes}); open it with GTKWave or Surfer")


def _sizes(text: str) -> tuple[int, int, int]:
    parts = text.split("x")
    if len(parts) != 3 or not all(part.isdigit() and int(part) for part in parts):
        raise InputError(f"gemm must be MxNxK, three numbers above 0 such as 3x8x6, not {text!r}")
    return tuple(map(int, parts))


def _pattern(name: str, text: str) -> str:
    if set(text) - set("01"):
        raise InputError(f"{name} must be a pattern of 0 and 1, not {text!r}")
    return text
