"""Claims: what the command measures is what other ways of measuring give; what cannot be had is refused in a line."""

import json
import re

import pytest

pytest.importorskip("lm_eval")

from hw.errors import InputError
from quant import pipeline
from quant.__main__ import main
from quant.evaluation.generated import folder as generated
from quant.evaluation.job import EvaluateJob
from quant.evaluation.measure import evaluate
from quant.evaluation.model import TritforgeLM
from quant.evaluation.rows import read_rows
from quant.job import QuantJob
from quant.llama.evaluate import last_word_accuracy, last_words
from quant.pipeline import quantize

pytestmark = pytest.mark.torch


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "MODELS_FOLDER", tmp_path / "models")
    monkeypatch.setattr(generated, "_FOLDER", tmp_path / "tasks")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return tmp_path


def rows_of(source, **fields):
    return list(evaluate(EvaluateJob(source=str(source), **fields), lambda *_: None))


def task_folder(folder, **changed):
    """Two-choice items in which the first word decides."""
    folder.mkdir(exist_ok=True)
    items = [
        {"q": f"w{i} w{i + 1}", "a": f"w{(5 * i) % 38}", "b": f"w{(7 * i) % 38}", "label": i % 2} for i in range(8)
    ]
    (folder / "mine.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    lines = {
        "task": "mine",
        "dataset_path": "json",
        "dataset_kwargs": "{data_files: {test: mine.jsonl}}",
        "output_type": "multiple_choice",
        "test_split": "test",
        "doc_to_text": '"{{q}}"',
        "doc_to_choice": '"{{[a, b]}}"',
        "doc_to_target": "label",
    } | changed
    (folder / "mine.yaml").write_text("".join(f"{name}: {value}\n" for name, value in lines.items()))
    return folder


def test_a_folders_task_is_judged_item_by_item_as_by_hand(places, tiny_folder, tiny):
    from tests.quant.evaluation.test_model import instances

    folder = task_folder(places / "own")
    rows = {row.metric: row for row in rows_of(tiny_folder, tasks=("mine",), tasks_folder=folder)}
    items = [json.loads(line) for line in (folder / "mine.jsonl").read_text().splitlines()]
    model, right = TritforgeLM(tiny), 0
    for item in items:
        pairs = [(item["q"], f" {item[choice]}") for choice in "ab"]
        first, second = (value for value, _ in model.loglikelihood(instances("loglikelihood", pairs)))
        right += item["label"] == int(second > first)
    share = right / 8
    assert rows["acc"].value == share
    assert rows["acc"].standard_error == pytest.approx((share * (1 - share) / 7) ** 0.5)
    assert (rows["acc"].items, rows["acc"].shots, rows["acc"].weights) == (8, 0, "float")
    (few,) = (row for row in rows_of(tiny_folder, tasks=("mine",), tasks_folder=folder, limit=3) if row.metric == "acc")
    assert few.items == 3
    assert few.data_sha256 != rows["acc"].data_sha256


def test_last_words_are_those_of_quantization(places, tiny_folder, tiny, tmp_path):
    text = tmp_path / "prose.txt"
    # Words that the tiny vocabulary holds, so that some are guessed.
    text.write_text(" ".join(f"{word}." if at % 9 == 8 else word for at, word in enumerate(["see"] * 1500)))
    rows = rows_of(tiny_folder, tasks=("last_words",), prose=text)
    passages = last_words(tiny.tokenizer, text.read_text(), rows[0].items)
    expected = last_word_accuracy(tiny.model, passages, int8=True)
    assert {row.metric: row.value for row in rows}["acc"] == expected


def test_a_finished_run_is_measured_in_its_models_place(places, tiny_folder, tiny_text):
    job = QuantJob(
        model=str(tiny_folder), method="rtn", text=tiny_text, calib=tiny_text, length=32, windows=4, recorded_tokens=8
    )
    done = quantize(job)
    for activations, key in (("int8", "a8"), ("float", "a16")):
        (row,) = rows_of(done.folder, text=(tiny_text,), windows=4, length=32, activations=activations)
        assert row.value == pytest.approx(done.manifest.perplexity[key])
        assert (row.weights, row.weights_sha256) == ("rtn", done.manifest.weights_sha256)
    (before,) = rows_of(tiny_folder, text=(tiny_text,), windows=4, length=32)
    assert before.value == pytest.approx(done.manifest.perplexity["fp_a8"])


def test_examples_are_shown_and_counted(places, tiny_folder, monkeypatch):
    asked, judge = [], TritforgeLM.loglikelihood
    monkeypatch.setattr(
        TritforgeLM,
        "loglikelihood",
        lambda model, requests: asked.append([one.args for one in requests]) or judge(model, requests),
    )
    rows = rows_of(tiny_folder, tasks=("copy_words", "last_words"), shots="0,2", limit=4)
    assert [(row.task, row.shots) for row in rows if row.metric == "acc"] == [
        ("copy_words", 0),
        ("copy_words", 2),
        ("last_words", 0),  # whose file says that it has no examples
    ]
    none, two = (row for row in rows if row.task == "copy_words" and row.metric == "perplexity")
    assert none.data_sha256 == two.data_sha256
    plain, shown, _ = asked
    for (context, target), (longer, same) in zip(plain, shown, strict=True):
        assert context == f"{target.strip()} :"
        assert same == target
        assert longer.endswith(f", {context}")
        assert re.fullmatch(r"(\w+ \w+ \w+) : \1, (\w+ \w+ \w+) : \2, (\w+ \w+ \w+) :", longer)


def test_items_of_a_published_task_are_taken_from_a_folder(places, tiny_folder):
    folder = places / "published"
    folder.mkdir()
    items = [
        {"question": f"w{i}", "choices": {"text": ["w1", "w2"], "label": ["A", "B"]}, "answerKey": "AB"[i % 2]}
        for i in range(4)
    ]
    (folder / "arc_easy.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    rows = {row.metric: row for row in rows_of(tiny_folder, tasks=("arc-e",), tasks_folder=folder)}
    assert (rows["acc"].task, rows["acc"].items) == ("arc_easy", 4)
    assert "acc_norm" in rows


def test_the_command_prints_a_table_and_rows(places, tiny_folder, capsys):
    folder = task_folder(places / "own")
    words = ["evaluate", str(tiny_folder), "--tasks", "mine", "--tasks-folder", str(folder)]
    main(words)
    printed = capsys.readouterr().out
    assert "tiny-llama, its own weights, int8 activations" in printed
    assert "mine" in printed
    main([*words, "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert {row["metric"] for row in rows} == {"acc", "acc_norm"}
    kept = places / "rows.json"
    for _ in range(2):  # the second replaces the first
        main([*words, "--add", str(kept)])
    assert [(row.metric, row.value) for row in read_rows(kept)] == [(row["metric"], row["value"]) for row in rows]
    kept.write_text("{}")
    with pytest.raises(InputError, match=r"rows.json"):
        main([*words, "--add", str(kept)])


def test_a_data_set_that_cannot_be_had_is_named_with_the_way_out(places, tiny_folder, monkeypatch):
    import datasets

    def unreachable(*_, **__):
        raise ConnectionError("Couldn't reach the Hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(
        InputError, match=r"^task 'piqa': its data set baber/piqa is not in the hub's cache .* put the "
    ):
        rows_of(tiny_folder, tasks=("bitnet",), tasks_folder=_with_all_but(places / "some", "piqa", monkeypatch))


def _with_all_but(folder, left_out, monkeypatch):
    """A folder whose other published tasks are taken as loaded."""
    from quant.evaluation import tasks

    published = tasks._published
    monkeypatch.setattr(tasks, "_published", lambda name, place: published(name, place) if name == left_out else {})
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, r"^evaluate: tasks or a text must be given, not neither; give --tasks generated, or --text FILE$"),
        ({"tasks": ("copy_wrods",)}, r"^task must be one of .*, not 'copy_wrods'; did you mean 'copy_words'\?$"),
        ({"tasks": ("mine",), "tasks_folder": "nowhere"}, r"^tasks_folder must be a folder of .* not 'nowhere'$"),
        (
            {"tasks": ("copy_words",), "shots": (41,), "limit": 1},
            r"^shots must be at most 40, the examples of task 'copy_words', not 41$",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(places, tiny_folder, fields, message):
    with pytest.raises(InputError, match=message):
        rows_of(tiny_folder, **fields)


def test_a_folders_faults_are_named_with_their_file(places, tiny_folder):
    folder = task_folder(places / "own", dataset_kwargs="{data_files: {test: other.jsonl}}")
    with pytest.raises(InputError, match=r"mine.yaml: data file 'other.jsonl' of task 'mine' is not in .*; put it"):
        rows_of(tiny_folder, tasks=("mine",), tasks_folder=folder)
    task_folder(folder, doc_to_text='"{{nothing.there}}"')
    with pytest.raises(InputError, match=r"^task 'mine' of .*own: lm-eval cannot load it \(.*undefined"):
        rows_of(tiny_folder, tasks=("mine",), tasks_folder=folder)
    (folder / "mine.yaml").write_text("task: [mine")
    with pytest.raises(InputError, match=r"mine.yaml: must be a task file of lm-eval in YAML"):
        rows_of(tiny_folder, tasks=("mine",), tasks_folder=folder)


def test_options_are_checked_before_torch_is_loaded(tiny_folder, capsys):
    for words, message in (
        (["--shots", "-1"], "field 'shots.0' should be greater than or equal to 0, not '-1'"),
        (["--shots", "two"], "field 'shots.0' .* not 'two'"),
        (["--tasks", "copy_words,,"], "tasks must be names between commas, not 'copy_words,,'"),
        (["--limit", "0"], "field 'limit' should be greater than or equal to 1, not 0"),
    ):
        with pytest.raises(InputError, match=message):
            main(["evaluate", str(tiny_folder), *words])
