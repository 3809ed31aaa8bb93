"""Settings in event files: hyperparameters of the `hparams` plugin, and texts that list names and values.

Schema: https://github.com/tensorflow/tensorboard/blob/master/tensorboard/plugins/hparams/plugin_data.proto
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping

from mldiag.artifacts import Scalar
from mldiag.readers._configs.settings import Value, flattened
from mldiag.readers._protobuf import I64, LEN, VARINT, Malformed, spans, varint

_NAMES = frozenset({
    "param", "params", "parameter", "name", "key", "hparam", "hyperparam", "hyperparameter", "setting", "option",
    "argument", "arg", "config",
})  # fmt: skip
_WORDS: Mapping[str, Scalar] = {"None": None, "True": True, "False": False}


def hyperparameters(messages: Iterable[bytes]) -> Iterator[tuple[str, Value]]:
    """Names and values of sessions that started; what the plugin says of metrics is left out."""
    for data in messages:
        try:
            yield from _started(data)
        except Malformed:
            continue


def _started(data: bytes) -> Iterator[tuple[str, Value]]:
    for number, wire, start, stop in spans(data, 0, len(data)):
        if number == 3 and wire == LEN:
            for inner, kind, begin, end in spans(data, start, stop):
                if inner == 1 and kind == LEN:
                    yield _entry(data, begin, end)


def _entry(data: bytes, start: int, stop: int) -> tuple[str, Value]:
    """A key and a `google.protobuf.Value`, whose numbers are all floating point."""
    name = ""
    value: Scalar = None
    for number, wire, begin, end in spans(data, start, stop):
        if number == 1 and wire == LEN:
            name = data[begin:end].decode("utf-8", "replace")
        elif number == 2 and wire == LEN:
            for inner, kind, at, behind in spans(data, begin, end):
                if inner == 2 and kind == I64:
                    number_value = float(struct.unpack_from("<d", data, at)[0])
                    whole = number_value.is_integer() and abs(number_value) < 2**53
                    value = int(number_value) if whole else number_value
                elif inner == 3 and kind == LEN:
                    text = data[at:behind].decode("utf-8", "replace")
                    value = _WORDS.get(text, text)
                elif inner == 4 and kind == VARINT:
                    value = bool(varint(data, at)[0])
    return name, value


def text_settings(texts: Mapping[str, bytes]) -> Iterator[tuple[str, Value]]:
    """Names and values of texts that are a JSON object (Hugging Face's `args`) or a Markdown table of two columns."""
    for data in texts.values():
        text = data.decode("utf-8", "replace").strip()
        if text.startswith("{"):
            import json

            try:
                found = json.loads(text)
            except (ValueError, RecursionError):
                continue
            if isinstance(found, dict):
                for path, value in flattened(found):
                    yield ".".join(path), value
        else:
            yield from _table(text)


def _table(text: str) -> Iterator[tuple[str, Value]]:
    rows = [[c.strip() for c in line.strip().strip("|").split("|", 1)] for line in text.splitlines()]
    if len(rows) < 3 or any(len(r) != 2 for r in rows):
        return
    if rows[0][0].lower().strip("*` ") not in _NAMES or set("".join(rows[1])) - set("-: "):
        return
    for name, value in rows[2:]:
        yield name.strip("*`"), _cell(value.strip("*`"))


def _cell(text: str) -> Scalar:
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return _WORDS.get(text, text)
