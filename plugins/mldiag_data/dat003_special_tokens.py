"""DAT003: special tokens that are missing, stand for two things, or have ids that the vocabulary has not."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from mldiag.api import (
    Evidence,
    Finding,
    Fix,
    Idiom,
    NotApplicable,
    Program,
    Settings,
    SettingValue,
    Tokenizer,
    Tokenizers,
    as_count,
    rule,
)

_ROLES = ("pad", "bos", "eos", "unk", "sep", "cls", "mask")
_APART = (("mask", "pad"), ("mask", "unk"), ("mask", "cls"), ("mask", "sep"), ("cls", "sep"), ("cls", "pad"),
          ("sep", "pad"), ("pad", "bos"))  # fmt: skip
_IDIOM = "pad is end"


@rule("DAT003", severity="warning", pre=True, explains=("SMP001", "SMP004"), gives_way_to=("CFG005",))
def special_tokens(
    settings: Settings | None, tokenizers: Tokenizers | None, program: Program | None
) -> Iterator[Finding]:
    """A special token stands for two things, or has an id that the vocabulary has not.

    ## What it checks
    1. The source: padding that is the end of text (`tokenizer.pad_token = tokenizer.eos_token`, or a tokenizer that is
       made with one token for both) where the labels are the ids themselves, so that the model is trained on padding,
       or where Hugging Face's `DataCollatorForLanguageModeling(mlm=False)` takes all padding out of the labels, and
       with it every end of text.
    2. Ids of a configuration (`eos_token_id`, `pad_token_id`, ...) at or above its own `vocab_size`.
    3. Ids of a configuration that differ from those of the tokenizer in the same folder.
    4. Two roles with one id in a tokenizer that must not be one: the mask is padding, the separator is the class token,
       the beginning is padding.

    ## Why it matters
    A model that was never shown the end of a text does not stop; one that is trained on padding learns to write it. An
    id beyond the vocabulary is never generated, and an error where it is looked up.

    ## Inputs
    Python sources; `config.json` and its like; tokenizers.

    ## Fix
    Shown: a padding token of its own (`tokenizer.add_special_tokens({"pad_token": "<pad>"})`, then resize the
    embeddings), or a label mask from the attention mask; the tokenizer's ids in the configuration.

    ## When to ignore
    Text that is packed without padding, where the collator has nothing to take out but the ends are still lost to it;
    models that are only ever asked for a fixed number of tokens.

    ## Source
    transformers, `data/data_collator.py`: `labels[labels == self.tokenizer.pad_token_id] = -100`. GPT-2 has one token
    for beginning, end and unknown by design, which is no finding.
    """
    idioms = [i for s in (program.sources if program is not None else ()) for i in s.idioms if i.name == _IDIOM]
    stated = [v for v in settings or () if v.key.removesuffix("_token_id") in _ROLES and v.key.endswith("_token_id")]
    if not idioms and not stated and not any(t.special for t in tokenizers or ()):
        if program is None or not program.sources:
            raise NotApplicable("no special tokens in a configuration, a tokenizer or a source")
        return
    yield from (_padded(i) for i in idioms)
    beyond: dict[str, list[tuple[SettingValue, int]]] = {}
    for value in {(v.source.path, v.key): v for v in stated if "." not in (v.source.key or "")}.values():
        number = as_count(value.value)
        if number is None:
            continue
        size = _size(value, settings)
        if size is not None and number >= size:
            beyond.setdefault(value.source.path, []).append((value, number))
        else:
            yield from _unlike(value, number, tokenizers)
    yield from (_beyond(values, settings) for values in list(beyond.values())[:1])
    for tokenizer in tokenizers or ():
        yield from _one_for_two(tokenizer)


def _padded(idiom: Idiom) -> Finding:
    if idiom.detail("labels") == "collator":
        message = (
            "padding is the end-of-text token, and the collator takes padding out of the labels: the model is never"
        )
        message += " trained to end a text"
    else:
        message = "padding is the end-of-text token and the labels are the ids themselves, without a mask: the model is"
        message += " trained on the padding"
    return Finding(
        message,
        at=idiom.source,
        evidence=(
            Evidence("padding token", "end of text", at=idiom.source),
            Evidence("labels", idiom.detail("labels"), at=idiom.also[0] if idiom.also else idiom.source),
        ),
        fix=Fix.show("give padding a token of its own, or mask the labels by the attention mask"),
    )


def _size(value: SettingValue, settings: Settings | None) -> int | None:
    """The largest vocabulary that the file of a setting states."""
    sizes = [v for v in (settings.all("vocab_size") if settings else ()) if v.source.path == value.source.path]
    return max((n for v in sizes if (n := as_count(v.value))), default=None)


def _beyond(values: list[tuple[SettingValue, int]], settings: Settings | None) -> Finding:
    """Ids that the configuration's own vocabulary has not."""
    first = values[0][0]
    size = _size(first, settings)
    assert size is not None
    said = " and ".join(f"{v.key} is {n:,}" for v, n in values)
    return Finding(
        f"{said}, but the vocabulary has {size:,} tokens: "
        f"the model can never give {'it' if len(values) == 1 else 'them'}",
        at=first.source,
        evidence=(
            *(Evidence(v.key, n, size - 1, v.source) for v, n in values),
            Evidence(
                "tokens of the vocabulary", size, at=settings.where("vocab_size") if settings else None, unit="token"
            ),
        ),
        fix=Fix.show("set them to the ids that the tokenizer gives"),
    )


def _unlike(value: SettingValue, number: int, tokenizers: Tokenizers | None) -> Iterator[Finding]:
    """An id that is another one in the tokenizer that lies beside the configuration."""
    role, folder = value.key.removesuffix("_token_id"), posixpath.dirname(value.source.path)
    beside = [t for t in tokenizers or () if posixpath.dirname(t.source.path) == folder and role in t.special]
    if len(beside) != 1 or beside[0].special[role] == number:
        return
    own = beside[0].special[role]
    # A sentence model's `</s>` may be listed beside the chat end that replaces it: only an id of no role is wrong.
    if number in beside[0].special.values() and role in ("bos", "eos", "sep", "cls"):
        return
    yield Finding(
        f"{value.key} is {number:,}, but {beside[0].source.path} gives {own:,}",
        at=value.source,
        evidence=(
            Evidence(value.key, number, own, value.source),
            Evidence(f"id of {role} in the tokenizer", own, at=beside[0].source),
        ),
        fix=Fix.show(f"set {value.key} to {own:,}, as the tokenizer gives it"),
    )


def _one_for_two(tokenizer: Tokenizer) -> Iterator[Finding]:
    special = tokenizer.special
    for one, other in _APART:
        if one in special and other in special and special[one] == special[other]:
            if (one, other) == ("pad", "bos") and special.get("eos") == special["bos"]:
                continue  # one token for everything, as GPT-2 has
            yield Finding(
                f"{one} and {other} have one id, {special[one]:,}, in {tokenizer.source.path}",
                at=tokenizer.source,
                evidence=(
                    Evidence(f"id of {one}", special[one], at=tokenizer.source),
                    Evidence(f"id of {other}", special[other], at=tokenizer.source),
                ),
                fix=Fix.show(f"give {one} a token of its own"),
            )
            return
