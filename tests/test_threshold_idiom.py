"""Where a source takes the best of many thresholds: on the test it is seen, elsewhere nothing is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from mldiag.files import File
from mldiag.pysource.idioms._code import Code
from mldiag.pysource.idioms.threshold_on_test import threshold_on_test
from mldiag.pysource.module import Module

MAX = "thr = max(cands, key=lambda t: f1_score({x}.label, {x}.score >= t))\n"
GREATEST = "best_f1, best_thr = max((f1_score(y_{x}, p_{x} > t), t) for t in grid)\n"
ARGMAX = "cutoff = grid[np.argmax([f1_score(y_{x}, p_{x} > t) for t in grid])]\n"
LOOP = """
for t in grid:
    preds = (scores_{x} > t).astype(int)
    f1 = f1_score(y_{x}, preds)
    if f1 > best:
        best, tau = f1, t
"""
CURVE = """
def tune(y_{x}, p_{x}):
    fpr, tpr, thr = roc_curve(y_{x}, p_{x})
    best = np.argmax(tpr - fpr)
    threshold = thr[best]
    return threshold
"""
SAVED = """
best = max(sorted(data["{x}"].unique()), key=lambda t: ((data["{x}"] >= t) & truth).sum())
json.dump({{"threshold": float(best)}}, open("decision.json", "w"))
"""
WAYS = [MAX, GREATEST, ARGMAX, LOOP, CURVE, SAVED]


def seen(tmp_path: Path, source: str) -> list[str]:
    text = f"import json\nimport numpy as np\nfrom sklearn.metrics import f1_score, roc_curve\n{source}"
    return [str(i.detail("threshold")) for i in threshold_on_test(Code(Module(File(tmp_path, "e.py", text.encode()))))]


@pytest.mark.parametrize("way", WAYS)
def test_the_best_of_the_test_is_seen(tmp_path: Path, way: str) -> None:
    assert len(seen(tmp_path, way.format(x="test"))) == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("split", ["val", "valid", "dev", "train", "calibration", "x"])
def test_the_best_of_anything_else_is_not(tmp_path: Path, way: str, split: str) -> None:
    assert not seen(tmp_path, way.format(x=split))


@pytest.mark.parametrize(
    "source",
    [
        "best_epoch = max(epochs, key=lambda t: acc[t] > y_test)\n",
        "for t in (0.1, 0.5, 0.9):\n    print(t, f1_score(y_test, p_test > t))\n",
        "fpr, tpr, thr = roc_curve(y_test, p_test)\nprint(auc(fpr, tpr))\n",
        "fpr, tpr, thr = roc_curve(y_val, p_val)\nthreshold = thr[np.argmax(tpr - fpr)]\nroc_curve(y_test, p_test)\n",
        "thr = max(cands, key=lambda t: f1_score(y_val, p_val > t))\nprint(f1_score(y_test, p_test > thr))\n",
        "thr = max(cands, key=lambda t: f1_score(y_test, p_test > t))\nfinal_scores = score(holdout)\n",
        "for t in grid:\n    if f1_score(y_val, p_val > t) > best:\n        thr = t\n    log(y_test, p_test > t)\n",
    ],
)
def test_curves_reports_and_other_choices_are_not(tmp_path: Path, source: str) -> None:
    assert not seen(tmp_path, source)
