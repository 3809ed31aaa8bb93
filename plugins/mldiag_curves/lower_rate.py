"""The fix that several rules about the loss share: a lower learning rate."""

from __future__ import annotations

from mldiag.api import Curve, Fix, Settings, edit_setting


def lower_rate(settings: Settings | None, lr: Curve | None, factor: float, otherwise: str) -> Fix:
    """Sets the learning rate to a share of the logged peak; shows advice where no higher setting can be edited.

    Measured from the logged peak, so that it is lowered once: a setting that was corrected since is left alone.

    Args:
        settings: may state `lr`.
        lr: the logged rates.
        factor: next rate / logged peak.
        otherwise: the advice.
    """
    stated = settings.get("lr", float) if settings is not None else None
    peak = max(lr.values) if lr is not None else 0.0
    if settings is None or stated is None or peak <= 0:
        return Fix.show(otherwise)
    new = float(f"{factor * peak:.1g}")
    if stated <= new:
        return Fix.show(otherwise)
    return Fix.unsafe(
        f"lower the learning rate from {stated:g} to {new:g}", edit_setting(settings.effective("lr"), new)
    )
