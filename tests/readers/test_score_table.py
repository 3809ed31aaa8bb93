"""Tables of examples are told from logs by their shape, and read in bounded memory."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers._tables import examples as _examples
from mldiag.readers.score_table import score_table
from mldiag.scores import ScoreTable

DICE = random.Random(0)
RANDOM = [DICE.random() for _ in range(60)]
FALLING = [2 / (i + 10) ** 0.5 + 0.02 * DICE.random() for i in range(60)]


def table(*columns: str, rows: int = 30) -> str:
    """CSV of rows counted from 0; a cell `r` is a random number, `b` a bit, `i` the row, `t` a sentence."""
    cells: dict[str, Callable[[int], object]] = {
        "r": lambda i: f"{RANDOM[i]:.4f}",
        "b": lambda i: i % 2,
        "i": lambda i: i,
        "t": lambda i: f"a sentence {i}",
    }
    names = [c.partition("=")[0] for c in columns]
    kinds = [c.partition("=")[2] or "r" for c in columns]
    lines = [",".join(names), *(",".join(str(cells[k](i)) for k in kinds) for i in range(rows))]
    return "\n".join(lines) + "\n"


TAKEN = {
    "scores.csv": table("example_id=i", "y_true=b", "y_score", "loss"),
    "per_example_losses.csv": table("loss"),
    "losses.csv": table("=i", "loss"),
    "oof_predictions.csv": table("index=i", "fold=b", "target=b", "prediction"),
    "sst.tsv": table("sentence=t", "label=b", "score").replace(",", "\t"),
    "boxes.csv": table("video-id=t", "t-start", "score", "label=t"),
    "outputs.json": json.dumps({"y_true": [0, 1, 0, 1], "y_prob": RANDOM[:4]}),
    "scores.json": json.dumps(RANDOM),
    "null_odds.json": json.dumps({f"56be4db0acb8{i}": v for i, v in enumerate(RANDOM)}),
    "eval_predictions.jsonl": "\n".join(
        json.dumps({"idx": i, "logits": [0.1, v], "label": 1}) for i, v in enumerate(RANDOM)
    ),
}
LEFT = {
    "metrics.csv": table("epoch=i", "loss", "val_loss"),
    "log.csv": table("step=i", "loss"),
    "losses.csv": "loss\n" + "\n".join(map(str, FALLING)) + "\n",
    "train_losses.json": json.dumps(FALLING),
    "training_progress_scores.csv": table("global_step=i", "correct=i", "incorrect=i", "train_loss", "eval_loss"),
    "results.csv": table("model=t", "accuracy", "f1", rows=8),
    "fold_results.csv": table("fold=i", "val_loss", "val_acc", rows=5),
    "scores_by_epoch.csv": table("epoch=i", "score"),
    "sweep.csv": table("run_id=t", "lr", "score", rows=8),
    "train.csv": table("id=i", "text=t", "label=b"),
    "features.csv": table("age=i", "income", "target=b"),
    "report.csv": table("=t", "precision", "recall", "f1-score", "support=i", rows=6),
    "history.json": json.dumps({"loss": FALLING, "val_loss": FALLING}),
    "predict_results.json": json.dumps({f"predict_rouge-{i}": v for i, v in enumerate(RANDOM[:9])}),
    "log.jsonl": "\n".join(json.dumps({"step": i, "loss": v}) for i, v in enumerate(RANDOM)),
    "vocab.json": json.dumps({f"w{i}": i for i in range(60)}),
}  # fmt: skip


def read(folder: Path, name: str, content: str | bytes) -> list[ScoreTable]:
    data = content if isinstance(content, bytes) else content.encode()
    found: list[ScoreTable] = []
    for artifact in score_table(File(folder, name, data)):
        assert isinstance(artifact, ScoreTable)
        found.append(artifact)
    return found


@pytest.mark.parametrize("name", TAKEN)
def test_a_table_of_examples_is_taken(name: str, tmp_path: Path) -> None:
    assert _examples.is_table_of_examples(File(tmp_path, name, TAKEN[name].encode()))
    (found,) = read(tmp_path, name, TAKEN[name])
    assert found.rows in (4, 30, 60)
    assert all(len(values) == found.rows for values in found.columns.values())


@pytest.mark.parametrize("name", LEFT)
def test_a_log_a_result_or_a_data_set_is_not(name: str, tmp_path: Path) -> None:
    assert not _examples.is_table_of_examples(File(tmp_path, name, LEFT[name].encode()))


def test_columns_texts_and_the_split_are_told_apart(tmp_path: Path) -> None:
    text = "id,sentence,label,correct,p\na,one two,1,True,0.5\nb,three four,0,False,\nc,five six,1,True,nan\n"
    text += "d,seven eight,0,x,1e-3\n"
    (found,) = read(tmp_path, "test_predictions.csv", text)
    assert (found.rows, found.split, found.texts) == (4, "test", ("id", "sentence"))
    assert list(found.columns["label"]) == [1, 0, 1, 0]
    assert [v for v in found.columns["correct"] if v == v] == [1, 0, 1]
    assert [math.isnan(v) for v in found.columns["p"]] == [False, True, True, False]


def test_a_column_of_splits_gives_a_table_for_each(tmp_path: Path) -> None:
    text = "split,id,label,score\n" + "".join(f"{s},{i},{i % 2},0.{i}\n" for s in ("val", "test") for i in range(5))
    val, test = read(tmp_path, "predictions.csv", text)
    assert (val.split, test.split) == ("val", "test")
    assert set(val.columns) == {"id", "label", "score"}
    assert (val.rows, test.rows) == (5, 5)


def test_parts_of_a_document_give_their_splits(tmp_path: Path) -> None:
    part = {"labels": [0, 1, 0, 1], "probs": [0.1, 0.2, 0.3, 0.4]}
    found = read(tmp_path, "scores.json", json.dumps({"val": part, "test": part}))
    assert [(t.split, t.rows) for t in found] == [("val", 4), ("test", 4)]


def test_lists_in_a_cell_become_columns(tmp_path: Path) -> None:
    rows = [{"id": i, "probs": [0.25, 0.75], "label": 1, "tokens": ["a"]} for i in range(5)]
    (found,) = read(tmp_path, "preds.json", json.dumps(rows))
    assert list(found.columns["probs.1"]) == [0.75] * 5
    assert found.texts == ("tokens",)


def test_rows_of_another_width_are_counted_and_a_last_one_is_not(tmp_path: Path) -> None:
    text = "id,label,score\n0,1,0.5\n1,1\n2,0,0.5\n3,0,0.5\n4,0,0.5\n5,0,0.1\n6,1"
    with pytest.raises(ReadError) as error:
        read(tmp_path, "scores.csv", text)
    assert (error.value.line, error.value.partial) == (3, True)
    assert "1 of 7 rows" in error.value.reason


def test_more_cells_than_the_limit_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_examples, "MAX_CELLS", 30)
    artifacts = score_table(File(tmp_path, "scores.csv", table("id=i", "label=b", "score").encode()))
    found = next(artifacts)
    assert isinstance(found, ScoreTable)
    assert found.rows == 10
    with pytest.raises(ReadError, match="20 rows were left out"):
        next(artifacts)


@settings(max_examples=60)
@given(
    st.sampled_from(["a.csv", "scores.csv", "scores.json", "preds.jsonl", "predictions.tsv"]), st.binary(max_size=300)
)
def test_any_bytes_are_read_or_refused(name: str, data: bytes) -> None:
    file = File(Path("/nowhere"), name, data)
    try:
        _examples.is_table_of_examples(file)
        list(score_table(file))
    except ReadError:
        pass


@settings(max_examples=60)
@given(st.sampled_from(["scores.csv", "eval_predictions.jsonl"]), st.integers(0, 10_000))
def test_a_prefix_keeps_all_whole_rows(name: str, cut: int) -> None:
    data = TAKEN[name].encode()[:cut]
    whole = data.count(b"\n") - (name == "scores.csv")
    if whole <= 0:
        return
    rows = sum(t.rows for t in read(Path("/nowhere"), name, data))
    assert rows in (whole, whole + 1)


def test_ids_and_classes_are_kept_in_few_bytes(tmp_path: Path) -> None:
    labels = ["anomaly" if i % 5 == 0 else "normal" for i in range(20)]
    rows = "".join(f"case-{i},{y},{'' if i == 3 else f'text {i}'},{i / 10}\n" for i, y in enumerate(labels))
    (found,) = score_table(File(tmp_path, "test_scores.csv", f"uid,label,note,score\n{rows}".encode()))
    assert isinstance(found, ScoreTable)
    assert set(found.texts) == {"uid", "label", "note"}
    assert found.classes["label"].names == ("anomaly", "normal")
    assert list(found.classes["label"].codes) == [int(y == "normal") for y in labels]
    assert set(found.classes) == {"label"}
    assert set(found.keys) == {"uid"}
    assert len(set(found.keys["uid"])) == 20


def test_equal_ids_of_two_files_have_equal_checksums(tmp_path: Path) -> None:
    keys = []
    for name, first in (("val_scores.csv", 0), ("test_scores.csv", 10)):
        rows = "".join(f"a/{first + i}.png,{i % 2},0.{i}\n" for i in range(20))
        (found,) = score_table(File(tmp_path, name, f"file,label,score\n{rows}".encode()))
        assert isinstance(found, ScoreTable)
        keys.append(set(found.keys["file"]))
    assert len(keys[0] & keys[1]) == 10


@pytest.mark.parametrize("rows", [16, 17, 5000])
def test_a_column_of_many_names_is_of_no_classes(tmp_path: Path, rows: int) -> None:
    text = "id,label,score,kind\n" + "".join(f"{i},{i % 2},0.{i},kind {i % 17}\n" for i in range(rows))
    (found,) = score_table(File(tmp_path, "scores.csv", text.encode()))
    assert isinstance(found, ScoreTable)
    assert ("kind" in found.classes) is (rows == 16)
    assert all(len(c.codes) == rows for c in found.classes.values())
