"""Names: the census's lists, a file of one's own, and what is refused."""

import pytest

from hw.errors import InputError
from quant.microgpt.names import END, decoded, encoded, name_rows, read_names

TEN = [f"a{letter}" for letter in "bcdefghijk"]


def test_the_census_has_the_names_that_everybody_knows_and_none_twice():
    names = read_names(None, 16)
    assert {"mary", "john", "elizabeth", "zachary"} <= set(names)
    assert list(names) == sorted(set(names))
    assert all(name.isascii() and name.isalpha() and name.islower() for name in names)


def test_a_file_of_ones_own_is_lowered_sorted_and_freed_of_doubles(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("\n".join(["Zoe", "ab", "", "ZOE ", *TEN]), encoding="utf-8")
    assert read_names(path, 16) == ("ab", *TEN[1:], "zoe")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold at least 10 different names, one per line, not 0"),
        ("\n".join(["anna"] * 20), "must hold at least 10 different names, one per line, not 1"),
        ("anna\nanne-marie", "line 2: a name must be of the letters a to z, not '-'"),
        ("josé", "line 1: a name must be of the letters a to z, not 'é'"),
        ("a" * 15 + "\n" + "b" * 16, "line 2: a name must have at most 15 letters for a context of 16 tokens, not 16"),
    ],
)
def test_what_is_no_list_of_names_is_refused(tmp_path, text, message):
    path = tmp_path / "names.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as refused:
        read_names(path, 16)
    assert message in str(refused.value)
    assert str(path) in str(refused.value)


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"must be a file of names, one per line \(No such file or directory\)$"):
        read_names(tmp_path / "none.txt", 16)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"must be a UTF-8 text of names"):
        read_names(tmp_path / "bytes", 16)


def test_letters_and_ids_are_inverse_and_rows_predict_the_next_letter():
    assert encoded(".az") == [END, 1, 26]
    assert decoded(encoded("marie.")) == "marie."
    inputs, targets = name_rows(["abc"], 16)
    assert inputs[0, :4].tolist() == [0, 1, 2, 3]
    assert targets[0, :5].tolist() == [1, 2, 3, 0, -100]
    assert set(targets[0, 4:].tolist()) == {-100}
