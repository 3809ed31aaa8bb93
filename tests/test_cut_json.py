"""Of a JSON document that is cut anywhere, what is read is a beginning of the whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from mldiag.cut_json import closed, so_far

texts = st.text('ab"\\[]{},:\n é', max_size=5)
scalars = st.none() | st.booleans() | st.integers(-99, 99) | st.floats() | texts
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
).filter(lambda found: isinstance(found, dict | list))
CUT = {
    '{"loss": [3.5, 2.5, 1.2': '{"loss": [3.5, 2.5]}',
    '{"loss": [3.5, 2.5], "val_loss": [': '{"loss": [3.5, 2.5]}',
    '{"loss": [3.5], "lr": 0.1, "opt': '{"loss": [3.5], "lr": 0.1}',
    '{"name": "adam"': '{"name": "adam"}',
    '{"amp": true': '{"amp": true}',
    '{"a": "b, [c': None,
    '[{"step": 1}, {"step": 2, "los': '[{"step": 1}]',
    '[{"step": 1, "val": {"loss": 2}}, {"step": 2, "val": {"loss": 3}': '[{"step": 1, "val": {"loss": 2}}]',
    '[{"step": 1, "texts": [{"t": "a"}, {"t": "b': '[{"step": 1, "texts": [{"t": "a"}]}]',
    '{"a": [1, 2]}': None,
    '{"a": 1}}': None,
    '{"a": [1, 2}': None,
    "": None,
    "Epoch 1": None,
}


@pytest.mark.parametrize("text", CUT)
def test_what_is_whole_is_closed(text: str) -> None:
    assert closed(text) == CUT[text]


@given(documents, st.floats(0, 1), st.sampled_from([None, 1]))
@settings(max_examples=300)
def test_what_is_read_of_a_cut_document_is_its_beginning(document: Any, share: float, indent: int | None) -> None:
    text = json.dumps(document, indent=indent)
    found = so_far(text[: int(len(text) * share)])
    if found is not None:
        assert found.cut is not None
        assert found.cut.partial
        assert begins(found.document, document), (text, found.closed)


@given(st.text(max_size=60) | st.text('{}[]",:1e.\\ ', max_size=40))
def test_any_text_is_closed_or_not(text: str) -> None:
    so_far(text)


def begins(part: Any, whole: Any) -> bool:
    """Whether only what stands last in the whole is missing from the part."""
    if isinstance(part, dict) and isinstance(whole, dict):
        keys = list(part)
        return keys == list(whole)[: len(keys)] and _begin(list(part.values()), [whole[k] for k in keys])
    if isinstance(part, list) and isinstance(whole, list):
        return len(part) <= len(whole) and _begin(part, whole)
    return repr(part) == repr(whole)


def _begin(part: list[Any], whole: list[Any]) -> bool:
    if not part:
        return True
    same = all(repr(a) == repr(b) for a, b in zip(part[:-1], whole, strict=False))
    return same and begins(part[-1], whole[len(part) - 1])
