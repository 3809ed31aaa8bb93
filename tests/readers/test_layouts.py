"""A state whose layout is known from the run before gives what it gives without, and ordinary states are read so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from msgspec.structs import replace

from mldiag.artifacts import Series
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers import trainer_state as module
from mldiag.readers._tables.layouts import MAX_CELLS, MAX_KEYS, MAX_LAYOUTS, Layouts
from mldiag.readers.trainer_state import _RECORDED, trainer_state

NUMBERS = st.floats(-9, 9) | st.integers(-9, 9) | st.sampled_from([-0.0, 1e300, 10**25, 2**53 + 1, 5e-324])
ODD = st.sampled_from([True, None, "1", "]", float("nan"), float("inf"), 10**400, [1], {"loss": 1}])
QUANTITIES = ["loss", "eval_loss", "lr", "a/b", "b", "grad-norm"]
CLOSING = ["train_runtime", "train_loss", "total_flos"]
ENTRIES = st.lists(st.dictionaries(st.sampled_from(QUANTITIES), NUMBERS, max_size=4), max_size=8)
SUMMARIES = st.lists(
    st.dictionaries(st.sampled_from([*CLOSING, "epoch", "loss"]), NUMBERS, min_size=1).map(lambda s: {"step": 9, **s}),
    max_size=1,
)
BESIDE = st.dictionaries(
    st.sampled_from([*_RECORDED, "loss", "train_loss", "other"]),
    NUMBERS | st.sampled_from([None, True, "]", '"log_history":', "loss", 2**63 - 1, [1], {"max_steps": 3}]),
    max_size=4,
)
INDENTS = st.sampled_from([None, 0, 2])
SHARED = Path(__file__).parents[3] / "shared"
REAL = sorted(path for kind in ("corpus", "faults") for path in SHARED.glob(f"{kind}/runs/**/*trainer_state.json"))


def learnt() -> Layouts:
    layouts = Layouts(_RECORDED)
    layouts.learn([dict.fromkeys(["step", "epoch", *QUANTITIES], 0.5)], dict.fromkeys(CLOSING, 1))
    return layouts


def told(content: bytes, layouts: Layouts) -> list[str]:
    """What the reader yields, with the error at its end."""
    found: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_LAYOUTS", layouts)
        try:
            found.extend(trainer_state(File(Path(), "trainer_state.json", content)))
        except ReadError as error:
            found.append(error)
    return [
        repr((replace(a, lines=None), None if a.lines is None else list(a.lines)) if isinstance(a, Series) else a)
        for a in found
    ]


def counted(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"epoch": n / 4, **entry, "step": n} for n, entry in enumerate(entries)]


def is_taken(document: object) -> bool:
    content = json.dumps(document).encode()
    return learnt().read(content, content.decode()) is not None


@given(ENTRIES, SUMMARIES, BESIDE, BESIDE, INDENTS)
def test_a_known_layout_gives_what_the_table_gives(
    entries: list[dict[str, float]],
    summary: list[dict[str, float]],
    before: dict[str, Any],
    behind: dict[str, Any],
    indent: int | None,
) -> None:
    document = {**before, "log_history": [*counted(entries), *summary], **behind}
    content = json.dumps(document, indent=indent).encode()
    assert told(content, learnt()) == told(content, Layouts(_RECORDED))


@given(
    st.lists(
        st.dictionaries(st.sampled_from([*QUANTITIES, *CLOSING, "step", "epoch", "time"]), NUMBERS | ODD, max_size=5),
        max_size=6,
    ),
    INDENTS,
)
def test_so_does_any_history(entries: list[dict[str, Any]], indent: int | None) -> None:
    content = json.dumps({"log_history": entries, "max_steps": 9}, indent=indent).encode()
    assert told(content, learnt()) == told(content, Layouts(_RECORDED))


@given(ENTRIES, st.integers(0, 400))
def test_so_does_a_cut_one(entries: list[dict[str, float]], length: int) -> None:
    content = json.dumps({"global_step": 9, "log_history": counted(entries)}, indent=2).encode()[:length]
    assert told(content, learnt()) == told(content, Layouts(_RECORDED))


@given(ENTRIES, SUMMARIES, ENTRIES)
def test_what_was_read_before_changes_nothing(
    first: list[dict[str, float]], summary: list[dict[str, float]], second: list[dict[str, float]]
) -> None:
    layouts = Layouts(_RECORDED)
    told(json.dumps({"log_history": [*counted(first), *summary]}).encode(), layouts)
    content = json.dumps({"log_history": counted(second), "max_steps": 3}).encode()
    assert told(content, layouts) == told(content, Layouts(_RECORDED))


def test_a_key_that_is_spelled_with_an_escape_is_left_to_the_table() -> None:
    for key in ("loss", "log_history", "train_runtime"):
        rows = counted([{"lr": 0.1, "loss": 1.5}, {"lr": 0.1, "loss": 0.5}])
        entries = [*rows, {"epoch": 1, "step": 1, "train_loss": 1, "train_runtime": 9}]
        text = json.dumps({"log_history": entries}).replace(key, f"\\u{ord(key[0]):04x}{key[1:]}")
        content = f'{text[:-1]}, "best": "{key}"}}'.encode()
        assert told(content, learnt()) == told(content, Layouts(_RECORDED)) != []


def test_ordinary_states_are_taken_once_their_layout_is_known() -> None:
    train = [{"loss": 3.0 - n / 9, "lr": 0.1} for n in range(8)]
    rows = counted([*train[:4], {"eval_loss": 2}, *train[4:], {"eval_loss": 1}])
    closing = {"epoch": 2.0, "step": 9, "total_flos": 10, "train_loss": 2.5, "train_runtime": 4}
    for document in ({"log_history": rows}, {"max_steps": 9, "log_history": [*rows, closing]}):
        assert is_taken(document)
        content = json.dumps(document, indent=2).encode()
        layouts = Layouts(_RECORDED)
        assert told(content, layouts) == told(content, layouts) == told(content, learnt())
        found = layouts.read(content, content.decode())
        assert found is not None
        assert [quantity.key for quantity in found.quantities] == ["loss", "lr", "eval_loss"]
        assert found.quantities[0].steps is found.quantities[1].steps
        assert type(found.closing.get("total_flos", 0)) is int


def test_what_only_the_table_decides_is_left_to_it() -> None:
    assert not is_taken({"log_history": []})
    assert not is_taken({"log_history": [{"epoch": 0, "step": 1}, {"step": 2, "loss": None}]})
    assert not is_taken({"log_history": [{"step": 2, "loss": 1}, {"step": 1, "loss": 1}]})
    assert not is_taken({"log_history": [{"step": 1, "loss": 1}, {"step": 1, "loss": 1}]})
    assert not is_taken({"log_history": [{"step": 1, "loss": 1}, {"step": 2, "new": 1}]})
    assert not is_taken({"log_history": [{"step": 1, "train_runtime": 1}, {"step": 2, "loss": 1}]})
    assert not is_taken({"log_history": [{"step": 1, "loss": 1}, {"step": 2, "train_loss": 1}]})
    assert not is_taken({"log_history": [{"step": 1, "loss": 1}, {"step": 2, "train_runtime": 1, "loss": 1}]})
    assert not is_taken({"log_history": [{"step": 1, "loss": 1}], "max_steps": {"loss": 3}})
    assert not is_taken({"old": {"log_history": 1}, "log_history": [{"step": 1, "loss": 1}]})


def test_few_layouts_are_kept_and_none_of_odd_or_many_keys() -> None:
    layouts = Layouts(())
    row = {"step": 1, "epoch": 0.5}
    for keys in (["split"], ["time"], ['lo"ss'], ["a]"], [f"x{n}" for n in range(MAX_KEYS)]):
        layouts.learn([{**row, **dict.fromkeys(keys, 1)}], {})
        content = json.dumps({"log_history": [{**row, **dict.fromkeys(keys, 1)}]})
        assert layouts.read(content.encode(), content) is None
    contents = [json.dumps({"log_history": [{**row, f"loss_{n}": 1}]}) for n in range(MAX_LAYOUTS + 1)]
    for content in contents:
        layouts.learn(json.loads(content)["log_history"], {})
    assert [layouts.read(c.encode(), c) is not None for c in contents] == [False] + [True] * MAX_LAYOUTS


@given(st.lists(st.lists(st.sampled_from([0, 1, 2]), min_size=5, max_size=5), min_size=2, max_size=4))
def test_runs_that_log_at_other_steps_are_told_apart(runs: list[list[int]]) -> None:
    kinds: list[dict[str, Any]] = [{"loss": 1.5, "lr": 0.1}, {"eval_loss": 2}, {"loss": 0.5}]
    layouts = learnt()
    for run in runs:
        content = json.dumps({"log_history": counted([kinds[kind] for kind in run])}, indent=2).encode()
        assert told(content, layouts) == told(content, Layouts(_RECORDED))


def test_what_is_kept_of_histories_is_bounded() -> None:
    layouts = learnt()
    (layout,) = layouts._known
    width = 2 + len(QUANTITIES) + len(CLOSING)
    for count in (*range(900, 930), MAX_CELLS // width + 1):
        text = json.dumps({"log_history": counted([{"loss": 1.5}] * count)})
        assert (layouts.read(text.encode(), text) is None) is (count * width > MAX_CELLS)
        assert sum(layout._patterns) * width <= MAX_CELLS


@pytest.mark.skipif(not REAL, reason="the labelled runs are not part of the repository")
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.parent.name)
def test_a_real_state_gives_the_same_both_ways(path: Path) -> None:
    content = path.read_bytes()
    layouts = Layouts(_RECORDED)
    first = told(content, layouts)
    assert told(content, layouts) == first != []
