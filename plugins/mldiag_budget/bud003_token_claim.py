"""BUD003: the stated number of tokens is not what the file holds."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import (
    Evidence,
    Finding,
    Fix,
    NotApplicable,
    Settings,
    Source,
    TokenClaim,
    TokenClaims,
    TokenFile,
    TokenFiles,
    edit_setting,
    rule,
)

_WIDTHS = (2, 4)


@rule("BUD003", severity="warning", pre=True, explains=("BUD001", "BUD005", "SCH009"), gives_way_to=("DAT002",))
def token_claim(
    claims: TokenClaims, files: TokenFiles | None, settings: Settings | None, *, tolerance: float = 0.1
) -> Iterator[Finding]:
    """The stated number of tokens is not what the size of the token file makes.

    ## What it checks
    What a README, a comment of the source or the setting `train_tokens` says of a token file, against its bytes / bytes
    of an id: of the file itself where it is there, else of the size that the same line states. Without a word on the
    width, ids of 2 and of 4 bytes are both allowed.

    ## Why it matters
    Steps, epochs and tokens per parameter are planned from this number. The usual slip is the bytes of a character or
    of a word in place of those of an id: 555 MB of 16-bit ids are 277.5 M tokens, not 220 M.

    ## Inputs
    `*.md` and `*.rst` in the folders of the run, comments of its sources: a line or a row of a table that names a token
    file (`tokenized_v15`, `train.bin`), its size and its tokens; of a file that lies below the document also the
    tokens alone, right behind its name (`train.bin` holds 1.2M tokens). The setting `train_tokens`, beside token files.

    ## Options
    - `tolerance` (0.1): largest relative distance between the stated count and the nearest that the bytes allow. What
      "about" and rounding move; binary and decimal megabytes (5 % apart, gigabytes 7 %) are both tried.

    ## Fix
    Safe for a setting: the count of the file. Shown for a document, with the right number.

    ## When to ignore
    Counts that are meant before deduplication, or of tokens seen in several epochs.

    ## Source
    Arithmetic: bytes / width. nanoGPT and llm.c store GPT-2's ids as 16-bit numbers; Llama 3's take 32 bits.
    """
    known = tuple(files or ())
    judged = 0
    for claim in claims.items:
        named = _named(claim, known)
        if claim.is_setting:
            own = _of_setting(known)
            if not own:
                continue
            judged += 1
            yield from _against_files(claim, own, known, settings, tolerance)
        elif named is not None:
            judged += 1
            yield from _against_files(claim, (named,), (named,), settings, tolerance)
        elif claim.sizes:
            judged += 1
            yield from _against_itself(claim, tolerance)
    if not judged:
        raise NotApplicable("train_tokens is stated, but there is no token file to hold it against")


def _of_setting(known: tuple[TokenFile, ...]) -> tuple[TokenFile, ...]:
    """The files that `train_tokens` speaks of: those of training, else all, where none says what it is."""
    train = tuple(f for f in known if f.split == "train")
    return train or (known if all(f.split is None for f in known) else ())


def _named(claim: TokenClaim, known: tuple[TokenFile, ...]) -> TokenFile | None:
    """The file that a claim names: by its path, or by the folder it alone lies in.

    A claim without a size is only of a file below its document: `train.bin` may lie in a folder for each data set.
    """
    name = claim.name.lower().strip("/")
    if not claim.sizes:
        folder = claim.source.path.rpartition("/")[0]
        known = tuple(f for f in known if not folder or f.source.path.startswith(f"{folder}/"))
    matching = [f for f in known if f"/{f.source.path.lower()}".endswith(f"/{name}")]
    if not matching and "." not in name:
        matching = [f for f in known if name in f.source.path.lower().split("/")[:-1]]
        matching = [f for f in matching if f.split in (None, "train")]
    return matching[0] if len(matching) == 1 else None


def _against_files(
    claim: TokenClaim,
    own: tuple[TokenFile, ...],
    every: tuple[TokenFile, ...],
    settings: Settings | None,
    tolerance: float,
) -> Iterator[Finding]:
    """A claim about files that are there."""
    count, body = sum(f.count for f in own), sum(f.count * f.width for f in own)
    total = sum(f.count for f in every)
    epochs = settings.get("epochs", float) if settings is not None else None
    allowed = [count, total, *([epochs * count] if epochs and epochs > 1 else [])]
    if not count or any(abs(claim.tokens - n) <= max(tolerance * n, claim.rounding) for n in allowed):
        return
    value = next((v for v in settings or () if claim.is_setting and v.source == claim.source), None)
    title = f"state {count:,} tokens"
    yield _finding(
        claim,
        f"{body:,} bytes of {own[0].width}-byte ids in {own[0].source.path}{' and others' if len(own) > 1 else ''} are "
        f"{count:,}",
        count,
        body,
        own[0].width,
        tolerance,
        own[0].source,
        Fix.safe(title, edit_setting(value, count)) if value is not None else Fix.show(title),
    )


def _against_itself(claim: TokenClaim, tolerance: float) -> Iterator[Finding]:
    """A claim whose own size contradicts its count."""
    readings = [(size / width, size, width) for size in claim.sizes for width in claim.widths or _WIDTHS]
    count, size, width = min(readings, key=lambda r: abs(claim.tokens - r[0]) / r[0])
    if abs(claim.tokens - count) <= tolerance * count:
        return
    # The number to state is that of the usual width and of decimal megabytes, where the nearest is not that one.
    size, width = claim.sizes[0], min(claim.widths or _WIDTHS)
    count = size / width
    yield _finding(
        claim,
        f"{size / 1e6:,.4g} MB of {width}-byte ids are {count / 1e6:,.4g} M",
        count,
        size,
        width,
        tolerance,
        claim.source,
        Fix.show(f"state {count / 1e6:,.4g} M tokens for {claim.name}"),
    )


def _finding(
    claim: TokenClaim, holds: str, count: float, size: float, width: int, tolerance: float, at: Source, fix: Fix
) -> Finding:
    return Finding(
        f"{_amount(claim.tokens)} tokens are stated for {claim.name}, but {holds} tokens "
        f"({claim.tokens / count:.2f} times as many stated)",
        at=claim.source,
        evidence=(
            Evidence("stated tokens", claim.tokens, count, claim.source, "token"),
            Evidence("tokens by the bytes", count, at=at, unit="token"),
            Evidence("bytes", size, at=at, unit="byte"),
            Evidence("bytes of an id", width, at=at, unit="byte"),
            Evidence("stated bytes / token", size / claim.tokens, at=claim.source, unit="byte"),
            Evidence("relative distance", abs(claim.tokens - count) / count, tolerance),
        ),
        fix=fix,
    )


def _amount(tokens: float) -> str:
    return f"{tokens:,.0f}" if tokens < 1e5 else f"{tokens / 1e6:,.4g} M"
