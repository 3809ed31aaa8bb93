"""The diff is exact where a program reads it, and harmless where a person does."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from mldiag.diff import painted, unified
from mldiag.terminal import Screen


def test_a_missing_newline_at_the_end_is_told() -> None:
    assert b"".join(unified(b"lr: 1", b"lr: 2\n", "a.yaml")) == (
        b"--- a/a.yaml\n+++ b/a.yaml\n@@ -1 +1 @@\n-lr: 1\n\\ No newline at end of file\n+lr: 2\n"
    )


def test_bytes_that_are_no_text_and_carriage_returns_are_kept() -> None:
    lines = unified(b"# \xff\r\nlr: 1\r\n", b"# \xff\r\nlr: 2\r\n", "a.yaml")
    assert lines[3:] == [b" # \xff\r\n", b"-lr: 1\r\n", b"+lr: 2\r\n"]


def test_only_a_line_feed_ends_a_line() -> None:
    assert unified(b"a\x0cb\rc\n", b"a\x0cb\rd\n", "x")[3:] == [b"-a\x0cb\rc\n", b"+a\x0cb\rd\n"]


def test_wide_text_is_shown_in_utf8() -> None:
    lines = unified("lr: é\n".encode("utf-16"), "lr: ü\n".encode("utf-16"), "a.yaml")
    assert lines[3:] == ["-lr: é\n".encode(), "+lr: ü\n".encode()]


def test_an_absolute_name_stands_below_a_and_b() -> None:
    assert unified(b"1", b"2", "/tmp/a.yaml")[:2] == [b"--- a/tmp/a.yaml\n", b"+++ b/tmp/a.yaml\n"]


def test_a_name_cannot_break_the_header() -> None:
    assert unified(b"1", b"2", "a\n+++ b/etc/passwd")[0] == b'--- "a/a\\012+++ b/etc/passwd"\n'


@pytest.mark.skipif(shutil.which("patch") is None, reason="patch is not installed")
@pytest.mark.parametrize("name", ["a b.sh", "é b/run 日.sh", 'a"b\\c.sh', "a\tb.sh", "a\u202eb.sh", "-x.sh"])
def test_patch_finds_the_file_whatever_its_name(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"lr: 1\n")
    diff = b"".join(unified(b"lr: 1\n", b"lr: 2\n", name))
    subprocess.run(["patch", "-p1", "--quiet"], input=diff, cwd=tmp_path, check=True, timeout=60)
    assert file.read_bytes() == b"lr: 2\n"


def test_nothing_in_a_file_acts_on_the_terminal() -> None:
    assert painted([b"+\x1b[2Jlr:\t1\r\n"], Screen()) == "+\\x1b[2Jlr:\t1\\r\n"


def test_lines_are_coloured_by_what_they_are() -> None:
    lines = unified(b"python x.py\n--seq 1\n", b"python x.py\n--seq 2\n", "x")
    assert painted(lines, Screen(color=True)).splitlines() == [
        "\x1b[1m--- a/x\x1b[0m",
        "\x1b[1m+++ b/x\x1b[0m",
        "\x1b[36m@@ -1,2 +1,2 @@\x1b[0m",
        " python x.py",
        "\x1b[31m---seq 1\x1b[0m",
        "\x1b[32m+--seq 2\x1b[0m",
    ]
