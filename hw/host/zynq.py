"""Driver of the AXI top on a Zynq with PYNQ: registers by MMIO, the three streams by DMA engines, no gateware library.

On the board, with ``tritforge_axi`` and three AXI DMA engines in an overlay::

    import pynq
    from pathlib import Path
    from hw.host.zynq import Accelerator

    overlay = pynq.Overlay("tritforge.bit")
    core = Accelerator(
        Path("config.json"),
        overlay.tritforge_axi,
        overlay.weights_dma.sendchannel,
        overlay.activations_dma.sendchannel,
        overlay.results_dma.recvchannel,
        pynq.allocate,
    )
    product = core.gemm(q, trits)

With ``tritforge_axi_dma``, whose engines are its own, the channels are ``OwnEngine(config_json, registers, name)``.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from hw.config import ArrayConfig
from hw.division import ceil_divide
from hw.document import validate_document
from hw.errors import InputError
from hw.host.line import LinkError
from hw.host.protocol import CAUSES
from hw.host.session import Product
from hw.job import CoreJob, matrix, vector_stream, weight_stream
from hw.verilog_config import read_config

__all__ = [
    *("CONTROL_BITS", "FAULTS", "Accelerator", "Buffer", "Channel", "OwnEngine", "Registers"),
    *("format_word", "scales_word"),
]

CONTROL_BITS = {"start": 0, "reset": 1}
_DONE_BIT = 1  # of the status register
FAULTS = {  # bits of the status register
    2: "a size is zero",
    3: "a size is too large for the array",
    4: "a trit code that is never written arrived",
    5: "the weight stream ended at the wrong word",
    6: "the activation stream ended at the wrong vector",
    7: "the array has no use for this format",
    8: "a packet is no whole number of beats",
    9: "a DMA engine met a fault",
}
_ENGINES = ("weights", "activations", "results")
_ENGINE_FAULTS = {  # bits of the register dma_status, of tops with engines
    place: f"{name}: {words}"
    for first, words in ((0, "memory answered with an error"), (4, "the address is no multiple of 8"))
    for place, name in enumerate(_ENGINES, first)
}
_IDENTITY = 0x54460002
_WINDOW_BYTES = 1 << 16
_REGISTERS = (
    *("identity", "config_hash", "geometry", "control", "status", "m", "n", "k", "format", "scales"),
    *(f"{name}_{half}" for name in ("cycles", *CAUSES) for half in ("low", "high")),
)
_REMEDY = "give the one that `tritforge verilog` wrote beside tritforge_axi.v"


class Registers(Protocol):
    """Memory-mapped registers, as ``pynq.MMIO`` and a default IP driver have them."""

    def read(self, offset: int) -> int:
        """The 32-bit word at a byte offset."""

    def write(self, offset: int, value: int) -> None:
        """Set the 32-bit word at a byte offset."""


class Buffer(Protocol):
    """An array that engines can reach, as ``pynq.allocate`` makes it."""

    device_address: int  # of its first byte, for the engines
    nbytes: int

    def __array__(self) -> np.ndarray:
        """What it holds."""

    def __setitem__(self, place: slice, values: np.ndarray) -> None:
        """Fill it."""

    def flush(self) -> None:
        """Write what the processor's cache holds of it to memory."""

    def invalidate(self) -> None:
        """Forget what the processor's cache holds of it."""


class Channel(Protocol):
    """One direction of a DMA engine, as ``pynq.lib.DMA`` has it; a transfer ends with TLAST."""

    def transfer(self, array: Buffer) -> None:
        """Begin to send or to fill a whole buffer."""

    def wait(self) -> None:
        """Return when it is done."""


class OwnEngine:
    """One of the DMA engines inside ``tritforge_axi_dma``, in the place of a ``Channel``: where a packet lies.

    ``name``: weights, activations or results. The engine runs when the core does, so that there is nothing to wait for.

    Raises:
        InputError: no such engine, or ``config.json`` is not that of a top with engines.
    """

    def __init__(self, config_json: Path, registers: Registers, name: str):
        if name not in _ENGINES:
            raise InputError(f"engine must be one of {', '.join(_ENGINES)}, not {name!r}")
        places = read_config(config_json, _REMEDY).get("registers")
        if not isinstance(places, dict) or f"{name}_bytes" not in places:
            raise InputError(
                f"{config_json}: register '{name}_bytes' is missing, this is no top with engines; "
                "give the config.json of `tritforge verilog --top axi-dma`"
            )
        fields = ("address_low", "address_high", "bytes")
        self._places = _places(places, config_json, tuple(f"{name}_{field}" for field in fields))
        self._registers, self._name = registers, name

    def transfer(self, array: Buffer) -> None:
        """Say where the packet lies."""
        address = int(array.device_address)
        words = {"address_low": address & 0xFFFFFFFF, "address_high": address >> 32, "bytes": array.nbytes}
        for field, word in words.items():
            self._registers.write(self._places[f"{self._name}_{field}"], word)
        self._array = array
        if self._name != "results":
            array.flush()

    def wait(self) -> None:
        """Let the processor see what is in memory: the core told its end after the last write."""
        self._array.invalidate()


class Accelerator:
    """A core behind AXI; ``config`` is its array.

    ``allocate(shape, dtype)`` gives a buffer that the DMA engines can reach.

    Raises:
        InputError: ``config.json`` is not that of an AXI top.
        LinkError: another design answers at these registers.
    """

    def __init__(
        self,
        config_json: Path,
        registers: Registers,
        weights: Channel,
        activations: Channel,
        results: Channel,
        allocate: Callable[..., Buffer],
        timeout_s: float = 10.0,
    ):
        document = read_config(config_json, _REMEDY)
        self.config = validate_document(document.get("array"), ArrayConfig, f"{config_json}: array")
        self._places = _places(document.get("registers"), config_json, _REGISTERS)
        self._registers, self._allocate, self._timeout_s = registers, allocate, timeout_s
        self._weights, self._activations, self._results = weights, activations, results
        expected = {
            "identity": _IDENTITY,
            "config_hash": _hash_word(document.get("array_sha256"), config_json),
            "geometry": self.config.rows | self.config.cols << 16,
        }
        for name, value in expected.items():
            if (found := self._read(name)) != value:
                raise LinkError(f"register {name} must be {value:#010x} as in {config_json}, not {found:#010x}")
        self.reset()

    def reset(self) -> None:
        """Bring core and faults back to the state after configuration."""
        self._write("control", 1 << CONTROL_BITS["reset"])

    def gemm(self, q: np.ndarray, trits: np.ndarray) -> Product:
        """``q @ trits.T`` on the device: int8 ``(m, k)``, int8 ``(n, k)``.

        Raises:
            InputError: sizes that do not agree, or a K that the accumulator cannot hold.
            LinkError: the core reports a fault, or does not end in time.
        """
        return self.run(CoreJob(q, trits[None]))

    def run(self, job: CoreJob) -> Product:
        """One GEMM with formats; its results as ``hw.job.golden_results`` describes them.

        Raises:
            InputError: a job that the array cannot do.
            LinkError: the core reports a fault, or does not end in time.
        """
        config = self.config
        job.check(config)
        m, n, k = job.sizes
        weights, activations = (self._buffer(part(job, config)) for part in (weight_stream, vector_stream))
        int8 = config.results == "int8"
        values = config.cols + (config.sum_of_x and not int8)
        beats = self._allocate((m * ceil_divide(n, config.cols), values), np.int8 if int8 else np.int32)
        self._results.transfer(beats)
        words = {"m": m, "n": n, "k": k, "format": format_word(job, self.config), "scales": scales_word(job, config)}
        for name, word in words.items():
            self._write(name, word)
        self._weights.transfer(weights)  # the streams stay closed until the start
        self._activations.transfer(activations)
        self._write("control", 1 << CONTROL_BITS["start"])
        self._wait()
        self._results.wait()
        counters = {name: self._read(f"{name}_low") | self._read(f"{name}_high") << 32 for name in ("cycles", *CAUSES)}
        return Product(matrix(np.asarray(beats), job, config), counters)

    def _wait(self) -> None:
        """Poll until the core is done; a fault or a core that does not end is an error, and the core is reset."""
        end = time.monotonic() + self._timeout_s
        while not (status := self._read("status")) >> _DONE_BIT & 1:
            if time.monotonic() > end:
                self.reset()
                raise LinkError(
                    f"the core is not done after {self._timeout_s:g} s, status {status:#x}: a stream stands"
                )
        faults = _told(FAULTS, status)
        if faults:
            if "dma_status" in self._places:
                faults += _told(_ENGINE_FAULTS, self._read("dma_status"))  # before the reset, which clears it
            self.reset()
            raise LinkError(f"the core reports: {'; '.join(faults)}")

    def _buffer(self, data: bytes) -> Buffer:
        """``data`` where the DMA engines can reach it."""
        buffer = self._allocate((len(data),), np.uint8)
        buffer[:] = np.frombuffer(data, np.uint8)
        return buffer

    def _read(self, name: str) -> int:
        return self._registers.read(self._places[name])

    def _write(self, name: str, value: int) -> None:
        self._registers.write(self._places[name], value)


def _hash_word(found: object, path: Path) -> int:
    """The 32 bits of the array's hash that the core holds."""
    if not isinstance(found, str) or not re.fullmatch("[0-9a-f]{64}", found):
        raise InputError(f"{path}: field 'array_sha256' must be 64 hexadecimal digits, not {found!r}; {_REMEDY}")
    return int(found[:8], 16)


def _told(meanings: dict[int, str], word: int) -> list[str]:
    """What the bits of a register mean that are set."""
    return [words for bit, words in meanings.items() if word >> bit & 1]


def _places(found: object, path: Path, names: tuple[str, ...]) -> dict[str, int]:
    """Byte offsets of the registers by name.

    Raises:
        InputError: no registers, one of ``names`` that is missing, or one at no word of the register window.
    """
    if not isinstance(found, dict):
        raise InputError(f"{path}: field 'registers' is missing, this is no AXI top; {_REMEDY}")
    for name in (*names, *(["dma_status"] if "dma_status" in found else [])):
        place = found.get(name)
        if type(place) is not int or not 0 <= place < _WINDOW_BYTES or place % 4:
            raise InputError(
                f"{path}: register {name!r} must be a multiple of 4 below {_WINDOW_BYTES}, not {place!r}; {_REMEDY}"
            )
    return found


def format_word(job: CoreJob, config: ArrayConfig) -> int:
    """Register ``format``: planes, row scales, what planes weigh, how tiles come, shift."""
    formats = job.formats
    planes = formats.planes - 1 << (2 if config.planes > 2 else 0)
    return planes | formats.row_scales << 1 | formats.digits << 5 | formats.by_lanes << 6 | formats.shift << 8


def scales_word(job: CoreJob, config: ArrayConfig) -> int:
    """Register ``scales``: multiplier and offset of all outputs; 0 where the results are sums."""
    formats = job.formats
    if config.results == "sums":
        return 0
    return formats.multiplier & 0xFFFF | (formats.offset & 0xFFFF) << 16
