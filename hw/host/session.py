"""A session with a board: requests with repetition, and whole GEMMs in the order that the core takes them."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from hw.config import ArrayConfig
from hw.division import ceil_divide
from hw.host.line import Line, LinkError
from hw.host.protocol import PAYLOAD_BYTES, Hello, Kind, Status, sum_bytes
from hw.host.requests import TIMEOUT_S, Requests
from hw.host.streams import check_operands, operand_tiles, result_places

__all__ = ["Product", "Session"]

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
        self._requests = Requests(line, timeout_s)
        self._ask, self._try = self._requests.ask, self._requests.attempt
        self.hello = Hello.unpack(self._ask(Kind.HELLO))
        self.config: ArrayConfig = self.hello.config()
        self.reset()

    @property
    def repetitions(self) -> int:
        """Requests that had to be sent again."""
        return self._requests.repetitions

    @property
    def noise(self) -> int:
        """Bytes received that belonged to no frame."""
        return self._requests.noise

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
