"""A core on a clock of its own: the benches of both bus tops at several ratios, phases and at random, with registers
that sample what changes near their edge now or an edge later.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from amaranth.back import rtlil

from hw.config import ArrayConfig
from hw.errors import InputError
from hw.gateware.bus.axi import AxiCore
from hw.gateware.bus.axi_dma import AxiDmaCore
from hw.gateware.bus.crossing import SeparateClock
from hw.synthesis.yosys import run_yosys
from hw.verilog import AXI_NAME, DMA_NAME, axi_verilog, dma_verilog
from tests.hw.gateware.bus.test_register_slice import CLOCKED_READS, OUTPUTS, assert_registered
from tests.hw.icarus import run_bench
from tests.hw.seeded import Fault, copy_with

CONFIG = ArrayConfig(name="4x3", rows=4, cols=3, weight_bus_bits=16, token_tile=4)
BENCHES = {"axi": (AXI_NAME, axi_verilog, 9), "dma": (DMA_NAME, dma_verilog, 6), "crossing": (AXI_NAME, axi_verilog, 4)}


def unsettled(verilog: str) -> str:
    """The first register of every synchronizer takes each bit as it is, or as it was 1 ns before, at random.

    Of what changes shorter before the edge than 1 ns any bit may be missed: what a metastable register does.
    """
    found = 0

    def sampled(module: re.Match) -> str:
        nonlocal found
        assigned = re.search(r"    stage0 <= (\w+);", module[0])
        if not assigned or "async_ff" in module[0]:
            return module[0]
        found += 1
        name = assigned[1]
        bits = re.search(rf"  input (\[\d+:0\] )?{name};", module[0])[1] or ""
        late = f"  wire {bits}late;\n  assign #1 late = {name};\n  reg {bits}chosen;\n"
        mixed = f"begin chosen = $random; stage0 <= ({name} & chosen) | (late & ~chosen); end"
        return module[0].replace("  always", late + "  always", 1).replace(f"    stage0 <= {name};", f"    {mixed}")

    changed = re.sub(r"^module \w+_cdc\(.*?^endmodule$", sampled, verilog, flags=re.M | re.S)
    assert found > 5, "no synchronizers"
    return changed


def passes(bench: str, core_clock: str, folder: Path, verilog: str = "") -> None:
    """That bench must pass with that core clock; ``verilog``: of another top than its own."""
    name, write, tests = BENCHES[bench]
    source = folder / f"{name}.v"
    source.write_text(unsettled(verilog or write(CONFIG, core_clock="separate")))
    environment = {
        "TRITFORGE_ARRAY": CONFIG.model_dump_json(),
        "TRITFORGE_CORE_CLOCK": core_clock,
        "COCOTB_LOG_LEVEL": "WARNING",
    }
    run_bench([source], name, f"tests.hw.gateware.bus.{bench}_bench", folder, environment, tests)


@pytest.mark.parametrize(("bench", "core_clock"), [("dma", "3:2"), ("crossing", "random:2")])
def test_a_bench_passes_at_that_ratio_and_phase(bench, core_clock, tmp_path):
    passes(bench, core_clock, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bench", "core_clock"),
    [
        ("axi", "random:1"),
        ("crossing", "27:0"),
        ("axi", "10:5"),
        ("axi", "67:3"),
        ("dma", "10:0"),
        ("dma", "random:3"),
        ("crossing", "3:1"),
        ("crossing", "10:5"),
    ],
)
def test_a_bench_passes_at_more_ratios_and_phases(bench, core_clock, tmp_path):
    passes(bench, core_clock, tmp_path)


FAULTS = [
    Fault("packet_gate.py", "self.drop_inputs.eq(asked)", "self.drop_inputs.eq(0)"),
    Fault("packet_gate.py", "self.drop_results.eq(asked_bus)", "self.drop_results.eq(0)"),
    Fault("packet_gate.py", "self.stalled.eq(asked | answered_core)", "self.stalled.eq(0)"),
    Fault("packet_gate.py", "level.eq(level ^ self.starts)", "level.eq(level | self.starts)"),
    Fault("crossing.py", "else (1, opened, 0)", "else (1, 1, 0)"),
    Fault("crossing.py", "with m.Elif(~asked & ~seen):", "with m.Else():"),
    Fault("crossing.py", "opened & gate.opened[_INPUTS.index(stem)]", "opened"),
]
WRITE = """
import os
from hw.config import ArrayConfig
from hw.verilog import axi_verilog
print(axi_verilog(ArrayConfig.model_validate_json(os.environ["TRITFORGE_ARRAY"]), core_clock="separate"))
"""


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.new)
def test_a_seeded_fault_is_found(fault, tmp_path):
    copy_with(fault, Path("gateware/bus"), tmp_path)
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "TRITFORGE_ARRAY": CONFIG.model_dump_json()}
    done = subprocess.run([sys.executable, "-c", WRITE], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    bench = "axi" if fault.new == "opened" else "crossing"
    with pytest.raises(AssertionError):
        passes(bench, "27:0", tmp_path, done.stdout)


@pytest.mark.parametrize("bench", ["axi", "dma"])
def test_nothing_crosses_but_through_synchronizers_and_queues(bench, tmp_path):
    """No register of one clock reads one of the other within an edge, but the first of each synchronizer."""
    top = {"axi": AxiCore, "dma": AxiDmaCore}[bench](CONFIG, outer_clock=True)
    (tmp_path / "top.il").write_text(rtlil.convert(SeparateClock(top), name="top", emit_src=False))
    script = ["read_rtlil top.il", "hierarchy -top top", "proc", "flatten", "opt_clean", "cd top", CLOCKED_READS]
    for name, clock in (("bus", "aclk"), ("core", "core_clk")):
        script += [
            f"select -set {name} w:{clock} %co1:+$dff[CLK] t:$dff %i",
            f"select -set {name}_read @{name} c:*_cdc.* %d %ci1 w:* %i %ci*:-$dff,$adff,clocked_read w:* %i",
            f"select -set {name}_synchronized @{name} c:*_cdc.* %i %ci1 w:* %i",
            f"select -set {name}_written @{name} %co1:+$dff[Q] w:* %i",
            f"select -assert-min 40 @{name}_written",
        ]
    for to, of in (("bus", "core"), ("core", "bus")):
        script += [
            f"select -assert-none @{to}_read @{of}_written %i",
            f"select -assert-min 5 @{to}_synchronized @{of}_written %i",
        ]
    run_yosys(script, tmp_path)


def test_no_output_follows_an_input_within_an_edge(tmp_path):
    top = SeparateClock(AxiCore(CONFIG, outer_clock=True))
    text = rtlil.convert(top, name="top", emit_src=False)
    assert_registered(text, tmp_path, outputs=OUTPUTS, clocks=("aclk", "core_clk", "aresetn"))


def test_an_unknown_clock_is_refused():
    with pytest.raises(InputError, match=r"^core clock must be one of bus, separate, not 'fast'$"):
        axi_verilog(CONFIG, core_clock="fast")
