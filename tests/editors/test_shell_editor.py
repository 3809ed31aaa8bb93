"""Edits of shell scripts are exact to the byte and keep the script's own style."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from random import Random

import pytest
from edited_documents import called, check, check_words
from hypothesis import assume, given, settings, strategies as st

from mldiag.artifacts import Flag, Launch, Role, Scalar, SettingValue
from mldiag.assembly import literal
from mldiag.editors import add_flag, edit_setting, shell
from mldiag.files import File, Folder
from mldiag.findings import Edit
from mldiag.fixes import apply_edits
from mldiag.readers.shell import shell as read_shell


def launch(content: bytes) -> Launch:
    (found,) = read_shell(File(Path("nowhere"), "run.sh", content))
    assert isinstance(found, Launch)
    return found


def flag(content: bytes, name: str) -> Flag:
    (found,) = [f for f in launch(content).flags if f.name == name]
    return found


def applied(content: bytes, *edits: Edit) -> bytes:
    return apply_edits(edits, Folder(Path("nowhere"), (), {"run.sh": content}))["run.sh"]


def replaced(content: bytes, name: str, value: Scalar) -> bytes:
    return applied(content, shell.replaced(flag(content, name).source, value))


@pytest.mark.parametrize(
    ("line", "value", "expected"),
    [
        ("python t.py --x 320 \\", 256, "python t.py --x 256 \\"),
        ("python t.py --x=320", 83306, "python t.py --x=83306"),
        ("python t.py --x 3e-4", 1e-4, "python t.py --x 1e-4"),
        ("python t.py --x 3E-04", 1e-5, "python t.py --x 1E-05"),
        ("python t.py --x 1.0e-4", 3e-4, "python t.py --x 3.0e-4"),
        ("python t.py --x 5e+2", 2.5e3, "python t.py --x 2.5e+3"),
        ("python t.py --x 0.0003", 1e-4, "python t.py --x 0.0001"),
        ("python t.py --x 0.1", 0.01, "python t.py --x 0.01"),
        ("python t.py --x 0.00003", 1e-7, "python t.py --x 0.0000001"),
        ("python t.py --x 0.1", 1.25e-13, "python t.py --x 1.25e-13"),
        ("python t.py --x 10000", 65.0, "python t.py --x 65"),
        ("python t.py --x 10_000", 83306, "python t.py --x 83_306"),
        ("python t.py --x 2e3", 1302, "python t.py --x 1302"),
        ("python t.py --x 0.5", 1.0, "python t.py --x 1.0"),
        ("python t.py --x 'a b'", "it's", "python t.py --x 'it'\\''s'"),
        ('python t.py --x "a b"', 'c "$d"', 'python t.py --x "c \\"\\$d\\""'),
        ("python t.py --x a", "b c", "python t.py --x 'b c'"),
        ("python t.py --x a", "", "python t.py --x ''"),
        ("python t.py --x 0.9 0.95", "0.9 0.99", "python t.py --x 0.9 0.99"),
        ("python t.py --x true", False, "python t.py --x false"),
        ("python t.py --x True", False, "python t.py --x False"),
        ('python t.py --x "320" # c', 64, 'python t.py --x "64" # c'),
        # What follows in a column stays in it.
        ("python t.py --x 320   # tokens", 64, "python t.py --x 64    # tokens"),
        ("python t.py --x 320    \\", 10000, "python t.py --x 10000  \\"),
        ("python t.py --x '320'   \\", 64, "python t.py --x '64'    \\"),
        ("python t.py --x 320  # tokens", 10000, "python t.py --x 10000  # tokens"),
        ("python t.py --x 320  --y 1", 64, "python t.py --x 64  --y 1"),
    ],
)
def test_a_value_is_replaced_in_the_style_of_the_script(line: str, value: Scalar, expected: str) -> None:
    for end in ("\n", "\r\n"):
        assert replaced((line + end).encode(), "--x", value) == (expected + end).encode()


def test_a_variable_is_changed_where_it_is_assigned() -> None:
    content = b'\xef\xbb\xbfSEQ=320 # \xc3\xa9\nLR="3e-4"\npython t.py --x $SEQ --lr $LR\n'
    assert replaced(content, "--x", 256) == content.replace(b"320", b"256")
    assert replaced(content, "--lr", 1e-4) == content.replace(b"3e-4", b"1e-4")


def test_a_shared_variable_is_not_changed() -> None:
    found = flag(b"N=3\npython t.py --x $N\n", "--x")
    alone = SettingValue("x", 3, Role.FLAG, found.source, "shell")
    assert edit_setting(alone, 4) is not None
    assert edit_setting(SettingValue("x", 3, Role.FLAG, found.source, "shell", ("y",)), 4) is None


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("python t.py --x 1\n", 42, "python t.py --x 1 --seed 42\n"),
        ("python t.py --x=1 2>&1 | tee log\n", 42, "python t.py --x=1 --seed=42 2>&1 | tee log\n"),
        (
            "python t.py \\\n    --x 1 \\\n    --y 2 > log\n",
            42,
            "python t.py \\\n    --x 1 \\\n    --y 2 \\\n    --seed 42 > log\n",
        ),
        ("python t.py \\\r\n\t--x 1\r\n", 42, "python t.py \\\r\n\t--x 1 \\\r\n\t--seed 42\r\n"),
        ("python t.py # x\n", None, "python t.py --seed # x\n"),
        ("python t.py --x 'é'\n", "a b", "python t.py --x 'é' --seed 'a b'\n"),
        ('A=(--x 1)\npython t.py "${A[@]}"; echo\n', 42, 'A=(--x 1)\npython t.py "${A[@]}" --seed 42; echo\n'),
    ],
)
def test_a_flag_is_added_in_the_style_of_the_script(text: str, value: Scalar, expected: str) -> None:
    content = text.encode()
    edit = add_flag(launch(content), "--seed", value)
    assert edit is not None
    changed = applied(content, edit)
    assert changed.decode() == expected
    assert flag(changed, "--seed").value == (None if value is None else str(value))


def test_without_a_launch_no_flag_is_added() -> None:
    assert add_flag(None, "--seed", 1) is None


NUMBERS = st.one_of(st.integers(-(10**9), 10**9), st.floats(allow_nan=False, allow_infinity=False))
TEXTS = st.text(
    st.characters(codec="utf-8", exclude_characters="\x00\r", exclude_categories=["Cs"]), max_size=10
).filter(lambda t: not t.startswith("-"))
QUOTES = st.sampled_from(["", '"', "'"])
SPACES = st.sampled_from(["", " ", "  ", "       "])


DOLLAR = '"$X"'


@st.composite
def scripts(draw: st.DrawFn) -> tuple[bytes, str]:
    """A script with several flags and an old value, in quotes or a variable, with something aligned behind it."""
    old = str(draw(NUMBERS))
    quote, join = draw(QUOTES), draw(st.sampled_from([" ", "="]))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    variable = draw(st.booleans())
    written = f"{quote}{old}{quote}"
    lines = [f"X={written}{draw(SPACES)} # ü", "python t.py --a 'é' \\"] if variable else ["python t.py --a 'é' \\"]
    lines.append(f"  --x{join}{DOLLAR if variable else written}{draw(SPACES)} \\")
    lines += ["  --b 2  \\", "  --c"]
    return end.join(lines).encode() + end.encode(), old


@given(scripts(), NUMBERS | TEXTS)
def test_a_replaced_value_is_read_again_and_nothing_else_changes(
    script: tuple[bytes, str], value: int | float | str
) -> None:
    content, _ = script
    changed = replaced(content, "--x", value)
    before, after = launch(content), launch(changed)
    assert [f.name for f in after.flags] == [f.name for f in before.flags]
    assert [f.value for f in after.flags if f.name != "--x"] == [f.value for f in before.flags if f.name != "--x"]
    read = flag(changed, "--x").value
    assert (literal(read) if isinstance(value, int | float) else read) == value


def line_of(content: bytes) -> str:
    """The line that holds the value of `--x`."""
    return flag(content, "--x").source.excerpt or ""


@given(scripts(), NUMBERS)
def test_a_value_that_is_replaced_back_gives_the_identical_bytes(script: tuple[bytes, str], value: float) -> None:
    content, old = script
    changed = replaced(content, "--x", value)
    old_line, new_line = line_of(content), line_of(changed)
    # Where a longer value has pushed what was aligned out of its column, nobody can tell where the column was.
    aligned = re.search(r" {2,}(\\|# ü)$", old_line)
    assume(aligned is None or len(old_line) == len(new_line))
    back = SettingValue("x", value, Role.FLAG, flag(changed, "--x").source, "shell")
    undo = edit_setting(back, old)
    assert undo is not None
    assert applied(changed, undo) == content


@given(st.integers(0, 10**9))
@settings(max_examples=60)
def test_any_edit_of_any_script_changes_one_thing_and_nothing_else(seed: int) -> None:
    check("shell", Random(seed))


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs Bash")
def test_bash_hands_on_the_same_words_but_for_the_value(tmp_path: Path) -> None:
    drawn = [check("shell", Random(f"bash {number}")) for number in range(100)]
    before = called([done.before for done in drawn], tmp_path)
    after = called([done.after for done in drawn], tmp_path)
    for done, old, new in zip(drawn, before, after, strict=True):
        check_words(done, old, new)
