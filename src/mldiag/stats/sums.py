"""Which columns add up to a total, and with what weights: least squares that knows how the numbers were rounded."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mldiag.stats.agreement import written_unit

_SINGLE = 5e-7
"""Relative error of a sum of a few float32 values: an ulp is 1.2e-7 of them (IEEE 754 binary32)."""

_FLOAT32_DIGITS = 8
_TINY = 1e-12


def rounding(values: Sequence[float]) -> list[float]:
    """Half a unit of the last digit that each finite value is written with, as far as the series tells.

    Written with so many decimals (`%.4f`) all share a unit; with so many digits (`%.4g`) each has its own. Digits
    beyond those of float32 say nothing.
    """
    decimals = written_unit(values)
    digits = min(_FLOAT32_DIGITS, max((_digits(v) for v in values[:: max(1, len(values) // 200)]), default=1))
    return [
        0.5 * max(decimals if digits < _FLOAT32_DIGITS else 0.0, 10.0 ** (_exponent(v) - digits + 1)) for v in values
    ]


def unexplained(
    total: Sequence[float],
    columns: Sequence[Sequence[float]],
    weights: Sequence[float],
    errors: Sequence[Sequence[float]],
) -> list[float]:
    """By row, |total - Σ weight × column| in units of what rounding allows: up to 1 is explained.

    Args:
        errors: that of `total`, then that of each column, as `rounding` gives them.
    """
    out = []
    for i, whole in enumerate(total):
        terms = [w * c[i] for w, c in zip(weights, columns, strict=True)]
        allowed = errors[0][i] + sum(abs(w) * e[i] for w, e in zip(weights, errors[1:], strict=True))
        size = max(map(abs, [whole, *terms]), default=0.0)
        out.append(abs(whole - math.fsum(terms)) / (allowed + _SINGLE * size + 1e-300))
    return out


def nonnegative_weights(
    total: Sequence[float], columns: Sequence[Sequence[float]], errors: Sequence[float]
) -> list[float]:
    """Weights of at least 0 that bring Σ weight × column nearest to the total, rows counted by 1 / error.

    Active sets (Lawson and Hanson 1974, Solving Least Squares Problems, ch. 23); columns are brought to one length
    first. A column that others explain gets 0.
    """
    lengths = [math.sqrt(math.fsum((v / e) ** 2 for v, e in zip(c, errors, strict=True))) or 1.0 for c in columns]
    scaled = [[v / e / n for v, e in zip(c, errors, strict=True)] for c, n in zip(columns, lengths, strict=True)]
    target = [v / e for v, e in zip(total, errors, strict=True)]
    gram = [[_dot(a, b) for b in scaled] for a in scaled]
    aim = [_dot(a, target) for a in scaled]
    size = max(map(abs, aim), default=0.0)
    weights, active = [0.0] * len(columns), set[int]()
    for _ in range(4 * len(columns)):
        slopes = [a - _dot(row, weights) for a, row in zip(aim, gram, strict=True)]
        free = [j for j in range(len(columns)) if j not in active and slopes[j] > 1e-9 * size]
        if not free:
            break
        active.add(max(free, key=slopes.__getitem__))
        while active:
            order = sorted(active)
            solved = _solved([[gram[a][b] for b in order] for a in order], [aim[a] for a in order])
            if solved is None:
                active.discard(max(order, key=lambda j: slopes[j]))
                break
            if min(solved) > 0:
                weights = [0.0] * len(columns)
                for j, value in zip(order, solved, strict=True):
                    weights[j] = value
                break
            falling = [(j, s) for j, s in zip(order, solved, strict=True) if s <= 0]
            step = min((weights[j] / (weights[j] - s) for j, s in falling if weights[j] > s), default=0.0)
            for j, value in zip(order, solved, strict=True):
                weights[j] += step * (value - weights[j])
            active -= {j for j, _ in falling if weights[j] <= _TINY} or {falling[0][0]}
            weights = [w if j in active else 0.0 for j, w in enumerate(weights)]
    return [w / n for w, n in zip(weights, lengths, strict=True)]


def weight_errors(columns: Sequence[Sequence[float]], errors: Sequence[float]) -> list[float]:
    """Standard errors of least-squares weights whose rows err by `errors`; infinite where columns are collinear."""
    lengths = [math.sqrt(math.fsum((v / e) ** 2 for v, e in zip(c, errors, strict=True))) or 1.0 for c in columns]
    scaled = [[v / e / n for v, e in zip(c, errors, strict=True)] for c, n in zip(columns, lengths, strict=True)]
    gram = [[_dot(a, b) for b in scaled] for a in scaled]
    found = []
    for j, length in enumerate(lengths):
        column = _solved(gram, [float(i == j) for i in range(len(columns))])
        found.append(math.inf if column is None or column[j] <= 0 else math.sqrt(column[j]) / length)
    return found


def _solved(matrix: Sequence[Sequence[float]], right: Sequence[float]) -> list[float] | None:
    """The solution of a symmetric positive definite system by Cholesky; None where columns are collinear."""
    n = len(right)
    low = [[0.0] * n for _ in range(n)]
    for i in range(n):
        for j in range(i + 1):
            rest = matrix[i][j] - math.fsum(low[i][k] * low[j][k] for k in range(j))
            if i != j:
                low[i][j] = rest / low[j][j]
            elif rest <= _TINY * matrix[i][i]:
                return None
            else:
                low[i][i] = math.sqrt(rest)
    half = [0.0] * n
    for i in range(n):
        half[i] = (right[i] - math.fsum(low[i][k] * half[k] for k in range(i))) / low[i][i]
    out = [0.0] * n
    for i in reversed(range(n)):
        out[i] = (half[i] - math.fsum(low[k][i] * out[k] for k in range(i + 1, n))) / low[i][i]
    return out


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def _exponent(value: float) -> int:
    return math.floor(math.log10(abs(value))) if value else -30


def _digits(value: float) -> int:
    """Significant digits of a value at its shortest: 0.025 has two, 300.0 one."""
    return len(repr(abs(value)).partition("e")[0].replace(".", "").strip("0"))
