"""Every logged value can be pointed at, not only the first of its series."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mldiag.assembly import read_run
from mldiag.files import Folder
from mldiag.plugins import load
from mldiag.run import Run

HISTORY = [{"epoch": e / 2, "step": s, name: 1.0 / s} for s, e, name in [(1, 1, "loss"), (2, 2, "eval_loss"),
           (3, 3, "loss"), (4, 4, "eval_loss")]]  # fmt: skip
FILES = {
    "log.jsonl": ("".join(json.dumps(row) + "\n" for row in HISTORY), [1, 3], [2, 4]),
    "log.csv": ("step,loss,eval_loss\n1,1.0,\n2,,0.5\n\n3,0.3,\n4,,0.2\n", [2, 5], [3, 6]),
    "trainer_state.json": (json.dumps({"log_history": HISTORY, "max_steps": 4}, indent=2), [6, 16], [11, 21]),
}
"""Name → content, lines of the train and of the validation losses."""


def run_of(folder: Path, name: str, content: str) -> Run:
    (folder / name).write_text(content)
    return read_run(Folder(folder, (name,)), "run", load())


@pytest.mark.parametrize("name", FILES)
def test_each_value_has_the_line_it_was_logged_on(tmp_path: Path, name: str) -> None:
    content, train, held_out = FILES[name]
    metrics = run_of(tmp_path, name, content).metrics
    for series, lines in (("train/loss", train), ("val/loss", held_out)):
        found = metrics.by_name[series]
        assert [found.at(i).line for i in range(len(found))] == lines
        assert found.at(0) == found.source
        assert found.at(-1).path == name


def test_where_a_document_is_one_line_the_place_is_that_of_the_series(tmp_path: Path) -> None:
    metrics = run_of(tmp_path, "history.json", '{"loss": [3.0, 2.0], "val_loss": [3.1, 2.2]}').metrics
    found = metrics.by_name["val/loss"]
    assert found.at(-1) == found.source


def test_a_key_that_stands_elsewhere_too_makes_the_lines_unknown_not_wrong(tmp_path: Path) -> None:
    document = {"log_history": HISTORY, "trial_params": {"loss": "mse"}}
    found = run_of(tmp_path, "trainer_state.json", json.dumps(document, indent=2)).metrics.by_name["train/loss"]
    assert [found.at(0), found.at(-1)] == [found.source, found.source]
