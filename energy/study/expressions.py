"""Expressions over a row's figures: ``+ - * / // % **``, parentheses and a few functions, parsed by hand, never run.

Python's own parser makes the tree; what is evaluated is a short list of node types, in floats alone.
"""

import ast
import math
import operator
import warnings
from collections.abc import Callable, Mapping
from typing import NamedTuple

from hw.errors import InputError, did_you_mean

__all__ = ["FUNCTIONS", "Bound", "Constraint", "Expression", "contradiction"]

_MAX_CHARACTERS = 300

FUNCTIONS: dict[str, Callable[..., float]] = {
    "min": min, "max": max, "abs": abs, "sqrt": math.sqrt, "log2": math.log2, "log10": math.log10,
}  # fmt: skip
_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_RELATIONS: dict[type[ast.cmpop], tuple[str, Callable[[float, float], bool]]] = {
    ast.LtE: ("<=", operator.le),
    ast.GtE: (">=", operator.ge),
    ast.Lt: ("<", operator.lt),
    ast.Gt: (">", operator.gt),
    ast.Eq: ("==", operator.eq),
}
_MIRRORED = {"<=": ">=", ">=": "<=", "<": ">", ">": "<", "==": "=="}

Figures = Mapping[str, object]  # name -> number; None: the row has no such figure


class Expression:
    """An expression such as ``decode_tokens_per_s / (power_w * area_mm2)``.

    Raises:
        ValueError: text that is no expression of the allowed parts, naming the part.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._tree = _checked(_parsed(text))
        self.names = _names(self._tree)

    def value(self, figures: Figures) -> float:
        """The expression over the ``figures`` of a row.

        Raises:
            InputError: a division by zero, a figure that the row lacks, a result that is no finite number.
        """
        try:
            value = _value(self._tree, figures)
        except ZeroDivisionError:
            raise InputError(f"{self.text}: divides by zero") from None
        except (ValueError, OverflowError) as error:
            if isinstance(error, InputError):
                raise InputError(f"{self.text}: {error}") from None
            raise InputError(f"{self.text}: has no finite value") from None
        if isinstance(value, complex) or not math.isfinite(value):
            raise InputError(f"{self.text}: has no finite value")
        return value


class Bound(NamedTuple):
    """``name relation limit``, such as power_w <= 2."""

    name: str
    relation: str
    limit: float


class Constraint:
    """A comparison of two expressions, such as ``power_w <= 2``.

    Raises:
        ValueError: text that is not one comparison.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        tree = _parsed(text)
        if not isinstance(tree, ast.Compare) or len(tree.ops) != 1 or type(tree.ops[0]) not in _RELATIONS:
            signs = ", ".join(sign for sign, _ in _RELATIONS.values())
            raise ValueError(f"constraint {text!r} must be two expressions with one of {signs} between them")
        self._sign, self._holds = _RELATIONS[type(tree.ops[0])]
        self._left, self._right = (Expression(ast.unparse(side)) for side in (tree.left, tree.comparators[0]))
        self.names = self._left.names | self._right.names

    def violation(self, figures: Figures) -> str | None:
        """Why a row does not meet it, with the figure that it has; None: it does.

        Raises:
            InputError: an expression that has no value for this row.
        """
        left, right = self._left.value(figures), self._right.value(figures)
        if self._holds(left, right):
            return None
        shown = f"{left:.4g}" if not self._right.names else f"{left:.4g} against {right:.4g}"
        return f"{self.text} is not met: {shown}"

    @property
    def bound(self) -> Bound | None:
        """What it says where one side is a name and the other a number."""
        for name, number, sign in (
            (self._left, self._right, self._sign),
            (self._right, self._left, _MIRRORED[self._sign]),
        ):
            if name.names == {name.text} and not number.names:
                try:
                    return Bound(name.text, sign, number.value({}))
                except InputError as error:
                    raise ValueError(f"constraint {self.text!r}: {error}") from None
        return None


def contradiction(constraints: list[Constraint]) -> tuple[Constraint, Constraint] | None:
    """Two constraints that bound one name so that no value meets both; None: there are none such."""
    bounds = [(one, one.bound) for one in constraints]
    for first, a in bounds:
        for second, b in bounds:
            if a and b and a.name == b.name and a.relation in (">=", ">", "==") and b.relation in ("<=", "<", "=="):
                met = a.limit < b.limit or (a.limit == b.limit and not {a.relation, b.relation} & {"<", ">"})
                if not met:
                    return first, second
    return None


def _parsed(text: str) -> ast.expr:
    if len(text) > _MAX_CHARACTERS:
        raise ValueError(f"expression must have at most {_MAX_CHARACTERS} characters, not {len(text)}")
    try:
        with warnings.catch_warnings(action="ignore"):  # of Python's grammar, which 1if would earn
            return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"expression must be of numbers, names and + - * / // % ** ( ), not {text!r}") from None


def _checked(tree: ast.expr) -> ast.expr:
    """``tree`` where it has nothing but allowed parts."""
    match tree:
        case ast.Constant(value=bool()):
            pass
        case ast.Constant(value=int() | float()) | ast.Name():
            return tree
        case ast.Attribute(value=ast.Name() | ast.Attribute(value=ast.Name())):
            return tree
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            _checked(inner)
            return tree
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            _checked(left), _checked(right)
            return tree
        case ast.Call(func=ast.Name(id=name), args=[_, *_] as arguments, keywords=[]):
            if name not in FUNCTIONS:
                raise ValueError(
                    f"function must be one of {', '.join(FUNCTIONS)}, not {name!r}{did_you_mean(name, FUNCTIONS)}"
                )
            if name not in ("min", "max") and len(arguments) != 1:
                raise ValueError(f"{name} must have one argument, not {len(arguments)}")
            for argument in arguments:
                _checked(argument)
            return tree
    raise ValueError(f"expression must be of numbers, names and + - * / // % ** ( ), not {ast.unparse(tree)!r}")


def _name(tree: ast.Name | ast.Attribute) -> str:
    return ast.unparse(tree)


def _names(tree: ast.expr) -> set[str]:
    """Names of figures, such as ``power_w``, ``array.rows`` and ``saved.int8.power_w``."""
    match tree:
        case ast.Name() | ast.Attribute():
            return {_name(tree)}
        case ast.UnaryOp(operand=inner):
            return _names(inner)
        case ast.BinOp(left=left, right=right):
            return _names(left) | _names(right)
        case ast.Call(args=arguments):
            return set().union(*map(_names, arguments))
    return set()


def _value(tree: ast.expr, figures: Figures) -> float:
    match tree:
        case ast.Constant(value=number):
            return float(number)  # type: ignore[arg-type]
        case ast.Name() | ast.Attribute():
            return _figure(_name(tree), figures)
        case ast.UnaryOp(operand=inner):
            return -_value(inner, figures)
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_value(left, figures), _value(right, figures))
        case ast.Call(func=ast.Name(id=name), args=arguments):
            values = [_value(argument, figures) for argument in arguments]
            return FUNCTIONS[name](*values) if len(values) > 1 or name not in ("min", "max") else values[0]
    raise TypeError(f"{ast.dump(tree)} was not checked")


def _figure(name: str, figures: Figures) -> float:
    value = figures[name]
    if value is None:
        raise InputError(f"{name} has no figure here")
    if not isinstance(value, int | float):
        raise InputError(f"{name} must be a number, not {value!r}")
    return float(value)
