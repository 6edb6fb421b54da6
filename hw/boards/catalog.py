"""The boards that Verilog can be written for: one entry each, with parts, clocks, default arrays and capacity."""

import math
from typing import Any, NamedTuple

from hw.config import ArrayConfig, load_array, required_accumulator_bits
from hw.errors import InputError, did_you_mean
from hw.synthesis.families import FAMILIES

__all__ = ["BOARDS", "Board", "Capacity", "Pin", "board_array", "board_config", "load_board"]


class Capacity(NamedTuple):
    """What a part has. LUTs have four inputs (ECP5, iCE40, Gowin) or six (Xilinx)."""

    luts: int
    flip_flops: int
    block_rams: int


class Pin(NamedTuple):
    """One pin that amaranth-boards does not know."""

    site: str
    attributes: tuple[tuple[str, str], ...]
    inverted: bool = False  # low means active


class Board(NamedTuple):
    """One board.

    ``ports``: port of the top level -> resource of ``platform`` (``uart.rx``), pin of one of its connectors
    (``io/0:1``), or a ``Pin``. A board without ``clk`` takes its clock from the processing system.
    """

    name: str
    family: str  # of hw.synthesis.families.FAMILIES
    part: str
    platform: str | None  # module:class in amaranth_boards
    source: str  # of pins and clock
    ports: dict[str, str | Pin]
    board_hz: float  # the board's clock
    clock_hz: float  # the array's, through a PLL where it differs
    rows: int
    cols: int
    capacity: Capacity
    options: str = ""  # of nextpnr: device, package, speed
    array_options: str = ""  # of nextpnr too, where the board holds an array alone
    asked_hz: float = 0.0  # of nextpnr for such an array, above its clock: it stops where that is reached; 0: no more
    spread_stages: int = 0  # of the board's arrays, see ArrayConfig
    floorplan: bool = False  # of such an array on an ECP5, see hw.boards.floorplan
    pack_options: str = ""  # of the packer
    note: str = ""  # for whoever wires it up

    def routing(self, whole: bool) -> str:
        """Options of nextpnr for a whole-token machine, or for an array alone."""
        return self.options if whole else f"{self.options} {self.array_options}".rstrip()


_AMARANTH = "amaranth-boards"
_UART = {"rx": "uart.rx", "tx": "uart.tx", "led": "led"}
_LVCMOS33 = (("IOSTANDARD", "LVCMOS33"),)
_GOWIN33 = (("IO_TYPE", "LVCMOS33"),)
_ECP5 = {  # Lattice FPGA-DS-02012, table 1.1
    "12F": Capacity(12_144, 12_144, 32),
    "25F": Capacity(24_288, 24_288, 56),
    "45F": Capacity(43_848, 43_848, 108),
    "85F": Capacity(83_640, 83_640, 208),
}
_LARGE: dict[str, Any] = {  # its array is much of the part
    "array_options": "--placer static",
    "spread_stages": 1,
    "floorplan": True,
}
_FEATHER = "serial adapter (3.3 V) on feather pins 0 (to the board) and 1 (from it)"


def _ulx3s(size: str, rows: int, cols: int, clock_hz: float, **more: Any) -> Board:
    return Board(
        name=f"ulx3s-{size.lower()}",
        family="ecp5",
        part=f"LFE5U-{size}-6BG381C",
        platform=f"ulx3s:ULX3S_{size}_Platform",
        source=_AMARANTH,
        ports={"clk": "clk25", **_UART},
        board_hz=25e6,
        clock_hz=clock_hz,
        rows=rows,
        cols=cols,
        capacity=_ECP5[size],
        options=f"--{size[:2]}k --package CABGA381 --speed 6",
        **more,
    )


def _orangecrab(size: str, rows: int, cols: int, clock_hz: float, **more: Any) -> Board:
    return Board(
        name=f"orangecrab-{size.lower()}",
        family="ecp5",
        part=f"LFE5U-{size}-8MG285C",
        platform=f"orangecrab_r0_2:OrangeCrabR0_2_{size}Platform",
        source=_AMARANTH,
        ports={"clk": "clk", "rx": "io/0:0", "tx": "io/0:1", "led": "rgb_led.g"},
        board_hz=48e6,
        clock_hz=clock_hz,
        rows=rows,
        cols=cols,
        capacity=_ECP5[size],
        options=f"--{size[:2]}k --package CSFBGA285 --speed 8",
        note=_FEATHER,
        **more,
    )


def _arty(size: str, rows: int, cols: int, capacity: Capacity) -> Board:
    return Board(
        name=f"arty-a7-{size}",
        family="xc7",
        part=f"xc7a{size}ticsg324-1L",
        platform=f"arty_a7:ArtyA7_{size}Platform",
        source=_AMARANTH,
        ports={"clk": "clk100", **_UART},
        board_hz=100e6,
        clock_hz=100e6,
        rows=rows,
        cols=cols,
        capacity=capacity,
    )


BOARDS: dict[str, Board] = {
    board.name: board
    for board in (
        _ulx3s("12F", 32, 8, 87.5e6, asked_hz=100e6),
        _ulx3s("25F", 64, 10, 87.5e6, **_LARGE),
        _ulx3s("45F", 16, 16, 62.5e6),
        _ulx3s("85F", 64, 24, 100e6, **_LARGE),
        _orangecrab("25F", 64, 8, 96e6, **_LARGE),
        _orangecrab("85F", 32, 16, 60e6),
        Board(
            name="icebreaker",
            family="ice40",
            part="iCE40UP5K-SG48",
            platform="icebreaker:ICEBreakerPlatform",
            source=_AMARANTH,
            ports={"clk": "clk12", **_UART},
            board_hz=12e6,
            clock_hz=12e6,
            rows=4,
            cols=4,
            capacity=Capacity(5_280, 5_280, 30),
            options="--up5k --package sg48",
        ),
        Board(
            name="tang-nano-9k",
            family="gowin",
            part="GW1NR-LV9QN88PC6/I5",
            platform="tang_nano_9k:TangNano9kPlatform",
            source=_AMARANTH,
            ports={"clk": "clk27", **_UART},
            board_hz=27e6,
            clock_hz=27e6,
            rows=8,
            cols=8,
            capacity=Capacity(8_640, 6_480, 26),
            options="--device GW1NR-LV9QN88PC6/I5 --vopt family=GW1N-9C",
            pack_options="-d GW1N-9C",
        ),
        Board(
            name="tang-nano-20k",
            family="gowin",
            part="GW2AR-LV18QN88C8/I7",
            platform=None,
            source="Sipeed Tang Nano 20K schematic (27 MHz oscillator, BL616 UART, LED 0)",
            ports={
                "clk": Pin("4", _GOWIN33),
                "rx": Pin("70", _GOWIN33),
                "tx": Pin("69", _GOWIN33),
                "led": Pin("15", _GOWIN33, inverted=True),
            },
            board_hz=27e6,
            clock_hz=27e6,
            rows=16,
            cols=16,
            capacity=Capacity(20_736, 15_552, 46),
            options="--device GW2AR-LV18QN88C8/I7 --vopt family=GW2A-18C",
            pack_options="-d GW2A-18C",
        ),
        _arty("35", 64, 16, Capacity(20_800, 41_600, 50)),
        _arty("100", 128, 24, Capacity(63_400, 126_800, 135)),
        Board(
            name="pynq-z2",
            family="xc7",
            part="xc7z020clg400-1",
            platform="arty_z7:ArtyZ720Platform",
            source="amaranth-boards (Arty Z7-20, whose clock, LEDs and PMOD A are wired alike); UART on PMOD A",
            ports={"clk": "clk125", "rx": "pmod/0:3", "tx": "pmod/0:2", "led": "led"},
            board_hz=125e6,
            clock_hz=100e6,
            rows=128,
            cols=24,
            capacity=Capacity(53_200, 106_400, 140),
            note="PMOD A: pin 2 from the board, pin 3 to it (Pmod USBUART, upper row); no AXI in this top",
        ),
        Board(
            name="kv260",
            family="xcup",
            part="xck26-sfvc784-2LV-c",
            platform=None,
            source="AMD KV260 carrier card, PMOD J2 (som240_1 d20, d21, a17); pl_clk0 of the processing system",
            ports={"rx": Pin("D10", _LVCMOS33), "tx": Pin("E10", _LVCMOS33), "led": Pin("H12", _LVCMOS33)},
            board_hz=200e6,
            clock_hz=200e6,
            rows=128,
            cols=40,
            capacity=Capacity(117_120, 234_240, 144),
            note="PMOD J2: pin 2 of the upper row from the board, pin 3 to it, pin 1 the LED; set pl_clk0 to 200 MHz",
        ),
    )
}


def load_board(name: str) -> Board:
    """The board called ``name``.

    Raises:
        InputError: unknown name; the known ones are listed.
    """
    if name not in BOARDS:
        raise InputError(f"board must be one of {', '.join(BOARDS)}, not {name!r}{did_you_mean(name, BOARDS)}")
    return BOARDS[name]


def board_config(board: Board, array: str | None) -> ArrayConfig:
    """What ``--array`` means on a board, at the board's clock; the board's own array where it is not given.

    ``RxC`` takes the fields of ``board_array``; a name or a file keeps its own.

    Raises:
        InputError: see ``hw.config.load_array``.
    """
    if array is None:
        return board_array(board, board.rows, board.cols)
    config = load_array(array)
    if config.name == array == f"{config.rows}x{config.cols}":
        return board_array(board, config.rows, config.cols)
    return ArrayConfig(**config.model_dump() | {"clock_hz": board.clock_hz})


def board_array(board: Board, rows: int, cols: int) -> ArrayConfig:
    """An array of that size with the fields that suit these parts, at the board's clock.

    The bus loads a tile in about eight cycles; every adder level has its register, because carry chains are slow. On
    ECP5 four lanes form a chain, since there the carry cell itself selects.
    """
    return ArrayConfig(
        name=f"{rows}x{cols}",
        description=f"{rows} lanes x {cols} columns for {board.name}",
        rows=rows,
        cols=cols,
        weight_bus_bits=max(8, 8 * math.ceil(rows * cols / 4 / 8)),
        accumulator_bits=max(24, required_accumulator_bits(rows)),
        token_tile=64,
        chain_lanes=min(FAMILIES[board.family].chain_lanes, rows),
        adders_per_register=1,
        spread_stages=board.spread_stages,
        clock_hz=board.clock_hz,
    )
