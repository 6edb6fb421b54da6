"""Liberty expressions: truth tables equal Python's own evaluation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.errors import InputError
from hw.gates.flow.logic import names_in, truth_table


def expressions():
    return st.recursive(
        st.sampled_from(["A", "B", "C", "0", "1"]),
        lambda e: st.one_of(
            st.tuples(e, st.sampled_from(["&", "*", " ", "|", "+", "^"]), e).map(lambda t: f"({t[0]}){t[1]}({t[2]})"),
            e.map(lambda t: f"!({t})"),
            e.map(lambda t: f"({t})'"),
        ),
        max_leaves=12,
    )


def python_value(text, state):
    """Evaluate the fully parenthesized text with Python's operators."""
    text = text.replace("*", "&").replace("+", "|").replace(") (", ")&(").replace("!", "1^")
    while ")'" in text:
        end = text.index(")'")
        depth, start = 0, end
        while True:
            depth += {")": 1, "(": -1}.get(text[start], 0)
            if depth == 0:
                break
            start -= 1
        text = f"{text[:start]}(1^{text[start : end + 1]}){text[end + 2 :]}"
    return eval(text, {"A": state & 1, "B": state >> 1 & 1, "C": state >> 2 & 1})


@given(expressions())
def test_truth_table_equals_evaluation_state_by_state(text):
    table = truth_table(text, ["A", "B", "C"])
    assert [table >> s & 1 for s in range(8)] == [python_value(text, s) & 1 for s in range(8)]


def test_precedence_of_mixed_operators():
    assert truth_table("!A B + A'*!B ^ 0", ["A", "B"]) == 0b0101


@pytest.mark.parametrize("text", ["A &", "A & D", "(A | B", "A ? B"])
def test_faulty_expressions_are_named(text):
    with pytest.raises(InputError, match="Liberty expression"):
        truth_table(text, ["A", "B"])


def test_names_are_words_and_no_constants():
    assert names_in("_A & !B1 | 1 ^ 0'") == {"_A", "B1"}
