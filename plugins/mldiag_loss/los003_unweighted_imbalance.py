"""LOS003: a binary loss counts rare positives like the rest."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import (
    Baselines,
    BinaryLoss,
    Curves,
    Evidence,
    Finding,
    Fix,
    edit_setting,
    is_bounded_score,
    rule,
    stats,
)


@rule("LOS003", severity="error", pre=True, explains=("LOS002", "CUR013", "CUR014", "CUR015"))
def unweighted_imbalance(
    loss: BinaryLoss,
    baselines: Baselines,
    curves: Curves | None,
    *,
    max_rate: float = 0.01,
    min_auc: float = 0.65,
) -> Iterator[Finding]:
    """Positives were rarer than one in a hundred labels, and the binary loss did not weigh them.

    ## What it checks
    A binary cross-entropy without positive weight, class weights, focal term or sampling, in source or settings,
    against the share of positives among the labels, from the run's settings, log or tables. Nothing is said where
    anything in the program speaks of weighting or sampling the rare side, or where an area under the ROC curve shows
    that the model ranks well all the same.

    ## Why it matters
    Nearly all of the loss is about negatives: predicting the base rate for every label already brings it close to 0,
    and the gradient that is left is small. A low loss then says nothing about the ranking.

    ## Inputs
    The loss in the source (`BCEWithLogitsLoss()`, `compile(loss="binary_crossentropy")`) or a setting; positives per
    example and `num_classes`, a rate of positives, counts of both, or a column of true labels.

    ## Options
    - `max_rate`: share of positives (0.01, one in a hundred).
    - `min_auc`: area under the ROC curve from which on the run ranks in spite of it (0.65).

    ## Fix
    Unsafe where a setting of the positive weight is off: it is set to negatives / positives, classes / positives - 1,
    as PyTorch documents `pos_weight`; the next run learns differently, and terms that are added to this loss need other
    weights. Otherwise shown.

    ## When to ignore
    Calibrated probabilities are wanted, as for click rates, and the model ranks well: the unweighted loss is the proper
    one there.

    ## Source
    PyTorch, `BCEWithLogitsLoss`: pos_weight = negatives / positives. Lin et al. 2017, "Focal Loss for Dense Object
    Detection"; Cui et al. 2019, "Class-Balanced Loss Based on Effective Number of Samples".
    """
    if loss.weighted or baselines.rate >= max_rate:
        return
    if curves is not None and (curves.adversarial or _ranks(curves, min_auc)):
        return
    weight = baselines.pos_weight
    title = f"weigh positives by {weight:,.4g} (negatives / positives), or use a focal or class-balanced loss"
    setting = loss.setting
    yield Finding(
        f"{loss.name} did not weigh positives, which are {baselines.said}, 1 in {1 / baselines.rate:,.0f}: predicting "
        f"that rate for every label has a loss of {baselines.loss:.2g}",
        at=loss.source,
        evidence=(
            Evidence("share of positives", baselines.rate, max_rate, baselines.source),
            *((Evidence("positives per example", baselines.positives, None, baselines.source),)
              if baselines.positives is not None else ()),
            *((Evidence("labels", baselines.classes, None, baselines.classes_source),)
              if baselines.classes is not None else ()),
            Evidence("loss of the constant predictor", baselines.loss, unit="nat"),
            Evidence("negatives / positives", weight),
            Evidence("loss", loss.name, None, loss.source),
            *((Evidence(setting.key, str(setting.value), None, setting.source),) if setting is not None else ()),
        ),
        fix=Fix.unsafe(title, edit_setting(setting, round(weight))) if setting is not None else Fix.show(title),
    )  # fmt: skip


def _ranks(curves: Curves, least: float) -> bool:
    for name in curves:
        quantity = name.rpartition("/")[2]
        if ("auc" in quantity or "auroc" in quantity) and "pr" not in quantity and is_bounded_score(name):
            curve = curves.get(name)
            if curve is not None and stats.tail_level(curve.values) / (100 if max(curve.values) > 1.5 else 1) >= least:
                return True
    return False
