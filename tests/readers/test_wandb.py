"""Binary files of Weights & Biases: what is read is what was written, whatever happens to the bytes behind it."""

from __future__ import annotations

import json
import math
import re
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from mldiag.artifacts import Series, SettingValue
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers import as_reader
from mldiag.readers._stores.leveldb_log import BLOCK
from mldiag.readers.wandb_metadata import wandb_metadata
from mldiag.readers.wandb_run import MAGIC, wandb_run
from mldiag.readers.wandb_summary import wandb_summary

HEADER = MAGIC + b"\0"
HISTORY, SUMMARY, CONFIG, METRIC, OUTPUT, RUN, EXIT = 2, 3, 5, 12, 13, 17, 18
KEY, NESTED_KEY, VALUE_JSON = 1, 2, 16


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def message(number: int, data: bytes | str) -> bytes:
    data = data.encode() if isinstance(data, str) else data
    return varint(number << 3 | 2) + varint(len(data)) + data


def number_field(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def item(key: str | tuple[str, ...], value: object) -> bytes:
    """A key as one word is written as `key`, as Python's sender did; parts as `nested_key`, as the core does."""
    names = message(KEY, key) if isinstance(key, str) else b"".join(message(NESTED_KEY, k) for k in key)
    return names + message(VALUE_JSON, json.dumps(value))


def history(row: Mapping[str | tuple[str, ...], object], step: int | None = None) -> bytes:
    data = b"".join(message(1, item(k, v)) for k, v in row.items())
    return message(HISTORY, data if step is None else data + message(2, number_field(1, step) if step else b""))


def updates(number: int, values: Mapping[str | tuple[str, ...], object]) -> bytes:
    return message(number, b"".join(message(1, item(k, v)) for k, v in values.items()))


def log(records: Sequence[bytes]) -> bytes:
    out = bytearray(HEADER)
    for index, body in enumerate(records):
        data = number_field(1, index + 1) + body
        room = BLOCK - len(out) % BLOCK
        if room < 7:
            out += bytes(room)
        kind = 1
        while True:
            room = BLOCK - len(out) % BLOCK - 7
            piece, data = data[:room], data[room:]
            kind = {(True, 1): 1, (False, 1): 2, (True, 2): 4, (False, 2): 3}[not data, kind]
            out += struct.pack("<IHB", zlib.crc32(piece, zlib.crc32(bytes([kind]))), len(piece), kind) + piece
            if not data:
                break
            kind = 2
    return bytes(out)


def rows(count: int) -> Iterator[dict[str | tuple[str, ...], object]]:
    for i in range(count):
        yield {("train/loss",): 2.0 / (i + 1), ("_step",): i, ("_timestamp",): 1.7e9 + i, ("_runtime",): float(i)}


def read(data: bytes, path: str = "run-x.wandb") -> tuple[dict[str, Series], dict[str, object], ReadError | None]:
    series: dict[str, Series] = {}
    settings: dict[str, object] = {}
    read_with = {"wandb-summary.json": wandb_summary, "wandb-metadata.json": wandb_metadata}.get(path, wandb_run)
    try:
        for artifact in read_with(File(Path("/nowhere"), path, data)):
            if isinstance(artifact, Series):
                series[artifact.raw_name] = artifact
            elif isinstance(artifact, SettingValue):
                assert artifact.record
                settings[artifact.name] = artifact.value
    except ReadError as error:
        return series, settings, error
    return series, settings, None


@pytest.mark.parametrize("nested", [False, True], ids=["key", "nested_key"])
def test_a_row_is_read_as_either_sender_writes_it(nested: bool) -> None:
    written: list[dict[str, object]] = [
        {"loss": 2.5, "lr": 1e-3, "_step": 0, "_timestamp": 1700000000.5, "_runtime": 1},
        {"loss": math.nan, "lr": 5, "_step": 7, "_timestamp": 1700000001.5, "_runtime": 2},
        {"loss": -math.inf, "_step": 8, "_timestamp": 1700000002, "_runtime": 3},
    ]
    records = [history({(k,) if nested else k: v for k, v in row.items()}) for row in written]
    series, _, error = read(log(records))
    assert error is None
    assert set(series) == {"loss", "lr"}
    loss = series["loss"]
    assert loss.data[0] == 2.5
    assert math.isnan(loss.data[1])
    assert loss.data[2] == -math.inf
    assert list(loss.step_data or ()) == [0, 7, 8]
    assert list(loss.time_data or ()) == [1700000000.5, 1700000001.5, 1700000002]
    assert list(series["lr"].step_data or ()) == [0, 7]
    assert loss.lines is None


def test_keys_of_more_than_127_bytes_and_long_values_are_read() -> None:
    long = "a" * 130 + "\x01\u0082"
    text = "0." + "3" * 200
    body = message(1, message(NESTED_KEY, long) + message(VALUE_JSON, text))
    series, _, error = read(log([message(HISTORY, body)] * 3))
    assert error is None
    assert list(series[long].data) == [float(text)] * 3


def test_typed_values_of_newer_releases_are_read() -> None:
    body = b"".join(
        message(1, message(NESTED_KEY, name) + value)
        for name, value in {
            "number": varint(6 << 3 | 1) + struct.pack("<d", 0.25),
            "integer": number_field(5, 9),  # zigzag: -5
            "none": number_field(3, 0),
            "boolean": number_field(4, 1),
            "text": message(7, "hello"),
            "json": message(8, "0.5"),
        }.items()
    )
    series, _, error = read(log([message(HISTORY, body)] * 2))
    assert error is None
    assert {n: list(s.data) for n, s in series.items()} == {
        "number": [0.25, 0.25],
        "integer": [-5, -5],
        "json": [0.5, 0.5],
    }


def test_without_an_item_for_it_the_step_is_that_of_the_row() -> None:
    series, _, _ = read(log([history({"loss": 1.0}, step) for step in (0, 5, 300)]))
    assert list(series["loss"].step_data or ()) == [0, 5, 300]


def test_the_declared_axis_goes_before_all_others() -> None:
    declared = [
        message(METRIC, message(1, "samples")),
        message(METRIC, message(2, "val/*") + message(4, "samples")),
        message(METRIC, message(1, "val/acc") + message(4, "val_epoch_done")),
    ]
    written: list[dict[str | tuple[str, ...], object]] = [
        {"val/loss": 2.0, "val/acc": 0.5, "loss": 3.0, "samples": 640, "val_epoch_done": 1, "_step": 7},
        {"val/loss": 1.0, "val/acc": 0.6, "loss": 2.0, "samples": 1280, "val_epoch_done": 2, "_step": 9},
        {"loss": 1.0, "_step": 10},
    ]
    series, _, error = read(log([*declared, *map(history, written)]))
    assert error is None
    assert set(series) == {"loss", "val/loss", "val/acc"}
    assert list(series["loss"].step_data or ()) == [7, 9, 10]
    assert list(series["val/loss"].step_data or ()) == [640, 1280]
    assert list(series["val/acc"].epoch_data or ()) == [1, 2]


def test_media_are_passed_over_in_both_forms() -> None:
    image = {"_type": "image-file", "width": 5, "size": 9, "path": "x.png"}
    nested: dict[str | tuple[str, ...], object] = {"loss": 2.0}
    nested |= {("pictures", "a", k): v for k, v in image.items()}
    records = [history({"loss": 1.0, "picture": image}), history(nested)]
    assert set(read(log(records))[0]) == {"loss"}


def test_nulls_texts_truth_values_and_lists() -> None:
    written: list[dict[str | tuple[str, ...], object]] = [
        {"loss": 1.0, "note": "a", "flag": True, "list": [1, 2], "gone": None, "said": "0.5"},
        {"loss": None, "note": "b", "flag": False, "list": [3], "gone": None, "said": "NaN"},
        {"loss": 3.0},
    ]
    series, _, error = read(log([history(row) for row in written]))
    assert error is None
    assert set(series) == {"loss", "said"}
    assert series["loss"].nulls == (1,)
    assert list(series["loss"].data)[::2] == [1.0, 3.0]
    assert series["said"].data[0] == 0.5


def test_the_configuration_is_what_the_run_last_had() -> None:
    run = message(RUN, message(1, "x") + message(4, updates(0, {})[2:]))
    started = message(RUN, message(4, b"".join(message(1, item(k, v)) for k, v in {"lr": 0.1, "a": {"b": 1}}.items())))
    removed = message(CONFIG, message(2, message(KEY, "old")))
    records = [run, updates(CONFIG, {"old": 1}), started, updates(CONFIG, {"lr": 0.2, ("a", "c"): [1, 2]}), removed]
    series, settings, error = read(log([*records, message(EXIT, number_field(1, 255))]))
    assert error is None
    assert not series
    assert settings == {"lr": 0.2, "a.b": 1, "a.c": (1, 2), "exit_code": 255}


def test_without_history_the_summary_is_one_point() -> None:
    summary = updates(SUMMARY, {"best": 0.9, "_step": 4, ("_wandb", "runtime"): 3, ("val", "acc"): 0.5})
    series, _, _ = read(log([summary, message(OUTPUT, message(3, "done"))]))
    assert {n: list(s.data) for n, s in series.items()} == {"best": [0.9], "val/acc": [0.5]}
    assert list(series["best"].step_data or ()) == [4]
    assert set(read(log([summary, history({"loss": 1.0})]))[0]) == {"loss"}


def test_what_a_damaged_place_costs_is_counted_and_the_rest_is_read() -> None:
    data = bytearray(log([history(row) for row in rows(3000)]))
    data[5 * BLOCK // 2] ^= 0xFF
    series, _, error = read(bytes(data))
    assert error is not None
    assert error.partial
    assert "damaged in 1 place," in error.reason
    steps = list(series["train/loss"].step_data or ())
    assert 2990 <= len(steps) < 3000
    assert steps[-1] == 2999
    assert list(series["train/loss"].data) == [2.0 / (s + 1) for s in steps]


def test_a_damaged_length_at_the_end_does_not_hide_what_stands_behind_it() -> None:
    written = [history(row) for row in rows(40)]
    data = bytearray(log(written))
    at = len(log(written[:20])) + 4
    data[at : at + 2] = struct.pack("<H", 20_000)
    series, _, error = read(bytes(data))
    assert error is not None
    assert error.partial
    assert list(series["train/loss"].step_data or ()) == [*range(20), *range(21, 40)]


def test_a_whole_damaged_block_costs_that_block() -> None:
    data = bytearray(log([history(row) for row in rows(3000)]))
    data[2 * BLOCK : 3 * BLOCK] = bytes(BLOCK)
    series, _, error = read(bytes(data))
    assert error is not None
    found = re.search(r"damaged in 1 place, the first at byte ([\d,]+): ([\d,]+) of", error.reason)
    assert found is not None
    first, lost = (int(n.replace(",", "")) for n in found.groups())
    assert first == 2 * BLOCK
    # The block, and the pieces of the records that begin or end in it.
    assert BLOCK <= lost < BLOCK + 300
    assert 2000 < len(series["train/loss"]) < 3000


def test_records_over_several_blocks_are_put_together() -> None:
    names: dict[str | tuple[str, ...], object] = {f"layer.{i}.weight": i / 7 for i in range(5000)}
    series, _, error = read(log([history(names), history({"loss": 1.0})]))
    assert error is None
    assert {n: list(s.data) for n, s in series.items()} == {**{n: [v] for n, v in names.items()}, "loss": [1.0]}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (HEADER[:5], "the file ends within its header"),
        (HEADER + b"\x01" * 50, "no whole record with a valid checksum"),
        (MAGIC + b"\x07" + b"\x01" * 50, "version 7 of the file format; 0 is known"),
        (log([b"\x0b\x0c"]), "1 of 1 records are not what W&B writes"),
    ],
)
def test_a_file_that_holds_nothing_says_why(data: bytes, reason: str) -> None:
    series, settings, error = read(data)
    assert not series
    assert not settings
    assert error is not None
    assert reason in error.reason
    assert not error.partial


def test_a_file_of_another_format_is_not_taken() -> None:
    assert not as_reader(wandb_run).matches(File(Path("/nowhere"), "run-x.wandb", b"something else"))


VALUES = st.one_of(st.floats(), st.integers(-(2**63), 2**63), st.none(), st.text(max_size=5), st.booleans())
KEYS = st.one_of(st.text(min_size=1, max_size=6), st.tuples(st.sampled_from("abc"), st.text(min_size=1, max_size=3)))
ROWS = st.lists(st.dictionaries(KEYS, VALUES, max_size=4), max_size=8)


@given(ROWS, st.integers(0, 400))
def test_any_prefix_keeps_every_whole_row(written: list[dict[str | tuple[str, ...], object]], cut: int) -> None:
    whole = [history({**row, ("kept",): 1.0 + i}, i) for i, row in enumerate(written)]
    data = log(whole)
    ends = [len(log(whole[: i + 1])) for i in range(len(whole))]
    cut = min(len(data), len(HEADER) + cut)
    series, _, error = read(data[:cut])
    assert error is None or not any(end <= cut for end in ends)
    kept = series["kept"].data if "kept" in series else []
    assert list(kept) == [1.0 + i for i, end in enumerate(ends) if end <= cut]


@given(st.binary(max_size=300), st.lists(st.binary(max_size=60), max_size=4))
def test_any_bytes_are_read_or_refused(tail: bytes, records: list[bytes]) -> None:
    read(HEADER + tail)
    read(log(records) + tail)
    read(log([message(number, body) for number in (HISTORY, SUMMARY, CONFIG, METRIC, RUN, EXIT) for body in records]))
    read(log([message(HISTORY, message(1, body)) for body in records] * 2))


@given(st.integers(0, 5000), st.binary(min_size=1, max_size=20))
def test_any_overwritten_bytes_leave_only_rows_that_were_written(at: int, junk: bytes) -> None:
    written = [history(row) for row in rows(60)]
    data = bytearray(log(written))
    at = len(HEADER) + at % (len(data) - len(HEADER))
    data[at : at + len(junk)] = junk
    series, _, _ = read(bytes(data))
    if "train/loss" in series:
        steps = series["train/loss"].step_data or ()
        assert list(series["train/loss"].data) == [2.0 / (s + 1) for s in steps]


@given(st.binary(max_size=100), st.recursive(VALUES, lambda v: st.dictionaries(st.text(max_size=8), v), max_leaves=8))
def test_any_summary_and_metadata_are_read_or_refused(junk: bytes, document: object) -> None:
    for path in ("wandb-summary.json", "wandb-metadata.json"):
        read(junk, path)
        read(json.dumps(document).encode(), path)
        read(json.dumps({"args": document, "program": document}).encode(), path)


@given(st.lists(st.text(max_size=8), max_size=6))
def test_any_arguments_are_read(words: list[str]) -> None:
    assert read(json.dumps({"args": words}).encode(), "wandb-metadata.json")[2] is None


def test_a_secret_among_configuration_and_arguments_is_not_kept() -> None:
    config = updates(CONFIG, {"lr": 0.1, "api_key": "0123456789abcdef"})
    assert read(log([config]))[1] == {"lr": 0.1}
    words = {"args": ["--api_key", "0123456789abcdef", "--lr", "0.1"]}
    assert read(json.dumps(words).encode(), "wandb-metadata.json")[1] == {"lr": 0.1}
