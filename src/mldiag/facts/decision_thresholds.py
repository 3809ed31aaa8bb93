"""Every threshold that a run states for a decision, and the scores that it decides on."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from msgspec import Struct

from mldiag.artifacts import Metrics, Origin, Program, Role, Settings, SettingValue, Source, as_number
from mldiag.errors import NotApplicable
from mldiag.facts import fact
from mldiag.facts.scored_examples import Scored, ScoredExamples
from mldiag.patterns import lazily
from mldiag.vocabulary import normalized, split_of

_CORE = frozenset({"threshold", "thresh", "thr", "cutoff", "limiar", "umbral", "schwelle", "seuil"})
_OF = frozenset({
    "decision", "anomaly", "anomalies", "classification", "classifier", "class", "prediction", "predict", "pred",
    "score", "scores", "prob", "proba", "probability", "optimal", "best", "optimum", "opt", "detection", "detect",
    "detector", "alert", "fraud", "binary", "inference", "positive", "final", "chosen", "selected", "calibrated",
    "tuned", "default", "f1", "val", "valid", "validation", "eval", "test", "model", "logit", "sigmoid", "label",
    "risk", "outlier", "decisao", "otimo", "anomalia", "operating", "global",
})  # fmt: skip
_OF_LOSS = frozenset(
    {"loss", "nll", "error", "reconstruction", "recon", "perplexity", "perda", "session", "log", "max"}
)
_ABOVE = frozenset({
    "eval", "evaluation", "inference", "infer", "detection", "detector", "detect", "decision", "model", "test",
    "predict", "prediction", "classifier", "classification", "anomaly", "config", "params", "parameters", "args",
    "threshold", "thresholds", "postprocess", "postprocessing", "calibration", "deploy", "serving", "metrics",
    "scoring", "results", "result", "best", "val", "validation", "hparams", "head", "score", "scorer", "post",
    "processing", "optimal", "summary", "settings", "default", "defaults", "final",
})  # fmt: skip
"""Sections that a decision is set in; a `scheduler.threshold` or `nms.threshold` is of something else."""
_DECIDES = lazily(r".*(thresh|decision|infer|detect|anomal|predict|calibrat|score|eval|deploy|serv|test|classif).*")
_PLATEAU = frozenset({"patience", "factor", "cooldown", "threshold_mode", "min_lr", "scheduler_patience"})
_PLATEAU_MOST = 0.01
"""`ReduceLROnPlateau` has a `threshold` too, 1e-4 by default: beside a patience, a small one is that."""
_CHOSEN_ON = lazily(
    r"(threshold_)?(selected|chosen|tuned|calibrated|optimi[sz]ed|picked|fitted|fit|determined|computed|estimated)"
    r"(_on|_from|_using|_split)|threshold_(split|source|from|on|set|data)|"
    r"(selection|calibration|tuning|optimi[sz]ation)_(split|set|data|subset|source)"
)
_CRITERION = lazily(r"(threshold_)?(criterion|criteria|metric|objective|strategy|method|policy|optimi[sz]ed?_for)")
_OPERATING_POINT = lazily(
    r"(target|min|max|minimum|maximum|desired|required|fixed)_(recall|precision|fpr|tpr|sensitivity|specificity|"
    r"false_positive_rate|alert_rate|ppv)|(threshold_)?(percentile|quantile|contamination)|(cost|costs)_\w+"
)
_TABLE_MOST = 12
"""Settings of a file up to which it is about the threshold, so that its `split` and `metric` are too."""
_PER_FLOAT32 = 1e-6


class DecisionThreshold(Struct, frozen=True):
    """One stated threshold.

    Attributes:
        name: as the file spells it. `value`: as it was meant: a float32 that was written as a double is rounded back.
        setting: what an edit changes; None where it is no setting.
        of_loss: the name says that it is one of losses.
        chosen_on: the split that it was chosen on, where a file says so at `chosen_at`.
        purpose: what it was chosen for, where a file says so (`f1`, `target_recall`).
    """

    name: str
    value: float
    source: Source
    setting: SettingValue | None = None
    of_loss: bool = False
    chosen_on: str | None = None
    chosen_at: Source | None = None
    purpose: str | None = None


class DecisionThresholds(Struct, frozen=True):
    """Every decision threshold that settings, sources and logs state; the one that takes effect first."""

    items: tuple[DecisionThreshold, ...]


class Decision(Struct, frozen=True):
    """A threshold and the scores that it decides on.

    Attributes:
        stated: None where only the decisions show it.
        low, high: the threshold lies in `(low, high]`; the same number twice where it is stated.
    """

    scored: Scored
    stated: DecisionThreshold | None
    low: float
    high: float

    @property
    def value(self) -> float:
        """A threshold that decides as the one in use does."""
        if self.stated is not None:
            return self.stated.value
        return self.high


class Decisions(Struct, frozen=True):
    """The thresholds of a run with the tables that they decide on: validation first, then of unknown split, then test.

    Attributes:
        items: one for each table at most.
    """

    items: tuple[Decision, ...]


@fact
def decision_thresholds(
    settings: Settings | None, program: Program | None, metrics: Metrics | None
) -> DecisionThresholds:
    """Settings of every format, constants of the source, and series (`val/best_threshold`, the last value).

    A name counts that is a threshold of a decision (`threshold`, `anomaly_threshold`, `best_thr`), in a section that
    decisions are set in. Thresholds of schedulers, of overlap and of gradients are none; nor are defaults of functions,
    which any call can override.
    """
    found = [*_of_settings(settings or Settings()), *_of_sources(program), *_of_series(metrics)]
    unique = {(t.source.path, t.source.line, t.source.key, t.value): t for t in reversed(found)}
    if not unique:
        raise NotApplicable("no decision threshold is stated")
    return DecisionThresholds(tuple(reversed(unique.values())))


@fact
def decisions(examples: ScoredExamples, thresholds: DecisionThresholds | None) -> Decisions:
    """Which threshold decides on which table.

    Where a table has decisions, they must follow from the threshold, else it is one of something else, or was changed
    since and has decided nothing yet; without a stated one they show where it lies. Where a table has none, the one
    threshold that the run states is taken, if it can be of these scores at all; of several none is known to be the one.
    """
    stated = thresholds.items if thresholds is not None else ()
    tables: dict[int, list[Scored]] = {}
    for scored in examples.items:
        if len(scored.finite):
            tables.setdefault(id(scored.table), []).append(scored)
    found = [d for candidates in tables.values() if (d := _decision(candidates, stated)) is not None]
    if not found:
        raise NotApplicable("no threshold is known to decide on the scores")
    order = ("val", None, "test")
    return Decisions(tuple(sorted(found, key=lambda d: order.index(d.scored.split) if d.scored.split in order else 3)))


def _decision(candidates: list[Scored], stated: tuple[DecisionThreshold, ...]) -> Decision | None:
    for scored in candidates:
        if scored.cut is None:
            continue
        low, high = scored.cut
        slack = _PER_FLOAT32 + _rounding(scored)
        fitting = [t for t in stated if low - slack < t.value <= high + slack and _can_be_of(t, scored)]
        if fitting:
            return Decision(scored, fitting[0], fitting[0].value, fitting[0].value)
        if not any(_can_be_of(t, scored) for t in stated) and _ranks(scored, None):
            return Decision(scored, None, low, high)
    if any(s.decided is not None for s in candidates):
        return None
    possible = [(s, t) for s in candidates for t in stated if _can_be_of(t, s)]
    if not possible or len({t.value for _, t in possible}) > 1:
        return None
    inside = [(s, t) for s, t in possible if min(s.finite) < t.value <= max(s.finite)]
    scored, threshold = _likeliest(inside) if len({id(s) for s, _ in inside}) > 1 else (inside or possible)[0]
    return Decision(scored, threshold, threshold.value, threshold.value)


def _likeliest(pairs: list[tuple[Scored, DecisionThreshold]]) -> tuple[Scored, DecisionThreshold]:
    """Of several columns that a threshold may be of, raw scores beside probabilities, the one on which it does best."""

    def lost(pair: tuple[Scored, DecisionThreshold]) -> float:
        scored, threshold = pair
        if not scored.has_both:
            return 0.0
        return scored.sweep.best_f1().counts.f1 - scored.sweep.at(threshold.value).f1

    return min(pairs, key=lost)


def _rounding(scored: Scored) -> float:
    from mldiag.stats import written_unit

    return written_unit(scored.finite)


def _ranks(scored: Scored, threshold: DecisionThreshold | None) -> bool:
    """Whether higher numbers speak for the positive class: scores do, losses where anomalies are looked for."""
    return not scored.column.is_loss or scored.anomalies or (threshold is not None and threshold.of_loss)


def _can_be_of(threshold: DecisionThreshold, scored: Scored) -> bool:
    if "outlier" in normalized(threshold.name) and not scored.anomalies:
        return False  # of the values that are cleaned away, in standard deviations
    if not _ranks(scored, threshold):
        words = normalized(threshold.source.path.rsplit("/", 1)[-1])
        # A detection program that has losses and one threshold compares the two.
        return _DECIDES.match(words) is not None and scored.labels is None
    if threshold.of_loss and not scored.column.is_loss:
        return "score" in normalized(scored.column.name) and not scored.is_probability
    return True


def _of_settings(settings: Settings) -> Iterator[DecisionThreshold]:
    beside: dict[str, list[SettingValue]] = {}
    for value in settings.found:
        beside.setdefault(value.source.path, []).append(value)
    for name in settings.by_name:
        # What is overridden decides nothing.
        setting = settings.effective(name)
        number = as_number(setting.value) if setting is not None else None
        if setting is None or number is None or not is_decision_threshold(setting.source.key or setting.name):
            continue
        others = [v for v in beside[setting.source.path] if v is not setting]
        plain = [normalized(v.key) for v in others]
        if number <= _PLATEAU_MOST and _PLATEAU & set(plain):
            continue
        on, at, purpose = _said_of(others, len(others) < _TABLE_MOST)
        spelled = re.split(r"[./]", setting.source.key or setting.name)[-1]
        yield DecisionThreshold(
            spelled, as_written(number), setting.source, setting, _is_of_loss(setting.key), on, at, purpose
        )


def _said_of(others: list[SettingValue], short: bool) -> tuple[str | None, Source | None, str | None]:
    """The split and the purpose that the file of a threshold states for it."""
    on: str | None = None
    at: Source | None = None
    purpose: str | None = None
    for value in others:
        key = value.key
        if isinstance(value.value, str):
            if (_CHOSEN_ON.fullmatch(key) or (short and key in ("split", "source", "on"))) and on is None:
                on, at = split_of(value.value), value.source
            elif _CRITERION.fullmatch(key) and (short or key.startswith("threshold")):
                purpose = value.value
        elif _OPERATING_POINT.fullmatch(key) and short:
            purpose = key
    return (on, at, purpose) if on is not None else (None, None, purpose)


def _of_sources(program: Program | None) -> Iterator[DecisionThreshold]:
    for source in program.sources if program is not None else ():
        for option in source.options:
            number = as_number(option.default)
            if option.origin is not Origin.CONSTANT or number is None or not is_decision_threshold(option.name):
                continue
            setting = SettingValue(
                option.name, option.default, Role.DEFAULT, option.source, "python" if option.editable else None
            )
            yield DecisionThreshold(
                option.name, as_written(number), option.source, setting, _is_of_loss(normalized(option.name))
            )


def _of_series(metrics: Metrics | None) -> Iterator[DecisionThreshold]:
    for series in metrics or ():
        if is_decision_threshold(series.raw_name) and len(series) and math.isfinite(series.data[-1]):
            yield DecisionThreshold(
                series.raw_name, as_written(series.data[-1]), series.at(-1), None, _is_of_loss(normalized(series.name))
            )


def is_decision_threshold(key: str) -> bool:
    """Whether a key, with its sections, is the threshold of a decision by its name."""
    *sections, last = re.split(r"[./]", key)
    words = set(normalized(last).split("_"))
    if not words & _CORE or not words <= _CORE | _OF | _OF_LOSS:
        return False
    return all(set(normalized(s).split("_")) <= _ABOVE | _OF | _CORE for s in sections)


def _is_of_loss(name: str) -> bool:
    return bool(_OF_LOSS & set(name.split("_")))


def as_written(value: float) -> float:
    """A number without the digits that float32 adds: 0.18440000712871552 was 0.1844."""
    if len(repr(value)) < 12 or not math.isfinite(value) or value == 0:
        return value
    return next((r for d in range(1, 8) if abs((r := float(f"{value:.{d}g}")) - value) <= 6e-8 * abs(value)), value)
