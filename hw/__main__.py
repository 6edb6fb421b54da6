"""``python -m hw``: Verilog of an array or a board, its size on an FPGA or in cells, the host side of a board."""

from collections.abc import Sequence

from hw.cli import Command, run, run_command

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "verilog": Command(
        "write deterministic Verilog and config.json of an array, or everything that a board needs",
        "hw.boards.verilog_command:add_verilog",
        "--board ulx3s-85f",
    ),
    "bitstream": Command(
        "synthesize, place, route and pack a board's top level", "hw.boards.command:add_bitstream", "--board ulx3s-12f"
    ),
    "simulate": Command(
        "run a board's top level, Verilated, behind a virtual serial port",
        "hw.boards.command:add_simulate",
        "--board icebreaker",
    ),
    "host": Command(
        "run a product or the self-test on a board behind a serial port",
        "hw.host.command:add_host",
        "--port /dev/ttyUSB0 --selftest",
    ),
    "boards": Command("show the committed results of all boards", "hw.boards.command:add_boards", ""),
    "gates": Command(
        "measure area, timing and energy of an array in a standard-cell library",
        "hw.gates.command:add_gates",
        "--array 16x4 --lib cells.lib.gz",
    ),
    "resources": Command(
        "measure tables, flip-flops and clock of an array on an FPGA",
        "hw.synthesis.command:add_resources",
        "--array 16x4 --chain 4 --seeds 1,2,3",
    ),
    "options": Command(
        "synthesize what each option of an array costs on ECP5 (minutes)", "hw.synthesis.option_costs:add_options", ""
    ),
    "vector": Command(
        "measure the vector unit's blocks on ECP5: latency, tables, multipliers; write their Verilog",
        "hw.synthesis.vector_unit:add_vector",
        "--out build/vector",
    ),
    "memory": Command(
        "run the SDR SDRAM controller under traffic against a chip that checks every command",
        "hw.memory.command:add_memory",
        "--chip as4c16m16sa-7 --clock-mhz 100 --traffic all",
    ),
    "machine": Command(
        "measure a whole-token machine block by block on an FPGA, and its clock (minutes)",
        "hw.synthesis.machine_command:add_machine",
        "--array 16x16 --multipliers lut --seeds 1,2,3",
    ),
    "disassemble": Command(
        "print a whole-token program in words, or its memory map",
        "hw.program.command:add_disassemble",
        "build/programs/stories260K-16x16",
    ),
    "wave": Command(
        "simulate one GEMM and write a waveform (.vcd) of every signal",
        "hw.simulation.command:add_wave",
        "--array 8x8 --gemm 5x20x30",
    ),
    "diagram": Command(
        "draw a core's blocks with their widths as SVG", "hw.simulation.command:add_diagram", "--array 8x8"
    ),
}


def main(arguments: Sequence[str]) -> None:
    """Run one command."""
    run_command("python -m hw", "Gateware of the ternary array, from Verilog to a board.", COMMANDS, arguments)


if __name__ == "__main__":
    run(main)
