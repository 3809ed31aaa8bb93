"""What the total loss is made of: which logged series add up to it, and how much of it each one is."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from msgspec import Struct
from msgspec.structs import replace

from mldiag.artifacts import Settings, SettingValue, as_number
from mldiag.errors import NotApplicable
from mldiag.facts import fact
from mldiag.facts.curves import Curve, Curves, is_bounded_score
from mldiag.facts.loss_pair import HELD_OUT, side_by_side
from mldiag.patterns import lazily
from mldiag.stats import extremes, head_level, mean, median, tail_level
from mldiag.stats.sums import nonnegative_weights, rounding, unexplained, weight_errors

SPLITS = ("train", "val", "test")

ROWS = 256
"""Rows, evenly spread, that the weights are fitted on and held against."""

MAX_OTHERS = 12
"""Most series without a loss in their name that are tried as parts."""

MIN_COMMON = 0.9
"""Share of the total's steps at which a term has to be logged."""

MAX_FITTED = 16
"""Most series that weights are fitted for. Losses of more terms (one for each decoder layer) are logged weighted."""

MAX_DOUBT = 0.002
"""Largest standard error of a fitted term, as a share of the total: smooth curves that are no terms imitate a total,
but only with weights that could as well be others."""

MAX_SAME = 1.5
"""Ratio of a held-out loss and a term of the train loss up to which both are one quantity: in 180 measured pairs of one
objective the median ratio is below that until they overfit."""

EXPLAINED = 0.95
"""Share of the rows that the weighted sum has to give to their printed digits. The rest may be rows that a logger took
from two steps; all 20 sums found in 380 labelled runs are at 1, the medians over windows that detectron2 logs at 0."""

MIN_DIGITS = 6.0
"""Decimal digits by which the total has to agree with the sum beyond what the fitted weights are worth: one series in a
million does so by chance."""

REGULARISERS = lazily(
    r"(?:^|[/_])(?:kld?|kl_?div\w*|wd|weight_?decay|decay|l1|l2|l2_?reg|reg|regs|regul\w*|penalty|z|zloss|z_loss|aux|"
    r"auxiliary|balanc\w*|lb|load_?balanc\w*|router|routing|moe|gate|gating|commit\w*|commitment|codebook|vq|quantized|"
    r"entropy|sparsity|sparse|smooth\w*|tv|total_variation|ortho\w*|prior|consistency|spectral|distill\w*|divers\w*|"
    r"gp|gradient_penalty|contractive|jacobian|dropout|latent)(?:$|[/_])"
)
"""Terms that hold the weights, the code or the routing back, by name: their share is small where all is well."""

_LOSS_WORDS = lazily(
    r"(?:^|[/_])(?:loss\w*|\w+loss|nll|ce|bce|xent|cross_?entropy|mse|mae|rmse|l1|l2|kld?|elbo|hinge|huber|"
    r"dice_loss|ctc|objective|criterion|penalty|perda\w*|perte|verlust)(?:$|[/_])"
)
_NO_PART = lazily(
    r"(?:^|[/_])(?:lr|learning_rate|time|seconds?|runtime|duration_s|memory|mem|norm|gnorm|grad\w*|steps?|epochs?|"
    r"iter\w*|tokens?|samples?|num|count|flos|tflops|mfu|fps|speed|throughput|ppl|perplexity|error|err|acc\w*|scale|ratio|rate|"
    r"best|min|max|momentum|temperature|bits|bpc|bpb|score)(?:$|[/_])|loss_scale"
)
_WEIGHT_WORDS = frozenset({
    "weight", "w", "wt", "weights", "coef", "coeff", "coefficient", "lambda", "lam", "lmbda", "alpha", "beta", "gamma",
    "factor", "scale", "ratio", "loss", "the", "of", "task", "peso",
})  # fmt: skip
_WEIGHT_MARKS = _WEIGHT_WORDS - {"loss", "the", "of", "task"}
_Common = tuple[Sequence[int], Sequence[int]]
_WORD = lazily(r"[a-z]+|\d+")


class LossPart(Struct, frozen=True):
    """One term of a total loss.

    Attributes:
        curve: its series.
        weight: what it is multiplied with in the total, as logged (1 where the log has weighted it already).
        levels: weight × value at each looked-at row, where the total is `LossParts.totals`.
        share: median over the rows of |term| / sum of all |terms|; 0 to 1.
        first_share, last_share: the same over the first and the last tenth.
        movement: share of the total's variance that this term makes, cov(term, total) / var(total); about 0 to 1.
        setting: the setting of its weight, where one is named after it.
    """

    curve: Curve
    weight: float
    levels: Sequence[float]
    share: float
    first_share: float
    last_share: float
    movement: float
    setting: SettingValue | None = None

    @property
    def name(self) -> str:
        """The part's own name: `bce` of `train/loss/bce`."""
        return short_name(self.curve.name)

    @property
    def regularises(self) -> bool:
        """Whether it is, by its name, a term that is meant to be small (KL, weight decay, load balancing)."""
        return REGULARISERS.search(self.curve.name.partition("/")[2].removeprefix("loss/")) is not None

    @property
    def level(self) -> float:
        """Its level at the end, weighted."""
        return tail_level(self.levels)

    @property
    def fall(self) -> float:
        """How far it came down, as a share of its first level; 0 where it did not."""
        first = head_level(self.levels)
        return max(0.0, (first - self.level) / first) if first > 0 else 0.0


class LossParts(Struct, frozen=True):
    """The terms that add up to a total, largest share first; at least two.

    Attributes:
        split: where they are logged (`train`).
        total: the series of the total; `totals`: its values at the looked-at rows.
        mean: the total is the mean of the parts (all weights 1 / count), not their sum.
        explained: share of the rows in which the sum gives the total to its printed digits.
        held_out: the held-out loss that follows one term instead of the total, or None; `equals` is that term.
    """

    split: str
    total: Curve
    totals: Sequence[float]
    parts: tuple[LossPart, ...]
    mean: bool
    explained: float
    held_out: Curve | None = None
    equals: LossPart | None = None

    @property
    def largest(self) -> LossPart:
        return self.parts[0]

    @property
    def rest(self) -> tuple[LossPart, ...]:
        return self.parts[1:]

    @property
    def formula(self) -> str:
        """`1 × ce + 1 × bce`, for messages."""
        if self.mean:
            return f"the mean of {', '.join(p.name for p in self.parts)}"
        return " + ".join(p.name if p.weight == 1 else f"{p.weight:.4g} × {p.name}" for p in self.parts)


def short_name(name: str) -> str:
    """A series' name without its split and without `loss/`."""
    return name.partition("/")[2].removeprefix("loss/") or name


@fact
def loss_parts(curves: Curves, settings: Settings | None) -> LossParts:
    """The terms of `train/loss`, else of the loss of another split.

    Tried in this order: the plain sum, the mean, the weights that settings name, and weights of at least 0 by least
    squares, which are taken where they are round or well determined; first over series with a loss in their name, then
    over all that could be one. Scores, rates, counters and times are no terms. A term that the total's printed digits
    do not show is left out, unless the mean proves that it counts.
    """
    if curves.adversarial:
        raise NotApplicable(f"{curves.adversarial} is of adversarial training, whose losses are no parts of one")
    if curves.reinforcement:
        raise NotApplicable(f"{curves.reinforcement} is of reinforcement learning, whose losses follow the returns")
    reason = "no total loss with other losses beside it"
    for split in SPLITS:
        total = curves.get(f"{split}/loss")
        if total is None:
            continue
        pairs = [(c, total.common(c)) for c in _candidates(curves, total, split)]
        pairs = [(c, both) for c, both in pairs if len(both[0]) >= max(2, MIN_COMMON * len(total))]
        candidates = [c for c, _ in pairs]
        if len(candidates) < 2:
            continue
        found = _found(split, total, candidates, [both for _, both in pairs], settings or Settings())
        if found is not None:
            return _with_held_out(found, curves)
        some = ", ".join(short_name(c.name) for c in candidates[:4])
        reason = f"no weighted sum of {some} gives {total.name} to its digits"
    raise NotApplicable(reason)


def _candidates(curves: Curves, total: Curve, split: str) -> Iterator[Curve]:
    """Series of the split that can be terms; those with a loss in their name first."""
    others: list[Curve] = []
    for name in curves:
        rest = name.partition("/")[2]
        if not name.startswith(f"{split}/") or name == total.name or is_bounded_score(name):
            continue
        named = _LOSS_WORDS.search(rest) is not None
        if not named and (_NO_PART.search(rest) or len(others) >= MAX_OTHERS):
            continue
        if rest.startswith("loss_scale"):
            continue
        curve = curves.get(name)
        if curve is None or len(curve) < MIN_COMMON * len(total):
            continue
        if named:
            yield curve
        elif extremes(curve.values)[0] >= 0 and not _counts(curve.values):
            others.append(curve)
    yield from others


def _counts(values: Sequence[float]) -> bool:
    """Whether values only ever rise, or never move: a counter, a clock or a setting."""
    return all(b >= a for a, b in pairwise(values))


def _found(
    split: str, total: Curve, candidates: Sequence[Curve], pairs: Sequence[_Common], settings: Settings
) -> LossParts | None:
    rows = _rows(total, candidates, pairs)
    if rows is None:
        return None
    totals, columns = rows
    named = [i for i, c in enumerate(candidates) if _LOSS_WORDS.search(c.name.partition("/")[2])]
    sets = [s for s in (named, list(range(len(candidates)))) if len(s) >= 2]
    for chosen in sets if len(sets) == 2 and len(sets[0]) < len(sets[1]) else sets[:1]:
        fitted = _weights([candidates[i] for i in chosen], totals, [columns[i] for i in chosen], settings)
        if fitted is None:
            continue
        weights, is_mean, explained = fitted
        kept = [(candidates[i], columns[i], w) for i, w in zip(chosen, weights, strict=True) if w > 0]
        if len(kept) >= 2:
            return LossParts(split, total, totals, _parts(totals, kept, settings), is_mean, explained)
    return None


def _with_held_out(found: LossParts, curves: Curves) -> LossParts:
    """With the term that the held-out loss follows, where that is far from the total."""
    held_out = curves.get(*(f"{split}/loss" for split in HELD_OUT))
    if found.split != "train" or held_out is None:
        return found
    distance = _distance(found.total, held_out, 1.0)
    near = [(_distance(p.curve, held_out, w), p) for p in found.parts for w in {1.0, p.weight}]
    least, part = min(near, key=lambda n: n[0])
    if least > math.log(MAX_SAME) or distance < 2 * math.log(MAX_SAME) + least:
        return found
    return replace(found, held_out=held_out, equals=part)


def _distance(train: Curve, held_out: Curve, weight: float) -> float:
    """Median |ln(held-out / weighted train level)| over the evaluations; infinite where it cannot be told."""
    both = side_by_side(train, held_out)
    if both is None or min(both[1][0]) <= 0 or min(both[1][1]) <= 0:
        return math.inf
    return median([abs(math.log(b / (weight * a))) for a, b in zip(*both[1], strict=True)])


def _rows(
    total: Curve, candidates: Sequence[Curve], pairs: Sequence[_Common]
) -> tuple[list[float], list[list[float]]] | None:
    """The values of the total and of each candidate at the steps that all have, at most `ROWS` of them."""
    whole = range(len(total))
    if all(mine == whole == other for mine, other in pairs):
        picked = _spread(whole)
        return [total.values[i] for i in picked], [[c.values[i] for i in picked] for c in candidates]
    at: dict[int, list[int]] = {}
    for both in pairs:
        for mine, other in zip(*both, strict=True):
            at.setdefault(mine, []).append(other)
    common = _spread(sorted(i for i, others in at.items() if len(others) == len(candidates)))
    if len(common) < 2:
        return None
    columns = [[c.values[at[i][j]] for i in common] for j, c in enumerate(candidates)]
    return [total.values[i] for i in common], columns


def _spread(rows: Sequence[int]) -> Sequence[int]:
    """At most `ROWS` of the rows, evenly."""
    return rows if len(rows) <= ROWS else [rows[round(k * (len(rows) - 1) / (ROWS - 1))] for k in range(ROWS)]


def _weights(
    curves: Sequence[Curve], totals: Sequence[float], columns: Sequence[Sequence[float]], settings: Settings
) -> tuple[list[float], bool, float] | None:
    """The weights that explain the total, whether they are those of a mean, and the share of rows they explain."""
    count = len(columns)
    errors = [rounding(totals), *(rounding(c) for c in columns)]
    named = [_stated_weight(c, settings) for c in curves]
    stated = [(as_number(s.value) or 0.0) if s is not None else 1.0 for s in named]
    for weights in ([1.0] * count, [1 / count] * count, stated):
        explained = _share_explained(totals, columns, weights, errors)
        if explained < EXPLAINED or _digits_of_agreement(totals, columns, weights, errors, 0) < MIN_DIGITS:
            continue
        if count > 1 and weights[0] == 1 / count:
            return weights, True, explained
        return _visible(totals, columns, weights, errors), False, explained
    fitted = _fitted(totals, columns, errors) if count <= MAX_FITTED else None
    return None if fitted is None else (fitted[0], False, fitted[1])


def _share_explained(
    totals: Sequence[float], columns: Sequence[Sequence[float]], weights: Sequence[float], errors: list[list[float]]
) -> float:
    rest = unexplained(totals, columns, weights, errors)
    return sum(r <= 1.01 for r in rest) / len(rest)


def _digits_of_agreement(
    totals: Sequence[float],
    columns: Sequence[Sequence[float]],
    weights: Sequence[float],
    errors: list[list[float]],
    free: int,
) -> float:
    """Decimal digits that agree, beyond those that `free` fitted weights can always bring about."""
    allowed = [
        e + sum(w * c[i] for w, c in zip(weights, errors[1:], strict=True)) + 5e-7 * abs(totals[i])
        for i, e in enumerate(errors[0])
    ]
    unit = 2 * median(allowed) or 1e-300
    low, high = extremes(totals)
    moves = sum(abs(b - a) > unit for a, b in pairwise(totals))
    width = high - low if moves else max(abs(low), abs(high))
    return (moves + 1 - free) * math.log10(max(1.0, width / unit))


def _visible(
    totals: Sequence[float], columns: Sequence[Sequence[float]], weights: list[float], errors: list[list[float]]
) -> list[float]:
    """The weights, with 0 for terms without which the total is explained just as well."""
    kept = list(weights)
    for j in sorted(range(len(columns)), key=lambda k: mean([abs(v) for v in columns[k]])):
        without = [0.0 if k == j else w for k, w in enumerate(kept)]
        if sum(w > 0 for w in without) and _share_explained(totals, columns, without, errors) >= EXPLAINED:
            kept = without
    return kept


def _fitted(
    totals: Sequence[float], columns: Sequence[Sequence[float]], errors: list[list[float]]
) -> tuple[list[float], float] | None:
    """Weights by least squares where they are round numbers, or determined to a percent."""
    own = [e + 5e-7 * abs(t) + 1e-300 for e, t in zip(errors[0], totals, strict=True)]
    different = [j for j in range(len(columns)) if not any(_proportional(columns[k], columns[j]) for k in range(j))]
    raw = [0.0] * len(columns)
    for _ in range(2):  # once more with what the rounding of the terms adds
        some = nonnegative_weights(totals, [columns[j] for j in different], own)
        raw = [0.0] * len(columns)
        for j, w in zip(different, some, strict=True):
            raw[j] = w
        own = [
            e + sum(w * c[i] for w, c in zip(raw, errors[1:], strict=True)) + 5e-7 * abs(totals[i]) + 1e-300
            for i, e in enumerate(errors[0])
        ]
    free = sum(w > 0 for w in raw)
    if free < 2 or len(totals) < free + 3:
        return None
    # Round weights first: they are a person's. Their own digits are evidence, so that they need fewer of the total's.
    for digits, needed in ((1, MIN_DIGITS), (2, MIN_DIGITS), (3, 1.5 * MIN_DIGITS), (17, 2 * MIN_DIGITS)):
        weights = [float(f"{w:.{digits - 1}e}") for w in raw]
        explained = _share_explained(totals, columns, weights, errors)
        if explained < EXPLAINED or _digits_of_agreement(totals, columns, weights, errors, free) < needed:
            continue
        weights = _visible(totals, columns, weights, errors)
        return (weights, explained) if _doubt(totals, [columns[j] for j in different], own) <= MAX_DOUBT else None
    return None


def _doubt(totals: Sequence[float], columns: Sequence[Sequence[float]], own: Sequence[float]) -> float:
    """Largest standard error of a term, as a share of the total; those that got no weight could have had one."""
    whole = mean([abs(t) for t in totals]) or 1.0
    spread = weight_errors(columns, own)
    return max(s * mean([abs(v) for v in c]) / whole for s, c in zip(spread, columns, strict=True))


def _proportional(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether one column is the other times a number, to 1e-4 of it: one quantity in two units."""
    ratios = [y / x for x, y in zip(a, b, strict=True) if x]
    return len(ratios) > 0.9 * len(a) and max(ratios) - min(ratios) <= 1e-4 * abs(median(ratios))


def _parts(
    totals: Sequence[float], kept: Sequence[tuple[Curve, Sequence[float], float]], settings: Settings
) -> tuple[LossPart, ...]:
    terms = [[w * v for v in column] for _, column, w in kept]
    sizes = [math.fsum(abs(t[i]) for t in terms) or 1.0 for i in range(len(totals))]
    tenth = max(1, len(totals) // 10)
    centre = mean(totals)
    moved = math.fsum((t - centre) ** 2 for t in totals)
    parts = []
    for (curve, _, weight), term in zip(kept, terms, strict=True):
        shares = [abs(v) / s for v, s in zip(term, sizes, strict=True)]
        own = mean(term)
        together = math.fsum((v - own) * (t - centre) for v, t in zip(term, totals, strict=True))
        parts.append(
            LossPart(
                curve, weight, term, median(shares), median(shares[:tenth]), median(shares[-tenth:]),
                together / moved if moved else 0.0, _stated_weight(curve, settings),
            )
        )  # fmt: skip
    return tuple(sorted(parts, key=lambda p: -p.share))


def _stated_weight(curve: Curve, settings: Settings) -> SettingValue | None:
    """The setting that is named after a part and a weight: `w_cls`, `cls_loss_coef`, `lambda_kl`."""
    wanted = set(_WORD.findall(short_name(curve.name).lower())) - {"loss", "losses"}
    if not wanted:
        return None
    for name in settings.by_name:
        words = _WORD.findall(re.split(r"[./]", name)[-1].lower())
        if _WEIGHT_MARKS & set(words) and set(words) - _WEIGHT_WORDS == wanted and len(words) <= len(wanted) + 3:
            found = settings.effective(name)
            if found is not None and as_number(found.value) is not None:
                return found
    return None
