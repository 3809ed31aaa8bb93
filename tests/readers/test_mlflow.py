"""MLflow's two stores give the same run, and bad ones end in a reason."""

from __future__ import annotations

import math
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from mldiag.artifacts import Series, SettingValue
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers import as_reader
from mldiag.readers._configs.literals import literal
from mldiag.readers.mlflow_database import mlflow_database
from mldiag.readers.mlflow_run import mlflow_run
from mldiag.testing import write_files

RUN = "0123456789abcdef0123456789abcdef"
OTHER = "f" * 32
META = f"""artifact_uri: file:///x/{RUN}/artifacts
run_id: {RUN}
run_name: 'it''s one'
start_time: 1700000000000
status: 3
"""
SCHEMA = """
CREATE TABLE runs (run_uuid VARCHAR(32) PRIMARY KEY, name VARCHAR(250), status VARCHAR(9), start_time BIGINT,
    end_time BIGINT, lifecycle_stage VARCHAR(20), experiment_id INTEGER);
CREATE TABLE metrics (key VARCHAR(250), value FLOAT, timestamp BIGINT, run_uuid VARCHAR(32), step BIGINT,
    is_nan BOOLEAN);
CREATE TABLE params (key VARCHAR(250), value VARCHAR(8000), run_uuid VARCHAR(32));
CREATE TABLE tags (key VARCHAR(250), value VARCHAR(8000), run_uuid VARCHAR(32));
"""
POINTS = [(2.5, 0), (math.nan, 10), (math.inf, 20), (-math.inf, 30), (0.0, 40)]


def database(path: Path, runs: Sequence[str] = (RUN,), extra: str = "") -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.executescript(SCHEMA)
        for at, run in enumerate(runs):
            start = 1_700_000_000_000 + at
            connection.execute("INSERT INTO runs VALUES (?,'one','FINISHED',?,NULL,'active',1)", (run, start))
            for value, step in POINTS:
                stored = max(min(value, 1.7976931348623157e308), -1.7976931348623157e308) if value == value else 0.0
                row = ("train/loss", stored + at, 1_700_000_000_500 + step, run, step, value != value)
                connection.execute("INSERT INTO metrics VALUES (?,?,?,?,?,?)", row)
            connection.execute("INSERT INTO params VALUES ('lr','0.001',?), ('model/act','None',?)", (run, run))
            connection.execute("INSERT INTO tags VALUES ('mlflow.source.name','train.py',?), ('lr','7',?)", (run, run))
        connection.executescript(extra)
        connection.commit()
    return path


def read(file: File) -> tuple[dict[str, Series], dict[str, object], ReadError | None]:
    series: dict[str, Series] = {}
    settings: dict[str, object] = {}
    try:
        known = as_reader(mlflow_database if file.path.endswith(".db") else mlflow_run)
        if not known.matches(file):
            return series, settings, ReadError("not taken")
        for artifact in known.read(file):
            if isinstance(artifact, Series):
                series[artifact.raw_name] = artifact
            elif isinstance(artifact, SettingValue):
                assert artifact.record
                settings[artifact.name] = artifact.value
    except ReadError as error:
        return series, settings, error
    return series, settings, None


def same(got: Sequence[float], wanted: Sequence[float]) -> bool:
    return [repr(v) for v in got] == [repr(float(v)) for v in wanted]


def test_the_stores_give_the_same_run(tmp_path: Path) -> None:
    lines = "".join(f"{1_700_000_000_500 + step} {value} {step}\n" for value, step in POINTS)
    files = {"meta.yaml": META, "metrics/train/loss": lines, "params/lr": "0.001", "params/model/act": "None",
             "tags/mlflow.source.name": "train.py"}  # fmt: skip
    write_files(tmp_path, files)
    stored: dict[str, Series] = {}
    settings: dict[str, object] = {}
    for path in files:
        series, values, error = read(File(tmp_path, path))
        assert error is None
        stored |= series
        settings |= values
    from_database, values, error = read(File(tmp_path, database(tmp_path / "mlflow.db").name))
    assert error is None
    for found in (stored, from_database):
        assert set(found) == {"train/loss"}
        assert same(found["train/loss"].data, [v for v, _ in POINTS])
        assert same(found["train/loss"].step_data or (), [s for _, s in POINTS])
        assert same(found["train/loss"].time_data or (), [1_700_000_000.5 + s / 1000 for _, s in POINTS])
    for found_values in (settings, values):
        assert found_values["lr"] == 0.001
        assert found_values["model/act"] is None
        assert found_values["mlflow.status"] == "FINISHED"
        assert found_values["mlflow.start_time"] == 1_700_000_000
        assert found_values["mlflow.source.name"] == "train.py"
    assert settings["mlflow.run_name"] == "it's one"


def test_each_run_of_a_database_is_named_and_read_by_itself(tmp_path: Path) -> None:
    path = database(tmp_path / "mlruns.db", (RUN, OTHER), "UPDATE runs SET start_time = 0 WHERE run_uuid LIKE 'f%'")
    members = as_reader(mlflow_database).members
    assert members is not None
    assert list(members(File(tmp_path, path.name))) == [OTHER, RUN]
    series, _, error = read(File(tmp_path, path.name, member=OTHER))
    assert error is None
    assert series["train/loss"].data[0] == 3.5
    series, settings, error = read(File(tmp_path, path.name))
    assert error is not None
    assert f"holds 2 runs, to be read one by one: {OTHER}, {RUN}" in error.reason
    assert not series
    assert not settings
    assert "has no run nosuch" in str(read(File(tmp_path, path.name, member="nosuch"))[2])


def test_a_deleted_run_is_none(tmp_path: Path) -> None:
    deleted = "UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid LIKE 'f%'"
    path = database(tmp_path / "x.db", (RUN, OTHER), deleted)
    assert read(File(tmp_path, path.name))[2] is None
    database(tmp_path / "y.db", (RUN,), "UPDATE runs SET lifecycle_stage = 'deleted'")
    assert "without runs" in str(read(File(tmp_path, "y.db"))[2])


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"


@pytest.mark.parametrize(
    "hostile",
    [
        f"DROP TABLE metrics; CREATE VIEW metrics AS {ENDLESS} SELECT 'k' key, i value, i timestamp, '{RUN}' run_uuid, "
        "i step, 0 is_nan FROM n",
        "DROP TABLE params; CREATE VIEW params AS SELECT 'lr' key, load_extension('x') value, 'x' run_uuid",
        "ALTER TABLE params ADD COLUMN more AS (hex(zeroblob(400000000))); "
        "ALTER TABLE params RENAME COLUMN value TO old; ALTER TABLE params RENAME COLUMN more TO value",
        "UPDATE metrics SET key = hex(zeroblob(800000)) WHERE step = 30",
        "ALTER TABLE metrics DROP COLUMN step",
        "DROP TABLE runs; CREATE TABLE runs (run_uuid TEXT PRIMARY KEY, start_time, lifecycle_stage) WITHOUT ROWID; "
        f"INSERT INTO runs VALUES ('{RUN}', 'x', x'ff')",
        "UPDATE metrics SET value = 'text', step = x'00ff'",
        "UPDATE params SET value = CAST(zeroblob(5000000) AS TEXT), key = CAST(x'ff' AS TEXT)",
    ],
)
def test_a_hostile_database_ends_in_a_reason(tmp_path: Path, hostile: str) -> None:
    path = database(tmp_path / "x.db", extra=hostile)
    before = path.read_bytes()
    _, _, error = read(File(tmp_path, path.name, member=RUN))
    if "RECURSIVE" in hostile or "CREATE VIEW" in hostile:
        assert str(error) == "not taken"
    elif "INTO runs" not in hostile:
        assert error is not None
        assert error.reason != "not taken"
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.db"]


def test_what_was_read_before_the_trouble_is_kept(tmp_path: Path) -> None:
    path = database(tmp_path / "x.db", extra="UPDATE metrics SET key = hex(zeroblob(800000)) WHERE step = 30")
    series, settings, error = read(File(tmp_path, path.name))
    assert error is not None
    assert error.partial
    assert settings["lr"] == 0.001
    assert same(series["train/loss"].data[:2], [2.5, math.nan])


@cache
def sound() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return database(Path(folder) / "x.db").read_bytes()


@given(st.data())
def test_any_damage_to_a_database_is_read_or_refused(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.db"
        content = bytearray(sound())
        for _ in range(data.draw(st.integers(1, 8))):
            at = data.draw(st.integers(16, len(content) - 1))
            content[at] = data.draw(st.integers(0, 255))
        path.write_bytes(content[: data.draw(st.integers(16, len(content)))])
        read(File(path.parent, path.name, member=data.draw(st.sampled_from(["", RUN]))))


@given(st.binary(max_size=200))
def test_any_bytes_behind_the_head_of_a_database_are_refused(tail: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "x.db").write_bytes(b"SQLite format 3\0" + tail)
        assert read(File(Path(folder), "x.db"))[2] is not None


def metric(data: bytes, *, described: bool = True) -> tuple[list[float], ReadError | None]:
    with tempfile.TemporaryDirectory() as folder:
        if described:
            (Path(folder) / "meta.yaml").write_text(META)
        series, _, error = read(File(Path(folder), "metrics/loss", data))
        return list(series["loss"].data) if series else [], error


@pytest.mark.parametrize(
    ("text", "values", "reason"),
    [
        ("1700000000000 1.5 0\n", [1.5], None),
        ("1700000000000 1.5 0", [1.5], None),
        ("1700000000 1.5\n1700000001 2.5\n", [1.5, 2.5], None),
        ("1700000000000 1.5 0\r\n1700000000000 2 1\r\n", [1.5, 2], None),
        ("1700000000000 1.5 0 data 0f\n1700000000000 2 1\n", [1.5, 2], None),
        ("1700000000000 1.5 0\n1700000000000 2 1", [1.5], None),
        ("1700000000000 1.5 0\n<<<<<<< HEAD\n1700000000000 2 1\n", [1.5, 2], "1 of 3 lines"),
        ("1700000000000 1.5 0\n1700000000000 1.2.3 1\n1700000000000 .5 2\n", [1.5, 0.5], "1 of 3 lines"),
        ("", [], "the file is empty"),
        ("loss,acc\n1,2\n", [], "not taken"),
    ],
)
def test_lines_of_a_metric(text: str, values: list[float], reason: str | None) -> None:
    found, error = metric(text.encode())
    assert found == values
    assert (reason or "None") in str(error)


def test_what_lies_in_a_folder_called_metrics_is_mlflows_only_by_what_it_holds() -> None:
    assert metric(b"1700000000000 1.5 0\n", described=False)[0] == [1.5]
    assert str(metric(b"17 1.5 0\n", described=False)[1]) == "not taken"
    assert str(metric(b"", described=False)[1]) == "not taken"


@given(st.lists(st.tuples(st.floats(), st.integers(-5, 10**12)), min_size=1, max_size=12), st.integers(0, 500))
def test_any_prefix_of_a_metric_keeps_every_whole_line(points: list[tuple[float, int]], cut: int) -> None:
    lines = [f"1700000000000 {value} {step}\n" for value, step in points]
    text = "".join(lines)[:cut]
    whole = text.count("\n")
    found, _ = metric(text.encode())
    assert same(found[:whole], [v for v, _ in points[:whole]])
    assert len(found) == whole or (whole == 0 and len(found) == 1)


@given(st.binary(max_size=120))
def test_any_bytes_of_a_metric_parameter_or_description_are_read_or_refused(data: bytes) -> None:
    metric(data)
    metric(b"1700000000000 1.5 0\n" + data)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "meta.yaml").write_text(META)
        for path in ("params/lr", "tags/mlflow.user"):
            read(File(Path(folder), path, data))
        read(File(Path(folder), "meta.yaml", META.encode() + data))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("1e-3", 0.001), ("None", None), ("true", True), ("adam", "adam"), ("", ""), ("run_1", "run_1"),
        ("1_0", "1_0"), ("(0.9, 0.999)", (0.9, 0.999)), ("[]", ()), ("(1,)", (1,)), ("['a', \"b\"]", ("a", "b")),
        ("[[1], 2]", "[[1], 2]"), ("{'a': 1}", "{'a': 1}"), ("two words", "two words"),
    ],
)  # fmt: skip
def test_text_is_read_as_the_value_it_spells(text: str, value: object) -> None:
    assert literal(text) == value
    assert type(literal(text)) is type(value)


@given(st.text(max_size=30))
def test_any_text_is_a_value(text: str) -> None:
    assert isinstance(literal(text), bool | int | float | str | tuple | None)


def test_a_secret_among_the_parameters_is_not_kept(tmp_path: Path) -> None:
    write_files(tmp_path, {"meta.yaml": META, "params/api_key": "0123456789abcdef", "params/lr": "0.1"})
    assert read(File(tmp_path, "params/lr"))[1] == {"lr": 0.1}
    assert read(File(tmp_path, "params/api_key")) == ({}, {}, None)
