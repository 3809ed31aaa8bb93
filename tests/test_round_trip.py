"""What is logged is read again, in every form; and no bytes bring a reader down."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from mldiag.artifacts import Series, SettingValue
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.parts import readers_in
from mldiag.readers._places import places
from mldiag.readers._tables.columns import number
from mldiag.readers.jsonl import json_object

READERS = {r.name: r for r in readers_in("mldiag.readers")}
OURS = (
    "json_history",
    "trainer_state",
    "jsonl",
    "csv_table",
    "yaml_config",
    "json_config",
    "toml_config",
    "samples_json",
)

NUMBERS = st.floats(width=64)
LOSSES = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=30)


def series_in(content: bytes, name: str, reader: str) -> dict[str, Series]:
    file = File(Path("nowhere"), name, content)
    assert READERS[reader].takes(name)
    assert READERS[reader].matches(file)
    return {s.raw_name: s for s in READERS[reader].read(file) if isinstance(s, Series)}


def same(got: Sequence[float], wanted: Sequence[float]) -> bool:
    return len(got) == len(wanted) and all(
        a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(got, wanted, strict=True)
    )


@given(LOSSES)
def test_jsonl(rows: list[tuple[float, float]]) -> None:
    text = "".join(json.dumps({"step": n, "loss": a, "val_loss": b}) + "\n" for n, (a, b) in enumerate(rows, 1))
    found = series_in(text.encode(), "log.jsonl", "jsonl")
    assert same(found["loss"].data, [a for a, _ in rows])
    assert same(found["val_loss"].data, [b for _, b in rows])
    assert list(found["loss"].step_data or ()) == list(range(1, len(rows) + 1))


@given(LOSSES)
def test_a_history_document(rows: list[tuple[float, float]]) -> None:
    document = {"loss": [a for a, _ in rows], "val_loss": [b for _, b in rows]}
    found = series_in(json.dumps(document).encode(), "history.json", "json_history")
    assert same(found["loss"].data, document["loss"])
    assert same(found["val_loss"].data, document["val_loss"])
    assert list(found["loss"].epoch_data or ()) == list(range(1, len(rows) + 1))


@given(LOSSES, st.sampled_from([",", ";", "\t", "|"]), st.booleans(), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_a_table_with_any_delimiter(
    rows: list[tuple[float, float]], delimiter: str, quoted: bool, end: str, decimal_comma: bool
) -> None:
    out = io.StringIO()
    writer = csv.writer(
        out, delimiter=delimiter, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL, lineterminator=end
    )
    writer.writerow(["epoch", "loss", "val loss", "note"])
    for n, (a, b) in enumerate(rows, 1):
        cells = [f"{v:.6e}" for v in (a, b)]
        writer.writerow([n, *(c.replace(".", ",") if decimal_comma else c for c in cells), "a, b; c"])
    found = series_in(out.getvalue().encode(), "log.csv", "csv_table")
    assert same(found["loss"].data, [float(f"{a:.6e}") for a, _ in rows])
    assert same(found["val loss"].data, [float(f"{b:.6e}") for _, b in rows])
    assert list(found["loss"].epoch_data or ()) == list(range(1, len(rows) + 1))
    assert "note" not in found


@given(LOSSES)
def test_a_table_with_blanks_between_the_columns(rows: list[tuple[float, float]]) -> None:
    lines = ["# epoch loss val_loss", *(f"{n}   {a!r}  {b!r}" for n, (a, b) in enumerate(rows, 1)), ""]
    found = series_in("\n".join(lines).encode(), "log.tsv", "csv_table")
    assert same(found["val_loss"].data, [b for _, b in rows])


@given(st.lists(st.tuples(st.none() | NUMBERS, st.none() | NUMBERS), min_size=1, max_size=20))
def test_a_ragged_table_keeps_every_value_with_its_step(rows: list[tuple[float | None, float | None]]) -> None:
    lines = ["step,train_loss,val_loss,lr"]
    for n, pair in enumerate(rows):
        lines.append(",".join([str(n), *("" if v is None else repr(v) for v in pair), "0.1"]))
    found = series_in("\n".join(lines).encode() + b"\n", "metrics.csv", "csv_table")
    for at, name in enumerate(["train_loss", "val_loss"]):
        wanted = [(n, r[at]) for n, r in enumerate(rows) if r[at] is not None]
        if wanted:
            series = found[name]
            kept = [i for i in range(len(series)) if i not in series.nulls]
            assert same([series.data[i] for i in kept], [v for _, v in wanted if v is not None])
            assert [(series.step_data or [])[i] for i in kept] == [n for n, _ in wanted]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBERS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


def paths_of(value: object) -> Iterator[tuple[str | int, ...]]:
    """The path of every value of a document, its own (empty) one first."""
    yield ()
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from ((key, *rest) for rest in paths_of(one))


@given(JSON, st.sampled_from([None, 2]), st.booleans())
def test_every_value_of_a_document_is_found_at_its_place(value: object, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    found = places(text)
    assert set(found) == set(paths_of(value))
    for path, (start, end) in found.items():
        inner = value
        for key in path:
            inner = inner[key]  # type: ignore[index]
        assert json.dumps(json.loads(text[start:end])) == json.dumps(inner)


@given(st.dictionaries(st.text(max_size=6), JSON, max_size=4), st.booleans())
def test_a_line_of_json_is_the_object_that_python_reads(value: dict[str, object], ascii_only: bool) -> None:
    line = json.dumps(value, ensure_ascii=ascii_only)
    assert json.dumps(json_object(line)) == json.dumps(json.loads(line))


@pytest.mark.parametrize(
    "line", ['{"a": NaN}', '{"a": -Infinity}', '{"a": 1e999}', '{"a": "\\ud800"}', '{"a": 1, "a": 2}']
)
def test_what_python_writes_beyond_the_standard_is_read(line: str) -> None:
    assert json.dumps(json_object(line)) == json.dumps(json.loads(line))


@pytest.mark.parametrize("line", ["", "{", "[1]", "1", "null", "{'a': 1}", '{"a": 1} x', "[" * 10_000])
def test_a_line_that_is_no_object_is_none(line: str) -> None:
    assert json_object(line) is None


KEYS = st.text("abcdeé", min_size=1, max_size=6).map(lambda k: f"k_{k}")
SCALARS = st.booleans() | st.integers(-(10**9), 10**9) | st.floats(-1e9, 1e9) | st.text("abc é", max_size=6)


@given(st.dictionaries(KEYS, st.dictionaries(KEYS, SCALARS, min_size=1, max_size=4), max_size=4))
@pytest.mark.parametrize("name", ["config.json", "config.yaml"])
def test_every_setting_is_read_with_the_span_of_its_value(name: str, config: dict[str, dict[str, object]]) -> None:
    text = json.dumps({"seed": 1, **config}, indent=1, ensure_ascii=False)  # YAML is a superset of this
    file = File(Path("nowhere"), name, text.encode())
    found = {
        s.name: s for s in READERS[name.replace("config.", "") + "_config"].read(file) if isinstance(s, SettingValue)
    }
    wanted = {"seed": 1} | {f"{a}.{b}": v for a, inner in config.items() for b, v in inner.items()}
    assert {n: s.value for n, s in found.items()} == wanted
    for setting in found.values():
        start, end = setting.source.start, setting.source.end
        assert json.loads(file.data[start:end]) == setting.value


@settings(max_examples=200)
@given(st.sampled_from(OURS), st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused_with_a_reason(name: str, content: bytes) -> None:
    reader = READERS[name]
    reasons: list[str] = []
    for pattern in reader.patterns:
        file = File(Path("nowhere"), pattern.replace("*", "log"), content)
        try:
            if reader.matches(file):
                list(reader.read(file))
        except ReadError as error:
            reasons.append(error.reason)
    assert all(reasons)


LOGLIKE = st.lists(
    st.sampled_from(
        ['{"step": 1, "loss": 2}', '{"loss":', "step,loss", "1,2", "1;2", "a\t1", "[", "{", "]", "}", '"', "null",
         "- a", "a: 1", "a: [", "&a *a", "x = 1", "[t]", '"epoch": 1', "#", "\0", "\ufeff", "é", "1e999", "NaN",
         ",,,", "<<: *a",
         '{"prompt": "a", "output": "ab"}', '{"log_history": [{"step": 1}]}', '{"samples": ["a"]}']
    ),
    max_size=12,
)  # fmt: skip


@settings(max_examples=300)
@given(st.sampled_from(OURS), LOGLIKE, st.sampled_from(["\n", "", " ", "\r\n"]))
def test_any_mixture_of_pieces_is_read_or_refused_with_a_reason(name: str, pieces: list[str], joint: str) -> None:
    test_any_bytes_are_read_or_refused_with_a_reason.hypothesis.inner_test(name, joint.join(pieces).encode())  # type: ignore[attr-defined]


@given(NUMBERS)
def test_a_number_is_read_as_it_was_written(value: float) -> None:
    for written in (value, repr(value), f" {value!r} "):
        got = number(written)
        assert got is not None
        assert got == value or (math.isnan(got) and math.isnan(value))


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1,234.5", 1234.5),
        ("12 %", 0.12),
        ("tensor(0.25, device='cuda:0')", 0.25),
        ("1e999", math.inf),
        (10**400, math.inf),
        (-(10**400), -math.inf),
        ("-1.#INF", -math.inf),
        ("abc", None),
        ("", None),
        (True, None),
        (None, None),
        ([1], None),
    ],
)
def test_spellings_of_numbers(written: object, value: float | None) -> None:
    assert number(written) == value


@pytest.mark.parametrize(
    ("written", "value"), [("0,5", 0.5), ("1,234", 1.234), ("1.234,5", 1234.5), ("-0,5e-3", -0.0005)]
)
def test_decimal_commas(written: str, value: float) -> None:
    assert number(written, decimal_comma=True) == value
