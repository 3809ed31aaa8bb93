"""Which readers a path is offered to: an index over all patterns, with the same answer as trying each."""

from __future__ import annotations

import time

from hypothesis import given, strategies as st

from mldiag.plugins import load
from mldiag.readers import Choice, Reader, is_left_by_runs

PATTERNS = st.text("ab.*", min_size=1, max_size=6) | st.text("ab.*?[]!/", min_size=1, max_size=8)
PATHS = st.text("abAB./", min_size=1, max_size=9)


def reader(name: str, pattern: str, priority: int) -> Reader:
    return Reader(name, (pattern,), lambda file: True, lambda file: iter(()), priority, post=False)


@given(st.lists(st.tuples(PATTERNS, st.integers(0, 2)), max_size=4), PATHS, st.sampled_from([1, 300]))
def test_the_index_finds_what_trying_every_pattern_finds(
    patterns: list[tuple[str, int]], path: str, times: int
) -> None:
    readers = [reader(str(i), pattern, priority) for i, (pattern, priority) in enumerate(patterns)]
    choice = Choice(readers)
    for other in range(times - 1):  # behind a few names, patterns are tried as one expression
        choice(f"{other}/x")
    wanted = sorted((r for r in readers if r.takes(path)), key=lambda r: (-r.priority, r.name))
    assert list(choice(path)) == list(choice(path)) == wanted


def test_a_pattern_with_a_slash_is_held_against_the_end_of_the_path() -> None:
    choice = Choice([reader("mlflow", "metrics/*", 0)])
    assert [bool(choice(p)) for p in ("metrics/loss", "mlruns/0/a/metrics/loss", "loss", "metrics/a/loss")] == [
        True, True, False, False,
    ]  # fmt: skip


def test_the_first_asked_is_the_one_of_the_highest_priority_then_by_name() -> None:
    choice = Choice([reader("b", "*.json", 1), reader("c", "log.*", 5), reader("a", "*.json", 1)])
    assert [r.name for r in choice("log.json")] == ["c", "a", "b"]


def test_twenty_thousand_different_names_cost_little() -> None:
    plugins = load()
    started = time.process_time()
    for number in range(20_000):
        plugins.takes(f"images/{number}.png")
    assert time.process_time() - started < 2  # 0.1 s where it was written; trying each pattern took 2.5 s


def test_what_runs_leave_is_known_by_name() -> None:
    assert all(map(is_left_by_runs, ("Model.PT", "events.out.tfevents.1", "a.safetensors", "job.err")))
    assert not any(map(is_left_by_runs, ("photo.png", "pt", "notes.md")))
