"""What is edited together, what is inserted where, and what is left to a person."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from mldiag.artifacts import Call, Launch, PythonSource, Role, Scalar, Settings, SettingValue, Site, Source
from mldiag.editors import add_keyword, add_setting, add_variable, edit_everywhere, edit_setting
from mldiag.files import File, Folder
from mldiag.findings import Edit
from mldiag.fixes import apply_edits
from mldiag.readers.python_source import python_source
from mldiag.readers.shell import shell


def at(path: str, name: str, value: Scalar, role: Role = Role.FILE, **more: object) -> SettingValue:
    """A setting that stands at the beginning of a file."""
    source = Source(path, 1, 1, name, 0, len(str(value)), str(value), str(value))
    return SettingValue(name, value, role, source, **{"syntax": "yaml"} | more)  # type: ignore[arg-type]


def changed(*edits: Edit | None) -> dict[str, str | None]:
    return {e.path: e.new for e in edits if e is not None}


def test_another_file_that_says_the_same_changes_with_it_and_one_that_says_otherwise_does_not() -> None:
    values = [at("a.yaml", "lr", 320), at("b.yaml", "lr", 320), at("c.yaml", "lr", 64), at("d.yaml", "lr", True)]
    assert changed(*edit_everywhere(Settings(tuple(values)), values[0], 256)) == {"a.yaml": "256", "b.yaml": "256"}


def test_what_a_flag_overrides_and_what_the_run_recorded_stays() -> None:
    flag = at("run.sh", "seq_len", 320, Role.FLAG, syntax="shell")
    others = (
        at("a.yaml", "seq_len", 320),
        at("hparams.yaml", "seq_len", 320, record=True),
        at("t.py", "seq_len", 320, Role.DEFAULT),
    )
    assert changed(*edit_everywhere(Settings((flag, *others)), flag, 256)) == {"run.sh": "256"}


def test_stride_and_positions_that_equal_the_length_move_with_it() -> None:
    length = at("a.yaml", "seq_len", 320)
    values = (length, at("b.yaml", "stride", 320), at("c.yaml", "max_positions", 320), at("d.yaml", "d_model", 320))
    assert changed(*edit_everywhere(Settings(values), length, 256)) == {f"{n}.yaml": "256" for n in "abc"}
    values = (length, at("b.yaml", "stride", 160), at("c.yaml", "max_positions", 512))
    assert changed(*edit_everywhere(Settings(values), length, 256)) == {"a.yaml": "256"}


def test_a_decay_as_long_as_the_run_moves_with_it_and_a_warm_up_does_not() -> None:
    total = at("a.yaml", "total_steps", 1000)
    values = (total, at("b.yaml", "lr_decay_steps", 1000), at("c.yaml", "warmup_steps", 100))
    assert changed(*edit_everywhere(Settings(values), total, 8000)) == {"a.yaml": "8000", "b.yaml": "8000"}


def test_where_one_place_cannot_follow_the_fix_is_not_made() -> None:
    length = at("a.yaml", "seq_len", 320)
    stuck = at("b.yaml", "stride", 320, syntax=None)
    assert None in edit_everywhere(Settings((length, stuck)), length, 256)
    assert edit_everywhere(None, None, 1) == (None,)
    assert changed(*edit_everywhere(None, length, 1)) == {"a.yaml": "1"}


def test_nothing_is_inserted_beside_what_has_no_place_for_it() -> None:
    site = Site(3, "\n{key}: {value}")
    assert add_setting(at("a.yaml", "x", 320, site=site), "new", 1) == Edit("a.yaml", 3, 3, "", "\nnew: 1")
    assert add_setting(None, "new", 1) is None
    assert add_setting(at("a.yaml", "x", 320), "new", 1) is None
    assert add_setting(at("a.yaml", "x", 320, site=site, record=True), "new", 1) is None
    assert add_setting(at("a.yaml", "x", 320, site=site, syntax=None), "new", 1) is None
    assert add_setting(at("a.yaml", "x", 320, site=site), "no", 1) is None  # a truth value to YAML 1.1
    assert add_setting(at("a.yaml", "x", 320, site=site), "a: b", 1) is None


def calls(text: str) -> dict[str, Call]:
    (found,) = python_source(File(Path("nowhere"), "t.py", f"def main(): ...\n{text}".encode()))
    assert isinstance(found, PythonSource)
    return {c.name: c for c in found.calls}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("f(x, lr=1e-4)", "f(x, lr=1e-4, wd=0.01)"),
        ("f()", "f(wd=0.01)"),
        ("f(x,)", "f(x, wd=0.01,)"),
        ("f(\n    x,\n    lr=1,  # rate\n)", "f(\n    x,\n    lr=1,  # rate\n    wd=0.01,\n)"),
        ("f(\n    x,\n    lr=1\n)", "f(\n    x,\n    lr=1,\n    wd=0.01\n)"),
        ("f(\n    x,\n    lr=1  # rate\n)", "f(\n    x,\n    lr=1, wd=0.01  # rate\n)"),
        ("f(x, lr=(1), *a)", "f(x, lr=(1), *a, wd=0.01)"),
        ("f(x,\n  'é')", "f(x,\n  'é', wd=0.01)"),
    ],
)
def test_a_keyword_is_added_in_the_layout_of_the_call(text: str, expected: str) -> None:
    for encoding in ("utf-8", "utf-8-sig"):
        for end in ("\n", "\r\n"):
            content = f"def main(): ...\n# é\n{text}\n".replace("\n", end).encode(encoding)
            (found,) = python_source(File(Path("nowhere"), "t.py", content))
            assert isinstance(found, PythonSource)
            edit = add_keyword(found.calls[0], "wd", 0.01)
            assert edit is not None
            after = apply_edits([edit], Folder(Path("nowhere"), (), {"t.py": content}))["t.py"].decode(encoding)
            assert after == f"def main(): ...\n# é\n{expected}\n".replace("\n", end)
            ast.parse(after)


@pytest.mark.parametrize("text", ["f(x, wd=1)", "f(**k)", "f((x))", "f(x for x in y)", "f((x\n))"])
def test_a_call_that_has_or_may_have_the_keyword_or_odd_brackets_is_left_to_a_person(text: str) -> None:
    assert add_keyword(calls(text)["f"], "wd", 0.01) is None


def test_a_variable_is_set_in_front_of_the_command() -> None:
    content = b"A=1 python t.py --x 1\n"
    (launch,) = shell(File(Path("nowhere"), "run.sh", content))
    assert isinstance(launch, Launch)
    edit = add_variable(launch, "PYTHONHASHSEED", 0)
    assert edit is not None
    after = apply_edits([edit], Folder(Path("nowhere"), (), {"run.sh": content}))["run.sh"]
    assert after == b"PYTHONHASHSEED=0 A=1 python t.py --x 1\n"
    assert add_variable(launch, "A", 2) is None
    assert add_variable(None, "A", 2) is None


def test_a_setting_without_an_editor_or_a_span_is_not_edited() -> None:
    assert edit_setting(None, 1) is None
    assert edit_setting(at("a.yaml", "x", 1, syntax=None), 2) is None
    assert edit_setting(SettingValue("x", 1, Role.FILE, Source("a.yaml", 1), "yaml"), 2) is None
