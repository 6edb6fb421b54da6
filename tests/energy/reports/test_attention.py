"""Tables of attention: lines from committed rows, perplexities only beside the digits that they were measured over."""

import json

import pytest

from energy.reports.attention import attention_table, measure_attention, quality_table

ROW = {
    "prompt": 512, "cache": "4 and 3 digits, rotated", "unit": "array", "lanes": "64x64 + 64", "prefill_s": 1.04,
    "prefill_j_per_token": 1.6e-3, "decode_tokens_per_s": 30.2, "decode_j_per_token": 58.9e-3,
}  # fmt: skip


def write(path, document):
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_a_line_per_placement_digits_and_prompt(tmp_path):
    path = write(tmp_path / "attention.json", {"prompts": [ROW, ROW | {"unit": "vector"}], "models": []})
    lines = attention_table(path).splitlines()[2:]
    tail = "64x64 + 64 | 1.04 s | 1.60 mJ | 30.2 | 58.9 mJ |"
    assert lines == [f"| 512 | 4 and 3 digits, rotated | {unit} | {tail}" for unit in ("array", "vector unit")]


def test_perplexities_stand_beside_their_own_digits_alone(tmp_path):
    simulated = [ROW | {"model": "m", "cache": cache} for cache in ("float", "digits:4/3,rotate", "digits:4")]
    measured = [
        {"model": "m", "weights": "float", "kv": "float", "perplexity": 20.0, "change": 0.0},
        {"model": "m", "weights": "rtn", "kv": "digits:4/3,rotate", "perplexity": 20.5, "change": 0.025},
        {"model": "m", "weights": "float", "kv": "kivi:2", "perplexity": 27.0, "change": 0.35},
        {"model": "other", "weights": "float", "kv": "digits:4", "perplexity": 9.0, "change": 0.1},
    ]
    table = quality_table(
        write(tmp_path / "attention.json", {"prompts": [], "models": simulated}),
        write(tmp_path / "kv.json", {"rows": measured}),
    )
    tail = "1.04 s | 1.60 mJ | 30.2 | 58.9 mJ |"
    assert table.splitlines()[2:] == [
        f"| m | float | 16 bits, on the vector unit | 20.00 | - | {tail}",
        f"| m | rtn | `digits:4/3,rotate` | 20.50 | +2.50% | {tail}",
    ]


@pytest.mark.slow
def test_what_is_committed_is_what_is_simulated(tmp_path):
    """Prompts where the array with digits is the fastest ternary placement, as the page says."""
    measure_attention(tmp_path / "attention.json")
    rows = json.loads((tmp_path / "attention.json").read_text(encoding="utf-8"))["prompts"]
    for prompt in {row["prompt"] for row in rows}:
        here = [row for row in rows if row["prompt"] == prompt and "INT8" not in row["cache"]]
        default = next(row for row in here if row["cache"] == "4 and 3 digits, rotated")
        for other in (row for row in here if row["unit"] == "vector"):
            for figure in ("prefill_s", "prefill_j_per_token", "decode_j_per_token"):
                assert default[figure] < other[figure], (prompt, figure)
