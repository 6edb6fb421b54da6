"""Claims: minutes become steps by hand, and hold all that a run takes; a plan is kept, so that the same job ends at the
same bits; bad input.
"""

import importlib
import json
import time

import pytest

from hw.errors import InputError
from quant import pipeline
from quant.__main__ import main
from quant.budget import budget
from quant.budget.measure import Evaluated, measure_model, measure_times, steps_per_epoch
from quant.budget.plan import Plan, Times, plan_for, windows_of
from quant.job import QuantJob
from quant.kv.formats import parse_kv
from quant.llama.evaluate import LastWord
from quant.pipeline import quantize
from quant.procedures.calibrate import token_windows
from quant.procedures.cost import read_cost
from quant.procedures.work import Work
from quant.registry import load_method, options_for
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


def times_of(**given):
    """Times of a machine that does all but training at once."""
    return Times(**dict.fromkeys(("load_s", "block_s", "evaluation_s"), 0.0) | {"block_step_s": 0.5} | given)


def set_times(monkeypatch, **given):
    model = {"model_step_s": given.pop("model_step_s", 0.2)}
    monkeypatch.setattr(budget, "measure_times", lambda *_: times_of(**given))
    monkeypatch.setattr(budget, "measure_model", lambda _, times: times.model_copy(update=model))
    monkeypatch.setattr(time, "perf_counter", lambda: 0.0)


# 3.5 s for a step of all 10 blocks; beside them 8 s gone, 2 of loading, 10 of perplexities, 10 blocks of 1 s: 30 s.
SLOW = times_of(block_step_s=0.35, model_step_s=0.7, load_s=2, block_s=1, model_s=6, evaluation_s=10)


@pytest.mark.parametrize(
    ("minutes", "block_steps", "steps"),
    [
        (1.5, 15, 0),  # 85.5 s are 95 %: 55.5 s for fifteen steps of all blocks
        (10, 24, 642),  # more than 12 epochs of 2 steps would learn the text by heart: 84 s, and 450 s are left
        (2.2, 24, 0),  # 5.4 s left: too few steps of distillation to be worth their start of 6 s
        (2.5, 24, 32),
    ],
)
def test_minutes_become_steps_by_hand(minutes, block_steps, steps):
    plan = plan_for(minutes, SLOW, planning_s=8, blocks=10, steps_per_epoch=2, windows=8)
    assert (plan.block_steps, plan.distill_steps) == (block_steps, steps)


def test_minutes_for_no_step_at_all_are_refused_with_the_least():
    message = (
        r"^minutes must be at least 0\.59 here, not 0\.55: loading, measuring, the closed form of 10 blocks and "
        r"recording take 0\.5, a step of each block 0\.058; give more, or fewer --calibration-windows or --windows$"
    )
    with pytest.raises(InputError, match=message):
        plan_for(0.55, SLOW, planning_s=8, blocks=10, steps_per_epoch=2, windows=8)
    assert plan_for(0.59, SLOW, planning_s=8, blocks=10, steps_per_epoch=2, windows=8).block_steps == 1


@pytest.mark.parametrize(("load_s", "said"), [(675, "13"), (6888, "122")])
def test_the_least_that_is_said_is_enough_and_written_out(load_s, said):
    """31.5 s beside loading: 12.39 and 121.39 minutes with the 5 % kept back."""
    slow = SLOW.model_copy(update={"load_s": load_s})
    with pytest.raises(InputError, match=rf"^minutes must be at least {said} here, not 1: [^+]+$"):
        plan_for(1, slow, planning_s=8, blocks=10, steps_per_epoch=2, windows=8)
    assert plan_for(float(said), slow, planning_s=8, blocks=10, steps_per_epoch=2, windows=8).block_steps >= 1


@pytest.mark.parametrize(("kv", "recorded"), [("int8", 8), ("float", 24)], ids=["int8", "as many tokens as a window"])
def test_measuring_takes_time_and_leaves_the_model_as_it_is(tiny, tmp_path, kv, recorded):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 24, 12, "words")
    options = options_for("pt-bitnet-full", TINY | {"generated_windows": 0})
    before = {name: value.clone() for name, value in tiny.model.state_dict().items()}
    work = Work(tiny, load_method("pt-bitnet-full"), options, windows, tmp_path, tmp_path, 0, lambda *_: None)
    words = [LastWord(windows[0, :number].tolist(), 1) for number in range(4, 10)]
    times = measure_model(work, measure_times(work, Evaluated([windows[:3]], words, parse_kv(kv), recorded), 1.5))
    assert times.load_s == 1.5
    assert min(times.block_step_s, times.model_step_s, times.block_s, times.model_s, times.evaluation_s) > 0
    after = tiny.model.state_dict()
    assert before.keys() == after.keys()
    assert all(value.equal(before[name]) for name, value in after.items())


class Clock:
    """A machine on which nothing takes time but what is said to: seconds, or a function of a call's arguments."""

    def __init__(self, monkeypatch):
        self.now, self.patch = 0.0, monkeypatch
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def takes(self, place, seconds):
        """Let calls of a function take so long; ``place``: its module and its name there."""
        module, _, name = place.rpartition(".")
        whole = f"quant.{module}.{name}"
        function = getattr(importlib.import_module(f"quant.{module}"), name)

        def slow(*arguments, **named):
            self.now += seconds(*arguments) if callable(seconds) else seconds
            return function(*arguments, **named)

        self.patch.setattr(whole, slow)


@pytest.mark.parametrize("busy", ["closed form", "forward", "perplexity", "held out"])
def test_a_run_ends_within_its_minutes_whatever_else_than_training_takes_them(job, monkeypatch, busy):
    clock = Clock(monkeypatch)
    clock.takes("procedures.reconstruct.advance", 0.05)
    clock.takes("procedures.distill.advance", 0.5)
    share = dict.fromkeys(("closed form", "forward", "perplexity", "held out"), 1.0) | {busy: 9}
    for module in ("budget.budget", "quantizer"):
        clock.takes(f"{module}.load_model", 0.3)
    clock.takes("procedures.modelwise.block_hessians", 0.3 * share["closed form"])
    for module in ("modelwise", "reconstruct"):
        clock.takes(f"procedures.{module}.run_in_place", lambda _, hidden, *__: 0.01 * len(hidden) * share["forward"])
    for module in ("budget.measure", "quantizer"):
        clock.takes(f"{module}.perplexity", lambda _, windows, *__: 0.05 * len(windows) * share["perplexity"])
    clock.takes("llama.recorder._record", 0.1)
    clock.takes("procedures.modelwise.divergence", 0.3 * share["held out"])
    done = quantize(job.model_copy(update={"minutes": 1}))
    assert done.manifest.options["distill_steps"] >= 20
    assert 0.9 * 60 < clock.now <= 60
    assert read_cost(done.folder).seconds == pytest.approx(clock.now)


def test_minutes_below_the_closed_form_are_refused_before_a_block_is_solved(job, monkeypatch, tmp_path):
    clock = Clock(monkeypatch)
    clock.takes("procedures.modelwise.block_hessians", 20)
    clock.takes("procedures.reconstruct.advance", 0.05)
    clock.takes("procedures.distill.advance", 0.05)
    with pytest.raises(
        InputError, match=r"^minutes must be at least 1\.1 here, not 1: .* 2 blocks and recording take 1,"
    ):
        quantize(job.model_copy(update={"minutes": 1}))
    assert 20 < clock.now < 21  # of the one that was measured
    assert not list((tmp_path / "models").rglob("parts"))


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
    # A step of both blocks takes 1 s: five in 95 % of 6 s, and no room for 20 of distillation.
    assert (manifest.options["block_steps"], manifest.options["distill_steps"]) == (5, 0)
    assert manifest.budget == {"minutes": 0.1, "planning_s": 0.0, **times_of().model_dump(exclude_none=True)}
    monkeypatch.setattr(budget, "measure_times", lambda *_: pytest.fail("measured again"))
    assert quantize(job).folder == done.folder
    plan = Plan(minutes=0.1, times=times_of(), planning_s=0, calibration_windows=12, block_steps=5, distill_steps=0)
    typed = job.model_copy(update={"minutes": None, "method": "pt-bitnet-full", "options": plan.options(TINY)})
    assert quantize(typed).folder == done.folder


def test_a_killed_job_goes_on_with_the_steps_that_it_had(job, monkeypatch, tmp_path):
    set_times(monkeypatch, block_step_s=0.01, model_step_s=0.07)

    def kill(stage, done, total):
        if stage == "reconstruct" and done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantize(job, kill)
    set_times(monkeypatch, block_step_s=5, model_step_s=5)  # a machine that has become slow
    manifest = quantize(job).manifest
    assert manifest.options["block_steps"] == 12 * 5
    assert manifest.options["distill_steps"] == int((0.95 * 6 - 12 * 5 * 2 * 0.01) / 0.07)
    assert manifest.budget["block_step_s"] == 0.01


def test_other_minutes_are_another_job(job, monkeypatch):
    set_times(monkeypatch, block_step_s=0.1)
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


@pytest.mark.parametrize(
    ("given", "words"), [("0", "greater than 0"), ("1e308", "less than or equal to 1000000, not 1e")]
)
def test_minutes_must_be_some(tiny_folder, given, words):
    with pytest.raises(InputError, match=rf"field 'minutes' should be {words}"):
        main(["quantize", "--model", str(tiny_folder), "--minutes", given])


def test_a_damaged_plan_is_one_line(job, monkeypatch, tmp_path):
    set_times(monkeypatch)
    quantize(job)
    (path,) = (tmp_path / "models").glob("*/plan-*.json")
    document = json.loads(path.read_text())
    document["block_steps"] = "many"
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"plan-\w+\.json: .*'block_steps'.*remove it to measure again"):
        quantize(job)
