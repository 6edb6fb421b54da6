"""``tritforge wave`` and ``diagram``: every signal of one GEMM as a waveform; a core's blocks as a picture."""

import json
from argparse import ArgumentParser, Namespace
from collections import Counter
from pathlib import Path

import numpy as np

from hw.artifact import file_name, write_text
from hw.config import load_array
from hw.errors import InputError

__all__ = ["MACHINE_PICTURE", "PICTURE", "add_diagram", "add_wave"]

_WAVES, _DIAGRAMS = Path("build/wave"), Path("build/diagram")
_PICTURE = Path("docs/images/timing.svg")
PICTURE, MACHINE_PICTURE = Path("docs/images/core.svg"), Path("docs/images/machine.svg")


def add_wave(parser: ArgumentParser) -> None:
    """Options of ``wave``."""
    parser.add_argument("--array", default="4x4", help="a name, RxC, or a .yaml file (default: 4x4)")
    parser.add_argument(
        "--gemm", default="3x8x6", metavar="MxNxK", help="tokens x outputs x inputs, random operands (default: 3x8x6)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the operands (default: 0)")
    for stream in ("weights", "activations", "results"):
        parser.add_argument(
            f"--{stream}", default="", metavar="BITS", help=f"0 or 1 per edge, then all 1: where {stream} stall"
        )
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"the .vcd file (default: {_WAVES}/ARRAY-MxNxK.vcd)")
    parser.add_argument("--docs", action="store_true", help=f"write {_PICTURE} instead")
    parser.add_argument("--json", action="store_true", help="print what every edge did as JSON")
    parser.set_defaults(run=_wave)


def add_diagram(parser: ArgumentParser) -> None:
    """Options of ``diagram``."""
    parser.add_argument("--array", help="a name, RxC, or a .yaml file (default: 4x4; 16x16 with --machine)")
    parser.add_argument(
        "--machine", action="store_true", help="draw the whole-token machine around the array, as it is nested"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"the .svg file (default: {_DIAGRAMS}/ARRAY.svg)")
    parser.add_argument(
        "--docs", action="store_true",
        help=f"write {PICTURE} instead: the array of the timing diagram; with --machine {MACHINE_PICTURE}",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON instead of the file's name")
    parser.set_defaults(run=_diagram)


def _wave(options: Namespace) -> None:
    # Amaranth is imported only by the command that elaborates.
    if options.docs:
        from hw.simulation.timing_diagram import timing_svg

        write_text(_PICTURE, timing_svg())
        print(json.dumps({"files": [str(_PICTURE)]}) if options.json else _PICTURE)
        return
    from hw.formats import GemmFormat
    from hw.job import CoreJob
    from hw.simulation.waveform import play

    config, (m, n, k) = load_array(options.array), _sizes(options.gemm)
    offers = [_pattern(name, getattr(options, name)) for name in ("weights", "activations", "results")]
    rng = np.random.default_rng(options.seed)
    planes = rng.integers(-1, 2, (config.planes, n, k), dtype=np.int8)
    job = CoreJob(
        rng.integers(-127, 128, (m, k), dtype=np.int8),
        planes,
        GemmFormat(config.planes, digits=config.digits, by_lanes=config.lane_loading),
    )
    path = options.out or _WAVES / f"{file_name(config.name)}-{options.gemm}.vcd"
    edges = play(config, job, offers, path)
    if options.json:
        print(json.dumps({"waveform": str(path), "edges": [edge._asdict() for edge in edges]}))
        return
    causes = ", ".join(f"{name} {count}" for name, count in Counter(edge.cause for edge in edges).items())
    print(f"{path}: {len(edges)} edges ({causes}); open it with GTKWave or Surfer")


def _diagram(options: Namespace) -> None:
    if options.docs and (given := [name for name in ("array", "out") if getattr(options, name) is not None]):
        raise InputError(f"--{given[0]} must be left out with --docs, whose pictures are of one array")
    # Amaranth is imported only by the commands that need its shapes.
    if options.machine:
        from hw.program.machine import machine_around
        from hw.simulation.machine_diagram import machine_svg

        config = load_array(options.array or "16x16")
        path = MACHINE_PICTURE if options.docs else options.out or _DIAGRAMS / f"machine-{file_name(config.name)}.svg"
        write_text(path, machine_svg(machine_around(config, None if options.array else 4)))
    else:
        from hw.simulation.block_diagram import block_svg
        from hw.simulation.timing_diagram import example

        config = example()[0] if options.docs else load_array(options.array or "4x4")
        path = PICTURE if options.docs else options.out or _DIAGRAMS / f"{file_name(config.name)}.svg"
        write_text(path, block_svg(config))
    print(json.dumps({"array": config.name, "file": str(path)}) if options.json else path)


def _sizes(text: str) -> tuple[int, int, int]:
    parts = text.split("x")
    if len(parts) != 3 or not all(part.isdigit() and int(part) for part in parts):
        raise InputError(f"gemm must be MxNxK, three numbers above 0 such as 3x8x6, not {text!r}")
    return tuple(map(int, parts))


def _pattern(name: str, text: str) -> str:
    if set(text) - set("01"):
        raise InputError(f"{name} must be a pattern of 0 and 1, not {text!r}")
    return text
