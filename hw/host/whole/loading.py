"""Loads an image over the line: stretches that the memory holds already are skipped, all others sent and checked."""

import time
import zlib
from typing import NamedTuple

from hw.division import ceil_divide
from hw.host.line import LinkError
from hw.host.whole.protocol import WholeKind, write_bytes
from hw.host.whole.session import MachineSession
from hw.program.image import Image
from hw.progress import StageReport

__all__ = ["STRETCH_BYTES", "Loaded", "load_memory"]

STRETCH_BYTES = 1 << 16  # sent and checked as a whole; a cable pulled costs one of them
_WINDOW = 8  # frames that may be unanswered
_TRIES = 5  # of one stretch


class Loaded(NamedTuple):
    """What a load came to."""

    bytes: int  # of the image
    sent: int  # of them over the line, repetitions included
    repeated: int  # stretches that had to be sent again
    seconds: float


def load_memory(session: MachineSession, image: Image, report: StageReport, loaded: bool = False) -> Loaded:
    """Bring the memory to hold ``image``; the machine must be held.

    K and V behind the image are left as they are: what they hold is hidden until a token writes it. ``loaded``: the
    image is said to lie there; its first and its last stretch alone are compared.

    Raises:
        LinkError: memory does not answer, a stretch does not arrive, or the line is lost; what was loaded stays.
    """
    started = time.monotonic()
    word = image.machine.word_bytes
    data = image.memory.tobytes()
    data += bytes(-len(data) % word)
    step = STRETCH_BYTES // word * word
    sent = repeated = 0
    if loaded:
        for at in {0, (len(data) - 1) // step * step}:
            if _crc(session, at // word, len(data[at : at + step]) // word) != zlib.crc32(data[at : at + step]):
                raise LinkError("the memory does not hold this program: leave out --loaded, so that it is loaded")
        return Loaded(len(image.memory), 0, 0, time.monotonic() - started)
    for at in range(0, len(data), step):
        report("load", at // step, ceil_divide(len(data), step))
        stretch = data[at : at + step]
        tries = 0
        while _crc(session, at // word, len(stretch) // word) != zlib.crc32(stretch):
            if tries == _TRIES:
                raise LinkError(
                    f"bytes {at} to {at + len(stretch) - 1} of the image do not arrive in {_TRIES} tries: the line "
                    "loses bytes, or the memory does not keep them; take a shorter cable or load the bitstream anew"
                )
            session.requests.stream(WholeKind.WRITE, _frames(stretch, at // word, word), _WINDOW)
            sent, repeated, tries = sent + len(stretch), repeated + (tries > 0), tries + 1
    report("load", ceil_divide(len(data), step), ceil_divide(len(data), step))
    return Loaded(len(image.memory), sent, repeated, time.monotonic() - started)


def _frames(data: bytes, address: int, word: int) -> list[bytes]:
    """Payloads of WRITE."""
    size = write_bytes(word)
    return [(address + at // word).to_bytes(4, "little") + data[at : at + size] for at in range(0, len(data), size)]


def _crc(session: MachineSession, address: int, words: int) -> int:
    """CRC-32 of what the memory holds there.

    Raises:
        LinkError: memory does not answer.
    """
    while (
        session.requests.attempt(WholeKind.CHECK, address.to_bytes(4, "little") + words.to_bytes(4, "little")) is None
    ):
        _refuse_silence(session)
    while (status := session.status()).checking:
        pass
    _refuse_silence(session)
    return status.crc


def _refuse_silence(session: MachineSession) -> None:
    """What keeps a check from being carried out."""
    status = session.status()
    if status.memory_silent:
        raise LinkError(
            "the board's memory does not answer: run the command again, which resets its controller, and load the "
            "bitstream anew if that does not help"
        )
    if not status.held or not status.memory_ready:
        raise LinkError("the board has left its load: was it reset? Run the command again")
