"""Claims: a benchmark runs every stage and extrapolates what did not run; reports come back from their file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hw.errors import InputError
from quant.llama import blocks as llama
from quant.llama.blocks import place
from quant.llama.loading import random_llama
from quant.procedures.stopwatch import Lap
from quant.results.bench import _cost, run_bench
from quant.results.bench_job import BenchJob
from quant.results.bench_report import BenchReport, StageCost, add_reports, bench_markdown, read_report, read_reports
from quant.shapes import load_shape

FULL = {"epochs": 1, "distill_steps": 40, "distill_length": 32, "distill_tokens_per_step": 64, "generated_windows": 3}


def quiet(*arguments):
    pass


def report(**changes):
    stages = [
        StageCost(stage="solve", unit="block", run=2, whole=10, first=5.0, later=3.0),
        StageCost(stage="distill step", unit="step", run=4, whole=4, first=9.0, later=1.0),
    ]
    fields = {
        "model": "stories260K", "method": "pt-bitnet", "options": {}, "windows": 4, "length": 8,
        "blocks_run": 2, "blocks": 10, "stages": stages, "wall_seconds": 21.0,
        "device_bytes": {"blocks": 2 * 10**9}, "host_bytes": 2**30, "blocks_built": 2, "device": "CPU",
    }  # fmt: skip
    return BenchReport(**fields | changes)


def test_whole_job_is_what_ran_and_the_later_times_repeated():
    one = report()
    assert [cost.measured_seconds for cost in one.stages] == [8.0, 12.0]
    assert [cost.whole_seconds for cost in one.stages] == [32.0, 12.0]
    assert one.extrapolated
    assert one.whole_seconds == 32 + 12 + (21 - 20) * 10 / 2
    assert not report(stages=one.stages[1:]).extrapolated
    text = bench_markdown([one])
    assert "0.8 min, extrapolated" in text
    assert "0.2 min, measured" in text
    assert "2.0 GB (blocks)" in text


def test_later_times_are_the_mean_of_all_but_the_first_and_laps_of_one_number_add_up():
    laps = [Lap("solve", 0, 5.0), Lap("forward", 0, 50.0), Lap("solve", 0, 1.0), Lap("solve", 1, 2.0)]
    laps += [Lap("solve", 2, 4.0), Lap("forward", 1, 70.0), Lap("solve", 2, 3.0), Lap("distill step", 9, 8.0)]
    counts = {"block": 32, "step": 100}
    assert _cost("solve", laps, counts) == StageCost(stage="solve", unit="block", run=3, whole=32, first=6.0, later=4.5)
    assert _cost("forward", laps, counts) == StageCost(
        stage="forward", unit="block", run=2, whole=32, first=50.0, later=70.0
    )
    alone = StageCost(stage="distill step", unit="step", run=1, whole=100, first=8.0, later=8.0)
    assert _cost("distill step", laps, counts) == alone


def test_host_memory_of_all_blocks_adds_the_weights_that_were_not_made():
    one = report(model="llama2-7b", blocks=32, blocks_built=10)
    assert one.whole_host_bytes == 2**30 + 22 * 2 * (4 * 4096 * 4096 + 3 * 4096 * 11008)
    assert "1.0 GiB with 10 of 32 blocks' weights, 9.3 GiB with all" in bench_markdown([one])


@pytest.mark.parametrize("streamed", [False, True])
def test_fast_and_full_run_every_stage(monkeypatch, streamed):
    monkeypatch.setattr(llama, "_RESIDENT_BYTES", 0 if streamed else 1 << 40)
    job = BenchJob(model="stories260K", blocks=2, windows=4, length=32)
    fast = run_bench(job, quiet)
    assert {cost.stage for cost in fast.stages} == {"bring block", "Hessians", "solve", "forward", "write"}
    assert all((cost.run, cost.whole) == (2, 5) for cost in fast.stages)
    assert fast.blocks_built == 2
    options = FULL | {"distilled": "scales"}
    full = run_bench(job.model_copy(update={"method": "pt-bitnet-full", "options": options, "steps": 3}), quiet)
    runs = {cost.stage: (cost.run, cost.whole) for cost in full.stages}
    assert runs["reconstruct"] == (2, 5)
    assert runs["distill step"] == (3, 40)
    assert runs["generate text"][0] == 1
    assert full.blocks_built == 5


def test_tuning_goes_through_the_whole_model_and_repeats_its_steps_by_epochs():
    """Of four windows, two to a step: one epoch of two steps runs, and three are a whole job's six."""
    options = {"tokens_per_step": 16}
    done = run_bench(
        BenchJob(model="stories260K", method="peqa", options=options, windows=4, length=8, blocks=1), quiet
    )
    steps = {one.stage: one for one in done.stages}
    assert (steps["tune step"].run, steps["tune step"].whole) == (2, 6)
    assert (done.blocks_run, done.blocks_built) == (5, 5)
    assert set(done.device_bytes) == set()


def test_random_model_waits_on_the_host_in_bfloat16():
    model = place(random_llama(load_shape("stories260K"), torch.device("cpu")), torch.device("cpu"), streamed=True)
    weight = model.model.layers[0].self_attn.q_proj.weight
    assert weight.dtype == torch.bfloat16
    assert 0.018 < weight.float().std() < 0.022
    assert model.lm_head.weight.dtype == torch.float32


def test_reports_come_back_and_replace_their_like(tmp_path):
    path = tmp_path / "bench.json"
    add_reports(path, [report(), report(method="rtn")])
    add_reports(path, [report(wall_seconds=30.0)])
    assert [(one.method, one.wall_seconds) for one in read_reports(path)] == [("rtn", 21.0), ("pt-bitnet", 30.0)]
    path.write_text("[")
    with pytest.raises(InputError, match="cannot be read as JSON"):
        read_report(path)


def test_command_prints_a_report_and_refuses_in_one_line(tmp_path):
    command = [sys.executable, "-m", "quant", "bench", "--model", "stories260K", "--blocks", "1", "--windows", "2"]
    command += ["--length", "16", "--json"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}

    def run(*arguments):
        return subprocess.run(
            [*command, *arguments], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
        )

    assert BenchReport.model_validate(json.loads(run().stdout)).blocks_run == 1
    failed = run("--device", "cdua")
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: device must be one that torch can use here")
