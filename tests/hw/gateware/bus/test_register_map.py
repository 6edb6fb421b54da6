"""The register map in C, Python and HTML says what the gateware decodes; no answer of the bus waits for a request."""

import json
import re
import subprocess

import pytest
from amaranth.back import rtlil

from hw.config import load_array
from hw.gateware.bus.axi_lite import AxiLiteRegisters
from hw.gateware.bus.register_map import REGISTER_MAP, REGISTERS, c_header, html_page, python_module
from hw.host import zynq
from hw.synthesis.yosys import run_yosys
from hw.verilog import write_verilog

# By hand, from the page docs/hardware.md: what software that was written for this map relies on.
KNOWN = {"IDENTITY": 0, "CONTROL": 12, "STATUS": 16, "M": 20, "CYCLES_LOW": 32, "CYCLES_HIGH": 36, "FORMAT": 80}
MASKS = {"CONTROL_RESET_MASK": 2, "STATUS_DONE_MASK": 2, "FORMAT_SHIFT_SHIFT": 8, "SCALES_OFFSET_MASK": 0xFFFF0000}


def test_the_c_header_compiles_and_holds_the_known_numbers(tmp_path):
    (tmp_path / "tritforge_registers.h").write_text(c_header())
    names = [name for name in (*KNOWN, *MASKS) if name != "IDENTITY"]
    prints = "".join(f'printf("{name} %u\\n", TRITFORGE_{name});' for name in names)
    source = f'#include <stdio.h>\n#include "tritforge_registers.h"\nint main(void) {{ {prints} return 0; }}\n'
    (tmp_path / "t.c").write_text(source)
    subprocess.run(["gcc", "-Wall", "-Werror", "-o", "t", "t.c"], cwd=tmp_path, check=True)
    done = subprocess.run(["./t"], cwd=tmp_path, capture_output=True, text=True, check=True)
    found = {name: int(value) for name, value in (line.split() for line in done.stdout.splitlines())}
    assert found == {name: value for name, value in (KNOWN | MASKS).items() if name != "IDENTITY"}


def test_python_constants_are_those_of_the_header():
    scope: dict = {}
    exec(python_module(), scope)
    defined = dict(re.findall(r"#define TRITFORGE_(\w+) (0x\w+)u", c_header()))
    assert {name: int(value, 16) for name, value in defined.items()} == {n: scope[n] for n in defined}
    assert scope["STATUS"] == KNOWN["STATUS"]


def test_the_page_has_every_register_and_field():
    page = html_page()
    for register in REGISTER_MAP:
        assert f"<td>0x{register.offset:02x}</td><td>{register.name}</td>" in page
        assert all(f"<td>{field.name}</td>" in page for field in register.fields)


def test_fields_of_a_register_do_not_overlap_and_fit_it():
    for register in REGISTER_MAP:
        bits = [bit for field in register.fields for bit in range(field.low, field.low + field.bits)]
        assert len(bits) == len(set(bits))
        assert all(bit < 32 for bit in bits)


def test_the_drivers_own_names_are_registers():
    assert set(zynq._REGISTERS) <= set(REGISTERS)


def test_the_files_are_written_and_hashed_beside_the_verilog(tmp_path):
    paths = write_verilog(load_array("2x2"), tmp_path, "axi")
    names = [path.name for path in paths]
    assert names == ["tritforge_axi.v", *(f"tritforge_registers.{k}" for k in ("h", "py", "html")), "config.json"]
    assert set(json.loads(paths[-1].read_text())["files"]) == set(names[:-1])


@pytest.mark.parametrize("output", ["awready", "wready", "bvalid", "bresp", "arready", "rvalid", "rdata", "rresp"])
def test_no_output_of_the_bus_follows_an_input_within_an_edge(output, tmp_path):
    (tmp_path / "bus.il").write_text(rtlil.convert(AxiLiteRegisters(23), name="top", emit_src=False))
    cone = f"select -assert-none w:{output} %ci*:-$dff,$sdff,$dffe,$sdffe,$sdffce i:* %i i:clk %d i:rst %d"
    run_yosys(["read_rtlil bus.il", "proc", "opt_dff", "cd top", cone], tmp_path)


def test_a_ready_that_follows_its_valid_is_found(tmp_path):
    text = rtlil.convert(AxiLiteRegisters(23), name="top", emit_src=False)
    (tmp_path / "bus.il").write_text(text)
    follows = "connect -set awready awvalid"
    cone = "select -assert-none w:awready %ci*:-$dff,$sdff,$dffe,$sdffe,$sdffce i:* %i i:clk %d i:rst %d"
    with pytest.raises(RuntimeError, match="selection is not empty"):
        run_yosys(["read_rtlil bus.il", "proc", "opt_dff", "cd top", follows, cone], tmp_path)
