"""A refusal is one line, whatever it quotes."""

import pytest

from hw.errors import InputError


@pytest.mark.parametrize("sign", ["\n", "\r\n", "\x85", "\u2028", "\x0b", "\x1c"])
def test_a_name_with_a_line_break_does_not_make_two_lines(sign):
    assert str(InputError(f"a{sign}b: must be a file")) == "a b: must be a file"
