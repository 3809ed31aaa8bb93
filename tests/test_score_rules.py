"""The rules of scores and thresholds on many simulated detectors: healthy ones stay silent, broken ones are found."""

from __future__ import annotations

import math
import random
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from mldiag import plugins
from mldiag.artifacts import Role, Settings, SettingValue, Source
from mldiag.engine import apply_rules
from mldiag.facts.decision_thresholds import as_written, is_decision_threshold
from mldiag.findings import Severity
from mldiag.parts import facts_in
from mldiag.run import Run
from mldiag.scores import ScoreTable
from mldiag.stats.ranking import sweep

FACTS = {f.type: f for f in facts_in("mldiag.facts")}
CODES = ("EVA001", "EVA002", "EVA003", "EVA004", "EVA010")
Rows = list[tuple[int, float]]


@cache
def rules() -> list[object]:
    loaded = plugins.load().rules
    return [loaded[c] for c in CODES]


def table(split: str | None, rows: Rows, *, cut: float | None = None, path: str = "") -> ScoreTable:
    columns = {
        "id": array("d", range(len(rows))),
        "label": array("d", (y for y, _ in rows)),
        "score": array("d", (s for _, s in rows)),
    }
    if cut is not None:
        columns["pred"] = array("d", (s >= cut for _, s in rows))
    return ScoreTable(Source(path or f"{split}_scores.csv"), len(rows), columns, (), split)


def judged(threshold: float | None, *tables: ScoreTable) -> Counter[tuple[str, Severity]]:
    at = Source("decision.json", 1, key="threshold")
    stated = () if threshold is None else (SettingValue("threshold", threshold, Role.FILE, at),)
    run = Run(Path(), ".", settings=Settings(stated), artifacts={ScoreTable: tables}, facts=FACTS)
    report = apply_rules(run, rules())  # type: ignore[arg-type]
    assert not report.failed
    return Counter((f.code, f.level) for f in report.findings)


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def drawn(draw: random.Random, n: int, share: float, apart: float, digits: int) -> Rows:
    """Calibrated probabilities: of two normal scores `apart` standard deviations apart, the classes' true posterior."""
    rows = []
    for _ in range(n):
        y = int(draw.random() < share)
        x = draw.gauss(apart * y, 1)
        rows.append((y, round(logistic(apart * x - apart**2 / 2 + math.log(share / (1 - share))), digits)))
    return rows


def kinds() -> Iterator[tuple[random.Random, int, float, float, int]]:
    for seed in range(120):
        draw = random.Random(seed)
        n = draw.choice([60, 150, 400, 1000, 2000])
        yield draw, n, draw.choice([0.03, 0.1, 0.3, 0.5]), draw.uniform(0.3, 3.0), draw.choice([3, 4, 6])


def best(rows: Rows) -> float:
    return sweep([s for _, s in rows], [y for y, _ in rows]).best_f1().value


def test_thresholds_that_were_tuned_on_validation_are_fine() -> None:
    found: Counter[tuple[str, Severity]] = Counter()
    for draw, *kind in kinds():
        val, test = drawn(draw, *kind), drawn(draw, *kind)
        cut = best(val)
        found += judged(cut, table("val", val, cut=cut), table("test", test, cut=cut))
    assert not found


def test_thresholds_that_were_tuned_on_examples_that_were_not_kept_are_fine() -> None:
    found: Counter[tuple[str, Severity]] = Counter()
    for draw, *kind in kinds():
        val, test = drawn(draw, *kind), drawn(draw, *kind)
        if sum(y for y, _ in val) >= 20:
            found += judged(best(val), table("test", test))
    # One of a hundred may be the best of the test by chance.
    assert sum(found.values()) <= 2


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_a_half_on_calibrated_probabilities_is_no_more_than_information(share: float) -> None:
    found: Counter[tuple[str, Severity]] = Counter()
    for draw, n, _, apart, digits in kinds():
        found += judged(0.5, table("val", drawn(draw, n, share, apart + 1, digits)))
    assert not {code for code, severity in found if severity is not Severity.INFO}


def test_a_half_on_rare_calibrated_probabilities_is_information_unless_nothing_reaches_it() -> None:
    found: Counter[tuple[str, Severity]] = Counter()
    for draw, n, _, apart, digits in kinds():
        rows = drawn(draw, n, 0.05, apart, digits)
        if max(s for _, s in rows) > 0.5:
            found += judged(0.5, table("val", rows))
    assert not {code for code, severity in found if severity is not Severity.INFO}


def test_thresholds_that_were_tuned_on_the_test_are_found() -> None:
    tried = hit = 0
    for draw, n, share, apart, _ in kinds():
        val, test = drawn(draw, n, share, apart, 4), drawn(draw, n, share, apart, 6)
        cut = round(best([(y, round(s, 4)) for y, s in test]), 4)
        if min(sum(y for y, _ in test), n * (1 - share)) >= 10 and len({s for _, s in test}) > 100:
            tried += 1
            hit += bool(judged(cut, table("val", val), table("test", test))["EVA004", Severity.ERROR])
    assert tried > 60
    assert hit > 0.85 * tried


def test_thresholds_far_off_are_found() -> None:
    tried = hit = 0
    for draw, n, share, _, digits in kinds():
        if n * share < 40:
            continue
        rows = drawn(draw, n, share, 2.5, digits)
        high = sorted(s for y, s in rows if y)[int(0.9 * sum(y for y, _ in rows))]
        tried += 1
        hit += bool(judged(high, table("val", rows))["EVA002", Severity.WARNING])
    assert tried > 40
    assert hit == tried


def test_useless_scores_point_nowhere_and_turned_ones_the_wrong_way() -> None:
    wrong = hit = 0
    for draw, n, _, apart, digits in kinds():
        useless = [(y, round(draw.random(), digits)) for y, _ in drawn(draw, n, 0.3, 1, digits)]
        wrong += bool(judged(None, table("val", useless)))
        turned = [(y, 1 - s) for y, s in drawn(draw, max(n, 150), 0.3, apart + 0.7, digits)]
        hit += bool(judged(None, table("val", turned))["EVA010", Severity.WARNING])
    assert wrong == 0
    assert hit >= 115


def losses_of(values: Sequence[float], labels: Sequence[int] | None = None) -> Counter[tuple[str, Severity]]:
    columns = {"id": array("d", range(len(values))), "loss": array("d", values)}
    if labels is not None:
        columns["label"] = array("d", labels)
    return judged(None, ScoreTable(Source("val_losses.csv"), len(values), columns, ("text",), "val"))


@given(st.integers(10, 400), st.integers(0, 6), st.floats(0.02, 3), st.integers())
@settings(max_examples=300)
def test_losses_that_differ_are_silent_however_they_are_rounded(n: int, digits: int, level: float, seed: int) -> None:
    draw = random.Random(seed)
    values = [round(draw.expovariate(1 / level), digits) for _ in range(n)]
    assert not losses_of(values)


@given(st.integers(10, 400), st.integers(21, 3000).filter(lambda v: v % 10), st.integers(1, 6))
@settings(max_examples=100)
def test_one_loss_for_all_is_found_in_any_precision(n: int, units: int, digits: int) -> None:
    assert losses_of([units / 10**digits] * n) == {("EVA001", Severity.ERROR): 1}


@given(st.integers(4, 64), st.integers(4, 20), st.integers(0, 3), st.integers())
@settings(max_examples=100)
def test_the_mean_of_each_batch_is_found(size: int, batches: int, rest: int, seed: int) -> None:
    draw = random.Random(seed)
    means = [round(draw.gauss(1.2, 0.2), 5) + 1e-4 * b for b in range(batches)]
    values = [m for m in means for _ in range(size)] + [0.9] * rest
    assert losses_of(values)["EVA001", Severity.ERROR] == 1


@pytest.mark.parametrize(
    "name", ["threshold", "THRESHOLD", "anomaly_threshold", "eval.threshold", "best_thr", "decision-threshold",
             "inference/score_threshold", "limiar", "val/best_threshold", "LOSS_THRESHOLD"]
)  # fmt: skip
def test_thresholds_of_decisions_are_told_by_their_name(name: str) -> None:
    assert is_decision_threshold(name)


@pytest.mark.parametrize(
    "name", ["lr_threshold", "scheduler.threshold", "nms.threshold", "iou_threshold", "adafactor_clip_threshold",
             "REPEAT_THRESHOLD", "null_score_diff_threshold", "early_stopping.threshold", "threshold_mode"]
)  # fmt: skip
def test_other_thresholds_are_none(name: str) -> None:
    assert not is_decision_threshold(name)


def test_a_float32_is_read_as_it_was_meant() -> None:
    assert as_written(0.18440000712871552) == 0.1844
    assert as_written(0.18439999222755432) == 0.1844
    assert as_written(0.1234567890123) == 0.1234567890123
    assert as_written(5.0) == 5.0
