"""The one reader and writer of every file under ``build/``: schema, version, origin, hashes, atomic replacement."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hw.errors import InputError

__all__ = [
    "atomic_folder",
    "atomic_path",
    "check_file",
    "check_results_file",
    "file_name",
    "one_at_a_time",
    "read_artifact",
    "sha256_file",
    "sha256_json",
    "tool_version",
    "write_artifact",
    "write_text",
]

_SEAL = "seal"  # field of a sealed artifact, a hash of its contents
_CHUNK_BYTES = 1 << 20
_NAME_BYTES = 120  # of a name in a path; file systems take 255 with what is put before and after it


@cache
def tool_version() -> str:
    """Version of the installed project, or ``"0+source"`` when it runs from a bare checkout."""
    try:
        return version("tritforge")
    except PackageNotFoundError:
        return "0+source"


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_json(value: object) -> str:
    """SHA-256 of a JSON value in canonical form (sorted keys, no spaces), as 64 hexadecimal digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_name(name: str) -> str:
    """A name that a user gave, as one part of a path: ``/`` as ``--``, other signs as ``%`` and their number.

    Letters and digits of any alphabet and ``. _ - +`` stay, but for a dot in front, so that no name leaves its folder
    or hides in it. Long names are cut and end in a hash.
    """
    safe = "".join(c if c.isalnum() or c in "._-+" else "--" if c == "/" else f"%{ord(c):02X}" for c in name)
    safe = f"%2E{safe[1:]}" if safe.startswith(".") else safe or "unnamed"
    if len(safe.encode()) <= _NAME_BYTES:
        return safe
    kept = safe.encode()[: _NAME_BYTES - 13].decode(errors="ignore")
    return f"{kept}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is fsynced and renamed over ``path``.

    On any exception, Ctrl-C and a full disk included, the temporary file is removed and an earlier ``path`` stays
    as it was. Parent directories are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path  # until there is one
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with open(temporary, "rb+") as stream:
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException as error:
        if temporary != path:
            temporary.unlink(missing_ok=True)
        if told := _failed_write(error, path):
            raise told from None
        raise


def check_file(path: Path) -> None:
    """Refuse what ``atomic_path`` could not write, before the work whose result it is to hold. Nothing stays made.

    Whether it is a folder that takes files is tried with one without a name: of /proc and of some network folders the
    mode does not tell.

    Raises:
        InputError: a folder has the name, or what it would lie in is no folder that can be written in.
    """
    if path.is_dir():
        raise InputError(f"{path}: must be a file, not a folder")
    folder = next(one for one in path.absolute().parents if one.exists())
    if not _takes_files(folder):
        raise InputError(f"{path}: {folder} must be a folder that can be written in; give another file")


def check_results_file(path: Path, read: Callable[[Path], object]) -> None:
    """Refuse a results file that no row could be added to, before the row is measured; ``read``: how it is read.

    Raises:
        InputError: see ``check_file``; what ``read`` refuses.
    """
    check_file(path)
    if path.is_file():
        read(path)


def _takes_files(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _failed_write(error: BaseException, path: Path) -> OSError | None:
    """What the operating system refused, with the name of what was to be written.

    A full disk is told without a name and a read-only folder with the temporary file's; libraries written in Rust, of
    which safetensors is one, wrap the number in a text.
    """
    if isinstance(error, OSError) and error.errno and Path(str(error.filename or path)).parent == path.parent:
        return OSError(error.errno, error.strerror, str(path))
    if number := re.search(r"\(os error (\d+)\)", str(error)):
        return OSError(int(number[1]), os.strerror(int(number[1])), str(path))
    return None


@contextmanager
def one_at_a_time(folder: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold ``folder`` for this process; ``waiting`` is called once where another holds it, whose end is waited for.

    The lock is the operating system's and ends with the process, however it ends. The file ``.NAME.lock`` beside the
    folder stays. File systems without locks are used as they are.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(f".{folder.name}.lock"), "a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            pass
        yield


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``target``, new or empty, that takes its place on success.

    On any exception it is removed. Files and folder get the access rights that the umask gives.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)
        for file in temporary.iterdir():
            file.chmod(0o666 & ~umask)
        temporary.replace(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path``, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_artifact(
    path: Path,
    schema: str,
    schema_version: int,
    body: Mapping[str, object],
    inputs: Mapping[str, str],
    sealed: bool = False,
) -> None:
    """Write a JSON artifact: header, then the fields of ``body``.

    ``schema``: name such as ``"tritforge.sim"``; ``schema_version``: raised when ``body`` changes its meaning;
    ``inputs``: name -> sha256 of everything that the contents depend on; ``sealed``: with a hash of the contents, so
    that a file that is taken for the work it stands for cannot change unseen.
    """
    reserved = {"schema", "version", "created_by", "inputs", _SEAL} & set(body)
    if reserved:
        raise ValueError(f"artifact body must not use the header fields {sorted(reserved)}")
    document = {
        "schema": schema,
        "version": schema_version,
        "created_by": {"version": tool_version(), "command": _command()},
        "inputs": dict(inputs),
        **body,
    }
    if sealed:
        document[_SEAL] = _seal(document)
    write_text(path, json.dumps(document, indent=1, allow_nan=False) + "\n")


def read_artifact(path: Path, schema: str, schema_version: int, remedy: str = "write it again") -> dict:
    """Read a JSON artifact and refuse another schema or version; ``remedy`` ends the error message.

    Raises:
        InputError: the file is missing, is not JSON, carries another schema or version, or has a broken seal.
    """
    path = Path(path)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {remedy}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, a number or a nesting that Python cannot hold
        raise InputError(f"{path}: must be a JSON artifact, not damaged text ({error}); {remedy}") from None
    found = (document.get("schema"), document.get("version")) if isinstance(document, dict) else (None, None)
    if found != (schema, schema_version):
        named, version = (" ".join(str(part).split())[:80] for part in found)
        raise InputError(
            f"{path}: schema must be {schema} version {schema_version}, not {named} version {version}; {remedy}"
        )
    if not isinstance(document.setdefault("inputs", {}), dict):
        raise InputError(f"{path}: field 'inputs' must be a mapping of hashes; {remedy}")
    if _SEAL in document and document.pop(_SEAL) != _seal(document):
        raise InputError(f"{path}: must hold what was written, as its seal says; it is damaged, or edited; {remedy}")
    return document


def _seal(document: Mapping[str, object]) -> str:
    """Hash of an artifact's contents as they are read back."""
    contents = {name: value for name, value in document.items() if name != "created_by"}
    try:
        return sha256_json(json.loads(json.dumps(contents)))
    except ValueError:  # NaN, which nothing here writes
        return ""


def _command() -> str:
    """The command line without the folders of this machine, as an installed ``tritforge`` would be asked."""
    program = Path(sys.argv[0])
    name = f"python -m {program.parent.name}" if program.name == "__main__.py" else program.name
    name = "tritforge" if name == "console.py" else name  # python -m energy.console
    return " ".join([name, *(Path(a).name if os.path.isabs(a) else a for a in sys.argv[1:])])
