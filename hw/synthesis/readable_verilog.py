"""Verilog for people: RTLIL written by Yosys, with plain names, ports in groups, initial values apart, and a header."""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from hw.synthesis.verilog_keywords import KEYWORDS
from hw.synthesis.yosys import run_yosys

__all__ = ["LINTS", "readable_verilog"]

# Nets that nothing reads go, alternatives become expressions, and what has no name is called after a neighbour.
_PASSES = (
    "proc",
    "pmuxtree",
    "memory_collect",
    "opt_expr",
    "opt_clean -purge",
    "wreduce",
    "opt_clean -purge",
    "autoname",
)
_ESCAPED = re.compile(r"\\(\S+) +(?=([;,)\]]?))")
_INITIAL = re.compile(r"^(  reg (?:signed )?(?:\[\S+\] )?)(\\\S+ |\w+) ?= (\S+);$", re.MULTILINE)
_MODULE = re.compile(r"^module (\\\S+ |\w+)\(([^;]*)\);\n(.*?)^endmodule\n", re.MULTILINE | re.DOTALL)
_NAMELESS = re.compile(r"^    \.\\(port\$\S+) \(((?:\\\S+ |\w+)(?:\[[\d:]+\])?)\),?$")  # a port, and the net at it
_PLAIN = re.compile(r"[A-Za-z_]\w*")
# What Verilator's -Wall still says, and why it may: these lines stand in the file, so that a lint of it is clean.
LINTS = {
    "DECLFILENAME": "several modules in one file",
    "WIDTHEXPAND": "operands are extended by the rules of the language",
    "WIDTHTRUNC": "indices are cut to the bits that a memory has",
    "SYMRSVDWORD": "the port `interrupt` is called as stock IP calls it",
    "UNUSEDSIGNAL": "carries out of the last bit, inputs whose upper bits one block does not need",
}
_LONGEST = 48  # characters of a name that is made up
_CLOCKS = ("clk", "rst", "aclk", "core_clk", "memory_clk", "aresetn")


def readable_verilog(
    rtlil: str,
    top: str,
    header: list[str],
    lints: Mapping[str, str] = MappingProxyType({}),
    attributes: tuple[str, ...] = (),
) -> str:
    """Verilog of module ``top`` of ``rtlil``, the same bytes on every run; ``header``: lines of its leading comment.

    ``lints``: warnings of Verilator that this design has beside ``LINTS``, and why it may. ``attributes``: beginnings
    of the names of those that tools need; all others go.

    Raises:
        InputError: pyosys is missing.
    """
    write = f"write_verilog {'' if attributes else '-noattr'} -norename design.v"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "design.il").write_text(rtlil, encoding="utf-8")
        run_yosys(
            ["read_rtlil design.il", f"hierarchy -top {top}", *_PASSES, "attrmap -remove full_case", write], folder
        )
        text = (folder / "design.v").read_text(encoding="utf-8")
    if attributes:
        text = re.sub(rf"^ *\(\* (?!{'|'.join(attributes)}).*\*\)\n", "", text, flags=re.MULTILINE)
    modules = _MODULE.findall(text)
    ports = _connected(text, {name.strip("\\ ") for name, *_ in modules})
    taken = {top, *KEYWORDS}
    names = {}
    for name in (found.strip("\\ ") for found, *_ in modules):
        names[name] = name if name == top else _free(_plain(name), taken)
        taken.add(names[name])
    maps = {
        name.strip("\\ "): _renamed(list_ + body, ports.get(name.strip("\\ "), {})) for name, list_, body in modules
    }
    written = [_module(name.strip("\\ "), ports, body, names, maps) for name, ports, body in modules]
    lints = [f"/* verilator lint_off {kind} */ // {reason}" for kind, reason in (LINTS | dict(lints)).items()]
    return "\n".join([*(f"// {line}".rstrip() for line in header), *lints]) + "\n\n" + "\n".join(written)


def _plain(name: str) -> str:
    """``name`` in letters, digits and single underscores, its middle left out where it is long."""
    plain = re.sub(r"\W|_+", "_", re.sub(r"\W", "_", name)).strip("_") or "net"
    plain = re.sub(r"_+", "_", plain)
    if len(plain) > _LONGEST:
        plain = plain[: _LONGEST // 2] + "_" + plain[-_LONGEST // 2 :].lstrip("_")
    return f"n{plain}" if plain[0].isdigit() else plain


def _free(name: str, taken: set[str]) -> str:
    """``name``, with a number behind it where it is taken."""
    if name not in taken:
        return name
    return next(f"{name}_{i}" for i in range(2, len(taken) + 3) if f"{name}_{i}" not in taken)


def _connected(text: str, modules: set[str]) -> dict[str, dict[str, str]]:
    """Per module, what its ports without a name of their own are connected to where it is used."""
    found: dict[str, dict[str, str]] = {}
    inside = ""
    for line in text.splitlines():
        if head := re.match(r"^  (\\\S+ |\w+) *(?:\\\S+ |\w+) \($", line):
            inside = head[1].strip("\\ ") if head[1].strip("\\ ") in modules else ""
        elif inside and (port := _NAMELESS.match(line)):
            found.setdefault(inside, {})[port[1]] = port[2]
    return found


def _renamed(text: str, ports: dict[str, str]) -> dict[str, str]:
    """Plain names for the escaped ones of a module."""
    escaped = dict.fromkeys(name for name, _ in _ESCAPED.findall(text))
    taken = {*_PLAIN.findall(_ESCAPED.sub(" ", text)), *KEYWORDS}
    names = {}
    for name in escaped:
        names[name] = _free(_plain(ports.get(name, name)), taken)
        taken.add(names[name])
    return names


def _module(name: str, ports: str, body: str, names: dict[str, str], maps: dict[str, dict[str, str]]) -> str:
    """One module with plain names: its own, and in its instances those of the module that is used."""
    own = maps[name]
    lines, used = [], None
    for line in _INITIAL.sub(r"\1\2;\n  initial \2 = \3;", body).splitlines():
        if (head := re.match(r"^  (\\\S+ |\w+) *(\\\S+ |\w+) \($", line)) and head[1].strip("\\ ") in names:
            used = maps[head[1].strip("\\ ")]
            instance = head[2].strip("\\ ")
            line = f"  {names[head[1].strip(chr(92) + ' ')]} {own.get(instance, instance)} ("
        elif used is not None and (port := re.match(r"^    \.(\\\S+ |\w+)\((.*)$", line)):
            inner = port[1].strip("\\ ")
            line = f"    .{used.get(inner, inner)}({port[2]}"
        elif line == "  );":
            used = None
        lines.append(_ESCAPED.sub(lambda found: own.get(found[1], found[1]) + ("" if found[2] else " "), line))
    listed = [_ESCAPED.sub(lambda found: own[found[1]], f"{port.strip()} ").strip() for port in ports.split(",")]
    return f"module {names[name]}(\n{_grouped(listed)}\n);\n" + "\n".join(lines) + "\nendmodule\n"


def _grouped(ports: list[str]) -> str:
    """Ports with clock and reset first, and then stream by stream, a line each."""
    groups: dict[str, list[str]] = {}
    for port in sorted(ports, key=lambda port: port not in _CLOCKS):
        stem = "" if port in _CLOCKS else port.rpartition("__" if "__" in port else "_")[0] or port
        groups.setdefault(stem, []).append(port)
    return ",\n".join("  " + ", ".join(group) for group in groups.values())
