"""Every reader reads what its case file shows: series, settings, samples, and why a file cannot be read.

A case file `tests/readers/<format>.toml` holds `[[case]]` tables with `name`, `file` (its path) and `content` (text, or
`base64:...`); `reader` is the format that must take it, empty where none may. What is expected is named as it is known
after assembly (`train/loss`, `lr`): `series`, `steps`, `epochs`, `times` and `nulls` by series, `absent` series,
`settings` and `at` (place) by setting, `samples` as [prompt, output] pairs (an empty prompt: none), and for trouble
`unread` (a part of the reason), `line`, and `partial`.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from mldiag.assembly import read_run
from mldiag.discovery import discover
from mldiag.files import Folder
from mldiag.plugins import Plugins, load
from mldiag.run import Run
from mldiag.testing import write_files

FOLDER = Path(__file__).parent / "readers"
KEYS = {
    "name", "file", "content", "reader", "series", "steps", "epochs", "times", "nulls", "absent", "settings", "at",
    "samples", "unread", "line", "partial", "others",
}  # fmt: skip


def cases() -> list[Any]:
    found = []
    for path in sorted(FOLDER.glob("*.toml")):
        for case in tomllib.loads(path.read_text(encoding="utf-8")).get("case", []):
            assert set(case) <= KEYS, f"{path.name}: {case['name']}: unknown keys {set(case) - KEYS}"
            found.append(pytest.param(case, id=f"{path.stem}: {case['name']}"))
    return found


@pytest.fixture(scope="session")
def plugins() -> Plugins:
    return load()


def read(root: Path, plugins: Plugins) -> Run:
    (found,) = discover(root, plugins.takes)
    return read_run(Folder(found.folder, found.files), found.label, plugins)


@pytest.mark.parametrize("case", cases())
def test_a_file_is_read_as_its_case_says(case: Mapping[str, Any], tmp_path: Path, plugins: Plugins) -> None:
    write_files(tmp_path / "run", {case["file"]: case["content"], **case.get("others", {})})
    run = read(tmp_path / "run", plugins)
    unread = [str(u) for u in run.unread]
    if "reader" in case:
        assert run.files.get(case["file"], "") == case["reader"], unread
    check_series(case, run, unread)
    check_settings(case, run, tmp_path / "run")
    if "samples" in case:
        assert [[s.prompt or "", s.output] for s in run.samples] == case["samples"]
    check_unread(case, run, unread)


def test_what_training_writes_is_left_alone_before_training(tmp_path: Path, plugins: Plugins) -> None:
    logged = {
        "history.json": '{"loss": [2.0], "lr": [0.1], "epochs": [1], "val_loss": [1.0]}',
        "log.csv": "step,loss\n1,2\n",
    }
    write_files(tmp_path, {**logged, "config.yaml": "lr: 0.1\n"})
    run = read_run(Folder(tmp_path, (*logged, "config.yaml")), "run", plugins, pre=True)
    assert run.files == {"config.yaml": "yaml_config"}
    assert not run.unread
    assert [s.name for s in run.settings] == ["lr"]


def test_what_the_run_wrote_itself_is_a_record(tmp_path: Path, plugins: Plugins) -> None:
    names = ("hparams.yaml", "args.json", ".hydra/config.yaml", "config.yaml", "training_args.json")
    write_files(tmp_path, dict.fromkeys(names, '{"lr": 0.1}'))
    run = read_run(Folder(tmp_path, names), "run", plugins)
    assert {v.source.path for v in run.settings if v.record} == set(names) - {"config.yaml"}


def check_series(case: Mapping[str, Any], run: Run, unread: list[str]) -> None:
    parts = {"series": "data", "steps": "step_data", "epochs": "epoch_data", "times": "time_data", "nulls": "nulls"}
    for key, attribute in parts.items():
        for name, wanted in case.get(key, {}).items():
            assert name in run.metrics, f"no series {name} among {sorted(run.metrics.by_name)}; {unread}"
            got = getattr(run.metrics.by_name[name], attribute)
            assert same(list(got or ()), wanted), f"{key} of {name}: {got} is not {wanted}"
    for name in case.get("absent", ()):
        assert name not in run.metrics


def check_settings(case: Mapping[str, Any], run: Run, root: Path) -> None:
    for name, wanted in case.get("settings", {}).items():
        found = run.settings.effective(name)
        assert found is not None, f"no setting {name} among {sorted(run.settings.by_name)}"
        value = list(found.value) if isinstance(found.value, tuple) else found.value
        assert value == wanted, f"{name} is {found.value!r}"
        assert type(value) is type(wanted), f"{name} is {found.value!r}"
    for name, place in case.get("at", {}).items():
        assert str(run.settings.where(name)) == place
    for setting in run.settings:
        source = setting.source
        if source.start is not None and source.text is not None:
            data = (root / source.path).read_bytes()[source.start : source.end]
            assert data.decode("utf-16-le" if b"\0" in data else "utf-8") == source.text, f"span of {setting.name}"


def check_unread(case: Mapping[str, Any], run: Run, unread: list[str]) -> None:
    known = [u for u in run.unread if u.known]
    if "unread" not in case:
        assert not known, unread
        return
    assert len(known) == 1, unread
    assert case["unread"] in known[0].reason
    assert known[0].line == case.get("line")
    assert known[0].partial == case.get("partial", False)


def same(got: Sequence[float], wanted: Sequence[Any]) -> bool:
    numbers = [float(w) for w in wanted]
    return len(got) == len(numbers) and all(
        a == b or (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-12)
        for a, b in zip(got, numbers, strict=True)
    )
