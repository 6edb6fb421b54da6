"""``tritforge host --whole``: load a program onto a board, send a prompt, show tokens as they come."""

import json
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

from hw.errors import InputError
from hw.host.line import SerialLine
from hw.host.whole.loading import Loaded, load_memory
from hw.host.whole.session import TOKEN_TIMEOUT_S, Answer, MachineSession, check_image
from hw.program.image import Image, load_image
from hw.progress import stage_bars

__all__ = ["Text", "add_whole_host", "run_whole"]

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
        "--token-timeout", type=float, default=TOKEN_TIMEOUT_S, metavar="SECONDS",
        help=f"seconds to wait for a token before the board is given up (default: {TOKEN_TIMEOUT_S:g})",
    )  # fmt: skip


def run_whole(options: Namespace, prompt: Sequence[int] | None, text: Text | None, baud: int) -> None:
    """Load, run, print.

    Raises:
        InputError: bad options, a program that is not for this board; LinkError: the line, memory or machine fails.
    """
    if options.tokens < 0:
        raise InputError(f"--tokens must be 0 or more, not {options.tokens}")
    if not options.token_timeout > 0:
        raise InputError(f"--token-timeout must be above 0 seconds, not {options.token_timeout:g}")
    image = load_image(options.whole)
    prompt = _ids(options.ids) if prompt is None else list(prompt)
    _check_prompt(prompt, options.tokens, image)
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
            answers.append(answer)
            times.append(time.monotonic() - started)
            if not options.json:
                shown = _say(answer, [*prompt, *(one.token for one in answers)], text, shown)
        status = session.status()
    _summary(options.json, loaded, answers, times, session, status.saturated, text)


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
    clock_hz = session.hello.clock_hz
    board_rate = len(cycles) * clock_hz / sum(cycles) if sum(cycles) else 0.0
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
            f"{len(tokens)} tokens: {sum(cycles) // len(cycles)} cycles each, {board_rate:.2f} per second of the "
            f"board's clock of {clock_hz / 1e6:g} MHz; here {len(times) / seconds:.2f} per second, the first after "
            f"{times[0]:.2f} s" + ("; a value was clipped" if saturated else ""),
            file=sys.stderr,
        )
