"""Runs a yosys script inside its own process: an error of yosys ends that process, not this one."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from hw.arithmetic.registers import COPY
from hw.errors import InputError

__all__ = ["FIFO_READS", "HIDE_FIELDS", "KEEP_COPIES", "run_yosys"]

HIDE_FIELDS = "rename -hide w:*]"  # yosys' abc9 fails on wires named "x[0]", which it takes for a bit of x

# Copies of a register (hw.arithmetic.registers.copies) are alike, and only an attribute of the cell keeps them apart.
# The cell may drive a copy by the name of what the copy is connected to, such as a memory's address.
KEEP_COPIES = ("proc", f"setattr -set keep 1 w:*{COPY}* %ci*:+[Q] t:$*dff* %i")

# A FIFO never reads the word that it writes, and an accumulator does not use what it reads so; without being told so,
# synthesis adds a copy of what was written, and a multiplexer behind every block RAM. The names of such memories end in
# ``storage``; the first pass says it of RTLIL, whose reads have their port already, the second of Verilog.
FIFO_READS = (
    "setparam -set COLLISION_X_MASK 1'1 t:$memrd_v2 r:MEMID=*storage %i r:CLK_ENABLE=1 %i",
    "setattr -set no_rw_check 1 m:*storage",
)

_KEPT_LINES = 3  # of yosys' last words in an error message


def run_yosys(passes: Sequence[str], folder: Path) -> str:
    """Run ``passes`` sequentially in ``folder`` and return yosys' log.

    Raises:
        InputError: pyosys is not installed.
        RuntimeError: a pass failed; the message ends with yosys' last lines.
    """
    script = Path(folder) / "script.ys"
    script.write_text("\n".join(passes) + "\n", encoding="utf-8")
    worker = "import sys\nfrom pyosys import libyosys as ys\nys.run_pass('script ' + sys.argv[1], ys.Design())\n"
    command = [sys.executable, "-c", worker, script.name]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    if "No module named 'pyosys'" in done.stderr:
        raise InputError("synthesis needs pyosys: pip install 'tritforge[hw]'")
    if done.returncode:
        words = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()][-_KEPT_LINES:]
        raise RuntimeError(f"yosys failed: {' / '.join(words)}")
    return done.stdout
