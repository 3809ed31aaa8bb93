"""What the rules of thresholds share: how thresholds are named, and the fix that writes the calibrated one."""

from __future__ import annotations

from mldiag.api import Decision, Fix, edit_setting


def numbers(value: float) -> str:
    """A score or threshold in messages."""
    return f"{value:.4g}"


def named(decision: Decision) -> str:
    """What the threshold is called, and where it stands."""
    if decision.stated is None:
        return f"the threshold that the column {decision.scored.decided_name} shows"
    return f"{decision.stated.name} {numbers(decision.value)} ({decision.stated.source})"


def is_informative(decision: Decision, sigmas: float) -> bool:
    """Whether the scores rank the classes at all, beyond the error of their area."""
    if not decision.scored.has_both:
        return False
    sweep = decision.scored.sweep
    return sweep.auc - 0.5 > sigmas * sweep.auc_error()


def correction(decision: Decision) -> Fix:
    """The fix: on validation scores the best threshold is written, on others it is only said how it is found."""
    cut = decision.scored.sweep.best_f1()
    best = cut.threshold
    where = decision.scored.table.source.path
    if decision.scored.split == "test":
        return Fix.show(
            f"choose the threshold on validation scores; on the test scores of {where} {numbers(best)} would be best, "
            "but a threshold that is chosen on them is no longer judged by them"
        )
    said = f"{numbers(best)}, the threshold of the best F1 ({cut.counts.f1:.3f}) on {where}"
    if decision.stated is None:
        return Fix.show(f"set the threshold to {said}")
    if decision.scored.split is None:
        return Fix.show(f"set {decision.stated.name} to {said}, if its examples are not the final test's")
    return Fix.safe(f"set {decision.stated.name} to {said}", edit_setting(decision.stated.setting, best))
