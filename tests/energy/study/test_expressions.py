"""Expressions equal arithmetic by hand, refuse whatever is no arithmetic, and say why a row has no value."""

import pytest

from energy.study.expressions import Bound, Constraint, Expression, contradiction
from hw.errors import InputError

FIGURES = {"power_w": 2.0, "batch": 4, "array.rows": 32, "area_mm2": None, "memory": "ddr4-3200", "on_chip": True}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("power_w / batch", 0.5),
        ("-power_w + 3 * (batch - 1)", 7.0),
        ("array.rows ** 2 // 100 % 7", 3.0),
        ("min(power_w, batch, 1) + max(batch, 9)", 10.0),
        ("sqrt(batch) + log2(array.rows) + log10(100) + abs(-1)", 10.0),
        ("min(batch)", 4.0),
        ("on_chip * 3", 3.0),
        ("2.5e-3", 0.0025),
    ],
)
def test_an_expression_has_the_value_of_its_arithmetic(text, value):
    assert Expression(text).value(FIGURES) == value


def test_names_are_those_of_figures_alone():
    assert Expression("max(power_w, array.rows) - batch").names == {"power_w", "array.rows", "batch"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "power_w +",
        "__import__('os').system('true')",
        "(1).__class__",
        "array.rows.bit_length()",
        "[1][0]",
        "power_w if 1 else 2",
        "lambda: 1",
        "power_w <= 2",
        "True",
        "'a' * 9",
        "min(x for x in batch)",
        "min(*batch)",
        "round(power_w)",
        "sqrt(1, 2)",
        "batch and 1",
        "(a := 1)",
        "1 " + "+ 1" * 200,
        "(" * 290,
    ],
)
def test_what_is_no_arithmetic_is_refused(text):
    with pytest.raises(ValueError, match=r"must (be|have)") as caught:
        Expression(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 / (batch - 4)", r"^1 / \(batch - 4\): divides by zero$"),
        ("batch % 0", "divides by zero"),
        ("0 ** -1", "divides by zero"),
        ("sqrt(-1)", "has no finite value"),
        ("(-1) ** 0.5", "has no finite value"),
        ("10.0 ** 400", "has no finite value"),
        ("9 ** 9 ** 9 ** 9", "has no finite value"),
        ("1e308 * 10", "has no finite value"),
        ("area_mm2 * 2", "area_mm2 has no figure here"),
        ("memory + 1", "memory must be a number, not 'ddr4-3200'"),
    ],
)
def test_an_expression_without_a_value_says_why(text, message):
    with pytest.raises(InputError, match=message):
        Expression(text).value(FIGURES)


@pytest.mark.parametrize(
    ("text", "violation"),
    [
        ("power_w <= 2", None),
        ("power_w < 2", "power_w < 2 is not met: 2"),
        ("3 <= batch", None),
        ("batch == 4", None),
        ("power_w * 2 >= batch + 1", "power_w * 2 >= batch + 1 is not met: 4 against 5"),
    ],
)
def test_a_constraint_holds_or_says_the_figure(text, violation):
    assert Constraint(text).violation(FIGURES) == violation


@pytest.mark.parametrize("text", ["power_w", "1 < power_w < 2", "power_w != 2", "power_w in 2", "x <= 2 and y <= 3"])
def test_a_constraint_is_one_comparison(text):
    with pytest.raises(ValueError, match="must be two expressions with one of <=, >=, <, >, == between them"):
        Constraint(text)


def test_bounds_are_read_from_either_side():
    assert Constraint("power_w <= 2").bound == Bound("power_w", "<=", 2)
    assert Constraint("2 < power_w").bound == Bound("power_w", ">", 2)
    assert Constraint("power_w <= batch").bound is None
    assert Constraint("2 * power_w <= 3").bound is None


@pytest.mark.parametrize(
    ("texts", "clash"),
    [
        (["a >= 3", "a <= 2"], True),
        (["a <= 2", "a >= 3"], True),
        (["a >= 2", "a <= 2"], False),
        (["a > 2", "a <= 2"], True),
        (["a == 2", "a == 3"], True),
        (["a == 2", "a < 2"], True),
        (["a == 2", "a >= 2"], False),
        (["a > 2", "a == 5"], False),
        (["a >= 3", "b <= 2"], False),
    ],
)
def test_constraints_that_exclude_each_other_are_found(texts, clash):
    assert (contradiction([Constraint(text) for text in texts]) is not None) == clash
