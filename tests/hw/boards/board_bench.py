"""Cocotb bench of a board's top level: a UART in analogue time between the pins and a pseudo-terminal.

It starts the host program on the other end of the pseudo-terminal and ends when that program ends.
"""

import json
import os
import subprocess
import sys
import tty
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer

FOLDER = Path(os.environ.get("TRITFORGE_BENCH", "."))
POLL_BITS = 20  # bit times between looks at the pseudo-terminal


async def to_board(dut, master: int, bit_ps: int) -> None:
    """Bytes of the pseudo-terminal on ``rx``."""
    while True:
        try:
            data = os.read(master, 64)
        except OSError:  # nothing there
            data = b""
        for byte in data:
            for level in (0, *(byte >> i & 1 for i in range(8)), 1):
                dut.rx.value = level
                await Timer(bit_ps, "ps")
        if not data:
            await Timer(POLL_BITS * bit_ps, "ps")


async def from_board(dut, master: int, bit_ps: int) -> None:
    """Bytes on ``tx`` into the pseudo-terminal; each bit is sampled in its middle."""
    while True:
        await FallingEdge(dut.tx)
        await Timer(bit_ps // 2, "ps")
        byte = 0
        for i in range(8):
            await Timer(bit_ps, "ps")
            byte |= int(dut.tx.value) << i
        await Timer(bit_ps, "ps")
        os.write(master, bytes([byte]))


@cocotb.test()
async def play(dut) -> None:
    """Every scenario of the given file, one host program each, on the same running board."""
    plan = json.loads((FOLDER / "plan.json").read_text())
    bit_ps = 1_000_000_000_000 // plan["baud"]
    dut.rx.value = 1
    Clock(dut.clk, plan["clock_ps"], unit="ps").start()
    await Timer(200 * plan["clock_ps"], "ps")
    outcomes = []
    for scenario in plan["scenarios"]:
        master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(master, False)
        line_bit_ps = round(bit_ps * scenario.get("bit_scale", 1))
        tasks = [cocotb.start_soon(work(dut, master, line_bit_ps)) for work in (to_board, from_board)]
        program = subprocess.Popen(
            [sys.executable, "-m", "hw", "host", "--port", os.ttyname(slave), *scenario["arguments"]],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        bits = 0
        while program.poll() is None:
            await Timer(100 * bit_ps, "ps")
            bits += 100
            if bits > scenario.get("unplug_after_bits", bits):
                for task in tasks:
                    task.cancel()
                os.close(master)
                os.close(slave)
                tasks, master = [], None
                break
        out, err = program.communicate()
        outcomes.append({"returncode": program.returncode, "out": out, "err": err})
        for task in tasks:
            task.cancel()
        if master is not None:
            os.close(master)
            os.close(slave)
        dut.rx.value = 1
        await Timer(30 * bit_ps, "ps")
    (FOLDER / "outcomes.json").write_text(json.dumps(outcomes))
