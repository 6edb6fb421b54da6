"""``tritforge host --whole``: load a program onto a board, send a prompt, show tokens as they come."""

import json
import os
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

from hw.errors import InputError
from hw.host.line import LinkError, SerialLine
from hw.host.whole.loading import Loaded, load_memory
from hw.host.whole.results import RUNS, WholeRun, add_run
from hw.host.whole.session import TOKEN_TIMEOUT_S, Answer, MachineSession, check_image
from hw.program.image import CONFIG_FILE, Image, load_image
from hw.program.interpreter import Interpreter
from hw.progress import stage_bars

__all__ = ["WHOLE_ONLY", "Text", "add_whole_host", "run_whole"]

WHOLE_ONLY = ("loaded", "ids", "check", "add")  # options that mean nothing to a board with an array
_HALF = "\ufffd"  # what the bytes of an unfinished character decode to


class Text(Protocol):
    """A model's tokenizer, where there is one."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a text."""

    def decode(self, tokens: list[int]) -> str:
        """The text of token ids."""


def add_whole_host(parser: ArgumentParser) -> None:
    """Options of ``host`` for a board with a whole-token machine."""
    group = parser.add_argument_group("a board with a whole-token machine")
    group.add_argument(
        "--whole", type=Path, metavar="DIR",
        help="what `tritforge program` wrote: load it (what the memory holds already is skipped) and write tokens",
    )  # fmt: skip
    group.add_argument(
        "--loaded", action="store_true",
        help="the program lies in memory already: compare its begin and end alone (simulated boards sum slowly)",
    )  # fmt: skip
    group.add_argument("--ids", metavar="N,N,...", help="the prompt as token ids (default: 1)")
    group.add_argument(
        "--tokens", type=int, default=60, metavar="N", help="tokens to write; 0: only load (default: 60)"
    )
    group.add_argument(
        "--check", action="store_true", help="compare every token with the program's golden interpreter, in integers"
    )
    group.add_argument(
        "--add", type=Path, nargs="?", const=RUNS, metavar="FILE",
        help=f"with --check and --config: add the run to a results file (without FILE: {RUNS})",
    )  # fmt: skip
    group.add_argument(
        "--token-timeout", type=float, default=TOKEN_TIMEOUT_S, metavar="SECONDS",
        help=f"seconds to wait for a token before the board is given up (default: {TOKEN_TIMEOUT_S:g})",
    )  # fmt: skip


def run_whole(options: Namespace, prompt: Sequence[int] | None, text: Text | None, baud: int, described: dict) -> None:
    """Load, run, print; ``described``: the board's ``config.json``.

    Raises:
        InputError: bad options, a program that is not for this board; LinkError: the line, memory or machine fails.
    """
    if options.tokens < 0:
        raise InputError(f"--tokens must be 0 or more, not {options.tokens}")
    if not options.token_timeout > 0:
        raise InputError(f"--token-timeout must be above 0 seconds, not {options.token_timeout:g}")
    if options.check and not options.tokens:
        raise InputError("--check must come with 1 --tokens or more, not 0: there is nothing to compare")
    if options.add and not (options.check and described.get("board") and options.tokens > 1):
        raise InputError("--add must come with --check, 2 --tokens or more, and --config of a board's folder")
    image = load_image(options.whole)
    prompt = _ids(options.ids) if prompt is None else list(prompt)
    _check_prompt(prompt, options.tokens, image)
    golden = _golden(image, prompt) if options.check else None
    with closing(SerialLine(options.port, baud)) as line:
        session = MachineSession(line, options.timeout)
        check_image(image, session.hello)
        with stage_bars() as report:
            loaded = load_memory(session, image, report, options.loaded)
        if not options.json:
            _say_loaded(loaded, session)
        session.run()
        started = time.monotonic()
        answers, times = [], []
        shown = "" if options.json or text is None else text.decode(prompt)
        print(shown, end="", flush=True)
        for answer in session.generate(prompt, options.tokens, options.token_timeout) if options.tokens else ():
            if golden is not None and answer.token != (wanted := next(golden)):
                raise LinkError(f"token {len(answers) + 1} is {answer.token} on the board, and {wanted} by the program")
            answers.append(answer)
            times.append(time.monotonic() - started)
            if not options.json:
                shown = _say(answer, [*prompt, *(one.token for one in answers)], text, shown)
        status = session.status()
    _summary(options.json, loaded, answers, times, session, status.saturated, text)
    if golden is not None and not options.json:
        print("every token is that of the program's golden interpreter", file=sys.stderr)
    if options.add:
        add_run(options.add, _run_of(options, image, len(prompt), answers, session, baud, described))


def _golden(image: Image, prompt: Sequence[int]) -> Iterator[int]:
    """Greedy tokens behind a prompt, by the interpreter of the program."""
    interpreter = Interpreter(image)
    for token in prompt[:-1]:
        interpreter.step(token, wanted=False)
    token = prompt[-1]
    while True:
        token = interpreter.step(token)
        yield token


def _run_of(
    options: Namespace, image: Image, prompt: int, answers: list[Answer], session: MachineSession, baud: int,
    described: dict,
) -> WholeRun:  # fmt: skip
    """The record of a run."""
    machine, memory = image.machine, described.get("memory", {})
    memory_hz = memory.get("clock_hz", session.hello.clock_hz)
    faster = f" at {memory_hz / 1e6:g} MHz" if memory_hz != session.hello.clock_hz else ""
    simulated = os.path.realpath(options.port).startswith("/dev/pts/")
    model = json.loads((options.whole / CONFIG_FILE).read_text(encoding="utf-8")).get("model", options.whole.name)
    later = [answer.cycles for answer in answers[1:]]
    return WholeRun(
        board=described["board"]["name"],
        model=model,
        machine=f"{machine.array.rows} x {machine.array.cols}",
        lanes=machine.lanes,
        packing=machine.weight_packing,
        memory=(memory.get("chip") or memory.get("kind", "unknown")) + faster,
        clock_hz=session.hello.clock_hz,
        baud=baud,
        configuration=f"{session.hello.configuration:016x}",
        image_bytes=len(image.memory),
        word_bytes=machine.word_bytes,
        prompt=prompt,
        tokens=len(answers),
        first_cycles=answers[0].cycles,
        cycles=sum(later) / len(later),
        played_on="simulated board" if simulated else "board",
    )


def _ids(words: str | None) -> list[int]:
    """The prompt of ``--ids``."""
    try:
        return [1] if words is None else [int(word) for word in words.split(",")]
    except ValueError:
        raise InputError(f"--ids must be token ids with commas between them, not {words!r}") from None


def _check_prompt(prompt: Sequence[int], count: int, image: Image) -> None:
    """Refuse a prompt that the program cannot take."""
    header = image.header
    if not prompt:
        raise InputError("prompt must hold at least a token, not none")
    if bad := [token for token in prompt if not 0 <= token < header.vocabulary]:
        raise InputError(f"prompt must hold tokens 0 to {header.vocabulary - 1}, not {bad[0]}")
    if len(prompt) + max(1, count) - 1 > header.context:
        raise InputError(
            f"prompt of {len(prompt)} and {count} tokens must fit the program's context of {header.context}: take "
            "fewer, or compile it with a longer --context"
        )


def _say_loaded(loaded: Loaded, session: MachineSession) -> None:
    """A line about the load."""
    hello, skipped = session.hello, loaded.bytes - min(loaded.sent, loaded.bytes)
    print(
        f"machine {hello.configuration:016x} at {hello.clock_hz / 1e6:g} MHz, {hello.memory_bytes} bytes of memory; "
        f"image {loaded.bytes} bytes: {loaded.sent} sent, {skipped} there already, {loaded.repeated} stretches again, "
        f"{loaded.seconds:.1f} s",
        file=sys.stderr,
    )


def _say(answer: Answer, tokens: list[int], text: Text | None, shown: str) -> str:
    """Print what a token adds; what has been shown then."""
    if text is None:
        print(answer.token, end=" ", flush=True)
        return shown
    whole = text.decode(tokens)
    if whole.endswith(_HALF):
        return shown
    print(whole[len(shown) :], end="", flush=True)
    return whole


def _summary(
    as_json: bool, loaded: Loaded, answers: list[Answer], times: list[float], session: MachineSession, saturated: bool,
    text: Text | None,
) -> None:  # fmt: skip
    """How fast it was, by the board's clock and by the host's."""
    cycles = [answer.cycles for answer in answers]
    later = cycles[1:] or cycles  # the first one is the whole prompt's
    clock_hz = session.hello.clock_hz
    board_rate = len(later) * clock_hz / sum(later) if sum(later) else 0.0
    seconds = times[-1] if times else 0.0
    tokens = [answer.token for answer in answers]
    if as_json:
        document = {
            "tokens": tokens,
            "cycles": cycles,
            "clock_hz": clock_hz,
            "tokens_per_s_board": board_rate,
            "tokens_per_s_here": len(times) / seconds if seconds else 0.0,
            "first_token_s": times[0] if times else 0.0,
            "saturated": saturated,
            "load": loaded._asdict(),
            "repetitions": session.requests.repetitions,
            "noise_bytes": session.requests.noise,
        }
        print(json.dumps(document | ({"text": text.decode(tokens)} if text else {})))
    elif answers:
        print()
        print(
            f"{len(tokens)} tokens: {sum(later) // len(later)} cycles each, {board_rate:.2f} per second of the "
            f"board's clock of {clock_hz / 1e6:g} MHz; here {len(times) / seconds:.2f} per second, the first after "
            f"{times[0]:.2f} s" + ("; a value was clipped" if saturated else ""),
            file=sys.stderr,
        )
