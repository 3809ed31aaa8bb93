"""DAT008: the data were made with another tokenizer than the model uses."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import (
    Evidence,
    Finding,
    Fix,
    NotApplicable,
    Settings,
    SettingValue,
    TokenFile,
    TokenFiles,
    Vocabularies,
    lazily,
    rule,
)

_KEYS = ("tokenizer", "tokenizer_name", "tokenizer_path", "tokenizer_file", "tokenizer_name_or_path", "tokenizer_model")
_GENERIC = lazily(r"(?i)(tokenizer|vocab|spm|sp|bpe|sentencepiece|tokenizer_config|merges|meta|model)")
_KINDS = frozenset({"bpe", "wordpiece", "unigram", "char", "word", "sentencepiece", "spm", "hf", "tiktoken", "byte",
                    "huggingface", "auto", "custom"})  # fmt: skip


@rule("DAT008", severity="error", pre=True, explains=("DAT001", "CFG005", "SMP002"))
def tokenizer_mismatch(
    vocabularies: Vocabularies | None,
    files: TokenFiles | None,
    settings: Settings | None,
    *,
    max_share: float = 0.01,
) -> Iterator[Finding]:
    """The token ids were made with another tokenizer than the one the model uses.

    ## What it checks
    1. The vocabulary beside the token file (`data/meta.pkl`, `data/vocab.json`) against the one beside the model, where
       both have one size: whether they give the same token the same id.
    2. What the description beside the token file names as its tokenizer (`train.json`, `meta.json`: `"tokenizer":
       "gpt2"`) against the run's setting `tokenizer` (`tokenizer_name`, `tokenizer_path`).

    ## Why it matters
    Training does not notice: any numbers have a structure to learn. What the model writes afterwards is decoded by the
    other vocabulary, and is nonsense; a pretrained model starts from noise.

    ## Inputs
    Token files with what lies beside them; tokenizers; the setting of the tokenizer.

    ## Options
    - `max_share` (0.01): share of the tokens that may have different ids; a few added special tokens are no other
      vocabulary.

    ## Fix
    Shown: tokenise the text again, or use the tokenizer of the data.

    ## When to ignore
    Two copies of one tokenizer under different names.

    ## Source
    An id is a row of the embedding; which token the row stands for only the vocabulary says.
    """
    judged = vocabularies is not None
    for found in vocabularies.mismatches if vocabularies is not None else ():
        share = found.differing / found.tokens
        if share > max_share:
            token, ours, theirs = found.example
            yield Finding(
                f"{found.data.source.path} and {found.model.source.path} both have {found.data.size:,} tokens, but "
                f"{found.differing:,} of {found.tokens:,} have not the same id in both ({token!r} has "
                f"{_id(ours)} and {_id(theirs)})",
                at=found.data.source,
                evidence=(
                    Evidence("share of tokens with different ids", share, max_share, found.model.source),
                    Evidence("tokens with different ids", found.differing, at=found.model.source, unit="token"),
                    Evidence("tokens of both", found.tokens, unit="token"),
                    Evidence("tokens of each", found.data.size, at=found.data.source, unit="token"),
                    Evidence(f"id of {token!r} in the data's vocabulary", ours, theirs, found.data.source),
                    Evidence(f"id of {token!r} in the model's vocabulary", theirs, at=found.model.source),
                ),
                fix=Fix.show(_FIX),
            )
    named = next((v for v in settings or () if v.key in _KEYS and _name(v.value) is not None), None)
    told = [f for f in files or () if _name(f.tokenizer) is not None]
    if named is not None and told:
        judged = True
        other = next((f for f in told if _name(f.tokenizer) != _name(named.value)), None)
        if other is not None:
            yield _named(other, named)
    if not judged:
        raise NotApplicable("nothing says which tokenizer the data and the model have")


def _named(file: TokenFile, setting: SettingValue) -> Finding:
    return Finding(
        f"{file.source.path} was made with {file.tokenizer}, but {setting.key} is {setting.value}",
        at=setting.source,
        evidence=(
            Evidence("tokenizer of the data", file.tokenizer, str(setting.value), file.stated_at or file.source),
            Evidence(setting.key, str(setting.value), at=setting.source),
        ),
        fix=Fix.show(_FIX),
    )


def _name(value: object) -> str | None:
    """What identifies a tokenizer: the last part of a path that says something; None for a kind (`bpe`)."""
    if not isinstance(value, str):
        return None
    parts = [p for p in value.strip().lower().replace("\\", "/").split("/") if p not in ("", ".", "..")]
    while parts and _GENERIC.fullmatch(parts[-1].split(".")[0]):
        parts.pop()
    if not parts:
        return None
    last = parts[-1]
    for ending in (".json", ".model", ".txt", ".vocab", ".bpe", ".pkl"):
        last = last.removesuffix(ending)
    name = last.rpartition(":")[2]
    return None if name in _KINDS or not name else name


def _id(number: int | None) -> str:
    return "no id" if number is None else f"id {number:,}"


_FIX = "tokenise the text again with the tokenizer of the model, or give the model the one of the data"
