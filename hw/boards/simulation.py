"""A board's top level compiled by Verilator behind a pseudo-terminal: what a host program meets, without the board."""

import select
import subprocess
import tempfile
from pathlib import Path

from amaranth.back import rtlil

from hw.boards.catalog import Board
from hw.boards.device import GAP_S
from hw.boards.top import TOP_NAME, BoardTop
from hw.boards.whole.design import WholeDesign
from hw.boards.whole.top import whole_rtlil
from hw.boards.whole.virtual import LINE_HEADER, check_preload, whole_program
from hw.config import ArrayConfig
from hw.errors import InputError
from hw.host.protocol import BAUD
from hw.process.verilator import compile_program
from hw.synthesis.families import FAMILIES
from hw.synthesis.yosys import run_yosys

__all__ = ["SimulatedBoard", "simulation_verilog"]

_HARNESS = Path(__file__).with_name("simulation.cpp")
_START_S = 10.0  # until the program has opened its terminal


class SimulatedBoard:
    """A running simulation; a context manager that ends it.

    ``baud`` is what the other end of its serial line speaks, by default what the board speaks itself. ``preload``:
    what the memory of a whole-token machine holds at first, instead of loading it over the line. Attributes: ``port``,
    the serial port that a host program opens; ``baud``; ``fault``, what a simulated SDRAM saw done wrong, once closed.

    Raises:
        InputError: the board's clock is not a pin, or Verilator, a compiler or pyosys is missing.
        RuntimeError: the simulation does not start.
    """

    def __init__(
        self, board: Board, config: ArrayConfig | WholeDesign, baud: float | None = None, preload: bytes = b""
    ):
        if preload and isinstance(config, WholeDesign):
            check_preload(config)
        verilog = simulation_verilog(board, config)
        self.fault = ""
        self.baud = (config.baud if isinstance(config, WholeDesign) else BAUD) if baud is None else baud
        with tempfile.NamedTemporaryFile() as image:
            image.write(preload)
            image.flush()
            if isinstance(config, WholeDesign):
                program, memory = whole_program(board, config, verilog, Path(image.name) if preload else None)
            else:
                program, memory = compile_program(verilog, TOP_NAME, _HARNESS, headers=[LINE_HEADER]), []
            cycles = round(board.clock_hz / self.baud), round(2 * GAP_S * board.clock_hz)
            self._process = subprocess.Popen(
                [program, *map(str, cycles), *memory], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            ready, _, _ = select.select([self._process.stdout], [], [], _START_S)
            self.port = self._process.stdout.readline().strip() if ready else ""
        if not self.port:
            self.close()
            raise RuntimeError("the simulated board did not open a pseudo-terminal")

    def __enter__(self) -> "SimulatedBoard":
        """The simulation itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.close()

    def wait(self) -> None:
        """Stand by until the simulation ends."""
        self._process.wait()

    def close(self) -> None:
        """End the simulation."""
        if not self._process.stdin.closed:
            self._process.stdin.close()
            self.fault = self._process.stdout.read().strip()
            self._process.stdout.close()
        self._process.wait()


def simulation_verilog(board: Board, config: ArrayConfig | WholeDesign) -> str:
    """The board's top level without its PLL, in plain logic: vendor cells are replaced by Yosys' models of them.

    Raises:
        InputError: the board's clock is not a pin, or pyosys is missing.
    """
    if "clk" not in board.ports:
        raise InputError(
            f"board {board.name} cannot be simulated: its clock comes from the processing system; take another"
        )
    family = FAMILIES[board.family]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if isinstance(config, WholeDesign):
            text = whole_rtlil(board, config, simulated=True)
        else:
            top = BoardTop(board._replace(board_hz=board.clock_hz), config)
            text = rtlil.convert(top, name=TOP_NAME, emit_src=False)
        (folder / "top.il").write_text(text, encoding="utf-8")
        models = [family.models] if family.models else []
        passes = ["read_rtlil top.il", *models, f"hierarchy -purge_lib -top {TOP_NAME}", "proc", "flatten"]
        run_yosys([*passes, "opt_clean", "pmuxtree", "memory_collect", "write_verilog -noattr top.v"], folder)
        return (folder / "top.v").read_text(encoding="utf-8")
