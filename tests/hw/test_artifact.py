"""Artifacts: whole or not at all, whatever interrupts the writing; refusal of what is not theirs."""

import json
import os
import sys
import threading
from pathlib import Path

import pytest

from hw.artifact import (
    _command,
    atomic_path,
    check_file,
    file_name,
    one_at_a_time,
    read_artifact,
    sha256_file,
    sha256_json,
    write_artifact,
    write_text,
)
from hw.errors import InputError


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), OSError(28, "No space left on device"), MemoryError()])
def test_an_interrupted_write_keeps_the_old_file_and_leaves_no_other(tmp_path, interruption):
    path = tmp_path / "sim.json"
    write_text(path, "old")

    def write():
        with atomic_path(path) as temporary:
            temporary.write_text("half of the n")
            raise interruption

    with pytest.raises(type(interruption)):
        write()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["sim.json"]


def test_a_disk_that_fills_while_the_text_is_written_keeps_the_old_file(tmp_path):
    path = tmp_path / "sim.json"
    write_text(path, "old")

    def write():
        with atomic_path(path) as temporary:
            temporary.unlink()
            temporary.symlink_to("/dev/full")
            temporary.write_text("x" * 100_000)

    with pytest.raises(OSError, match="No space left"):
        write()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["sim.json"]


def test_a_failed_rename_leaves_no_temporary_file(tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("hw.artifact.os.replace", refuse)
    with pytest.raises(OSError, match="Read-only"):
        write_text(tmp_path / "a.txt", "new")
    assert os.listdir(tmp_path) == []


def test_folders_are_made_and_permissions_follow_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        write_text(tmp_path / "a" / "b.txt", "new")
    finally:
        os.umask(old)
    assert (tmp_path / "a" / "b.txt").stat().st_mode & 0o777 == 0o640


def test_header_body_and_inputs_come_back(tmp_path):
    path = tmp_path / "x.json"
    write_artifact(path, "tritforge.x", 3, {"value": [1, 2]}, {"array": "ab" * 32})
    document = read_artifact(path, "tritforge.x", 3)
    assert (document["schema"], document["version"], document["value"]) == ("tritforge.x", 3, [1, 2])
    assert document["inputs"] == {"array": "ab" * 32}
    assert set(document["created_by"]) == {"version", "command"}


def test_a_body_cannot_overwrite_the_header(tmp_path):
    with pytest.raises(ValueError, match=r"^artifact body must not use the header fields \['version'\]$"):
        write_artifact(tmp_path / "x.json", "s", 1, {"version": 2}, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"must be a JSON artifact, not damaged text \(.*\); write it again$"),
        ("[]", r"schema must be s version 1, not None version None; write it again$"),
        ('{"schema": "s", "version": 2}', r"schema must be s version 1, not s version 2; write it again$"),
    ],
)
def test_foreign_and_damaged_files_are_refused(tmp_path, text, message):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(InputError, match=f"^{path}: {message}"):
        read_artifact(path, "s", 1)


def test_a_missing_file_comes_with_the_way_out(tmp_path):
    with pytest.raises(InputError, match=r"x\.json: no such file; run make sim$"):
        read_artifact(tmp_path / "x.json", "s", 1, "run make sim")


def test_nan_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_artifact(tmp_path / "x.json", "s", 1, {"v": float("nan")}, {})
    assert os.listdir(tmp_path) == []


def test_hashes_are_sha256(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    assert sha256_file(tmp_path / "f") == known
    assert sha256_json(json.loads('{"b": 1, "a": 2}')) == sha256_json({"a": 2, "b": 1})


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("llama2-7b", "llama2-7b"),
        ("meta-llama/Llama-2-7b-hf", "meta-llama--Llama-2-7b-hf"),
        ("../../etc/passwd", "%2E.--..--etc--passwd"),
        ("..", "%2E."),
        ("/", "--"),
        ("", "unnamed"),
        ("it's a \n\0 name", "it%27s%20a%20%0A%00%20name"),
        ("größe-Ω", "größe-Ω"),
    ],
)
def test_a_name_in_a_path_stays_in_its_folder(name, written, tmp_path):
    assert file_name(name) == written
    (tmp_path / file_name(name)).mkdir()
    assert [path.name for path in tmp_path.iterdir()] == [written]


def test_long_names_in_paths_differ_where_the_names_do(tmp_path):
    names = [f"{'ß' * 400}{i}" for i in range(3)]
    assert len({file_name(name) for name in names}) == 3
    assert all(len(file_name(name).encode()) <= 120 for name in names)


@pytest.mark.parametrize("content", ["[" * 100_000, '{"schema": ' + "9" * 5000 + "}", "\ud800", "{}"])
def test_json_that_python_cannot_hold_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "file.json"
    path.write_text(content, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(InputError, match=r"file\.json: .*; write it again$"):
        read_artifact(path, "tritforge.sim", 1)


def test_a_folder_in_place_of_an_artifact_is_named(tmp_path):
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\); write it again$"):
        read_artifact(tmp_path, "tritforge.sim", 1)


def test_an_artifact_whose_hashes_are_none_is_refused(tmp_path):
    path = tmp_path / "file.json"
    path.write_text('{"schema": "tritforge.sim", "version": 1, "inputs": []}')
    with pytest.raises(InputError, match="field 'inputs' must be a mapping of hashes; write it again"):
        read_artifact(path, "tritforge.sim", 1)


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("Error: IoError (os error 28)")], ids=["os", "rust"]
)
def test_a_full_disk_is_told_with_the_name_of_the_file(tmp_path, error):
    path = tmp_path / "ternary.safetensors"
    with pytest.raises(OSError, match="No space left on device") as caught, atomic_path(path):
        raise error
    assert caught.value.filename == str(path)
    assert os.listdir(tmp_path) == []


def test_a_file_that_cannot_be_written_is_refused_and_nothing_is_made(tmp_path):
    check_file(tmp_path / "new" / "folder" / "file.json")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    check_file(tmp_path / "file")  # to be replaced
    with pytest.raises(InputError, match=r"must be a file, not a folder$"):
        check_file(tmp_path)
    with pytest.raises(InputError, match=r"b\.json: .*file must be a folder that can be written in"):
        check_file(tmp_path / "file" / "a" / "b.json")
    if Path("/proc").is_dir():  # whose mode lets root write
        with pytest.raises(
            InputError, match=r"^/proc/new/b\.json: /proc must be a folder that can be written in; give"
        ):
            check_file(Path("/proc/new/b.json"))


def test_a_second_holder_of_a_folder_waits_for_the_first(tmp_path):
    said, entered = threading.Event(), threading.Event()

    def second():
        with one_at_a_time(tmp_path / "run", said.set):
            entered.set()

    other = threading.Thread(target=second)
    with one_at_a_time(tmp_path / "run", lambda: pytest.fail("nobody else holds it")):
        other.start()
        assert said.wait(10)
        assert not entered.is_set()
    other.join(10)
    assert entered.is_set()


def test_the_command_that_is_kept_names_no_folder_of_this_machine(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/opt/tools/tritforge", "whatif", "/home/me/study.yaml", "studies/own.yaml"])
    assert _command() == "tritforge whatif study.yaml studies/own.yaml"
    monkeypatch.setattr(sys, "argv", ["/opt/lib/energy/__main__.py", "sim"])
    assert _command() == "python -m energy sim"
    monkeypatch.setattr(sys, "argv", ["/opt/lib/energy/console.py", "budget", "build/programs/smol", "--add"])
    assert _command() == "tritforge budget build/programs/smol --add"
