"""Reads a cell library out of Liberty files, and keeps its parsed form."""

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path

from hw.artifact import sha256_file, sha256_json, write_text
from hw.errors import InputError
from hw.gates.flow.cells import Cell, FlipFlop, Library, Pin, PowerArc, Table, TimingArc
from hw.gates.flow.liberty import Group, parse_group, read_text

__all__ = ["load_library", "short_name"]

_CACHE_VERSION = 4  # raised when the parsed form changes
_SI = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0}
_QUANTITY = re.compile(r"\s*([\d.eE+-]*)\s*([fpnum]?)[a-zA-Z]*\s*$")
_NAMES = {"sky130_fd_sc_hd": "sky130", "asap7": "asap7", "sg13g2": "ihp", "gt2_": "gt2n", "gf180mcu": "gf180"}


def short_name(library: str) -> str:
    """The short name of a known library, else its own."""
    return next((short for part, short in _NAMES.items() if part in library), library)


def load_library(paths: list[Path], cache: Path | None = None) -> Library:
    """Read one library from one or several Liberty files (ASAP7 comes in five); ``cache`` is a folder of parsed forms.

    Raises:
        InputError: a missing, truncated or faulty file.
    """
    paths = [Path(path) for path in paths]
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: no such Liberty file")
    digest = sha256_json([sha256_file(path) for path in paths])
    cached = cache / f"{digest[:24]}-{_CACHE_VERSION}.json" if cache else None
    if cached and cached.is_file():
        return _from_json(json.loads(cached.read_text(encoding="utf-8")))
    parts = [_library(parse_group(read_text(path), str(path)), str(path), digest) for path in paths]
    first = parts[0]
    for path, part in zip(paths, parts, strict=True):
        if (part.voltage, part.time_unit, part.cap_unit) != (first.voltage, first.time_unit, first.cap_unit):
            raise InputError(f"{path}: voltage and units must be those of {paths[0]}, files of one library")
    cells = {name: cell for part in parts for name, cell in part.cells.items()}
    library = dataclasses.replace(first, cells=cells)
    if cached:
        write_text(cached, json.dumps(dataclasses.asdict(library), separators=(",", ":")))
    return library


def _quantity(text: str, origin: str) -> float:
    match = _QUANTITY.match(text)
    if match is None or not (match[1] or match[2]):
        raise InputError(f"{origin}: unit {text!r} cannot be read")
    return float(match[1] or 1) * _SI[match[2].lower()]


def _library(group: Group, origin: str, digest: str) -> Library:
    """Build the cells of one file."""
    if group.kind != "library":
        raise InputError(f"{origin}: must begin with a library group, not {group.kind}")
    time = _quantity(group.attributes.get("time_unit", "1ns"), origin)
    volt = _quantity(group.attributes.get("voltage_unit", "1V"), origin)
    cap = _quantity("".join(group.complex.get("capacitive_load_unit", ["1", "pf"])[:2]), origin)
    leak = _quantity(group.attributes.get("leakage_power_unit", "1nW"), origin)
    conditions = next(group.of("operating_conditions"), None)
    voltage = volt * (conditions or group).number("voltage", group.number("nom_voltage"))
    if voltage <= 0:
        raise InputError(f"{origin}: must state its supply (operating_conditions voltage or nom_voltage)")
    templates = {
        template.name: template for kind in ("lu_table_template", "power_lut_template") for template in group.of(kind)
    }
    builder = _Builder(origin, templates, time, cap, cap * volt**2, leak)
    cells = {cell.name: builder.cell(cell) for cell in group.of("cell")}
    if not cells:
        raise InputError(f"{origin}: holds no cells")
    return Library(group.name, voltage, time, cap, cells, digest)


@dataclass(frozen=True)
class _Builder:
    """Turns groups into cells with the units and templates of one file."""

    origin: str
    templates: dict[str, Group]
    time: float
    cap: float
    energy: float
    leak: float

    def cell(self, group: Group) -> Cell:
        pins = {pin.name: self._pin(pin) for pin in group.of("pin")}
        sequential = any(g.kind in ("ff", "latch", "statetable") for g in group.groups)
        gating = group.attributes.get("clock_gating_integrated_cell", "")
        flip_flop = next(group.of("ff"), None)
        return Cell(
            name=group.name,
            area=group.number("area"),
            leakage=self._leakage(group),
            pins=pins,
            flip_flop=self._flip_flop(flip_flop) if flip_flop else None,
            sequential=sequential,
            gating=gating,
        )

    def _leakage(self, group: Group) -> float:
        """Mean over the states of the sum over the supplies; the cell's own figure where it lists no states."""
        states: dict[str, float] = {}
        for state in group.of("leakage_power"):
            when = state.attributes.get("when", "")
            states[when] = states.get(when, 0.0) + state.number("value") * self.leak
        if len(states) > 1:
            states.pop("", None)
        if states:
            return sum(states.values()) / len(states)
        return group.number("cell_leakage_power") * self.leak

    def _flip_flop(self, group: Group) -> FlipFlop:
        state, inverse = (*group.arguments, "")[:2]
        text = group.attributes.get
        return FlipFlop(
            state, inverse, text("clocked_on", ""), text("next_state", ""), text("clear", ""), text("preset", "")
        )

    def _pin(self, group: Group) -> Pin:
        attributes = group.attributes
        gating = next((role for role in ("clock", "enable", "out", "test") if _true(attributes, role)), "")
        return Pin(
            name=group.name,
            direction=attributes.get("direction", "internal"),
            capacitance=group.number("capacitance") * self.cap,
            function=attributes.get("function", ""),
            timing=tuple(self._timing(g) for g in group.of("timing")),
            power=tuple(self._power(g, attributes) for g in group.of("internal_power")),
            gating=gating,
        )

    def _timing(self, group: Group) -> TimingArc:
        constraint = any(g.kind.endswith("_constraint") for g in group.groups)
        kinds = ("rise_constraint", "fall_constraint") if constraint else ("cell_rise", "cell_fall")
        return TimingArc(
            related=group.attributes.get("related_pin", ""),
            kind=group.attributes.get("timing_type", "combinational"),
            sense=group.attributes.get("timing_sense", "non_unate"),
            when=group.attributes.get("when", ""),
            rise=self._table(group, kinds[0], self.time, constraint),
            fall=self._table(group, kinds[1], self.time, constraint),
            rise_slew=self._table(group, "rise_transition", self.time),
            fall_slew=self._table(group, "fall_transition", self.time),
        )

    def _power(self, group: Group, pin: dict[str, str]) -> PowerArc:
        text = group.attributes.get
        both = next(group.of("power"), None)
        kinds = ("power", "power") if both else ("rise_power", "fall_power")
        return PowerArc(
            related=text("related_pin", ""),
            when=text("when", ""),
            supply=text("related_pg_pin", pin.get("related_power_pin", "")),
            rise=self._table(group, kinds[0], self.energy),
            fall=self._table(group, kinds[1], self.energy),
        )

    def _table(self, group: Group, kind: str, unit: float, constraint: bool = False) -> Table | None:
        """A table with axes (slew, load), of a constraint (slew of the pin, slew of the clock)."""
        source = next(group.of(kind), None)
        if source is None:
            return None
        template = self.templates.get(source.name)
        rows = [_numbers(text) for text in source.complex.get("values", [])]
        values = [row for row in rows if row]
        axes = []
        for n in (1, 2):
            index = source.complex.get(f"index_{n}") or (template.complex.get(f"index_{n}") if template else None)
            name = template.attributes.get(f"variable_{n}", "") if template else ""
            if index and (name or source.name != "scalar"):
                axes.append((name, _numbers(" ".join(index))))
        flat = [value * unit for row in values for value in row]
        if len(axes) == 0 or len(flat) == 1:
            return Table((0.0,), (0.0,), ((flat[0] if flat else 0.0,),))
        if len(axes) == 1:
            axes.append(("", [0.0]))
        (name_1, first), (_, second) = axes
        if len(flat) != len(first) * len(second):
            raise InputError(
                f"{self.origin}: a {kind} table has {len(flat)} values for axes of {len(first)} x {len(second)}"
            )
        grid = [flat[i * len(second) : (i + 1) * len(second)] for i in range(len(first))]
        if ("related_pin" in name_1) if constraint else ("capacitance" in name_1):
            grid = [list(column) for column in zip(*grid, strict=True)]
            first, second = second, first
        scale_2 = self.time if constraint else self.cap
        return Table(
            tuple(x * self.time for x in first),
            tuple(x * scale_2 for x in second),
            tuple(tuple(row) for row in grid),
        )


def _true(attributes: dict[str, str], role: str) -> bool:
    return attributes.get(f"clock_gate_{role}_pin", "false").lower() == "true"


def _numbers(text: str) -> list[float]:
    return [float(x) for x in text.replace(",", " ").split()]


def _from_json(document: dict) -> Library:
    """Inverse of ``dataclasses.asdict`` for the cache."""

    def table(value: dict | None) -> Table | None:
        if value is None:
            return None
        return Table(tuple(value["slews"]), tuple(value["loads"]), tuple(tuple(row) for row in value["values"]))

    def arcs(kind: type, values: list[dict]) -> tuple:
        return tuple(kind(**{k: v if isinstance(v, str) else table(v) for k, v in value.items()}) for value in values)

    def pin(value: dict) -> Pin:
        return Pin(**value | {"timing": arcs(TimingArc, value["timing"]), "power": arcs(PowerArc, value["power"])})

    def cell(value: dict) -> Cell:
        pins = {name: pin(v) for name, v in value["pins"].items()}
        flip_flop = FlipFlop(**value["flip_flop"]) if value["flip_flop"] else None
        return Cell(**value | {"pins": pins, "flip_flop": flip_flop})

    return Library(**document | {"cells": {name: cell(v) for name, v in document["cells"].items()}})
