"""Plain configurations, which are read without YAML's parser, give what that parser gives; others are left to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from mldiag.artifacts import Artifact
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers import yaml_config as module
from mldiag.readers._configs.plain_yaml import entries

SCALARS = st.sampled_from([
    "1", "-3", "0", "007", "1_000", "1:30", "0x1f", "1.5", "3e-4", "1.e5", "1e400", "-0.0", ".5", ".inf", "-.inf",
    "nan", "true", "No", "oN", "y", "null", "Null", "~", "gpt2", "a/b.c", "./x", "../y", "../", "two words", "word 2",
    "2 words", "'single'", '"double"', '"a#b"', "'it''s'", '"tab\\t"', "''", "[]", "[ ]", "[1, 2.5]", "[1,]",
    "[a, 'b, c', no]", "[[1]]", "{a: 1}", "*a", "&a 1", "!!str 1", "|", "> x", "- 1", "a: 1", "a:", "a:b", "https://x",
    "2024-01-02", "x #y", "x#y", "@x", "`x", "%x", "0.9 # note", "", "é", "\t", "1e-5,", "{}", "hf_secret", "=", "<<",
    "a -b", "9" * 30,
])  # fmt: skip
KEYS = st.sampled_from([
    "lr", "model", "a-b", "on", "value", "defaults", "x y", "'q'", "1", "desc", "api_key", "max_duration",
])  # fmt: skip
LINES = st.one_of(
    st.tuples(
        st.sampled_from(["", "  ", "   ", "    "]), KEYS, st.sampled_from([": ", ":", ":  ", " : "]), SCALARS
    ).map("".join),
    st.tuples(st.sampled_from(["", "  ", "    "]), KEYS).map(lambda parts: f"{parts[0]}{parts[1]}:"),
    st.sampled_from(["", "# note", "   # note", "---", "- item", "  - item", "    more words", "...", "\r"]),
)


def read(text: str) -> tuple[list[Artifact], str]:
    found: list[Artifact] = []
    try:
        found.extend(module.yaml_config(File(Path(), "config.yaml", text.encode())))
    except ReadError as error:
        return found, str(error)
    return found, ""


def both_ways(text: str) -> None:
    quick = read(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_plain", lambda file: None)
        assert repr(quick) == repr(read(text))


@settings(max_examples=400)
@given(st.lists(LINES, max_size=8).map("\n".join))
def test_both_ways_agree(text: str) -> None:
    both_ways(text)


@given(st.lists(st.tuples(st.sampled_from(["lr", "b", "c"]), SCALARS).map(": ".join), max_size=3).map("\n".join))
def test_both_ways_agree_about_single_values(text: str) -> None:
    both_ways(text)


@given(st.text(alphabet="ab:- #[]{},'\"\n 01.e+~", max_size=30))
def test_both_ways_agree_about_any_text(text: str) -> None:
    both_ways(text)


def test_an_ordinary_configuration_is_plain() -> None:
    text = (
        "# run\nmodel:\n  name: gpt2\n  betas: [0.9, 0.95]\n\noptimizer:\n  lr: 3e-4  # peak\n  nesterov: no\nresume:\n"
    )
    found = entries(text, special=frozenset(), deepest=8, longest=64, largest=40)
    assert found is not None
    assert [(".".join(e.path), e.value, e.number) for e in found] == [
        ("model.name", "gpt2", 3), ("model.betas", (0.9, 0.95), 4), ("optimizer.lr", 3e-4, 7),
        ("optimizer.nesterov", False, 8), ("resume", None, 9),
    ]  # fmt: skip
    both_ways(text)
