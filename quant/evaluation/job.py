"""``EvaluateJob``: a model or a finished run, and the tasks and texts it is measured on; readable without torch."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from hw.document import Record
from hw.errors import InputError

__all__ = ["EvaluateJob", "TaskChoice", "listed_tasks", "numbers"]

Count = Annotated[int, Field(ge=1)]


def numbers(value: object) -> object:
    """What a field of several numbers may be given as: one, a list, or text with commas."""
    words = value if isinstance(value, list | tuple) else [value]
    return [part for word in words for part in (word.split(",") if isinstance(word, str) else [word])]


class TaskChoice(Record):
    """Tasks, where their files are, and how much of them is taken."""

    tasks: tuple[str, ...] = Field(
        (),
        description="tasks, separated by commas: generated (last_words, next_sentence, pages, copy_words, "
        "plural_pairs, cycle_words; all of them: generated), published (arc-e, arc-c, hellaswag, boolq, obqa, piqa, "
        "winogrande, lambada, wikitext; the first seven: bitnet), or any other of lm-eval or of TASKS_FOLDER",
    )
    tasks_folder: Path | None = Field(
        None,
        description="folder of task files: NAME.yaml as lm-eval reads it, with paths of data relative to the folder; "
        "or NAME.jsonl, the items of a published task, with NAME.shots.jsonl for its examples",
    )
    limit: Count | None = Field(None, description="items of each task that are taken; by default all")
    prose: Path | None = Field(
        None,
        description="text that last_words, next_sentence and pages are made of; by default a slice of the stdlib's "
        "pydoc_data.topics",
    )

    @field_validator("tasks")
    @classmethod
    def _listed(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return listed_tasks(value)


class EvaluateJob(TaskChoice):
    """What is measured: of a model as it is, or of a finished run in its place."""

    source: str = Field(
        description="folder of a finished run (build/models/MODEL/RUN); or a model: shipped name, Hugging Face "
        "directory or hub id, .gguf or llama2.c .bin file"
    )
    model: str | None = Field(
        None, description="where the model that a run was quantized from is; by default where the run found it"
    )
    shots: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (),
        description="solved examples before each item, such as 3, or several numbers between commas (0,1,5), each "
        "measured; by default as many as the task says, else 0",
    )
    text: tuple[Path, ...] = Field((), description="text whose perplexity is measured, such as C4's, in windows")
    windows: Count | None = Field(None, description="windows of each text; by default all")
    length: Annotated[int, Field(ge=2)] = Field(2048, description="tokens per window, at most the model's context")
    activations: Literal["int8", "float"] = Field(
        "int8", description="inputs of the decoder linears: int8 per token, as the array has them (A8), or float (A16)"
    )
    device: str = Field("cpu", description="torch device of the work: cpu or cuda")

    _shots = field_validator("shots", mode="before")(numbers)


def listed_tasks(given: tuple[str, ...], what: str = "tasks") -> tuple[str, ...]:
    """Names of ``given`` words, each a name or several between commas, each once.

    Raises:
        InputError: an empty name.
    """
    names = [name.strip() for word in given for name in word.split(",")]
    if "" in names:
        raise InputError(f"{what} must be names between commas, not {','.join(given)!r}")
    return tuple(dict.fromkeys(names))
