"""CFG008: the windows overlap so much that one epoch shows the same tokens many times."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import Edit, Evidence, Finding, Fix, NotApplicable, Plan, Settings, Windows, edit_setting, rule


@rule("CFG008", severity="warning", pre=True, explains=("CUR001", "CUR002", "CUR012"))
def overlapping_windows(
    windows: Windows, settings: Settings, plan: Plan | None, *, max_repetition: float = 4.0
) -> Iterator[Finding]:
    """The training windows overlap so much that one epoch shows each token many times.

    ## What it checks
    Window length / stride: how often each token is seen in one epoch.

    ## Why it matters
    With a stride of 2 and windows of 320 one "epoch" is 160 passes over the text, each hardly different from the one
    before: the model memorises, the epochs stop meaning anything, and windows of the validation part share text with
    the training part unless the text was split before it was cut.

    ## Inputs
    Settings `seq_len` and `stride` (tokens), `steps_per_epoch`, `epochs`, `total_steps`; something that shows tokens of
    a text (a vocabulary, a tokenizer, perplexity).

    ## Options
    - `max_repetition` (4): times a token may be seen in one epoch. Half-overlap (2) is ordinary; up to four passes
      repeated text is nearly worth new text (Muennighoff et al. 2023).

    ## Fix
    Unsafe: a stride of half a window, and with it the steps of an epoch (fewer windows) and the total where it is
    stated, since all three describe one pass. The next run sees each token less often and is shorter.

    ## When to ignore
    Evaluation with a small stride, which scores each token with a full context, and series that are forecast rather
    than read as text.

    ## Source
    Muennighoff et al. 2023, "Scaling Data-Constrained Language Models", for the four passes.
    """
    if not windows.stated:
        raise NotApplicable("no setting stride, so the windows are taken not to overlap")
    if not windows.text:
        raise NotApplicable("nothing shows that the windows hold tokens of a text")
    repetition = windows.repetition
    if repetition <= max_repetition or not (windows.stride.certain and windows.seq_len.certain):
        return
    length, stride = windows.seq_len.value, windows.stride.value
    new = int(length // 2)
    title, edits = _edits(settings, plan, stride, new)
    yield Finding(
        f"windows of {length:,.0f} tokens started every {stride:,.0f}: each token was seen {repetition:,.3g} times "
        "in one epoch",
        at=windows.stride.source,
        evidence=(
            Evidence("stride", stride, length / max_repetition, windows.stride.source, "token"),
            Evidence("window", length, at=windows.seq_len.source, unit="token"),
            Evidence("passes over each token in an epoch", repetition, max_repetition),
        ),
        advice="split the documents into train and validation before cutting windows",
        fix=Fix.unsafe(title, *edits),
    )


def _edits(settings: Settings, plan: Plan | None, stride: float, new: int) -> tuple[str, list[Edit | None]]:
    """The new stride, and the step counts that an epoch of fewer windows has."""
    title = f"set stride to {new:,}"
    edits = [edit_setting(settings.effective("stride"), new)]
    per_epoch = plan.steps_per_epoch if plan else None
    if plan is None or per_epoch is None or per_epoch.setting is None:
        return title, edits
    fewer = max(1, round(per_epoch.value * stride / new))
    title += f", steps_per_epoch to {fewer:,}"
    edits.append(edit_setting(per_epoch.setting, fewer))
    if plan.total_steps is not None and plan.epochs is not None:
        total = max(1, round(plan.epochs.value * fewer))
        title += f", total_steps to {total:,}"
        edits.append(edit_setting(plan.total_steps.setting, total))
    return title, edits
