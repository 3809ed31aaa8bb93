"""Files as readers see them: encodings, places in bytes and characters, limits."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from mldiag import files
from mldiag.errors import ReadError
from mldiag.files import File

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


def file(content: bytes) -> File:
    return File(Path(), "x", content)


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "latin-1"],
)
def test_text_is_decoded_whatever_unicode_encoding_it_is_in(encoding: str) -> None:
    assert file("época,perda\n1,2.5\n".encode(encoding)).text == "época,perda\n1,2.5\n"


def test_bytes_that_are_no_text_are_named_with_their_line() -> None:
    with pytest.raises(ReadError, match="byte 0xff is not UTF-8 text") as caught:
        file(b"a\nb\xff\n").text  # noqa: B018
    assert caught.value.line == 2


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("# é uma função de perda, não é?\nlr = 1", "latin-1"),
        ("# AÇÃO, FUNÇÃO, ção ções\nlr = 1", "latin-1"),
        ("第1轮 训练损失 0.52 验证损失 0.61\n第2轮 训练损失 0.41", "gb18030"),
        ("损失: 0.5，学习率: 1e-3\n", "gb18030"),
        ("época 1: perda 0.5, média 第一轮\n", "utf-8"),
    ],
)
def test_an_encoding_that_no_mark_tells_is_known_by_its_bytes(text: str, encoding: str) -> None:
    read = file(text.encode(encoding))
    assert read.encoding == encoding
    assert read.text == text
    assert b"".join(block.data for block in read.blocks()) == text.encode()


def test_damaged_utf_8_stays_utf_8_and_its_other_characters_are_right() -> None:
    read = file("época 1: média 0.5\n".encode() + b"\xc3\x28 broken\n")
    assert read.encoding == "utf-8"
    assert read.lenient_text.startswith("época 1: média")


@pytest.mark.parametrize("encoding", ["latin-1", "gb18030", "utf-32"])
def test_a_place_is_right_in_bytes_in_other_encodings(encoding: str) -> None:
    text = "# não é\nlr = 0.1\n" if encoding == "latin-1" else "# 学习率 损失函数\nlr = 0.1\n"
    data = text.encode(encoding)
    read = file(data)
    at = read.text.index("0.1")
    source = read.source(at, at + 3)
    assert source.start is not None
    assert data[source.start : source.end].decode(read.codec) == "0.1"


LINES = st.lists(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=12), max_size=8)


@given(
    LINES, st.sampled_from(["\n", "\r\n"]), st.booleans(), st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"])
)
def test_blocks_are_the_file_in_whole_lines(lines: list[str], end: str, closed: bool, encoding: str) -> None:
    text = end.join(lines) + (end if closed else "")
    read = file(text.encode(encoding))
    if read.encoding != encoding:
        return
    for size in (1, 3, 7, 2**20):
        blocks = list(read.blocks(size))
        assert b"".join(b.data for b in blocks) == text.encode()
        assert all(b.data.endswith(b"\n") for b in blocks[:-1])
        assert [b.ends for b in blocks] == [b.data.count(b"\n") for b in blocks]
        assert [b.line for b in blocks] == [1 + sum(c.ends for c in blocks[:i]) for i in range(len(blocks))]


def test_lone_carriage_returns_end_blocks_where_nothing_else_does() -> None:
    blocks = list(file(b"10%\r20%\r30%\r").blocks(5))
    assert b"".join(b.data for b in blocks) == b"10%\r20%\r30%\r"
    assert {b.line for b in blocks} == {1}


def test_a_line_that_does_not_end_is_refused_by_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LINE_LIMIT", 1000)
    with pytest.raises(ReadError, match="a line of more than") as caught:
        list(file(b"a\n" + b"1" * 3000).blocks(100))
    assert caught.value.line == 2


def test_what_is_written_behind_the_first_look_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(b"a\nb\n")
    read = File(tmp_path, "log.txt")
    blocks = read.blocks(2)
    seen = [next(blocks).data]
    for _ in range(10):
        with path.open("ab") as stream:
            stream.write(b"more\n")
    seen += [block.data for block in blocks]
    assert b"".join(seen) == b"a\nb\n"
    assert read.data == b"a\nb\n"


def test_a_file_that_shrinks_has_what_is_left(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(b"a\nb\n" * 100)
    read = File(tmp_path, "log.txt")
    assert read.size == 400
    path.write_bytes(b"a\n")
    assert [block.data for block in read.blocks()] == [b"a\n"]


def test_a_pipe_is_refused_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log.txt")
    for look in (lambda f: f.head, lambda f: f.data, lambda f: f.open(), lambda f: list(f.blocks())):
        with pytest.raises(ReadError, match="not a regular file"):
            look(File(tmp_path, "log.txt"))


def test_a_line_of_a_long_file_is_found_without_decoding_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LONG", 100)
    monkeypatch.setattr(files, "BLOCK", 64)
    read = file("".join(f"line {i}\r\n" for i in range(1, 101)).encode() + b"rest")
    for number in (1, 100, 50, 2, 101):
        assert read.line(number) == (f"line {number}" if number < 101 else "rest")
    assert read.line(500) == ""
    assert read.find("line 77").line == 77
    assert read.find("nowhere").line is None
    assert "lenient_text" not in vars(read)


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
