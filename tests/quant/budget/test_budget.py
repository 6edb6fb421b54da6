"""Claims: minutes become steps by hand; a plan is kept, so that the same job ends at the same bits; bad input."""

import json

import pytest

from hw.errors import InputError
from quant import pipeline
from quant.__main__ import main
from quant.budget import budget
from quant.budget.measure import measure_steps, steps_per_epoch
from quant.budget.plan import Plan, StepTimes, plan_for, windows_of
from quant.job import QuantJob
from quant.pipeline import quantize
from quant.procedures.calibrate import token_windows
from quant.registry import options_for
from tests.quant.tiny import TEXT

TINY = {
    "distill_length": 16, "distill_tokens_per_step": 32, "block_tokens_per_step": 64, "group": 16, "flips": 0,
    "held_out": 2,
}  # fmt: skip
SMALL = {"windows": 3, "length": 24, "calibration_windows": 12, "recorded_tokens": 8}


@pytest.fixture
def job(tiny_folder, tiny_text, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "MODELS_FOLDER", tmp_path / "models")
    return QuantJob(model=str(tiny_folder), text=tiny_text, calib=tiny_text, minutes=0.1, options=TINY, **SMALL)


def set_times(monkeypatch, block=0.5, model=0.2):
    monkeypatch.setattr(budget, "measure_steps", lambda *_: StepTimes(block_step_s=block, model_step_s=model))


@pytest.mark.parametrize(
    ("minutes", "block_steps", "steps"),
    [
        (1, 17, 0),  # a step of all 10 blocks takes 3.5 s: seventeen are within 60 s
        (10, 24, 516),  # more than 12 epochs of 2 steps would learn the text by heart: 84 s, and 516 s are left
        (1.7, 24, 0),  # 18 s left: too few steps of distillation to be worth their start
        (1.75, 24, 21),
    ],
)
def test_minutes_become_steps_by_hand(minutes, block_steps, steps):
    times = StepTimes(block_step_s=0.35, model_step_s=1.0)
    plan = plan_for(minutes, times, blocks=10, steps_per_epoch=2, windows=8)
    assert (plan.block_steps, plan.distill_steps) == (block_steps, steps)


def test_minutes_for_no_step_at_all_are_refused_with_the_least():
    times = StepTimes(block_step_s=0.35, model_step_s=1.0)
    with pytest.raises(InputError, match=r"minutes must be at least 0\.058 for a step of each block, not 0\.05"):
        plan_for(0.05, times, blocks=10, steps_per_epoch=2, windows=8)


def test_measured_steps_take_time(tiny):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 24, 12, "words")
    options = options_for("pt-bitnet-full", TINY | {"generated_windows": 0})
    before = {name: value.clone() for name, value in tiny.model.state_dict().items()}
    times = measure_steps(options, tiny, windows, lambda *_: None)
    assert times.block_step_s > 0
    assert times.model_step_s > 0
    assert all(value.equal(before[name]) for name, value in tiny.model.state_dict().items())


def test_steps_of_an_epoch_by_hand():
    options = options_for("pt-bitnet-full", {"block_tokens_per_step": 4096})
    assert steps_per_epoch(options, 60, 512) == 7
    assert steps_per_epoch(options, 5, 512) == 1
    assert steps_per_epoch(options, 5, 8192) == 5


def test_calibration_windows_are_those_asked_for_or_what_a_text_has_of_a_budget():
    job = QuantJob(model="m", minutes=1)
    assert windows_of(job, 512, 10**6) == 64
    assert windows_of(job, 2048, 10**6) == 16
    assert windows_of(job, 8192, 10**6) == 8
    assert windows_of(job, 256, 32004) == 125  # all that the text has
    assert windows_of(job.model_copy(update={"calibration_windows": 3}), 512, 10**6) == 3


def test_a_text_shorter_than_a_budget_s_windows_is_used_whole(job, monkeypatch):
    set_times(monkeypatch)
    manifest = quantize(job.model_copy(update={"calibration_windows": None, "text": None})).manifest
    assert " 125 windows of 24 tokens" in manifest.calibration  # 3000 words


def test_a_job_of_minutes_is_the_job_of_its_steps(job, monkeypatch):
    set_times(monkeypatch)
    done = quantize(job)
    manifest = done.manifest
    assert manifest.method == "pt-bitnet-full"
    # A step of both blocks takes 1 s: three in half of 6 s, and in the rest 15 of distillation, which are too few.
    assert (manifest.options["block_steps"], manifest.options["distill_steps"]) == (6, 0)
    assert manifest.budget == {"minutes": 0.1, "block_step_s": 0.5, "model_step_s": 0.2}
    monkeypatch.setattr(budget, "measure_steps", lambda *_: pytest.fail("measured again"))
    assert quantize(job).folder == done.folder
    times = StepTimes(block_step_s=0.5, model_step_s=0.2)
    plan = Plan(minutes=0.1, times=times, calibration_windows=12, block_steps=6, distill_steps=0)
    typed = job.model_copy(update={"minutes": None, "method": "pt-bitnet-full", "options": plan.options(TINY)})
    assert quantize(typed).folder == done.folder


def test_a_killed_job_goes_on_with_the_steps_that_it_had(job, monkeypatch, tmp_path):
    set_times(monkeypatch, block=0.01, model=0.05)

    def kill(stage, done, total):
        if stage == "reconstruct" and done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantize(job, kill)
    set_times(monkeypatch, block=5, model=5)  # a machine that has become slow
    manifest = quantize(job).manifest
    assert manifest.options["block_steps"] == 12 * 5
    assert manifest.options["distill_steps"] == int((6 - 12 * 5 * 2 * 0.01) / 0.05)
    assert manifest.budget["block_step_s"] == 0.01


def test_other_minutes_are_another_job(job, monkeypatch):
    set_times(monkeypatch, block=0.1)
    first = quantize(job)
    longer = quantize(job.model_copy(update={"minutes": 0.4}))
    assert longer.folder != first.folder
    assert longer.manifest.options["distill_steps"] > 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "rtn", "options": {}}, r"^minutes must be left out with method 'rtn': pt-bitnet-full alone"),
        ({"options": {"epochs": 3}}, r"^option 'epochs' must be left out with minutes, which decide it, not 3$"),
        ({"options": {"bias": True}}, r"method pt-bitnet-full: .*'bias'"),
        ({"options": TINY | {"held_out": 12}}, r"^option held_out must be below the 12 calibration windows, not 12"),
    ],
)
def test_what_minutes_cannot_be_spent_on_is_one_line(job, changes, words):
    with pytest.raises(InputError, match=words):
        quantize(job.model_copy(update=changes))


def test_minutes_must_be_some(tiny_folder):
    with pytest.raises(InputError, match=r"field 'minutes' should be greater than 0"):
        main(["quantize", "--model", str(tiny_folder), "--minutes", "0"])


def test_a_damaged_plan_is_one_line(job, monkeypatch, tmp_path):
    set_times(monkeypatch)
    quantize(job)
    (path,) = (tmp_path / "models").glob("*/plan-*.json")
    document = json.loads(path.read_text())
    document["block_steps"] = "many"
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"plan-\w+\.json: .*'block_steps'.*remove it to measure again"):
        quantize(job)
