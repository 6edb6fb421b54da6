"""Tables, flip-flops and clock of an array on FPGA families, measured by Yosys and nextpnr."""

import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from amaranth import Cat, Module, Signal, Value
from amaranth.back import rtlil
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hw.arithmetic.adders import Cells, GatedAdder
from hw.config import ArrayConfig
from hw.gateware.array import Array
from hw.gateware.core import Core
from hw.gateware.ports import negatives_layout, sums_layout, tile_layout, vector_layout
from hw.gateware.weights import WeightTiles
from hw.synthesis.families import FAMILIES, PLACERS, ROUTERS, Family
from hw.synthesis.place_and_route import PlaceAndRoute
from hw.synthesis.yosys import HIDE_FIELDS, KEEP_COPIES, run_yosys

__all__ = [
    "Accumulated",
    "Datapath",
    "FpgaCells",
    "Scanned",
    "array_of",
    "measure",
    "route",
    "statistics_of",
    "synthesize",
    "synthesize_in",
]

_FIELDS = {
    *("organisation", "rows", "cols", "packing", "weight_bus_bits"),
    *("accumulator_bits", "chain_lanes", "adders_per_register"),
}


class Accumulated(Component):
    """The array with one accumulator per column: lanes, chains, tree, accumulation; what peers report as the array."""

    def __init__(self, config: ArrayConfig, cells: Cells):
        self.config, self.cells = config, cells
        super().__init__(
            {
                "vector": In(vector_layout(config)),
                "first": In(1),
                "trits": In(tile_layout(config)),
                "negatives": In(negatives_layout(config)),
                "sums": Out(sums_layout(config)),
            }
        )

    def elaborate(self, platform) -> Module:
        """Array, then an adder and a register per column."""
        m = Module()
        m.submodules.array = array = Array(self.config, self.cells)
        m.d.comb += [
            array.trits.eq(self.trits),
            array.negatives.eq(self.negatives),
            array.vector.eq(self.vector),
        ]
        sums = []
        for column in range(self.config.cols):
            m.submodules[f"adder{column}"] = adder = GatedAdder(self.config.accumulator_bits, self.cells)
            total = Signal(adder.total.shape(), name=f"sum{column}")
            m.d.sync += total.eq(adder.total)
            m.d.comb += [adder.a.eq(total), adder.b.eq(array.totals[column]), adder.restart.eq(self.first)]
            sums.append(total)
        m.d.comb += self.sums.as_value().eq(Cat(sums))
        return m


def array_of(config: ArrayConfig, cells: Cells) -> Component:
    """What is measured as the array: ``Accumulated``, or the grid with its readout and the control of its queue."""
    return config.structure.gateware("bare_array")(config, cells)


class Datapath(Component):
    """The array with its double-buffered weight tiles: a core without sequencer, a tree also without buffer, queue."""

    def __init__(self, config: ArrayConfig, cells: Cells):
        self.tiles, self.array = WeightTiles(config), array_of(config, cells)
        inner = {"trits", "negatives"}
        members = dict(self.tiles.signature.members) | dict(self.array.signature.members)
        super().__init__({name: member for name, member in members.items() if name not in inner})

    def elaborate(self, platform) -> Module:
        """Tiles feed the array; everything else goes to the ports."""
        m = Module()
        m.submodules.tiles, m.submodules.array = self.tiles, self.array
        m.d.comb += self.array.trits.eq(self.tiles.trits)
        if hasattr(self.tiles, "negatives"):
            m.d.comb += self.array.negatives.eq(self.tiles.negatives)
        for name, member in self.signature.members.items():
            inner = getattr(self.tiles if name in self.tiles.signature.members else self.array, name)
            outer = getattr(self, name)
            if member.is_signature:
                connect(m, inner, flipped(outer))
            else:
                m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)
        return m


class Scanned(Component):
    """A design between two shift registers, so that every path that is timed starts and ends in a register."""

    def __init__(self, design: Component):
        self.design = design
        super().__init__({"scan_in": In(1), "load": In(1), "scan_out": Out(1)})

    def elaborate(self, platform) -> Module:
        """Inputs from one chain; outputs captured by another on ``load``."""
        m = Module()
        m.submodules.design = self.design
        ports = {In: [], Out: []}
        for _, member, value in self.design.signature.flatten(self.design):
            ports[member.flow].append(Value.cast(value))
        inputs, outputs = Cat(ports[In]), Cat(ports[Out])
        driving = Signal(len(inputs))
        captured = Signal(len(outputs))
        m.d.sync += [driving.eq(Cat(driving[1:], self.scan_in)), captured.eq(captured >> 1)]
        m.d.comb += [inputs.eq(driving), self.scan_out.eq(captured[0])]
        with m.If(self.load):
            m.d.sync += captured.eq(outputs)
        return m


class FpgaCells(NamedTuple):
    """Cells of one synthesized design by type, and what they amount to."""

    family: Family
    cells: dict[str, int]

    @property
    def tables(self) -> int:
        """Look-up tables of the family's kind; on ECP5 two per carry cell."""
        return sum(count * self.cells.get(name, 0) for name, count in self.family.tables.items())

    @property
    def flip_flops(self) -> int:
        """Flip-flops of every kind."""
        return sum(count for name, count in self.cells.items() if re.fullmatch(self.family.flip_flops, name))

    @property
    def dsps(self) -> int:
        """Multipliers: none in a design without multiplications."""
        return sum(self.cells.get(name, 0) for name in self.family.dsps)


def synthesize(design: Component, family: str = "ecp5") -> FpgaCells:
    """Cells of ``design`` after the synthesis of one of ``FAMILIES``."""
    with tempfile.TemporaryDirectory() as folder:
        return synthesize_in(design, family, Path(folder))


def route(
    design: Component,
    seeds: Sequence[int],
    family: str = "ecp5",
    part: str = "LFE5U-25F",
    router: str = ROUTERS[0],
    placer: str = PLACERS[0],
) -> dict[str, float]:
    """Clock in MHz, by placement seed, that nextpnr reaches between the registers of ``design`` on a part.

    Raises:
        InputError: the family's nextpnr is not installed.
        RuntimeError: it does not fit or cannot be routed.
    """
    place = PlaceAndRoute.of(family, part, router, placer)
    with tempfile.TemporaryDirectory() as folder:
        synthesize_in(Scanned(design), family, Path(folder))
        return {str(seed): place.run(Path(folder), seed)["mhz"] for seed in seeds}


def measure(
    config: ArrayConfig,
    cells: Cells,
    family: str,
    part: str,
    seeds: Sequence[int],
    router: str = ROUTERS[0],
    placer: str = PLACERS[0],
) -> dict[str, object]:
    """Cells of array, datapath and core of ``config``, and the datapath's clock for each placement seed."""
    scopes = {"array": array_of(config, cells), "datapath": Datapath(config, cells), "core": Core(config, cells)}
    counted = {name: synthesize(design, family) for name, design in scopes.items()}
    return {
        "family": family,
        "part": part,
        "router": router if seeds else "",
        **({"placer": placer} if seeds and placer != PLACERS[0] else {}),
        "array": config.model_dump(include=_FIELDS | ({"spread_stages"} if config.spread_stages else set())),
        "cells": cells,
        "scopes": {
            name: {
                "tables": found.tables,
                "tables_per_mac": round(found.tables / config.lanes, 2),
                "flip_flops": found.flip_flops,
                "dsps": found.dsps,
                "cells": found.cells,
            }
            for name, found in counted.items()
        },
        "clock_mhz": route(Datapath(config, cells), seeds, family, part, router, placer) if seeds else {},
    }


def synthesize_in(design: Component, family: str, folder: Path, more: str = "") -> FpgaCells:
    """Run the family's synthesis, with ``more`` options, in ``folder``, leaving ``top.json``."""
    chosen = FAMILIES[family]
    synthesis = f"{chosen.synthesis} {chosen.part_options} {more}"
    found = statistics_of(design, synthesis, folder, ["write_json top.json"])["design"]["num_cells_by_type"]
    return FpgaCells(chosen, {name: count for name, count in found.items() if not name.startswith("$")})


def statistics_of(design: Component, synthesis: str, folder: Path, then: Sequence[str] = ()) -> dict:
    """Yosys' ``stat`` of ``design`` behind a synthesis pass and ``then`` others, which leave their files there."""
    (folder / "design.il").write_text(rtlil.convert(design, name="top", emit_src=False), encoding="utf-8")
    passes = ["read_rtlil design.il", *KEEP_COPIES, HIDE_FIELDS, f"{synthesis} -top top", *then]
    run_yosys([*passes, "tee -q -o cells stat -json"], folder)
    return json.loads((folder / "cells").read_text(encoding="utf-8"))
