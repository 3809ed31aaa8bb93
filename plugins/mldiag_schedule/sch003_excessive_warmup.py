"""SCH003: the learning rate warms up for too large a share of the run."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import (
    Amount,
    Evidence,
    Finding,
    Fix,
    LrCurve,
    NotApplicable,
    Plan,
    ScheduleKind,
    Settings,
    Severity,
    edit_everywhere,
    rule,
)

_SMOOTH = (ScheduleKind.COSINE, ScheduleKind.LINEAR, ScheduleKind.POLYNOMIAL)
_RISEN, _AT_ZERO, _DECAYED = 5, 0.005, 0.2
"""Points of a rise, distance of its beginning from zero / run, and last / peak rate, with which it is told apart."""


@rule("SCH003", severity="warning", pre=True, explains=("CUR003", "CUR007"), gives_way_to=("SCH004",))
def excessive_warmup(
    plan: Plan,
    lr: LrCurve | None,
    settings: Settings | None,
    *,
    max_share: float = 0.1,
    short_run: int = 1000,
    max_short_share: float = 0.2,
    max_peak: float = 0.4,
    max_straight: float = 0.2,
    target: float = 0.05,
) -> Iterator[Finding]:
    """The learning rate warms up for too large a share of the steps that run.

    ## What it checks
    Warm-up steps against the steps that will run; without a stated warm-up, where in a finished run the logged learning
    rate has its peak.

    ## Why it matters
    While the rate is low little is learned, and what warm-up takes is missing from the time at useful rates. A warm-up
    counted for another run length is the usual cause.

    ## Inputs
    Settings `warmup_steps` or `warmup_ratio`; `total_steps`, or `epochs` with `steps_per_epoch`, or the log of a run
    that did all its epochs. Series `lr` with steps or epochs.

    ## Options
    - `max_share` (0.1): largest warm-up / steps that will run; published recipes lie at or below it (BERT 1 %, RoBERTa
      6 %, BERT fine-tuning 10 %).
    - `short_run` (1,000 steps) and `max_short_share` (0.2): below so many steps, a warm-up under the second share is
      only told, as information; Adam's second moment needs a warm-up that does not shrink with the run.
    - `max_peak` (0.4): latest place of the logged peak, as a share of the run; a one-cycle schedule has it at 0.3.
    - `max_straight` (0.2): largest share of a straight rise from zero, which is a warm-up and no one-cycle schedule, in
      the logged rates of a run whose decay came to its end.
    - `target` (0.05): the share that the fix sets.

    ## Fix
    Unsafe: sets the warm-up to `target` of the steps that will run, so that the next run learns on another schedule.

    ## When to ignore
    Very large batches or learning rates at the edge of stability, where a long warm-up was found to be needed.

    ## Source
    Devlin et al. 2019, appendix A; Liu et al. 2019 (RoBERTa), table 9; Smith and Topin 2019 for one-cycle; Ma and
    Yarats 2021, "On the adequacy of untuned warmup for adaptive optimization", for short runs. Measured: the stated
    warm-up is at most 6 % of the run in the 18 labelled healthy runs that state both.
    """
    warmup, run = plan.warmup_steps, plan.run_steps
    if warmup is not None and run is not None and warmup.certain and run.certain:
        share = warmup.value / run.value
        if share > max_share:
            told = run.value < short_run and share < max_short_share
            yield _stated(plan, settings, warmup, run, max_share, target, Severity.INFO if told else Severity.WARNING)
        return
    if lr is None:
        known = "nothing says both the length of the warm-up and that of the run"
        raise NotApplicable(f"{known}, and no learning rates that show a peak were logged")
    if (plan.epochs or plan.total_steps) and not plan.complete:
        raise NotApplicable("the run did not finish, so its peak learning rate does not show the planned warm-up")
    # A rate that is set to another one is no warm-up.
    gradual = len(set(lr.values[: lr.peak + 1])) > 2 if lr.rises else False
    if gradual and lr.peak_share > max_peak:
        yield Finding(
            f"the learning rate rose until {lr.unit} {lr.axis[lr.peak]:,g}, {100 * lr.peak_share:.0f} % of the run",
            at=lr.curve.source,
            evidence=(
                Evidence("peak at / run", lr.peak_share, max_peak, lr.curve.source),
                Evidence("peak at", lr.axis[lr.peak], at=lr.curve.source, unit=lr.unit),
                Evidence("peak lr", lr.values[lr.peak], at=lr.curve.source),
                Evidence("first lr", lr.values[0], at=lr.curve.source),
                Evidence("last lr", lr.values[-1], at=lr.curve.source),
            ),
            fix=Fix.show(f"end the warm-up at {100 * target:.0f} % of the run"),
        )
        return
    straight = _straight(lr)
    if straight is not None and straight > max_straight:
        yield Finding(
            f"the learning rate rose from zero in a straight line until {lr.unit} {lr.shape.warmup:,.0f}, "
            f"{100 * straight:.0f} % of the run, and decayed after that",
            at=lr.curve.source,
            evidence=(
                Evidence("warm-up / run", straight, max_straight, lr.curve.source),
                Evidence("warm-up ends at", lr.shape.warmup, at=lr.curve.source, unit=lr.unit),
                Evidence("end of the run", lr.axis[-1], at=lr.curve.source, unit=lr.unit),
                Evidence("points of the rise", lr.shape.risen),
                Evidence("last / peak lr", lr.last_ratio, _DECAYED, lr.curve.source),
            ),
            fix=Fix.show(f"end the warm-up at {100 * target:.0f} % of the run"),
        )


def _straight(lr: LrCurve) -> float | None:
    """Share of the run in a straight rise from zero, where the decay after it is known and was done.

    A one-cycle schedule rises from a fraction of its peak (PyTorch: 1/25), mostly along a cosine.
    """
    shape = lr.shape
    if shape.kind not in _SMOOTH or not shape.warmup or shape.slope <= 0 or shape.risen < _RISEN:
        return None
    zero = lr.axis[0] - lr.values[0] / shape.slope
    if lr.curve.begun_late or abs(zero) > _AT_ZERO * lr.axis[-1] or lr.last_ratio > _DECAYED:
        return None
    return shape.warmup / lr.axis[-1]


def _stated(
    plan: Plan,
    settings: Settings | None,
    warmup: Amount,
    run: Amount,
    max_share: float,
    target: float,
    severity: Severity,
) -> Finding:
    share = warmup.value / run.value
    message = f"the warm-up takes {warmup.value:,.0f} of the {run.value:,.0f} steps that will run: {100 * share:.1f} %"
    evidence = [
        Evidence("warm-up steps", warmup.value, max_share * run.value, warmup.source, "step"),
        Evidence("steps that will run", run.value, at=run.source, unit="step"),
        Evidence("warm-up / run", share, max_share),
    ]
    meant = plan.derived_steps
    if meant is not None and meant.certain and meant.by_user and run.value < 0.9 * meant.value:
        message += f"; of the {meant.value:,.0f} steps meant it would be {100 * warmup.value / meant.value:.1f} %"
        evidence.append(Evidence("steps meant", meant.value, at=meant.source, unit="step"))
        evidence.append(Evidence("warm-up / meant", warmup.value / meant.value))
    is_ratio = warmup.how != "warmup_steps"
    steps = max(1, round(target * run.value))
    return Finding(
        message,
        at=warmup.source,
        evidence=tuple(evidence),
        severity=severity,
        fix=Fix.unsafe(
            f"set the warm-up to {steps:,} steps, {100 * target:.0f} % of {run.value:,.0f}",
            *edit_everywhere(settings, warmup.setting, target if is_ratio else steps),
        ),
    )
