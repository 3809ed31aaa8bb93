"""Entry points are found as the standard library finds them."""

from __future__ import annotations

import sys
import zipfile
from importlib.metadata import entry_points as standard
from pathlib import Path

import pytest

from mldiag.installed import entry_points


def asked(group: str) -> list[tuple[str, str]]:
    return sorted((p.name, p.value) for p in standard(group=group))


def package(folder: Path, name: str, text: str) -> None:
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(text)


@pytest.mark.parametrize("group", ["mldiag", "console_scripts", "pytest11", "no such group"])
def test_they_are_those_of_the_standard_library(group: str) -> None:
    assert sorted(entry_points(group)) == asked(group)


def test_comments_other_groups_and_spaces_are_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, "one", "[other]\nx = y\n\n[ours]\n# a comment\n  first=a.b \nsecond = c:d\n[later]\nz = w\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert sorted(entry_points("ours")) == [("first", "a.b"), ("second", "c:d")] == asked("ours")


def test_of_a_package_that_lies_on_the_path_twice_the_first_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path / "late", "My.Package", "[ours]\nname = late\n")
    package(tmp_path / "early", "my_package", "[ours]\nname = early\n")
    monkeypatch.syspath_prepend(tmp_path / "late")
    monkeypatch.syspath_prepend(tmp_path / "early")
    assert entry_points("ours") == [("name", "early")] == asked("ours")


def test_a_package_in_a_zip_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "bundle.zip", "w") as bundle:
        bundle.writestr("zipped-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: zipped\nVersion: 1.0\n")
        bundle.writestr("zipped-1.0.dist-info/entry_points.txt", "[ours]\nzipped = z\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "bundle.zip"), *sys.path])
    assert ("zipped", "z") in entry_points("ours")
