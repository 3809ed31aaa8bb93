"""SCH007: the learning rate, the counter or the loss jumps where the run was resumed."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from mldiag.api import Evidence, Finding, Plan, Resume, Resumes, Schedule, Severity, rule

_ONCE = ("cosine", "linear", "polynomial", "one-cycle")


_SYMPTOMS = ("RUN005", "CUR004", "CUR006")


@rule("SCH007", severity="warning", explains=(*_SYMPTOMS, "SCH001", "SCH002", "SCH003"))
def resume_discontinuity(
    resumes: Resumes,
    schedule: Schedule | None,
    plan: Plan | None,
    *,
    min_rate: float = 1.5,
    min_loss: float = 0.3,
    noises: float = 6.0,
    min_lost: float = 0.5,
    min_higher: float = 0.2,
    min_left: float = 0.1,
    min_repeats: int = 5,
) -> Iterator[Finding]:
    """The run was resumed, and its learning rate, its counter or its loss did not go on where they were.

    ## What it checks
    Each place where a log goes back to an earlier step or epoch, and each where the rates repeat the beginning of their
    schedule while the counter goes on. A launch that begins with the loss of a fresh one is a new run, not a resumed
    one. Reported are: a counter and a rate that begin again though the weights were carried over; a rate that differs
    from the one that the launch before had at the same step, there or where it has warmed up again; a loss that jumps
    there; a rate that falls at once to half or less and warms up again. A counter alone that begins again, and a
    constant rate that was set to another one, are information. Schedules with warm restarts are left alone where rates
    alone could tell, and steps that are counted within each epoch are no launches.

    ## Why it matters
    A checkpoint that lacks the scheduler's or the optimizer's state makes the run warm up again at full rate over
    weights that had settled: part of what was learned is lost, and the planned decay never happens.

    ## Inputs
    Series `train/loss` (else `val/loss`) and `lr`, with steps or epochs.

    ## Options
    - `min_rate` (1.5): smallest factor between the rate and the one to go on with.
    - `min_loss` (0.3): smallest jump of the loss / what had been learned until then, and `noises` (6): the same in
      standard deviations of its noise.
    - `min_lost` (0.5) and `min_higher` (0.2): a smaller jump is one, too, where at least this share of all losses
      before were already below the one behind it, and it is higher by this share of the one to go on with: a loss that
      fell from 11 to 3 at once and is thrown back from 3 to 4 has most of its steps to do again.
    - `min_left` (0.1): rate / peak up to which a rate that begins again may have ended a cycle of warm restarts,
      unless the settings name a schedule without them.
    - `min_repeats` (5): rates that must repeat the beginning of the schedule.

    ## When to ignore
    A second phase of training that was meant to have a schedule of its own.

    ## Source
    PyTorch, "Saving and loading a general checkpoint": model, optimizer and scheduler state. Loshchilov and Hutter 2017
    for warm restarts. Measured on 385 labelled runs: of 6 resumes that go back to an earlier step and log a loss none
    jumps by more than 1.5 standard deviations. Planted into 22 labelled runs, a loss of three quarters of the gain is
    found in 21; a schedule that begins again is found in all 34 that it was planted into.
    """
    # Launches of one length that all begin at the start are epochs that count their own steps.
    lengths = [r.before for r in resumes.items if r.restarted]
    epochs = len(lengths) > 1 and max(lengths) - min(lengths) <= 0.02 * max(lengths)
    # A rate that falls and rises again and again is a cyclic one.
    cyclic = sum(r.warms_up > 0 for r in resumes.items) > 1
    for resume in resumes.items:
        if (resume.restarted and epochs) or (resume.warms_up and cyclic):
            continue
        finding = _judged(resume, schedule, len(resumes.items), min_rate, min_left, min_repeats)
        if finding is not None:
            yield replace(finding, explains=_symptoms(resume, schedule, plan))
        elif not (resume.restarted or resume.warms_up or resume.repeats):
            finding = _loss_jump(resume, min_loss, noises, min_lost, min_higher)
            if finding is not None:
                yield finding


def _symptoms(resume: Resume, schedule: Schedule | None, plan: Plan | None) -> tuple[str, ...]:
    """What a counter or a rate that began again also looks like, to those who judge the last launch."""
    found: tuple[str, ...] = _SYMPTOMS
    if resume.restarted:
        return (*found, "SCH002")  # the launches share the steps of the plan
    if schedule is None:
        return found
    if schedule.lr.end is not None:
        found += ("SCH001",) if plan is not None and plan.complete else ()
        # Where steps or epochs are planned, it is not the rates that say how far the run was to go.
        known = plan is not None and (
            (plan.done_steps and (plan.total_steps or plan.derived_steps)) or (plan.done_epochs and plan.epochs)
        )
        found += () if known else ("SCH002",)
    if schedule.lr.rises and (plan is None or plan.warmup_steps is None):
        found += ("SCH003",)
    return found


def _judged(
    resume: Resume,
    schedule: Schedule | None,
    count: int,
    min_rate: float,
    min_left: float,
    min_repeats: int,
) -> Finding | None:
    if resume.warms_up:
        return _rewarmed(resume)
    if resume.repeats and not resume.restarted:
        return _repeated(resume, schedule, count, min_left)
    if resume.restarted:
        return _restarted(resume, count, min_rate, min_repeats)
    rates = _rate_jump(resume, min_rate)
    return rates if rates is not None else _risen_again(resume, schedule, min_rate, min_left)


def _repeated(resume: Resume, schedule: Schedule | None, count: int, min_left: float) -> Finding | None:
    """The schedule began again under a counter that went on; once, and not at the end of a cycle."""
    before, after = resume.rate_before, resume.rate_after
    if schedule is None or before is None or after is None or count > 1 or schedule.planned == "restarts":
        return None
    left = before / schedule.lr.shape.peak
    # From its low end a rate begins again under warm restarts, too; only a schedule that has none contradicts that.
    if left <= min_left and schedule.planned not in _ONCE:
        return None
    return Finding(
        f"the learning rate began again at {resume.unit} {resume.after:,.0f}: it went from {before:.3g} to "
        f"{after:.3g} and repeated the first {resume.repeats} rates of its schedule",
        at=resume.at,
        evidence=(
            Evidence("lr / peak before", left, min_left, resume.at),
            Evidence("lr before", before, at=resume.at),
            Evidence("lr after", after, at=resume.at),
            Evidence("rates repeated", resume.repeats, at=resume.at),
            Evidence(f"{resume.unit} after", resume.after, at=resume.at, unit=resume.unit),
        ),
        advice="restore the scheduler's state with the weights, or give it the step to start from",
    )


def _rewarmed(resume: Resume) -> Finding:
    before, after = resume.rate_before or 0.0, resume.rate_after or 0.0
    return Finding(
        f"the learning rate fell from {before:.3g} to {after:.3g} at {resume.unit} {resume.after:,.0f} and warmed up "
        f"again: it rose over the next {resume.warms_up} logged values",
        at=resume.at,
        evidence=(
            Evidence("lr before", before, at=resume.at),
            Evidence("lr after", after, 0.5 * before, resume.at),
            Evidence("rates that rise again", resume.warms_up, at=resume.at),
            Evidence(f"{resume.unit} after", resume.after, at=resume.at, unit=resume.unit),
        ),
        advice="restore the scheduler's state with the weights, or give it the step to start from",
    )


def _restarted(resume: Resume, count: int, min_rate: float, min_repeats: int) -> Finding | None:
    if not resume.carried or resume.loss_before is None or resume.loss_after is None or resume.first_loss is None:
        return None
    before, after, highest = resume.rate_before, resume.rate_after, resume.highest_rate
    moved = False
    if before is not None and after is not None and highest is not None and resume.repeats >= min_repeats:
        moved = max(_factor(before, after), _factor(before, highest)) >= min_rate
    if not moved and count > 1:
        return None  # several experiments in one log, none of which says that it went on from another
    evidence = [
        Evidence(f"{resume.unit} before", resume.before, at=resume.at, unit=resume.unit),
        Evidence(f"{resume.unit} after", resume.after, at=resume.at, unit=resume.unit),
        Evidence("loss after", resume.loss_after, at=resume.at),
        Evidence("loss before", resume.loss_before, at=resume.at),
        Evidence("loss of the first start", resume.first_loss, at=resume.at),
    ]
    message = (
        f"the run went on, but its counter began again: from {resume.unit} {resume.before:,.0f} to {resume.after:,.0f}"
    )
    if moved:
        message += (
            f", and the learning rate its schedule: it was {before:.3g}, then {after:.3g} up to {highest:.3g}, the "
            f"first {resume.repeats} values as at the first start"
        )
        evidence += [
            Evidence("lr before", before or 0.0, at=resume.at),
            Evidence("lr after", after or 0.0, at=resume.at),
            Evidence("highest lr after", highest or 0.0, at=resume.at),
            Evidence("rates repeated", resume.repeats, min_repeats, resume.at),
        ]
    message += (
        f"; the loss was {resume.loss_after:.3g} after {resume.loss_before:.3g} (first start: {resume.first_loss:.3g})"
    )
    return Finding(
        message,
        at=resume.at,
        evidence=tuple(evidence),
        severity=None if moved else Severity.INFO,
        advice="resume from a checkpoint with the optimizer's and the scheduler's state and the step",
    )


def _rate_jump(resume: Resume, min_rate: float) -> Finding | None:
    after, expected = resume.rate_after, resume.expected_rate
    if after is None or expected is None or _factor(after, expected) < min_rate:
        return None
    factor = _factor(after, expected)
    # Where one of them is zero there is no factor.
    times = f"{factor:.3g} times {'higher' if after > expected else 'lower'}" if min(after, expected) > 0 else "not so"
    return Finding(
        f"at {resume.unit} {resume.after:,.0f} the run was resumed with a learning rate of {after:.3g}, where it had "
        f"been {expected:.3g}: {times}",
        at=resume.at,
        evidence=(
            Evidence("lr after", after, at=resume.at),
            Evidence("lr to go on with", expected, at=resume.at),
            *((Evidence("factor", factor, min_rate, resume.at),) if min(after, expected) > 0 else ()),
            Evidence(f"{resume.unit} after", resume.after, at=resume.at, unit=resume.unit),
        ),
        # A constant rate was set to another one by hand.
        severity=None if resume.scheduled else Severity.INFO,
        advice="restore the scheduler's state with the weights, or give it the step to start from",
    )


def _risen_again(resume: Resume, schedule: Schedule | None, min_rate: float, min_left: float) -> Finding | None:
    """A rate that began near the old one and rose from there, though it had only come down before."""
    risen, expected, after, left = resume.risen_rate, resume.expected_rate, resume.rate_after, resume.left
    if risen is None or expected is None or after is None or left is None or expected <= 0:
        return None
    planned = schedule.planned if schedule is not None else ""
    # At its low end a rate may have ended a cycle of warm restarts.
    if risen < min_rate * expected or planned == "restarts" or (left <= min_left and planned not in _ONCE):
        return None
    return Finding(
        f"at {resume.unit} {resume.after:,.0f} the run was resumed, and the learning rate rose from {after:.3g} to "
        f"{risen:.3g}, where it had come down to {expected:.3g}: {risen / expected:.3g} times higher",
        at=resume.at,
        evidence=(
            Evidence("highest lr after", risen, min_rate * expected, resume.at),
            Evidence("lr to go on with", expected, at=resume.at),
            Evidence("lr after", after, at=resume.at),
            Evidence("factor", risen / expected, min_rate, resume.at),
            Evidence("lr to go on with / peak", left, min_left, resume.at),
            Evidence(f"{resume.unit} after", resume.after, at=resume.at, unit=resume.unit),
        ),
        advice="restore the scheduler's state with the weights, or give it the step to start from",
    )


def _loss_jump(resume: Resume, min_loss: float, noises: float, min_lost: float, min_higher: float) -> Finding | None:
    """The loss behind a resume against the level that the launch before had at the same step."""
    first, expected, after = resume.first_loss, resume.expected_loss, resume.loss_after
    if first is None or expected is None or after is None or first <= expected:
        return None
    jump, learned = after - expected, first - expected
    if jump < noises * resume.loss_noise or learned < noises * resume.loss_noise:
        return None
    lost = resume.lost or 0.0
    thrown_back = expected > 0 and lost >= min_lost and jump >= min_higher * expected
    if jump < min_loss * learned and not thrown_back:
        return None
    return Finding(
        f"at {resume.unit} {resume.after:,.0f} the run was resumed with a loss of {after:.3g}, where it had been "
        f"{expected:.3g}: {100 * jump / learned:.0f} % of what it had learned was lost"
        + (f", and {100 * lost:.0f} % of the losses before were lower" if jump < min_loss * learned else ""),
        at=resume.at,
        evidence=(
            Evidence("loss after", after, at=resume.at),
            Evidence("loss to go on with", expected, at=resume.at),
            Evidence("loss of the first start", first, at=resume.at),
            Evidence("jump / learned", jump / learned, min_loss, resume.at),
            Evidence("losses before that were lower", lost, min_lost, resume.at),
            Evidence("jump / loss to go on with", jump / expected if expected else 0.0, min_higher, resume.at),
            *((Evidence("jump / noise", jump / resume.loss_noise, noises),) if resume.loss_noise else ()),
        ),
        explains=_SYMPTOMS,
        advice="check that weights and optimizer state were loaded",
    )


def _factor(a: float, b: float) -> float:
    """The larger over the smaller of two rates; infinite where only one is zero."""
    low, high = sorted((abs(a), abs(b)))
    return 1.0 if high == 0 else high / low if low > 0 else float("inf")
