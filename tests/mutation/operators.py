"""Small semantic changes of one place in a Python file: swapped operators, moved boundaries, dropped terms, other ends.

Ref: the operators are those of mutation testing since DeMillo et al., 1978 ("Hints on test data selection"), and the
kinds of fault that this project's own reviews found: a wrong end of a range, a dropped term, a unit off by a factor.
"""

import ast
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Mutant", "mutants"]

_BINARY = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.FloorDiv: "*",
    ast.Mod: "//",
    ast.Pow: "*",
    ast.LShift: ">>",
    ast.RShift: "<<",
}
_SIGN = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.LShift: "<<",
    ast.RShift: ">>",
}
_COMPARE = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
}
_ASSERTIONS = ("strict",)  # of zip: says that lengths are equal, and changes nothing where they are
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "ceil": "floor", "floor": "ceil"}
_ATTRIBUTES = _NAMES | {"low": "typical", "high": "typical", "typical": "high", "minimum": "maximum"}


class Mutant(NamedTuple):
    """One change: the characters from ``start`` to ``end`` of a file become ``text``."""

    line: int  # from 1
    start: int
    end: int
    old: str
    text: str

    def apply(self, source: str) -> str:
        """The changed file."""
        return source[: self.start] + self.text + source[self.end :]


def mutants(source: str) -> list[Mutant]:
    """Every change of ``source`` that these operators know, in the order of the file.

    Annotations, error messages and docstrings stay as they are: no number depends on them.
    """
    offsets = [0]
    for line in source.splitlines(keepends=True):
        offsets.append(offsets[-1] + len(line.encode()))
    data = source.encode()

    def position(line: int, column: int) -> int:
        return len(data[: offsets[line - 1] + column].decode())

    found = []
    for node in _computing(ast.parse(source)):
        start = position(node.lineno, node.col_offset)
        end = position(node.end_lineno, node.end_col_offset)
        for at, old, new in _changes(node, source[start:end]):
            found.append(Mutant(node.lineno, start + at, start + at + len(old), old, new))
    return sorted(set(found), key=lambda mutant: (mutant.start, mutant.text))


def _computing(node: ast.AST) -> Iterator[ast.expr]:
    """Expressions that results depend on."""
    for name, value in ast.iter_fields(node):
        if isinstance(node, ast.AnnAssign | ast.arg) and name == "annotation":
            continue
        if isinstance(node, ast.FunctionDef) and name in ("returns", "decorator_list"):
            continue
        if isinstance(node, ast.keyword) and node.arg in _ASSERTIONS:
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.Raise | ast.JoinedStr | ast.Import):
                continue
            if isinstance(child, ast.Subscript) and _is_annotation(child):
                continue
            if isinstance(child, ast.expr):
                yield child
            yield from _computing(child)


def _is_annotation(node: ast.Subscript) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id in ("Annotated", "Literal", "dict", "list", "tuple")


def _changes(node: ast.expr, text: str) -> Iterator[tuple[int, str, str]]:
    """Where in the node's ``text``, what stands there, what comes instead."""
    match node:
        case ast.BinOp() if type(node.op) in _BINARY:
            yield from _binary(node, text)
        case ast.Compare() if len(node.ops) == 1 and type(node.ops[0]) in _COMPARE:
            old, new = _COMPARE[type(node.ops[0])]
            if text.count(f" {old} ") == 1:
                yield text.index(f" {old} ") + 1, old, new
        case ast.BoolOp():
            old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
            if text.count(f" {old} ") == 1:
                yield text.index(f" {old} ") + 1, old, new
        case ast.UnaryOp(op=ast.Not()):
            yield 0, "not ", ""
        case ast.UnaryOp(op=ast.USub()) if not isinstance(node.operand, ast.Constant):
            yield 0, "-", ""
        case ast.Constant(value=bool()):
            yield 0, text, str(not node.value)
        case ast.Constant(value=int()):
            yield 0, text, str(node.value + 1)
        case ast.Constant(value=float()):
            yield 0, text, repr(node.value * 2 if node.value else 1.0)
        case ast.Name(id=name) if name in _NAMES:
            yield 0, name, _NAMES[name]
        case ast.Attribute(attr=name) if name in _ATTRIBUTES:
            yield len(text) - len(name), name, _ATTRIBUTES[name]


def _binary(node: ast.BinOp, text: str) -> Iterator[tuple[int, str, str]]:
    """Another operator, or the second term dropped; only where the operator stands once at this level."""
    sign = f" {_SIGN[type(node.op)]} "
    if isinstance(node.op, ast.Pow) and sign not in text:
        sign = "**"
    if text.count(sign) != 1:
        return
    at = text.index(sign)
    operator = sign.strip()
    inside = at + (sign != operator)
    yield inside, operator, _BINARY[type(node.op)]
    if isinstance(node.op, ast.Add | ast.Sub) and _balanced(text[at:]):
        yield at, text[at:], ""


def _balanced(text: str) -> bool:
    return text.count("(") == text.count(")") and text.count("[") == text.count("]")
