"""SCH002: the log ends before the plan."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from mldiag.api import (
    Amount,
    EarlyStopping,
    Evidence,
    Finding,
    LrCurve,
    Metrics,
    NotApplicable,
    Plan,
    Series,
    Settings,
    Severity,
    rule,
)

_FALLING = ("loss", "perplexity", "error", "wer", "cer", "mse", "mae", "rmse")
_NEAR = 0.9  # a run that ends in the last tenth of its time limit was ended by it


@rule("SCH002", severity="warning")
def interrupted_run(
    plan: Plan,
    metrics: Metrics,
    settings: Settings | None,
    stopping: EarlyStopping | None,
    lr: LrCurve | None,
    *,
    min_share: float = 0.9,
    min_wait: int = 3,
    min_last: float = 0.3,
) -> Iterator[Finding]:
    """The log ends well before the planned steps or epochs.

    ## What it checks
    The furthest logged step and epoch, plus one logging interval, against `total_steps` and `epochs`; where neither is
    known, against the warm-up and against the step that the logged learning rate was heading for. It fires only when no
    measure shows the run complete.

    ## Why it matters
    A run that was killed, ran out of time or crashed has not seen the low end of its learning rate; its last numbers
    are no result, and comparing it with finished runs misleads.

    ## Inputs
    Steps and epochs of any series, `lr`, `val/loss`; settings `total_steps`, `epochs`, `steps_per_epoch`, `patience`,
    `max_seconds`. A default in the source counts only where the launch that used it is known.

    ## Options
    - `min_share` (0.9): smallest done / planned. The limit at which 246 real runs were labelled as truncated.
    - `min_wait` (3): evaluations after the best validation loss from which the run may have stopped by itself without
      saying so; the finding is then an information. Three is the smallest usual patience (Lightning's default).
    - `min_last` (0.3): last / peak learning rate above which a linear or cosine decay was cut.

    ## When to ignore
    The run is still going on, or was stopped by hand on purpose. Early stopping (the best validation lies `patience`
    evaluations back, or early stopping without a stated patience) and a time limit are recognised and are no
    interruption.

    ## Source
    Measured on 246 labelled real runs, of which 67 were truncated.
    """
    pairs = list(_pairs(plan, lr, min_last))
    if not pairs:
        raise NotApplicable("nothing says both how long the run was meant to be and how far it came")
    done, planned, interval, unit = max(pairs, key=lambda p: (p[0].value + p[2]) / p[1].value)
    share = done.value / planned.value
    if (done.value + interval) / planned.value >= min_share or _stopped_itself(metrics, settings, stopping):
        return
    waited = _since_best(metrics.get("val/loss")) if stopping is None else 0
    far, meant = (_number(x.value, unit) for x in (done, planned))
    message = f"the log ended at {unit} {far} of {meant} {planned.how}: {100 * share:.1f} %"
    evidence = [
        Evidence(f"{unit}s done", done.value, min_share * planned.value, done.source, unit),
        Evidence(f"{unit}s planned", planned.value, at=planned.source, unit=unit),
        Evidence("logging interval", interval, unit=unit),
        Evidence("done / planned", share, min_share),
    ]
    if waited >= min_wait:
        message += f"; it may have stopped by itself, {waited} evaluations after the best"
        evidence.append(Evidence("evaluations after the best", waited, min_wait, metrics.where("val/loss")))
    yield Finding(
        message,
        at=planned.source,
        evidence=tuple(evidence),
        advice="look at the end of the log for the reason; resume from the last checkpoint before comparing this run",
        severity=Severity.INFO if waited >= min_wait else None,
    )


def _pairs(plan: Plan, lr: LrCurve | None, min_last: float) -> Iterator[tuple[Amount, Amount, float, str]]:
    """Done, planned, logging interval and unit, for each measure that has both."""
    stated = False
    for done, planned, interval, unit in (
        (plan.done_steps, plan.total_steps or plan.derived_steps, plan.step_interval, "step"),
        (plan.done_epochs, plan.epochs, plan.epoch_interval, "epoch"),
    ):
        if done is not None and planned is not None and planned.certain:
            stated = True
            yield done, replace(planned, how="planned"), interval, unit
    warmup = plan.warmup_steps
    if not stated and warmup and warmup.certain and plan.done_steps and plan.done_steps.value < warmup.value:
        yield plan.done_steps, replace(warmup, how="of the warm-up alone"), plan.step_interval, "step"
    elif not stated and lr is not None and lr.end is not None and lr.last_ratio >= min_last:
        gap = lr.axis[-1] - lr.axis[-2]
        heading = Amount(lr.end, "that the learning rate was heading for", None, lr.curve.source)
        yield Amount(lr.axis[-1], "the log", None, lr.curve.source), heading, gap, lr.unit


def _number(value: float, unit: str) -> str:
    """Epochs may be fractional, steps are whole."""
    return f"{value:,.4g}" if unit == "epoch" else f"{value:,.0f}"


def _stopped_itself(metrics: Metrics, settings: Settings | None, stopping: EarlyStopping | None) -> bool:
    limit = settings.get("max_seconds", float) if settings else None
    if limit is not None and limit > 0:
        times = [max(s.time_data) - min(s.time_data) for s in metrics if s.time_data]
        # Without logged times nothing contradicts that the limit was reached.
        return not times or max(times) >= _NEAR * limit
    if stopping is None:
        return False
    if stopping.patience is None:
        return True
    watched = [s for s in metrics if s.name.startswith("val/") and len(s)]
    return not watched or any(_since_best(s) >= stopping.patience for s in watched)


def _since_best(series: Series | None) -> int:
    """Evaluations after the best one; where the name does not say which way is better, the larger of both counts."""
    values = [v for v in series.data if v == v] if series else []
    if series is None or not values:
        return 0
    lowest = len(values) - 1 - min(range(len(values)), key=values.__getitem__)
    if any(word in series.name for word in _FALLING):
        return lowest
    return max(lowest, len(values) - 1 - max(range(len(values)), key=values.__getitem__))
