"""Values that stand in the source as they are, and arithmetic on them."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final

from mldiag.artifacts import Scalar

Literal = Scalar | tuple[Scalar, ...]


class NotLiteral(Enum):
    """What `folded` gives where an expression is not a literal; None is a value of its own."""

    NOT_LITERAL = "not literal"


NOT_LITERAL: Final = NotLiteral.NOT_LITERAL

_DEPTH_LIMIT = 50  # nested operators; people write a handful
_NUMBER_LIMIT = 2**63  # settings are machine numbers; a larger power is never worked out
_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.LShift: operator.lshift, ast.RShift: operator.rshift,
}  # fmt: skip


def folded(node: ast.AST | None, names: Mapping[str, Literal] | None = None, depth: int = 0) -> Literal | NotLiteral:
    """The value of an expression of literals: numbers and their arithmetic, texts, booleans, None, flat tuples.

    Args:
        names: values of names that may occur.

    Returns:
        `NOT_LITERAL` where the value does not follow from the text alone; numbers of 2**63 and more are left alone.
    """
    if isinstance(node, ast.Constant):
        value = node.value
        return value if value is None or isinstance(value, bool | int | float | str) else NOT_LITERAL
    if depth > _DEPTH_LIMIT:
        return NOT_LITERAL
    if isinstance(node, ast.Name):
        return names[node.id] if names and node.id in names else NOT_LITERAL
    if isinstance(node, ast.Tuple | ast.List):
        items: list[Scalar] = []
        for item in node.elts:
            element = folded(item, names, depth + 1)
            if isinstance(element, tuple | NotLiteral):
                return NOT_LITERAL
            items.append(element)
        return tuple(items)
    if isinstance(node, ast.UnaryOp):
        return _unary(node.op, folded(node.operand, names, depth + 1))
    if isinstance(node, ast.BinOp):
        return combined(node.op, folded(node.left, names, depth + 1), folded(node.right, names, depth + 1))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 1 and not node.keywords:
        return converted(node.func.id, folded(node.args[0], names, depth + 1))
    return NOT_LITERAL


def combined(operation: ast.operator, left: object, right: object) -> Literal | NotLiteral:
    """Two numbers under an arithmetic operator; `NOT_LITERAL` for anything else, and where the result is too large."""
    if not (_is_number(left) and _is_number(right)):
        return NOT_LITERAL
    assert isinstance(left, int | float) and isinstance(right, int | float)  # noqa: PT018
    try:
        if isinstance(operation, ast.Pow):
            if abs(right) > 64 or abs(left) > 2**32:
                return NOT_LITERAL
            value = left**right
        elif isinstance(operation, ast.LShift) and right > 64:
            return NOT_LITERAL
        else:
            value = _OPERATORS[type(operation)](left, right)
    except (ArithmeticError, KeyError, TypeError, ValueError):
        return NOT_LITERAL
    if not isinstance(value, int | float) or (isinstance(value, int) and abs(value) >= _NUMBER_LIMIT):
        return NOT_LITERAL
    return value


def _unary(operation: ast.unaryop, value: Literal | NotLiteral) -> Literal | NotLiteral:
    if isinstance(operation, ast.Not) and isinstance(value, bool):
        return not value
    if not isinstance(value, int | float) or isinstance(value, bool):
        return NOT_LITERAL
    if isinstance(operation, ast.USub):
        return -value
    return value if isinstance(operation, ast.UAdd) else NOT_LITERAL


def converted(name: str, value: Literal | NotLiteral) -> Literal | NotLiteral:
    """A value as `int`, `float` or `str` make it, as in `int(1e6)` or `float("inf")`."""
    if isinstance(value, tuple | NotLiteral | None):
        return NOT_LITERAL
    try:
        if name == "int":
            number = int(value)
            return number if abs(number) < _NUMBER_LIMIT else NOT_LITERAL
        if name == "float":
            return float(value)
    except (ValueError, OverflowError):
        return NOT_LITERAL
    return str(value) if name == "str" and isinstance(value, str) else NOT_LITERAL


def _is_number(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and not (isinstance(value, float) and not math.isfinite(value))
    )
