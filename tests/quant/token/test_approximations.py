"""What each approximation costs: shares by hand from rows that are made up, and none where an end is missing."""

import pytest

from quant.token.approximations import approximation_markdown, costs
from quant.token.job import TokenFormat
from quant.token.results import TokenResults, TokenRow


def row(integer, same_trits=10.5, **form):
    return TokenRow(
        model="m", method="digits", options={}, form=TokenFormat(**{"key_digits": 5, "value_digits": 5} | form),
        text="t.txt (abc)", windows=2, length=64, float_attention=10, same_trits=same_trits, integer=integer,
        change=integer / same_trits - 1, standard_error=None, saturated=0,
    )  # fmt: skip


FIVE = row(12.6)
FOUR = row(13.86, key_digits=4, value_digits=4)
LESS = row(27.72, key_digits=4, value_digits=3)


def test_each_is_compared_with_the_row_without_it():
    found = costs([LESS, row(25.2, block=16), row(15.12, rotate=False), FOUR, FIVE])
    assert found == {
        "table in digits, not in float": pytest.approx(0.05),
        "integers for float: norms, RoPE, softmax, SiLU; K and V in 5 digits": pytest.approx(0.2),
        "K and V in 4 digits, not 5": pytest.approx(0.1),
        "V in 3 digits, not 4": pytest.approx(1.0),
        "K in 4 and V in 3 digits, not 5": pytest.approx(1.2),
        "no rotation (WHT), K and V in 5 digits": pytest.approx(0.2),
        "softmax by blocks of 16 tokens, not 64": pytest.approx(1.0),
    }


def test_without_an_end_there_is_no_cost():
    assert costs([LESS]) == {}
    assert list(costs([FOUR, LESS])) == ["V in 3 digits, not 4"]


def test_samples_are_columns_that_are_never_mixed():
    other = FOUR.model_copy(update={"windows": 3})
    even = row(10, same_trits=9.99996, key_digits=5).model_copy(update={"text": "e.txt (d)"})
    assert "in float | +0.00 % |" in approximation_markdown(TokenResults(rows=(even,)))
    text = approximation_markdown(TokenResults(rows=(FIVE, other)))
    head, _, *lines = text.splitlines()
    assert head == "| approximation | m, digits: t.txt, 2 x 64 | m, digits: t.txt, 3 x 64 |"
    assert lines == [
        "| table in digits, not in float | +5.00 % |  |",
        "| integers for float: norms, RoPE, softmax, SiLU; K and V in 5 digits | +20.00 % |  |",
    ]


def test_texts_of_one_name_are_two_columns_and_a_name_is_whole():
    first, second = (row(12.6).model_copy(update={"text": f"my text.txt ({digest})"}) for digest in ("abc", "def"))
    head = approximation_markdown(TokenResults(rows=(first, second))).splitlines()[0]
    assert head == "| approximation | m, digits: my text.txt, 2 x 64 | m, digits: my text.txt, 2 x 64 |"
