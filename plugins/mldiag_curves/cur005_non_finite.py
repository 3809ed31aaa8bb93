"""CUR005: a value that matters was NaN or infinite."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import (
    Break,
    Breaks,
    Curves,
    Evidence,
    Finding,
    Fix,
    Settings,
    Severity,
    edit_setting,
    rule,
    stats,
)

_TOTALS = ("train/loss", "val/loss", "test/loss")


@rule("CUR005", severity="error", explains=("CUR003", "CUR004", "CUR014", "CKP001"))
def non_finite(
    breaks: Breaks,
    curves: Curves,
    settings: Settings | None,
    *,
    run_length: int = 3,
    rise_factor: float = 3.0,
    clip_norm: float = 1.0,
) -> Iterator[Finding]:
    """A loss, the gradient norm or the monitored metric became NaN or infinite.

    ## What it checks
    Every launch of every loss, of the gradient norm and of the metric that checkpoints are chosen by, for the first
    value that is no number though one was due; a `null` is how strict JSON writes NaN and counts. What is minimised
    under another name (`smooth_l1`, `mse`, `perplexity`) counts as a loss. Reported is the earliest, with what led to
    it. Not due, and left alone: values before anything was measured, rows between two
    evaluations, scores that are undefined on an empty class, a norm that was never a number while the loss was, and an
    overflow that a loss scaler skipped.

    ## Why it matters
    NaN spreads to every weight in one step. All steps after it are lost, and so is each checkpoint saved from then on.

    ## Inputs
    `*/loss`, `*/loss/<part>`, `grad_norm`, the metric named by `monitor` or `metric_for_best_model`.

    ## Options
    - `run_length`: values in a row, or to the end, that a component or the norm must be broken for (3).
    - `rise_factor`: last value / median before it from which the loss or the norm is said to have led to it (3).
    - `clip_norm`: gradient norm of the fix (1.0; Pascanu, Mikolov and Bengio 2013, arXiv:1211.5063).

    ## Fix
    Unsafe: a clip norm that is set to zero or above `clip_norm` is set to it. Shown otherwise.

    ## When to ignore
    A single broken value that the run recovered from is a warning.

    ## Source
    JSON has no NaN: RFC 8259, 6. Measured on 262 labelled runs with a loss, 122 of them
    read with a provisional parser for formats that had no reader then.
    """
    broken = [b for b in breaks.items if _lasting(b, run_length) or b.series.name in _TOTALS]
    if not broken:
        return
    lasting = [b for b in broken if _lasting(b, run_length)]
    first = min(lasting or broken, key=lambda b: ("/loss" not in b.series.name, b.share_done, b.series.name.count("/")))
    series, count = first.series, len(first.indices)
    led, measured = _led(curves, first, rise_factor)
    others = dict.fromkeys(b.series.name for b in broken if b.series is not series)
    yield Finding(
        f"{series.name} was {'null' if first.null else 'NaN or infinite'} at {count:,} of {first.due:,} points"
        + (" from the first on" if first.before is None else f", first at {series.place(first.indices[0])}")
        + (f" of launch {first.launch} of {first.launches}" if first.launches > 1 else "")
        + (f"; the last value before was {first.before:.4g}" if first.before is not None else "")
        + led
        + (f"; the same holds for {', '.join(others)}" if others else ""),
        at=series.at(first.indices[0]),
        severity=Severity.ERROR if lasting else Severity.WARNING,
        evidence=(
            Evidence("values that are no number", count, 0, series.source),
            Evidence("points", first.due),
            *([Evidence("launch", first.launch), Evidence("launches", first.launches)] if first.launches > 1 else []),
            Evidence("first at", series.place(first.indices[0]), None, series.at(first.indices[0])),
            *([Evidence("last value before", first.before)] if first.before is not None else []),
            *measured,
            *(
                Evidence(f"values of {b.series.name} that are no number", len(b.indices), 0, b.series.source)
                for b in broken
                if b.series is not series
            ),
        ),
        fix=_fix(settings, clip_norm),
    )


def _lasting(found: Break, run_length: int) -> bool:
    return found.to_end or found.streak >= run_length


def _led(curves: Curves, found: Break, factor: float) -> tuple[str, tuple[Evidence, ...]]:
    """What rose before the break: the series itself, or the gradient norm."""
    for name in dict.fromkeys((found.series.name, "train/loss", "grad_norm")):
        curve = curves.get(name)
        if curve is None or curve.broken is None or len(curve) < 4:
            continue
        usual, last = stats.median(curve.values[:-1]), curve.values[-1]
        if usual > 0 and last >= factor * usual:
            evidence = Evidence(f"{name} before, last / median", last / usual, factor, curve.source)
            return f"; {name} had risen to {last / usual:.3g} times its median", (evidence,)
    return "", ()


def _fix(settings: Settings | None, clip_norm: float) -> Fix:
    title = "clip the gradient norm, lower the learning rate, and guard logarithms, divisions and half precision"
    stated = settings.get("clip_norm", float) if settings is not None else None
    if settings is None or stated is None or 0 < stated <= clip_norm:
        return Fix.show(title)
    return Fix.unsafe(
        f"clip the gradient norm at {clip_norm:g}", edit_setting(settings.effective("clip_norm"), clip_norm)
    )
