"""``--add`` to what cannot be a results file is refused before a model is read, let alone measured for minutes."""

import pytest

from hw.errors import InputError
from quant.__main__ import main

COMMANDS = (
    ["integer", "none.bin", "--text", "none.txt"],
    ["kv", "none.bin"],
    ["vocabulary", "none.bin"],
    ["evaluate", "none.bin", "--text", "none.txt"],
)


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_a_results_file_that_cannot_be_written_or_read_is_refused_first(words, tmp_path):
    with pytest.raises(InputError, match=r"must be a file, not a folder$"):
        main([*words, "--add", str(tmp_path)])
    (tmp_path / "rows.json").write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match=r"rows\.json"):
        main([*words, "--add", str(tmp_path / "rows.json")])
