"""DAT006: the text loses its accents or its case, though the model is to write text."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import (
    Evidence,
    Finding,
    Fix,
    NotApplicable,
    Program,
    Samples,
    Settings,
    Source,
    Tokenizers,
    edit_setting,
    lazily,
    rule,
)

_CAUSAL = lazily(
    r"(?i).*(causallm|lmheadmodel|gpt|llama|mistral|qwen|gemma|phi|opt|bloom|rwkv|mamba|falcon|t5|bart|seq2seq|"
    r"conditionalgeneration|language_?model|char_?rnn|causal|generat|decoder_?only).*"
)
_WRITERS = lazily(
    r"(?i)rwkv\w*|mamba\w*|(nano|mini)?gpt\w*|\w*(causallm|lmheadmodel|languagemodel|conditionalgeneration)"
)
_ENCODER = lazily(r"(?i).*(bert|electra|roberta|xlnet|sequenceclassification|tokenclassification|maskedlm).*")
_SWITCHES = {
    "do_lower_case": "case", "lowercase": "case", "lower_case": "case", "to_lower": "case", "lower": "case",
    "strip_accents": "accents", "remove_accents": "accents", "remove_diacritics": "accents", "unidecode": "accents",
}  # fmt: skip
_STEPS = {"Lowercase": "case", "StripAccents": "accents"}
_IDIOM = "lossy normalization"


@rule("DAT006", severity="info", pre=True, explains=("SMP002",))
def lossy_normalization(
    tokenizers: Tokenizers | None, settings: Settings | None, program: Program | None, samples: Samples | None
) -> Iterator[Finding]:
    """The text loses its accents or its case before it is cut into tokens, though the model is to write text.

    ## What it checks
    The normaliser of `tokenizer.json` (`Lowercase`, `StripAccents`, `BertNormalizer`), switches such as
    `do_lower_case` and `strip_accents`, and the source (`unicodedata.normalize("NFD", ...)` that drops combining marks,
    `unidecode`, `.lower()` of a text in a function that cleans), where something shows that text is generated: samples,
    a causal or an encoder-decoder model, `generate` in the source.

    ## Why it matters
    What is thrown away can never be written: "São Paulo" becomes "sao paulo", and in Portuguese, French or Vietnamese
    other words ("avó" and "avô"). For classification and search the same step is harmless and often helps.

    ## Inputs
    Tokenizers; settings; Python sources; generated samples.

    ## Fix
    Unsafe: the switch off, where a setting has it; the tokenizer must be trained again then. Shown elsewhere.

    ## When to ignore
    Text that is meant to be without case or accents.

    ## Source
    Unicode Standard Annex 15 (NFD takes accents apart; dropping the marks cannot be undone).
    """
    shown = _generates(settings, program, samples)
    if not shown:
        raise NotApplicable("nothing shows that the model generates text")
    lost: dict[str, Source] = {}
    edits = []
    for tokenizer in tokenizers or ():
        for step in tokenizer.normalizers:
            if step in _STEPS:
                lost.setdefault(_STEPS[step], tokenizer.source)
    for value in settings or ():
        what = _SWITCHES.get(value.key)
        if what is not None and value.value is True and value.source.line is not None:
            lost.setdefault(what, value.source)
            edits.append(edit_setting(value, False))
    for source in program.sources if program is not None else ():
        for idiom in source.idioms:
            if idiom.name == _IDIOM:
                lost.setdefault(str(idiom.detail("what")), idiom.source)
    if not lost:
        return
    order = [what for what in ("accents", "case") if what in lost]
    title = f"keep {' and '.join(order)}, and train the tokenizer again"
    yield Finding(
        f"{' and '.join(order)} are taken out of the text before it is cut into tokens, but the run generates text "
        f"({shown}), which then has none",
        at=lost[order[0]],
        evidence=(
            *(Evidence(f"{what} removed", "yes", "no", lost[what]) for what in order),
            Evidence("generates", shown),
        ),
        fix=Fix.unsafe(title, *edits) if len(edits) == len(order) else Fix.show(title),
    )


def _generates(settings: Settings | None, program: Program | None, samples: Samples | None) -> str:
    """What shows that text is generated; empty where nothing does, or where the model is an encoder."""
    said = [v.value for v in settings or () if v.key in ("model_type", "architectures", "arch", "model_name", "task")]
    names = [str(n) for value in said for n in (value if isinstance(value, tuple) else (value,))]
    if any(_ENCODER.fullmatch(n) for n in names):
        return ""
    if samples is not None and len(samples):
        return "generated samples"
    if found := next((n for n in names if _CAUSAL.fullmatch(n)), ""):
        return found
    sources = program.sources if program is not None else ()
    if found := next((c.last for s in sources for c in s.calls if _WRITERS.fullmatch(c.last)), ""):
        return found
    if any(s.names & {"generate", "sample_text", "generate_text"} for s in sources):
        return "generate in the source"
    if any(c.last in ("generate", "sample_text", "generate_text") for s in sources for c in s.calls):
        return "generate in the source"
    return ""
