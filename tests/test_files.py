"""Files as readers see them: encodings, places in bytes and characters, limits."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from mldiag import files
from mldiag.errors import ReadError
from mldiag.files import File

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


def file(content: bytes) -> File:
    return File(Path(), "x", content)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_text_is_decoded_whatever_unicode_encoding_it_is_in(encoding: str) -> None:
    assert file("época,perda\n1,2.5\n".encode(encoding)).text == "época,perda\n1,2.5\n"


def test_bytes_that_are_no_text_are_named_with_their_line() -> None:
    with pytest.raises(ReadError, match="byte 0xff is not UTF-8 text") as caught:
        file(b"a\nb\xff\n").text  # noqa: B018
    assert caught.value.line == 2


@given(TEXT, TEXT, TEXT, st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_a_source_spans_exactly_the_bytes_of_its_text(before: str, value: str, after: str, encoding: str) -> None:
    data = f"{before}{value}{after}".encode(encoding)
    read = file(data)
    if read.encoding != encoding:  # the text itself begins with a mark or looks like UTF-16
        return
    source = read.source(len(before), len(before) + len(value))
    assert source.start is not None
    assert data[source.start : source.end].decode("utf-16-le" if encoding == "utf-16" else "utf-8") == value
    assert source.text == value
    assert source.line == f"{before}".count("\n") + 1


@given(TEXT)
def test_every_line_is_found_again(text: str) -> None:
    read = file(text.encode())
    if read.encoding == "utf-8":
        lines = read.text.split("\n")
        assert [read.line(n + 1) for n in range(len(lines))] == [line.rstrip("\r") for line in lines]


def test_bare_nan_and_infinity_are_read() -> None:
    value = file(b'{"a": NaN, "b": -Infinity}').json
    assert math.isnan(value["a"])
    assert value["b"] == -math.inf


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b'{"loss": [1.0, 2.', "cut file"),
        (b'{"loss": "abc', "cut file"),
        (b'{"loss": [1.0,, 2.0]}', "not valid JSON"),
        (b"[" * 200_000, "nested too deeply"),
    ],
)
def test_what_is_not_json_says_why(content: bytes, reason: str) -> None:
    with pytest.raises(ReadError, match=reason):
        file(content).json  # noqa: B018


def test_a_number_too_long_for_python_is_a_reading_error_not_a_crash() -> None:
    with pytest.raises(ReadError):
        file(b'{"a": ' + b"9" * 5000 + b"}").json  # noqa: B018


def test_a_line_over_the_limit_is_refused_with_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LINE_LIMIT", 1000)
    (tmp_path / "x").write_bytes(b"a\n" + b"1" * 2000 + b"\n")
    with pytest.raises(ReadError, match="a line of 0 MB") as caught:
        File(tmp_path, "x").data  # noqa: B018
    assert caught.value.line == 2


def test_a_document_over_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "big.json").open("wb") as stream:
        stream.truncate(200 * 10**6)
    with pytest.raises(ReadError, match="200 MB in one document"):
        File(tmp_path, "big.json").data  # noqa: B018


def test_a_file_that_is_gone_is_a_reading_error(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="no such file"):
        File(tmp_path, "gone").head  # noqa: B018


@given(st.recursive(st.none() | st.integers() | st.floats(allow_nan=False) | TEXT, st.lists, max_leaves=10))
def test_json_documents_are_read_as_json_reads_them(value: object) -> None:
    assert file(json.dumps(value).encode()).json == value


def test_a_line_that_only_another_count_of_lines_has_is_empty() -> None:
    assert file(b"a\rb\rc\n").line(1) == "a\rb\rc"
    assert file(b"a\rb\rc\n").line(4) == ""
