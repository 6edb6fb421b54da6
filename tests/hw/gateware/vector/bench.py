"""A pipeline fed with a set of inputs per edge: in the Amaranth simulator, and its Verilog in Icarus."""

import shutil
import subprocess

import pytest
from amaranth import Shape
from amaranth.back import verilog
from amaranth.lib.wiring import In

from tests.hw.amaranth_bench import played_by

__all__ = ["icarus", "simulated"]


def simulated(dut, inputs):
    """Outputs per input set, ``{member: list}``, each read ``dut.latency`` edges after its inputs were there."""
    names, count = list(inputs), len(next(iter(inputs.values())))
    found = {name: [] for name in _members(dut, output=True)}

    async def bench(ctx):
        for edge in range(count + dut.latency):
            for name in names:
                ctx.set(getattr(dut, name), inputs[name][min(edge, count - 1)])
            await ctx.tick()
            if edge + 1 >= dut.latency and len(found[next(iter(found))]) < count:
                for name, values in found.items():
                    value = ctx.get(getattr(dut, name))
                    values.append(value if isinstance(value, int) else list(value))

    played_by(dut, bench)
    return found


def icarus(dut, inputs, folder):
    """The same from the block's Verilog; scalar members only."""
    if not (shutil.which("iverilog") and shutil.which("vvp")):
        pytest.skip("Icarus Verilog is not installed")
    shapes = {name: Shape.cast(member.shape) for name, member in dut.signature.members.items()}
    outputs = _members(dut, output=True)
    count = len(next(iter(inputs.values())))
    (folder / "dut.v").write_text(verilog.convert(dut, name="dut", emit_src=False), encoding="utf-8")
    rows = [
        "".join(format(inputs[name][i] % (1 << shapes[name].width), f"0{shapes[name].width}b") for name in inputs)
        for i in range(count)
    ]
    (folder / "rows.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    bits = len(rows[0])
    ports = [f".{name}({name})" for name in [*inputs, *outputs]]
    declared = [f"reg [{shapes[name].width - 1}:0] {name};" for name in inputs]
    declared += [f"wire [{shapes[name].width - 1}:0] {name};" for name in outputs]
    shown = " ".join("%0b" for _ in outputs)
    (folder / "bench.v").write_text(
        f"""module bench;
reg clk = 0, rst = 0; integer i; reg [{bits - 1}:0] rows [0:{count - 1}];
{" ".join(declared)}
dut dut(.clk(clk), .rst(rst), {", ".join(ports)});
initial begin
  $readmemb("rows.txt", rows);
  // Once unseen: a combinational block that no input has woken yet is x in Icarus.
  for (i = 0; i < {count}; i = i + 1) begin {{{", ".join(inputs)}}} = rows[i]; #1 clk = 1; #1 clk = 0; #1; end
  for (i = 0; i < {count + dut.latency}; i = i + 1) begin
    {{{", ".join(inputs)}}} = rows[i < {count} ? i : {count - 1}];
    #1 clk = 1; #1 clk = 0; #1;
    if (i + 1 >= {dut.latency} && i + 1 < {count + dut.latency}) $display("{shown}", {", ".join(outputs)});
  end
  $finish;
end
endmodule
""",
        encoding="utf-8",
    )
    subprocess.run(["iverilog", "-g2012", "-o", "bench.vvp", "bench.v", "dut.v"], cwd=folder, check=True)
    done = subprocess.run(["vvp", "-n", "bench.vvp"], cwd=folder, check=True, capture_output=True, text=True)
    lines = [line.split() for line in done.stdout.splitlines() if line[:1] in "01" and line]
    return {name: [_signed(int(line[at], 2), shapes[name]) for line in lines] for at, name in enumerate(outputs)}


def _members(dut, output):
    return [name for name, member in dut.signature.members.items() if (member.flow != In) == output]


def _signed(value, shape):
    return value - (1 << shape.width) if shape.signed and value >> (shape.width - 1) else value
