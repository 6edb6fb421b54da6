"""Artifacts: whole or not at all, whatever interrupts the writing; refusal of what is not theirs."""

import json
import os

import pytest

from hw.artifact import atomic_path, read_artifact, sha256_file, sha256_json, write_artifact, write_text
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
