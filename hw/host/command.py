"""``tritforge host``: a matrix product, the self-test, or a whole model on a board behind a serial port."""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.box import SIMPLE
from rich.table import Table

from hw.artifact import atomic_path
from hw.errors import InputError
from hw.host.line import LinkError, SerialLine
from hw.host.protocol import BAUD, CAUSES
from hw.host.requests import TIMEOUT_S
from hw.host.selftest import Verdict, cases, run_case
from hw.host.session import Session
from hw.host.whole.command import WHOLE_ONLY, Text, add_whole_host, run_whole
from hw.pages import screen
from hw.progress import stage_bars
from hw.verilog_config import read_config

__all__ = ["add_host", "run_host"]

_WHOLE_BAUD = 3_000_000  # where neither --baud nor --config says


def add_host(parser: ArgumentParser) -> None:
    """Options of ``host``."""
    parser.add_argument("--port", required=True, help="serial port of the board, such as /dev/ttyUSB0 or COM3")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="config.json beside the board's Verilog: baud rate, array to expect"
    )
    parser.add_argument(
        "--baud",
        type=int,
        metavar="N",
        help=f"bits per second (default: that of --config, or {BAUD}; {_WHOLE_BAUD} with --whole)",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=TIMEOUT_S,
        metavar="SECONDS",
        help=f"seconds to wait for an answer (default: {TIMEOUT_S:g})",
    )
    parser.add_argument("--selftest", action="store_true", help="compare products with the golden model")
    parser.add_argument("--weights", type=Path, metavar="FILE", help=".npy of trits, int8 (n, k)")
    parser.add_argument("--activations", type=Path, metavar="FILE", help=".npy of activations, int8 (m, k)")
    parser.add_argument("--out", type=Path, metavar="FILE", help=".npy for the sums, int64 (m, n)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    add_whole_host(parser)
    parser.set_defaults(run=run_host)


def run_host(options: Namespace, prompt: Sequence[int] | None = None, text: Text | None = None) -> None:
    """Open the port, greet the device, do what was asked; ``prompt``, ``text``: of --whole, in place of --ids.

    Raises:
        InputError: bad options or files; LinkError: the line or the device fails; the self-test found a fault.
    """
    given = [options.weights, options.activations, options.out]
    if options.whole and (options.selftest or any(given)):
        raise InputError("--whole must stand without --selftest and operands, which are for a board with an array")
    if any(given) and (options.selftest or not all(given)):
        raise InputError("a product needs --weights, --activations and --out, all three and without --selftest")
    if not options.timeout > 0:
        raise InputError(f"--timeout must be above 0 seconds, not {options.timeout:g}")
    if options.baud is not None and options.baud < 1:
        raise InputError(f"--baud must be at least 1, not {options.baud}")
    if not options.whole and (alone := [name for name in WHOLE_ONLY if getattr(options, name)]):
        raise InputError(f"--{alone[0]} must come with --whole, the program that the board is to run")
    described = _read_config(options.config) if options.config else {}
    if options.whole:
        baud = options.baud or described.get("link", {}).get("baud", _WHOLE_BAUD)
        run_whole(options, prompt, text, baud, described)
        return
    operands = (_load(options.activations), _load(options.weights)) if any(given) else None
    baud = options.baud or described.get("link", {}).get("baud", BAUD)
    with closing(SerialLine(options.port, baud)) as line:
        session = Session(line, options.timeout)
        _check_array(session, described, options.config)
        if operands:
            _product(session, operands, options)
        elif options.selftest:
            _selftest(session, options.json)
        else:
            _show(session, options.json)


def _read_config(path: Path) -> dict:
    """A board's ``config.json``."""
    return read_config(path, "give the one that `tritforge verilog --board` wrote")


def _check_array(session: Session, described: dict, path: Path | None) -> None:
    """Refuse a device that holds another array than ``config.json`` says."""
    expected = described.get("array_sha256", "")[:16]
    found = session.hello.array_sha256.hex()
    if expected and expected != found:
        raise LinkError(
            f"the board holds array {session.config.name} with hash {found}..., and {path} describes {expected}...: "
            "load the bitstream that was built beside it"
        )


def _load(path: Path) -> np.ndarray:
    """An int8 matrix from ``.npy``."""
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: must be a .npy file of int8 ({getattr(error, 'strerror', None) or error})") from None
    if not isinstance(values, np.ndarray) or values.dtype != np.int8 or values.ndim != 2:
        raise InputError(f"{path}: must hold an int8 matrix, not {getattr(values, 'dtype', type(values).__name__)}")
    return values


def _product(session: Session, operands: tuple[np.ndarray, np.ndarray], options: Namespace) -> None:
    """Compute, save the sums, show the counters."""
    product = session.gemm(*operands)
    with atomic_path(options.out) as temporary, open(temporary, "wb") as stream:
        np.save(stream, product.results)
    if options.json:
        print(json.dumps({"out": str(options.out), "counters": product.counters, "repetitions": session.repetitions}))
        return
    _greeting(session)
    print(f"{options.out}: sums {product.results.shape}; cycles {product.counters}")


def _selftest(session: Session, as_json: bool) -> None:
    """Run every case; an error names the first that failed."""
    todo, verdicts = list(cases(session.config)), []
    with stage_bars() as report:
        for case in todo:
            report("self-test", len(verdicts), len(todo))
            verdicts.append(run_case(session, case))
    if as_json:
        body = {"array": session.config.name, "cases": [asdict(v) for v in verdicts]}
        print(json.dumps(body | {"repetitions": session.repetitions, "noise_bytes": session.noise}))
    else:
        _greeting(session)
        screen().print(_table(verdicts))
        print(f"repeated requests: {session.repetitions}, bytes of noise: {session.noise}")
    if bad := [verdict for verdict in verdicts if verdict.fault]:
        raise LinkError(f"self-test: {len(bad)} of {len(verdicts)} cases failed; {bad[0].name}: {bad[0].fault}")


def _show(session: Session, as_json: bool) -> None:
    """Who is there."""
    if as_json:
        print(json.dumps({"array": session.config.model_dump(), "status": session.status()._asdict()}))
        return
    _greeting(session)
    print(f"status: {session.status()}")


def _greeting(session: Session) -> None:
    """One line about the device."""
    hello = session.hello
    print(f"array {hello.rows}x{hello.cols} at {hello.clock_hz / 1e6:g} MHz, hash {hello.array_sha256.hex()}...")


def _table(verdicts: list[Verdict]) -> Table:
    """The self-test on screen."""
    table = Table("case", "m x n x k", "cycles", *(cause.replace("_", "\n") for cause in CAUSES), "verdict", box=SIMPLE)
    for verdict in verdicts:
        counts = (str(verdict.counters[name]) for name in ("cycles", *CAUSES))
        table.add_row(verdict.name, f"{verdict.m} x {verdict.n} x {verdict.k}", *counts, verdict.fault or "equal")
    return table
