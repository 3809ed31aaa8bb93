"""Sizes as polynomials: `start + batch_size * seq_len - start` is `batch_size·seq_len`, whatever the numbers are."""

from __future__ import annotations

import ast

from msgspec import Struct

from mldiag.pysource.idioms._code import Code, number

_DEPTH_LIMIT = 12
_TERM_LIMIT = 16

Monomial = tuple[str, ...]
"""Sorted names that are multiplied; empty for a number."""


class Polynomial(Struct, frozen=True):
    """A sum of products of names, each with its factor."""

    terms: dict[Monomial, float]

    def __add__(self, other: Polynomial) -> Polynomial:
        return self._with(other, 1.0)

    def __sub__(self, other: Polynomial) -> Polynomial:
        return self._with(other, -1.0)

    def __mul__(self, other: Polynomial) -> Polynomial:
        terms: dict[Monomial, float] = {}
        for first, one in self.terms.items():
            for second, two in other.terms.items():
                name = tuple(sorted((*first, *second)))
                terms[name] = terms.get(name, 0.0) + one * two
        return Polynomial(terms)

    def _with(self, other: Polynomial, sign: float) -> Polynomial:
        terms = dict(self.terms)
        for name, factor in other.terms.items():
            terms[name] = terms.get(name, 0.0) + sign * factor
        return Polynomial({name: factor for name, factor in terms.items() if factor})

    @property
    def names(self) -> set[str]:
        return {name for monomial in self.terms for name in monomial}

    def per(self, index: str) -> Polynomial:
        """What it grows by when `index` grows by one; the index stands in no power."""
        return Polynomial(
            {
                tuple(n for n in monomial if n != index): factor
                for monomial, factor in self.terms.items()
                if monomial.count(index) == 1
            }
        )

    def __str__(self) -> str:
        parts = []
        for monomial, factor in self.terms.items():
            words = [*monomial, *([f"{factor:g}"] if factor != 1 or not monomial else [])]
            parts.append(" * ".join(words))
        return " + ".join(parts) or "0"


def polynomial(code: Code, node: ast.expr, kept: frozenset[str] = frozenset(), depth: int = 0) -> Polynomial | None:
    """An expression of names and numbers under `+`, `-` and `*`; None where something else is in it.

    A name that its function assigns once stands for what it is assigned; `self.size` is the name `size`.

    Args:
        kept: names that stand for themselves.
    """
    if depth > _DEPTH_LIMIT:
        return None
    literal = number(node)
    if literal is not None:
        return Polynomial({(): literal})
    if isinstance(node, ast.Name | ast.Attribute):
        inner = None if node_name(node) in kept else _assigned(code, node)
        found = polynomial(code, inner, kept, depth + 1) if inner is not None else None
        return found or Polynomial({(node_name(node),): 1.0})
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub | ast.Mult):
        left, right = polynomial(code, node.left, kept, depth + 1), polynomial(code, node.right, kept, depth + 1)
        if left is None or right is None:
            return None
        result = left * right if isinstance(node.op, ast.Mult) else left + right
        result = left - right if isinstance(node.op, ast.Sub) else result
        return result if len(result.terms) <= _TERM_LIMIT else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        if node.func.id == "int" and len(node.args) == 1:
            return polynomial(code, node.args[0], kept, depth + 1)
        # The last batch is cut at the end of the data; the others are whole.
        if node.func.id == "min" and len(node.args) == 2:
            both = [polynomial(code, a, kept, depth + 1) for a in node.args]
            return next((p for p in both if p is not None and kept & p.names), None)
    return None


def node_name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _assigned(code: Code, node: ast.expr) -> ast.expr | None:
    """What a name of this function is assigned, where that is done once and with an expression."""
    if not isinstance(node, ast.Name):
        return None
    found = code.module.binding(node.id, code.scope(node))
    if found is None or node.id in found[0].params or len(found[1]) != 1 or found[1][0].index is not None:
        return None
    return found[1][0].value
