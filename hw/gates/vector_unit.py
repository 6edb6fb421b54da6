"""The vector unit's blocks in a cell library: area, timing and energy of an element, netlists checked bit for bit.

Each block of ``hw.gateware.vector`` is mapped like the arrays, fed one set of inputs per edge, and its outputs must
equal those of the Amaranth simulator in every cycle. Two stimuli span what its operands may do:

  filled  normal values whose rows fill their operands, constants of a row that stay for ``_ROW`` elements
  sized   values of every size alike, so that upper bits are mostly sign; constants as above
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from amaranth import ClockDomain, Module, Shape, Value
from amaranth.back import rtlil
from amaranth.lib.wiring import Component, In
from amaranth.sim import Simulator

from hw.artifact import write_artifact
from hw.gates.flow.cells import Library
from hw.gates.flow.event_simulation import simulate
from hw.gates.flow.netlist import netlist_of
from hw.gates.flow.power import energy
from hw.gates.flow.technology_mapping import Recipe, has_adder_cell
from hw.gates.flow.timing import analyse
from hw.gates.mapped import mapped_module
from hw.gateware.vector.catalog import BLOCKS

__all__ = ["VECTOR_SCHEMA", "VECTOR_VERSION", "BlockFigures", "measure_block", "run_vector_table"]

VECTOR_SCHEMA, VECTOR_VERSION = "tritforge.vector-gates", 1

_CYCLES, _WARM_UP, _ROW = 384, 64, 64
_SEED = 20
_FILL = 5.0  # a row's largest value over its standard deviation, near that of 4096 normal values (3.9)
# Constants of a row, or of an instruction: lowest and highest, as the integer models make them (tests of the lanes).
_CONSTANTS = {
    "row_exponent": (0, 31),
    "token_mantissa": (1 << 15, (1 << 16) - 1),
    "token_exponent": (-20, 0),
    "first": (30, 50),
    "second": (10, 40),
    "third": (10, 40),
    "last": (20, 40),
    "maximum": (0, 1 << 10),
    "fold": (20, 40),
    "shift": (0, 3),
    "pre": (0, 9),
    "inverse": (1 << 15, (1 << 16) - 1),
    "k": (15, 30),
    "h": (-4, 12),
    "up_fraction": (8, 14),
    "exponent": (-20, 10),
    "a_exponent": (-20, 10),
    "b_exponent": (-20, 10),
    "divisor": (1 << 15, (1 << 22) - 1),
}
_FLAGS = {"visible": 1, "valid": 1}  # held


@dataclass(frozen=True)
class BlockFigures:
    """One block in one library. Energies in J per edge, which takes what ``rate`` says; leakage in W.

    ``critical_s``: shortest clock period as it is pipelined today.
    """

    block: str
    rate: str
    latency: int
    multiplications: int
    cells: int
    flip_flops: int
    area_um2: float
    critical_s: float
    filled_j: float
    sized_j: float
    clock_j: float  # of either, the registers' clock pins
    leakage_w: float
    outputs_checked: int


def measure_block(name: str, library: Library, cache: Path | None = None) -> BlockFigures:
    """Map, time, simulate and check one block.

    Raises:
        RuntimeError: the netlist computes something else than the RTL.
    """
    block = BLOCKS[name].make()
    recipe = Recipe(adder="ripple", adder_cells=has_adder_cell(library))
    netlist = netlist_of(mapped_module(_rtlil(block), library, recipe, cache), library)
    timing = analyse(netlist)
    figures, checked = {}, 0
    for kind in ("filled", "sized"):
        inputs = _stimulus(block, kind)
        bits = {port: _bits(inputs[port], width) for port, width in _widths(block, inputs=True).items()}
        stimulus = np.concatenate([bits[port] for port in netlist.inputs], axis=1)
        activity = simulate(netlist, timing, stimulus, _WARM_UP)
        checked += _check(name, library, block, inputs, activity.samples, list(netlist.outputs))
        figures[kind] = (energy(netlist, timing, activity), activity.cycles)
    per_edge = {kind: one.dynamic / cycles for kind, (one, cycles) in figures.items()}
    filled, cycles = figures["filled"]
    return BlockFigures(
        block=name,
        rate=BLOCKS[name].rate,
        latency=block.latency,
        multiplications=block.multipliers,
        cells=netlist.cells,
        flip_flops=len(netlist.flip_flops),
        area_um2=netlist.area,
        critical_s=timing.critical,
        filled_j=per_edge["filled"],
        sized_j=per_edge["sized"],
        clock_j=filled.clock / cycles,
        leakage_w=filled.leakage_w,
        outputs_checked=checked,
    )


def run_vector_table(
    library: Library,
    path: Path,
    cache: Path,
    progress: Callable[[str, int, int], None] = lambda text, done, total: None,
) -> list[dict]:
    """Measure every block and write ``path``."""
    rows = []
    for done, name in enumerate(BLOCKS):
        progress(f"vector unit: {name}", done, len(BLOCKS))
        rows.append(asdict(measure_block(name, library, cache)))
    body = {"library": library.name, "voltage": library.voltage, "blocks": rows}
    write_artifact(path, VECTOR_SCHEMA, VECTOR_VERSION, body, {"library": library.sha256})
    return rows


def _rtlil(block: Component) -> str:
    """RTLIL with the block's members as ports of ``top``; no reset, as what a pipeline holds is soon replaced."""
    m = Module()
    m.domains.sync = clocks = ClockDomain(reset_less=True)
    m.submodules.block = block
    ports = [clocks.clk, *(_value(block, name) for name in block.signature.members)]
    return rtlil.convert(m, name="top", ports=ports, emit_src=False)


def _value(block: Component, name: str) -> Value:
    member = getattr(block, name)
    return member.as_value() if hasattr(member, "as_value") else member


def _widths(block: Component, inputs: bool) -> dict[str, int]:
    """Member -> bits."""
    members = block.signature.members
    return {name: Shape.cast(one.shape).width for name, one in members.items() if (one.flow == In) == inputs}


def _stimulus(block: Component, kind: str) -> dict[str, np.ndarray]:
    """Member -> one integer per edge; wide members as object integers."""
    rng = np.random.default_rng(_SEED)
    found = {}
    for name, width in _widths(block, inputs=True).items():
        shape = block.signature.members[name].shape
        signed = isinstance(shape, Shape) and shape.signed
        if name == "start":  # a long operation starts as the one before ends
            values = (np.arange(_CYCLES) % (block.latency + 1) == 0).astype(np.int64)
        elif name in _FLAGS:
            values = np.full(_CYCLES, _FLAGS[name])
        elif name == "first" and width == 1:
            values = (np.arange(_CYCLES) % _ROW == 0).astype(np.int64)
        elif name in _CONSTANTS:
            low, high = _CONSTANTS[name]
            values = np.repeat(rng.integers(low, high + 1, _CYCLES // _ROW), _ROW)
        elif width > 64:  # words side by side
            values = _words(rng, kind, width)
        else:
            values = _data(rng, kind, width, signed, _CYCLES)
        found[name] = values
    return found


def _data(rng: np.random.Generator, kind: str, width: int, signed: bool, count: int) -> np.ndarray:
    bits = width - signed
    if kind == "sized":
        values = rng.integers(1 << 61, 1 << 62, count) >> (62 - rng.integers(0, bits, count))
    else:
        largest = (1 << bits) - 1
        values = np.minimum(np.abs(np.rint(rng.normal(0, largest / _FILL, count))), largest).astype(np.int64)
    return values * (1 - 2 * rng.integers(0, 2, count)) if signed else values


def _words(rng: np.random.Generator, kind: str, width: int, word: int = 32, spare: int = 3) -> np.ndarray:
    """Signed words in one member, ``spare`` bits below full."""
    words = [_data(rng, kind, word - spare, True, _CYCLES) for _ in range(width // word)]
    mask = (1 << word) - 1
    return np.array([sum((int(w[i]) & mask) << (word * at) for at, w in enumerate(words)) for i in range(_CYCLES)])


def _bits(values: np.ndarray, width: int) -> np.ndarray:
    """Integers as bits ``(cycles, width)``, least significant first."""
    return np.array([[int(value) >> bit & 1 for bit in range(width)] for value in values], dtype=np.uint8)


def _check(
    name: str,
    library: Library,
    block: Component,
    inputs: dict[str, np.ndarray],
    samples: np.ndarray,
    order: list[str],
) -> int:
    """Outputs of the netlist against those of the RTL, once registers that start unknown have been replaced."""
    widths = _widths(block, inputs=False)
    expected = _simulated(BLOCKS[name].make(), inputs)
    wanted = np.concatenate([_bits(expected[port], widths[port]) for port in order], axis=1)
    settled = block.latency + 2
    wrong = int((wanted[settled:] != samples[settled : len(wanted)]).sum())
    if wrong:
        raise RuntimeError(f"{name} in {library.name}: {wrong} output bits of the netlist differ from the RTL's")
    return int(wanted[settled:].size)


def _simulated(block: Component, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs of the RTL at the end of every cycle, the inputs of row c standing after edge c."""
    outputs = _widths(block, inputs=False)
    found: dict[str, list[int]] = {port: [] for port in outputs}

    async def bench(ctx: Any) -> None:
        for cycle in range(_CYCLES):
            await ctx.tick()
            for port, values in inputs.items():
                ctx.set(_value(block, port), int(values[cycle]))
            for port in outputs:
                found[port].append(ctx.get(_value(block, port)))

    simulator = Simulator(block)
    simulator.add_clock(1e-9)
    simulator.add_testbench(bench)
    simulator.run()
    return {port: np.array(values, dtype=object) for port, values in found.items()}
