"""Series made ready for judgement: one launch, in order, without placeholders, up to the first value that is NaN."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from itertools import pairwise

from msgspec import Struct, field

from mldiag.artifacts import Metrics, Series, Source
from mldiag.errors import NotApplicable
from mldiag.facts import fact
from mldiag.patterns import lazily
from mldiag.stats import LONG, head_level, noise, tail_level

# Preference tuning logs the rewards of chosen and rejected answers beside a loss that does measure progress.
_REWARD = lazily(
    r"(?:^|[/_])(?:rewards?(?!_(?:chosen|rejected|margin|accurac))|returns?|rew|eprewmean|episodereward|epreturn)(?:$|[/_])|/loss/(?:value|policy)$",
    words=("rew", "return", "value", "policy"),
)
_ADVERSARY = lazily(
    r"(?:^|[/_])(?:disc|discriminator|generator|gen_loss|adversarial|adv|gan)(?:$|[/_])|/loss/[gd](?:$|_)",
    words=("disc", "gen", "adv", "gan", "/loss/"),
)

_BOUNDED = lazily(
    r"acc\d?|accuracy|top_?\d|f1|f_?score|f_?beta|auc|auroc|auprc|average_precision|precision|recall|dice|iou|miou|map(_?\d+)?"
    r"|ap(_?\d+)?|r2|exact_match|mcc|kappa|sensitivity|specificity|ndcg|hit_rate|mrr|pck|cosine",
    words=(
        "acc",
        "top",
        "f1",
        "score",
        "beta",
        "auc",
        "auroc",
        "auprc",
        "ap",
        "precision",
        "recall",
        "dice",
        "iou",
        "r2",
        "match",
        "mcc",
        "kappa",
        "sensitivity",
        "specificity",
        "ndcg",
        "hit",
        "mrr",
        "pck",
        "cosine",
    ),
)

MAX_BACKWARD_SHARE = 0.05
"""Share of steps that go back, but not to the start, above which a log is out of order (two writers in one file) rather
than of several launches: in 262 measured logs launches stay below 0.01, interleaved writers are at 0.28 and 0.36."""


class Curve(Struct, frozen=True):
    """The part of a series that can be judged.

    Attributes:
        series: where it comes from.
        indices: positions in the series of the kept points, in the order of the run.
        values: the values there; all finite.
        launch, launches: which launch of the log is judged (1-based) and how many there are.
        broken: position in the series of the first value of this launch that is no number though one was due, or None;
            nothing after it is kept.
    """

    series: Series
    indices: Sequence[int]
    values: Sequence[float]
    launch: int = 1
    launches: int = 1
    broken: int | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def name(self) -> str:
        return self.series.name

    @property
    def source(self) -> Source:
        return self.series.source

    def at(self, index: int) -> Source:
        """The place of a kept point in its file."""
        return self.series.at(self.indices[index])

    def place(self, index: int) -> str:
        """Where a kept point lies, for messages: `step 1,200`, `epoch 3` or `point 7`."""
        return self.series.place(self.indices[index])

    @property
    def begun_late(self) -> bool:
        """The first kept step lies after a quarter of the last: a resumed run, whose beginning is not in the log."""
        steps = self.axis("step") or self.axis("epoch")
        return steps is not None and len(steps) > 4 and steps[0] > 0.25 * steps[-1]

    def axis(self, kind: str) -> Sequence[float] | None:
        """`step` or `epoch` at each kept point; None where the file does not say."""
        data = self.series.step_data if kind == "step" else self.series.epoch_data
        if data is None or (isinstance(self.indices, range) and len(self.indices) == len(data)):
            return data
        return taken(data, self.indices)

    def common(self, other: Curve) -> tuple[Sequence[int], Sequence[int]]:
        """Positions in both, in order, of the points of the same step, without steps of the same epoch.

        Of several points at one step the last counts, unless both axes are the same throughout. Series that share no
        axis are paired point by point where they are as long as each other; otherwise nothing is common.
        """
        for kind in ("step", "epoch"):
            mine, others = self.axis(kind), other.axis(kind)
            if mine is not None and others is not None:
                return _same_places(mine, others)
        every = range(len(self)) if len(self) == len(other) else range(0)
        return every, every


class Curves(Struct, frozen=True):
    """The judged part of every series, prepared when it is asked for."""

    metrics: Metrics
    _ready: dict[str, Curve] = field(default_factory=dict)

    def __iter__(self) -> Iterator[str]:
        return iter(self.metrics.by_name)

    def get(self, *names: str) -> Curve | None:
        """The first of the named series that has a value to judge."""
        for name in names:
            if name in self.metrics and name not in self._ready:
                self._ready[name] = prepared(self.metrics.by_name[name])
            if len(self._ready.get(name, ())):
                return self._ready[name]
        return None

    @property
    def reinforcement(self) -> str:
        """A series that only reinforcement learning logs; empty where there is none. Its losses follow the returns."""
        return next((n for n in self if _REWARD.search(n)), "")

    @property
    def adversarial(self) -> str:
        """A series that only adversarial training logs; empty where there is none. Its losses measure the opponent."""
        return next((n for n in self if _ADVERSARY.search(n)), "")

    def require(self, *names: str) -> Curve:
        """Like `get`; without any of them the rule is skipped."""
        found = self.get(*names)
        if found is None:
            raise NotApplicable(f"no series {' or '.join(names)} with a finite value")
        return found

    def rising_score(self, since: float = 0.0, least: float = 0.02) -> Curve | None:
        """A held-out or train score that ended higher than it was at a share of the run, beyond its noise.

        Args:
            since: share of the run, 0 to 1, after which it has to have risen.
            least: rise, as a fraction of the largest possible score.
        """
        for name in self:
            curve = self.get(name) if is_bounded_score(name) else None
            if curve is None or len(curve) < 4:
                continue
            values = curve.values
            then = head_level(values) if since == 0 else values[round(since * (len(values) - 1))]
            unit = 1.0 if max(values) <= 1.5 else 100.0
            if tail_level(values) - then > max(2 * noise(values), least * unit):
                return curve
        return None

    def falling_held_out_loss(self, least: float) -> Curve | None:
        """A validation or test loss that fell by a share of its first value, beyond its noise."""
        for name in self:
            curve = self.get(name) if name.startswith(("val/loss", "test/loss")) else None
            if curve is None or len(curve) < 2 or curve.values[0] <= 0:
                continue
            fall = curve.values[0] - tail_level(curve.values)
            if fall >= least * curve.values[0] and fall > 2 * noise(curve.values):
                return curve
        return None


@fact
def curves(metrics: Metrics) -> Curves:
    """Every series by its canonical name, prepared by `prepared`."""
    return Curves(metrics)


def prepared(series: Series) -> Curve:
    """The last launch of a series, without values that stand for "not evaluated", up to the first that is no number."""
    parts = launches(series)
    order = parts[-1]
    kept, broken = split_at_broken(series, order)
    kept = _without_placeholder_zeros(series, kept)
    whole = len(kept) == len(series) and isinstance(kept, range)
    values = series.data if whole else taken(series.data, kept)
    return Curve(series, kept, values, len(parts), len(parts), broken)


def launches(series: Series) -> list[Sequence[int]]:
    """Positions of each launch in a log to which several were appended.

    A step (without steps: an epoch) that goes back starts a new launch, unless the epoch moves on: then the step
    counts within the epoch. A log in which more than `MAX_BACKWARD_SHARE` of the steps go back, and not to the start,
    was written out of order: it is one launch, put in order. A last row alone that goes back to within the run repeats
    its best iteration (LightGBM does after early stopping): it belongs to no launch.
    """
    n = len(series)
    steps, epochs = series.step_data, series.epoch_data
    axis = steps if steps is not None else epochs
    if axis is None or n < 2 or _never_falls(axis):
        return [range(n)]
    back = backward(axis, epochs if steps is not None else None)
    inside = sum(axis[i] > axis[0] for i in back)
    if inside > max(2, MAX_BACKWARD_SHARE * n):
        return [sorted(range(n), key=axis.__getitem__)]
    edges = [0, *back, n - 1 if repeats_best(axis, back) else n]
    return [range(a, b) for a, b in pairwise(edges) if a < b]


def repeats_best(axis: array[float], back: Sequence[int]) -> bool:
    """Whether the last row alone goes back, to a step within the launch before it."""
    if not back or back[-1] != len(axis) - 1:
        return False
    return axis[-1] > axis[back[-2] if len(back) > 1 else 0]


def backward(axis: array[float], epochs: array[float] | None) -> list[int]:
    """Positions at which the axis goes back, and the epoch, where there is one, does not move on."""
    n = len(axis)
    if n < LONG:
        return [i for i in range(1, n) if axis[i] < axis[i - 1] and not (epochs and epochs[i] > epochs[i - 1])]
    import numpy as np

    wide = np.frombuffer(axis)
    falls = wide[1:] < wide[:-1]
    if epochs is not None:
        later = np.frombuffer(epochs)
        falls &= ~(later[1:] > later[:-1])
    back: list[int] = (np.flatnonzero(falls) + 1).tolist()
    return back


def taken(data: array[float], indices: Sequence[int]) -> Sequence[float]:
    """The values at some positions."""
    if isinstance(indices, range) and indices.step == 1:
        return data[indices.start : indices.stop]
    if len(indices) < LONG:
        return [data[i] for i in indices]
    import numpy as np

    values = array("d")
    values.frombytes(np.frombuffer(data)[np.asarray(indices)].data.cast("B"))
    return values


def split_at_broken(series: Series, order: Sequence[int]) -> tuple[Sequence[int], int | None]:
    """The finite positions before the first value that is no number though one was due, and that value's position.

    Not due, and only left out: values before the first number (nothing was measured yet), and gaps between evaluations:
    a table that has a row per step and an evaluation in every tenth holds nothing in the others.
    """
    data = series.data
    if isinstance(order, range) and len(order) == len(data) and _all_finite(data):
        return order, None
    if len(order) >= LONG and isinstance(order, range):
        return _long_split_at_broken(series, order)
    good = [i for i in order if math.isfinite(data[i])]
    if len(good) == len(order):
        return good, None
    if not good:
        return [], order[0] if len(order) else None
    rank = {position: k for k, position in enumerate(order)}
    gaps = [rank[b] - rank[a] for a, b in pairwise(good)]
    tail = len(order) - 1 - rank[good[-1]]
    usual = max(gaps, default=1)
    sparse = sum(g > 1 for g in gaps) >= 0.5 * len(gaps) and len(gaps) >= 2
    if sparse and tail <= usual:
        return good, None
    nulls = set(series.nulls)
    for before, after in pairwise(good):
        between = [order[k] for k in range(rank[before] + 1, rank[after])]
        due = [i for i in between if i not in nulls]
        if due and not sparse:
            return [i for i in good if rank[i] <= rank[before]], due[0]
    last = rank[good[-1]]
    rest = [order[k] for k in range(last + 1, len(order))]
    allowed = usual if sparse else 0
    if len(rest) > allowed:
        return good, rest[0]
    return good, None


def _long_split_at_broken(series: Series, order: range) -> tuple[Sequence[int], int | None]:
    """The same as `split_at_broken` for positions in a row."""
    import numpy as np

    finite = np.isfinite(np.frombuffer(series.data)[order.start : order.stop])
    if finite.all():
        return order, None
    good = np.flatnonzero(finite) + order.start
    if not len(good):
        return [], order.start
    gaps = np.diff(good)
    tail = order.stop - 1 - int(good[-1])
    usual = int(gaps.max(initial=0)) or 1
    sparse = len(gaps) >= 2 and int((gaps > 1).sum()) >= 0.5 * len(gaps)
    broken: int | None = None
    if tail > (usual if sparse else 0):
        broken = int(good[-1]) + 1
    if not sparse:
        due = ~finite
        due[[i - order.start for i in series.nulls if i in order]] = False
        due = np.flatnonzero(due) + order.start
        due = due[(due > good[0]) & (due < good[-1])]
        if len(due):
            broken = int(due[0])
            good = good[: np.searchsorted(good, broken)]
    kept = array("q")
    kept.frombytes(good.astype(np.int64).data.cast("B"))
    return kept, broken


def _never_falls(data: array[float]) -> bool:
    if len(data) < LONG:
        return data.tolist() == sorted(data)  # never so with NaN, which is not equal to itself
    import numpy as np

    return bool((np.diff(np.frombuffer(data)) >= 0).all())


def _all_finite(data: array[float]) -> bool:
    if len(data) < LONG:
        return all(map(math.isfinite, data))
    import numpy as np

    return bool(np.isfinite(np.frombuffer(data)).all())


def _without_placeholder_zeros(series: Series, kept: Sequence[int]) -> Sequence[int]:
    """Drops exact zeros of an evaluated loss that jumps between zero and values far above it: "not evaluated".

    Zeros at the end are values where the loss came down to them in steps like those before.
    """
    if not series.name.startswith(("val/loss", "test/loss")):
        return kept
    data = series.data
    if len(kept) >= LONG and all(taken(data, kept)):
        return kept
    rest = [i for i in kept if data[i] != 0.0]
    if len(rest) in (0, len(kept)):
        return kept
    changes = [abs(data[a] - data[b]) for a, b in pairwise(rest)]
    if len(changes) > 1 and list(kept[: len(rest)]) == rest and abs(data[rest[-1]]) <= 2 * max(changes):
        return kept
    smallest = min(abs(data[i]) for i in rest)
    largest = max(abs(data[i]) for i in rest)
    return rest if smallest > 0.05 * largest else kept


def _same_places(mine: Sequence[float], others: Sequence[float]) -> tuple[Sequence[int], Sequence[int]]:
    """Positions of the values that both axes have; of equal values on one axis the last."""
    if len(mine) == len(others) and mine == others:
        return range(len(mine)), range(len(mine))
    if len(mine) >= LONG or len(others) >= LONG:
        import numpy as np

        a, b = np.asarray(mine, dtype=np.float64)[::-1], np.asarray(others, dtype=np.float64)[::-1]
        _, at_a, at_b = np.intersect1d(a, b, return_indices=True)  # of equal values the first, here the last
        return (len(a) - 1 - at_a).tolist(), (len(b) - 1 - at_b).tolist()
    place = {x: k for k, x in enumerate(others)}
    own = {x: i for i, x in enumerate(mine) if x in place}
    return list(own.values()), [place[x] for x in own]


def is_bounded_score(name: str) -> bool:
    """Whether a series is, by its name, a score of at most 1 (or 100 %) of which more is better.

    A part of a loss is none, whatever it is called after (`train/loss/dice`).
    """
    if "/loss/" in name:
        return False
    quantity = name.rsplit("/", 1)[-1].lower()
    return _BOUNDED.fullmatch(quantity.split("@")[0]) is not None or any(
        _BOUNDED.fullmatch(word) for word in quantity.split("_")[:1] + quantity.split("_")[-1:]
    )
