"""The notebook: ten cells that run, print what is committed, and make the page that shows them."""

import re
from pathlib import Path

import pytest

from energy.console import _main
from energy.notebook.document import Cell, cells_of, executed, markdown, notebook, source
from energy.notebook.page import NOTEBOOK, PAGE, PICTURES, page_of
from hw.errors import InputError

nbformat = pytest.importorskip("nbformat")

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def committed():
    return nbformat.read(ROOT / NOTEBOOK, as_version=4)


def outputs(node):
    """Code cell by code cell, the texts and pictures that it shows; colours of pictures are the reports'."""
    shown = [
        [one.get("text") or one.data.get("image/svg+xml") or one.data["text/plain"] for one in cell.outputs]
        for cell in node.cells
        if cell.cell_type == "code"
    ]
    return [[re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL) for text in texts] for texts in shown]


def test_cells_are_told_apart_and_words_lose_their_marks():
    text = "# %% [markdown]\n# # Title\n#\n# Words.\n\n# %%\nx = 1  # one\n\nx\n\n# %%\n# a comment\ny = 2\n"
    assert cells_of(text) == [
        Cell(True, "# Title\n\nWords."),
        Cell(False, "x = 1  # one\n\nx"),
        Cell(False, "# a comment\ny = 2"),
    ]


def test_text_before_the_first_cell_is_refused():
    with pytest.raises(InputError, match=r"^notebook must start with a mark of a cell, # %%, not 'x = 1'$"):
        cells_of("x = 1\n# %%\n")


def test_it_has_ten_cells_each_under_its_number():
    cells = cells_of(source())
    assert sum(not cell.is_words for cell in cells) == 10
    title, *rest = cells
    assert title.text.startswith("# From a model to a decision\n")
    assert [re.match(r"## (\d+)\. ", words.text)[1] for words in rest[::2]] == [str(number) for number in range(1, 11)]
    assert not any(cell.is_words for cell in rest[1::2])


def test_what_is_committed_are_these_cells_and_is_small(committed):
    cells = [Cell(cell.cell_type == "markdown", cell.source) for cell in committed.cells]
    assert cells == cells_of(source())
    assert (ROOT / NOTEBOOK).stat().st_size < 100_000


def test_the_page_shows_the_committed_notebook(committed, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert page_of(committed, tmp_path) == PAGE.read_text(encoding="utf-8"), "run: tritforge notebook --docs"
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_text() for path in PICTURES.iterdir()}
    assert len(made) == 2


def test_it_runs_and_prints_what_is_committed(committed):
    """Every number, sentence and picture, by a kernel of its own."""
    pytest.importorskip("ipykernel")
    found = outputs(executed(notebook(cells_of(source())), ROOT))
    assert found == outputs(committed), "run: tritforge notebook --docs"
    assert "6738415616" in found[0][0]
    assert found[-1][0].startswith("Worth building: A for least user time per token")


def test_a_cell_that_fails_is_one_line():
    pytest.importorskip("ipykernel")
    with pytest.raises(InputError, match=r"^every cell of the notebook must run; one ended with ZeroDivisionError: "):
        executed(notebook([Cell(False, "1 / 0")]), ROOT)


def test_headings_go_below_the_pages_own_and_output_stays_apart(tmp_path):
    node = notebook([Cell(True, "# Title\n\n## Part"), Cell(False, "print(1)")])
    node.cells[1].outputs = [nbformat.v4.new_output("stream", text="1  \n\n")]
    assert markdown(node, tmp_path, "x") == "## Title\n\n### Part\n\n```py\nprint(1)\n```\n\n```text\n1\n```"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--out", "x.py"], "out must be a file whose name ends with .ipynb, not x.py"),
        (["--docs", "--unexecuted"], "unexecuted must be left out beside docs"),
    ],
)
def test_what_cannot_be_written_is_refused(words, line):
    with pytest.raises(InputError, match=f"^{re.escape(line)}"):
        _main(["notebook", *words])


def test_the_cells_alone_are_written_without_running(tmp_path, capsys):
    path = tmp_path / "mine.ipynb"
    _main(["notebook", "--out", str(path), "--unexecuted", "--json"])
    assert str(path) in capsys.readouterr().out
    node = nbformat.read(path, as_version=4)
    assert [cell.source for cell in node.cells] == [cell.text for cell in cells_of(source())]
    assert all(cell.outputs == [] for cell in node.cells if cell.cell_type == "code")
