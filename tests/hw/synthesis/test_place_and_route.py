"""Figures of nextpnr's report: the slowest clock, cells by the family's names; seeds that end are kept at once."""

import json
import sys
from pathlib import Path

import pytest

from hw.config import load_array
from hw.program.machine import machine_around
from hw.synthesis import machine_blocks, place_and_route
from hw.synthesis.place_and_route import PlaceAndRoute

REPORT = {
    "fmax": {"clk": {"achieved": 51.239}, "slow": {"achieved": 40.5}},
    "utilization": {
        "TRELLIS_COMB": {"used": 100}, "TRELLIS_FF": {"used": 50}, "DP16KD": {"used": 3}, "MULT18X18D": {"used": 4},
        "ALU54B": {"used": 0},
    },
}  # fmt: skip
FIGURES = {"mhz": 40.5, "tables": 100, "flip_flops": 50, "block_rams": 3, "dsps": 4}


@pytest.fixture
def nextpnr(tmp_path, monkeypatch):
    """A program that writes ``REPORT`` with the seed's flip-flops, or fails on seed 9."""
    path = tmp_path / "nextpnr"
    path.write_text(
        f"#!{sys.executable}\n"
        "import json, sys\n"
        "given = dict(zip(sys.argv[1:], sys.argv[2:]))\n"
        "seed = int(given['--seed'])\n"
        "if seed == 9: sys.exit('ERROR: no room')\n"
        f"report = {REPORT!r}\n"
        "report['utilization']['TRELLIS_FF']['used'] += seed\n"
        "open(given['--report'], 'w').write(json.dumps(report))\n"
    )
    path.chmod(0o755)
    monkeypatch.setattr(place_and_route, "program_called", lambda name: str(path))


def test_a_run_says_the_slowest_clock_and_what_is_used(nextpnr, tmp_path):
    place = PlaceAndRoute.of("ecp5", "LFE5U-85F", "router2")
    assert place.command[1:] == (
        "--85k", "--package", "CABGA381", "--speed", "6", "--json", "top.json", "--timing-allow-fail", "--freq", "250",
        "--router", "router2",
    )  # fmt: skip
    assert place.run(tmp_path, 2) == FIGURES | {"flip_flops": 52}
    assert PlaceAndRoute.of("ecp5", "LFE5U-85F", "router2", "heap").command == place.command  # nextpnr's own choice
    static = PlaceAndRoute.of("ecp5", "LFE5U-85F", "router2", "static")
    assert static.command == (*place.command, "--placer", "static")


def test_what_cannot_be_routed_is_said_with_the_last_line(nextpnr, tmp_path):
    with pytest.raises(RuntimeError, match=r"^nextpnr failed: \['ERROR: no room'\]$"):
        PlaceAndRoute.of("ecp5", "LFE5U-85F", "router2").run(tmp_path, 9)


def test_seeds_of_a_machine_are_told_as_they_end(nextpnr, monkeypatch):
    for name in ("synthesize_in", "Scanned", "Machine"):
        monkeypatch.setattr(machine_blocks, name, lambda *_: None)
    machine, told = machine_around(load_array("8x8"), 2), []
    found = machine_blocks.route_machine(
        machine, "ecp5", "dsp", "LFE5U-85F", [3, 1], lambda routed: told.append(json.dumps(routed))
    )
    assert list(found) == ["3", "1"]
    assert found["3"] == FIGURES | {"flip_flops": 53}
    assert len(told) == 2
    assert told[-1] == json.dumps(found)
    assert len(json.loads(told[0])) == 1
    assert not Path("report1.json").exists()
