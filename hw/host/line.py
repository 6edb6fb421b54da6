"""The serial line itself: bytes out, bytes in with a time limit, and what went wrong in words."""

import os
from typing import Protocol

from hw.errors import InputError

__all__ = ["Line", "LinkError", "SerialLine"]


class LinkError(InputError):
    """The device did not answer as it should; the message says what came instead and what to check."""


class Line(Protocol):
    """Where bytes go and come from: a serial port, or a simulated board."""

    def write(self, data: bytes) -> None:
        """Send all of ``data``."""

    def read(self, timeout_s: float) -> bytes:
        """What has come; waits up to ``timeout_s`` for the first byte, and returns nothing if none comes."""


class SerialLine:
    """A serial port through pyserial, 8N1.

    Raises:
        InputError: pyserial is missing, or the port cannot be opened.
    """

    def __init__(self, port: str, baud: int):
        try:
            import serial
        except ImportError:
            raise InputError("the serial link needs pyserial: pip install 'tritforge[hw]'") from None
        self.port = port
        self._failures = (serial.SerialException, OSError)
        try:
            self._serial = serial.Serial(port, baud, timeout=0, write_timeout=5, exclusive=True)
        except (*self._failures, ValueError) as error:
            raise InputError(f"port {port}: cannot be opened at {baud} baud ({_reason(error)}){_known()}") from None
        self._serial.reset_input_buffer()

    def write(self, data: bytes) -> None:
        """Send all of ``data``.

        Raises:
            LinkError: the port is gone.
        """
        try:
            self._serial.write(data)
        except self._failures as error:
            raise self._gone(error) from None

    def read(self, timeout_s: float) -> bytes:
        """What has come; waits up to ``timeout_s`` for the first byte.

        Raises:
            LinkError: the port is gone.
        """
        try:
            self._serial.timeout = timeout_s
            first = self._serial.read(1)
            return first + self._serial.read(self._serial.in_waiting) if first else b""
        except self._failures as error:
            raise self._gone(error) from None

    def close(self) -> None:
        """Give the port back."""
        self._serial.close()

    def _gone(self, error: Exception) -> LinkError:
        return LinkError(f"port {self.port}: lost while in use ({_reason(error)}); was the board unplugged?")


def _reason(error: Exception) -> str:
    """The operating system's word where there is one; pyserial wraps it."""
    if getattr(error, "errno", None):
        return os.strerror(error.errno)
    return "not a serial port" if "Inappropriate ioctl" in str(error) else str(error)


def _known() -> str:
    """The ports that the system knows, as the end of a message."""
    from serial.tools import list_ports

    ports = sorted(port.device for port in list_ports.comports())
    return (
        f"; known ports: {', '.join(ports)}" if ports else "; the system knows no serial port: is the board plugged in?"
    )
