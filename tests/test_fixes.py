"""Edits are applied exactly, and fixes go on in rounds until nothing is left to edit, or say which ones disagree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from mldiag.artifacts import Unread
from mldiag.errors import FixError
from mldiag.files import Folder
from mldiag.findings import Edit, Finding, Fix, Safety
from mldiag.fixes import MAX_ROUNDS, Fixing, Settled, apply_edits, settle
from mldiag.report import Report, RunReport

Rewrite = tuple[str, Safety, str, str]
"""Code, safety, what is wrong, what it should be: fires at the first place that holds what is wrong."""


def auditor(root: Path, rewrites: list[Rewrite], name: str = "run.sh") -> Callable[[Mapping[Path, bytes]], Report]:
    """An audit of one file, with one finding for each rewrite that still has something to do."""

    def audit(overlay: Mapping[Path, bytes]) -> Report:
        path = root / name
        text = overlay.get(path.resolve(), path.read_bytes()).decode()
        found = [
            Finding(
                f"{old} was found",
                fix=Fix(
                    safety, f"{old} to {new}", (Edit(name, text.index(old), text.index(old) + len(old), old, new),)
                ),
                code=code,
            )
            for code, safety, old, new in rewrites
            if old in text
        ]
        return Report((RunReport(str(root), root.name, tuple(found), clean=("CFG001",)),))

    return audit


def settled(root: Path, content: str, rewrites: list[Rewrite], *, unsafe: bool = False) -> Settled:
    (root / "run.sh").write_text(content)
    return settle(auditor(root, rewrites), unsafe=unsafe)


def text_of(result: Settled) -> str:
    assert len(result.changes) == 1
    return result.changes[0].after.decode()


def folder(tmp_path: Path, content: bytes, name: str = "a.txt") -> Folder:
    (tmp_path / name).write_bytes(content)
    return Folder(tmp_path, (name,))


def test_an_edit_replaces_exactly_its_span(tmp_path: Path) -> None:
    edits = [Edit("a.txt", 6, 9, "320", "256")]
    assert apply_edits(edits, folder(tmp_path, b"--seq 320 # 320\r\n")) == {"a.txt": b"--seq 256 # 320\r\n"}


def test_nothing_is_written_by_applying_edits(tmp_path: Path) -> None:
    apply_edits([Edit("a.txt", 0, 1, "a", "b")], folder(tmp_path, b"abc"))
    assert (tmp_path / "a.txt").read_bytes() == b"abc"


def test_an_edit_that_finds_other_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FixError, match=r"a\.txt: the file changed since it was read: '320' is not at byte 6"):
        apply_edits([Edit("a.txt", 6, 9, "320", "256")], folder(tmp_path, b"--seq 321"))


@pytest.mark.parametrize(("start", "end"), [(4, 4), (3, 2), (-1, -1)])
def test_an_insertion_outside_the_file_is_refused(tmp_path: Path, start: int, end: int) -> None:
    with pytest.raises(FixError, match="changed since it was read"):
        apply_edits([Edit("a.txt", start, end, "", "x")], folder(tmp_path, b"abc"))


def test_overlapping_edits_are_refused(tmp_path: Path) -> None:
    edits = [Edit("a.txt", 0, 2, "ab", "x"), Edit("a.txt", 1, 3, "bc", "y")]
    with pytest.raises(FixError, match="two edits touch the same bytes 1-2"):
        apply_edits(edits, folder(tmp_path, b"abc"))


def test_the_same_edit_twice_is_applied_once(tmp_path: Path) -> None:
    edits = [Edit("a.txt", 3, 3, "", " --clip 1")] * 2
    assert apply_edits(edits, folder(tmp_path, b"abc")) == {"a.txt": b"abc --clip 1"}


def test_insertions_at_one_place_keep_their_order(tmp_path: Path) -> None:
    edits = [Edit("a.txt", 3, 3, "", " --b"), Edit("a.txt", 3, 3, "", " --a")]
    assert apply_edits(edits, folder(tmp_path, b"abc")) == {"a.txt": b"abc --b --a"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_an_edit_keeps_the_encoding_of_its_file(tmp_path: Path, encoding: str) -> None:
    before = "seq_len: 320\nname: text\n".encode(encoding)
    mark = len("".encode(encoding))
    width = 2 if "16" in encoding else 1
    edits = [Edit("a.txt", mark + 9 * width, mark + 12 * width, "320", "256")]
    after = apply_edits(edits, folder(tmp_path, before))["a.txt"]
    assert after == "seq_len: 256\nname: text\n".encode(encoding)


def test_an_edit_of_big_endian_text_with_a_mark_keeps_it(tmp_path: Path) -> None:
    before = b"\xfe\xff" + "lr: 1".encode("utf-16-be")
    after = apply_edits([Edit("a.txt", 10, 12, "1", "2")], folder(tmp_path, before))["a.txt"]
    assert after == b"\xfe\xff" + "lr: 2".encode("utf-16-be")


def test_text_that_the_files_encoding_has_not_is_refused(tmp_path: Path) -> None:
    before = "name: été à Orléans\n".encode("latin-1")
    with pytest.raises(FixError, match=r"a\.txt: '日本' cannot be written in LATIN-1, as the file is"):
        apply_edits([Edit("a.txt", 6, 9, "été", "日本")], folder(tmp_path, before))


def test_a_missing_file_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(FixError, match=r"b\.txt: cannot be read: no such file"):
        apply_edits([Edit("b.txt", 0, 0, "", "x")], Folder(tmp_path, ()))


@st.composite
def edited_texts(draw: st.DrawFn) -> tuple[bytes, list[Edit], bytes]:
    """A content, edits of parts of it in any order, and the content they should make."""
    pieces = draw(st.lists(st.tuples(st.text(max_size=6), st.one_of(st.none(), st.text(max_size=6))), max_size=8))
    before, after, edits = b"", b"", []
    # A first character other than NUL or a byte-order mark keeps the text plain UTF-8.
    for old, new in [("# seq", None), *pieces, ("\n", None)]:
        if "\0" in old:
            old = "zero"
        if new is not None and new != old:
            edits.append(Edit("a.txt", len(before), len(before) + len(old.encode()), old, new))
        before += old.encode()
        after += (old if new is None else new).encode()
    return before, draw(st.permutations(edits)), after


@given(edited_texts())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_edits_that_do_not_overlap_land_where_they_should_in_any_order(
    tmp_path: Path, case: tuple[bytes, list[Edit], bytes]
) -> None:
    before, edits, after = case
    places = [(e.start, e.end) for e in edits]
    if len(set(places)) < len(places):  # the order of two insertions at one place is that of the edits
        return
    got = apply_edits(edits, folder(tmp_path, before)).get("a.txt", before)
    assert got == after


def test_all_safe_fixes_of_a_report_are_applied_in_one_round(tmp_path: Path) -> None:
    rewrites = [("CFG001", Safety.SAFE, "320", "256"), ("SCH001", Safety.SAFE, "10000", "83306")]
    calls = []
    (tmp_path / "run.sh").write_text("--seq 320 --steps 10000\n")
    audit = auditor(tmp_path, rewrites)
    result = settle(lambda overlay: calls.append(dict(overlay)) or audit(overlay))  # type: ignore[func-returns-value]
    assert text_of(result) == "--seq 256 --steps 83306\n"
    assert len(calls) == 2


def test_a_fix_that_only_shows_after_another_is_applied_in_the_next_round(tmp_path: Path) -> None:
    rewrites = [("CFG001", Safety.SAFE, "a=1", "b=1"), ("SCH003", Safety.SAFE, "b=1", "c=1")]
    result = settled(tmp_path, "a=1\n", rewrites)
    assert text_of(result) == "c=1\n"
    assert [a.code for a in result.applied] == ["CFG001", "SCH003"]


def test_of_two_fixes_of_the_same_bytes_the_first_is_applied_and_the_other_judged_again(tmp_path: Path) -> None:
    rewrites = [("CFG001", Safety.SAFE, "steps=10", "steps=20"), ("SCH003", Safety.SAFE, "=10 ", "=99 ")]
    result = settled(tmp_path, "steps=10 \n", rewrites)
    assert text_of(result) == "steps=20 \n"
    assert [a.code for a in result.applied] == ["CFG001"]


def test_two_findings_with_the_same_edit_are_both_fixed_by_it(tmp_path: Path) -> None:
    rewrites = [("CFG001", Safety.SAFE, "320", "256"), ("CFG002", Safety.SAFE, "320", "256")]
    result = settled(tmp_path, "--seq 320\n", rewrites)
    assert text_of(result) == "--seq 256\n"
    assert [a.code for a in result.applied] == ["CFG001", "CFG002"]


def test_the_edits_of_a_fix_land_together_or_wait_together(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("ab cd")

    def audit(overlay: Mapping[Path, bytes]) -> Report:
        text = overlay.get(tmp_path.resolve() / "run.sh", b"ab cd").decode()
        found = []
        if text[:2] == "ab":
            found.append(Finding("", fix=Fix.safe("first", Edit("run.sh", 0, 2, "ab", "AB")), code="CFG001"))
        if text[3:] == "cd":
            both = (Edit("run.sh", 0, 2, text[:2], "xx"), Edit("run.sh", 3, 5, "cd", "yy"))
            found.append(Finding("", fix=Fix.safe("second", *both), code="CFG002"))
        states.append(text)
        return Report((RunReport(str(tmp_path), "run", tuple(found), clean=("X",)),))

    states: list[str] = []
    assert text_of(settle(audit)) == "xx yy"
    assert states == ["ab cd", "AB cd", "xx yy"]


def test_unsafe_fixes_are_held_back_unless_asked_for(tmp_path: Path) -> None:
    rewrites = [("CFG008", Safety.UNSAFE, "stride 2", "stride 128")]
    result = settled(tmp_path, "--stride 2\n", rewrites)
    assert result.changes == ()
    assert [f.code for f in result.left(Safety.UNSAFE)] == ["CFG008"]
    assert text_of(settled(tmp_path, "--stride 2\n", rewrites, unsafe=True)) == "--stride 128\n"


def test_unsafe_fixes_come_one_at_a_time_and_safe_ones_go_first_again_after_each(tmp_path: Path) -> None:
    rewrites = [
        ("CFG008", Safety.UNSAFE, "stride 2 ", "stride 128 "),
        ("SCH003", Safety.UNSAFE, "warmup 2000", "warmup 65"),
        ("SCH001", Safety.SAFE, "128 --steps 83306", "128 --steps 1302"),
        ("CFG001", Safety.SAFE, "steps 10000", "steps 83306"),
    ]
    result = settled(tmp_path, "--stride 2 --steps 10000 --warmup 2000\n", rewrites, unsafe=True)
    assert [a.code for a in result.applied] == ["CFG001", "CFG008", "SCH001", "SCH003"]
    assert text_of(result) == "--stride 128 --steps 1302 --warmup 65\n"


def test_advice_that_only_a_person_can_follow_does_not_keep_the_rounds_going(tmp_path: Path) -> None:
    result = settled(tmp_path, "--seq 320\n", [("BUD001", Safety.SHOW, "320", "256")])
    assert result.changes == ()


def test_a_fix_that_changes_nothing_does_not_keep_the_rounds_going(tmp_path: Path) -> None:
    result = settled(tmp_path, "--seq 320\n", [("CFG001", Safety.SAFE, "320", "320")])
    assert result.changes == ()


def test_fixes_that_undo_each_other_are_named(tmp_path: Path) -> None:
    rewrites = [
        ("CFG003", Safety.SAFE, "start", "a=1"),
        ("CFG001", Safety.SAFE, "a=1", "a=2"),
        ("SCH001", Safety.SAFE, "a=2", "a=1"),
    ]
    with pytest.raises(FixError, match=r"^the fixes of CFG001 and SCH001 undo each other; nothing was written"):
        settled(tmp_path, "start\n", rewrites)


def test_fixes_that_restore_the_original_are_named(tmp_path: Path) -> None:
    rewrites = [("CFG001", Safety.SAFE, "a=1", "a=2"), ("SCH001", Safety.UNSAFE, "a=2", "a=1")]
    with pytest.raises(FixError, match="CFG001 and SCH001 undo each other"):
        settled(tmp_path, "a=1\n", rewrites, unsafe=True)


def test_a_fix_that_never_ends_is_named(tmp_path: Path) -> None:
    with pytest.raises(FixError, match=f"CFG001 still found something to edit after {MAX_ROUNDS} rounds"):
        settled(tmp_path, "x", [("CFG001", Safety.SAFE, "x", "xy")])


def test_a_fix_after_which_the_file_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("good")
    audit = auditor(tmp_path, [("CFG001", Safety.SAFE, "good", "bad")])

    def reading(overlay: Mapping[Path, bytes]) -> Report:
        run = audit(overlay).runs[0]
        unread = (Unread("run.sh", "not a script", line=3),) if overlay else ()
        return Report((RunReport(run.path, run.name, run.findings, run.clean, unread=unread),))

    with pytest.raises(FixError, match=r"after the fixes of CFG001: .*run\.sh: not a script; nothing was written"):
        settle(reading)


def test_trouble_that_was_there_before_does_not_stop_a_fix(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("a")
    audit = auditor(tmp_path, [("CFG001", Safety.SAFE, "a", "b")])

    def reading(overlay: Mapping[Path, bytes]) -> Report:
        unread = (Unread("log.json", "cut file", line=2 + len(overlay)),)
        run = audit(overlay).runs[0]
        return Report((RunReport(run.path, run.name, run.findings, unread=unread),), problems=("x: no such file",))

    assert text_of(settle(reading)) == "b"


def test_a_plan_writes_nothing(tmp_path: Path) -> None:
    settled(tmp_path, "--seq 320\n", [("CFG001", Safety.SAFE, "320", "256")])
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"run.sh": "--seq 320\n"}


def test_what_was_applied_says_where_what_and_how_safe(tmp_path: Path) -> None:
    result = settled(tmp_path, "--seq 320\n", [("CFG001", Safety.SAFE, "320", "256")])
    assert result.applied == (Fixing(str(tmp_path), "CFG001", "320 to 256", Safety.SAFE),)


words = st.text("abc", min_size=1, max_size=3)
rewrites = st.lists(
    st.tuples(st.sampled_from(["CFG001", "SCH001", "BUD001", "LOS001"]), st.sampled_from(list(Safety)), words, words),
    max_size=6,
)


@given(st.text("abc", max_size=12), rewrites, st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
def test_fixes_of_any_kind_settle_or_are_refused(
    tmp_path: Path, content: str, rewrites: list[Rewrite], unsafe: bool
) -> None:
    refused = ""
    try:
        result = settled(tmp_path, content, rewrites, unsafe=unsafe)
    except FixError as error:
        refused = str(error)
    if refused:
        assert "undo each other" in refused or "still found something" in refused
        return
    after = result.changes[0].after.decode() if result.changes else content
    allowed = {Safety.SAFE, Safety.UNSAFE} if unsafe else {Safety.SAFE}
    assert not [r for r in rewrites if r[1] in allowed and r[2] != r[3] and r[2] in after]
    assert (tmp_path / "run.sh").read_text() == content
    again = auditor(tmp_path, rewrites)({c.path: c.after for c in result.changes})
    assert again.runs == result.report.runs
