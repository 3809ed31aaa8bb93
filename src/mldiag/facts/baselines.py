"""What predictors score that never look at their input: where labels are positive or not, and mostly not."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from mldiag.artifacts import Metrics, Settings, SettingValue, Source, as_count, as_number
from mldiag.errors import NotApplicable
from mldiag.facts import fact
from mldiag.patterns import lazily
from mldiag.scores import Scores
from mldiag.stats import extremes, finite, median

_RATE = lazily(
    r"(?:label_|class_|train_)?(?:pos|positives?|anomaly|fraud|click|churn|minority)_(?:rate|share|frac|"
    r"fraction|prevalence|prior)|prevalence|label_density|class_prior|pi_positive",
    words=("pos", "anomaly", "fraud", "click", "churn", "minority", "prevalence", "density", "prior"),
)
_PER_EXAMPLE = lazily(
    r"(?:avg|average|mean)_(?:n_|num_)?(?:labels?|positives?|pos|tags|targets)(?:_per_\w+)?"
    r"|(?:labels?|positives?|pos|tags|targets)_per_(?:example|sample|row|user|item|instance|document|doc|image)"
    r"|(?:labels?|positives?)_(?:mean|avg)|label_cardinality",
    words=("label", "pos", "tags", "targets"),
)
_CLASSES = lazily(
    r"(?:num|n|nb|number_of)_(?:classes|labels|items|outputs|targets|tags|products)|num_?classes|output_dim|n_class",
    words=("class", "label", "item", "output", "target", "tag", "product"),
)
_POSITIVES = lazily(
    r"(?:num_|n_)?(?:positives|pos|pos_samples|pos_examples|positive_samples|positive_examples)", words=("pos",)
)
_NEGATIVES = lazily(
    r"(?:num_|n_)?(?:negatives|neg|neg_samples|neg_examples|negative_samples|negative_examples)", words=("neg",)
)
_LABEL = lazily(r"(?:y_true|y|label|labels|target|targets|true|truth|is_\w+)(?:[_.]\w+)?")

MIN_POSITIVES = 20
"""Stated positives from which on they count those of a data set."""

MAX_MOVE = 1.5
"""Highest / lowest value of a logged rate of positives that can be the labels': that of the answers moves."""

MIN_ROWS = 100
"""Rows of a table of examples from which on its share of positives is worth stating."""


class Baselines(Struct, frozen=True):
    """The constant predictors over labels of which a small share is positive.

    Attributes:
        rate: share of positives among all labels (positives per example / classes), above 0 and below 1.
        classes: labels that each example has, where they are known; 1 for a binary task.
        positives: mean number of positives per example, where it is known.
        popularity: mean binary cross-entropy, in nats, of the predictor that gives each class its own rate, where those
            are known.
        source: where the rate was read or its positives were; `name`: what is stated there.
        classes_source: where the number of classes was read.
    """

    rate: float
    source: Source
    name: str
    classes: int | None = None
    positives: float | None = None
    popularity: float | None = None
    classes_source: Source | None = None

    @property
    def loss(self) -> float:
        """Mean binary cross-entropy, in nats, of the constant prediction of `rate`: H(rate).

        No constant has less (Cover and Thomas 2006, ch. 2). Predicting 0 has an infinite one.
        """
        return binary_entropy(self.rate)

    @property
    def pos_weight(self) -> float:
        """Negatives / positives: what PyTorch's `pos_weight` takes to make both sides count the same."""
        return (1 - self.rate) / self.rate

    @property
    def said(self) -> str:
        """`5.77 of 6,924 labels`, for messages."""
        if self.positives is not None and self.classes is not None and self.classes > 1:
            return f"{self.positives:,.4g} of {self.classes:,} labels"
        return f"{100 * self.rate:.3g} % of the labels"


def binary_entropy(rate: float) -> float:
    """-p ln p - (1 - p) ln(1 - p), in nats; 0 at 0 and 1."""
    return 0.0 if rate in (0.0, 1.0) else -rate * math.log(rate) - (1 - rate) * math.log1p(-rate)


def rate_of_entropy(entropy: float) -> float:
    """The rate up to 1/2 whose binary entropy is this, for 0 to ln 2, by bisection."""
    low, high = 0.0, 0.5
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if binary_entropy(middle) < entropy else (low, middle)
    return high


@fact
def baselines(settings: Settings | None, metrics: Metrics | None, scores: Scores | None) -> Baselines:
    """From positives per example and the number of classes, a stated rate or counts, else the labels in tables.

    A rate is only taken where it is the labels': sampling fractions of detectors are none. Where two places state
    different rates, nothing is proven.
    """
    found = settings or Settings()
    for candidates in (_per_example(found), _stated(found), _counted(found), _logged(metrics), _labelled(scores)):
        known = [b for b in candidates if 0 < b.rate < 1]
        if not known:
            continue
        if max(b.rate for b in known) > 1.1 * min(b.rate for b in known):
            first, other = known[0], next(b for b in known if not 0.9 < b.rate / known[0].rate < 1.1)
            raise NotApplicable(
                f"the share of positives is not one number: {first.rate:.3g} by {first.name} at {first.source} and "
                f"{other.rate:.3g} by {other.name} at {other.source}"
            )
        return known[0]
    raise NotApplicable("nothing states the share of positive labels")


def _matching(settings: Settings, pattern: object) -> Iterator[tuple[SettingValue, float]]:
    for name in settings.by_name:
        value = settings.effective(name)
        number = as_number(value.value) if value is not None else None
        if value is None or number is None or number <= 0:
            continue
        if pattern.fullmatch(value.key) or pattern.fullmatch(name):  # type: ignore[attr-defined]
            yield value, number


def _per_example(settings: Settings) -> Iterator[Baselines]:
    classes = [(v, n) for v, n in _matching(settings, _CLASSES) if (as_count(v.value) or 0) >= 2]
    if len({n for _, n in classes}) != 1:
        return
    stated, count = classes[0]
    for value, number in _matching(settings, _PER_EXAMPLE):
        if number < count:
            yield Baselines(
                number / count, value.source, value.key, int(count), number, classes_source=stated.source
            )  # fmt: skip


def _stated(settings: Settings) -> Iterator[Baselines]:
    for value, number in _matching(settings, _RATE):
        if number < 1:
            yield Baselines(number, value.source, value.key)


def _counted(settings: Settings) -> Iterator[Baselines]:
    positives, negatives = (list(_matching(settings, p)) for p in (_POSITIVES, _NEGATIVES))
    for value, number in positives:
        # One positive beside sampled negatives is of a contrastive loss, not of the data.
        for _, other in negatives if number >= MIN_POSITIVES else ():
            yield Baselines(number / (number + other), value.source, value.key)


def _logged(metrics: Metrics | None) -> Iterator[Baselines]:
    for series in metrics or ():
        split, _, rest = series.name.partition("/")
        values = finite(series.data)
        if split not in ("train", "val", "test") or not values or not _RATE.fullmatch(rest):
            continue
        low, high = extremes(values)
        if low > 0 and high <= MAX_MOVE * low:
            yield Baselines(median(values), series.source, series.raw_name)


def _labelled(scores: Scores | None) -> Iterator[Baselines]:
    """From columns of 0 and 1 that hold the truth: one for a binary task, several for one label each."""
    for table in scores or ():
        columns = {n: c for n, c in table.columns.items() if _LABEL.fullmatch(n.lower()) and _is_binary(c)}
        if table.rows < MIN_ROWS or not columns:
            continue
        rates = [math.fsum(c) / len(c) for c in columns.values()]
        rate = math.fsum(rates) / len(rates)
        popularity = math.fsum(map(binary_entropy, rates)) / len(rates)
        name = _said(columns)
        yield Baselines(rate, Source(table.source.path, key=name), name, len(rates), rate * len(rates), popularity)


def _is_binary(column: array[float]) -> bool:
    return set(column) == {0.0, 1.0}


def _said(columns: Mapping[str, Sequence[float]]) -> str:
    names = list(columns)
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
