"""EVA011: the same weights, evaluated again, gave another value."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from mldiag.api import Curve, Curves, Evidence, Finding, Fix, Idiom, Metrics, NotApplicable, Program, rule


@rule("EVA011", severity="warning")
def unstable_evaluation(
    metrics: Metrics,
    curves: Curves,
    program: Program | None,
    *,
    min_difference: float = 0.001,
    min_repeats: int = 3,
    min_other: int = 3,
) -> Iterator[Finding]:
    """One model was evaluated several times, and each time the result was another.

    ## What it checks
    Held-out losses and scores that were logged several times in a row at one optimizer step, so with the same weights,
    in a run that otherwise evaluates once at a step. The values are held against each other; what rounding or the order
    of a sum can do is no difference. Left out: logs in which steps are often evaluated more than once (several
    evaluation sets, folds, or a running mean while evaluating), values that settle as
    a running mean does, logs without steps, and steps that go back (another
    launch). Two values at one step are compared only where the source shows an evaluation in the mode of training,
    since the second is as a rule that of the best weights or of the test set.

    ## Why it matters
    Dropout that is on, batch statistics that follow the batch, or a sample drawn anew make every comparison between
    checkpoints partly chance: the best one is the luckiest one, and early stopping stops at random.

    ## Inputs
    Series of `val`, `test` or `eval` with steps; the source, for the likely cause.

    ## Options
    - `min_difference` (ratio, default 0.001): how far apart the highest and the lowest value must be, as a share of the
      largest. The order of a sum on a GPU makes 0.00001; dropout of 0.5 made 0.05 to 0.55 in the measured runs.
    - `min_repeats` (count, default 3): values at one step.
    - `min_other` (count, default 3): steps that were evaluated once, by which the repeats are known for an exception.

    ## Fix
    Only shown: switch the model to evaluation, and fix the seed of what the evaluation draws.

    ## When to ignore
    Evaluation sets that are logged under one name at the end of the run, and predictions that are sampled on purpose.

    ## Source
    PyTorch documentation, "Autograd mechanics", evaluation mode. Measured on four runs with dropout left on.
    """
    held = [s for s in metrics if s.name.startswith(("val/", "test/", "eval/"))]
    if not held:
        raise NotApplicable("no held-out series")
    if all(s.step_data is None for s in held):
        raise NotApplicable("the held-out series have no steps that say which weights were evaluated")
    cause = next((i for s in (program.sources if program else ()) for i in s.idioms if i.name == "no_eval_mode"), None)
    found = []
    for series in held:
        curve = curves.get(series.name)
        steps = curve.axis("step") if curve is not None else None
        if curve is None or steps is None or curve.launches > 1 or any(b < a for a, b in pairwise(steps)):
            continue
        group = _repeated(steps, 2 if cause is not None else min_repeats, min_other)
        if group is not None:
            values = [curve.values[i] for i in group]
            low, high = min(values), max(values)
            spread = (high - low) / max(abs(low), abs(high)) if high > low else 0.0
            if spread > min_difference and len(set(values)) > 2 - (cause is not None) and not _is_running_mean(values):
                found.append((series.name.endswith("/loss"), spread, curve, group))
    if found:
        _, spread, curve, group = max(found, key=lambda f: f[:2])
        yield _finding(curve, group, spread, min_difference, cause)


def _repeated(steps: Sequence[float], least: int, others: int) -> list[int] | None:
    """The positions of the step that was evaluated most often, where that is an exception."""
    groups: list[list[int]] = []
    for index, step in enumerate(steps):
        if groups and steps[groups[-1][0]] == step:
            groups[-1].append(index)
        else:
            groups.append([index])
    several = [g for g in groups if len(g) > 1]
    if not several or len(groups) - len(several) < max(others, len(several) * 3):
        return None
    longest = max(several, key=len)
    return longest if len(longest) >= least else None


def _is_running_mean(values: Sequence[float]) -> bool:
    """Whether each value lies nearer to the one before than that did, as the mean of ever more batches does.

    Of five values drawn at random one row in 24 looks so.
    """
    moves = [abs(b - a) for a, b in pairwise(values)]
    return len(moves) >= 4 and all(b <= a * (1 + 1e-9) + 1e-12 for a, b in pairwise(moves))


def _finding(curve: Curve, group: list[int], spread: float, limit: float, cause: Idiom | None) -> Finding:
    values = [curve.values[i] for i in group]
    digits = max(2, 3 - math.floor(math.log10(max(abs(v) for v in values) or 1)))
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    message = (
        f"the weights of {curve.place(group[0])} were evaluated {len(group)} times, and {curve.name} came out between "
        f"{low} and {high}, {100 * spread:.1f} % apart"
    )
    steps = curve.axis("step")
    evidence = [
        *([Evidence("step", steps[group[0]], at=curve.at(group[0]))] if steps is not None else []),
        Evidence("values at one step", len(group), 1, curve.at(group[0])),
        Evidence("lowest", min(values), at=curve.at(group[values.index(min(values))])),
        Evidence("highest", max(values), at=curve.at(group[values.index(max(values))])),
        Evidence("difference / highest", spread, limit),
    ]
    advice = "switch the model to evaluation (eval(), training=False) and fix the seed of what the evaluation draws"
    if cause is not None:
        model, layer = cause.detail("model"), cause.detail("layer")
        message += f"; {cause.source} evaluates {model} with {layer} in the mode of training"
        evidence.append(Evidence("line that evaluates in the mode of training", cause.source.line, at=cause.source))
        advice = f"call {model}.eval() before the evaluation and {model}.train() after it"
    return Finding(message, at=curve.at(group[0]), evidence=tuple(evidence), fix=Fix.show(advice))
