"""Claims: runs of so many minutes, and jobs shared by devices, have tables of their own; others are refused."""

from pathlib import Path

import pytest

from hw.errors import InputError
from quant.__main__ import main
from quant.manifest import LinearEntry, Manifest, write_manifest
from quant.procedures.cost import RunCost, write_cost
from quant.results.minutes_table import MINUTES_FILE, minutes_markdown, read_minutes_rows
from quant.results.shared_table import SHARED_FILE, read_shared_rows, shared_markdown
from quant.shapes import load_shape


def run(folder: Path, cost: dict[str, object], **changes) -> Path:
    """A finished run's two files."""
    linear = LinearEntry(
        layer=0, kind="q_proj", n=2, k=2, group=None, scale_kind="row", zero_fraction=0, code_bits=8, scale_bits=32
    )
    fields = {
        "model": "stories260K", "shape": load_shape("stories260K"), "method": "pt-bitnet-full", "packing": "5in8",
        "options": {"block_steps": 90, "distill_steps": 0, "epochs": 12}, "linears": [linear],
        "weights_sha256": "a" * 64,        "source_sha256": "b" * 64, "calibration": "words", "evaluation": "others",
        "perplexity": {"fp": 10.0, "fp_a8": 10.0, "a16": 25.0, "a8": 27.0},
    }  # fmt: skip
    folder.mkdir()
    write_manifest(folder / "manifest.json", Manifest(**fields | changes))
    took = {"seconds": 600, "quantize_seconds": 400, "trained_seconds": 300, "finished_blocks": 0}
    write_cost(folder, RunCost(**took | {"host_bytes": 2**30, "device_bytes": 0, "device": "cpu"} | cost))
    return folder


def test_a_run_of_minutes_is_added_beside_the_others(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("docs/results").mkdir(parents=True)
    assert "keeps one" in minutes_markdown(read_minutes_rows(MINUTES_FILE))
    assert "keeps one" in shared_markdown(read_shared_rows(SHARED_FILE))
    budget = {"minutes": 5.0, "block_step_s": 0.1, "model_step_s": 1.0}
    for name, ppl in (("one", 27.0), ("two", 18.0)):
        figures = {"fp": 10.0, "fp_a8": 10.0, "a16": 25.0, "a8": ppl}
        main(
            [
                "results",
                "--add",
                str(run(tmp_path / name, {}, budget=budget, perplexity=figures)),
                "--machine",
                "2 cores",
            ]
        )
    rows = read_minutes_rows(MINUTES_FILE)
    assert [(row.trained_seconds, row.block_steps, row.perplexity["a8"]) for row in rows] == [(300, 90, 18.0)]
    assert "| 5 | 5.0 min | 10.0 min | 90 / 0 | words | 10.00 | 18.00 | 1.80 | 1.0 GiB | 2 cores |" in minutes_markdown(
        rows
    )
    collapsed = rows[0].model_copy(update={"perplexity": {"fp_a8": 10.0, "a8": 27.0}})
    assert "2.70 (not to be used)" in minutes_markdown([collapsed])
    with pytest.raises(InputError, match=r"must hold the cost\.json of one uninterrupted run"):
        main(["results", "--add", str(run(tmp_path / "resumed", {"finished_blocks": 2}, budget=budget))])


def test_shared_jobs_are_compared_bit_for_bit(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    Path("docs/results").mkdir(parents=True)
    alone, shared = run(tmp_path / "alone", {}), run(tmp_path / "shared", {"quantize_seconds": 250})
    words = ["results", "--add", str(alone), "--beside", str(shared), "--devices", "cuda:0,cuda:1"]
    main(words)
    (row,) = read_shared_rows(SHARED_FILE)
    assert row.equal
    assert row.quantize_seconds == (400, 250)
    assert "| 2 | equal | 400.0 s | 250.0 s | 1.60 x |" in capsys.readouterr().out
    assert "DIFFERENT" in shared_markdown([row.model_copy(update={"equal": False})])
    other = run(tmp_path / "other", {}, calibration="elsewhere")
    with pytest.raises(InputError, match=r"calibration must be 'words', as in .*alone, not 'elsewhere'"):
        main([*words[:4], str(other), *words[5:]])
    with pytest.raises(InputError, match="beside must be left out without add"):
        main(["results", "--beside", str(shared)])
