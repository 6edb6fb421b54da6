"""A generated task: lm-eval's fields and the items, written as a YAML file and JSON lines that lm-eval itself reads."""

import json
from pathlib import Path
from typing import NamedTuple

import yaml

from hw.artifact import write_text

__all__ = ["GeneratedTask"]


class GeneratedTask(NamedTuple):
    """``fields``: of lm-eval's task file, but for the data's; ``shots``: items that examples are drawn from."""

    name: str
    fields: dict[str, object]
    items: list[dict[str, object]]
    shots: list[dict[str, object]] = []

    def write(self, folder: Path) -> None:
        """Write ``NAME.yaml``, ``NAME.jsonl`` and, where there are examples, ``NAME.shots.jsonl``."""
        files, splits = {"test": f"{self.name}.jsonl"}, {"test_split": "test"}
        _write_lines(folder / files["test"], self.items)
        if self.shots:
            files["shots"], splits["fewshot_split"] = f"{self.name}.shots.jsonl", "shots"
            _write_lines(folder / files["shots"], self.shots)
        document = {
            "task": self.name,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": files},
            **splits,
            **self.fields,
            "metadata": {"version": 1.0},
        }
        write_text(folder / f"{self.name}.yaml", yaml.safe_dump(document, sort_keys=False, allow_unicode=True))


def _write_lines(path: Path, items: list[dict[str, object]]) -> None:
    write_text(path, "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items))
