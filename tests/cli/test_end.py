"""How the process ends: at once, but with everything done that anyone could notice."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import atexit, sys
{first}
from mldiag.cli import main
atexit.register(print, "exit function")
sys.argv[1:] = {words}
try:
    main(prog_name="mldiag")
finally:
    print("taken down")
"""


def said(words: list[str], first: str = "") -> tuple[int, list[str]]:
    program = PROGRAM.format(first=first, words=words)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize(("words", "code"), [(["plugins"], 0), (["explain", "SCH9"], 2), (["check"], 2)])
def test_output_is_written_exit_functions_are_called_and_the_code_is_kept(words: list[str], code: int) -> None:
    found, lines = said(words)
    assert found == code
    assert lines[-1] == "exit function"
    assert "taken down" not in lines
    assert bool(lines[:-1]) == (code == 0)


@pytest.mark.parametrize(
    "first",
    [
        "sys.setprofile(lambda *event: None)",
        "sys.settrace(lambda *event: None)",
        "import threading as t; t.Thread(target=lambda: (t.main_thread().join(), print('done'))).start()",
    ],
    ids=["profiler", "debugger", "thread"],
)
def test_where_somebody_watches_or_something_runs_the_process_ends_in_the_ordinary_way(first: str) -> None:
    code, lines = said(["plugins"], first)
    assert code == 0
    assert "taken down" in lines
    assert "exit function" in lines


def test_called_from_a_program_it_returns_to_it() -> None:
    program = "from mldiag.cli import main\ntry:\n    main(['plugins'])\nfinally:\n    print('back')\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "back"
