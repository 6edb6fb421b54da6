"""Requests over the line: each one sent again until its own undamaged answer comes, and carried out once."""

from enum import IntEnum

from hw.host.line import Line, LinkError
from hw.host.protocol import ANSWER, PAYLOAD_BYTES, Code, Frame, FrameReader, encode

__all__ = ["TIMEOUT_S", "Requests"]

TIMEOUT_S = 1.0  # for an answer; a device gives up a broken request after 0.1 s
_TRIES = 5  # of one request
_CHATTER_BYTES = 4 * PAYLOAD_BYTES  # that are heard before a request is sent again, on a line that is never silent


class Requests:
    """The host's end of ``line``.

    Attributes: ``repetitions`` (requests that had to be sent again) and ``noise`` (bytes received that belonged to no
    frame).
    """

    def __init__(self, line: Line, timeout_s: float = TIMEOUT_S):
        self._line, self.timeout_s = line, timeout_s
        self._sequence = 0
        self._reader = FrameReader()
        self.repetitions = 0

    @property
    def noise(self) -> int:
        """Bytes received that belonged to no frame."""
        return self._reader.noise

    def ask(self, kind: IntEnum, payload: bytes = b"") -> bytes:
        """One request, carried out exactly once; what its answer holds behind the code.

        Raises:
            LinkError: no answer, or not OK.
        """
        answer = self.attempt(kind, payload)
        if answer is None:
            raise LinkError(f"the device answers {kind.name} with BUSY, which it must not")
        return answer

    def attempt(self, kind: IntEnum, payload: bytes = b"") -> bytes | None:
        """As ``ask``, with None for BUSY."""
        answer = self._exchange(kind, payload)
        if answer[0] == Code.BUSY:
            return None
        if answer[0] != Code.OK:
            raise LinkError(f"the device answers {kind.name} of {len(payload)} bytes with {_code_name(answer[0])}")
        return answer[1:]

    def stream(self, kind: IntEnum, payloads: list[bytes], window: int) -> None:
        """Send requests that may be carried out any number of times, at most ``window`` of them unanswered.

        Damaged and lost ones are not sent again: whoever sends them checks what arrived.
        """
        unanswered = 0
        for payload in payloads:
            self._sequence = (self._sequence + 1) % 256
            self._line.write(encode(Frame(kind, self._sequence, payload)))
            unanswered += 1
            while unanswered >= window:
                unanswered -= self._answers() or unanswered
        while unanswered > 0:
            unanswered -= self._answers() or unanswered

    def _answers(self) -> int:
        """Wait for answers of any request; how many came, 0 where the line stayed silent."""
        while data := self._line.read(self.timeout_s):
            if found := len(list(self._reader.feed(data))):
                return found
        self._reader.drop()
        return 0

    def _exchange(self, kind: IntEnum, payload: bytes) -> bytes:
        """Send until an undamaged answer to this very request comes; its payload."""
        self._sequence = (self._sequence + 1) % 256
        request = encode(Frame(kind, self._sequence, payload))
        received = 0
        for attempt in range(_TRIES):
            self.repetitions += attempt > 0
            self._line.write(request)
            heard = 0
            while heard < _CHATTER_BYTES and (data := self._line.read(self.timeout_s)):
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
        raise LinkError(_silence(kind, received))


def _silence(kind: IntEnum, received: int) -> str:
    """What to check when no answer came."""
    asked = f"no answer to {kind.name} in {_TRIES} tries"
    if received:
        return f"{asked}: {received} bytes came, none of them an answer; is the baud rate that of config.json?"
    return f"{asked}: nothing came; is the board configured, are port and baud rate right?"


def _code_name(code: int) -> str:
    """A code's name, or its number."""
    return Code(code).name if code in list(Code) else f"code {code}"
