"""Rows of a study that is under way, one JSON line each, so that what was measured outlives Ctrl-C."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TextIO

from energy.study.result import Measured
from hw.errors import InputError

__all__ = ["Journal"]

_SCHEMA = "tritforge.study-rows.1"


class _Rows(Mapping[str, Measured]):
    """Rows of a journal as it was when opened: their places in the file by the hash of their inputs, read when asked.

    A line that was cut off in mid-write is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[bytes, int] = {}
        if path.exists():
            with path.open("rb") as stream:
                stream.readline()
                place = stream.tell()
                for line in stream:
                    if row := _row(line):
                        self._places[bytes.fromhex(row.sha256)] = place
                    place += len(line)

    def __getitem__(self, sha256: str) -> Measured:
        """The latest row of these inputs."""
        with self._path.open("rb") as stream:
            stream.seek(self._places[bytes.fromhex(sha256)])
            return Measured.model_validate_json(stream.readline())

    def __iter__(self) -> Iterator[str]:
        """Hashes of inputs."""
        return (sha256.hex() for sha256 in self._places)

    def __len__(self) -> int:
        """How many rows."""
        return len(self._places)


def _row(line: bytes) -> Measured | None:
    try:
        return Measured.model_validate_json(line)
    except ValueError:
        return None


class Journal:
    """The rows measured so far in ``path``, by the hash of their inputs; removed when the study is finished.

    Raises:
        InputError: a file of another kind, or of another study.
    """

    def __init__(self, path: Path, study: str) -> None:
        self.path = path
        self._header = {"schema": _SCHEMA, "study": study}
        self._stream: TextIO | None = None
        if path.exists():
            self._check()
        self.rows = _Rows(path)

    def add(self, rows: Iterable[Measured]) -> None:
        """Write ``rows`` and hand them to the operating system, so that nothing is lost with this process."""
        if self._stream is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            started = self.path.exists()
            self._stream = self.path.open("a", encoding="utf-8")
            # an interrupted line is closed, and skipped when read
            self._stream.write("\n" if started else json.dumps(self._header) + "\n")
        self._stream.writelines(f"{row.model_dump_json()}\n" for row in rows)
        self._stream.flush()

    def close(self) -> None:
        """Keep the rows for the next run."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def remove(self) -> None:
        """The study is finished, and its rows are in its results."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _check(self) -> None:
        try:
            with self.path.open("rb") as stream:
                header = json.loads(stream.readline())
        except (OSError, ValueError):
            header = None
        if header != self._header:
            raise InputError(
                f"{self.path}: must hold rows of study {self._header['study']!r}, not {self._described(header)}; "
                "choose another folder with --out, or discard them with --restart"
            )

    @staticmethod
    def _described(header: object) -> str:
        if isinstance(header, dict) and header.get("schema") == _SCHEMA:
            return f"of {header.get('study')!r}"
        return "something else"
