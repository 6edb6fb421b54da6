"""A session with a board: requests with repetition, and whole GEMMs in the order that the core takes them."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from hw.config import ArrayConfig
from hw.division import ceil_divide
from hw.host.line import Line, LinkError
from hw.host.protocol import ANSWER, PAYLOAD_BYTES, Code, Frame, FrameReader, Hello, Kind, Status, encode, sum_bytes
from hw.host.streams import check_operands, operand_tiles, result_places

__all__ = ["Product", "Session"]

TIMEOUT_S = 1.0  # for an answer; a device gives up a broken request after 0.1 s
_TRIES = 5  # of one request
_CHATTER_BYTES = 4 * PAYLOAD_BYTES  # that are heard before a request is sent again, on a line that is never silent
_IDLE_POLLS = 50  # answers without any progress before a GEMM is given up

_REFUSALS = {1: "a size is zero", 2: "k is too large for the accumulator"}


class Product(NamedTuple):
    """A GEMM that a device has computed."""

    results: np.ndarray  # int64 (m, n): sums, or what the format made of them
    counters: dict[str, int]  # cycles, then one per cause


class Session:
    """Talks to the device at the other end of ``line``; greets it and resets its core when made.

    Attributes: ``hello``, ``config`` (its array), ``repetitions`` (requests that had to be sent again) and ``noise``
    (bytes received that belonged to no frame).

    Raises:
        LinkError: nothing, or nothing sensible, answers.
    """

    def __init__(self, line: Line, timeout_s: float = TIMEOUT_S):
        self._line, self._timeout_s = line, timeout_s
        self._sequence = 0
        self._reader = FrameReader()
        self.repetitions = 0
        self.hello = Hello.unpack(self._ask(Kind.HELLO))
        self.config: ArrayConfig = self.hello.config()
        self.reset()

    @property
    def noise(self) -> int:
        """Bytes received that belonged to no frame."""
        return self._reader.noise

    def reset(self) -> None:
        """Bring core and buffers to where they were after configuration."""
        self._ask(Kind.RESET)

    def status(self) -> Status:
        """State of the core and counters of its latest GEMM."""
        return Status.unpack(self._ask(Kind.STATUS))

    def gemm(self, q: np.ndarray, trits: np.ndarray) -> Product:
        """``q @ trits.T`` on the device: int8 ``(m, k)``, int8 ``(n, k)``.

        Weights and activations are sent as far as they fit, then the GEMM is started, then the rest follows.

        Raises:
            InputError: sizes that do not agree, or a K that the accumulator cannot hold.
            LinkError: the device refuses, stops, or reports damage.
        """
        m, n, k = check_operands(self.config, q, trits)
        beats = _Beats(self.config, m, n)
        started, idle = False, 0
        descriptor = b"".join(size.to_bytes(3, "little") for size in (m, n, k))
        for kind, payload in self._stream(q, trits):
            while self._try(kind, payload) is None:
                if not started:
                    started = self._try(Kind.START, descriptor) is not None
                idle = 0 if beats.take(self._ask(Kind.RESULTS)) else idle + 1
                self._check_progress(idle, beats)
        if not started and self._try(Kind.START, descriptor) is None:
            raise LinkError("the device does not start the GEMM: an earlier one is still running")
        while beats.missing:
            idle = 0 if beats.take(self._ask(Kind.RESULTS)) else idle + 1
            self._check_progress(idle, beats)
        status = self.status()
        self._check_status(status)
        return Product(beats.sums(), status.counters)

    def _stream(self, q: np.ndarray, trits: np.ndarray) -> Iterator[tuple[Kind, bytes]]:
        """Payloads of weights and activations in the order that the core takes them."""
        for words, vectors in operand_tiles(self.config, q, trits):
            yield from _payloads(Kind.WEIGHTS, words, self.hello.weight_words)
            yield from _payloads(Kind.ACTIVATIONS, vectors, self.hello.activation_vectors)

    def _check_progress(self, idle: int, beats: "_Beats") -> None:
        """Refuse to wait for ever."""
        if idle > _IDLE_POLLS:
            status = self.status()
            self._check_status(status)
            raise LinkError(f"the device makes no progress: {beats.missing} results are missing; {status}")

    def _check_status(self, status: Status) -> None:
        """What the core itself found wrong."""
        if status.descriptor:
            raise LinkError(f"the device refused the GEMM: {_REFUSALS.get(status.descriptor, status.descriptor)}")
        if status.illegal_weights:
            raise LinkError("the device received a trit code that is never written: its bitstream has another packing?")

    def _try(self, kind: Kind, payload: bytes) -> bytes | None:
        """As ``_ask``, with None for BUSY."""
        answer = self._exchange(kind, payload)
        if answer[0] == Code.BUSY:
            return None
        if answer[0] != Code.OK:
            raise LinkError(f"the device answers {kind.name} of {len(payload)} bytes with {_code_name(answer[0])}")
        return answer[1:]

    def _ask(self, kind: Kind, payload: bytes = b"") -> bytes:
        """One request, carried out exactly once; what its answer holds behind the code."""
        answer = self._try(kind, payload)
        if answer is None:
            raise LinkError(f"the device answers {kind.name} with BUSY, which it must not")
        return answer

    def _exchange(self, kind: Kind, payload: bytes) -> bytes:
        """Send until an undamaged answer to this very request comes; its payload."""
        self._sequence = (self._sequence + 1) % 256
        request = encode(Frame(kind, self._sequence, payload))
        received = 0
        for attempt in range(_TRIES):
            self.repetitions += attempt > 0
            self._line.write(request)
            heard = 0
            while heard < _CHATTER_BYTES and (data := self._line.read(self._timeout_s)):
                heard, received = heard + len(data), received + len(data)
                answers = list(self._reader.feed(data))
                for answer in answers:
                    damaged = answer.payload[:1] == bytes([Code.DAMAGED])
                    if answer[:2] == (kind | ANSWER, self._sequence) and answer.payload and not damaged:
                        return answer.payload
                if any(answer.payload[:1] == bytes([Code.DAMAGED]) for answer in answers):
                    break
            else:
                self._reader.drop()
        raise LinkError(self._silence(kind, received))

    def _silence(self, kind: Kind, received: int) -> str:
        """What to check when no answer came."""
        asked = f"no answer to {kind.name} in {_TRIES} tries"
        if received:
            return f"{asked}: {received} bytes came, none of them an answer; is the baud rate that of config.json?"
        return f"{asked}: nothing came; is the board configured, are port and baud rate right?"


class _Beats:
    """Collects result beats in stream order."""

    def __init__(self, config: ArrayConfig, m: int, n: int):
        self._size = sum_bytes(config)
        self._config, self._m, self._n = config, m, n
        columns = ceil_divide(n, config.cols)
        self.missing = m * columns
        self._sums = np.zeros((m, columns * config.cols), np.int64)
        self._places = result_places(config, m, n)

    def take(self, data: bytes) -> int:
        """Read whole beats; returns how many.

        Raises:
            LinkError: more than asked for, or a part of a beat.
        """
        step = self._size * self._config.cols
        if len(data) % step:
            raise LinkError(f"the device must send whole result beats of {step} bytes, not {len(data)} bytes")
        for start in range(0, len(data), step):
            if not self.missing:
                raise LinkError("the device sends more results than the GEMM has")
            token, column = next(self._places)
            for c in range(self._config.cols):
                at = start + c * self._size
                value = int.from_bytes(data[at : at + self._size], "little", signed=True)
                self._sums[token, column + c] = value
            self.missing -= 1
        return len(data) // step

    def sums(self) -> np.ndarray:
        """All sums, without the columns that pad the last tile."""
        return self._sums[:, : self._n]


def _payloads(kind: Kind, words: list[bytes], depth: int) -> Iterator[tuple[Kind, bytes]]:
    """Words of one stream in as few requests as a frame and the device's buffer of ``depth`` words allow."""
    per_request = min(PAYLOAD_BYTES // len(words[0]), depth)
    for start in range(0, len(words), per_request):
        yield kind, b"".join(words[start : start + per_request])


def _code_name(code: int) -> str:
    """A code's name, or its number."""
    return Code(code).name if code in list(Code) else f"code {code}"
