"""What the samples rules stand on: loops are found where they are, and words are judged by their letters."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import assume, given, strategies as st

from mldiag.api import Finding, NotApplicable, Sample, Samples, Source
from mldiag_samples.language import fold, languages, likeliest, lower_bound, read, tables
from mldiag_samples.loops import covered, loops
from mldiag_samples.smp001_repetition import repetition
from mldiag_samples.smp002_broken_words import broken_words

ROOT = Path(__file__).parents[1]
TEXT = ROOT.parent / "shared" / "data" / "ptbr-text" / "val.jsonl.gz"
PASSAGE = 60


def samples_of(*outputs: str, prompt: str | None = None) -> Samples:
    return Samples(tuple(Sample(o, Source("samples.json", n + 1), prompt) for n, o in enumerate(outputs)))


def holds_no_window_twice(period: str, window: int) -> bool:
    """Such a loop is seen whole; any other only in parts, as `loops` says."""
    endless = period * (2 + window)
    return len({endless[i : i + window] for i in range(len(period))}) == len(period)


@given(
    st.text("abc", max_size=40),
    st.text("defgh", min_size=1, max_size=12).filter(lambda p: holds_no_window_twice(p, 6)),
    st.integers(8, 30),
)
def test_a_planted_loop_is_found_with_its_period_and_place(before: str, period: str, times: int) -> None:
    assume(not loops(before, 6, repeats=3, least=8))  # a longer one by chance
    text = before + period * times
    found = loops(text, 6, repeats=3, least=8)
    longest = max(found, key=lambda lo: lo.length)
    assert longest.period == len(period)
    assert longest.start == len(before)
    assert longest.end == len(text)


@given(st.text("ab ", max_size=200), st.integers(1, 8), st.integers(2, 5))
def test_every_loop_repeats_with_its_period_within_the_text(text: str, window: int, times: int) -> None:
    found = loops(text, window, repeats=times, least=4)
    for lo in found:
        stretch = text[lo.start : lo.end]
        assert stretch[lo.period :] == stretch[: -lo.period]
        assert lo.repeats >= times
    assert 0 <= covered(found) <= len(text)


def test_text_without_a_loop_has_none() -> None:
    assert loops("the quick brown fox jumps over the lazy dog " * 2, 6, repeats=3, least=10) == []


def test_words_of_a_language_pass_and_glued_ones_do_not() -> None:
    real = read("o governo anunciou ontem novas regras para quem trabalha de casa")
    assert real.broken == []
    glued = read("parlamvidas manutnsaaráini estratéamb pensarviaéricaorden")
    assert len(glued.broken) == 4


def test_names_acronyms_and_short_words_are_not_judged() -> None:
    assert read("Xzqwk NVIDIA is ok").judged == []


def test_words_of_the_prompts_are_known() -> None:
    assert read("qwxz", frozenset({"qwxz"})).broken == []


@given(st.text(max_size=60))
def test_accents_and_case_change_nothing(text: str) -> None:
    assert [fold(w) for w in read(text).words] == [fold(w) for w in read(text.upper()).words] or "ß" in text.casefold()


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("pt", "ela não sabia que o carro era do vizinho, mas perguntou para todos"),
        ("en", "she did not know that the car was his, but she asked all of them"),
        ("es", "ella no sabía que el coche era del vecino, pero les preguntó a todos"),
        ("fr", "elle ne savait pas que la voiture était au voisin, mais elle a demandé à tous"),
        ("de", "sie wusste nicht, dass der Wagen dem Nachbarn gehört, und sie hat alle gefragt"),
        ("it", "lei non sapeva che la macchina era del vicino, ma ha chiesto a tutti"),
    ],
)
def test_function_words_tell_the_language(code: str, text: str) -> None:
    assert likeliest(read(text).words)[0].code == code


def test_only_portuguese_and_english_are_judged_and_their_tables_stay_small() -> None:
    assert set(tables()) == {"pt", "en"}
    assert set(tables()) < set(languages())
    folder = ROOT / "plugins" / "mldiag_samples" / "languages"
    assert sum(f.stat().st_size for f in folder.glob("*.table")) < 30_000


def test_a_few_words_prove_less_than_many_of_the_same_share() -> None:
    assert lower_bound(3, 6) < lower_bound(50, 100) < 0.5
    assert lower_bound(0, 0) == 0


def test_a_megabyte_is_judged_within_seconds() -> None:
    letters = random.Random(3).choices("abcdefgh ", k=1_000_000)
    started = time.perf_counter()
    texts = ("".join(letters), "".join(letters).replace(" ", ""), "ab " * 300_000, " " * 1_000_000, "<pad>" * 200_000)
    list(repetition(samples_of(*texts)))
    outcome(samples_of(*texts))
    assert time.perf_counter() - started < 10


def test_the_tables_are_read_only_when_there_are_samples() -> None:
    script = (
        "import mldiag.plugins as p, sys; p.load(); from mldiag_samples.language import tables, languages;"
        "print(tables.cache_info().currsize + languages.cache_info().currsize, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["0", "False"]


@pytest.mark.parametrize("name", ["llm_transformer_v5.py", "train_lstm_v4.py"])
def test_source_code_is_not_taken_for_broken_words(name: str) -> None:
    (path,) = (ROOT / "examples" / "versions").glob(f"*/{name}")
    assert outcome(samples_of(path.read_text(encoding="utf-8"), prompt="import ")) == "clean"


def outcome(samples: Samples) -> str:
    try:
        found: list[Finding] = list(broken_words(samples))
    except NotApplicable:
        return "skipped"
    return "found" if found else "clean"


def passages() -> Iterator[str]:
    with gzip.open(TEXT, "rt", encoding="utf-8") as lines:
        for line in lines:
            words = json.loads(line)["text"].split(" ")
            for start in range(0, len(words) - PASSAGE, PASSAGE * 4):
                yield " ".join(words[start : start + PASSAGE])


@pytest.mark.slow
@pytest.mark.skipif(not TEXT.is_file(), reason="the Portuguese text is not part of the repository")
def test_real_portuguese_raises_no_alarm() -> None:
    texts = list(passages())
    threes = [samples_of(*texts[n : n + 3]) for n in range(0, len(texts) - 2, 3)]
    assert len(threes) > 300
    assert [t for t in threes if outcome(t) == "found"] == []
    assert [t for t in threes if list(repetition(t))] == []
