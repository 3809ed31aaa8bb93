"""Labelled real runs open, with the points and the validation that their manifest counts, where they are at hand."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORPUS = ROOT.parent / "shared" / "corpus"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="the labelled runs are not part of the repository"),
]


CHECK = ROOT / "benchmarks" / "corpus_reading.py"


def checked(corpus: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(CHECK), str(corpus)], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def done() -> subprocess.CompletedProcess[str]:
    return checked(CORPUS)


def test_at_least_the_demanded_shares_of_the_runs_are_read_as_the_manifest_counts_them(
    done: subprocess.CompletedProcess[str],
) -> None:
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr


def test_runs_that_differ_from_the_manifest_are_explained_and_no_others(
    done: subprocess.CompletedProcess[str],
) -> None:
    """An explanation that is no longer needed would hide the next defect."""
    differing = {line.split(":")[0] for line in done.stdout.splitlines() if ": points " in line}
    assert differing == set(runpy.run_path(str(CHECK))["KNOWN"])


def test_the_check_fails_where_runs_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "metrics.csv").write_text("step,loss\n1,2\n2,1\n")
    for points, code in ((2, 0), (20, 1)):
        row = {"id": "a", "format": "x", "n_points": points, "has_val": False}
        (tmp_path / "manifest.jsonl").write_text(json.dumps(row) + "\n")
        assert checked(tmp_path).returncode == code
