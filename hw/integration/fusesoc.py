"""A FuseSoC core of the AXI top: a CAPI2 core file, the Verilog, and a testbench that any simulator runs."""

import re
from pathlib import Path

from hw.artifact import tool_version, write_text
from hw.config import ArrayConfig
from hw.gateware.bus.axi import beat_bytes
from hw.gateware.bus.constraints import CONSTRAINTS_NAME, CONSTRAINTS_SCRIPT
from hw.integration.examples import ExampleGemm, example_gemms
from hw.integration.files import shipped
from hw.integration.variant import Variant

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
_SIMULATIONS = f"""
  sim:
    description: Example GEMMs against the golden model's results (Icarus)
    filesets: [rtl, tb]
    toplevel: {_BENCH}{{used}}
    flow: sim
    flow_options:
      tool: icarus
      timescale: 1ns/1ps
      iverilog_options: [-g2012]

  sim_verilator:
    description: The same in Verilator, 5.0 or newer
    filesets: [rtl, tb]
    toplevel: {_BENCH}{{used}}
    flow: sim
    flow_options:
      tool: verilator
      mode: binary
      verilator_options: [--timing, --timescale 1ns/1ps, -CFLAGS -std=c++20]
"""
_VIVADO_ALONE = '"tool_vivado ? (constraints)"'
_REGISTER_WORDS = ("m", "n", "k", "format", "scales")


def write_fusesoc(config: ArrayConfig, folder: Path, variant: Variant) -> list[Path]:
    """Write the core file, and ``rtl/`` and ``tb/`` beside it; returns the paths.

    A top with masters has no ``tb/`` and no simulation: the testbench sends streams.

    Raises:
        InputError: see ``hw.verilog.axi_verilog``.
    """
    paths = variant.write(config, folder / "rtl")
    bench = {} if variant.masters else _bench(config, variant)
    write_text(folder / "tritforge.core", _core_file(config, [*bench], variant))
    for name, text in bench.items():
        write_text(folder / "tb" / name, text)
    return [folder / "tritforge.core", *paths, *(folder / "tb" / name for name in bench)]


def _bench(config: ArrayConfig, variant: Variant) -> dict[str, str]:
    """The testbench with its packets, by file name."""
    beats, gemms = beat_bytes(config), example_gemms(config)
    return {
        _SIZES: _sizes(gemms, beats) + "`define TRITFORGE_CORE_CLOCK\n" * variant.separate,
        f"{_BENCH}.sv": shipped("fusesoc", f"{_BENCH}.sv"),
        "gemms.hex": "".join(f"{word:08x}\n" for gemm in gemms for word in _description(gemm, beats)),
        **{f"{name}.hex": "".join(_lines(getattr(gemm, name), size) for gemm in gemms) for name, size in beats.items()},
    }


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


def _core_file(config: ArrayConfig, bench: list[str], variant: Variant) -> str:
    """CAPI2. Ref: FuseSoC's user guide, "CAPI2 core file format"."""
    name = re.sub(r"\W", "_", config.name, flags=re.ASCII)
    number = re.match(r"\d+(\.\d+)*", tool_version())
    constraints = _CONSTRAINTS if variant.separate else ""
    filesets = f"[rtl, {_VIVADO_ALONE}]" if variant.separate else "[rtl]"
    used = f"\n    parameters: [{_PERIOD}]" if variant.separate and bench else ""
    sources = "\n".join(f"      - rtl/{file}" for file in variant.sources)
    bus = "AXI4 masters" if variant.masters else "AXI4-Stream"
    return f"""CAPI=2:
name: tritforge:ip:{variant.name}_{name}:{number[0] if number else 0}
description: Ternary x int8 GEMM core behind {bus} and AXI4-Lite, {config.rows} lanes x {config.cols} columns

filesets:
  rtl:
    files:
{sources}
    file_type: verilogSource-2005
{_bench_files(bench)}{constraints}{_PARAMETER if used else ""}
targets:
  default: &default
    filesets: {filesets}
    toplevel: {variant.name}
{_SIMULATIONS.format(used=used) if bench else ""}
  lint:
    description: Verilator -Wall of the core
    filesets: [rtl]
    toplevel: {variant.name}
    flow: lint
    flow_options:
      tool: verilator
      verilator_options: [-Wall]
"""


def _bench_files(bench: list[str]) -> str:
    """The file set of a testbench."""
    if not bench:
        return ""
    data = [f"      - tb/{file} : {{file_type : user, copyto : {file}}}" for file in bench if file.endswith(".hex")]
    return f"""  tb:
    files:
      - tb/{_SIZES} : {{is_include_file : true}}
      - tb/{_BENCH}.sv
{chr(10).join(data)}
    file_type: systemVerilogSource
"""
