"""Committed sizes of compiled programs: image, K and V, and how many tokens a memory then holds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hw.artifact import write_artifact
from hw.document import Record, read_record
from hw.pages import markdown_table, with_options
from hw.program.image import Image

__all__ = ["IMAGES", "ImageSize", "add_size", "image_size", "images_markdown", "read_sizes"]

IMAGES = Path("docs") / "results" / "whole-images.json"

_SCHEMA, _VERSION = "tritforge.whole-images", 2
_MEMORIES = {"32 MB": 32 << 20, "64 MB": 64 << 20}
_HEAD = (
    *("model", "method", "machine", "table digits", "embedding", "K / V digits", "context", "image MB", "table MB"),
    "K, V per token, KB",
    *(f"tokens in {name}" for name in _MEMORIES),
)


class ImageSize(Record):
    """What a program takes of a memory."""

    model: str
    method: str
    options: dict[str, float | int | str | bool | None] = {}  # of the method
    machine: str  # rows x columns of the array, lanes
    machine_options: dict[str, int] = {}  # other fields of the machine that are not their defaults
    packing: str
    embedding: str
    table_digits: int
    key_digits: int
    value_digits: int
    rotate: bool  # q and k, by the Walsh-Hadamard transform
    vocabulary: int
    context: int
    block: int  # tokens; K and V have room for whole blocks
    image_bytes: int
    table_bytes: int  # of embedding and head, scales included
    rotary_bytes: int  # of the image, a row per token of the context
    kept_bytes: int  # K and V

    @property
    def labels(self) -> tuple[str, ...]:
        """What was compiled and for which machine, in the words of the table."""
        return (
            self.model,
            with_options(self.method, self.options),
            with_options(f"{self.machine}, {self.packing}", self.machine_options),
            str(self.table_digits),
            self.embedding,
            f"{self.key_digits} / {self.value_digits}" + ("" if self.rotate else ", not rotated"),
            f"{self.context}, blocks of {self.block}",
        )

    @property
    def token_bytes(self) -> float:
        """Of K and V."""
        return self.kept_bytes / (-(-self.context // self.block) * self.block)

    def tokens_in(self, memory_bytes: int) -> int:
        """The longest context of whole blocks for which such a memory has room, 0 where there is none."""
        rotary = self.rotary_bytes / self.context
        left = memory_bytes - (self.image_bytes - self.rotary_bytes)
        return max(0, int(left / (self.token_bytes + rotary)) // self.block * self.block)


class _Sizes(Record):
    """All of them."""

    rows: tuple[ImageSize, ...] = ()


def image_size(image: Image, about: Mapping[str, Any]) -> ImageSize:
    """Sizes of an image; ``about``: model, method, options, embedding and form as ``Image.write`` keeps them."""
    machine, header = image.machine, image.header
    size = {name: words * machine.word_bytes for name, (_, words) in image.regions.items()}
    table = sum(count for name, count in size.items() if name.startswith(("table", "embedding", "head rows")))
    return ImageSize(
        **{name: about[name] for name in ("model", "method", "options", "embedding")},
        machine=f"{machine.array.rows} x {machine.array.cols}, {machine.lanes} lanes",
        machine_options=machine.own_options,
        packing=machine.weight_packing,
        **{name: about["form"][name] for name in ("table_digits", "key_digits", "value_digits", "rotate")},
        vocabulary=header.vocabulary,
        context=header.context,
        block=1 << header.block_bits,
        image_bytes=len(image.memory),
        table_bytes=table,
        rotary_bytes=size["rotary table"],
        kept_bytes=header.memory_words * machine.word_bytes - len(image.memory),
    )


def add_size(path: Path, size: ImageSize) -> None:
    """Add sizes, in the place of those that the table calls the same."""
    kept = [one for one in (read_sizes(path) if path.is_file() else ()) if one.labels != size.labels]
    rows = tuple(sorted([*kept, size], key=lambda one: (one.labels[:-1], one.context, one.block)))
    write_artifact(path, _SCHEMA, _VERSION, _Sizes(rows=rows).model_dump(mode="json"), {})


def read_sizes(path: Path = IMAGES) -> tuple[ImageSize, ...]:
    """The committed sizes.

    Raises:
        InputError: missing, damaged, or of another schema.
    """
    return read_record(path, _SCHEMA, _VERSION, _Sizes, "compile again: tritforge program MODEL --add").rows


def images_markdown(path: Path = IMAGES) -> str:
    """The sizes as a Markdown table."""
    return markdown_table(_HEAD, [_row(size) for size in read_sizes(path)])


def _row(size: ImageSize) -> tuple[str, ...]:
    """Sizes in words."""
    return (
        *size.labels,
        f"{size.image_bytes / 1e6:.2f}",
        f"{size.table_bytes / 1e6:.2f}",
        f"{size.token_bytes / 1e3:.2f}",
        *(f"{tokens:,}" if (tokens := size.tokens_in(memory)) else "does not fit" for memory in _MEMORIES.values()),
    )
