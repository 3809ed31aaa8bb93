"""SCH002: the log ends before the plan."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from mldiag.api import (
    Amount,
    EarlyStopping,
    Ending,
    Evidence,
    Finding,
    LrCurve,
    Metrics,
    NotApplicable,
    Plan,
    Run,
    Series,
    Settings,
    Severity,
    Source,
    is_bounded_score,
    rule,
    stats,
)

_FALLING = ("loss", "perplexity", "error", "wer", "cer", "mse", "mae", "rmse")
_ETA = ("train/eta_seconds", "eta_seconds", "train/eta")
_STEP_TIME = ("time", "step_time", "train/time")
_STORES = ("wandb_run", "tensorboard")
_PASSED = 1.1  # done / planned beyond which the total is that of another thing
_ADVICE = "look at the end of the log for the reason; resume from the last checkpoint before comparing this run"
_NEAR = 0.9  # a run that ends in the last tenth of its time limit was ended by it


@rule("SCH002", severity="warning")
def interrupted_run(
    run: Run,
    plan: Plan | None,
    metrics: Metrics | None,
    settings: Settings | None,
    stopping: EarlyStopping | None,
    lr: LrCurve | None,
    ending: Ending | None,
    *,
    min_share: float = 0.9,
    min_wait: int = 3,
    min_last: float = 0.3,
) -> Iterator[Finding]:
    """The log ends well before the planned steps or epochs.

    ## What it checks
    The furthest logged step and epoch, plus one logging interval, against `total_steps` and `epochs`; where neither is
    known, against what the log itself says was left (`eta`), the warm-up, and the step that the logged learning rate
    was heading for. It fires only when no measure shows the run complete. Where nothing says how long the run was to
    be, an error or a signal behind the last value is enough, and so is a plan of which no value was logged at all.

    ## Why it matters
    A run that was killed, ran out of time or crashed has not seen the low end of its learning rate; its last numbers
    are no result, and comparing it with finished runs misleads.

    ## Inputs
    Steps and epochs of any series, `lr`, `val/loss`, `eta_seconds`; the last lines of text logs; settings
    `total_steps`, `epochs`, `steps_per_epoch`, `patience`, `max_seconds`. A default in the source counts only where the
    launch that used it is known.

    ## Options
    - `min_share` (0.9): smallest done / planned. The limit at which 246 real runs were labelled as truncated.
    - `min_wait` (3): evaluations after the best validation loss from which the run may have stopped by itself without
      saying so; the finding is then an information. Three is the smallest usual patience (Lightning's default).
    - `min_last` (0.3): last / peak learning rate above which a linear, cosine or polynomial decay was cut.

    ## When to ignore
    The run is still going on, or was stopped by hand on purpose. Early stopping (the best validation lies `patience`
    evaluations back, or early stopping without a stated patience), a time limit, and a last line by which the training
    is over are recognised and are no interruption.

    ## Source
    Measured on 246 labelled real runs, of which 67 were truncated.
    """
    pairs = list(_pairs(plan, metrics, lr, ending, min_last, min_share))
    if not pairs:
        yield from _without_progress(run, plan, metrics, ending)
        return
    done, planned, interval, unit = max(pairs, key=lambda p: (p[0].value + p[2]) / p[1].value)
    share = done.value / planned.value
    crashed = ending is not None and ending.failure is not None
    if (done.value + interval) / planned.value >= min_share:
        return
    finished = ending is not None and ending.finished
    if finished or (metrics is not None and not crashed and _stopped_itself(metrics, settings, stopping)):
        return
    waited = _since_best(metrics.get("val/loss")) if metrics is not None and stopping is None and not crashed else 0
    far, meant = (_number(x.value, unit) for x in (done, planned))
    message = f"the log ended at {unit} {far} of {meant} {planned.how}: {100 * share:.1f} %"
    evidence = [
        Evidence(f"{unit}s done", done.value, min_share * planned.value, done.source, unit),
        Evidence(f"{unit}s planned", planned.value, at=planned.source, unit=unit),
        Evidence("logging interval", interval, unit=unit),
        Evidence("done / planned", share, min_share),
    ]
    if ending is not None and crashed:
        message += f"; it ended with {ending.said!r}"
        evidence.append(Evidence("failure", ending.said, at=ending.source))
    elif waited >= min_wait and metrics is not None:
        message += f"; it may have stopped by itself, {waited} evaluations after the best"
        evidence.append(Evidence("evaluations after the best", waited, min_wait, metrics.where("val/loss")))
    yield Finding(
        message,
        at=planned.source,
        evidence=tuple(evidence),
        advice=_ADVICE,
        severity=Severity.INFO if waited >= min_wait else None,
    )


def _without_progress(run: Run, plan: Plan | None, metrics: Metrics | None, ending: Ending | None) -> Iterator[Finding]:
    """A run of which nothing says how far it came, or how far it was to go."""
    planned = _planned(plan)
    series = [s for s in metrics or () if len(s)]
    if ending is not None and ending.failure is not None:
        where = "after its last value" if series else "before any value was logged"
        evidence = [Evidence("failure", ending.said, at=ending.source)]
        if planned is not None and not series:
            where = f"before the first of {_number(planned[0].value, planned[1])} planned {planned[1]}s"
            evidence.append(Evidence(f"{planned[1]}s planned", planned[0].value, at=planned[0].source, unit=planned[1]))
        evidence.append(Evidence("series with a value", len(series)))
        yield Finding(
            f"the log ended {where} with {ending.said!r}", at=ending.source, evidence=tuple(evidence), advice=_ADVICE
        )
    elif not series and planned is not None and ending is not None and not ending.finished:
        last = Evidence("last line", ending.said, at=ending.source)
        yield _nothing_logged(*planned, ending.source, f"its last line is {ending.said!r}", last)
    elif not series and planned is not None and ending is None and (store := _store(run)) is not None:
        # Nothing says that no other process of the same training logs elsewhere.
        yield replace(
            _nothing_logged(*planned, store, "its record was opened", Evidence("series", 0, at=store)),
            severity=Severity.INFO,
        )
    elif not series and ending is not None and ending.empty:
        yield Finding(
            f"the log ended before its first epoch was over, without any value; its last line is {ending.said!r}",
            at=ending.source,
            evidence=(Evidence("last line", ending.said, at=ending.source), Evidence("series with a value", 0, 1)),
            advice=_ADVICE,
        )
    else:
        raise NotApplicable("nothing says both how long the run was meant to be and how far it came")


def _store(run: Run) -> Source | None:
    """A record that a program opened when it began to train."""
    return next((Source(path) for path, reader in run.files.items() if reader in _STORES), None)


def _nothing_logged(planned: Amount, unit: str, at: Source, said: str, why: Evidence) -> Finding:
    return Finding(
        f"the log ended before the first of {_number(planned.value, unit)} planned {unit}s: it holds no value; {said}",
        at=at,
        evidence=(
            Evidence("series with a value", 0, 1),
            Evidence(f"{unit}s planned", planned.value, at=planned.source, unit=unit),
            why,
        ),
        advice=_ADVICE,
    )


def _planned(plan: Plan | None) -> tuple[Amount, str] | None:
    """The stated length in epochs, else in steps."""
    if plan is None:
        return None
    for amount, unit in ((plan.epochs, "epoch"), (plan.total_steps, "step")):
        if amount is not None and amount.certain:
            return amount, unit
    return None


def _pairs(
    plan: Plan | None,
    metrics: Metrics | None,
    lr: LrCurve | None,
    ending: Ending | None,
    min_last: float,
    min_share: float,
) -> Iterator[tuple[Amount, Amount, float, str]]:
    """Done, planned, logging interval and unit, for each measure that has both."""
    if plan is None:
        return
    stated = list(_stated(plan))
    # A "total" that the log has passed is another thing than the length of the run: the steps before a resume, say.
    within = [p for p in stated if p[0].value <= _PASSED * p[1].value]
    left = _left(plan, metrics, ending)
    if within or (stated and left is None):
        yield from within or stated
    elif left is not None:
        yield left
    elif (warmup := plan.warmup_steps) and warmup.certain and plan.done_steps and plan.done_steps.value < warmup.value:
        yield plan.done_steps, replace(warmup, how="of the warm-up alone"), plan.step_interval, "step"
    elif lr is not None and lr.end is not None and lr.last_ratio >= min_last:
        gap = lr.axis[-1] - lr.axis[-2]
        # Of the ends that the rates leave open the nearest decides; told is the likeliest.
        nearest = lr.ends[0] if lr.ends is not None else lr.end
        end = nearest if lr.axis[-1] + gap >= min_share * nearest else lr.end
        heading = Amount(round(end), "that the learning rate was heading for", None, lr.curve.source)
        yield Amount(lr.axis[-1], "the log", None, lr.curve.source), heading, gap, lr.unit


def _stated(plan: Plan) -> Iterator[tuple[Amount, Amount, float, str]]:
    for done, planned, interval, unit in (
        (plan.done_steps, plan.total_steps or plan.derived_steps, plan.step_interval, "step"),
        (plan.done_epochs, plan.epochs, plan.epoch_interval, "epoch"),
    ):
        if done is not None and planned is not None and planned.certain:
            yield done, replace(planned, how="planned"), interval, unit


def _left(plan: Plan, metrics: Metrics | None, ending: Ending | None) -> tuple[Amount, Amount, float, str] | None:
    """What the log itself says was left: `eta` in its last line or as a series, over the time of a step."""
    if plan.done_steps is None:
        return None
    steps, source = 0.0, None
    eta = metrics.get(*_ETA) if metrics is not None else None
    each = metrics.get(*_STEP_TIME) if metrics is not None else None
    if ending is not None and ending.left is not None:
        steps, source = ending.left[0], ending.source
    elif eta is not None and each is not None and eta.data[-1] > 0 and (time := stats.median(each.data)) > 0:
        steps, source = eta.data[-1] / time, eta.at(-1)
    if not steps:
        return None
    total = Amount(round(plan.done_steps.value + steps), "by the log's own estimate", None, source)
    return plan.done_steps, total, plan.step_interval, "step"


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
    # What is watched is a whole loss or a score: counts, speeds and parts of the evaluation have a best value, too.
    judged = [s for s in watched if is_bounded_score(s.name) or s.name.rpartition("/")[2] in _FALLING] or watched
    return not judged or any(_since_best(s) >= stopping.patience for s in judged)


def _since_best(series: Series | None) -> int:
    """Evaluations after the best one; where the name does not say which way is better, the larger of both counts."""
    values = stats.finite(series.data) if series else []
    if series is None or not values:
        return 0
    lowest = len(values) - 1 - stats.first_lowest(values)
    if any(word in series.name for word in _FALLING):
        return lowest
    highest = len(values) - 1 - stats.first_lowest(values, highest=True)
    return highest if is_bounded_score(series.name) else max(lowest, highest)
