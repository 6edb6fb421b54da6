"""A FuseSoC core of the AXI top: a CAPI2 core file, the Verilog, and a testbench that any simulator runs."""

import re
from pathlib import Path

from hw.artifact import tool_version, write_text
from hw.config import ArrayConfig
from hw.gateware.bus.axi import beat_bytes
from hw.gateware.bus.constraints import CONSTRAINTS_NAME, CONSTRAINTS_SCRIPT
from hw.gateware.bus.crossing import CoreClock
from hw.integration.examples import ExampleGemm, example_gemms
from hw.integration.files import shipped
from hw.verilog import AXI_NAME, write_verilog

__all__ = ["write_fusesoc"]

_BENCH = "tritforge_tb"
_SIZES = "tritforge_tb_sizes.svh"
_PERIOD = "CORE_PERIOD_PS"
_PARAMETER = f"""
parameters:
  {_PERIOD}:
    datatype: int
    default: 7000
    paramtype: vlogparam
    description: Period of core_clk in ps, beside 10000 of aclk
"""
_CONSTRAINTS = f"""
  constraints:
    files:
      - rtl/{CONSTRAINTS_SCRIPT} : {{file_type : tclSource}}
      - rtl/{CONSTRAINTS_NAME} : {{file_type : user}}
"""  # the script reads the other, with its scope
_VIVADO_ALONE = '"tool_vivado ? (constraints)"'
_REGISTER_WORDS = ("m", "n", "k", "format", "scales")


def write_fusesoc(config: ArrayConfig, folder: Path, core_clock: CoreClock = "bus") -> list[Path]:
    """Write the core file, and ``rtl/`` and ``tb/`` beside it; returns the paths.

    Raises:
        InputError: see ``hw.verilog.axi_verilog``.
    """
    paths = write_verilog(config, folder / "rtl", "axi", core_clock)
    beats = beat_bytes(config)
    gemms = example_gemms(config)
    bench = {
        _SIZES: _sizes(gemms, beats) + ("`define TRITFORGE_CORE_CLOCK\n" if core_clock == "separate" else ""),
        f"{_BENCH}.sv": shipped("fusesoc", f"{_BENCH}.sv"),
        "gemms.hex": "".join(f"{word:08x}\n" for gemm in gemms for word in _description(gemm, beats)),
        **{f"{name}.hex": "".join(_lines(getattr(gemm, name), size) for gemm in gemms) for name, size in beats.items()},
    }
    core = {"tritforge.core": _core_file(config, [*bench], core_clock)}
    for name, text in core.items():
        write_text(folder / name, text)
    for name, text in bench.items():
        write_text(folder / "tb" / name, text)
    return [folder / "tritforge.core", *paths, *(folder / "tb" / name for name in bench)]


def _lines(packet: bytes, size: int) -> str:
    """Beats as hexadecimal numbers, one a line, for ``$readmemh``."""
    return "".join(f"{packet[i : i + size][::-1].hex()}\n" for i in range(0, len(packet), size))


def _description(gemm: ExampleGemm, beats: dict[str, int]) -> list[int]:
    """What the bench reads of one GEMM: register words, then the beats of each packet."""
    return [gemm.words[name] for name in _REGISTER_WORDS] + [
        len(getattr(gemm, name)) // size for name, size in beats.items()
    ]


def _sizes(gemms: list[ExampleGemm], beats: dict[str, int]) -> str:
    """Sizes of the bench's memories, which Verilog cannot read from a file."""
    numbers = {"GEMMS": len(gemms)}
    for name, size in beats.items():
        numbers[f"{name.upper()}_BITS"] = 8 * size
        numbers[f"{name.upper()}_BEATS"] = sum(len(getattr(gemm, name)) for gemm in gemms) // size
    return "".join(f"localparam {name} = {value};\n" for name, value in numbers.items())


def _core_file(config: ArrayConfig, bench: list[str], core_clock: CoreClock) -> str:
    """CAPI2. Ref: FuseSoC's user guide, "CAPI2 core file format"."""
    name = re.sub(r"\W", "_", config.name, flags=re.ASCII)
    number = re.match(r"\d+(\.\d+)*", tool_version())
    data = [f"      - tb/{file} : {{file_type : user, copyto : {file}}}" for file in bench if file.endswith(".hex")]
    separate = core_clock == "separate"
    constraints = _CONSTRAINTS if separate else ""
    filesets = f"[rtl, {_VIVADO_ALONE}]" if separate else "[rtl]"
    used = f"\n    parameters: [{_PERIOD}]" if separate else ""
    return f"""CAPI=2:
name: tritforge:ip:tritforge_axi_{name}:{number[0] if number else 0}
description: Ternary x int8 GEMM core behind AXI4-Stream and AXI4-Lite, {config.rows} lanes x {config.cols} columns

filesets:
  rtl:
    files:
      - rtl/{AXI_NAME}.v
    file_type: verilogSource-2005
  tb:
    files:
      - tb/{_SIZES} : {{is_include_file : true}}
      - tb/{_BENCH}.sv
{chr(10).join(data)}
    file_type: systemVerilogSource
{constraints}{_PARAMETER if separate else ""}
targets:
  default: &default
    filesets: {filesets}
    toplevel: {AXI_NAME}

  sim:
    description: Example GEMMs against the golden model's results (Icarus)
    filesets: [rtl, tb]
    toplevel: {_BENCH}{used}
    flow: sim
    flow_options:
      tool: icarus
      timescale: 1ns/1ps
      iverilog_options: [-g2012]

  sim_verilator:
    description: The same in Verilator, 5.0 or newer
    filesets: [rtl, tb]
    toplevel: {_BENCH}{used}
    flow: sim
    flow_options:
      tool: verilator
      mode: binary
      verilator_options: [--timing, --timescale 1ns/1ps, -CFLAGS -std=c++20]

  lint:
    description: Verilator -Wall of the core
    filesets: [rtl]
    toplevel: {AXI_NAME}
    flow: lint
    flow_options:
      tool: verilator
      verilator_options: [-Wall]
"""
