"""What the samples rules stand on: loops are found where they are, and words are judged by their letters."""

from __future__ import annotations

import gzip
import json
import math
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import assume, given, strategies as st

from mldiag.api import File, Finding, NotApplicable, Sample, Samples, Source, TrainingText, TrainingTexts
from mldiag_samples.language import fold, languages, likeliest, lower_bound, read, tables
from mldiag_samples.loops import covered, loops
from mldiag_samples.smp001_repetition import repetition
from mldiag_samples.smp002_broken_words import broken_words
from mldiag_samples.smp003_off_prompt import off_prompt, upper_bound
from mldiag_samples.smp004_empty_or_cut import empty_or_cut
from mldiag_samples.smp005_mojibake import mojibake
from mldiag_samples.smp006_verbatim_copy import verbatim_copy

ROOT = Path(__file__).parents[1]
TEXT = ROOT.parent / "shared" / "data" / "ptbr-text" / "val.jsonl.gz"
PASSAGE = 60


def samples_of(*outputs: str, prompt: str | None = None) -> Samples:
    return Samples(tuple(Sample(o, Source("samples.json", n + 1), prompt) for n, o in enumerate(outputs)))


def is_its_own_period(text: str) -> bool:
    return (text + text).find(text, 1) == len(text)


@given(
    st.text("abc", max_size=40),
    st.text("defgh", min_size=1, max_size=24).filter(is_its_own_period),
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


def found(rule: Callable[..., Iterable[Finding]], *given: object) -> bool:
    try:
        return bool(list(rule(*given)))
    except NotApplicable:
        return False


@pytest.mark.parametrize("count", [0, 1, 3, 10, 100])
def test_the_upper_end_of_a_count_is_that_of_the_poisson_interval(count: int) -> None:
    bound = upper_bound(count)
    below = math.fsum(math.exp(k * math.log(bound) - bound - math.lgamma(k + 1)) for k in range(count + 1))
    assert below == pytest.approx(0.05, abs=0.002)


@given(
    st.lists(st.sampled_from("ãçéíõâê àü"), min_size=20, max_size=60), st.sampled_from(["cp1252", "mac_roman", "cp850"])
)
def test_text_read_in_another_encoding_is_found_and_the_text_itself_is_not(letters: list[str], codec: str) -> None:
    text = "o ".join(letters)
    wrong = "".join(bytes([b]).decode(codec, "replace").replace("\ufffd", chr(b)) for b in text.encode())
    assume(sum(not c.isascii() for c in text) >= 5)
    assert found(mojibake, samples_of(wrong))
    assert not found(mojibake, samples_of(text))


@given(st.text(max_size=300))
def test_no_text_breaks_a_rule(text: str) -> None:
    for rule in (repetition, broken_words, off_prompt, empty_or_cut, mojibake):
        found(rule, samples_of(text, text + "a", prompt="x"))


def training_text(folder: Path, text: str) -> TrainingTexts:
    (folder / "input.txt").write_text(text, encoding="utf-8")
    file = File(folder, "input.txt")
    return TrainingTexts((TrainingText(file.at(), file.size, file),))


@pytest.mark.parametrize("seed", range(3))
def test_a_copy_is_found_wherever_it_begins_and_across_the_borders_of_pieces(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    words = ["".join(draw.choices("abcdefghijklm", k=draw.randint(2, 9))) for _ in range(5_000)]
    lines = [" ".join(draw.choices(words, k=12)) for _ in range(25_000)]  # more than one piece of a megabyte
    texts = training_text(tmp_path, "\n".join(lines))
    own = [" ".join(draw.choices(words, k=200)) for _ in range(5)]
    assert not found(verbatim_copy, samples_of(*own), texts)
    at = draw.randrange(10, 24_000)
    edge = next(n for n, end in enumerate(accumulate(len(line) + 1 for line in lines)) if end > 2**20)
    for start in (at, edge - 5):
        copied = " ".join(lines[start : start + 10]).split()[draw.randrange(9) :]
        assert found(verbatim_copy, samples_of(*own[:4], own[4] + " " + " ".join(copied).upper()), texts)


@pytest.mark.slow
def test_ten_thousand_samples_take_about_a_second_a_rule(tmp_path: Path) -> None:
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefghijklmnoç", k=draw.randint(2, 9))) for _ in range(20_000)]
    items = [Sample(" ".join(draw.choices(words, k=150)), Source("s", n), f"prompt {n}") for n in range(10_000)]
    texts = training_text(tmp_path, "\n".join(s.output for s in items[:3_000]))
    for rule, *more in (
        (repetition,),
        (broken_words,),
        (off_prompt,),
        (empty_or_cut,),
        (mojibake,),
        (verbatim_copy, texts),
    ):
        started = time.process_time()
        found(rule, Samples(tuple(items)), *more)
        assert time.process_time() - started < 5, rule
