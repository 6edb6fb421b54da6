"""The registers of the AXI top, described once: the gateware decodes them; C, Python and HTML are written from here.

Its own description and not SystemRDL: two dozen words without arrays or nested blocks, which gateware, header and page
read as they are; a compiler of another language would be one more thing to install and to keep in step.
"""

import html
from typing import Literal, NamedTuple

from hw.formats import LAST_PLANE_BITS, SCALE_BITS, SHIFT_BITS
from hw.gateware.counters import CAUSES

__all__ = [
    *(
        "CONTROL_BITS",
        "DMA_REGISTERS",
        "DMA_REGISTER_MAP",
        "DMA_STATUS",
        "FORMAT_BITS",
        "IDENTITY",
        "REGISTERS",
        "REGISTER_MAP",
        "SCALES",
        "STATUS_BITS",
    ),
    *("Field", "Register", "c_header", "html_page", "python_module"),
]

IDENTITY = 0x54460002  # "TF", register map 2


class Field(NamedTuple):
    """Some bits of a register."""

    name: str
    low: int
    bits: int
    meaning: str


class Register(NamedTuple):
    """A word at byte offset 4 x its place in ``REGISTER_MAP``."""

    name: str
    access: Literal["read", "write", "read and write"]
    meaning: str
    fields: tuple[Field, ...] = ()

    @property
    def offset(self) -> int:
        """Of its byte."""
        return 4 * DMA_REGISTERS.index(self.name)


_CONTROL = (
    Field("start", 0, 1, "take m, n, k, format and scales and run; refused while running or after a fault"),
    Field("reset", 1, 1, "core, faults and done flag back to the state after reset"),
    Field("enable", 2, 1, "interrupt wanted; every write of control sets or clears it"),
    Field("acknowledge", 3, 1, "clear done, and the interrupt with it"),
)
_STATUS = (
    Field("running", 0, 1, "a GEMM is under way"),
    Field("done", 1, 1, "the GEMM ended, was refused or met a fault"),
    Field("zero_size", 2, 1, "a size is 0: refused"),
    Field("k_too_large", 3, 1, "k is too large for the array, or a size above 24 bits: refused"),
    Field("illegal_weights", 4, 1, "a trit code that is never written arrived: the sums mean nothing"),
    Field("weights_tlast", 5, 1, "TLAST too early or missing on the last beat: inputs are stopped until reset"),
    Field("activations_tlast", 6, 1, "the same of the activations"),
    Field("illegal_format", 7, 1, "a bit of format or scales that this array has no use for: refused"),
    Field("partial_beat", 8, 1, "TKEEP of an input beat not all ones, a packet of no whole number of beats: as bit 5"),
    Field("dma_fault", 9, 1, "tops with DMA engines: one met a fault, see dma_status; inputs are stopped until reset"),
)
_FORMAT = (
    Field("second_plane", 0, 1, "arrays with two planes: the GEMM has both"),
    Field("row_scales", 1, 1, "arrays with int8 results: each output has its own scale, behind its weights"),
    Field("last_plane", 2, LAST_PLANE_BITS, "arrays with more than two planes: number of the last"),
    Field("digits", 5, 1, "planes weigh 3^p"),
    Field("by_lanes", 6, 1, "tiles come lane by lane"),
    Field("shift", 8, SHIFT_BITS, "int8 results: the product is divided by 2^shift"),
)
_SCALES = (
    Field("multiplier", 0, SCALE_BITS, "int8 results: of all outputs, signed"),
    Field("offset", SCALE_BITS, SCALE_BITS, "arrays that sum activations: of all outputs, signed"),
)
_GEOMETRY = (Field("rows", 0, 16, "lanes of a column"), Field("columns", 16, 16, "outputs of a tile"))
_COUNTERS = {
    "cycles": "clock edges of the latest GEMM",
    **{name: f"of them, those whose cause is {name}" for name in CAUSES},
}


def _counter(name: str, meaning: str) -> tuple[Register, Register]:
    low = Register(f"{name}_low", "read", f"{meaning}: bits 0-31; reading them holds the others for the next read")
    return low, Register(f"{name}_high", "read", f"{meaning}: bits 32-39, as they were when the low word was read")


REGISTER_MAP: tuple[Register, ...] = (
    Register("identity", "read", f"0x{IDENTITY:08x}: which map this is"),
    Register("config_hash", "read", "the first 32 bits of the array's hash, as in config.json"),
    Register("geometry", "read", "size of the array", _GEOMETRY),
    Register("control", "write", "what to do now", _CONTROL),
    Register("status", "read", "of the latest GEMM", _STATUS),
    Register("m", "read and write", "tokens"),
    Register("n", "read and write", "outputs"),
    Register("k", "read and write", "inputs"),
    *(register for name, meaning in _COUNTERS.items() for register in _counter(name, meaning)),
    Register("format", "read and write", "0 after reset; bits that the array has no use for must stay 0", _FORMAT),
    Register("scales", "read and write", "0 after reset; bits that the array has no use for must stay 0", _SCALES),
)
_DMA_STATUS = tuple(
    Field(f"{stream}_{fault}", place, 1, meaning)
    for first, fault, meaning in (
        (0, "error", "memory answered the engine with an error"),
        (4, "unaligned", "the address is no multiple of 8 bytes"),
    )
    for place, stream in enumerate(("weights", "activations", "results"), first)
)
_PACKETS = {"weights": "where the packet lies", "activations": "the same", "results": "where the packet is written"}
DMA_REGISTER_MAP: tuple[Register, ...] = (
    *REGISTER_MAP,
    *(
        register
        for stream, meaning in _PACKETS.items()
        for register in (
            Register(f"{stream}_address_low", "read and write", f"{meaning}: bits 0-31, a multiple of 8"),
            Register(f"{stream}_address_high", "read and write", "bits 32-63"),
            Register(f"{stream}_bytes", "read and write", "size of the packet"),
        )
    ),
    Register("dma_status", "read", "which engine met which fault; cleared by start and reset", _DMA_STATUS),
)
REGISTERS = tuple(register.name for register in REGISTER_MAP)
DMA_REGISTERS = tuple(register.name for register in DMA_REGISTER_MAP)  # the same, and behind them those of DMA engines
DMA_STATUS = {field.name: field.low for field in _DMA_STATUS}
CONTROL_BITS = {field.name: field.low for field in _CONTROL}
STATUS_BITS = {field.name: field.low for field in _STATUS}
FORMAT_BITS = {field.name: (field.low, field.bits) for field in _FORMAT}
SCALES = {field.name: (field.low, field.bits) for field in _SCALES}


def _constants(registers: tuple[Register, ...]) -> list[tuple[str, int, str]]:
    """Names, numbers and meanings for programs: offsets in bytes, then shift and mask of each field."""
    found = [("IDENTITY_VALUE", IDENTITY, "what the first register reads as")]
    for register in registers:
        name = register.name.upper()
        found.append((name, register.offset, f"{register.access}: {register.meaning}"))
        for field in register.fields:
            mask = (1 << field.bits) - 1 << field.low
            found.append((f"{name}_{field.name.upper()}_SHIFT", field.low, field.meaning))
            found.append((f"{name}_{field.name.upper()}_MASK", mask, ""))
    return found


def c_header(registers: tuple[Register, ...] = REGISTER_MAP) -> str:
    """``tritforge_registers.h``."""
    lines = [
        f"#define TRITFORGE_{name} 0x{value:08x}u{f' /* {meaning} */' if meaning else ''}"
        for name, value, meaning in _constants(registers)
    ]
    guard = "TRITFORGE_REGISTERS_H"
    head = ["/* Registers of tritforge_axi: byte offsets, shifts and masks. SPDX-License-Identifier: Apache-2.0 */"]
    return "\n".join([*head, f"#ifndef {guard}", f"#define {guard}", *lines, "#endif"]) + "\n"


def python_module(registers: tuple[Register, ...] = REGISTER_MAP) -> str:
    """``tritforge_registers.py``."""
    lines = [
        f"{name} = 0x{value:08x}{f'  # {meaning}' if meaning else ''}" for name, value, meaning in _constants(registers)
    ]
    return "\n".join(['"""Registers of tritforge_axi: byte offsets, shifts and masks."""', "", *lines]) + "\n"


def html_page(registers: tuple[Register, ...] = REGISTER_MAP) -> str:
    """``tritforge_registers.html``."""
    rows = []
    for register in registers:
        rows.append((f"0x{register.offset:02x}", register.name, register.access, register.meaning))
        for field in register.fields:
            top = field.low + field.bits - 1
            rows.append(("", f"[{top}:{field.low}]" if field.bits > 1 else f"[{top}]", field.name, field.meaning))
    cells = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows)
    table = "\n".join(f"<tr>{row}</tr>" for row in cells)
    style = "body{font:15px sans-serif;margin:2em}td,th{border:1px solid #999;padding:.3em .6em;text-align:left}"
    head = "<tr><th>offset</th><th>register, bits</th><th>access, field</th><th>meaning</th></tr>"
    title = "<title>Registers of tritforge_axi</title>"
    start = '<table style="border-collapse:collapse">'
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8">{title}<style>{style}</style>\n'
        f"<h1>Registers of tritforge_axi</h1>\n{start}\n{head}\n{table}\n</table></html>\n"
    )
