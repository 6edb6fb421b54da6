"""``python -m sim``: JSON that adds up, artifacts that read back, one error line with status 2."""

import json
import subprocess
import sys

import pytest

from hw.errors import InputError
from sim.__main__ import main
from sim.memory import load_memory, memory_names
from sim.result import read_result


def test_json_has_the_cycles_of_each_phase(capsys):
    main(["run", "--model", "stories260K", "--array", "8x8", "--prefill", "5", "--decode", "3", "--json"])
    summary = json.loads(capsys.readouterr().out)
    assert [phase["name"] for phase in summary["phases"]] == ["prefill", "decode"]
    for phase in summary["phases"]:
        assert phase["cycles"] == sum(op["cycles"] for op in phase["ops"]) == sum(phase["causes"].values())


def test_the_artifact_reads_back(tmp_path, capsys):
    path = tmp_path / "sim.json"
    main(
        [
            "run",
            "--model",
            "stories260K",
            "--array",
            "8x8",
            "--mac",
            "int8",
            "--prefill",
            "9",
            "--decode",
            "2",
            "--ops",
            "--out",
            str(path),
        ]
    )
    assert read_result(path).array.mac == "int8"
    assert "q_proj" in capsys.readouterr().out


def test_an_unknown_memory_exits_2_with_the_known_ones():
    command = [sys.executable, "-m", "sim", "run", "--memory", "drum"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: memory must be one of ddr3-1600, ddr4-2400")
    assert done.stderr.count("\n") == 1


def test_importing_the_simulator_loads_neither_torch_nor_amaranth():
    code = "import sys, sim.simulator; print({'torch', 'amaranth'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_choices_of_a_run_reach_it_and_wrong_ones_are_refused(capsys):
    run = ["run", "--model", "stories260K", "--prefill", "9", "--decode", "2"]
    main([*run, "--prefill-chunk", "4", "--fuse-projections", "--json"])
    names = [op["name"] for op in json.loads(capsys.readouterr().out)["phases"][0]["ops"]]
    assert "gate_proj+up_proj" in names
    with pytest.raises(InputError, match="field 'prefill_chunk' should be greater than or equal to 1, not 0"):
        main([*run, "--prefill-chunk", "0"])


def test_dram_table_shows_what_interleaving_bank_groups_gains(capsys):
    main(["dram", "--json"])
    table = json.loads(capsys.readouterr().out)
    assert set(table) == set(memory_names())
    assert table["ddr4-2400"]["interleaved"] > 1.4 * table["ddr4-2400"]["sequential"]


def test_bench_reports_cycles_of_the_decode_projection(capsys):
    """Tile by tile behind DRAM takes at least the cycles of edge by edge without it: 131 080 on 32x32, 8 beats."""
    main(["bench", "--json"])
    report = json.loads(capsys.readouterr().out)
    cycles = {row["what"]: row["cycles"] for row in report["rows"]}
    assert cycles["decode q_proj 1x4096x4096, edge by edge"] == 131_080
    assert cycles["decode q_proj 1x4096x4096, tile by tile"] > 131_080
    assert report["peak_bytes"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prefill", "4000", "--decode", "200"], "at most 4096 positions .* prefill 4000 [+] decode 200 = 4200"),
        (["--prefill", "0"], "field 'prefill' should be greater than or equal to 1, not 0"),
        (["--batch", "0"], "field 'batch' should be greater than or equal to 1, not 0"),
        (["--cores", "0"], "field 'cores' should be greater than or equal to 1, not 0"),
        (
            ["--array", "edge-32x32", "--cores", "1000"],
            r"two tiles for each of 1000 cores \(512000 bytes\), not 262144",
        ),
        (["--cores", "2", "--core-link-bits", "0"], "options: field 'core_link_bits' .*, not 0"),
        (["--mapping", "columns", "--array", "64x64", "--model", "llama2-70b"], "K = 28672 .458752 bytes., not 262144"),
        (["--descriptor-tokens", "0"], "options: field 'descriptor_tokens' .*, not 0"),
        (["--prefetch-tiles", "0"], "options: field 'prefetch_tiles' .*, not 0"),
        (["--placement", "lm_head=array"], "lm_head must run on vector or host .*, not on array"),
        (
            ["--array", "edge-32x32", "--kv-bits", "16", "--on-chip"],
            "weight_buffer_bytes must be at least 2347761664 .*, not 262144",
        ),
        (["--array", "2000x1"], "array size must be 1x1 to 1024x1024, not 2000x1"),
        (["--host", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
    ],
)
def test_impossible_runs_are_refused_in_one_line_with_the_numbers(arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        main(["run", *arguments])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": 0}, "field 'channels' should be greater than or equal to 1, not 0"),
        ({"write_cost": 0.5}, "field 'write_cost' should be greater than or equal to 1, not 0.5"),
    ],
)
def test_impossible_memories_are_refused_by_field(tmp_path, changes, message):
    path = tmp_path / "memory.yaml"
    path.write_text(json.dumps(load_memory("lpddr5-6400").model_dump() | changes), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        main(["run", "--memory", str(path)])


def test_a_weight_buffer_below_two_tiles_is_refused(tmp_path):
    path = tmp_path / "array.yaml"
    path.write_text("name: small\nrows: 32\ncols: 32\nweight_buffer_bytes: 100\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"two tiles \(2 x 256 bytes\), not 100"):
        main(["run", "--array", str(path)])


@pytest.mark.parametrize("organisation", ["tree", "systolic"])
@pytest.mark.parametrize("array", ["1x1", "7x3", "13x1"])
def test_one_lane_primes_and_one_token_run(array, organisation, capsys):
    arguments = ["--model", "stories260K", "--array", array, "--organisation", organisation]
    main(["run", *arguments, "--prefill", "1", "--decode", "1", "--json"])
    assert all(phase["cycles"] > 0 for phase in json.loads(capsys.readouterr().out)["phases"])
