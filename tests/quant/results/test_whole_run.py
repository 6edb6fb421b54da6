"""Claims: a whole job from random files is killed, goes on, and ends with equal bits; what it took is said."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hw.document import validate_document
from hw.errors import InputError
from quant.llama.loading import load_model, load_tokenizer, random_llama
from quant.procedures.cost import RunCost, finished_blocks, read_cost, write_cost
from quant.results.bench_job import BenchJob
from quant.results.bench_report import add_reports, bench_markdown, read_report, read_reports
from quant.results.random_files import write_random_model, write_random_text
from quant.results.whole_report import WholeReport
from quant.results.whole_run import run_whole
from quant.shapes import load_shape
from quant.source import resolve

SHAPE = load_shape("stories260K").model_copy(update={"layers": 2})


def report(**changes):
    fields = {
        "model": "llama2-7b", "method": "pt-bitnet", "options": {}, "windows": 128, "length": 2048, "blocks": 32,
        "weight_bytes": 13 * 10**9, "weights_seconds": 20.0, "kill_after": 1, "seconds": [60.0, 480.0],
        "quantize_seconds": 420.0, "finished_blocks": 1, "host_bytes": 14 * 2**30, "device_bytes": 21 * 10**9,
        "weights_sha256": "a" * 64, "equal": None, "device": "GPU",
    }  # fmt: skip
    return WholeReport(**fields | changes)


def test_files_hold_the_random_weights_and_a_text_of_one_token_per_word(tmp_path):
    write_random_model(tmp_path / "m", SHAPE, torch.device("cpu"))
    loaded = load_model(resolve(str(tmp_path / "m")), "cpu")
    wanted = dict(random_llama(SHAPE, torch.device("cpu")).named_parameters())
    for name, value in loaded.model.named_parameters():
        assert torch.equal(value, wanted[name].float()), name
    write_random_text(tmp_path / "text.txt", SHAPE, 1000)
    tokens = load_tokenizer(tmp_path / "m", SHAPE).encode((tmp_path / "text.txt").read_text())
    assert len(tokens) == 1000
    assert len(set(tokens)) > 300  # of 512: all over the vocabulary


def test_files_are_kept_where_they_are_of_the_model_and_refused_where_not(tmp_path):
    folder = tmp_path / "m"
    write_random_model(folder, SHAPE, torch.device("cpu"))
    before = (folder / "model.safetensors").stat().st_mtime_ns
    write_random_model(folder, SHAPE, torch.device("cpu"))
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="must have layers 5, as stories260K here, not 2; give another folder"):
        write_random_model(folder, load_shape("stories260K"), torch.device("cpu"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    with pytest.raises(InputError, match="must be a new or empty folder"):
        write_random_model(tmp_path / "other", SHAPE, torch.device("cpu"))


@pytest.mark.parametrize("given", [{"kill_after": 1}, {"compare": True}])
def test_what_needs_files_is_refused_without(given):
    with pytest.raises(InputError, match=f"{next(iter(given))} must be left out without files"):
        validate_document(given, BenchJob, "options")


def test_kill_after_the_last_block_and_a_job_without_work_are_refused(tmp_path):
    job = BenchJob(model="stories260K", files=tmp_path / "m", blocks=2, kill_after=2)
    with pytest.raises(InputError, match="kill_after must be below the 2 blocks that run, not 2"):
        run_whole(job, lambda *_: None)
    with pytest.raises(InputError, match="method must be one that quantizes, not 'native'"):
        run_whole(job.model_copy(update={"method": "native"}), lambda *_: None)
    assert not (tmp_path / "m").exists()


def test_reports_of_both_kinds_share_a_file_and_say_what_they_measured(tmp_path):
    path, one = tmp_path / "bench.json", tmp_path / "one.json"
    one.write_text(report().model_dump_json())
    add_reports(path, [read_report(one), report(blocks=3, equal=True)])
    add_reports(path, [report(seconds=[30.0, 90.0])])
    found = read_reports(path)
    assert [(each.blocks, each.seconds) for each in found] == [(3, [60.0, 480.0]), (32, [30.0, 90.0])]
    table = bench_markdown(found)
    assert "equal to a run not killed" in table
    assert "| 1 block | 0.5 min | 1.5 min | 7.0 min | 21.0 GB | 14.0 GiB | not compared |" in table
    assert "DIFFERENT" in bench_markdown([report(equal=False)])


def test_finished_blocks_count_parts_once_whatever_their_kind(tmp_path):
    for name in ("0.safetensors", "0.window.safetensors", "11.window.safetensors", "norm.safetensors", ".2.x.tmp"):
        (tmp_path / name).touch()
    assert finished_blocks(tmp_path) == 2
    assert finished_blocks(tmp_path / "none") == 0


def test_cost_comes_back_and_is_described(tmp_path):
    assert read_cost(tmp_path) is None
    cost = RunCost(
        seconds=90, quantize_seconds=60, trained_seconds=30, finished_blocks=2, host_bytes=2**31, device_bytes=3 << 30,
        device="cuda",
    )  # fmt: skip
    write_cost(tmp_path, cost)
    assert read_cost(tmp_path) == cost
    wanted = "1.5 min, 0.5 of them training, 2 blocks kept from before; at most 2.0 GiB of memory, 3.0 GiB of cuda"
    assert cost.described == wanted
    (tmp_path / "cost.json").write_text("{")
    with pytest.raises(InputError, match="remove it: the run is whole without it"):
        read_cost(tmp_path)


@pytest.mark.slow
def test_command_kills_a_job_and_ends_with_the_bits_of_one_that_is_not(tmp_path):
    command = [sys.executable, "-m", "quant", "bench", "--model", "stories260K", "--files", str(tmp_path / "m")]
    command += ["--blocks", "3", "--windows", "4", "--length", "64", "--kill-after", "1", "--compare", "--json"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    found = WholeReport.model_validate(json.loads(done.stdout))
    assert found.equal
    assert 1 <= found.finished_blocks < 3
    assert len(found.seconds) == 2
    assert found.host_bytes > 50 << 20
    run = next((tmp_path / "m" / "run" / "build" / "models").glob("*/*/cost.json")).parent
    assert read_cost(run).trained_seconds is None
