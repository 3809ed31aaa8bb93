"""What a JSON file beside a file of token ids says of it: how many, of how many bytes, with which checksum."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from mldiag.artifacts import Source
from mldiag.errors import ReadError
from mldiag.files import File, size_of
from mldiag.patterns import lazily
from mldiag.tokens import TokenFile
from mldiag.vocabulary import normalized

SIZE_LIMIT = 2**20
"""Longer documents are data."""

_OF_ONE = ("{name}.json", "{stem}.json", "{stem}_meta.json", "{stem}.meta.json", "{name}.meta.json")
_OF_ALL = ("meta.json", "metadata.json", "manifest.json", "dataset.json", "dataset_info.json", "info.json")
_COUNTS = ("num_tokens", "n_tokens", "token_count", "total_tokens", "tokens", "num_ids")
_SIZES = ("size_bytes", "num_bytes", "bytes", "file_size", "n_bytes", "nbytes")
_MADE_WITH = ("tokenizer", "tokenizer_name", "tokenizer_path", "tokenizer_file", "tokenizer_name_or_path", "encoding")
_PATHS = ("file", "path", "name", "filename", "file_name")
_DIGITS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128, "crc32": 8}
_HEX = lazily(r"(?:(?P<kind>md5|sha1|sha256|sha512|crc32)[:= ]?)?(?:0x)?(?P<digest>[0-9a-f]{8,128})", re.IGNORECASE)


def with_description(file: File, found: TokenFile) -> TokenFile:
    """The file with what a description beside it adds; a header's own count stays."""
    stem = file.name.rsplit(".", 1)[0]
    folder = file.path[: len(file.path) - len(file.name)]
    for pattern in (*_OF_ONE, *_OF_ALL):
        name = pattern.format(name=file.name, stem=stem)
        size = size_of(file.root, folder + name) if name != file.name else None
        if not size or size > SIZE_LIMIT:
            continue
        beside = File(file.root, folder + name)
        try:
            document: object = msgspec.json.decode(beside.data)
        except (ReadError, msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            continue
        for told in _about(document, file.name, stem, alone=pattern in _OF_ONE):
            found = _added(found, told, beside)
    return found


def _about(document: object, name: str, stem: str, *, alone: bool) -> Iterator[Mapping[str, Any]]:
    """The objects of a document that describe the file; the whole document where it is the description of one."""
    if not isinstance(document, dict):
        return
    below = [document, *(v for v in document.values() if isinstance(v, dict | list))]
    for part in below:
        entries = part if isinstance(part, list) else [part.get(name), part.get(stem)]
        for entry in entries:
            if isinstance(entry, dict) and (
                not isinstance(part, list) or any(str(entry.get(k, "")).rsplit("/", 1)[-1] == name for k in _PATHS)
            ):
                yield entry
    if alone:
        yield document
    else:
        # Of what is said of all, `train_tokens` is of `train.bin`, and the tokenizer is the same one.
        yield {k.lower().removeprefix(f"{stem}_"): v for k, v in document.items() if k.lower().startswith(f"{stem}_")}
        yield {k: v for k, v in document.items() if k in _MADE_WITH}


def _added(found: TokenFile, told: Mapping[str, Any], beside: File) -> TokenFile:
    values = {normalized(k): v for k, v in told.items() if isinstance(k, str)}
    count, size = _first(values, _COUNTS), _first(values, _SIZES)
    if found.stated is None and count is not None:
        found = replace(found, stated=values[count], stated_at=_at(beside, told, count))
    if found.stated_size is None and size is not None:
        found = replace(found, stated_size=values[size], stated_at=found.stated_at or _at(beside, told, size))
    if found.checksum is None and (checksum := _checksum(values)) is not None:
        found = replace(found, checksum=checksum, stated_at=found.stated_at or beside.at())
    if not found.tokenizer:
        made = next((values[k] for k in _MADE_WITH if isinstance(values.get(k), str) and values[k].strip()), "")
        found = replace(found, tokenizer=made.strip())
    return found


def _first(values: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((n for n in names if type(values.get(n)) is int and values[n] >= 0), None)


def _at(beside: File, told: Mapping[str, Any], key: str) -> Source:
    written = next((k for k in told if normalized(k) == key), key)
    place = beside.find(f'{written}"', key=written)
    number = str(told.get(written))
    # Of several files' entries the one with this number is meant.
    for line in range(1, beside.lenient_text.count("\n") + 2):
        text = beside.line(line)
        if f'{written}"' in text and number in text:
            return beside.at(line, key=written)
    return place


def _checksum(values: Mapping[str, Any]) -> tuple[str, str] | None:
    for key in (*_DIGITS, "checksum", "hash", "digest", "crc"):
        text = values.get(key)
        found = _HEX.fullmatch(text.strip()) if isinstance(text, str) else None
        if found is None:
            continue
        digest = found["digest"].lower()
        kind = (found["kind"] or key).lower()
        kind = kind if kind in _DIGITS else next((k for k, n in _DIGITS.items() if n == len(digest)), "")
        if kind and len(digest) == _DIGITS[kind]:
            return kind, digest
    return None
