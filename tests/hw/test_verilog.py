"""Verilog files and their command: deterministic, described, refused with the known names."""

import gc
import hashlib
import json
import re
import subprocess
import sys

import pytest

from hw.artifact import read_artifact
from hw.config import ArrayConfig, load_array
from hw.errors import InputError
from hw.gateware.core import Core
from hw.verilog import axi_verilog, core_rtlil, core_verilog, write_verilog


def command(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "hw", *arguments], capture_output=True, text=True, check=False, timeout=120
    )


def test_another_process_writes_the_same_bytes(tmp_path):
    done = command("verilog", "--array", "3x5", "--out", str(tmp_path), "--json")
    assert done.returncode == 0, done.stderr
    files = json.loads(done.stdout)["files"]
    assert files == [str(tmp_path / "tritforge_core.v"), str(tmp_path / "config.json")]
    text = (tmp_path / "tritforge_core.v").read_text()
    assert text == core_verilog(load_array("3x5"))
    assert "/" not in text.split("\n", 1)[0].replace("//", "")
    assert "src =" not in text


def test_config_json_says_what_was_built(tmp_path):
    config = load_array("2x2")
    source, description = write_verilog(config, tmp_path)
    document = read_artifact(description, "tritforge.verilog", 1)
    assert ArrayConfig(**document["array"]) == config
    assert document["array_sha256"] == config.sha256
    assert document["derived"]["pipeline_latency"] == config.pipeline_latency
    assert document["files"] == {source.name: hashlib.sha256(source.read_bytes()).hexdigest()}


SIZES = [(1, 1, "tree"), (3, 5, "tree"), (8, 32, "tree"), (64, 16, "tree"), (1, 1, "systolic"), (3, 5, "systolic")]
LARGE = [(32, 32, "tree"), (8, 32, "systolic"), (32, 32, "systolic"), (64, 16, "systolic")]


@pytest.mark.parametrize("size", [*SIZES, *(pytest.param(size, marks=pytest.mark.slow) for size in LARGE)], ids=str)
def test_odd_sizes_elaborate_with_the_ports_of_the_config(size):
    rows, cols, organisation = size
    fields = {"token_tile": rows} if organisation == "systolic" else {}
    config = ArrayConfig(name="t", rows=rows, cols=cols, organisation=organisation, **fields)
    ports = re.findall(r"wire width (\d+) (?:input|output) \d+ +(\S+)", core_rtlil(config))
    widths = {name: int(width) for width, name in ports}
    assert widths[r"\activations__payload"] == 8 * rows
    assert widths[r"\results__payload"] == 24 * cols


OPTIONS = {"planes": 2, "group_exponent_bits": 2, "sum_of_x": True, "results": "int8"}


@pytest.mark.parametrize("fields", [OPTIONS, {"organisation": "systolic", "token_tile": 3}], ids=["tree", "systolic"])
def test_every_signal_has_a_name_for_whoever_reads_a_waveform(fields):
    """Amaranth calls a signal ``$signal`` where it cannot see what it is assigned to."""
    config = ArrayConfig(name="t", rows=3, cols=2, **fields)
    assert "$signal" not in core_verilog(config, "lut6") + axi_verilog(config)


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")  # refused, so never used
@pytest.mark.parametrize("mac", ["int8", "fp16"])
def test_only_ternary_arrays_become_gateware(mac):
    config = load_array("4x4").baseline(mac)
    with pytest.raises(InputError, match=rf"^array '4x4/{mac}': mac must be ternary for gateware, not {mac}$"):
        Core(config)
    gc.collect()  # the warning comes with the destruction


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--array", "9y9"], "error: array must be RxC (e.g. 8x8), one of edge-32x32"),
        (["--array", "0x4"], "error: array size must be 1x1 to 1024x1024, not 0x4"),
        (["--board", "nope"], "error: board must be one of "),
        (["--wings"], "error: unknown option '--wings'"),
    ],
)
def test_unknown_names_exit_2_with_one_line(tmp_path, arguments, message):
    done = command("verilog", "--out", str(tmp_path / "out"), *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
