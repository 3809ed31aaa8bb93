"""CFG010: what would have kept the run from harm, and is not there."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import Evidence, Finding, Fix, Safeguards, Severity, rule

_ADVICE = {
    "gradient clipping": "clip the gradient norm at 1.0",
    "early stopping": "stop when the validation loss has not improved for a few evaluations",
    "best checkpoint": "keep the weights of the best evaluation",
    "validation split": "hold out data and evaluate on it",
}


@rule("CFG010", severity="warning", pre=True)
def missing_safeguards(safeguards: Safeguards, *, warn_from: int = 4) -> Iterator[Finding]:
    """The program has no gradient clipping, early stopping, best checkpoint or validation split.

    ## What it checks
    Four safeguards, listed once: gradient clipping (a limit above 0, or a call that clips), early stopping (patience
    above 0, or a callback), keeping the best checkpoint (`save_best_only`, `load_best_model_at_end`, or weights saved
    when a best value improves) and validation (a split, an evaluation, or a logged series). A setting of 0 counts as
    switched off. What neither settings nor source tell is not counted; where a part of the program's source is
    missing, nothing is said, unless a framework's record names the arguments. Reinforcement learning and adversarial
    training are left out: no loss on held-out data tells when they are best.

    ## Why it matters
    Each costs a line or two. Without them one bad batch can ruin a run, overfitting goes on to the last epoch, and the
    weights that are kept are the last ones instead of the best.

    ## Inputs
    Settings `clip_norm`, `patience`, `early_stopping`, `load_best_model_at_end`; the source of the program.

    ## Options
    - `warn_from` (count of 4, default 4): missing safeguards from which on the finding is a warning; below it is an
      information, since sound programs do without: of 40 labelled healthy runs whose program was read 30 lack one
      and 6 lack three.

    ## Fix
    Only shown: each needs code of the program.

    ## When to ignore
    Short runs of a known recipe, and losses that cannot overfit (one pass over the data).

    ## Source
    Pascanu et al. 2013, "On the difficulty of training recurrent neural networks" (clipping); Prechelt 1998, "Early
    Stopping - But When?" (early stopping and the best weights).
    """
    missing, known = safeguards.missing, safeguards.known
    if not missing:
        return
    names = ", ".join(s.name for s in missing)
    yield Finding(
        f"{len(missing)} of {len(known)} safeguards were missing: {names}",
        at=next((s.at for s in missing if s.at), None),
        evidence=(
            Evidence("missing safeguards", len(missing), warn_from),
            Evidence("safeguards looked for", len(known)),
            *(Evidence(f"no {s.name}", 0, at=s.at) for s in missing),
        ),
        severity=Severity.WARNING if len(missing) >= warn_from else Severity.INFO,
        fix=Fix.show("; ".join(_ADVICE[s.name] for s in missing)),
    )
