"""Claims: every command in README and docs parses and names what exists, every Python snippet runs, no link dangles."""

import importlib.util
import re
import shlex
import subprocess
import sys
from urllib.parse import unquote

import pytest

from energy.__main__ import COMMANDS as ENERGY
from energy.commands.listing import NAMES
from energy.console import COMMANDS
from energy.costs.sources import load_source
from energy.study.document import load_study
from hw.__main__ import COMMANDS as HW
from hw.cli import command_line
from hw.config import load_array
from quant.__main__ import COMMANDS as QUANT
from sim.__main__ import COMMANDS as SIM
from sim.memory import load_memory
from tests.pages.commands import BLOCK, PAGES, PLACEHOLDER, ROOT, commands_of, words_of

PARSERS = {
    "tritforge": command_line("tritforge", "", COMMANDS),
    **{
        package: command_line(f"python -m {package}", "", commands)
        for package, commands in (("hw", HW), ("quant", QUANT), ("sim", SIM), ("energy", ENERGY))
    },
}
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))
LOADERS = {"array": load_array, "memory": load_memory, "costs": load_source, "whatif": load_study}
LACKS = re.compile("arguments are required|one of the arguments|expected one arg|must be one of .*, not '[A-Z]+'")
ON_DISK = re.compile(r"[/.~*$]|^[A-Z]|^\d+x\d+$|:")  # of a value that is no name: a file, a placeholder, a size


WRITTEN = set(re.findall(r"--out (\S+)", "".join(page.read_text(encoding="utf-8") for page in PAGES)))


def cases():
    return [
        pytest.param(program, rest, id=f"{page.name}: {shown}"[:150])
        for page in PAGES
        if page.name != "CHANGELOG.md"  # which also says what commands were called
        for program, rest, shown, _ in dict.fromkeys(commands_of(page.read_text(encoding="utf-8")))
        if rest and (program == "make" or program.rpartition(" ")[2] in PARSERS) and not PLACEHOLDER.search(shown)
    ]


def check_names(options):
    for dest, names in NAMES.items():
        given = getattr(options, dest, None)
        if isinstance(given, str) and not ON_DISK.search(given):
            assert set(given.split(",")) <= {*names(), *WRITTEN, "all"}, f"{dest} {given}"


@pytest.mark.parametrize(("program", "rest"), cases())
def test_a_command_parses_and_names_what_exists(program, rest, capsys):
    words = words_of(rest)
    if program == "make":
        targets = [word for word in words if "=" not in word and not word.startswith("-")]
        assert targets, rest
        assert set(targets) <= TARGETS
        target, words = targets[0], [word for word in words if "=" in word]
        if target not in COMMANDS:
            for name in (word.partition("=")[0] for word in words):
                assert name in ("PYTHON", "ARGS") or re.search(rf"\$\([^()]*\b{name}\b", MAKEFILE), (
                    f"{name} of {target}"
                )
            return
        extra = [part for word in words if word.startswith("ARGS=") for part in shlex.split(word[5:])]
        program, words = "tritforge", [target, *(word for word in words if not word.startswith("ARGS=")), *extra]
    try:
        options = PARSERS[program.rpartition(" ")[2]].parse_args(words)
    except SystemExit as end:
        options, lacking = None, end.code == 0 or LACKS.search(capsys.readouterr().err)
    if options is None:
        assert lacking, rest
    else:
        check_names(options)


def snippets():
    """Python of each page, which is run in order in one namespace; what names a run of the reader's own is left out."""
    for page in PAGES:
        found = [body for language, body in BLOCK.findall(page.read_text(encoding="utf-8")) if language == "python"]
        if found := [body for body in found if "/RUN/" not in body]:
            marks = [pytest.mark.torch] if any("quant.pipeline" in body for body in found) else []
            yield pytest.param(page, found, id=page.name, marks=marks)


@pytest.mark.parametrize(("page", "bodies"), list(snippets()))
def test_the_python_snippets_run(page, bodies, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "snippet"}
    for number, body in enumerate(bodies):
        if 'model="smollm2-135m"' in body:  # a tiny model in place of the one whose weights are fetched
            body = body.replace('model="smollm2-135m"', f"model={tiny_model(tmp_path)!r}, length=32")
        exec(compile(body, f"{page.name}, snippet {number}", "exec"), names)


def tiny_model(folder):
    """A LLaMA of a few thousand random weights, with a tokenizer of 39 words."""
    pytest.importorskip("torch")
    from tests.quant.tiny import save_tiny_llama

    return str(save_tiny_llama(folder / "model"))


def anchors_of(path):
    """As GitHub makes them: lower case, punctuation gone, spaces to hyphens."""
    text = BLOCK.sub("", path.read_text(encoding="utf-8"))
    headings = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", one) for one in re.findall(r"^#+ (.*)$", text, re.MULTILINE)]
    return {re.sub(r"[^\w\- ]", "", one.strip().lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_link_dangles(page):
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    text = re.sub(r"`[^`]*`", "", text)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = unquote(link).partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors_of(target), link


def test_there_are_commands_snippets_and_links_to_check():
    assert len(cases()) > 100
    assert any(True for _ in snippets())


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built without a warning."""
    if importlib.util.find_spec("material") is None:
        pytest.skip("needs the site extra")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_needs_no_network(site):
    written = {page.stem: page.read_text(encoding="utf-8") for page in site.glob("*.html")}
    assert {page.stem for page in PAGES if page.parent.name == "docs"} <= written.keys()
    for page, text in written.items():
        loaded = re.findall(r'<(?:script|img|link rel="stylesheet")[^>]*(?:src|href)="?(https?:[^" >]+)', text)
        assert loaded == [], page


def documents():
    """YAML of every page that says which kind of document it is."""
    for page in PAGES:
        for number, (language, body) in enumerate(BLOCK.findall(page.read_text(encoding="utf-8"))):
            if language == "yaml" and (kind := re.search(r"^schema: tritforge[.](\w+)[.]\d+$", body, re.MULTILINE)):
                yield pytest.param(kind[1], body, id=f"{page.name} {number} {kind[1]}")


@pytest.mark.parametrize(("kind", "body"), list(documents()))
def test_a_document_of_a_page_is_one(kind, body, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(body, encoding="utf-8")
    loaded = LOADERS[kind](str(path))
    assert loaded.name in body


def test_every_kind_of_document_that_a_how_to_adds_is_shown():
    assert {one.values[0] for one in documents()} >= {"array", "memory", "costs", "whatif"}


def test_the_site_has_the_reference_of_names_and_fields(site):
    names, fields = ((site / f"{page}.html").read_text(encoding="utf-8") for page in ("reference", "schemas"))
    assert "quantize_tokens" in names
    assert "Per-token symmetric int8" in names
    assert "weight_bus_bits" in fields
