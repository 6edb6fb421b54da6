"""A board with a whole-token machine in plain Python: the protocol again, and the golden interpreter behind it."""

import struct
import zlib

import numpy as np

from hw.host.line import LinkError
from hw.host.protocol import Frame, FrameReader, encode
from hw.host.whole.protocol import WANTED, WholeHello, WholeKind
from hw.program.image import Image, config_tag
from hw.program.interpreter import Interpreter, Status

OK, BUSY = b"\0", b"\1"


def silent(stage: str, done: int, total: int) -> None:
    """A report that shows nothing."""


class PythonBoard:
    """A ``Line``.

    ``damage``: of what the host writes. ``cable``: bytes until the cable is out. ``frozen``: memory answers nothing.
    ``mute``: the machine ends no token. ``wrong``: the memory keeps other bytes than it is given.
    ``lie``: is added to every token.
    """

    def __init__(self, machine, memory_bytes: int):
        self.machine, self.memory = machine, bytearray(memory_bytes)
        words = memory_bytes // machine.word_bytes
        self.hello = WholeHello.of(machine.word_bytes, words, 50e6, config_tag(machine))
        self.damage = lambda data: data
        self.cable: int | None = None
        self.frozen = self.mute = self.wrong = False
        self.lie = 0
        self.frames: list[WholeKind] = []
        self._reader, self._out, self._latest = FrameReader(), bytearray(), None
        self._reset()

    def write(self, data: bytes, whole: bool = True) -> None:
        """Take what a host sends; ``whole``: of a frame that is not complete nothing more comes."""
        if self.cable is not None:
            self.cable -= len(data)
            if self.cable < 0:
                raise LinkError("port test: lost while in use (cable); was the board unplugged?")
        for frame in self._reader.feed(self.damage(data)):
            kind, key = WholeKind(frame.kind), (frame.kind, frame.sequence)
            if self._latest is None or self._latest[0] != key or kind is WholeKind.HELLO:
                self.frames.append(kind)
                self._latest = key, self._carry_out(kind, frame.payload)
            self._out += encode(Frame(frame.kind | 0x80, frame.sequence, self._latest[1]))
        if whole:
            self._reader.drop()

    def read(self, timeout_s: float) -> bytes:
        data, self._out = bytes(self._out), bytearray()
        return data

    def _reset(self) -> None:
        self.held, self.silent, self.crc, self.answers = True, False, 0, []
        self.status, self.core = Status.OK, None

    def _carry_out(self, kind: WholeKind, payload: bytes) -> bytes:
        word = self.machine.word_bytes
        if kind is WholeKind.HELLO:
            return OK + self.hello.pack()
        if kind is WholeKind.RESET:
            self._reset()
        elif kind in (WholeKind.WRITE, WholeKind.CHECK):
            if not self.held:
                return BUSY
            self.silent |= self.frozen
            at = int.from_bytes(payload[:4], "little") * word
            if kind is WholeKind.CHECK:
                self.crc = zlib.crc32(self.memory[at : at + int.from_bytes(payload[4:], "little") * word])
            elif not self.silent:
                self.memory[at : at + len(payload) - 4] = payload[4:]
                self.memory[at] ^= self.wrong
        elif kind is WholeKind.RUN:
            self.held = False
            self.core = Interpreter(Image(self.machine, np.frombuffer(bytes(self.memory), np.uint8), {}))
        elif kind is WholeKind.TOKENS:
            for (token,) in struct.iter_unpack("<I", payload):
                self._token(token & ~WANTED, bool(token & WANTED))
        elif kind is WholeKind.NEXT:
            found, self.answers = self.answers[:63], self.answers[63:]
            return OK + b"".join(struct.pack("<II", token, 1000) for token in found)
        elif kind is WholeKind.STATUS:
            flags = self.held | 2 | self.silent << 2
            position = self.core.position if self.core else 0
            return OK + struct.pack("<BBBBIII", flags, self.status, 64, len(self.answers), position, self.crc, 0)
        return OK

    def _token(self, token: int, wanted: bool) -> None:
        if self.core.position >= self.core.header.context:
            self.status = Status.CONTEXT_FULL
        elif not self.mute:
            answer = self.core.step(token, wanted)
            self.answers += [answer + self.lie] if wanted else []
