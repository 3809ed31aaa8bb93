"""CFG005: configuration, tokenizer and embedding disagree about the vocabulary."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mldiag.api import (
    Evidence,
    Finding,
    Fix,
    NotApplicable,
    Program,
    Role,
    Settings,
    SettingValue,
    Severity,
    Source,
    Tokenizers,
    Vocabulary,
    as_count,
    edit_setting,
    is_padded_vocabulary,
    rule,
)

# A `vocab_size` beside one of these describes a model; alone it may be what a tokenizer was to be trained to.
_OF_A_MODEL = ("d_model", "num_layers", "num_heads", "d_ff", "max_positions", "model_type", "architectures")
_OF_ANOTHER = ("teacher", "draft", "vision", "audio", "image", "student", "encoder", "decoder", "reward", "critic")

_NO_TOKENS = ("label", "class", "tag", "user", "item", "entit", "relation", "speaker", "lang", "slot", "intent")


@rule("CFG005", severity="error", pre=True, explains=("CUR003", "CUR014", "SMP001", "SMP002", "SMP003"))
def vocabulary_mismatch(
    settings: Settings,
    program: Program | None,
    tokenizers: Tokenizers | None,
    *,
    special_tokens: int = 16,
    max_surplus: float = 0.1,
) -> Iterator[Finding]:
    """Configuration, tokenizer, token table and output disagree about the size of the vocabulary.

    ## What it checks
    The rows of the token table (as a checkpoint proves them, else as the source builds or a model's configuration
    states them) against the tokens of the tokenizer, the `vocab_size` of the model's configuration, and the rows of the
    output. A tokenizer with more tokens than rows, a configuration that is not the stored table's, and an output with
    fewer rows are errors. A table with many more rows than tokens is a warning. Ordinary are a table that is padded up
    to the next multiple of 8 to 512, one with up to `special_tokens` rows more than the configuration counts, and one
    with up to `max_surplus` unused rows. Of several tokenizers (source and target language) all must contradict.

    ## Why it matters
    An id without a row ends the run in an index error, on a GPU in a device-side assertion far from its cause; some
    frameworks wrap or clip it silently, and a word is trained as another. A configuration with another number cannot
    load the weights. Unused rows cost memory, and the softmax over them raises the first loss.

    ## Inputs
    `vocab_size` (tokens) of the configuration and of the source's model; shapes of token table and output; the
    tokenizer's tokens and largest id, added tokens included.

    ## Options
    `special_tokens` (default 16 rows; the tokenizers of BERT, T5 without its sentinels, GPT-2 and LLaMA add 1 to 7);
    `max_surplus` (default 0.1 of the tokens; of published models Qwen2 leaves 0.2 % unused, Phi 1.8 %, DeepSeek 2.4 %).

    ## Fix
    Safe: the configuration's `vocab_size` is set to the rows that a checkpoint proves; without a checkpoint, a smaller
    one is set to the tokens of the tokenizer. Where weights exist and the tokenizer has outgrown them, the fix is only
    shown: the new rows have to be trained.

    ## When to ignore
    A tokenizer that lies beside a model of another program; tokens that were added and never occur in the data.

    ## Source
    Two of 134 planted runs, found; the other 34 of 380 labelled runs that state a vocabulary twice agree. Padding:
    Megatron-LM, `make-vocab-size-divisible-by`; nanoGPT (50,257 → 50,304); T5 (32,100 → 32,128).
    """
    rows, output = _proven(settings)
    described = _described(settings)
    known = rows or described or _built(settings, program)
    tokens = _tokens(tokenizers)
    if known is None:
        raise NotApplicable("nothing says how many tokens the model has rows for")
    if not tokens and (rows is None or (described is None and output is None)):
        raise NotApplicable("only one place states the size of the vocabulary")
    if rows is None and program is not None and any(program.calls_to("resize_token_embeddings")):
        raise NotApplicable("the program resizes the token table when it runs")

    count = _count(known)
    problems: list[_Problem] = []
    if rows is not None and described is not None:
        claim = _count(described)
        extra = count - claim
        if extra and not (0 < extra <= special_tokens or (extra > 0 and is_padded_vocabulary(claim, count))):
            problems.append(
                _Problem(
                    f"the configuration says {claim:,} tokens",
                    described.source,
                    (Evidence("vocab_size stated", claim, count, described.source),),
                    Fix.safe(f"set vocab_size to {count:,}", edit_setting(described, count)),
                )
            )
    if tokens:
        room = max(special_tokens, int(max_surplus * max(size for size, _ in tokens)))
        problems += _of_tokenizers(tokens, known, rows is not None, None if problems else room)
    if output is not None and _count(output) < count - special_tokens:
        out = _count(output)
        found = (Evidence("rows of the output", out, count, output.source),)
        problems.append(_Problem(f"the output has {out:,} rows", output.source, found))
    if problems:
        what = "rows of the token table" if rows is not None else "vocab_size of the model"
        yield Finding(
            f"{'the token table' if rows is not None else 'the model'} has {count:,} rows, but "
            + " and ".join(p.text for p in problems),
            at=problems[0].at,
            evidence=(Evidence(what, count, at=known.source), *(e for p in problems for e in p.evidence)),
            severity=Severity.WARNING if all(p.harmless for p in problems) else None,
            fix=problems[0].fix,
        )


class _Problem(NamedTuple):
    """A size that contradicts the rows."""

    text: str
    at: Source
    evidence: tuple[Evidence, ...]
    fix: Fix | None = None
    harmless: bool = False


def _of_tokenizers(
    tokens: Sequence[tuple[int, Source]], known: SettingValue, trained: bool, room: int | None
) -> Iterator[_Problem]:
    """Tokens without a row, or, where `room` says how many are ordinary, rows without a token."""
    count = _count(known)
    (least, at), (most, most_at) = min(tokens, key=lambda t: t[0]), max(tokens, key=lambda t: t[0])
    if least > count:
        title = f"resize the token table to {least:,} rows and train the new ones"
        yield _Problem(
            f"the tokenizer gives out {least:,} ids, the last {least - count:,} without a row",
            at,
            (Evidence("tokens of the tokenizer", least, count, at), Evidence("ids without a row", least - count, 0)),
            Fix.show(title) if trained else Fix.safe(f"set vocab_size to {least:,}", edit_setting(known, least)),
        )
    elif room is not None and count - most > room and not is_padded_vocabulary(most, count):
        unused = count - most
        yield _Problem(
            f"the tokenizer has only {most:,} tokens: {100 * unused / count:.0f} % of the rows are unused",
            known.source,
            (Evidence("tokens of the tokenizer", most, at=most_at), Evidence("unused rows", unused, room)),
            Fix.show(f"build the model with {most:,} rows"),
            harmless=True,
        )


def _count(value: SettingValue) -> int:
    return int(str(value.value))


def _proven(settings: Settings) -> tuple[SettingValue | None, SettingValue | None]:
    """Rows of the token table and of the output, by their shapes."""
    # A setting that was stored beside the tensors has a setting's name for its key, a shape that of its tensor.
    meant = Vocabulary().setting
    shapes = [v for v in settings.all("vocab_size", Role.CHECKPOINT) if meant(v.source.key or "") != v.name]
    by_file: dict[str, list[SettingValue]] = {}
    for value in shapes:
        by_file.setdefault(value.source.path, []).append(value)
    found = {tuple(v.value for v in values) for values in by_file.values()}
    if len(found) > 1:
        raise NotApplicable("the checkpoints have vocabularies of several sizes")
    first = next(iter(by_file.values()), [])
    return (first[0] if first else None), (first[1] if len(first) > 1 else None)


def _described(settings: Settings) -> SettingValue | None:
    """The `vocab_size` of a file that describes the model."""
    if "vocab_size" in settings.ambiguous:
        raise NotApplicable(settings.ambiguous["vocab_size"])
    found = []
    for value in settings.all("vocab_size", Role.FILE, Role.LOG):
        block, path = _block(value), value.source.path
        words = f"{path} {value.source.key or ''}".lower()
        if as_count(value.value) is None or any(word in words for word in _OF_ANOTHER):
            continue
        if any(v.source.path == path and _block(v) == block for name in _OF_A_MODEL for v in settings.all(name)):
            found.append(value)
    return found[0] if len({v.value for v in found}) == 1 else None


def _block(value: SettingValue) -> str:
    return (value.source.key or value.name).replace("/", ".").rpartition(".")[0]


def _built(settings: Settings, program: Program | None) -> SettingValue | None:
    """The size with which the source builds its token table, or the flag that it takes it from."""
    builds = [b for b in program.builds if b.name == "vocab_size"] if program else []
    if len({(b.value, b.option) for b in builds}) != 1:
        return None
    build = builds[0]
    if build.option is not None and not build.uses_default:
        given = settings.effective("vocab_size")
        return given if given is not None and as_count(given.value) is not None else None
    if as_count(build.value) is None:
        return None
    return SettingValue("vocab_size", build.value, Role.DEFAULT, build.source)


def _tokens(tokenizers: Tokenizers | None) -> Sequence[tuple[int, Source]]:
    """What each folder's tokenizer needs, in rows: of the files of one folder the most complete."""
    found: dict[str, tuple[int, Source]] = {}
    for tokenizer in tokenizers or ():
        # `label2id.json` and the like number other things than tokens.
        if any(word in posixpath.basename(tokenizer.source.path).lower() for word in _NO_TOKENS):
            continue
        need = max(tokenizer.size, (tokenizer.largest_id or 0) + 1)
        folder = posixpath.dirname(tokenizer.source.path)
        if folder not in found or need > found[folder][0]:
            found[folder] = (need, tokenizer.source)
    return list(found.values())
