"""RUN007: rows of the log lack the value that they are there for."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise

from mldiag.api import (
    Breaks,
    Evidence,
    Finding,
    Fix,
    Metrics,
    NotApplicable,
    Series,
    Source,
    is_bounded_score,
    rule,
    stats,
)

_SAMPLE = 1000
"""Lines of a series that are looked for in another one, evenly spread."""
_OTHER = ("train/perplexity", "val/perplexity", "test/perplexity")


@rule("RUN007", severity="warning")
def missing_values(
    metrics: Metrics,
    breaks: Breaks,
    *,
    max_share: float = 0.3,
    min_missing: int = 2,
    min_behind: int = 10,
    min_points: int = 10,
) -> Iterator[Finding]:
    """Rows of the log have no loss or score where the other rows have one.

    ## What it checks
    Empty cells and explicit nulls between two values of a total loss, a perplexity, an accuracy or another bounded
    score; and, where rows are lines (CSV, JSON lines), rows that do not have the key at all though they have everything
    else: in the middle, or from some row on to the end. They must be few, since a table in which an evaluation stands
    in every tenth row is full of empty cells; they must not come at a fixed distance, nor beside rows of another split,
    as the rows of such evaluations do. Nulls from some row on to the end of the log are how strict JSON writes NaN:
    those are reported as non-finite.

    ## Why it matters
    A curve over such a log looks complete, since nobody draws what is missing. What is missing is rarely random: the
    step that overflowed, the batch that was skipped, the logger that crashed.

    ## Inputs
    Rows of tables and of JSON lines; keys of a history.

    ## Options
    - `max_share` (0.3): missing values / rows, above which the series is logged now and then.
    - `min_missing` (2): missing values between two others.
    - `min_behind` (10): rows without the key behind the last value, a twentieth of the rows at least.
    - `min_points` (10): values that are there.

    ## Fix
    Shown: the program that writes the log has to be looked at.

    ## When to ignore
    The logger leaves out what did not change, or steps were skipped on purpose (loss scaling).

    ## Source
    JSON has no NaN: RFC 8259, section 6. Of 380 labelled runs none lacks values in this way; tables of Lightning, Keras
    and hand-written loops with rows of several kinds were simulated.
    """
    broken = {b.series.name for b in breaks.items}
    judged = 0
    for series in metrics:
        if not _watched(series.name) or series.name in broken or stats.count_finite(series.data) < min_points:
            continue
        judged += 1
        missing = _empty(series, metrics, max_share, min_missing)
        what = "empty or null"
        if not missing:
            missing, what = _absent(series, metrics, max_share, min_missing), "without the key"
        if missing:
            first, count, rows, at = missing
            yield Finding(
                f"{series.raw_name} is missing in {count:,} of {rows:,} rows that should have it ({what}), first at "
                f"{first}",
                at=series.source if at is None else Source(series.source.path, at, key=series.source.key),
                evidence=(
                    Evidence("missing values", count, min_missing, series.source),
                    Evidence("rows", rows, None, series.source),
                    Evidence("first missing at", first, None, series.source),
                ),
                fix=Fix.show("look at what the program skips there, and write NaN as such"),
            )
            continue
        ended = _ended(series, metrics, min_behind)
        if ended is not None:
            behind, companion, rows = ended
            yield Finding(
                f"{series.raw_name} was logged no more behind {series.place(-1)}: {behind:,} further rows have "
                f"{companion} without it",
                at=series.at(len(series) - 1),
                evidence=(
                    Evidence("rows behind the last value", behind, max(min_behind, rows // 20), series.source),
                    Evidence("rows up to it", rows, None, series.source),
                    Evidence("last value at", series.place(-1), None, series.at(len(series) - 1)),
                ),
                fix=Fix.show("look at what the program does differently from there on"),
            )
    if not judged:
        raise NotApplicable(f"no loss or score with {min_points} values")


def _watched(name: str) -> bool:
    return name in ("train/loss", "val/loss", "test/loss") or name in _OTHER or is_bounded_score(name)


def _regular(places: list[int]) -> bool:
    """Whether places lie at one distance, as rows of another kind do."""
    gaps = [b - a for a, b in pairwise(places)]
    return len(gaps) >= 2 and max(gaps) - min(gaps) <= 1


def _empty(series: Series, metrics: Metrics, max_share: float, least: int) -> tuple[str, int, int, int | None] | None:
    """Nulls and empty cells between the first value and the last."""
    if not series.nulls:
        return None
    bad = set(stats.not_finite(series.data))
    n = len(series)
    first = next((i for i in range(n) if i not in bad), n)
    last = next((i for i in range(n - 1, -1, -1) if i not in bad), -1)
    inside = [i for i in series.nulls if first < i < last]
    rows = last - first + 1
    if len(inside) < least or len(inside) > max_share * rows or _regular(inside):
        return None
    if series.lines is not None and _of_another_kind(series, metrics, [series.lines[i] for i in inside]):
        return None
    at = series.lines[inside[0]] if series.lines is not None else None
    return series.place(inside[0]), len(inside), rows, at


def _companions(series: Series, metrics: Metrics) -> Iterator[Series]:
    """Longer series on the same lines of the same file, of the same split or of none, that have nearly all of these."""
    lines = series.lines
    if lines is None:
        return
    split = _split(series.name)
    seen = range(0, len(series), max(1, len(series) // _SAMPLE))
    for other in metrics:
        theirs = other.lines
        if theirs is None or len(other) <= len(series) or other.source.path != series.source.path:
            continue
        if _split(other.name) == split and sum(_holds(theirs, lines[i]) for i in seen) >= 0.98 * len(seen):
            yield other


def _of_another_kind(series: Series, metrics: Metrics, missing: list[int]) -> bool:
    """Whether at least half of the rows stand beside, or are, rows of another split that come now and then."""
    lines: set[int] = set()
    for other in metrics:
        if other.lines is None or other.source.path != series.source.path or _split(other.name) == _split(series.name):
            continue
        held = [line for line, v in zip(other.lines, other.data, strict=True) if math.isfinite(v)]
        if len(held) < 0.5 * len(series):
            lines.update(held)
    return sum(1 for x in missing if not lines.isdisjoint((x - 1, x, x + 1))) >= 0.5 * len(missing)


def _split(name: str) -> str:
    return name.partition("/")[0] if "/" in name else "train"


def _holds(lines: Sequence[int], line: int) -> bool:
    at = bisect_left(lines, line)
    return at < len(lines) and lines[at] == line


def _absent(series: Series, metrics: Metrics, max_share: float, least: int) -> tuple[str, int, int, int | None] | None:
    """Lines between the first value and the last that have every companion and not the series.

    Every one has to be there: rows of another kind have some of them only.
    """
    others = [o for o in _companions(series, metrics) if not o.name.startswith("lr")]
    if not others or series.lines is None:
        return None
    mine = series.lines
    rows = min((o.lines or () for o in others), key=len)
    first, last = mine[0], mine[-1]
    most = max_share * len(rows)
    if not least <= bisect_left(rows, last) - bisect_left(rows, first) + 1 - len(mine) <= most:
        return None
    have = set(mine)
    inside = [k for k, x in enumerate(rows) if first < x < last and x not in have]
    inside = [k for k in inside if all(_holds(o.lines or (), rows[k]) for o in others)]
    if not least <= len(inside) <= most or _regular(inside):
        return None
    if _of_another_kind(series, metrics, [rows[k] for k in inside]):
        return None
    other, line = others[0], rows[inside[0]]
    return other.place(bisect_left(other.lines or (), line)), len(inside), len(mine) + len(inside), line


def _ended(series: Series, metrics: Metrics, least: int) -> tuple[int, str, int] | None:
    """Rows behind the last value that have what the rows before had, but this."""
    for other in _companions(series, metrics):
        assert series.lines is not None
        assert other.lines is not None
        last, first = series.lines[-1], series.lines[0]
        behind = len(other) - bisect_right(other.lines, last)
        before = len(other) - behind - bisect_left(other.lines, first)
        if behind >= max(least, 0.05 * before) and len(series) >= 0.95 * before:
            return behind, other.raw_name, before
    return None
