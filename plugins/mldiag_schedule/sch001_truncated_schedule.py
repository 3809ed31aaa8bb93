"""SCH001: the planned steps, or the decay of the learning rate, do not fit the length of the run."""

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
    Settings,
    Severity,
    edit_everywhere,
    rule,
)

# Schedules whose `decay_steps` is their length; for an exponential decay it is only the scale of one step down.
_ENDS = ("cos", "lin", "poly")


_TELLING = 0.9
"""Last / peak rate up to which the rates tell where their decay ends: of its first tenth floor and end are one."""


@rule("SCH001", severity="error", pre=True, explains=("CUR001", "CUR007", "SMP001", "SMP002", "SMP003", "SCH003"))
def truncated_schedule(
    plan: Plan,
    settings: Settings | None,
    lr: LrCurve | None,
    *,
    min_share: float = 0.9,
    max_decay: float = 1.25,
    min_last: float = 0.3,
) -> Iterator[Finding]:
    """The planned steps are fewer than the epochs make, or the learning rate decays over more steps than will run.

    ## What it checks
    `total_steps` against epochs × steps per epoch; the length of the decay against the steps that will run, as stated,
    or as the logged rates of a complete run were heading for it. Where only the log tells the steps of an epoch, it is
    an information: epochs and steps may then be two limits, of which the lower is meant.

    ## Why it matters
    A run cut at 12 % of its steps has seen 12 % of its data, and a schedule that is longer than the run never reaches
    its low learning rates, where most of the final loss is gained. Either looks like a model that cannot learn.

    ## Inputs
    Settings `total_steps` (steps; 0 and -1 mean "derived from the epochs"), `epochs`, `steps_per_epoch` (or
    `train_windows` with `batch_size`, `grad_accum` and `devices`; or the log's own steps per epoch),
    `lr_decay_steps`. Series `lr`.

    ## Options
    - `min_share` (0.9): smallest total / derived steps. Runs that ended before 90 % of their plan are what people call
      truncated (246 labelled real runs).
    - `max_decay` (1.25): largest decay / run length. A schedule more than 25 % longer than the run costs final loss
      (Hoffmann et al. 2022, appendix B).
    - `min_last` (0.3): last / peak logged rate from which a decay was cut; floors of 0.1 to 0.2 are by design.

    ## Fix
    Safe: sets `total_steps` to epochs × steps per epoch, or the decay to the steps that run. The other settings state
    that number already; only the one that contradicts them changes, wherever it stands, and a decay that was as long.

    ## When to ignore
    Where a step limit below the epochs is meant (`max_steps` of Hugging Face overrides `num_train_epochs`; a quick
    trial). An epoch count that only a framework's default gives is never held against the steps.

    ## Source
    Step arithmetic; Hoffmann et al. 2022, "Training Compute-Optimal Large Language Models", appendix B, for the decay.
    """
    found = [
        _short_total(plan, settings, min_share),
        _long_decay(plan, settings, max_decay),
        _cut_decay(plan, lr, max_decay, min_last),
    ]
    known = [f for f in found if f is not None]
    if not known:
        raise NotApplicable("nothing says two of: planned steps, epochs × steps per epoch, length of the decay")
    yield from next((f for f in known if f), [])


def _short_total(plan: Plan, settings: Settings | None, min_share: float) -> list[Finding] | None:
    """The stated steps against those that the epochs make; None where one of them is unknown."""
    total, meant, epochs, each = plan.total_steps, plan.derived_steps, plan.epochs, plan.steps_per_epoch
    if not (meant and epochs and each and _told(meant)):
        return None
    if total is None:
        return []  # the run is as long as its epochs make it
    if not _told(total):
        return None
    share = total.value / meant.value
    if share >= min_share:
        return []
    # Who states steps per epoch, or the data they follow from, means the product; else the lower limit may be meant.
    limits = each.setting is None and each.how == "the log"
    title = f"set total_steps to {meant.value:,.0f}, which is {meant.how}"
    finding = Finding(
        f"the schedule plans {total.value:,.0f} of the {meant.value:,.0f} steps that {epochs.value:,g} epochs of "
        f"{each.value:,.0f} steps make: {100 * share:.1f} %",
        at=total.source,
        evidence=(
            Evidence("planned steps", total.value, min_share * meant.value, total.source, "step"),
            Evidence("derived steps", meant.value, at=meant.source, unit="step"),
            Evidence("epochs", epochs.value, at=epochs.source, unit="epoch"),
            Evidence("steps per epoch", each.value, at=each.source, unit="step"),
            Evidence("planned / derived", share, min_share),
        ),
        severity=Severity.INFO if limits else None,
        explains=() if limits else None,
        fix=Fix.show(title) if limits else Fix.safe(title, *edit_everywhere(settings, total.setting, int(meant.value))),
    )
    return [finding]


def _long_decay(plan: Plan, settings: Settings | None, max_decay: float) -> list[Finding] | None:
    """The stated decay against the steps that will run; None where one of them is unknown."""
    decay, run = plan.decay_steps, plan.total_steps or plan.derived_steps
    if not (decay and run and _told(run) and decay.certain and _is_length(decay, settings)):
        return None
    ratio = decay.value / run.value
    if ratio <= max_decay:
        return []
    finding = Finding(
        f"the learning rate decays over {decay.value:,.0f} steps, but {run.value:,.0f} will run: the run ends "
        f"{100 / ratio:.1f} % of the way",
        at=decay.source,
        evidence=(
            Evidence("decay steps", decay.value, max_decay * run.value, decay.source, "step"),
            Evidence("steps that will run", run.value, at=run.source, unit="step"),
            Evidence("decay / run", ratio, max_decay),
        ),
        fix=Fix.safe(
            f"let the decay end with the run, at step {run.value:,.0f}",
            *edit_everywhere(settings, decay.setting, int(run.value)),
        ),
    )
    return [finding]


def _cut_decay(plan: Plan, lr: LrCurve | None, max_decay: float, min_last: float) -> list[Finding] | None:
    """The logged rates against the end of a complete run; None where it is not complete or logged none."""
    if lr is None or not plan.complete:
        return None
    last = lr.axis[-1]
    if lr.end is None or lr.last_ratio < min_last or lr.end <= max_decay * last:
        return []
    where, total = lr.curve.source, plan.total_steps
    if total is not None and total.certain and lr.unit == "step" and total.value > max_decay * last:
        ahead = f"its schedule was planned over {total.value:,.0f} steps"
        end = [Evidence("planned steps", total.value, max_decay * last, total.source, "step")]
    elif lr.last_ratio > _TELLING:
        ahead, end = "its decay had hardly begun", []
    else:
        ahead = f"its decay was heading for {lr.unit} {lr.end:,.0f}"
        end = [Evidence("end of the decay", lr.end, max_decay * last, where, lr.unit)]
    share = f"{100 * lr.last_ratio:.0f} %"
    finding = Finding(
        f"the learning rate ended at {share} of its peak: {ahead}, and the run ended at {last:,.0f}",
        at=where,
        evidence=(
            Evidence("last / peak lr", lr.last_ratio, min_last, where),
            *end,
            Evidence("end of the run", last, at=where, unit=lr.unit),
        ),
        fix=Fix.show("let the decay end with the run"),
    )
    return [finding]


def _told(amount: Amount) -> bool:
    """A person stated it, or the log proves it, for this run."""
    return amount.certain and amount.by_user


def _is_length(decay: Amount, settings: Settings | None) -> bool:
    """The decay is switched on, and its number of steps is its length."""
    schedule = str(settings.get("lr_schedule") or "").lower() if settings else ""
    if "const" in schedule or (settings is not None and settings.get("decay_lr", bool) is False):
        return False
    ambiguous = decay.setting is not None and decay.setting.key == "decay_steps"
    return not ambiguous or any(word in schedule for word in _ENDS)
