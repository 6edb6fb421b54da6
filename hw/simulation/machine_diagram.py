"""A picture of the whole-token machine as its instances are nested, read out of the elaborated design, as SVG."""

import re
from typing import NamedTuple

from hw.program.machine import MachineConfig
from hw.verilog import MACHINE_NAME, machine_rtlil

__all__ = ["Instance", "instances", "machine_svg"]

_WIDTH, _ROW, _GAP, _LEFT, _TOP = 212, 44, 56, 176, 40  # pixels: of a box, from leaf to leaf, between levels, margins
_HEIGHT = 36  # of a box
_LEVELS = 3
_COLOURS = {"front": "#eeeeee", "core": "#c7e9c0", "vector": "#fdd0a2", "activations": "#dadaeb"}
_MEMORY = "#c6dbef"  # what stands at the memory port
_MODULE = re.compile(r"^module \\(\S+)$(.*?)^end$", re.MULTILINE | re.DOTALL)
_PORT = re.compile(r"^  wire (?:width (\d+) )?(?:signed )?(input|output) \d+ +(?:signed )?\\(\S+)$", re.MULTILINE)
_CLOCKS = ("clk", "rst")
_STORE = re.compile(r"^  memory width (\d+) size (\d+) ", re.MULTILINE)


class Instance(NamedTuple):
    """A module of the design: bits that go in and out, its memories as (words, bits), and what is in it."""

    name: str
    inputs: int
    outputs: int
    memories: tuple[tuple[int, int], ...]
    inside: tuple["Instance", ...]
    count: int = 1  # alike, beside each other

    @property
    def leaves(self) -> int:
        """Rows of the picture that it takes."""
        return max(1, sum(one.leaves for one in self.inside))


def instances(rtlil: str) -> Instance:
    """The top module of a design and the modules in it, ``_LEVELS`` deep; numbered ones that are alike are one."""
    bodies = {match[1]: match[2] for match in _MODULE.finditer(rtlil)}
    return _instance(bodies, MACHINE_NAME, 0)


def _instance(bodies: dict[str, str], module: str, level: int) -> Instance:
    body = bodies[module]
    bits = {"input": 0, "output": 0}
    for width, direction, name in _PORT.findall(body):
        if name not in _CLOCKS:
            bits[direction] += int(width or 1)
    cells = re.findall(r"^  cell \\(\S+) \\(\S+)$", body, re.MULTILINE)
    kinds: dict[str, list[str]] = {}  # by name without its number
    for kind, name in cells:
        kinds.setdefault(re.sub(r"\$?\d+$", "", name), []).append(kind)
    inside = [
        _instance(bodies, found[0], level + 1)._replace(name=name, count=len(found)) for name, found in kinds.items()
    ]
    own = tuple((int(size), int(width)) for width, size in _STORE.findall(body))
    deeper = inside if level + 1 < _LEVELS else []
    below = () if deeper else tuple(store for one in inside for store in one.memories)
    return Instance(module.rpartition(".")[2], bits["input"], bits["output"], own + below, tuple(deeper))


def machine_svg(machine: MachineConfig) -> str:
    """The picture; what a box holds stands to its right."""
    rtlil = machine_rtlil(machine)
    top = instances(rtlil)
    picture = _Picture()
    picture.tree(top._replace(name="machine"), 0, 0, "#ffffff")
    body = next(match[2] for match in _MODULE.finditer(rtlil) if match[1] == MACHINE_NAME)
    picture.ports(
        [(name, direction, int(width or 1)) for width, direction, name in _PORT.findall(body) if name not in _CLOCKS]
    )
    array = machine.array
    title = (
        f"whole-token machine of {array.rows} x {array.cols} lanes and {machine.lanes} vector lanes: instances as they "
        "are nested, bits in and out, the largest memory + how many others"
    )
    return picture.text(title, top.leaves)


class _Picture:
    def __init__(self) -> None:
        self._parts: list[str] = []
        self._root = 0.0

    def tree(self, one: Instance, level: int, row: int, colour: str) -> float:
        """Draw an instance whose first leaf is in ``row``; the height of its middle."""
        left = _LEFT + level * (_WIDTH + _GAP)
        middle = _TOP + row * _ROW + one.leaves * _ROW / 2
        for child in one.inside:
            tint = _COLOURS.get(child.name, _MEMORY) if level == 0 else colour
            y = self.tree(child, level + 1, row, tint)
            elbow = left + _WIDTH + _GAP / 2
            path = f"M{left + _WIDTH},{middle:g} H{elbow:g} V{y:g} H{left + _WIDTH + _GAP}"
            self._parts.append(f'<path d="{path}" fill="none" stroke="#999999"/>')
            row += child.leaves
        self._box(one, left, middle, colour)
        if level == 0:
            self._root = middle
        return middle

    def _box(self, one: Instance, left: int, middle: float, colour: str) -> None:
        top, height = middle - _HEIGHT / 2, 240 if left == _LEFT else _HEIGHT  # room for the ports of the root
        self._parts.append(
            f'<rect x="{left}" y="{middle - height / 2:g}" width="{_WIDTH}" height="{height}" rx="4" fill="{colour}" '
            'stroke="#555555"/>'
        )
        name = one.name + (f" x {one.count}" if one.count > 1 else "")
        words, bits = max(one.memories, key=lambda size: size[0] * size[1], default=(0, 0))
        others = f" + {len(one.memories) - 1}" if len(one.memories) > 1 else ""
        more = f", {words} x {bits} bits{others}" if words else ""
        self._label(left + _WIDTH / 2, top + 15, name, bold=True)
        self._label(left + _WIDTH / 2, top + 29, f"{one.inputs} in, {one.outputs} out{more}")

    def ports(self, ports: list[tuple[str, str, int]]) -> None:
        """Streams of the top and what it shows, on the left of the root's box."""
        streams: dict[str, tuple[str, int]] = {}
        for name, direction, bits in ports:
            stream, _, member = name.partition("__")
            if member in ("payload", ""):
                streams[stream] = (direction, bits)
        for number, (name, (direction, bits)) in enumerate(streams.items()):
            y = self._root + 16 * (number - (len(streams) - 1) / 2)
            ends = (_LEFT - 34, _LEFT) if direction == "input" else (_LEFT, _LEFT - 34)
            self._parts.append(
                f'<line x1="{ends[0]}" y1="{y:g}" x2="{ends[1]}" y2="{y:g}" stroke="#333333" marker-end="url(#to)"/>'
            )
            self._label(_LEFT - 40, y + 4, f"{name} {bits}", anchor="end")

    def _label(self, x: float, y: float, text: str, anchor: str = "middle", bold: bool = False) -> None:
        weight = ' font-weight="bold"' if bold else ""
        self._parts.append(f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{weight}>{text}</text>')

    def text(self, title: str, leaves: int) -> str:
        """The whole SVG file."""
        width, height = _LEFT + _LEVELS * (_WIDTH + _GAP) + _WIDTH + 12, _TOP + leaves * _ROW + 12
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            'font-family="sans-serif" font-size="11" fill="#222222">'
        )
        marker = (
            '<defs><marker id="to" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0,0 L8,4 L0,8 z" fill="#333333"/></marker></defs>'
        )
        background = f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
        label = f'<text x="12" y="22" font-size="12">{title}</text>'
        return "\n".join([head, f"<title>{title}</title>", marker, background, label, *self._parts, "</svg>", ""])
