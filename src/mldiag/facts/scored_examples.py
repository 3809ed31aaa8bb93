"""Which columns of a table of examples are scores, losses, true classes and decisions, and how they go together."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from msgspec import Struct

from mldiag.artifacts import Source
from mldiag.errors import NotApplicable
from mldiag.facts import fact
from mldiag.patterns import lazily
from mldiag.scores import Scores, ScoreTable
from mldiag.vocabulary import normalized

if TYPE_CHECKING:
    from mldiag.stats.ranking import Gain, Match, Sweep

AGREEMENT = 0.995
"""Share of the rows that a threshold must explain for the decisions to be its: scores are rounded when they are
written, so that some next to it fall on the other side."""
MOST_DISTINCT = 2
"""Values of a column that can be a decision or a true class."""

_SCORE = frozenset({"score", "scores", "prob", "probs", "proba", "probas", "probability", "probabilities", "logit",
                    "logits", "p1", "yscore", "yprob", "wahrscheinlichkeit", "probabilidade", "probabilidad",
                    "probabilite", "pontuacao", "escore", "puntuacion"})  # fmt: skip
_SCORE_TOO = frozenset({
    "y", "p", "pos", "positive", "1", "pred", "preds", "predicted", "prediction", "predictions", "anomaly", "anomalous",
    "abnormal", "outlier", "fraud", "risk", "attack", "raw", "test", "val", "valid", "validation", "eval", "hat",
    "output", "final", "mean", "avg", "class", "model", "sigmoid", "oof", "decision", "detection",
    "calibrated", "cal", "isotonic", "platt", "ensemble", "blend", "tta",
})  # fmt: skip
_LOSS = frozenset(
    {
        "loss",
        "losses",
        "nll",
        "ppl",
        "perplexity",
        "surprisal",
        "bce",
        "ce",
        "error",
        "errors",
        "perda",
        "verlust",
        "perdida",
        "perte",
    }
)
_LOSS_TOO = frozenset({
    "reconstruction", "recon", "max", "mean", "avg", "total", "per", "example", "sample", "session", "sequence", "log",
    "token", "value", "values", "test", "val", "valid", "validation", "eval", "sum", "anomaly", "cross", "entropy",
    "mse", "mae", "normalized", "item", "instance", "row", "doc", "document", "line", "lm", "window", "block", "scores",
    "score", "all", "case", "anomalies", "y",
})  # fmt: skip
_TRUTH = lazily(
    r"(y|y_true|y_test|true|truth|labels?|targets?|class|gold|ground_truth|gt|actual|expected|outcome|is_\w+|anomaly|"
    r"anomalous|fraud|(true|gold|gt|actual|real|test)_(label|class|y)|(label|class|y)_(true|gold|value|id|name|actual)|"
    r"rotulo|etiqueta|alvo|etikett|wahr|zielwert|verdadeiro|real|classe_real|etiquette|clase)"
)
_DECIDED = lazily(
    r"(y_)?preds?|predictions?|predicted|y_hat|yhat|decision|detected|is_detected|flagged|is_flagged|alert|"
    r"(pred|predicted|prediction)_(label|class|anomaly|y)|(label|class|is_anomaly|anomaly)_(pred|predicted)|previsto|previsao|"
    r"predito|predicho|prediccion|vorhersage|vorhergesagt|prevision"
)
_ANOMALY = lazily(r".*(anomal|abnormal|outlier|novelty|intrusion|attack|fraud|anormal|(?<![a-z])ood(?![a-z])).*")
_FOLDS = frozenset({"fold", "fold_id", "kfold", "cv_fold", "fold_idx"})
_POSITIVE = frozenset({
    "anomaly", "anomalous", "abnormal", "positive", "pos", "yes", "true", "fraud", "attack", "malicious", "spam", "1",
    "malignant", "toxic", "outlier", "fail", "failure", "anomalia", "anomalo", "anormal", "positivo", "sim", "abuse",
})  # fmt: skip
_NEGATIVE = frozenset({
    "normal", "negative", "neg", "no", "false", "benign", "legit", "legitimate", "ham", "inlier", "ok", "clean", "0",
    "nontoxic", "non_toxic", "not_toxic", "success", "pass", "negativo", "nao", "genuine",
})  # fmt: skip


class Column(Struct, frozen=True):
    """A column of losses or scores.

    Attributes:
        table: the table. `name`: of the column in the file. `values`: of each row, NaN where it has none.
        is_loss: a loss, which is the higher the worse the example fits; else a score.
    """

    table: ScoreTable
    name: str
    values: array[float]
    is_loss: bool

    @property
    def source(self) -> Source:
        return Source(self.table.source.path, key=self.name)


class Scored(Struct, frozen=True, dict=True):
    """Examples with a number that decides between two classes.

    Attributes:
        column: the scores; a higher one speaks for the positive class.
        labels: 1 positive, 0 negative, -1 unknown; None where the table has no true classes.
        decided: what the program decided, likewise; None where the table does not say.
        label_name, decided_name: those columns.
        anomalies: the positive class is what is rare and wrong: a loss can then be the score.
    """

    column: Column
    labels: array[int] | None = None
    decided: array[int] | None = None
    label_name: str | None = None
    decided_name: str | None = None
    anomalies: bool = False

    @property
    def table(self) -> ScoreTable:
        return self.column.table

    @property
    def split(self) -> str | None:
        return self.column.table.split

    @property
    def source(self) -> Source:
        return self.column.source

    @cached_property
    def finite(self) -> array[float]:
        """The scores that are numbers."""
        from mldiag.stats import finite

        return array("d", finite(self.column.values))

    @cached_property
    def pairs(self) -> tuple[array[float], array[int]]:
        """Scores that are numbers and have a true class, with these."""
        return _both(self.column.values, self.labels) if self.labels is not None else (array("d"), array("b"))

    @cached_property
    def sweep(self) -> Sweep:
        """Every threshold on these examples."""
        from mldiag.stats.ranking import sweep

        return sweep(*self.pairs)

    @property
    def has_both(self) -> bool:
        """Both classes are among the true ones."""
        return self.labels is not None and 1 in self.labels and 0 in self.labels

    @cached_property
    def cut(self) -> tuple[float, float] | None:
        """`(low, high]` in which the threshold lies that made the decisions; None where no threshold explains them.

        Without a positive decision `high` is infinite, without a negative one `low` is minus infinity.
        """
        if self.decided is None:
            return None
        from mldiag.stats.ranking import sweep

        scores, decided = _both(self.column.values, self.decided)
        if not scores:
            return None
        every = sweep(scores, decided)
        if not every.positives:
            return every.scores[0], math.inf
        if not every.negatives:
            return -math.inf, every.scores[-1]
        found = every.best_youden()
        wrong = found.counts.fp + found.counts.positives - found.counts.tp
        return (found.below, found.value) if wrong <= (1 - AGREEMENT) * len(scores) else None

    @cached_property
    def decides_downwards(self) -> bool:
        """The decisions are positive for lower scores: a sweep of the scores with their sign turned explains them."""
        if self.decided is None or self.cut is not None:
            return False
        turned = Column(self.table, self.column.name, array("d", (-v for v in self.column.values)), False)
        return Scored(turned, decided=self.decided).cut is not None

    @cached_property
    def auc_by_fold(self) -> float:
        """Area under the ROC curve within folds, averaged over their pairs; over all where there are no folds.

        Scores of different models have different levels, and those of a fold are lower where it has more positives than
        the rest: joined, useless ones rank below chance (Parker, Günter and Bedo 2007, BMC Bioinformatics 8, 326).
        """
        name = next((n for n in self.table.columns if normalized(n) in _FOLDS), None)
        if name is None or self.labels is None:
            return self.sweep.auc
        from mldiag.stats.ranking import sweep

        by_fold: dict[float, tuple[list[float], list[int]]] = {}
        for fold, score, label in zip(self.table.columns[name], self.column.values, self.labels, strict=True):
            if label >= 0 and math.isfinite(score):
                scores, labels = by_fold.setdefault(fold, ([], []))
                scores.append(score)
                labels.append(label)
        found = [f for f in (sweep(*rows) for rows in by_fold.values()) if f.positives and f.negatives]
        pairs = sum(f.positives * f.negatives for f in found)
        return sum(f.auc * f.positives * f.negatives for f in found) / pairs if pairs else self.sweep.auc

    def gain_over(self, threshold: float) -> Gain:
        """F1 that a threshold of these examples' own would win, on examples that it was not chosen on."""
        from mldiag.stats.ranking import cross_fitted_gain

        return cross_fitted_gain(*self.pairs, threshold)

    def best_match(self, threshold: float) -> Match | None:
        """Whether a threshold is the best of these examples to its last digit."""
        from mldiag.stats import written_unit
        from mldiag.stats.ranking import best_match

        return best_match(self.sweep, threshold, written_unit(self.finite))

    @property
    def is_probability(self) -> bool:
        """All scores lie between 0 and 1."""
        return not self.column.is_loss and 0 <= min(self.finite, default=0) <= max(self.finite, default=1) <= 1


def _both(scores: array[float], classes: array[int]) -> tuple[array[float], array[int]]:
    """The rows that have a score and a class."""
    from mldiag.stats import LONG

    if len(scores) >= LONG:
        import numpy as np

        wide, codes = np.frombuffer(scores), np.frombuffer(classes, dtype=np.int8)
        kept = np.isfinite(wide) & (codes >= 0)
        return array("d", wide[kept].tobytes()), array("b", codes[kept].tobytes())
    rows = [(s, c) for s, c in zip(scores, classes, strict=True) if c >= 0 and math.isfinite(s)]
    return array("d", (s for s, _ in rows)), array("b", (c for _, c in rows))


class ScoredExamples(Struct, frozen=True):
    """The tables of a run whose rows have scores or losses.

    Attributes:
        items: by table, the columns that decide between two classes, the likeliest first.
        columns: all columns of losses and scores, also of tables without classes.
    """

    items: tuple[Scored, ...]
    columns: tuple[Column, ...]


@fact
def scored_examples(scores: Scores) -> ScoredExamples:
    """Told by the names of the columns and by what they hold.

    A true class has two values, 0 and 1 or two names of which one is known as the positive (`anomaly`) or the negative
    one (`normal`). Confidences, margins, similarities and the probability of the negative class are no scores: which
    way they point is not said. Training examples are left out: nothing is decided on them.
    """
    items: list[Scored] = []
    columns: list[Column] = []
    for table in scores.items:
        hints = " ".join((table.source.path.lower(), *map(normalized, (*table.columns, *table.texts))))
        names = " ".join(n for c in table.classes.values() for n in c.names[:MOST_DISTINCT]).lower()
        anomalies = _ANOMALY.match(hints) is not None or _ANOMALY.match(names) is not None
        truth, labels = _two_classes(table, _TRUTH, anomalies)
        decision, decided = _two_classes(table, _DECIDED, anomalies)
        if decided is None and anomalies:
            decision, decided = _outliers(table)
        known = _words(truth) if truth is not None else frozenset()
        found = sorted(_columns(table, known), key=lambda c: c.is_loss)
        columns += found
        if table.split != "train":
            items += (Scored(c, labels, decided, truth, decision, anomalies) for c in found)
    if not columns:
        raise NotApplicable("no table of examples has a column of losses or scores")
    return ScoredExamples(tuple(items), tuple(columns))


def _words(name: str) -> frozenset[str]:
    return frozenset(normalized(name).replace(".", "_").split("_")) - {"is", ""}


def _columns(table: ScoreTable, known: frozenset[str]) -> Iterator[Column]:
    """The columns of losses and scores; `known` are the words that the true class is called by."""
    for name, values in table.columns.items():
        words = _words(name)
        if words == {"value"} and len(table.columns) == 1:
            words = _words(table.source.path.rsplit("/", 1)[-1].rsplit(".", 1)[0])
        decisions = _DECIDED.fullmatch(normalized(name)) is not None
        if words & _LOSS and words <= _LOSS | _LOSS_TOO:
            yield Column(table, name, values, True)
        elif (words & _SCORE and words <= _SCORE | _SCORE_TOO | known) or decisions:
            if decisions and not _is_continuous(values):
                continue
            yield Column(table, name, values, False)


def _is_continuous(values: array[float]) -> bool:
    """Whether a column of predictions holds scores, and not classes."""
    return any(math.isfinite(v) and not v.is_integer() for v in values)


def _two_classes(
    table: ScoreTable, named: re.Pattern[str], anomalies: bool
) -> tuple[str, array[int]] | tuple[None, None]:
    """The first column of such a name that holds two classes: its name, and 1, 0 or -1 of each row.

    Of -1 and 1, 1 is the positive class, but among anomalies: scikit-learn calls an outlier -1, others 1.
    """
    for name in (*table.columns, *table.classes):
        if not named.fullmatch(normalized(name)):
            continue
        if name in table.columns:
            values = table.columns[name]
            distinct = {v for v in set(values) if v == v}
            if distinct and (distinct <= {0.0, 1.0} or (distinct == {-1.0, 1.0} and not anomalies)):
                return name, array("b", [-1 if v != v else 1 if v > 0 else 0 for v in values])
        else:
            classes = table.classes[name]
            codes = _codes(classes.names)
            if codes is not None:
                return name, array("b", [codes[c] if c >= 0 else -1 for c in classes.codes])
    return None, None


def _outliers(table: ScoreTable) -> tuple[str, array[int]] | tuple[None, None]:
    """Decisions of -1 and 1 among anomalies: the rarer one is what is looked for, whoever wrote them."""
    for name, values in table.columns.items():
        if _DECIDED.fullmatch(normalized(name)) and {v for v in set(values) if v == v} == {-1.0, 1.0}:
            rare = -1.0 if values.count(-1.0) <= values.count(1.0) else 1.0
            return name, array("b", [-1 if v != v else int(v == rare) for v in values])
    return None, None


def _codes(names: tuple[str, ...]) -> tuple[int, ...] | None:
    """0 or 1 for each of two names; None where it is not known which of them is positive."""
    plain = [normalized(n) for n in names]
    if not 0 < len(plain) <= MOST_DISTINCT:
        return None
    known = [1 if p in _POSITIVE else 0 if p in _NEGATIVE else None for p in plain]
    if len(known) == 1:
        return None if known[0] is None else (known[0],)
    first, second = known
    if first == second:
        return None
    if first is None:
        first = 1 - (second or 0)
    return first, 1 - first
