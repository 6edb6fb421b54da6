"""Claims: a task vector is 2 bytes per row, changes no code of any method's run, and lowers its text's perplexity."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the quant extra is not installed")

from hw.errors import InputError  # noqa: E402
from quant import pipeline  # noqa: E402
from quant.__main__ import main  # noqa: E402
from quant.job import QuantJob  # noqa: E402
from quant.manifest import read_manifest  # noqa: E402
from quant.pipeline import quantize  # noqa: E402
from quant.registry import load_method, method_names, options_for  # noqa: E402
from quant.tasks.job import SwapJob, TaskJob  # noqa: E402
from quant.tasks.swap import swap_task  # noqa: E402
from quant.tasks.tune import RowFactors, make_task  # noqa: E402
from quant.tasks.vector import TaskVector, read_task, scaled, write_task  # noqa: E402
from quant.weights.checkpoint import Checkpoint  # noqa: E402
from quant.weights.storage import load_linear, store_linear  # noqa: E402
from tests.quant.methods.problems import problem  # noqa: E402

ROWS = 2 * (24 + 12 + 12 + 24 + 40 + 40 + 24)  # of the tiny model's two blocks
TASK = " ".join(f"w{(5 * i * i + i) % 11}" for i in range(1200))  # a text of eleven words


def quiet(*arguments):
    pass


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_folder, tiny_text):
    """A finished run, and the task's text."""
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "task.txt").write_text(TASK)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "MODELS_FOLDER", folder / "models")
        job = QuantJob(
            model=str(tiny_folder), method="pt-bitnet", text=tiny_text, calib=tiny_text, length=32, windows=2,
            calibration_windows=4, recorded_tokens=4, options={"group": 8, "scales": "pow2"},
        )  # fmt: skip
        yield quantize(job).folder, folder / "task.txt"


def tuned(run, out, **given):
    fields = {"epochs": 6, "rate": 0.03, "tokens_per_step": 128, "length": 32, "calibration_windows": 16}
    return make_task(TaskJob(checkpoint=run[0], calib=run[1], out=out, **fields | given), quiet)


def swapped(run, task, out, monkeypatch):
    monkeypatch.setattr(pipeline, "MODELS_FOLDER", out.parent / "models")
    fields = {"text": run[1], "windows": 8, "length": 32, "recorded_tokens": 4}
    return swap_task(SwapJob(checkpoint=run[0], task=task, out=out, **fields), quiet)


def test_a_task_is_two_bytes_per_row_and_its_run_has_the_same_trits(run, tmp_path, monkeypatch):
    done = tuned(run, tmp_path / "task.safetensors")
    assert (done.rows, done.swapped_bytes) == (ROWS, 2 * ROWS)
    plain = tuned(run, tmp_path / "none.safetensors", epochs=0)
    assert plain.loss is None  # of no step
    before = swapped(run, tmp_path / "none.safetensors", tmp_path / "none", monkeypatch)
    after = swapped(run, tmp_path / "task.safetensors", tmp_path / "task", monkeypatch)
    assert (tmp_path / "none" / "ternary.safetensors").read_bytes() == (run[0] / "ternary.safetensors").read_bytes()
    assert after.manifest.perplexity["a8"] < 0.9 * before.manifest.perplexity["a8"]
    first, second = Checkpoint(run[0] / "ternary.safetensors"), after.checkpoint
    for place in first:
        one, other = first.linear(*place), second.linear(*place)
        np.testing.assert_array_equal(one.trits, other.trits)
        assert one.scales.shape == other.scales.shape
    assert any((first.linear(*place).scales != second.linear(*place).scales).any() for place in first)
    told = read_manifest(after.folder / "manifest.json")
    assert told.true_bits == read_manifest(run[0] / "manifest.json").true_bits
    assert "; rows tuned on task.txt (" in told.calibration
    assert after.recording.linears


def test_a_killed_tuning_goes_on_to_the_same_bytes(run, tmp_path):
    tuned(run, tmp_path / "whole.safetensors")
    out = tmp_path / "killed.safetensors"
    fields = {"epochs": 6, "rate": 0.03, "tokens_per_step": 128, "length": 32, "calibration_windows": 16}
    job = TaskJob(checkpoint=run[0], calib=run[1], out=out, **fields)

    def kill(stage, done, total):
        if done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_task(job, kill)
    assert not out.exists()
    steps = []
    make_task(job, lambda stage, done, total: steps.append(done))
    assert steps[0] == 9
    assert out.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".pt"] == []


SOLVERS = [name for name in method_names() if hasattr(load_method(name), "solve")]


@pytest.mark.parametrize("name", SOLVERS)
def test_rows_of_every_method_are_multiplied_whatever_is_stored(name):
    weight, _, hessian = problem()
    options = options_for(name, {"scale": "row"} if name in ("rtn", "pb-llm-qat") else {})
    first = load_method(name).solve(weight, hessian, options)
    factor = np.linspace(0.5, 2, 12).astype(np.float16)
    found = scaled(first, factor)
    assert torch.equal(found.trits, first.trits)
    wanted = first.dense() * torch.from_numpy(factor.astype(np.float32))[:, None]
    torch.testing.assert_close(found.dense(), wanted, rtol=4e-3, atol=2e-5)
    assert torch.equal(load_linear(*store_linear(found)).dense(), found.dense())
    assert torch.equal(scaled(first, np.ones(12)).dense(), first.dense())


def test_a_factor_is_what_its_rows_products_say():
    base = torch.tensor([[1.0, -2.0], [3.0, 0.5]])
    one = RowFactors(base, torch.tensor([[0.0], [0.25]]).requires_grad_(True))
    assert torch.equal(one.dense(), torch.tensor([[1.0, -2.0], [3.75, 0.625]]))
    (one.dense() * torch.tensor([[2.0, 1.0], [1.0, 4.0]])).sum().backward()
    assert one.change.grad.flatten().tolist() == [0.0, 5.0]


def test_bad_input_is_refused_in_one_line(run, tmp_path, tiny_text, monkeypatch):
    checkpoint = Checkpoint(run[0] / "ternary.safetensors")
    sha = read_manifest(run[0] / "manifest.json").weights_sha256
    factors = {place: np.ones(checkpoint.headers[place].n, np.float16) for place in checkpoint}
    path = tmp_path / "task.safetensors"
    with pytest.raises(InputError, match=r"task\.safetensors: no such file; make it again: tritforge task RUN"):
        read_task(path, checkpoint, sha)
    write_task(path, TaskVector(factors, "0" * 64, "other"))
    with pytest.raises(InputError, match=r"must be a task of .*, not of the run 000000000000"):
        read_task(path, checkpoint, sha)
    write_task(path, TaskVector(dict(list(factors.items())[1:]), sha, "other"))
    write_task(path, TaskVector(dict(list(factors.items())[1:]), "0" * 64, "other"))  # of a run with other linears
    with pytest.raises(InputError, match=r"must be a task of .*, not of the run 000000000000"):
        read_task(path, checkpoint, sha)
    write_task(path, TaskVector(dict(list(factors.items())[1:]), sha, "other"))
    with pytest.raises(InputError, match=r"whole task vector \(linears must be the 14 of the run, not 13 others\)"):
        read_task(path, checkpoint, sha)
    path.write_bytes(b"no task")
    with pytest.raises(InputError, match="must be a whole task vector"):
        read_task(path, checkpoint, sha)
    weight = problem()[0]
    whole = load_method("rtn").solve(weight, None, options_for("rtn", {"scale": "tensor"}))
    with pytest.raises(InputError, match="rows must have scales of their own to be tuned"):
        scaled(whole, np.ones(12))
    with pytest.raises(InputError, match=r"must be a file, not a folder$"):
        tuned(run, tmp_path)
    with pytest.raises(InputError, match=r"task\.safetensors must be a folder that can be written in; give another"):
        tuned(run, path / "inner.safetensors")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(InputError, match="full: must be a new or empty folder"):
        swapped(run, path, tmp_path / "full", monkeypatch)
    with pytest.raises(InputError, match=r"text 'task.txt': 500 windows of 32 tokens need 16000 tokens, not 1200"):
        tuned(run, path, calibration_windows=500)


def test_both_commands(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sizes = ["--length", "32", "--calibration-windows", "4", "--epochs", "1", "--tokens-per-step", "64"]
    main(["task", str(run[0]), "--calib", str(run[1]), "--out", "task.safetensors", "--json", *sizes])
    assert json.loads(capsys.readouterr().out)["swapped_bytes"] == 2 * ROWS
    words = ["--text", str(run[1]), "--windows", "2", "--length", "32", "--recorded-tokens", "4"]
    main(["swap", str(run[0]), "task.safetensors", "--out", "swapped", *words])
    assert "the same trits with the task's scales" in capsys.readouterr().out
    assert read_manifest(tmp_path / "swapped" / "manifest.json").method == "pt-bitnet"
