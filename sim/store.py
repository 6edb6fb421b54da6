"""Results of earlier processes on disk, so that a run that was simulated before needs neither numba nor the time.

A result's key is a hash of everything that it depends on: its inputs and the text of every file of code that computes
it. A change of either is another key, and nothing is ever stale. ``TRITFORGE_CACHE`` names the folder (by default
``$XDG_CACHE_HOME/tritforge`` or ``~/.cache/tritforge``) or is ``off``. A store that cannot be read or written is left
alone: it only costs time.
"""

import atexit
import contextlib
import hashlib
import os
import sqlite3
import zlib
from functools import cache
from pathlib import Path

__all__ = ["active", "close", "code_sha256", "recall", "remember"]

_ROOT = Path(__file__).parent.parent
_CODE = (  # what a result depends on
    *("sim/**/*.py", "hw/*.py", "hw/token/formats.py"),
    *("quant/shapes.py", "quant/manifest.py", "quant/kv/formats.py"),
)
_MOST_ADDED = 2000  # by one process: a study's million points are not kept
_MOST_KEPT = 20_000
_SPARED_BY = ("NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK")  # runs that are about the kernels themselves


class _Store:
    """An open store, and what will be written to it when the process ends."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.added = path, {}
        self.database = sqlite3.connect(path, timeout=0.5)
        self.database.execute("CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID")

    def write(self) -> None:
        """Write what was added; of a store that has grown too large a random half goes first."""
        if not self.added:
            return
        with self.database:
            self.database.execute("PRAGMA synchronous = OFF")
            (kept,) = self.database.execute("SELECT count(*) FROM results").fetchone()
            if kept + len(self.added) > _MOST_KEPT:
                self.database.execute("DELETE FROM results WHERE key < '8'")  # keys are hashes
            self.database.executemany("INSERT OR REPLACE INTO results VALUES (?, ?)", self.added.items())


class _State:
    """The store of this process; ``closed``: it has none, or gave it up."""

    store: _Store | None = None
    closed = False


def active() -> bool:
    """Whether anything is recalled and remembered: a long key need not be made where it is not."""
    return _opened() is not None


def recall(key: str) -> str | None:
    """What was remembered under ``key`` by this code; None if nothing was."""
    store = _opened()
    if store is None:
        return None
    try:
        row = store.database.execute("SELECT value FROM results WHERE key = ?", (_digest(key),)).fetchone()
        return None if row is None else zlib.decompress(row[0]).decode()
    except (sqlite3.Error, zlib.error, UnicodeDecodeError, TypeError):
        _give_up(store)
        return None


def remember(key: str, text: str) -> None:
    """Keep ``text`` under ``key`` for later processes."""
    store = _opened()
    if store is not None and len(store.added) < _MOST_ADDED:
        store.added[_digest(key)] = zlib.compress(text.encode(), 1)


def close() -> None:
    """Write what was added; from now on nothing is recalled or remembered."""
    store, _State.store, _State.closed = _State.store, None, True
    if store is not None:
        with contextlib.suppress(sqlite3.Error):
            store.write()
        store.database.close()


@cache
def code_sha256() -> str:
    """Hash of the text of every file that a result depends on."""
    digest = hashlib.sha256()
    for pattern in _CODE:
        for path in sorted(_ROOT.glob(pattern)):
            digest.update(str(path.relative_to(_ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _digest(key: str) -> str:
    return hashlib.sha256(f"{code_sha256()}\n{key}".encode()).hexdigest()


def _opened() -> _Store | None:
    """The store, opened when it is first asked for."""
    if _State.store is None and not _State.closed:
        path = _path()
        try:
            _State.store = _Store(path) if path else None
        except (OSError, sqlite3.Error):
            if path:
                _discard(path)
        _State.closed = _State.store is None
        if not _State.closed:
            atexit.register(close)
    return _State.store


def _path() -> Path | None:
    """Where the store is; None where there shall be none."""
    folder = os.environ.get("TRITFORGE_CACHE", "")
    if folder == "off" or any(os.environ.get(name, "0") not in ("", "0") for name in _SPARED_BY):
        return None
    if folder:
        return Path(folder) / "results.sqlite"
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home) / "tritforge" / "results.sqlite"


def _give_up(store: _Store) -> None:
    """A damaged store is removed; another process makes a new one."""
    _State.store, _State.closed = None, True
    with contextlib.suppress(sqlite3.Error):
        store.database.close()
    _discard(store.path)


def _discard(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
