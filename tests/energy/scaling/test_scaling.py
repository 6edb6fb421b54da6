"""Claims: points of a sweep hold what runs, simulation and rows say; figures show them; nothing is measured twice."""

import json
import re
from pathlib import Path

import pytest

from energy.__main__ import main
from energy.compare import compare_manifests
from energy.job import Job
from energy.reports.scaling.figures import draw_scaling
from energy.reports.scaling.table import scaling_markdown
from energy.scaling.job import MethodChoice, method_choices
from energy.scaling.points import (
    Machine,
    ScalingPoint,
    Score,
    float_point,
    label_of,
    quantized_point,
    read_points,
    scores_of,
    write_points,
)
from energy.study.accuracy import manifest_of
from hw.errors import InputError
from quant.evaluation.rows import EvaluationRow, add_rows
from quant.manifest import write_manifest
from quant.shapes import load_shape

MACHINE = {"array": "edge-32x32", "memory": "lpddr5-6400", "costs": "horowitz-45nm"}


def row(weights, task, metric, value, shots=0, **more):
    fields = {"model": "m", "weights": "rtn", "activations": "int8", "data_sha256": "d", "standard_error": None}
    fields |= {"items": 10, "cut": 0, "harness": "lm-eval 0", "seconds": 1.0, "device": "CPU"}
    return EvaluationRow(**fields | more, weights_sha256=weights, task=task, metric=metric, value=value, shots=shots)


def rows_of(weights, quality, accuracies):
    patterns = [row(weights, "copy_words", "acc", value, at) for at, value in enumerate(accuracies)]
    return [row(weights, "pages", "bits_per_byte", quality), *patterns]


def manifest(method="rtn", weights="w1", a8=30.0, **more):
    made = manifest_of(method, load_shape("stories260K"))
    perplexity = {"fp": 19.0, "fp_a8": 20.0, "a16": a8, "a8": a8}
    update = {"weights_sha256": weights, "source_sha256": "s", "perplexity": perplexity, "evaluation": "t"}
    return made.model_copy(update=update | more)


def point(method="rtn", weights="w1", joules=1e-3, quality=2.0, accuracies=(0.1, 0.4), **more):
    fields = {
        "model": "m",
        "options": {},
        "parameters": 1_000_000,
        "true_bits": 1.75,
        "whole_bits": 4.0,
        "perplexity": 30.0,
        "perplexity_before": 20.0,
        "evaluation": "t",
        "machine": Machine(**MACHINE, prefill=512, decode=128),
    }
    scores = scores_of(rows_of(weights, quality, accuracies))
    return ScalingPoint(**fields | more, method=method, weights_sha256=weights, joules_per_token=joules, scores=scores)


@pytest.fixture
def elsewhere(tmp_path):
    """Manifests and rows of two runs of one model, as another machine leaves them."""
    paths = [tmp_path / "a" / "manifest.json", tmp_path / "b" / "manifest.json"]
    for path, one in zip(paths, (manifest(), manifest("ptqtp", "w2", 60.0)), strict=True):
        write_manifest(path, one)
    kept = tmp_path / "rows.json"
    for weights, quality in (("s", 1.5), ("w1", 2.0), ("w2", 2.5)):
        add_rows(kept, rows_of(weights, quality, (0.0, 0.5)))
    add_rows(kept, [row("w1", "pages", "bits_per_byte", 9.0, activations="float")])  # taken by no point
    words = [word for path in paths for word in ("--manifest", str(path))]
    machine = [word for name, value in MACHINE.items() for word in (f"--{name}", value)]
    return ["compare", "--models", "stories260K", *words, "--rows", str(kept), *machine]


def test_energies_are_those_of_the_comparison_of_methods(tmp_path):
    write_manifest(tmp_path / "manifest.json", manifest())
    # The model's context of 512 positions is shorter than the default job: it is cut, four to one.
    job = Job(model="stories260K", prefill=410, decode=102, **MACHINE)
    expected = compare_manifests(job, [tmp_path / "manifest.json"]).rows
    default = Job(model="stories260K", **MACHINE)
    points = float_point(default, manifest(), []), quantized_point(default, manifest(), [])
    assert [one.joules_per_token for one in points] == [one.decode_j_per_token for one in expected]
    assert [one.perplexity for one in points] == [20.0, 30.0]
    assert [one.true_bits for one in points] == [16.0, manifest().true_bits]
    assert points[0].machine == Machine(**MACHINE, prefill=410, decode=102)
    assert points[0].megabytes == points[0].parameters * 2 / 1e6


def test_a_run_collapses_at_twice_the_perplexity():
    assert not point(perplexity=39.9).collapsed
    assert point(perplexity=40.0).collapsed
    assert not point(perplexity=None).collapsed


def test_points_replace_those_of_the_same_weights_and_machine(tmp_path):
    write_points(tmp_path / "p.json", [point(joules=1.0), point(weights="w2"), point(joules=2.0)])
    assert [(one.weights_sha256, one.joules_per_token) for one in read_points(tmp_path / "p.json")] == [
        ("w1", 2.0),
        ("w2", 1e-3),
    ]


def test_runs_of_other_machines_are_joined_with_their_rows(elsewhere, tmp_path, capsys):
    main([*elsewhere, "--out", str(tmp_path / "out"), "--json"])
    points = json.loads(capsys.readouterr().out)["points"]
    assert [one["method"] for one in points] == ["float", "rtn", "ptqtp"]
    found = [{score["task"]: score["values"] for score in one["scores"]} for one in points]
    assert found == [{"pages": {"0": quality}, "copy_words": {"0": 0.0, "1": 0.5}} for quality in (1.5, 2.0, 2.5)]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "scaling.json", "scaling-size.svg", "scaling-energy.svg", "shots.svg",
    }  # fmt: skip
    main([*elsewhere, "--out", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert "ptqtp (collapsed)" in printed
    assert "copy_words @1" in printed


def test_points_of_other_sweeps_are_drawn_without_any_model(tmp_path, capsys):
    for name, weights in (("a", "w1"), ("b", "w2")):
        write_points(tmp_path / f"{name}.json", [point(weights=weights)])
    main(
        [
            "compare",
            "--points",
            str(tmp_path / "a.json"),
            "--points",
            str(tmp_path / "b.json"),
            "--out",
            str(tmp_path / "out"),
        ]
    )
    assert "scaling-size.svg" in capsys.readouterr().out
    assert [one.weights_sha256 for one in read_points(tmp_path / "out" / "scaling.json")] == ["w1", "w2"]
    with pytest.raises(InputError, match=r"c.json"):
        main(["compare", "--points", str(tmp_path / "c.json")])


def test_runs_without_rows_are_refused(elsewhere, tmp_path):
    write_manifest(tmp_path / "c" / "manifest.json", manifest(weights="other"))
    with pytest.raises(InputError, match=r"manifest.json: no row is of its weights \(other\); measure them with"):
        main([*elsewhere, "--manifest", str(tmp_path / "c" / "manifest.json"), "--out", str(tmp_path / "out")])


def test_figures_show_every_point_and_cross_out_what_collapsed(tmp_path):
    good, other = point(), point("ptqtp", "w2", joules=2e-3, quality=1.8, model="n")
    bad, plain = point(weights="w3", quality=4.0, perplexity=400.0), point("float", "s", quality=1.2)
    assert draw_scaling(tmp_path, [plain, good, bad, other]) == ["scaling-size.svg", "scaling-energy.svg", "shots.svg"]
    size, energy, shots = (
        (tmp_path / name).read_text() for name in ("scaling-size.svg", "scaling-energy.svg", "shots.svg")
    )
    for figure in (size, energy):
        assert figure.count("<circle") == 3
        assert figure.count('class="cross"') == 1
        assert "collapsed: unusable" in figure
    assert re.search(r"n, ptqtp: 1.80.bits per byte", size)
    assert len(re.findall("<circle", shots)) == 2 * 3  # two numbers of examples, three usable sets of weights
    assert len(re.findall(r"stroke-dasharray:\d", shots)) == 2 * 2  # quantized ones, in the panel and in the key
    assert shots.count("stroke-dasharray:5 4") == 2  # a pattern per method
    assert "n, ptqtp" in shots
    assert draw_scaling(tmp_path, [good.model_copy(update={"scores": ()})]) == []


def test_rows_become_scores_that_only_examples_tell_apart(tmp_path):
    rows = [*rows_of("w1", 2.0, (0.1, 0.4)), row("w1", "copy_words", "acc", 0.6, 2, cut=4)]
    named = {"data_sha256": "d", "items": 10, "harness": "lm-eval 0", "device": "CPU"}
    first, second, third = scores_of(rows)
    assert first == Score(task="pages", metric="bits_per_byte", cut=0, values={0: 2.0}, **named)
    assert second == Score(task="copy_words", metric="acc", cut=0, values={0: 0.1, 1: 0.4}, **named)
    assert third == Score(task="copy_words", metric="acc", cut=4, values={2: 0.6}, **named)
    write_points(tmp_path / "p.json", [point().model_copy(update={"scores": (first, second, third)})])
    (read,) = read_points(tmp_path / "p.json")
    assert read.values("copy_words", "acc") == {0: 0.1, 1: 0.4, 2: 0.6}
    assert [read.value("copy_words", "acc", at) for at in range(4)] == [0.1, 0.4, 0.6, None]


def test_a_file_names_the_weights_of_every_point(tmp_path):
    write_points(tmp_path / "p.json", [point(options={"digits": n}, weights=f"w{n}") for n in (2, 3)])
    assert json.loads((tmp_path / "p.json").read_text())["inputs"] == {
        "m, rtn (digits 2)": "w2",
        "m, rtn (digits 3)": "w3",
    }


def test_labels_name_the_options_that_tell_runs_apart():
    runs = [point(options={"digits": n, "group": 128}, weights=f"w{n}") for n in (2, 3)]
    assert [label_of(one, runs) for one in runs] == ["rtn (digits 2)", "rtn (digits 3)"]
    assert label_of(runs[0], runs[:1]) == "rtn"


def test_the_table_has_first_and_most_examples_and_says_on_what():
    text = scaling_markdown([point(accuracies=(0.125, 0.5, 0.75))])
    header, _, cells = (line.split(" | ") for line in text.splitlines()[:3])
    assert header[-3:] == ["pages: bits per byte", "copy_words @0", "copy_words @2 |"]
    assert cells[-3:] == ["2.000", "12.5", "75.0 |"]
    assert "edge-32x32, lpddr5-6400, horowitz-45nm: 128 tokens after 512" in text


def test_methods_may_have_options_of_their_own():
    assert method_choices("rtn, digits:digits=2:group=64") == [
        MethodChoice("rtn", {}),
        MethodChoice("digits", {"digits": 2, "group": 64}),
    ]
    assert method_choices("ptqtp:tied=true")[0].options == {"tied": True}
    for text, message in (
        ("digits:digits", r"^methods: options of digits must be NAME=VALUE after a colon, not 'digits'$"),
        ("rtnn", r"^method must be one of .*, not 'rtnn'; did you mean 'rtn'"),
    ):
        with pytest.raises(InputError, match=message):
            method_choices(text)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shots", "3"], r"^shots must be left out without models; give --models A,B$"),
        (
            ["--models", "a", "--model", "b"],
            r"^model must be left out in a sweep; give its models between commas: --mod",
        ),
        (
            ["--models", "a", "--workload", "mine.yaml"],
            r"^workload must be left out in a sweep; give its models between commas",
        ),
        (["--models", "a,,b"], r"models must be names between commas, not 'a,,b'"),
        (["--models", "stories260K", "--shots=-1"], r"field 'shots.0' should be greater than or equal to 0, not '-1'"),
        (["--models", "stories260K", "--rows", "nowhere.json", "--manifest", "m.json"], r"nowhere.json"),
    ],
)
def test_what_a_sweep_cannot_be_is_refused(words, message):
    with pytest.raises(InputError, match=message):
        main(["compare", *words])


@pytest.mark.torch
def test_a_stopped_sweep_goes_on(tmp_path, monkeypatch):
    pytest.importorskip("lm_eval")
    from quant import pipeline
    from quant.evaluation import measure
    from quant.evaluation.generated import folder as generated
    from tests.quant.tiny import TEXT, save_tiny_llama

    monkeypatch.setattr(pipeline, "MODELS_FOLDER", tmp_path / "models")
    monkeypatch.setattr(generated, "_FOLDER", tmp_path / "tasks")
    (tmp_path / "words.txt").write_text(TEXT)
    sample = ["--text", str(tmp_path / "words.txt"), "--calib", str(tmp_path / "words.txt"), "--length", "32"]
    model = str(save_tiny_llama(tmp_path / "tiny-llama"))
    words = [
        *("compare", "--models", model, "--methods", "rtn,digits:digits=2", *sample, "--recorded-tokens", "8"),
        *("--tasks", "copy_words", "--shots", "0,1", "--limit", "3", "--out", str(tmp_path / "out"), "--json"),
    ]
    measured, evaluate = [], measure.evaluate

    def counted(job, progress):
        measured.append(job.source)
        if len(measured) == 2:
            raise KeyboardInterrupt
        return evaluate(job, progress)

    monkeypatch.setattr(measure, "evaluate", counted)
    with pytest.raises(KeyboardInterrupt):
        main(words)
    assert len(read_points(tmp_path / "out" / "scaling.json")) == 1
    main(words)
    assert len(measured) == 4  # float, rtn stopped; then rtn and digits
    points = read_points(tmp_path / "out" / "scaling.json")
    assert [one.method for one in points] == ["float", "rtn", "digits"]
    assert all(list(one.values("copy_words", "acc")) == [0, 1] for one in points)


def test_the_committed_figures_are_those_of_the_committed_points(tmp_path):
    root = Path(__file__).parents[3] / "docs"
    for name in draw_scaling(tmp_path, read_points(root / "results" / "scaling.json")):
        assert (tmp_path / name).read_text() == (root / "images" / name).read_text(), "run: make docs"
