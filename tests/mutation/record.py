"""Judged samples that are kept, ``results.json``, and their tables in docs/robustness.md.

A sample is recorded once its survivors were looked at: those without effect are in ``equivalent.yaml`` by then and
leave the count, the others stay in it.
"""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from hw.artifact import write_text
from hw.pages import markdown_table

__all__ = ["RESULTS", "recorded", "scores_table", "survivors_table", "write_record"]

RESULTS = Path(__file__).with_name("results.json")
_PACKAGES = ("energy", "sim", "quant", "hw")
_CAUGHT = ("caught", "timeout")
_DECLARED = "tests/test_declared.py"


def recorded(judged: Mapping, known: Mapping[str, str]) -> dict:
    """What is kept of a judged sample: counts by package, and the survivors; ``known``: keys of equivalents."""
    rows = [row for row in judged["rows"] if row["key"] not in known]
    mutants, caught = Counter(map(_package, rows)), Counter()
    caught.update(_package(row) for row in rows if row["verdict"] in _CAUGHT)
    return {
        "seed": judged["seed"],
        "commit": judged["commit"],
        "sample": len(judged["rows"]),
        "equivalent": len(judged["rows"]) - len(rows),
        "mutants": {name: mutants[name] for name in _PACKAGES},
        "caught": {name: caught[name] for name in _PACKAGES},
        "declared": sum(row.get("by") == _DECLARED for row in rows),
        "survivors": [row["key"] for row in rows if row["verdict"] not in _CAUGHT],
    }


def write_record(sample: dict, path: Path = RESULTS) -> None:
    """Keep ``sample``, in place of an earlier one of its seed and commit."""
    samples = _samples(path)
    kept = [one for one in samples if (one["seed"], one["commit"]) != (sample["seed"], sample["commit"])]
    write_text(path, json.dumps([*kept, sample], indent=1) + "\n")


def scores_table(path: Path = RESULTS) -> str:
    """Caught of effective mutants, by package, a sample per row.

    A constant's are those that the list of what is declared caught (``tests.declared``), which says that a constant or
    default changed, and not that a number is wrong.
    """
    rows = [
        [
            f"{sample['seed']}",
            f"`{sample['commit']}`",
            f"{sample['sample']}",
            f"{sample['equivalent']}",
            *(f"{sample['caught'][name]} of {sample['mutants'][name]}" for name in _PACKAGES),
            f"{_total(sample, 'caught')} of {_total(sample, 'mutants')}",
            f"{sample.get('declared', 0)}",
            f"{_total(sample, 'caught') / max(1, _total(sample, 'mutants')):.1%}",
        ]
        for sample in _samples(path)
    ]
    heads = ["seed", "commit", "sample", "without effect", *_PACKAGES, "caught", "of them a constant's", "score"]
    return markdown_table(heads, rows)


def survivors_table(path: Path = RESULTS) -> str:
    """The survivors of the newest sample: file, line, change."""
    rows = []
    for key in (_samples(path) or [{"survivors": []}])[-1]["survivors"]:
        file, _, rest = key.partition(": ")
        line, _, change = rest.rpartition(": ")
        rows.append([file, *(f"`{text.replace('|', chr(92) + '|')}`" for text in (line, change))])
    return markdown_table(["file", "line", "change"], rows)


def _samples(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def _package(row: Mapping) -> str:
    return row["key"].partition("/")[0]


def _total(sample: Mapping, name: str) -> int:
    return sum(sample[name].values())
