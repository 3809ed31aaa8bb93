"""CUR019: nearly every gradient was cut down by the clipping."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mldiag.api import (
    Curve,
    Evidence,
    Finding,
    Fix,
    GradientNorm,
    NotApplicable,
    Settings,
    Severity,
    edit_setting,
    rule,
    stats,
)

_NOT_A_NORM = ("clipvalue", "clip_value", "gradient_clip_value", "clip_grad_value")
"""Settings that bound each component; the norm may be anything."""

_FINE = 0.01
"""Unit that norms are written in / the highest, up to which equal values are equal norms."""


@rule("CUR019", severity="warning")
def clip_saturation(
    norm: GradientNorm,
    settings: Settings | None,
    *,
    min_share: float = 0.8,
    tolerance: float = 0.02,
    min_excess: float = 10.0,
    warm_up: float = 0.05,
    min_points: int = 20,
) -> Iterator[Finding]:
    """The limit of the gradient clipping decided the length of nearly every step.

    ## What it checks
    Which share of the gradient norms, behind the first twentieth of the run, is bound by the clip limit. Most loggers
    write the norm as it was before the clipping: then it is above the limit. Some write it after: then it is never
    above the limit and lies on it. Which of the two is seen from the values themselves: a norm that exceeds the limit
    nowhere and lies on it in 80 % was taken after the clipping. Where no limit is known, a norm that lies on its own
    highest value in 80 % gives it away. Norms before the clipping also tell by how much they were cut: a median of ten
    times the limit is a warning, less an information, since a limit of 1.0 with norms of 2 to 3 is common and harmless.

    ## Why it matters
    The direction is kept, but a large and a small gradient make the same step: the learning rate is the step length,
    noise is not averaged out by size, and the norm tells nothing about the run any more.

    ## Inputs
    `grad_norm` or a series that says on which side of the clipping it was taken; setting `clip_norm`.

    ## Options
    - `min_share` (0.8): share of norms above the limit, or on it.
    - `tolerance` (0.02): relative distance that is on the limit, for rounded values.
    - `min_excess` (10): median norm / limit from which it is a warning, where the norms are those before the clipping.
    - `warm_up` (0.05): part of the run left out at its start.
    - `min_points` (20): finite norms.

    ## Fix
    Unsafe: the limit is set to what nine in ten norms are below, where it is known and can be edited and the norms
    are those before the clipping. Shown otherwise.

    ## When to ignore
    Normalised steps are what is wanted.

    ## Source
    Measured on 12 labelled runs with twenty norms and more and a stated limit: six are above it in 86 to 100 %, four
    of them healthy, with a median of 2.2 to 3.6 times the limit; the others in 0 to 22 %. None logs after the clipping.
    Clipping: Pascanu et al. 2013, arXiv:1211.5063.
    """
    curve = norm.curve
    if len(curve) < min_points:
        raise NotApplicable(f"{len(curve)} finite gradient norms; at least {min_points} are needed")
    stated = settings.effective("clip_norm") if settings is not None else None
    limit = settings.get("clip_norm", float) if settings is not None else None
    if stated is not None and stated.key in _NOT_A_NORM:
        raise NotApplicable(f"{stated.key} bounds each component of the gradient, not its norm")
    if limit == 0:
        raise NotApplicable("the clipping is switched off")
    begin = round(warm_up * len(curve))
    if limit is not None and limit > 0:
        values = curve.values[begin:]
        if norm.taken != "after" and _share(values, limit * (1 + tolerance), None) >= min_share:
            yield _before(curve, values, limit, settings, min_share, min_excess)
            return
    for logged in filter(None, (norm.after, curve)):
        values = logged.values[begin:]
        highest = max(values)
        known = limit is not None and limit > 0
        bound = limit if limit is not None and limit > 0 else highest
        if highest <= 0 or highest > bound * (1 + tolerance):
            continue
        if not known and stats.written_unit(values) > _FINE * highest:
            continue  # rounded so much that different norms are one value
        near = tolerance if known else 0.001
        share = _share(values, bound * (1 - near), bound * (1 + near))
        if share >= min_share:
            yield _after(logged, bound, share, known, settings, min_share, len(values))
            return
    if limit is None:
        raise NotApplicable("no clip limit is known, and the norms do not lie on one value")


def _share(values: Sequence[float], least: float, most: float | None) -> float:
    if len(values) >= stats.LONG:
        import numpy as np

        data = np.asarray(values, dtype=np.float64)
        inside = data > least if most is None else (data >= least) & (data <= most)
        return float(inside.mean())
    return sum(v > least if most is None else least <= v <= most for v in values) / len(values)


def _before(
    curve: Curve, values: Sequence[float], limit: float, settings: Settings | None, min_share: float, excess: float
) -> Finding:
    share, usual = _share(values, limit, None), stats.median(values)
    raised = float(f"{_quantile(values, 0.9):.1g}")
    severe = usual >= excess * limit
    edit = edit_setting(settings.effective("clip_norm"), raised) if settings is not None and severe else None
    title = f"raise the limit from {limit:g} to {raised:g}, what nine in ten norms are about or below"
    return Finding(
        f"{100 * share:.0f} % of the gradient norms were above the clip limit of {limit:g} (the norm was logged before "
        f"the clipping), with a median of {usual:.3g}, {usual / limit:.3g} times the limit",
        at=curve.source,
        severity=Severity.WARNING if severe else Severity.INFO,
        evidence=(
            Evidence("norms above the limit", share, min_share, curve.source),
            Evidence("clip limit", limit, None, settings.where("clip_norm") if settings is not None else None),
            Evidence("median norm", usual, None, curve.source),
            Evidence("median norm / limit", usual / limit, excess),
            Evidence("norms looked at", len(values)),
        ),
        fix=Fix.unsafe(title, edit) if severe else Fix.show(title),
    )


def _after(
    curve: Curve, bound: float, share: float, known: bool, settings: Settings | None, min_share: float, count: int
) -> Finding:
    where = settings.where("clip_norm") if settings is not None and known else curve.source
    what = f"the clip limit of {bound:g}" if known else f"their highest value, {bound:.6g}: the limit of a clipping"
    return Finding(
        f"{100 * share:.0f} % of the gradient norms lay on {what}, and none above (the norm was logged after the "
        "clipping)",
        at=curve.source,
        evidence=(
            Evidence("norms on the limit", share, min_share, curve.source),
            Evidence("clip limit" if known else "highest norm", bound, None, where),
            Evidence("norms looked at", count),
        ),
        fix=Fix.show("log the norm before the clipping, then raise the limit to what most norms are below"),
    )


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(stats.binned(values))
    return ordered[int(share * (len(ordered) - 1))]
