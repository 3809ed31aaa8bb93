"""DAT004: what separates records also stands inside them."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from mldiag.api import (
    Edit,
    Evidence,
    Finding,
    Fix,
    Idiom,
    NotApplicable,
    Program,
    PythonSource,
    Settings,
    SettingValue,
    edit_setting,
    lazily,
    rule,
)

_IDIOM = "newline separator"
_TOKENIZES = lazily(r"(?i)tokeni[sz]|(^|\.)encode$")
_KEYS = lazily(
    r"(?:record|session|event|log|doc|document|example|sample|message|turn|entry|text)_?"
    r"(?:separator|delimiter|sep)(?:_token|_text|_string)?|(?:separator|sep)(?:_token|_text|_string)|separator"
)


@rule("DAT004", severity="warning", pre=True, explains=("SMP004",))
def ambiguous_separator(program: Program | None, settings: Settings | None) -> Iterator[Finding]:
    """Records are separated by text that also stands inside them.

    ## What it checks
    In the source: records (events of a session, messages, documents) that are joined by a line break or white space
    alone into a text that goes to a tokenizer. In the settings: a separator of records that is nothing but white space
    with a line break in it. Joining the lines of a file is none of this.

    ## Why it matters
    A record that holds a line break itself (a stack trace, a paragraph) looks like two. The model cannot learn where a
    record ends, and what counts records, or finds the one that is unlike the others, counts wrongly. A tokenizer may
    also drop or merge white space, so that nothing is left of the separator.

    ## Inputs
    Python sources; settings such as `separator`, `record_separator`, `log_sep`.

    ## Fix
    Unsafe: a separator that no record holds, `<|LOG|>` for logs and `<|SEP|>` for others, with the white space around
    it as it was. The text that is trained on changes, and the model has to be trained again. Add the separator to the
    tokenizer's special tokens, so that it is one token.

    ## When to ignore
    Records that can hold no line break, since their source splits by it. A bare `delimiter` or `sep` is one of tables
    and is left alone.

    ## Source
    GPT-2 and its successors separate documents by a token of its own, `<|endoftext|>` (Radford et al. 2019).
    """
    sources = program.sources if program is not None else ()
    idioms = [
        i
        for s in sources
        for i in s.idioms
        if i.name == _IDIOM and (i.detail("tokenized") == "here" or _tokenized_elsewhere(s, sources))
    ]
    stated = [v for v in settings or () if isinstance(v.value, str) and _KEYS.fullmatch(v.key)]
    if not idioms and not stated and (program is None or not program.sources):
        raise NotApplicable("neither a source nor a setting that separates records")
    for idiom in idioms:
        yield _joined(idiom)
    told = {(i.source.path, i.source.line) for i in idioms}
    for value in stated:
        if _is_blank(str(value.value)) and (value.source.path, value.source.line) not in told:
            yield _set(value)


def _tokenized_elsewhere(source: PythonSource, sources: tuple[PythonSource, ...]) -> bool:
    """Whether a program that imports this module gives text to a tokenizer."""
    stem = posixpath.basename(source.path).rsplit(".", 1)[0]
    users = (s for s in sources if any(stem in i.split(".") for i in s.imports))
    return any(_TOKENIZES.search(c.name) for s in users for c in s.calls)


def _is_blank(text: str) -> bool:
    r"""Whether a separator is white space with a line break, also written with a backslash (`"\n"` in a shell)."""
    plain = text.replace("\\n", "\n").replace("\\r", "\r").replace("\\t", "\t")
    return bool(plain) and not plain.strip() and "\n" in plain and "\n\n" not in plain


def _joined(idiom: Idiom) -> Finding:
    separator, source = str(idiom.detail("separator")), idiom.source
    better = _around(separator, f"<|{idiom.detail('word')}|>")
    edit = None
    if source.start is not None and source.end is not None and source.text is not None:
        quote = "'" if source.text.lstrip("rRbBuUfF").startswith("'") else '"'
        edit = Edit(source.path, source.start, source.end, source.text, f"{quote}{better}{quote}")
    return Finding(
        f"{idiom.detail('records')} are joined by {separator!r}, which a record can hold itself",
        at=source,
        evidence=(
            Evidence("separator", repr(separator), at=source),
            Evidence("records", idiom.detail("records"), at=idiom.also[0] if idiom.also else source),
        ),
        advice=f"add {better.strip()} to the tokenizer's special tokens and train again",
        fix=Fix.unsafe(f"separate records by {better.strip()}", edit),
    )


def _set(value: SettingValue) -> Finding:
    word = "LOG" if "log" in value.key else "SEP"
    text = str(value.value).replace("\\n", "\n")
    better = _around(text, f"<|{word}|>")
    return Finding(
        f"{value.key} is {text!r}, which a record can hold itself",
        at=value.source,
        evidence=(Evidence(value.key, repr(text), at=value.source),),
        advice=f"add {better.strip()} to the tokenizer's special tokens and train again",
        fix=Fix.unsafe(f"set {value.key} to {better!r}", edit_setting(value, better)),
    )


def _around(separator: str, token: str) -> str:
    """The token with a space on each side where the separator has one."""
    return f"{' ' if separator[:1] == ' ' else ''}{token}{' ' if separator[-1:] == ' ' else ''}"
