"""SMP003 off-prompt."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from mldiag.api import Evidence, Finding, NotApplicable, Sample, Samples, rule
from mldiag_samples.language import fold, languages, letter_runs, likeliest

_JUDGED = 1_000
"""Samples that are compared, spread evenly: more prove no more."""

_MOST = 2_000
"""Characters of an output that are compared: what belongs to a prompt stands near it."""

_PROMPT_END = 4_000
"""Characters of a prompt, its last ones."""

_SHORTEST, _STEM = 4, 5
"""Letters of a word that is about something, and of what its inflections share."""

_COMMON = 0.75
"""Share of the outputs from which on a word belongs to the file's subject, not to a prompt."""

_COMMON_PROMPT = 0.5
"""Share of the prompts from which on a word belongs to their template."""

_Z = 1.645
"""One-sided 95 %."""


@rule("SMP003", severity="warning")
def off_prompt(
    samples: Samples,
    *,
    max_ratio: float = 2.2,
    max_shared: float = 1.3,
    min_samples: int = 8,
    min_words: int = 30,
    min_prose: float = 0.2,
) -> Iterator[Finding]:
    """What the model wrote had no more to do with its own prompts than with others.

    ## What it checks
    How many words of each prompt stand in its own continuation, and how many stand in the continuations of the other
    prompts of the file. The second is what chance gives: the mean over all ways to deal the continuations out. Words
    count by their first five letters, so that inflections are one; function words, words of more than three quarters
    of the outputs and words of more than half of the prompts do not count. It is reported when the own continuations
    shared no more than the others', and so much was compared that text which follows its prompt would have shown it.

    ## Why it matters
    A model that does not see its prompt (a wrong attention mask, prompts padded on the wrong side or cut away, an
    encoder that is not connected, a cache that is not reset) can write fluent text: neither the loss on long windows
    nor the look of a sample betrays it.

    ## Inputs
    Generated samples with at least `min_samples` different prompts in prose and `min_words` words of output each.

    ## Options
    - `max_ratio` (ratio, 2.2): the upper end of the one-sided 95 % interval (Poisson) of own over other shared words
      must not exceed this.
    - `max_shared` (ratio, 1.3): nor the ratio itself this.
    - `min_samples` (different prompts, 8): fewer are not judged.
    - `min_words` (words, 30): shorter outputs are not judged: an answer may share nothing with its question.
    - `min_prose` (share of function words, 0.2): prompts with fewer are tables, code or names, in which what follows
      need not take up what stood before.

    ## When to ignore
    Outputs that are not meant to take up their prompt: classes written out, translations between languages that mldiag
    does not know, code from a description.

    ## Source
    A permutation test (Fisher 1935) with the file as its own reference, so that no language model is needed.
    Measured: real text in one domain, cut into prompts of 6 to 30 words and outputs of 40 to 200, shared 3.9 (court
    decisions) to 9.6 (encyclopaedia) times as many words as chance in the median, dialogues 2.3 to 6.9 times; dealt out
    at random 0.9 to 1.0. No alarm in 972 groups of 3 to 500 samples (news, novels, help, court decisions, source code,
    logs, dialogues), of which 508 could be judged. Of 476 groups with prompts of 8 to 30 words and outputs dealt out at
    random 83 % were found (76 % of those with 8 samples, 94 % with 100), of 168 with prompts of 5 words and outputs of
    30 24 %. The limits were chosen on the same documents.
    """
    judged = _judged(samples.items, min_words)
    prompts = [_stems(s.prompt[-_PROMPT_END:]) for s in judged if s.prompt]
    different = len({s.prompt for s in judged})
    if different < min_samples:
        raise NotApplicable(
            f"{different} different prompts have an output of {min_words} words or more; {min_samples} are needed"
        )
    outputs = [_stems(s.output[:_MOST]) for s in judged]
    _comparable(judged, min_prose)
    own, expected = _shared([s.prompt or "" for s in judged], prompts, outputs)
    total, chance = sum(own), math.fsum(expected)
    if upper_bound(0) > max_ratio * chance:
        raise NotApplicable(
            f"the prompts' words are too rare in all outputs to compare: {chance:.1f} are expected in one's own by "
            "chance alone"
        )
    highest = upper_bound(total) / chance
    if total > max_shared * chance or highest > max_ratio:
        return
    worst = max(range(len(judged)), key=lambda i: expected[i] - own[i])
    without = sum(not n for n in own)
    yield Finding(
        f"the outputs of {different:,} prompts shared {total:,} words with their own prompts, where other prompts' "
        f"outputs share {chance:.1f}: {without:,} of {len(judged):,} shared none",
        at=judged[worst].source,
        evidence=(
            Evidence("words shared with the own prompt", total, at=judged[worst].source, unit="word"),
            Evidence("words shared by chance", chance, unit="word"),
            Evidence("own / chance", total / chance, max_shared),
            Evidence("upper end of its 95 % interval", highest, max_ratio),
            Evidence("different prompts", different, min_samples, unit="prompt"),
            Evidence("outputs that share no word", without, unit="sample"),
            Evidence("outputs compared", len(judged), unit="sample"),
        ),
        advice="check that the prompt reaches the model when it generates: attention mask, side of the padding, what "
        "is cut off, and that the text is encoded as in training",
    )


def _judged(items: Sequence[Sample], least: int) -> list[Sample]:
    kept = [s for s in items if s.prompt and s.prompt.strip() and s.output.count(" ") + 1 >= least]
    step = max(1, len(kept) / _JUDGED)
    return [kept[int(n * step)] for n in range(int(len(kept) / step))]


def _stems(text: str) -> frozenset[str]:
    """What a text is about: its words but the function words, by their beginnings."""
    closed = _closed()
    words = {fold(run) for run in letter_runs(text) if len(run) >= _SHORTEST}
    return frozenset(w[:_STEM] for w in words if w not in closed)


def _closed() -> frozenset[str]:
    known = languages()
    return known["pt"].function_words | known["en"].function_words


def _comparable(judged: Sequence[Sample], prose: float) -> None:
    """Raises `NotApplicable` where nothing need be taken up: no prose, or another language than the prompt's."""
    asked, asked_share = _language([s.prompt or "" for s in judged])
    if asked_share < prose:
        raise NotApplicable(f"the prompts are no prose ({100 * asked_share:.0f} % function words of {asked})")
    told, told_share = _language([s.output[:200] for s in judged])
    if asked != told and told_share >= prose:
        raise NotApplicable(f"the prompts are {asked} and the outputs {told}")


def _language(texts: Sequence[str]) -> tuple[str, float]:
    words = [fold(run) for text in texts[:100] for run in letter_runs(text)]
    language, share = likeliest(words)
    return language.name, share


def _shared(
    asked: Sequence[str], prompts: Sequence[frozenset[str]], outputs: Sequence[frozenset[str]]
) -> tuple[list[int], list[float]]:
    """For each sample the stems of its prompt in its output, and how many of them an output of another prompt holds."""
    everywhere = Counter(stem for output in outputs for stem in output)
    in_prompts = Counter(stem for prompt in dict(zip(asked, prompts, strict=True)).values() for stem in prompt)
    different = len(set(asked))
    groups: dict[str, list[int]] = {}
    for i, prompt in enumerate(asked):
        groups.setdefault(prompt, []).append(i)
    own, expected = [0] * len(outputs), [0.0] * len(outputs)
    for members in groups.values():
        others = len(outputs) - len(members)
        for stem in prompts[members[0]]:
            found = everywhere[stem]
            if found > _COMMON * len(outputs) or in_prompts[stem] > max(_COMMON_PROMPT * different, 2):
                continue
            inside = [i for i in members if stem in outputs[i]]
            for i in inside:
                own[i] += 1
            for i in members:
                expected[i] += (found - len(inside)) / others
    return own, expected


def upper_bound(count: int) -> float:
    """Upper end of the one-sided 95 % interval of a Poisson mean (Wilson and Hilferty 1931): 3.0 for none."""
    n = count + 1
    return float(n * (1 - 1 / (9 * n) + _Z / (3 * math.sqrt(n))) ** 3)
