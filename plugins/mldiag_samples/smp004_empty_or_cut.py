"""SMP004 empty-or-cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mldiag.api import Evidence, Finding, Sample, Samples, lazily, rule, stats
from mldiag_samples.language import lower_bound
from mldiag_samples.outputs import SPECIAL, says_nothing

_TAIL = 400
"""Characters at the end of a sample in which its end token is looked for, padding behind it included."""

_FEWEST_ENDED = 2
"""Samples that end by themselves, so that an end token in them is no chance."""

_END = lazily(
    r"<\|(?:endoftext|end_of_text|im_end|eot_id|eom_id|end|eos|end_of_turn)\|>|</s>|<(?:eos|end_of_turn|eot)>|\[EOS\]"
)
_TURN_END = lazily(r"<\|(?:im_end|eot_id|end|end_of_turn)\|>|<end_of_turn>")
_USER_TURN = lazily(
    r"<\|im_start\|>\s*user|<\|start_header_id\|>\s*user|<start_of_turn>\s*user|<\|user\|>|<\|start\|>user"
)


@rule("SMP004", severity="warning")
def empty_or_cut(
    samples: Samples, *, max_empty: float = 0.1, max_cut: float = 0.3, max_overrun: float = 0.1
) -> Iterator[Finding]:
    """Samples were empty, were cut off, or went on into a turn that was not the model's.

    ## What it checks
    - Outputs of blanks and special tokens alone, and outputs that only repeat the prompt.
    - Where some outputs ended by themselves (by an end token in the text, or by a finish reason in the file), how many
      others did not and were as long or longer: those ran to the longest that was allowed.
    - Outputs of a chat model that ended their turn and went on to write the user's next one.

    A file in which no output ends by itself is not judged for cut ones: a language model without an end token writes as
    much as it is asked for.

    ## Why it matters
    An empty output is most often an end token that was learnt at the wrong place (labels shifted by one, padding that
    is the end token, a prompt template that already ends the turn). Outputs that never end cost as many tokens as are
    allowed and were trained without an end token, or with one that the loss ignored.

    ## Inputs
    Generated samples; their prompts and finish reasons (`finish_reason`, `stop_reason`) where the file has them.

    ## Options
    - `max_empty` (share of the samples, 0.1): empty ones from which on they are reported, if there are two or all are.
    - `max_cut` (share, 0.3): the lower end of the 95 % interval (Wilson 1927) of the share that was cut off.
    - `max_overrun` (share, 0.1): the same of the share that went on into the user's turn.

    ## When to ignore
    Tasks in which an empty answer is right (questions without an answer); samples that were meant to be short.

    ## Source
    The shares are those of post-training-toolkit's rules (empty responses above 0.1, truncation above 0.3).
    Measured: no alarm in 972 groups of 3 to 500 real texts (as they are, each with an end token, and with an eighth
    cut off); all groups of 8 and more in which a fifth was emptied were found, and 88 % of those in which two fifths
    had their end token and three fifths were cut, whatever their length.
    """
    yield from _empty(samples.items, max_empty)
    yield from _cut(samples.items, max_cut)
    yield from _overrun(samples.items, max_overrun)


def _empty(items: Sequence[Sample], most: float) -> Iterator[Finding]:
    blank = [s for s in items if says_nothing(s.output)]
    repeated = [s for s in items if s.prompt and s.output.strip() and s.output.strip() == s.prompt.strip()]
    count = len(blank) + len(repeated)
    if not count or count < most * len(items) or (count < 2 and count < len(items)):
        return
    first = (blank or repeated)[0]
    marked = sum(bool(s.output.strip()) for s in blank)
    ways = [
        (len(blank) - marked, "held nothing"),
        (marked, "held special tokens alone"),
        (len(repeated), "held the prompt alone"),
    ]
    yield Finding(
        f"{count:,} of {len(items):,} samples were empty: " + ", ".join(f"{n:,} {how}" for n, how in ways if n),
        at=first.source,
        evidence=(
            Evidence("empty samples", count, at=first.source, unit="sample"),
            Evidence("samples", len(items), unit="sample"),
            Evidence("share of empty samples", count / len(items), most),
            *(Evidence(f"samples that {how}", n, unit="sample") for n, how in ways if n),
        ),
        advice="look at where the end token stands in the training examples and whether the loss counts it there; see "
        "that the prompt is encoded without an end token",
    )


def _ended(sample: Sample) -> bool:
    if sample.finish is not None:
        return sample.finish == "stop"
    tail = sample.output[-_TAIL:]
    ends = list(_END.finditer(tail))
    return bool(ends) and not SPECIAL.sub("", tail[ends[-1].end() :]).strip()


def _cut(items: Sequence[Sample], most: float) -> Iterator[Finding]:
    full = [s for s in items if not says_nothing(s.output)]
    ended = [s for s in full if _ended(s)]
    if len(ended) < _FEWEST_ENDED:
        return
    usual = stats.median([float(len(s.output)) for s in ended])
    # Which of the rest are as long as what has ended; shorter ones were ended by something that left no mark.
    cut = [s for s in full if not _ended(s) and (s.finish == "length" or len(s.output) >= usual)]
    lowest = lower_bound(len(cut), len(full))
    if lowest <= most:
        return
    longest = max(cut, key=lambda s: len(s.output))
    length = stats.median([float(len(s.output)) for s in cut])
    yield Finding(
        f"{len(cut):,} of {len(full):,} samples never ended and were cut off, at {length:,.0f} characters in the "
        f"median; the {len(ended):,} that ended by themselves had {usual:,.0f}",
        at=longest.source,
        evidence=(
            Evidence("samples cut off", len(cut), at=longest.source, unit="sample"),
            Evidence("samples that are not empty", len(full), unit="sample"),
            Evidence("lower end of the 95 % interval of their share", lowest, most),
            Evidence("samples that ended", len(ended), at=ended[0].source, unit="sample"),
            Evidence("median length of those cut off", length, unit="character"),
            Evidence("median length of those that ended", usual, unit="character"),
        ),
        advice="allow more new tokens if the texts are good to the end; else see that every training example ends with "
        "the end token and that the loss counts it (a padding token that is the end token is often masked with it)",
    )


def _overrun(items: Sequence[Sample], most: float) -> Iterator[Finding]:
    over = [s for s in items if s.prompt and _runs_on(s.output)]
    lowest = lower_bound(len(over), len(items))
    if lowest <= most:
        return
    yield Finding(
        f"{len(over):,} of {len(items):,} samples went on after the end of their turn and wrote the user's next one",
        at=over[0].source,
        evidence=(
            Evidence("samples that went on", len(over), at=over[0].source, unit="sample"),
            Evidence("samples", len(items), unit="sample"),
            Evidence("lower end of the 95 % interval of their share", lowest, most),
        ),
        advice="name the end of a turn as an end token when generating (`eos_token_id` takes several)",
    )


def _runs_on(output: str) -> bool:
    """An answer, the end of its turn, and a turn of the user's behind it."""
    end = _TURN_END.search(output)
    if end is None or says_nothing(output[: end.start()]):
        return False
    asked = _USER_TURN.search(output)
    return asked is not None and asked.start() >= end.end()
