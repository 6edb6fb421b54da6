"""Boolean expressions of Liberty files as truth tables held in one integer."""

import re

from hw.errors import InputError

__all__ = ["names_in", "truth_table"]

_TOKEN = re.compile(r"\s*([A-Za-z_][\w\[\]]*|[01]|[!'&*|+^()])")


def truth_table(expression: str, names: list[str]) -> int:
    """Truth table of ``expression``: bit ``s`` is its value in state ``s``, whose bit ``i`` is ``names[i]``.

    Liberty's operators, strongest first: ``'`` after and ``!`` before a term, ``^``, then ``&`` or ``*`` or a space,
    then ``|`` or ``+``.

    Raises:
        InputError: bad syntax, or a name that is not in ``names``.
    """
    return _Parser(expression, names).parse()


def names_in(expression: str) -> set[str]:
    """The names that an expression uses."""
    return {token for token in _TOKEN.findall(expression) if token[0].isalpha() or token[0] == "_"}


class _Parser:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, expression: str, names: list[str]) -> None:
        states = 1 << len(names)
        self.expression = expression
        self.all = (1 << states) - 1
        self.value_of = {
            name: sum(1 << state for state in range(states) if state >> i & 1) for i, name in enumerate(names)
        }
        self.value_of |= {"0": 0, "1": self.all}
        self.tokens = _TOKEN.findall(expression)
        if "".join(self.tokens) != re.sub(r"\s", "", expression):
            raise InputError(f"Liberty expression {expression!r} has characters that are no operator or name")
        self.position = 0

    def parse(self) -> int:
        value = self._or()
        if self._peek() is not None:
            raise InputError(f"Liberty expression {self.expression!r} cannot be read at {self._peek()!r}")
        return value

    def _peek(self) -> str | None:
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def _take(self) -> str | None:
        token = self._peek()
        self.position += 1
        return token

    def _or(self) -> int:
        value = self._and()
        while self._peek() in ("|", "+"):
            self._take()
            value |= self._and()
        return value

    def _and(self) -> int:
        value = self._xor()
        while (token := self._peek()) is not None and token not in ("|", "+", ")"):
            if token in ("&", "*"):
                self._take()
            value &= self._xor()
        return value

    def _xor(self) -> int:
        value = self._term()
        while self._peek() == "^":
            self._take()
            value ^= self._term()
        return value

    def _term(self) -> int:
        token = self._take()
        if token == "!":
            return self.all ^ self._term()
        if token == "(":
            value = self._or()
            if self._take() != ")":
                raise InputError(f"Liberty expression {self.expression!r} lacks a closing parenthesis")
        elif token in self.value_of:
            value = self.value_of[token]
        else:
            raise InputError(f"Liberty expression {self.expression!r} uses {token!r}, which is no pin of the cell")
        while self._peek() == "'":
            self._take()
            value ^= self.all
        return value
