"""LOS002: the loss is that of a constant answer, and so is the ranking."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from msgspec import Struct

from mldiag.api import (
    Baselines,
    BinaryLoss,
    Curve,
    Curves,
    Evidence,
    Finding,
    Fix,
    NotApplicable,
    Run,
    Severity,
    edit_setting,
    is_bounded_score,
    lazily,
    rate_of_entropy,
    rule,
    stats,
)

_LOSSES = tuple(f"{split}/{loss}" for split in ("val", "test") for loss in ("bce", "loss/bce", "loss"))
_PREDICTED = lazily(
    r"(?:n_|num_|frac_|share_|mean_|avg_)?(?:pred(?:icted|s)?_?pos\w*|pos\w*_pred\w*|positives_predicted)"
    r"(?:_rate|_count|_share|_frac)?"
)
_AUC = lazily(r"(?:\w+_)?(?:auc|auroc|roc_?auc|auc_?roc)(?:_(?:roc|micro|macro|weighted))?")
_HARD = lazily(
    r"(?:micro_|macro_|weighted_|samples_)?(?:f1|f1_?score|f_?score|recall|precision)"
    r"(?:_(?:micro|macro|weighted|samples|score))?"
)
_RANKED = lazily(r"(ndcg|recall|hit_?rate|hits?|hr|mrr|map|precision)(?:@|_at_|_)?(\d+)?")


class _Score(Struct, frozen=True):
    """A held-out score and what of it a constant answer has."""

    curve: Curve
    value: float
    chance: float
    kind: str

    @property
    def last(self) -> float:
        """The last value, in the unit of `value`: what people see in the log."""
        return self.curve.values[-1] / (100 if self.kind != "positives" and max(self.curve.values) > 1.5 else 1)


@rule("LOS002", severity="error", explains=("CUR013", "CUR014", "CUR015", "EVA006"))
def collapsed_predictor(
    run: Run,
    curves: Curves,
    *,
    loss_band: float = 0.05,
    min_fall: float = 0.5,
    auc_band: float = 0.05,
    min_auc: float = 0.6,
    max_ranking: float = 0.1,
    max_late_gain: float = 0.1,
    max_chance_ratio: float = 3.0,
    min_evaluations: int = 3,
) -> Iterator[Finding]:
    """The loss fell to that of a constant answer or below, and the ranking or the predicted positives say no more.

    ## What it checks
    A held-out binary cross-entropy against the constant predictor's, H(p) for a share p of positives, where the run
    states p; with popularity (each class its own rate), where class counts are known. Then what the model answers: no
    positive at all (predicted positives, F1, recall of 0), an area under the ROC curve at 1/2, a recall@k at k / C, or
    a ranking score that is low and stood still for two thirds of the run.
    Where p is not stated, the loss must have come down from about ln 2, no positive be predicted, and the area under
    the ROC curve be at 1/2. One skilled score, and nothing is said.

    ## Why it matters
    With rare positives the loss of an answer that ignores its input is already close to 0: 0.0067 for 5.77 positives
    among 6,924 labels. A lower one needs no more than each class's popularity. The curve looks as if all was learned.

    ## Inputs
    `val/loss` (or test, or its binary term) and at least one of `val/auroc`, `val/f1`, `val/ndcg@10`, `val/recall@10`,
    `val/pred_pos`; positives per example and `num_classes`, or a rate of positives.

    ## Options
    - `loss_band`: loss above H(p) that still counts as at it (0.05 of it).
    - `min_fall`: fall of the loss where p is not stated (0.5).
    - `auc_band`, `min_auc`: distance from 1/2 that is chance (0.05), and area that is skill (0.6). Of 380 labelled runs
      the collapsed ones end at 0.46 and 0.48, those that learned with a binary loss at 0.68 and more.
    - `max_ranking`, `max_late_gain`: highest nDCG@k, recall@k, hit rate, MRR or MAP that is low (0.1), and its gain
      over the last two thirds as a share of its end (0.1). Only with a stated p of at most 0.01.
    - `max_chance_ratio`: recall@k / (k / C) that is chance (3).
    - `min_evaluations`: evaluations of each (3).

    ## Fix
    Unsafe where a setting of the positive weight is off: it is set to negatives / positives. Otherwise shown:
    `pos_weight`, a focal loss, or a class-balanced one.

    ## When to ignore
    A task in which nothing but popularity can be known. A ranking score that is low on purpose (very many items): it
    is a warning where neither source nor settings show the unweighted loss.

    ## Source
    H(p): Cover and Thomas 2006, Elements of Information Theory, 2.1. The founding case: loss 0.0035, nDCG@10 0.044,
    published 0.130. Lin et al. 2017 (focal loss), Cui et al. 2019 (class-balanced loss).
    """
    if curves.adversarial or curves.reinforcement:
        raise NotApplicable(f"{curves.adversarial or curves.reinforcement} is of no classifier")
    baselines, binary = _baselines(run), _binary(run)
    loss = curves.get(*_LOSSES)
    if loss is None or len(loss) < min_evaluations:
        raise NotApplicable(f"no held-out loss with {min_evaluations} values")
    scores = list(_scores(curves, baselines, min_evaluations))
    if not scores:
        raise NotApplicable("no ranking score, F1 or count of predicted positives was logged for held-out data")
    end, first = stats.tail_level(loss.values), loss.values[0]
    if end <= 0 or not _is_binary_cross_entropy(loss, curves, baselines, binary):
        return
    if baselines is not None and baselines.rate < 0.5:
        if end > (1 + loss_band) * baselines.loss:
            return
    elif end > (1 - min_fall) * min(first, math.log(2)):
        return
    if _is_skilled(scores, min_auc, max_ranking):
        return
    nothing = [s for s in scores if s.kind in ("positives", "hard") and s.value <= 1e-4]
    blind = [s for s in scores if s.kind == "auc" and abs(s.value - 0.5) <= auc_band]
    blind += [s for s in scores if s.kind == "ranked" and s.chance and s.value <= max_chance_ratio * s.chance]
    stuck = [s for s in scores if s.kind == "ranked" and _stands_still(s.curve, max_late_gain)]
    rare = baselines is not None and baselines.rate <= 0.01
    severity = Severity.ERROR
    if blind and (nothing or baselines is not None):
        shown = [*blind, *nothing]
    elif nothing and rare and baselines is not None and end >= 0.8 * baselines.loss:
        shown = nothing
    elif stuck and rare:
        shown = [*stuck, *nothing]
        severity = Severity.ERROR if binary is not None and not binary.weighted else Severity.WARNING
    else:
        return
    yield _finding(loss, end, shown, baselines, binary, severity)


def _finding(
    loss: Curve,
    end: float,
    shown: Sequence[_Score],
    baselines: Baselines | None,
    binary: BinaryLoss | None,
    severity: Severity,
) -> Finding:
    said = "; ".join(_said(s) for s in shown[:3])
    if baselines is not None:
        beside = f"the constant predictor of {baselines.said} has {baselines.loss:.2g}"
        if baselines.popularity is not None and baselines.popularity < 0.98 * baselines.loss:
            beside += f", that of each class's own rate {baselines.popularity:.2g}"
        elif end < 0.9 * baselines.loss:
            beside += ", and a lower one needs no more than each class's popularity, which nothing states"
        evidence = [
            Evidence("loss of the constant predictor", baselines.loss, None, baselines.source, "nat"),
            Evidence("share of positives", baselines.rate, None, baselines.source),
        ]
        if baselines.positives is not None and baselines.classes is not None:
            evidence.append(Evidence("positives per example", baselines.positives, None, baselines.source))
            evidence.append(Evidence("labels", baselines.classes, None, baselines.classes_source))
        if baselines.popularity is not None:
            evidence.append(
                Evidence("loss of each class's own rate", baselines.popularity, None, baselines.source, "nat")
            )
    else:
        rate = rate_of_entropy(end)
        beside = f"a constant predictor has it where {100 * rate:.2g} % of the labels are positive"
        evidence = [Evidence("share of positives whose constant predictor has this loss", rate)]
    return Finding(
        f"{loss.name} ended at {end:.4g}; {beside}; {said}",
        at=loss.at(-1),
        evidence=(
            Evidence(f"{loss.name} at the end", end, baselines.loss if baselines else None, loss.at(-1), "nat"),
            *evidence,
            *(Evidence(f"level of {s.curve.name} at the end", s.value, None, s.curve.source) for s in shown),
            *(Evidence(f"last {s.curve.name}", s.last, None, s.curve.at(-1)) for s in shown),
            *(Evidence(f"{s.curve.name} by chance", s.chance) for s in shown if s.chance),
            *(
                (Evidence("unweighted loss", binary.name, None, binary.source),)
                if binary and not binary.weighted
                else ()
            ),
        ),
        severity=severity,
        fix=_fix(baselines, binary),
    )


def _said(score: _Score) -> str:
    if score.kind == "positives":
        return f"no positive was predicted any more ({score.curve.name} {score.value:.3g})"
    if score.kind == "hard":
        return f"{score.curve.name} was {score.value:.3g}"
    if score.chance:
        return f"{score.curve.name} was {score.value:.3g}, by chance {score.chance:.3g}"
    return f"{score.curve.name} stood still and ended at {score.last:.4f}"


def _fix(baselines: Baselines | None, binary: BinaryLoss | None) -> Fix:
    others = "or use a focal (Lin et al. 2017) or class-balanced loss (Cui et al. 2019)"
    if baselines is None:
        return Fix.show(f"weigh positives by negatives / positives (pos_weight), {others}")
    title = f"weigh positives by {baselines.pos_weight:,.4g} (negatives / positives), {others}"
    if binary is None or binary.setting is None or binary.weighted:
        return Fix.show(title)
    return Fix.unsafe(title, edit_setting(binary.setting, round(baselines.pos_weight)))


def _scores(curves: Curves, baselines: Baselines | None, least: int) -> Iterator[_Score]:
    """What was measured of the answers; scores with a cut-off are of held-out data even where no split is named."""
    for name in curves:
        split, _, quantity = name.rpartition("/")
        cut = re.search(r"(?:@|_at_)(\d+)$", quantity)
        if split.split("/")[0] not in ("val", "test") and not cut:
            continue
        curve = curves.get(name)
        if curve is None or len(curve) < least:
            continue
        end = stats.tail_level(curve.values)
        if _PREDICTED.fullmatch(quantity):
            yield _Score(curve, end, 0.0, "positives")
            continue
        if not is_bounded_score(name) and not cut:
            continue
        value = end / 100 if stats.extremes(curve.values)[1] > 1.5 else end
        ranked = _RANKED.fullmatch(quantity) if cut or quantity in ("ndcg", "mrr", "map") else None
        if ranked:
            recall = ranked[1] in ("recall", "hit_rate", "hitrate", "hits", "hit", "hr") and cut is not None
            classes = baselines.classes if baselines is not None else None
            chance = min(1.0, int(ranked[2] or 0) / classes) if recall and classes and classes > 1 else 0.0
            yield _Score(curve, value, chance, "ranked")
        elif _AUC.fullmatch(quantity) and "pr" not in quantity.split("_"):
            yield _Score(curve, value, 0.5, "auc")
        elif _HARD.fullmatch(quantity):
            yield _Score(curve, value, 0.0, "hard")


def _is_skilled(scores: Sequence[_Score], min_auc: float, max_ranking: float) -> bool:
    limits = {"auc": min_auc, "ranked": max_ranking, "hard": max_ranking}
    return any(s.value >= limits[s.kind] for s in scores if s.kind in limits)


def _stands_still(curve: Curve, limit: float) -> bool:
    """Whether a score gained hardly anything over the last two thirds."""
    values = curve.values
    if len(values) < 3:
        return False
    end, then = (
        stats.tail_level(values),
        stats.median(values[len(values) // 3 : len(values) // 3 + max(1, len(values) // 6)]),
    )
    return end - then <= limit * end


def _is_binary_cross_entropy(
    loss: Curve, curves: Curves, baselines: Baselines | None, binary: BinaryLoss | None
) -> bool:
    """Whether a series is a mean binary cross-entropy: by its name, the program, or since it began at ln 2."""
    if "bce" in loss.name or binary is not None or baselines is not None:
        return binary is None or not binary.weighted
    train = curves.get("train/bce", "train/loss/bce", "train/loss")
    firsts = [loss.values[0], *([train.values[0]] if train is not None else [])]
    return any(0.85 * math.log(2) <= v <= 1.15 * math.log(2) for v in firsts)


def _baselines(run: Run) -> Baselines | None:
    try:
        found: Baselines = run.get(Baselines)
    except NotApplicable:
        return None
    return found


def _binary(run: Run) -> BinaryLoss | None:
    try:
        found: BinaryLoss = run.get(BinaryLoss)
    except NotApplicable:
        return None
    return found
