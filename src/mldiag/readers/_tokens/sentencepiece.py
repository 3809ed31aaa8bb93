"""The pieces of a SentencePiece model.

Source: https://github.com/google/sentencepiece, `src/sentencepiece_model.proto`.
"""

from __future__ import annotations

from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers._protobuf import LEN, VARINT, Malformed, fields, signed
from mldiag.readers._tokens.vocabularies import CONVENTIONS, content
from mldiag.tokens import Tokenizer

SIZE_LIMIT = 16 * 2**20
"""The largest in use, of 262,144 pieces, has 4.7 MB."""

_PIECES, _TRAINER = 1, 2
_MODEL_TYPE = 3
_IDS = {40: "unk", 41: "bos", 42: "eos", 43: "pad"}
_DEFAULTS = {"unk": 0, "bos": 1, "eos": 2, "pad": -1}
_UNKNOWN, _CONTROL = 2, 3


def read(file: File) -> Tokenizer:
    """What a model says of its vocabulary.

    Raises:
        ReadError: the file is cut or damaged.
    """
    size = 0
    special: dict[str, int] = {}
    wanted = dict(_DEFAULTS)
    try:
        for field in fields(content(file, SIZE_LIMIT)):
            if field.number == _PIECES and isinstance(field.value, bytes):
                role = _role(field.value)
                if role:
                    special.setdefault(role, size)
                size += 1
            elif field.number == _TRAINER and isinstance(field.value, bytes):
                for inner in fields(field.value):
                    if inner.wire == VARINT and inner.number in _IDS and isinstance(inner.value, int):
                        wanted[_IDS[inner.number]] = signed(inner.value)
    except Malformed as error:
        raise ReadError(f"no SentencePiece model, or a damaged one: {error}, after {size:,} pieces") from error
    if not size:
        raise ReadError("a SentencePiece model without pieces")
    for role, number in wanted.items():
        # A piece that is not there was asked for in vain; what the pieces say goes before what the trainer was told.
        if 0 <= number < size:
            special.setdefault(role, number)
        else:
            special.pop(role, None)
    return Tokenizer(file.at(), "sentencepiece", size, size - 1, dict(sorted(special.items())))


def _role(piece: bytes) -> str | None:
    """What a control piece stands for, by the way it is written."""
    text, kind = b"", 1
    for field in fields(piece):
        if field.number == 1 and field.wire == LEN and isinstance(field.value, bytes):
            text = field.value
        elif field.number == 3 and isinstance(field.value, int):
            kind = field.value
    return CONVENTIONS.get(text.decode("utf-8", "replace")) if kind in (_UNKNOWN, _CONTROL) else None
