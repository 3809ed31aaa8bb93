"""DAT002: a token file is not what its header, or a description beside it, says."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import Evidence, Finding, Fix, NotApplicable, TokenFile, TokenStatistics, rule


@rule("DAT002", severity="error", pre=True, explains=("DAT001", "SCH009"))
def token_file_size(statistics: TokenStatistics, *, verify_checksums: bool = True) -> Iterator[Finding]:
    """A token file has another size, count or checksum than it should have.

    ## What it checks
    Bytes behind the header against whole ids of the stated width; the number of ids and of bytes, and the checksum,
    against what the header (llm.c, NumPy), the index (`.idx` of Megatron and fairseq) or a JSON file beside it
    (`train.json`, `meta.json`, `manifest.json`) says.

    ## Why it matters
    A file that was cut while it was copied or written loses its end; one that is read with another width than it was
    written with gives other ids: half of them are zero, or two are taken for one.

    ## Inputs
    Token files, each of which is described by a header, an index, its ending (`.u16`), a JSON file beside it, or, where
    it was cut within an id, by the file of another split (`val.bin` beside `train.bin`) or nanoGPT's `meta.pkl`.
    Keys of such a file: `dtype`, `num_tokens` (`n_tokens`, `token_count`, `tokens`, `train_tokens`), `bytes`
    (`size_bytes`), `sha256`, `md5`, `sha1`, `crc32`, `checksum`.

    ## Options
    - `verify_checksums` (true): read the whole file where a checksum is stated; one of 1 GB takes a second or two.

    ## Fix
    Shown: fetch or write the file again.

    ## When to ignore
    A description that counts something else, such as the tokens of several files together.

    ## Source
    llm.c, `dev/data/data_common.py`; Megatron-LM, `indexed_dataset.py`; NumPy's `.npy` format.
    """
    described = [f for f in statistics.files if f.header or f.size % f.width or f.stated is not None or f.checksum]
    if not described:
        raise NotApplicable("nothing says how many ids a token file should have")
    for file in described:
        yield from _judged(file, statistics, verify_checksums)


def _judged(file: TokenFile, statistics: TokenStatistics, verify: bool) -> Iterator[Finding]:
    """What is wrong with one file: its size goes before its checksum, which differs then as well."""
    path, body = file.source.path, max(0, file.size - file.offset)
    fits = body // file.width
    if file.stated is not None and file.stated != fits:
        at = file.stated_at or file.source
        yield Finding(
            f"{at.path if file.stated_at else 'the header'} says {file.stated:,} ids for {path}, whose "
            f"{body:,} bytes hold {fits:,} of {file.width} bytes",
            at=at,
            evidence=(
                Evidence("stated ids", file.stated, fits, at, "token"),
                Evidence("ids that the file holds", fits, at=file.source, unit="token"),
                Evidence("bytes of the file behind its header", body, file.stated * file.width, file.source, "byte"),
                Evidence("bytes of an id", file.width, at=file.source, unit="byte"),
            ),
            fix=Fix.show(_AGAIN),
        )
    elif body % file.width:
        yield Finding(
            f"{path} has {body:,} bytes, {body % file.width} more than {fits:,} whole ids of {file.dtype}",
            at=file.source,
            evidence=(
                Evidence("bytes of the file behind its header", body, fits * file.width, file.source, "byte"),
                Evidence("bytes over", body % file.width, 0, file.source, "byte"),
                Evidence("ids that the file holds", fits, at=file.source, unit="token"),
            ),
            fix=Fix.show(_AGAIN),
        )
    elif file.stated_size is not None and file.stated_size not in (file.size, body):
        yield Finding(
            f"{file.stated_at.path if file.stated_at else path} says {file.stated_size:,} bytes for {path}, which has "
            f"{file.size:,}",
            at=file.stated_at or file.source,
            evidence=(
                Evidence("stated bytes", file.stated_size, file.size, file.stated_at, "byte"),
                Evidence("bytes of the file", file.size, at=file.source, unit="byte"),
            ),
            fix=Fix.show(_AGAIN),
        )
    elif file.checksum is not None and verify:
        kind, digest = file.checksum
        actual = statistics.checksum(file, kind)
        if actual != digest:
            yield Finding(
                f"the {kind} of {path} is {actual[:12]}…, but {digest[:12]}… was stated: its content has changed",
                at=file.stated_at or file.source,
                evidence=(
                    Evidence(f"{kind} of the file", actual, digest, file.source),
                    Evidence(f"stated {kind}", digest, at=file.stated_at),
                ),
                fix=Fix.show(_AGAIN),
            )


_AGAIN = "fetch the file again or write it again, and read it with the width it was written with"
