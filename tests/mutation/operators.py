"""Small semantic changes of one place in a Python file: swapped operators, moved boundaries, dropped terms, other ends.

Ref: the operators are those of mutation testing since DeMillo et al., 1978 ("Hints on test data selection"), and the
kinds of fault that this project's own reviews found: a wrong end of a range, a dropped term, a unit off by a factor.
"""

import ast
from collections.abc import Iterator
from itertools import pairwise
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
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "ceil": "floor", "floor": "ceil", "sum": "max"}
_RELATED = (  # fields that are taken for each other
    ("rows", "cols"),
    ("k", "n"),
    ("reads", "writes"),
    ("dram_read_bits", "dram_write_bits"),
    ("weight_bits", "activation_bits"),
    ("weight_buffer_bytes", "activation_buffer_bytes"),
    ("heads", "kv_heads"),
    ("num_attention_heads", "num_key_value_heads"),
    ("hidden_size", "intermediate_size"),
    ("column_cores", "fold_cores"),
    ("column_tiles", "token_tiles"),
    ("prefill", "decode"),
    ("minimum", "maximum"),
    ("amin", "amax"),
    ("argmin", "argmax"),
    ("min", "max"),
    ("any", "all"),
    ("ceil", "floor"),
)
_ATTRIBUTES = {"low": "typical", "high": "typical", "typical": "high"}
_ATTRIBUTES |= {one: other for pair in _RELATED for one, other in (pair, pair[::-1])}
_SHAPING = ("reshape", "view")  # a negative size is the one left over, whichever it is
_FORGOTTEN = ("abs", "round", "sqrt", "square")  # calls that a result may lack


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


class _Source:
    """A file's text with the characters of each node."""

    def __init__(self, text: str) -> None:
        self.text, self._data = text, text.encode()
        self._lines = [0]
        for line in text.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line.encode()))

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """First character of ``node``, and the one behind its last."""
        return self._at(node.lineno, node.col_offset), self._at(node.end_lineno or 0, node.end_col_offset or 0)

    def between(self, left: ast.expr, sign: str, right: ast.expr) -> int:
        """Where ``sign`` stands between two operands; -1 where it does not."""
        return self.text.rfind(sign, self.span(left)[1], self.span(right)[0])

    def _at(self, line: int, column: int) -> int:
        at = self._lines[line - 1] + column
        return at if len(self._data) == len(self.text) else len(self._data[:at].decode())


def mutants(source: str) -> list[Mutant]:
    """Every change of ``source`` that these operators know, in the order of the file.

    Annotations, error messages and docstrings stay as they are: no number depends on them.
    """
    file = _Source(source)
    found = set()
    for node in _computing(ast.parse(source)):
        for start, old, new in _changes(node, file):
            if old != new and start >= 0:
                found.add(Mutant(node.lineno, start, start + len(old), old, new))
    return sorted(found, key=lambda mutant: (mutant.start, mutant.text))


def _computing(node: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    """Expressions and statements that results depend on."""
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
            if isinstance(child, ast.UnaryOp) and isinstance(node, ast.Call) and _shapes(node.func):
                continue
            if isinstance(child, ast.expr | ast.AugAssign | ast.If):
                yield child
            yield from _computing(child)


def _shapes(function: ast.expr) -> bool:
    return isinstance(function, ast.Attribute) and function.attr in _SHAPING


def _is_annotation(node: ast.Subscript) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id in ("Annotated", "Literal", "dict", "list", "tuple")


def _changes(node: ast.expr | ast.stmt, file: _Source) -> Iterator[tuple[int, str, str]]:
    """Where in the file, what stands there, what comes instead."""
    start, end = file.span(node)
    text = file.text[start:end]
    match node:
        case ast.BinOp() if type(node.op) in _BINARY and not _joins_text(node):
            yield from _binary(node, file)
        case ast.AugAssign() if type(node.op) in _BINARY:
            at = file.between(node.target, _SIGN[type(node.op)] + "=", node.value)  # type: ignore[arg-type]
            yield at, _SIGN[type(node.op)], _BINARY[type(node.op)]
            yield at, _SIGN[type(node.op)], ""
        case ast.Compare():
            for left, operator, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
                if type(operator) in _COMPARE:
                    old, new = _COMPARE[type(operator)]
                    yield file.between(left, old, right), old, new
        case ast.BoolOp():
            old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
            for left, right in pairwise(node.values):
                yield file.between(left, old, right), old, new
            last = file.span(node.values[-2])[1]
            at = file.text.index(f" {old} ", last) if f" {old} " in file.text[last:end] else end
            yield at, file.text[at:end], ""
        case ast.UnaryOp(op=ast.Not()):
            yield start, "not ", ""
        case ast.UnaryOp(op=ast.USub()) if not isinstance(node.operand, ast.Constant):
            yield start, "-", ""
        case ast.If() | ast.IfExp() if isinstance(node.test, ast.Name | ast.Attribute | ast.Call):
            if isinstance(node, ast.IfExp) or not isinstance(node.body[0], ast.Raise):
                first, behind = file.span(node.test)
                yield first, file.text[first:behind], f"not {file.text[first:behind]}"
        case ast.Constant(value=bool()):
            yield start, text, str(not node.value)
        case ast.Constant(value=int()):
            yield start, text, str(node.value + 1)
        case ast.Constant(value=float()):
            yield start, text, repr(node.value * 2 if node.value else 1.0)
        case ast.Call(func=ast.Name(id=name), args=[_], keywords=[]) if name in _FORGOTTEN:
            yield start, name, ""
        case ast.Call(func=ast.Attribute(value=value, attr=name), args=[]) if name in _FORGOTTEN:
            behind = file.span(value)[1]
            at = file.text.index(f".{name}(", behind)
            yield at, file.text[at:end], ""
        case ast.Call(func=ast.Name(id="range"), args=[last]):
            first, behind = file.span(last)
            yield first, file.text[first:behind], f"{file.text[first:behind]} - 1"
        case ast.Name(id=name) if name in _NAMES:
            yield start, name, _NAMES[name]
        case ast.Attribute(attr=name) if name in _ATTRIBUTES:
            yield end - len(name), name, _ATTRIBUTES[name]


def _joins_text(node: ast.BinOp) -> bool:
    """True for paths and messages, which no number depends on."""
    return any(
        isinstance(one, ast.JoinedStr) or (isinstance(one, ast.Constant) and isinstance(one.value, str))
        for one in (node.left, node.right)
    )


def _binary(node: ast.BinOp, file: _Source) -> Iterator[tuple[int, str, str]]:
    """Another operator, or the second term or factor dropped."""
    operator, end = _SIGN[type(node.op)], file.span(node)[1]
    at = file.between(node.left, operator, node.right)
    yield at, operator, _BINARY[type(node.op)]
    if isinstance(node.op, ast.Add | ast.Sub | ast.Mult | ast.Div):
        first = at - (len(file.text[:at]) - len(file.text[:at].rstrip(" ")))
        yield first, file.text[first:end], ""
