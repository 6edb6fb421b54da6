"""The main job on shapes: what it writes, that its sums hold, and that bad input costs nothing."""

import html
import json
import re
import shlex
import subprocess
import sys

import pytest

from energy.__main__ import main
from energy.costs.sources import load_source
from energy.job import Job, Rivals, simulate_machines
from energy.model import energy_of
from hw.errors import InputError
from quant.shapes import load_shape


@pytest.fixture(scope="module")
def summary_and_results():
    job = Job(model="stories260K", array="8x8", prefill=16, decode=4)
    return simulate_machines(job, load_shape(job.model))


def test_causes_sum_to_the_cycles_of_each_phase(summary_and_results):
    summary, _ = summary_and_results
    for machine in summary.machines:
        for phase in machine.phases:
            assert sum(phase.causes.values()) == phase.cycles
            assert sum(op.cycles for op in phase.ops) == phase.cycles


def test_the_ternary_array_comes_first_and_the_baselines_share_lanes_and_clock(summary_and_results):
    summary, results = summary_and_results
    assert [machine.mac for machine in summary.machines] == ["ternary", "int8", "fp16"]
    assert len({(r.array.lanes, r.array.clock_hz, r.memory.name) for r in results}) == 1


def test_rivals_are_chosen_by_name_and_reported_one_by_one(capsys, tmp_path):
    job = ["--model", "stories260K", "--shapes-only", "--prefill", "4", "--decode", "2", "--array", "8x8"]
    main(["sim", *job, "--rivals", "w2a8,int8", "--rival-bus", "balanced", "--out", str(tmp_path), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert [(machine["mac"], machine["weight_bits"]) for machine in document["machines"]] == [
        ("ternary", 2),
        ("int8", 8),
        ("w2a8", 2),
    ]
    assert json.loads((tmp_path / "sim-int8.json").read_text())["array"]["weight_bus_bits"] == 4 * 16


def test_an_unknown_rival_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"rivals must be of int8, fp16, w4a8, w2a8, w4a16, .*, not 'int3'"):
        Rivals(rivals="int8,int3")


def test_useful_macs_are_the_same_on_every_machine(summary_and_results):
    _, results = summary_and_results
    counts = [phase.counts for result in results for phase in result.phases if phase.name == "prefill"]
    assert len({c.array_macs + c.vector_macs for c in counts}) == 1


def test_linears_count_exactly_the_models_weights(summary_and_results):
    _, results = summary_and_results
    shape = load_shape("stories260K")
    kinds = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    macs = sum(op.macs for op in results[0].phase("decode").ops if op.name in kinds)
    assert macs == shape.linear_parameters * 4


def test_energy_is_additive_over_parts_and_ordered(summary_and_results, close):
    _, results = summary_and_results
    for result in results:
        energy = energy_of(result, load_source("horowitz-45nm"))
        for phase in energy.phases:
            assert phase.total.typical == close(sum(part.typical for part in phase.parts.values()))
            assert 0 < phase.total.low < phase.total.typical < phase.total.high


def test_array_energy_by_hand(summary_and_results, close):
    """Typical array energy = active MACs x energy per MAC, with nothing else hidden in it."""
    _, results = summary_and_results
    fp16 = results[2]
    energy = energy_of(fp16, load_source("horowitz-45nm")).phase("decode")
    active = sum(op.counts.array_macs_active for op in fp16.phase("decode").ops)
    assert energy.parts["array"].typical == close(active * (1.1 + 0.9) * 1e-12)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (["--shapes-only"], "KV cache 16 bits"),
        ([], "K in 4 and V in 3 balanced-ternary digits, q and k rotated"),
        (["--shapes-only", "--attention", "array"], "K in 4 and V in 3 balanced-ternary digits"),
        (["--shapes-only", "--key-digits", "3"], "K in 3 and V in 3 balanced-ternary digits"),
        (["--kv-bits", "8", "--attention", "vector"], "KV cache 8 bits"),
    ],
)
def test_shapes_alone_keep_k_and_v_as_they_are_unless_digits_are_asked_for(options, kept, tmp_path, capsys):
    sizes = ["--model", "tinyllama-1.1b", "--prefill", "4", "--decode", "1", "--rivals", "int8", "--json"]
    main(["sim", *sizes, "--out", str(tmp_path), *options])
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert kept in next(note for note in notes if "lm_head on" in note or "lm_head run on" in note)


def test_command_writes_every_artifact_and_json_on_request(tmp_path, capsys):
    folder = tmp_path / "out"
    arguments = ["sim", "--model", "stories260K", "--array", "4x4", "--prefill", "8", "--decode", "2"]
    main([*arguments, "--shapes-only", "--out", str(folder), "--json"])
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "sim-ternary.json",
        "sim-int8.json",
        "sim-fp16.json",
        "energy.json",
        "report.md",
        "report.html",
    }
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((folder / "energy.json").read_text())
    assert printed["schema"] == "tritforge.energy"


def test_report_needs_no_network(tmp_path):
    main(["sim", "--model", "stories260K", "--prefill", "8", "--decode", "2", "--shapes-only", "--out", str(tmp_path)])
    page = (tmp_path / "report.html").read_text()
    # latency and energy of two phases, doublings, roofline, timelines, sensitivity of energy and of two savings
    assert page.count("<svg") == 4 + 2 + 1 + 2 + 3
    assert len(page.encode()) < 1_500_000
    assert not re.search(r"\ssrc=|<link|url\(|@import|fetch\(|https?://(?!www\.w3\.org/2000/svg)", page)
    assert "assumed" in page


def test_energy_json_says_what_the_report_says(tmp_path):
    job = ["--model", "stories260K", "--prefill", "8", "--decode", "2", "--array", "8x8", "--kv-bits", "8"]
    main(["sim", *job, "--rivals", "int8", "--shapes-only", "--out", str(tmp_path)])
    document = json.loads((tmp_path / "energy.json").read_text())
    words = html.unescape(re.sub(r"<(sup).*?</sup>|<[^>]+>", "", (tmp_path / "report.html").read_text()))
    first, second = document["verdict"].split(". ", 1)
    for sentence in (f"{first}.", second):
        assert re.sub(r"\s", "", sentence).replace("-", "−") in re.sub(r"\s", "", words)
    assert [row["hold"] for row in document["alternatives"]] == [
        "",
        "lanes",
        "compute-area",
        "area",
        "power",
        "bandwidth",
    ]
    lanes = document["alternatives"][1]
    int8 = document["machines"][1]["phases"][1]
    assert (lanes["decode_tokens_per_s"], lanes["decode_j_per_token"]) == (
        int8["tokens_per_s"],
        int8["total_j_per_token"][1],
    )
    shares = [row["shares"]["decode"] for row in document["assumptions"] if row["shares"]]
    assert sum(shares) == pytest.approx(1)  # every joule rests on a named cost
    assert document["explanation"][1]["phase"] == "decode"


def test_the_command_of_an_alternative_gives_its_row(tmp_path):
    job = ["--model", "stories260K", "--prefill", "8", "--decode", "2", "--array", "16x16", "--no-double-buffer"]
    main(["sim", *job, "--rivals", "w2a8", "--shapes-only", "--out", str(tmp_path / "first")])
    row = json.loads((tmp_path / "first" / "energy.json").read_text())["alternatives"][3]
    assert row["hold"] == "area"
    program, command, *words = shlex.split(row["command"])
    assert (program, command) == ("tritforge", "sim")
    main(["sim", *words, "--out", str(tmp_path / "second")])
    machine = json.loads((tmp_path / "second" / "energy.json").read_text())["machines"][1]
    assert (machine["size"], machine["phases"][0]["seconds"]) == (row["size"], row["prefill_s"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "llama9"], "model must be one of .*llama2-7b.*not 'llama9'"),
        (["--array", "zzz"], "array must be .*edge-32x32.*not 'zzz'"),
        (["--memory", "core-memory"], "memory must be one of .*ddr4-2400.*not 'core-memory'"),
        (["--costs", "free"], "costs must be one of .*horowitz-45nm.*not 'free'"),
        (["--method", "magic"], "method must be one of rtn.*not 'magic'"),
        (["--batch", "0"], "options: field 'batch' .*not 0"),
        (["--prefill", "many"], "options: field 'prefill' .*not 'many'"),
        (["--prefill", "4096"], "4096"),
    ],
)
def test_bad_options_are_one_line_and_write_nothing(tmp_path, arguments, message):
    folder = tmp_path / "out"
    with pytest.raises(InputError, match=message) as caught:
        main(["sim", "--shapes-only", *arguments, "--out", str(folder)])
    assert "\n" not in str(caught.value)
    assert not folder.exists()


def test_command_exits_2_with_one_line_on_standard_error():
    command = [sys.executable, "-m", "energy", "sim", "--model", "llama9"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.startswith("error: model must be one of ")
    assert result.stderr.count("\n") == 1


def test_unknown_option_exits_2():
    result = subprocess.run([sys.executable, "-m", "energy", "sim", "--modle", "x"], capture_output=True, text=True)
    assert result.returncode == 2
    assert "--modle" in result.stderr


def test_the_main_job_on_shapes_loads_neither_torch_nor_amaranth(tmp_path):
    program = (
        "import sys; from energy.__main__ import main; "
        "main(['sim', '--model', 'stories260K', '--prefill', '4', '--decode', '1', '--shapes-only', "
        f"'--out', r'{tmp_path}']); "
        "sys.exit(bool({'torch', 'transformers', 'amaranth'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True).returncode == 0


def test_rivals_whose_weights_are_wider_than_the_memory_are_noted():
    job = Job(model="llama2-7b", memory="lpddr4x-4266", prefill=4, decode=1)
    _, results = simulate_machines(job, load_shape("llama2-7b"), rivals=Rivals(rivals="int8,fp16"))
    late = [any("as if its channels held more" in note for note in result.notes) for result in results]
    assert late == [False, True, True]
    with pytest.raises(InputError, match=r"must hold 13\.48 GiB"):
        simulate_machines(job.model_copy(update={"model": "llama2-70b"}), load_shape("llama2-70b"))


def test_with_more_zeros_the_array_takes_less_energy_and_its_rival_as_much():
    def joules(zeros):
        job = Job(model="stories260K", array="8x8", prefill=8, decode=2, zero_fraction=zeros)
        machines = simulate_machines(job, load_shape("stories260K"), None, Rivals(rivals="int8"))[0].machines
        return [machine.phase("decode").joules_per_token["array"].typical for machine in machines]

    (few, rival), (many, same) = joules(0.1), joules(0.9)
    assert many < few
    assert same == rival
