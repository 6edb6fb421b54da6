"""Claims: the committed rows make the documented table; a run replaces its own row and no other."""

from pathlib import Path

import pytest

from hw.errors import InputError
from quant.results.table import RESULTS_FILE, Results, Row, add_row, read_results, results_markdown

ROW = Row(
    model="m",
    method="rtn",
    options={"group": None},
    seed=0,
    true_bits=1.6,
    perplexity={"fp": 10.0, "fp_a8": 10.0, "a16": 30.0, "a8": 31.0},
    last_word={"fp_a8": 0.4, "a8": 0.1},
    evaluation="text",
    prose="prose",
    calibration="slice",
    seconds=90.0,
    device="a machine",
)


def test_row_of_the_table_by_hand():
    table = results_markdown(read_results_of([ROW]))
    assert (
        "| m | `rtn` | group row | 0 | 1.600 | - | 30.00 | 31.00 | 3.10 | 10.0% | 25% | - | 1.5 min | a machine |"
        in table
    )
    assert table.endswith("- evaluated on text; last words of prose; calibrated on slice")


def test_full_precision_is_the_first_row_of_its_model():
    newer = ROW.model_copy(update={"seed": 1, "perplexity": ROW.perplexity | {"fp": 9.5, "fp_a8": 9.75}})
    lines = results_markdown(read_results_of([ROW, newer])).splitlines()
    assert lines[2].startswith("| m | full precision |  | - | 16 | 16 | 9.50 | 9.75 | 1.00 | 40.0% | 100% |")


def test_what_was_not_measured_is_a_dash():
    bare = ROW.model_copy(update={"perplexity": {"fp": 10.0, "a16": 30.0}, "last_word": {}, "seconds": None})
    assert "| 30.00 | - | - | - | - | - | - |" in results_markdown(read_results_of([bare]))


def test_bits_of_the_whole_file_are_the_row_s_or_those_of_tables_at_16_bits():
    # stories260K: 5 layers of 4 x 64 x 64 less half of k and v, 3 x 64 x 172; 512 x 64 embedding; 11 norms of 64.
    known = ROW.model_copy(update={"model": "stories260K"})
    linears, others = 5 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 64 * 172), 512 * 64 + 11 * 64
    wanted = (1.6 * linears + 16 * others) / (linears + others)
    assert f"| 1.600 | {wanted:.2f} |" in results_markdown(read_results_of([known]))
    said = known.model_copy(update={"whole_bits": 2.345})
    assert "| 1.600 | 2.35 |" in results_markdown(read_results_of([said]))


def test_tokens_of_distillation_by_hand():
    steps = {"generated_windows": 1000, "distill_steps": 100, "distill_tokens_per_step": 8192}
    trained = ROW.model_copy(update={"options": steps})
    assert "| 0.51 M / 0.8 M |" in results_markdown(read_results_of([trained]))


def test_best_perplexity_comes_first():
    better = ROW.model_copy(update={"method": "best", "perplexity": ROW.perplexity | {"a8": 12.0}})
    lines = results_markdown(read_results_of([ROW, better])).splitlines()
    assert "best" in lines[3]


def test_adding_again_replaces_the_row(tmp_path):
    path = tmp_path / "results.json"
    add_row(path, ROW)
    add_row(path, ROW.model_copy(update={"seed": 1}))
    add_row(path, ROW.model_copy(update={"true_bits": 1.7}))
    assert [(row.seed, row.true_bits) for row in read_results(path).rows] == [(1, 1.6), (0, 1.7)]


def test_damaged_file_is_refused(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        read_results(path)


def test_committed_results_meet_the_accuracy_targets():
    # The headline: one plane, at most 1.75 bits, int8 activations.
    rows = read_results(Path(__file__).parents[3] / RESULTS_FILE).rows
    small = [row for row in rows if row.model == "smollm2-135m" and row.true_bits <= 1.75]
    best = min(small, key=lambda row: row.perplexity.get("a8", 1e9))
    assert best.perplexity["a8"] <= 1.48 * best.perplexity["fp_a8"]
    heard = [row for row in rows if row.model == "smollm2-135m" and row.last_word]
    assert max(row.last_word["a8"] / row.last_word["fp_a8"] for row in heard) >= 0.45


def read_results_of(rows):
    return Results(rows=rows)


def test_outside_a_checkout_there_are_none(tmp_path):
    with pytest.raises(InputError, match="committed results are part of a checkout"):
        read_results(tmp_path / "docs" / "results" / "quantization.json")
