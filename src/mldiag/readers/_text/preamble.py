"""What a training log says it uses before it logs anything: dumps of arguments, lines of `key: value`."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.artifacts import Role, Scalar, SettingValue, Source
from mldiag.patterns import lazily
from mldiag.readers._tables.columns import EXCERPT_LIMIT
from mldiag.vocabulary import Vocabulary, axis

LONGEST_DUMP = 200_000
"""Characters of a dump that is parsed."""

_SETTINGS = frozenset({
    "epochs", "batch_size", "lr", "min_lr", "total_steps", "warmup_steps", "warmup_ratio", "weight_decay", "seed",
    "grad_accum", "steps_per_epoch", "num_parameters", "seq_len", "vocab_size", "clip_norm", "patience", "eval_every",
    "dropout", "label_smoothing", "num_heads", "num_layers", "d_model",
})  # fmt: skip
"""What a bare line of `key: value` may set; others mean too many things."""
_ONE_WORD = frozenset({"epochs", "lr", "seed", "patience", "batch_size", "vocab_size"})
_LINE = lazily(
    r"(?:^|[\]:>\-]\s)\s*(?:[-*|]+\s*)?([A-Za-z][A-Za-z_.-]*(?: [A-Za-z_]+){0,3})\s*[:=]\s*"
    r"([-+]?(?:\d{1,3}(?:,\d{3})+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?))\s*$"
)
_BATCH = lazily(
    r"(?P<total_train_batch_size>[Tt]otal train batch size)[^=:]*[=:]\s*(?P<a>\d[\d,]*)\s*$"
    r"|(?P<per_device_train_batch_size>[Ii]nstantaneous batch size per device)\s*[=:]\s*(?P<b>\d[\d,]*)\s*$"
    r"|(?P<total_batch_size>total desired batch size)\s*[=:]\s*(?P<c>\d[\d,]*)\s*$"
)
"""What Hugging Face's trainers, and scripts after nanoGPT's pattern, say of the batch of all devices."""
_FLAG = lazily(r"--([A-Za-z][\w-]*)[ =]([^\s-]\S*)\s*$")
_COMMAND = lazily(
    r"(?:^|\s)(?:\S*python[\d.]*(?:\.exe)?|torchrun|accelerate launch|deepspeed)\s(?:.*\s)?-{1,2}[A-Za-z]"
)
_FLAGS = lazily(r"\s--([A-Za-z][\w.-]*)(?:=|\s+)(\"[^\"]*\"|'[^']*'|[^\s-]\S*|-\d\S*)")
_NAMESPACE = lazily(r"\b(?:Namespace|[A-Z]\w*(?:Config|Args|Arguments|Params))\((?=\w+=)")
_PAIR = lazily(r"(\w+)=('[^']*'|\"[^\"]*\"|\[[^\]]*\]|\([^)]*\)|\{[^}]*\}|[^,()\[\]{}'\"]+)(?:, |\)|$)")


class Preamble:
    """Collects settings from the lines of a log; none once it was `closed`."""

    def __init__(self) -> None:
        self.closed = False
        self._found: dict[str, tuple[Scalar, float, str] | None] = {}
        self._dumped: dict[str, tuple[Scalar | tuple[Scalar, ...], float, str]] = {}
        self._vocabulary = Vocabulary()

    def take(self, line: str, at: float, *, alone: bool = True) -> bool:
        """Whether a line sets something and is no row of the log; `alone`: it holds one number."""
        if len(line) > LONGEST_DUMP:
            return False
        if not self.closed and "--" in line and _COMMAND.search(line):
            return self._command(line, at)
        if not self.closed and " batch size" in line and (batch := _BATCH.search(line)):
            told = [(key, text) for key, text in batch.groupdict().items() if text is not None]
            self._set(told[0][0], _literal(told[1][1].replace(",", "")), at, line)
            return True
        if not self.closed and line.startswith("tokens per iteration will be: "):
            self._set("tokens_per_iteration", _literal(line.rpartition(" ")[2].strip().replace(",", "")), at, line)
            return True
        if "{" in line or "(" in line:
            return self._dump(line, at)
        if self.closed or not alone or len(line) > 200:
            return False
        found = _LINE.search(line)
        if found is None:
            flag = _FLAG.search(line) if "--" in line else None
            if flag and self._vocabulary.setting(flag[1].replace("-", "_")):
                self._set(flag[1].replace("-", "_"), _literal(flag[2]), at, line)
                return True
            return False
        key = found[1].strip().replace(" ", "_").replace("-", "_")
        name = self._vocabulary.setting(key)
        if key.lower().startswith(("trainable", "non")):
            return False
        # One word alone may be of anything (`DEPTH: 50` of a backbone), unless there is no other use for it.
        if name not in _SETTINGS or axis(key) or ("_" not in key and name not in _ONE_WORD):
            return False
        self._set(key, _literal(found[2].replace(",", "")), at, line)
        # A rate may be logged this way, line by line: then it is a series as well.
        return name != "lr"

    def _set(self, key: str, value: Scalar, at: float, line: str) -> None:
        known = self._found.get(key, (value, at, line))
        # What is said twice and differently is no one setting.
        self._found[key] = known if known is not None and known[0] == value else None

    def _command(self, line: str, at: float) -> bool:
        """The command that started the program, as `set -x` and some editors print it."""
        found = [(key.replace("-", "_"), value) for key, value in _FLAGS.findall(line)]
        known = [(key, value) for key, value in found if self._vocabulary.setting(key) is not None]
        for key, value in known:
            self._set(key, _literal(value), at, line)
        return bool(known)

    def _dump(self, line: str, at: float) -> bool:
        values = _namespace(line) if "(" in line else None
        if not values and "{" in line:
            values = _mapping(line)
        if not values or _is_row(values):
            return False
        from mldiag.readers._configs.settings import flattened

        found = list(flattened(values))
        if len(found) < 3 or sum(self._vocabulary.setting(path[-1]) is not None for path, _ in found) < 2:
            return False
        for path, value in found:
            self._dumped[".".join(path)] = (value, at, line)
        return True

    def settings(self, path: str) -> Iterator[SettingValue]:
        """What was collected."""
        for key, (value, at, line) in self._dumped.items():
            yield SettingValue(key, value, Role.LOG, _place(path, key, at, line), record=True)
        for key, found in self._found.items():
            if found is not None and key not in self._dumped:
                yield SettingValue(key, found[0], Role.LOG, _place(path, key, found[1], found[2]), record=True)


def _place(path: str, key: str, at: float, line: str) -> Source:
    text = line.strip()
    return Source(path, int(at), key=key, excerpt=text if len(text) <= EXCERPT_LIMIT else text[:EXCERPT_LIMIT] + "…")


def _namespace(line: str) -> dict[str, object]:
    begin = _NAMESPACE.search(line)
    if begin is None:
        return {}
    return {m[1]: _literal(m[2].strip()) for m in _PAIR.finditer(line, begin.end())}


def _mapping(line: str) -> dict[str, object]:
    start, end = line.find("{"), line.rfind("}")
    if end <= start or end - start < 20 or ":" not in line:
        return {}
    text = line[start : end + 1]
    import ast

    from mldiag.readers.jsonl import json_object

    found = json_object(text) if '"' in text else None
    if found is None and "'" in text:
        try:
            found = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            return {}
    return {str(k): v for k, v in found.items()} if isinstance(found, dict) else {}


def _is_row(values: dict[str, object]) -> bool:
    """Whether a mapping holds what was measured, rather than what is used."""
    from mldiag.readers._tables.columns import number
    from mldiag.readers._text.labels import meaning

    found = [meaning(k) for k, v in values.items() if number(v) is not None]
    return any(m.known == 2 or m.kind in ("step", "epoch") for m in found)


def _literal(text: str) -> Scalar:
    word = text.strip()
    try:
        return int(word)
    except ValueError:
        pass
    try:
        return float(word)
    except ValueError:
        pass
    if word[:1] in "'\"" and word[-1:] == word[:1] and len(word) > 1:
        return word[1:-1]
    return {"True": True, "False": False, "None": None, "true": True, "false": False}.get(word, word)
