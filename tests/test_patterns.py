"""Expressions compiled on use: the words that they are said to need are in every match."""

from __future__ import annotations

import gc
import importlib
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from re import _constants as codes, _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest

from mldiag.patterns import _OfWords, lazily

ROOT = Path(__file__).parents[1]
UNKNOWN = "\0"
"""Stands for a character that the expression leaves open."""


def forms(tree: Any) -> set[str]:
    """What may stand for an expression, literally; each repetition as few times as it may be, and once more."""
    parts = [list(_forms_of(op, value)) for op, value in tree]
    return {"".join(each) for each in product(*parts)} if parts else {""}


def _forms_of(op: Any, value: Any) -> Iterator[str]:
    if op is codes.LITERAL:
        yield chr(value)
    elif op is codes.SUBPATTERN:
        yield from forms(value[-1])
    elif op is codes.BRANCH:
        for branch in value[1]:
            yield from forms(branch)
    elif op in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
        least, most, inner = value
        for count in {least, min(least + 1, most)}:
            yield from {"".join(each) for each in product(forms(inner), repeat=count)}
    elif op is codes.IN:
        yield from {chr(item) if kind is codes.LITERAL else UNKNOWN for kind, item in value}
    elif op in (codes.AT, codes.ASSERT, codes.ASSERT_NOT):
        yield ""
    else:
        yield UNKNOWN


def declared() -> list[_OfWords]:
    """Every expression with words in the core and the plugins."""
    for file in (*ROOT.glob("src/mldiag/**/*.py"), *ROOT.glob("plugins/**/*.py")):
        if "words=(" in file.read_text(encoding="utf-8"):
            folder = ROOT / ("src" if "src" in file.relative_to(ROOT).parts else "plugins")
            importlib.import_module(".".join(file.relative_to(folder).with_suffix("").parts))
    return [each for each in gc.get_objects() if type(each) is _OfWords]


def test_every_match_of_an_expression_has_one_of_its_words() -> None:
    found = declared()
    assert len(found) > 10
    for each in found:
        without = {form for form in forms(parser.parse(each._text)) if not any(word in form for word in each._words)}
        assert not without, each._text


@pytest.mark.parametrize("method", ["search", "match", "fullmatch"])
@pytest.mark.parametrize("text", ["grad_norm", "x/grad_norm", "loss", "", "gradient", "grad_norm_total"])
def test_it_answers_as_the_compiled_one(method: str, text: str) -> None:
    written = r"(?:total_)?grad(?:ient)?_norm(?:_total)?"
    expression = lazily(written, words=("grad",))
    for _ in range(2):
        ours, theirs = getattr(expression, method)(text), getattr(re.compile(written), method)(text)
        assert (ours and ours.span()) == (theirs and theirs.span())


def test_it_is_not_compiled_for_texts_without_a_word() -> None:
    expression = lazily("grad(", words=("grad",))
    assert expression.search("loss") is None
    with pytest.raises(re.error):
        expression.search("grad")


def test_other_methods_compile_it() -> None:
    assert lazily("a(b)", words=("ab",)).sub(r"\1", "abc") == "bc"
