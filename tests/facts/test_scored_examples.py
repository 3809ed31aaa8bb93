"""Which columns are scores, losses, classes and decisions, and which threshold decides on them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from mldiag.assembly import read_run
from mldiag.discovery import discover
from mldiag.errors import NotApplicable
from mldiag.facts.decision_thresholds import Decisions, DecisionThresholds
from mldiag.facts.scored_examples import ScoredExamples
from mldiag.files import Folder
from mldiag.parts import facts_in
from mldiag.plugins import load
from mldiag.run import Run
from mldiag.testing import write_files

DRAW = random.Random(4)
ROWS = [
    (i, int(i % 4 == 0), round(DRAW.uniform(0.3, 0.9) if i % 4 == 0 else DRAW.uniform(0, 0.5), 4)) for i in range(60)
]


def read(folder: Path, **files: str) -> Run:
    write_files(folder / "run", {name.replace("__", "."): text for name, text in files.items()})
    plugins = load()
    (found,) = discover(folder / "run", plugins.takes)
    run = read_run(Folder(found.folder, found.files), found.label, plugins)
    run.facts = {f.type: f for f in facts_in("mldiag.facts")}
    return run


def csv(header: str, *cells: str) -> str:
    """`cells` are format strings of the id, the class and the score."""
    return header + "\n" + "".join(",".join(c.format(i=i, y=y, s=s) for c in cells) + "\n" for i, y, s in ROWS)


@pytest.mark.parametrize(
    ("header", "score", "label"),
    [
        ("id,label,score", "score", "label"),
        ("example_id,y_true,y_prob", "y_prob", "y_true"),
        ("id,is_fraud,fraud_score", "fraud_score", "is_fraud"),
        ("id,target,prediction", "prediction", "target"),
        ("id,is_spam,prob_spam", "prob_spam", "is_spam"),
        ("id,y,p1", "p1", "y"),
        ("id,label,Anomaly Score", "Anomaly Score", "label"),
        ("id,label,reconstruction_error", "reconstruction_error", "label"),
    ],
)
def test_columns_are_told_by_name_and_content(tmp_path: Path, header: str, score: str, label: str) -> None:
    (found,) = read(tmp_path, val_scores__csv=csv(header, "{i}", "{y}", "{s}")).get(ScoredExamples).items
    assert (found.column.name, found.label_name, found.split) == (score, label, "val")
    assert sum(found.labels) == 15


@pytest.mark.parametrize("name", ["confidence", "margin", "similarity", "prob_normal", "score_std", "bert_score"])
def test_what_does_not_say_where_it_points_is_no_score(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotApplicable, match="column of losses or scores"):
        read(tmp_path, val_scores__csv=csv(f"id,label,{name}", "{i}", "{y}", "{s}")).get(ScoredExamples)


def test_the_cut_of_decisions_is_found_though_some_are_rounded(tmp_path: Path) -> None:
    odd = next(i for i, _, s in ROWS if s < 0.2)
    rows = "".join(f"{i},{y},{s},{int(s >= 0.4 or i == odd)}\n" for i, y, s in ROWS * 10)
    (found,) = read(tmp_path, val_scores__csv="id,label,score,pred\n" + rows).get(ScoredExamples).items
    assert found.cut is None  # 10 of 600 are too many
    rows = "".join(f"{i},{y},{s},{int(s >= 0.4 or (i == odd and k == 0))}\n" for k in range(10) for i, y, s in ROWS)
    (found,) = read(tmp_path / "b", val_scores__csv="id,label,score,pred\n" + rows).get(ScoredExamples).items
    low, high = found.cut
    assert low < 0.4 <= high


def test_a_threshold_is_that_of_the_scores_whose_decisions_follow_from_it(tmp_path: Path) -> None:
    scores = "id,label,score,pred\n" + "".join(f"{i},{y},{s},{int(s >= 0.4)}\n" for i, y, s in ROWS)
    run = read(tmp_path, val_scores__csv=scores, a__json='{"threshold": 0.9, "lr": 1, "epochs": 2, "seed": 3}',
               eval__py="import sys\nTHRESHOLD = 0.4\nprint(THRESHOLD, sys.argv)\n")  # fmt: skip
    assert {t.value for t in run.get(DecisionThresholds).items} == {0.9, 0.4}
    (decision,) = run.get(Decisions).items
    assert decision.stated.name == "THRESHOLD"
    assert decision.value == 0.4


def test_decisions_alone_show_where_the_threshold_lies(tmp_path: Path) -> None:
    scores = "id,label,score,pred\n" + "".join(f"{i},{y},{s},{int(s >= 0.4)}\n" for i, y, s in ROWS)
    (decision,) = read(tmp_path, val_scores__csv=scores).get(Decisions).items
    assert decision.stated is None
    assert decision.low < 0.4 <= decision.high


def test_a_flag_goes_before_a_default(tmp_path: Path) -> None:
    run = read(
        tmp_path,
        val_scores__csv=csv("id,label,score", "{i}", "{y}", "{s}"),
        run__sh="python eval.py --threshold 0.3\n",
        eval__py="from argparse import ArgumentParser\np = ArgumentParser()\n"
        "p.add_argument('--threshold', type=float, default=0.7)\nprint(p.parse_args())\n",
    )
    (decision,) = run.get(Decisions).items
    assert (decision.value, str(decision.stated.source)) == (0.3, "run.sh:1")
