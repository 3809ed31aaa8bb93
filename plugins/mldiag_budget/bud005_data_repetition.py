"""BUD005: each token is seen many times."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import (
    Batching,
    Budget,
    Evidence,
    Finding,
    Fix,
    NotApplicable,
    Plan,
    Source,
    TokenFiles,
    rule,
)


@rule("BUD005", severity="info", pre=True, explains=("CUR001", "CUR002"), gives_way_to=("CFG008",))
def data_repetition(
    plan: Plan | None,
    batching: Batching | None,
    budget: Budget | None,
    files: TokenFiles | None,
    *,
    max_passes: float = 4.0,
) -> Iterator[Finding]:
    """The run passes over its distinct tokens more often than repetition is worth.

    ## What it checks
    Tokens that the run trains on (steps × tokens of a step, else epochs × repetition of the windows) / distinct
    training tokens (the training token file, else the stated or derived count).

    ## Why it matters
    Up to four passes over the same text are nearly worth new text; beyond that each pass gives less, and from about
    forty on nothing. More data, fewer steps or a smaller model then cost less for the same loss.

    ## Inputs
    `total_steps` or the log; `batch_size`, `seq_len`, `grad_accum`, `devices` or a logged token counter; the token
    file of the training split, or `train_tokens`, or `steps_per_epoch` with `epochs`.

    ## Options
    - `max_passes` (4): passes over the distinct tokens.

    ## Fix
    Only shown: how many steps four passes are.

    ## When to ignore
    Small corpora for study, where repetition is the point, and tasks with augmentation that changes each pass.

    ## Source
    Muennighoff et al. 2023, "Scaling Data-Constrained Language Models": up to 4 epochs of repeated data change the loss
    hardly compared with new data.
    """
    unique, unique_at, how = _unique(files, budget)
    per_step = batching.tokens_per_step if batching is not None else None
    steps = plan.run_steps if plan is not None else None
    if per_step and steps is not None and steps.certain and batching is not None and batching.batch_size.certain:
        seen = steps.value * per_step
        passes, detail = seen / unique, f"{steps.value:,.0f} steps of {per_step:,.0f} tokens"
        evidence: tuple[Evidence, ...] = (
            Evidence("steps", steps.value, at=steps.source, unit="step"),
            Evidence("tokens of a step", per_step, at=batching.batch_size.source, unit="token"),
        )
    elif budget is not None and budget.passes is not None and not files:
        passes, detail = budget.passes, "epochs × passes of the windows in each"
        evidence = ()
    else:
        raise NotApplicable("nothing says how many tokens the run trains on")
    if passes <= max_passes:
        return
    enough = f"{max_passes * unique / per_step:,.0f} steps are" if per_step else "fewer epochs give"
    yield Finding(
        f"{unique:,.0f} distinct tokens ({how}) are passed over {passes:,.3g} times ({detail})",
        at=unique_at,
        evidence=(
            Evidence("passes over the distinct tokens", passes, max_passes),
            Evidence("distinct tokens", unique, at=unique_at, unit="token"),
            *evidence,
        ),
        fix=Fix.show(f"{enough} {max_passes:g} passes; beyond them more text is worth more than more steps"),
    )


def _unique(files: TokenFiles | None, budget: Budget | None) -> tuple[float, Source | None, str]:
    train = [f for f in files or () if f.split == "train"]
    if train:
        return float(sum(f.count for f in train)), train[0].source, f"ids in {train[0].source.path}"
    if budget is None:
        raise NotApplicable("neither a training token file nor a count of the training tokens")
    if not budget.unique_tokens.certain:
        raise NotApplicable("the distinct tokens follow from defaults of the source only")
    return budget.unique_tokens.value, budget.unique_tokens.source, budget.unique_tokens.how
