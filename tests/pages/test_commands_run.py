"""Claims: every command of README and docs runs, with small things in place of a reader's; what is not run says why.

``stand_ins.yaml`` says what stands in for what. Commands run in this process, in a folder that has what they name;
those that write pages run on a copy of the checkout, and servers until they answer.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from energy.console import COMMANDS, _main
from tests.pages.commands import ROOT, documented
from tests.pages.stage import Stage
from tests.pages.stand_ins import declared

CASES, DECLARED = documented(), declared()
QUICK = ("list", "run", "completion", "workload", "table", "compare edge-32x32", "whatif --study node", "sim --help")
ADDS = re.compile(r" (--add|--save)\b")
DOCUMENTS = re.compile(r" (--docs|--document)\b| docs\b")
SERVES = re.compile(r"^tritforge (simulate|explore)(?!.*--measure)")
MAKE = f"#!{sys.executable}\nimport json, sys\nprint('' if sys.argv[1] == 'extras' else json.dumps(sys.argv[1:]))\n"
INSTALLED = any(one.value == "hw.verify.plugin" for one in entry_points(group="pytest11"))
PLUGIN = () if INSTALLED else ("-p", "hw.verify.plugin")
WAY_OUT = """
{page} says: {text}
and here ran: {words}
Where it needs what only a reader has, or long, say so in tests/pages/stand_ins.yaml: what stands in for a word
(inputs; stage.py makes files and folders), what makes it short (brief, instead), or why it is not run and which
test does its work (not_run).
Again, this page alone: pytest tests/pages -m "slow or not slow" -k {page}:"""
STAMPS = ("base", "core", "quant", "hw", "boards", "studies", "notebook", "runtimes", "test")


def cases():
    for one in CASES:
        if DECLARED.reason(one.text) is None:
            words = DECLARED.words(one.text)
            quick = words[0] == "tritforge" and " ".join(words[1:]).startswith(QUICK) and "finished" not in words
            yield pytest.param(one, words, id=f"{one.page}: {one.text}", marks=[] if quick else [pytest.mark.slow])


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """The folder in which commands run; none of them may write into the checkout."""
    before = written()
    yield Stage(tmp_path_factory.mktemp("stage"), lambda *words: _main(words))
    assert written() == before


def written():
    folders = (ROOT / "docs", ROOT / "hw", ROOT / "quant", ROOT / "sim", ROOT / "energy")
    files = [
        path for folder in folders for path in folder.rglob("*") if path.suffix in (".md", ".json", ".yaml", ".svg")
    ]
    return {path: path.stat().st_mtime_ns for path in files}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the files under version control."""
    folder = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    if not listed:
        pytest.skip("needs git")
    for name in listed.splitlines():
        if (ROOT / name).is_file():  # not of a submodule, nor deleted just now
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """A function that gives the console's words for those of make, as the Makefile itself makes them."""
    if shutil.which("make") is None:
        pytest.skip("needs make")
    stamps = tmp_path_factory.mktemp("venv")
    (stamps / "bin").mkdir()
    (stamps / "bin" / "tritforge").write_text(MAKE)
    (stamps / "bin" / "tritforge").chmod(0o755)
    (stamps / "bin" / "python").symlink_to(sys.executable)
    for name in STAMPS:
        (stamps / f".{name}").touch()
        os.utime(stamps / f".{name}", (2**32, 2**32))

    def run(words):
        # not the ARGS of this suite
        clean = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        command = ["make", "-s", f"VENV={stamps}", *words]
        return subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True, check=True).stdout

    return run


def environment(root):
    return os.environ | {"PYTHONPATH": str(root), "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}


def started(words, folder, root=ROOT):
    """A process of the console, or of a module, in the folder."""
    command = [sys.executable, *(["-m", "energy.console", *words[1:]] if words[0] == "tritforge" else words[1:])]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=environment(root), preexec_fn=_interruptible, **pipes)


def _interruptible():
    """A suite that a shell runs in the background ignores Ctrl-C, and so would its servers."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def ended(process, status=0):
    _, error = process.communicate(timeout=500)
    assert process.returncode == status, error


def served(words, folder, use=lambda line: None):
    """Run a server until it says where it answers, use it, and end it as a person does."""
    process = started([*words, *(["--no-browser"] if "explore" in words else [])], folder)
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        use(line)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    finally:
        process.kill()  # of use where it has not ended
        process.communicate()


def host_on_a_simulated_board(words, folder):
    def use(line):
        port = json.loads(line)["port"]
        ended(started([port if word == "PORT" else word for word in words] + ["--timeout", "60"], folder))

    served(["tritforge", "simulate", "--board", "icebreaker", "--json"], folder, use)


@pytest.fixture(scope="module")
def ran():
    """What has run: two pages may say the same command, and two boards have the same stand-in."""
    return set()


@pytest.mark.parametrize(("one", "words"), list(cases()))
def test_a_command_runs(one, words, ran, stage, make, request, monkeypatch):
    monkeypatch.chdir(stage.folder)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    try:
        if words[0] == "make" and words[1] in COMMANDS:
            words = ["tritforge", *(json.loads(make(words[1:]).splitlines()[0]))]
        if (spelled := as_options(words)) not in ran:
            run(words, stage, make, request)
            ran.add(spelled)
    except (Exception, SystemExit) as error:
        if lacks_package(error):
            pytest.skip(str(error).splitlines()[0])
        error.add_note(WAY_OUT.format(page=one.page, text=one.text, words=shlex.join(words)))
        raise


def lacks_package(error):
    """Whether a command ended for want of a package, and said how to install it."""
    if isinstance(error, ModuleNotFoundError):
        return error.name.partition(".")[0] not in ("hw", "quant", "sim", "energy", "tests")
    return "pip install" in str(error)


def as_options(words):
    """The words with ``--name value`` for ``NAME=value``."""
    told = (re.fullmatch(r"([A-Z_]+)=(.*)", word, re.DOTALL) for word in words)
    pairs = ((f"--{one[1].lower().replace('_', '-')}", one[2]) if one else () for one in told)
    return tuple(part for word, pair in zip(words, pairs, strict=True) for part in pair or (word,))


def run(words, stage, make, request):
    text = shlex.join(words)
    stage.provide([*words, *(["docs"] if ADDS.search(text) else [])])
    if words[0] == "make":
        assert make(words[1:])
    elif words[0] == "pytest":
        ended(started([sys.executable, "-m", *words, *PLUGIN, "-p", "no:cacheprovider"], stage.folder))
    elif text.startswith("tritforge host"):
        host_on_a_simulated_board(words, stage.folder)
    elif SERVES.search(text):
        served(words, stage.folder)
    elif words[0] != "tritforge" or DOCUMENTS.search(text):
        folder = request.getfixturevalue("checkout")
        ended(started(words, folder, folder))
    else:
        run_here(words[1:])


def run_here(words):
    if "--help" in words:
        with pytest.raises(SystemExit, match=r"^0$"):
            _main(words)
    else:
        _main(words)


def test_what_stands_in_for_what_is_of_use():
    """Every entry of ``stand_ins.yaml`` is for a command that a page has."""
    list(cases())
    unused = DECLARED.unused()
    assert not unused, "no page has a command for these any more: remove them from tests/pages/stand_ins.yaml"


def test_few_commands_are_not_run_and_each_says_why():
    reasons = [reason for one in CASES if (reason := DECLARED.reason(one.text))]
    assert len(reasons) < len(CASES) / 4
    assert all(len(reason) > 10 for reason in reasons)


def test_a_star_in_a_reason_is_any_text_and_nothing_else_is_a_pattern():
    known = declared()._replace(not_run={"pip install '.[hw]'": "one", "make fuzz*": "all"}, inputs={})
    said = {text: known.reason(text) for text in ("pip install '.[hw]'", "pip install '.h'", "make fuzz X=1", "make f")}
    assert [*said.values()] == ["one", None, "all", None]
