"""The operators of the mutation runner: which changes they make of a line, and which text they leave alone."""

import ast

from tests.mutation.operators import mutants


def _changes(source: str) -> set[str]:
    return {one.apply(source) for one in mutants(source)}


def test_an_operator_is_swapped_and_a_second_term_dropped():
    assert _changes("x = a + b") == {"x = a - b", "x = a"}
    assert _changes("x = a * b") == {"x = a / b", "x = a"}
    assert _changes("x = a + b + c") == {"x = a - b + c", "x = a + c", "x = a + b - c", "x = a + b"}
    assert _changes("x = a and (b or c)") == {"x = a or (b or c)", "x = a", "x = a and (b and c)", "x = a and (b)"}


def test_a_sum_loses_what_is_added_to_it_or_what_it_was():
    assert _changes("x += a") == {"x -= a", "x = a"}


def test_both_boundaries_of_a_range_move():
    assert _changes("x = a < b <= c") == {"x = a <= b <= c", "x = a < b < c"}
    assert _changes("for i in range(n): pass") == {"for i in range(n - 1): pass"}


def test_a_condition_turns_round_but_where_it_only_refuses():
    assert _changes("if a: x = b") == {"if not a: x = b"}
    assert _changes("x = b if a else c") == {"x = b if not a else c"}
    assert _changes("if a: raise b") == set()


def test_calls_are_forgotten_and_fields_taken_for_each_other():
    assert _changes("x = abs(a)") == {"x = (a)"}
    assert _changes("x = a.abs()") == {"x = a"}
    assert _changes("x = a.rows") == {"x = a.cols"}


def test_boundaries_constants_and_ends_of_a_range_move():
    assert _changes("x = a < b") == {"x = a <= b"}
    assert _changes("x = f(3)") == {"x = f(4)"}
    assert _changes("x = c.low") == {"x = c.typical"}
    assert _changes("x = min(a, b)") == {"x = max(a, b)"}
    assert _changes("x = not a") == {"x = a"}


def test_error_messages_annotations_and_docstrings_stay():
    source = (
        '"""Doc 1 + 2."""\ndef f(x: Annotated[int, 3]) -> Literal[4]:\n    raise InputError(f"{x + 1} must be 2")\n'
    )
    assert _changes(source) == set()
    assert _changes('path = folder / "name"') == set()


def test_what_zip_asserts_stays():
    assert _changes("x = zip(a, b, strict=True)") == set()
    assert _changes("x = f(a, exact=True)") == {"x = f(a, exact=False)"}


def test_the_size_that_is_left_over_stays():
    assert _changes("x = a.reshape(-1, b + c)") == {"x = a.reshape(-1, b - c)", "x = a.reshape(-1, b)"}


def test_every_change_parses_also_behind_letters_of_two_bytes():
    source = 'x = "µ"; y = a + (b - c) ** 2 if not d else max(e.high, 0.5)\n'
    found = mutants(source)
    assert len(found) >= 6
    for one in found:
        ast.parse(one.apply(source))
