"""A session with a whole-token machine on a board: who is there, run, tokens in and out, why it stopped."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from hw.host.line import Line, LinkError
from hw.host.requests import TIMEOUT_S, Requests
from hw.host.whole.protocol import ANSWERS, TOKEN_QUEUE, WANTED, WholeHello, WholeKind, WholeStatus
from hw.program.image import Image, config_tag
from hw.program.interpreter import Status

__all__ = ["STOPPED", "TOKEN_TIMEOUT_S", "Answer", "MachineSession", "check_image"]

TOKEN_TIMEOUT_S = 600.0  # for a token; the slowest board takes seconds, a simulated one minutes
_READY_S = 2.0  # until a memory that is being initialised is ready
_IDLE_S = 0.02  # between looks for a token

STOPPED = {  # what a person is told
    Status.NOT_AN_IMAGE: "the memory does not begin with a program: load one",
    Status.OTHER_CONFIGURATION: "the program in memory is for another configuration: load one for this bitstream",
    Status.UNKNOWN_INSTRUCTION: "an instruction has no meaning: load the program again",
    Status.CONTEXT_FULL: "K and V have no room for a further token: compile the program with a longer --context",
    Status.UNKNOWN_TOKEN: "the token is beyond the vocabulary",
    Status.MEMORY_SILENT: "memory did not answer: run it again, and load the bitstream anew if that does not help",
    Status.OUTSIDE_MEMORY: "an address lies beyond the memory: load the program again",
    Status.WRONG_BURST: "an instruction's weights are of another length than it says: load the program again",
}


class Answer(NamedTuple):
    """A next token, and the clock cycles of what was sent since the one before it: a prompt, or that token."""

    token: int
    cycles: int


class MachineSession:
    """Talks to the board at the other end of ``line``; greets it and resets it when made, which keeps its memory.

    Attributes: ``hello``, ``requests``.

    Raises:
        LinkError: nothing, or nothing sensible, answers. InputError: the board holds something else.
    """

    def __init__(self, line: Line, timeout_s: float = TIMEOUT_S):
        self.requests = Requests(line, timeout_s)
        self.hello = WholeHello.unpack(self.requests.ask(WholeKind.HELLO))
        self.reset()

    def reset(self) -> None:
        """Hold the machine, empty the queues, and wait for the memory, which keeps what it holds.

        Raises:
            LinkError: the memory does not become ready.
        """
        self.requests.ask(WholeKind.RESET)
        limit = time.monotonic() + max(_READY_S, 2 * self.requests.timeout_s)
        while not self.status().memory_ready:
            if time.monotonic() > limit:
                raise LinkError("the board's memory does not become ready: load the bitstream anew, or it is broken")

    def status(self) -> WholeStatus:
        """State of machine, memory and link."""
        return WholeStatus.unpack(self.requests.ask(WholeKind.STATUS))

    def run(self) -> None:
        """Let the machine go, at position 0."""
        self.requests.ask(WholeKind.RUN, b"\1")

    def seek(self, position: int) -> None:
        """Go on at another position behind the tokens sent so far, all of which must have been answered."""
        if self.requests.attempt(WholeKind.SEEK, position.to_bytes(4, "little")) is None:
            raise LinkError("the machine has not taken the position before: " + self._state())

    def generate(self, prompt: Sequence[int], count: int, token_timeout_s: float = TOKEN_TIMEOUT_S) -> Iterator[Answer]:
        """Send a prompt, then ``count`` greedy tokens, each as it comes.

        Raises:
            LinkError: the machine stopped, or does not answer in time.
        """
        waiting = deque([*prompt[:-1], prompt[-1] | WANTED])
        position = -1
        for number in range(count):
            deadline = time.monotonic() + token_timeout_s
            while True:
                self._send(waiting)
                data = self.requests.ask(WholeKind.NEXT)
                if data:
                    break
                status = self._checked()
                if status.position != position:  # a token of the prompt has ended
                    position, deadline = status.position, time.monotonic() + token_timeout_s
                if time.monotonic() > deadline:
                    raise LinkError(f"no token in {token_timeout_s:g} s: {self._state()}")
                time.sleep(_IDLE_S)
            if len(data) != ANSWERS.size:
                raise LinkError(f"one answer of {ANSWERS.size} bytes must wait, not {len(data)} bytes: reset the board")
            answer = Answer(*ANSWERS.unpack(data))
            if number + 1 < count:
                waiting.append(answer.token | WANTED)
                self._send(waiting)
            yield answer

    def _send(self, waiting: deque[int]) -> None:
        """Send as many tokens as the machine's queue takes."""
        while waiting:
            some = [waiting.popleft() for _ in range(min(len(waiting), TOKEN_QUEUE // 2))]
            if self.requests.attempt(WholeKind.TOKENS, b"".join(one.to_bytes(4, "little") for one in some)) is None:
                waiting.extendleft(reversed(some))
                return

    def _checked(self) -> WholeStatus:
        """The status of a machine that works.

        Raises:
            LinkError: it stopped.
        """
        status = self.status()
        if status.machine:
            known = Status(status.machine) if status.machine in list(Status) else None
            words = STOPPED.get(known, "unknown to this host: build its bitstream with this tritforge")
            raise LinkError(f"the machine stopped at position {status.position} with status {status.machine}: {words}")
        return status

    def _state(self) -> str:
        """What the board is at, for a message."""
        status = self.status()
        at = f"position {status.position}, {status.cycles} cycles into the token" if status.working else "not working"
        return f"the machine is {'held' if status.held else at}; {status.waiting} answers wait"


def check_image(image: Image, hello: WholeHello) -> None:
    """Refuse a program that is not for this board.

    Raises:
        LinkError: of another machine, or larger than the memory.
    """
    wanted = config_tag(image.machine)
    if hello.configuration != wanted:
        raise LinkError(
            f"the board holds a machine of configuration {hello.configuration:016x}, and the program is for "
            f"{wanted:016x}: load the bitstream of `tritforge bitstream --whole --program DIR`, or compile it again"
        )
    size = image.header.memory_words * image.machine.word_bytes
    if size > hello.memory_bytes:
        raise LinkError(
            f"the program needs {size} bytes of memory (image, K and V), and the board has {hello.memory_bytes}: "
            "compile it with a shorter --context or fewer digits"
        )
