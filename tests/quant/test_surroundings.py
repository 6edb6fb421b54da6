"""A real ``quant`` run where the surroundings fail: a full disk at any write, folders that cannot be written, no home.

Everything is said in one line with the file's name, status 2, and what was there before stays. Writes are made to fail
as the file system does, because a full disk cannot be had in a test without the rights to mount one.
"""

import errno
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from hw.cli import run
from quant.__main__ import main

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[2]
ANSI = re.compile(r"\x1b\[")


class Disk:
    """Calls of one kind that fail from the ``left``-th on, with the error of the operating system."""

    def __init__(self, code, left):
        self.code, self.left, self.whole = code, left, True

    def spend(self, name=None):
        self.left -= 1
        if self.left <= 0:
            self.whole = False
            raise OSError(self.code, os.strerror(self.code), *([] if name is None else [str(name)]))

    def install(self, monkeypatch, call, inside):
        """Opening a temporary file, syncing what was written, making a folder, or renaming, below ``inside``."""

        def below(path):
            return inside in (Path(path).absolute(), *Path(path).absolute().parents)

        makes, syncs, folders, renames = tempfile.mkstemp, os.fsync, os.mkdir, os.replace

        def mkstemp(*given, **options):
            if below(options.get("dir") or "."):
                self.spend(Path(options["dir"]) / ".x.tmp")
            return makes(*given, **options)

        def mkdir(path, *given, **options):
            if below(path):
                self.spend(path)
            return folders(path, *given, **options)

        def replace(source, target, **options):
            if below(target):
                self.spend(source)
            return renames(source, target, **options)

        def fsync(handle):
            self.spend()  # as a full disk tells it, without a name
            return syncs(handle)

        owner, name, new = {
            "open": (tempfile, "mkstemp", mkstemp),
            "write": (os, "fsync", fsync),
            "folder": (os, "mkdir", mkdir),
            "rename": (os, "replace", replace),
        }[call]
        monkeypatch.setattr(owner, name, new)


def in_process(monkeypatch, capsys, arguments):
    """Status and error stream of a command line run here."""
    monkeypatch.setattr(sys, "argv", ["quant", *arguments])
    with pytest.raises(SystemExit) as ended:
        run(main)
    return ended.value.code, capsys.readouterr().err


def environment(**more):
    return {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "TRITFORGE_THREADS": "1", "HF_HUB_OFFLINE": "1"} | more


def words(model, text, *more):
    sizes = ["--length", "32", "--windows", "2", "--calibration-windows", "4"]
    return [
        "quantize",
        "--model",
        str(model),
        "--method",
        "rtn",
        "--text",
        str(text),
        "--calib",
        str(text),
        *sizes,
        *more,
    ]


def quant(folder, arguments, env):
    """One run in ``folder``, in a process of its own without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "quant", *arguments],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def whole_files(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".lock"}


@pytest.mark.parametrize("call", ["open", "write", "folder", "rename"])
@pytest.mark.parametrize("code", [errno.ENOSPC, pytest.param(errno.EROFS, marks=pytest.mark.slow)])
def test_a_disk_that_fails_at_any_write_is_one_line_with_the_files_name(
    call, code, tiny_folder, tiny_text, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    failed = 0
    for left in range(1, 20):
        disk = Disk(code, left)
        with monkeypatch.context() as patched:
            disk.install(patched, call, tmp_path / "build")
            status, told = in_process(patched, capsys, words(tiny_folder, tiny_text))
        if disk.whole:
            break
        if call == "folder" and status == 0:  # the folder was there already
            continue
        failed += 1
        assert status == 2
        assert re.fullmatch(rf"error: \S*build\S*: {re.escape(os.strerror(code))}\n", told), told
        assert not list(tmp_path.rglob("*.tmp"))
    assert (status, disk.whole) == (0, True)
    assert failed >= (1 if call == "folder" else 4)
    assert len(list(tmp_path.rglob("ternary.safetensors"))) == 1


def test_a_full_disk_leaves_an_earlier_run_as_it_was(tiny_folder, tiny_text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert in_process(monkeypatch, capsys, words(tiny_folder, tiny_text)) == (0, "")
    before = whole_files(tmp_path / "build")
    Disk(errno.ENOSPC, 1).install(monkeypatch, "write", tmp_path / "build")
    status, told = in_process(monkeypatch, capsys, words(tiny_folder, tiny_text, "--recorded-tokens", "9"))
    assert status == 2
    assert re.fullmatch(r"error: \S*/recording\.safetensors: No space left on device\n", told)
    assert whole_files(tmp_path / "build") == before


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
@pytest.mark.parametrize("place", [".", "build/models"])
def test_a_folder_that_is_read_only_is_named(place, tiny_folder, tiny_text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    (tmp_path / place).chmod(0o555)
    status, told = in_process(monkeypatch, capsys, words(tiny_folder, tiny_text))
    (tmp_path / place).chmod(0o755)
    assert status == 2
    assert re.fullmatch(r"error: \S*build\S*: Permission denied\n", told)


@pytest.mark.parametrize("name", ["build", "build/models"])
def test_a_file_where_a_folder_belongs_is_named(name, tiny_folder, tiny_text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    status, told = in_process(monkeypatch, capsys, words(tiny_folder, tiny_text))
    assert status == 2
    assert re.fullmatch(rf"error: \S*{name}\S*: (Not a directory|File exists)\n", told)
    assert (tmp_path / name).read_text() == "mine"


SIGNS = ("two words", 'quo"te', "$HOME", "-dash", "a;b&c", "100%")


@pytest.mark.parametrize("name", ["it's größe 模型", *(pytest.param(name, marks=pytest.mark.slow) for name in SIGNS)])
def test_names_of_any_kind_arrive(name, tiny_folder, tiny_text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model, text = tmp_path / name, tmp_path / f"{name}.txt"
    model.symlink_to(tiny_folder, target_is_directory=True)
    text.write_bytes(Path(tiny_text).read_bytes())
    assert in_process(monkeypatch, capsys, words(model, text, "--json")) == (0, "")
    (found,) = tmp_path.rglob("manifest.json")
    assert found.relative_to(tmp_path / "build" / "models").parts[-1] == "manifest.json"


@pytest.mark.slow
def test_without_home_colour_or_terminal_the_words_are_the_same(tiny_folder, tiny_text, tmp_path):
    arguments = words(tiny_folder, tiny_text)
    first, plain = (
        quant(tmp_path, arguments, environment(COLUMNS="80", TERM="xterm", HOME=str(tmp_path))) for _ in range(2)
    )
    assert first.returncode == 0, first.stderr
    assert plain.returncode == 0, plain.stderr
    for more in ({}, {"NO_COLOR": "1", "HOME": str(tmp_path)}, {"TERM": "dumb"}, {"HOME": "/nonexistent"}):
        done = quant(tmp_path, arguments, environment(COLUMNS="80", **more))
        assert (done.returncode, done.stdout) == (0, plain.stdout), done.stderr
    forced = quant(tmp_path, arguments, environment(COLUMNS="80", NO_COLOR="1", FORCE_COLOR="1"))
    for done in (plain, forced):
        assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", done.stdout)
    assert not ANSI.search(plain.stdout)
    assert max(map(len, plain.stdout.splitlines())) <= 80 or "/" in plain.stdout  # paths are not cut
