"""What the readers of vocabularies share: which tokens are special, and which file of several counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from mldiag.errors import ReadError
from mldiag.files import File, size_of

ROLES = ("pad", "unk", "bos", "eos", "cls", "sep", "mask")
CONVENTIONS = {
    "<s>": "bos", "</s>": "eos", "<|endoftext|>": "eos", "<|end_of_text|>": "eos", "<|begin_of_text|>": "bos",
    "<|startoftext|>": "bos",
    **{form.format(role): role for role in ROLES for form in ("<{}>", "<|{}|>", "[{}]")},
    **{f"[{role.upper()}]": role for role in ROLES},
    **{f"<{role.upper()}>": role for role in ROLES},
    "<eod>": "eos", "<blank>": "pad", "<start>": "bos", "<end>": "eos",
}  # fmt: skip
"""What tokens stand for by the way they are written, where no file says."""

_SIDECAR_LIMIT = 2**20


def beside(file: File, name: str) -> File | None:
    """A file in the same folder; None where there is none."""
    path = file.path[: len(file.path) - len(file.name)] + name
    return File(file.root, path) if name != file.name and size_of(file.root, path) is not None else None


def special_of(file: File, id_of: Callable[[str], int | None], likely: Iterable[str] = CONVENTIONS) -> dict[str, int]:
    """Special tokens by what they stand for: as the files beside say, else by the way they are written."""
    found: dict[str, int] = {}
    for token in likely:
        role, number = CONVENTIONS.get(token), id_of(token)
        if role and number is not None:
            found.setdefault(role, number)
    for role, token in _named(file).items():
        number = id_of(token)
        if number is not None:
            found[role] = number
    return dict(sorted(found.items()))


def _named(file: File) -> dict[str, str]:
    """What `tokenizer_config.json` or `special_tokens_map.json` beside the file call special."""
    found: dict[str, str] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        document = _document(beside(file, name))
        for role in ROLES:
            token = document.get(f"{role}_token")
            token = token.get("content") if isinstance(token, dict) else token
            if isinstance(token, str):
                found[role] = token
    return found


def _document(file: File | None) -> Mapping[str, Any]:
    try:
        if file is None or file.size > _SIDECAR_LIMIT:
            return {}
        document: object = msgspec.json.decode(file.data)
    except (ReadError, msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return {}
    return document if isinstance(document, dict) else {}


def content(file: File, limit: int) -> bytes:
    """A whole document of one line or many, up to `limit` bytes."""
    if file.size > limit:
        raise ReadError(f"{file.size / 1e6:,.0f} MB in one document, more than the {limit / 1e6:,.0f} MB that are read")
    if not file.head:  # also refuses a Git LFS pointer
        raise ReadError("the file is empty")
    with file.open() as stream:
        return stream.read(limit)
