"""``tritforge list``: everything that an option takes by name is in a list, with what tells it apart."""

import json

import pytest

from energy.__main__ import main
from energy.commands.listing import KINDS, NAMES

LISTED = {"model": "models", "array": "arrays", "memory": "memories", "costs": "costs", "board": "boards",
          "method": "methods", "study": "studies"}  # fmt: skip


@pytest.mark.parametrize(("option", "kind"), LISTED.items())
def test_a_list_has_every_name_that_completes(option, kind, capsys):
    main(["list", kind, "--json"])
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == NAMES[option]()


@pytest.mark.parametrize("kind", KINDS.keys() - {"options"})
def test_a_table_names_its_columns(kind, capsys):
    main(["list", kind])
    assert ("operator" if kind == "operators" else "name") in capsys.readouterr().out


@pytest.mark.torch
def test_options_of_a_method_come_with_their_defaults(capsys):
    pytest.importorskip("torch")
    main(["list", "options", "--method", "gptq-2bit", "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert {"option": "group", "default": "128"}.items() <= next(
        row for row in rows if row["option"] == "group"
    ).items()
