"""Tasks by name: of a folder, generated, published ones by lm-eval's files with data of the hub or of a folder."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir
from pathlib import Path
from typing import NamedTuple

import lm_eval.tasks
import yaml
from lm_eval.api.task import Task
from lm_eval.tasks import TaskManager

from hw.errors import InputError, did_you_mean
from hw.progress import StageReport
from quant.evaluation.generated.folder import write_generated
from quant.evaluation.generated.names import GENERATED
from quant.evaluation.job import TaskChoice
from quant.evaluation.quiet import quiet_harness
from quant.text import evaluation_text

__all__ = ["load_tasks"]

_SHIPPED = Path(lm_eval.tasks.__file__).parent
_INDEXED = "read lm-eval's index of tasks (a quarter of a minute)"


class _Published(NamedTuple):
    """Where lm-eval has a task's file, and which data set and split of the hub it evaluates."""

    folder: str
    data_set: str
    split: str


_PUBLISHED = {
    "arc_easy": _Published("arc", "allenai/ai2_arc", "test"),
    "arc_challenge": _Published("arc", "allenai/ai2_arc", "test"),
    "hellaswag": _Published("hellaswag", "Rowan/hellaswag", "validation"),
    "boolq": _Published("super_glue/boolq", "aps/super_glue", "validation"),
    "openbookqa": _Published("openbookqa", "allenai/openbookqa", "test"),
    "piqa": _Published("piqa", "baber/piqa", "validation"),
    "winogrande": _Published("winogrande", "allenai/winogrande", "validation"),
    "lambada_openai": _Published("lambada", "EleutherAI/lambada_openai", "test"),
    "wikitext": _Published("wikitext", "EleutherAI/wikitext_document_level", "test"),
}
# Ref: Ma et al., The Era of 1-bit LLMs, arXiv 2402.17764, table 2: the seven tasks of BitNet b1.58.
_GROUPS = {"bitnet": tuple(_PUBLISHED)[:7], "generated": GENERATED}
_ALIASES = {
    "arc-e": "arc_easy",
    "arc-c": "arc_challenge",
    "obqa": "openbookqa",
    "lambada": "lambada_openai",
}


def load_tasks(choice: TaskChoice, progress: StageReport) -> dict[str, Task]:
    """lm-eval's tasks of a choice by their names, with their data.

    Raises:
        InputError: an unknown name, a folder or file that is not there, or a data set that cannot be had.
    """
    folder = choice.tasks_folder
    if folder is not None and not folder.is_dir():
        raise InputError(f"tasks_folder must be a folder of .yaml and .jsonl files, not {str(folder)!r}")
    own = {} if folder is None else _files_of(folder)
    found: dict[str, Task] = {}
    for name in _expanded(choice.tasks):
        with quiet_harness():
            found |= _load(name, choice, own, progress)
    return found


def _expanded(names: Sequence[str]) -> list[str]:
    return [_ALIASES.get(one, one) for name in names for one in _GROUPS.get(name, (name,))]


def _load(name: str, choice: TaskChoice, own: Mapping[str, Path], progress: StageReport) -> dict[str, Task]:
    if name in own:
        return _of_folder(name, own[name].parent)
    if name in GENERATED:
        return _of_folder(name, write_generated([name], evaluation_text(choice.prose)))
    if name in _PUBLISHED:
        return _published(name, choice.tasks_folder)
    known = [*_ALIASES, *_GROUPS, *_PUBLISHED, *GENERATED, *own]
    if not _mentioned(name):
        raise InputError(
            f"task must be one of {', '.join(known)}, or a task of lm-eval, not {name!r}{did_you_mean(name, known)}"
        )
    progress(_INDEXED, 0, 0)
    manager = TaskManager()
    return _built(name, f"lm-eval's task {name!r}", lambda: manager.load([name]))


def _mentioned(name: str) -> bool:
    """Whether any of lm-eval's task files has this word, which is known far sooner than its index is read."""
    word = name.encode()
    return any(word in path.read_bytes() for path in _SHIPPED.rglob("*.yaml"))


def _files_of(folder: Path) -> dict[str, Path]:
    """Task files of a folder by the names of their tasks, all of whose data is there.

    Raises:
        InputError: no YAML, a file without a name, or data that is not there.
    """
    found = {}
    for path in sorted(folder.glob("*.yaml")):
        try:
            document = yaml.load(path.read_text(encoding="utf-8"), _Lenient)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: must be a task file of lm-eval in YAML ({str(error).splitlines()[0]})") from None
        if not isinstance(document, dict) or not isinstance(document.get("task"), str):
            continue  # what another file includes, or a group
        kwargs = document.get("dataset_kwargs")
        files = kwargs.get("data_files") if isinstance(kwargs, dict) else None
        for data in _flat(files):
            if "://" not in data and not any(folder.glob(data)):
                raise InputError(
                    f"{path}: data file {data!r} of task {document['task']!r} is not in {folder}; put it there"
                )
        found[document["task"]] = path
    return found


def _flat(value: object) -> Iterator[str]:
    """All file names among ``data_files``, which may be a name, several, or either by split."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _flat(one)


class _Lenient(yaml.SafeLoader):
    """YAML with lm-eval's tags, such as ``!function``, taken as the text after them."""


_Lenient.add_multi_constructor("!", lambda loader, suffix, node: str(getattr(node, "value", "")))


def _of_folder(name: str, folder: Path) -> dict[str, Task]:
    place = folder.resolve()
    with chdir(place):  # data is named relative to the task's file
        return _built(
            name,
            f"task {name!r} of {folder}",
            lambda: TaskManager(include_path=place, include_defaults=False).load([name]),
        )


def _published(name: str, folder: Path | None) -> dict[str, Task]:
    """A published task over the items of ``folder``, where it has them, else over the hub's."""
    entry = _PUBLISHED[name]
    manager = TaskManager(include_path=_SHIPPED / entry.folder, include_defaults=False)
    items = None if folder is None else folder / f"{name}.jsonl"
    if items is not None and items.is_file():
        member = {"task": name, **_local_data(items, entry.split)}
        return _built(name, str(items), lambda: manager.load([{"group": "local", "task": [member]}]))
    place = items or Path("FOLDER") / f"{name}.jsonl"
    try:
        return manager.load([name])["tasks"]
    except Exception as error:
        raise InputError(
            f"task {name!r}: its data set {entry.data_set} is not in the hub's cache and cannot be fetched "
            f"({_reason(error)}); with a network it comes by itself, without one put the items of its split "
            f"{entry.split!r} into {place}, one JSON object per line, and give --tasks-folder {place.parent}"
        ) from None


def _local_data(items: Path, split: str) -> dict[str, object]:
    """What of a task's fields says that its data is a file's, and its examples are those beside it."""
    shots = items.with_name(f"{items.stem}.shots.jsonl")
    files = {split: str(items.resolve())} | ({"shots": str(shots.resolve())} if shots.is_file() else {})
    return {
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": files},
        "training_split": None,
        "validation_split": split if split == "validation" else None,
        "test_split": split if split == "test" else None,
        "fewshot_split": "shots" if shots.is_file() else None,
    }


def _built(name: str, what: str, load: Callable[[], Mapping[str, dict[str, Task]]]) -> dict[str, Task]:
    """The tasks that lm-eval loads.

    Raises:
        InputError: whatever lm-eval or the reader of the data says against it.
    """
    try:
        return load()["tasks"]
    except Exception as error:
        raise InputError(f"{what}: lm-eval cannot load it ({_reason(error)})") from None


def _reason(error: BaseException) -> str:
    """The innermost cause, in its first line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
