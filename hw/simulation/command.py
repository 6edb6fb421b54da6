"""``tritforge wave`` and ``diagram``: a GEMM or a token as a waveform; a core's blocks as a picture."""

import json
from argparse import ArgumentParser, Namespace
from collections import Counter
from pathlib import Path

import numpy as np

from hw.artifact import file_name, write_text
from hw.config import load_array
from hw.errors import InputError

__all__ = ["MACHINE_PICTURE", "PICTURE", "TOKEN_PICTURE", "add_diagram", "add_wave"]

_WAVES, _DIAGRAMS = Path("build/wave"), Path("build/diagram")
_PICTURE, TOKEN_PICTURE = Path("docs/images/timing.svg"), Path("docs/images/token.svg")
_STREAMS = ("weights", "activations", "results")
_GEMM, _INSTRUCTIONS = "3x8x6", "0-7"
PICTURE, MACHINE_PICTURE = Path("docs/images/core.svg"), Path("docs/images/machine.svg")


def add_wave(parser: ArgumentParser) -> None:
    """Options of ``wave``."""
    parser.add_argument("--array", help="a name, RxC, or a .yaml file (default: 4x4)")
    parser.add_argument(
        "--gemm", metavar="MxNxK", help=f"tokens x outputs x inputs, random operands (default: {_GEMM})"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="seed of the operands (default: 0)")
    for stream in _STREAMS:
        parser.add_argument(f"--{stream}", metavar="BITS", help=f"0 or 1 per edge, then all 1: where {stream} stall")
    parser.add_argument(
        "--program", type=Path, metavar="DIR",
        help="instead of a GEMM, the first token of this program (of `tritforge program`) on its whole-token machine: "
        "a .vcd file of every signal, and beside it an .svg picture of what every edge does",
    )  # fmt: skip
    parser.add_argument("--token", type=int, metavar="ID", help="with --program: the token's id (default: 1)")
    parser.add_argument(
        "--instructions", metavar="FIRST-LAST",
        help=f"with --program: simulate until LAST has ended, draw from FIRST on (default: {_INSTRUCTIONS})",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, metavar="FILE",
        help=f"the .vcd file (default: {_WAVES}/ARRAY-MxNxK.vcd; with --program {_WAVES}/DIR.vcd)",
    )  # fmt: skip
    parser.add_argument("--docs", action="store_true", help=f"write {_PICTURE} and {TOKEN_PICTURE} instead")
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
    # Amaranth is imported only by the commands that elaborate.
    of_gemm = ["array", "gemm", "seed", *_STREAMS]
    if options.docs:
        _refuse(
            options,
            [*of_gemm, "program", "token", "instructions", "out"],
            "with --docs, whose pictures are of examples",
        )
        from hw.simulation.timing_diagram import timing_svg
        from hw.simulation.token_diagram import example_svg

        write_text(_PICTURE, timing_svg())
        write_text(TOKEN_PICTURE, example_svg())
        files = [str(_PICTURE), str(TOKEN_PICTURE)]
        print(json.dumps({"files": files}) if options.json else "\n".join(files))
    elif options.program:
        _refuse(options, of_gemm, "with --program, which is of a machine and a token")
        _wave_token(options)
    else:
        _refuse(options, ["token", "instructions"], "without --program: a GEMM has none")
        _wave_gemm(options)


def _refuse(options: Namespace, names: list[str], why: str) -> None:
    """Refuse the first of these options that is given."""
    if given := [name for name in names if getattr(options, name) is not None]:
        raise InputError(f"--{given[0]} must be left out {why}")


def _wave_gemm(options: Namespace) -> None:
    from hw.formats import GemmFormat
    from hw.job import CoreJob
    from hw.simulation.waveform import play

    gemm, seed = _GEMM if options.gemm is None else options.gemm, options.seed or 0
    config, (m, n, k) = load_array("4x4" if options.array is None else options.array), _sizes(gemm)
    if seed < 0:
        raise InputError(f"seed must be at least 0, not {seed}")
    offers = [_pattern(name, getattr(options, name) or "") for name in _STREAMS]
    rng = np.random.default_rng(seed)
    planes = rng.integers(-1, 2, (config.planes, n, k), dtype=np.int8)
    job = CoreJob(
        rng.integers(-127, 128, (m, k), dtype=np.int8),
        planes,
        GemmFormat(config.planes, digits=config.digits, by_lanes=config.lane_loading),
    )
    path = options.out or _WAVES / f"{file_name(config.name)}-{gemm}.vcd"
    edges = play(config, job, offers, path)
    if options.json:
        print(json.dumps({"waveform": str(path), "edges": [edge._asdict() for edge in edges]}))
        return
    causes = ", ".join(f"{name} {count}" for name, count in Counter(edge.cause for edge in edges).items())
    print(f"{path}: {len(edges)} edges ({causes}); open it with GTKWave or Surfer")


def _wave_token(options: Namespace) -> None:
    from hw.program.image import load_image
    from hw.progress import spinner
    from hw.simulation.token_diagram import token_svg
    from hw.simulation.token_waveform import play_token

    image = load_image(options.program)
    program = image.program()
    first, last = _range(_INSTRUCTIONS if options.instructions is None else options.instructions, len(program))
    path = options.out or _WAVES / f"{file_name(options.program.resolve().name)}.vcd"
    picture = path.with_suffix(".svg")
    if picture == path:
        raise InputError(f"out must be the .vcd file, not {path}: the picture goes beside it")
    token = 1 if options.token is None else options.token
    with spinner(path.stem) as say:
        edges = play_token(image, token, last, waveform=path, say=say)
    write_text(picture, token_svg(image, edges, first))
    if options.json:
        told = {"waveform": str(path), "picture": str(picture), "edges": [edge._asdict() for edge in edges]}
        print(json.dumps(told))
        return
    for edge in edges:
        if edge.counter is not None and edge.runs is not None and edge.runs >= first:
            print(f"{edge.runs:5} {program[edge.runs].operation:<6} {edge.counter:7,} edges")
    print(f"{path}: {len(edges):,} edges; {picture}: those from instruction {first} on")


def _diagram(options: Namespace) -> None:
    if options.docs:
        _refuse(options, ["array", "out"], "with --docs, whose pictures are of one array")
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


def _range(text: str, instructions: int) -> tuple[int, int]:
    first, _, last = text.partition("-")
    if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last) < instructions):
        raise InputError(
            f"instructions must be FIRST-LAST such as {_INSTRUCTIONS}, of the program's 0 to {instructions - 1}, "
            f"not {text!r}"
        )
    return int(first), int(last)


def _pattern(name: str, text: str) -> str:
    if set(text) - set("01"):
        raise InputError(f"{name} must be a pattern of 0 and 1, not {text!r}")
    return text
