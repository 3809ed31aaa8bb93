"""Generated texts in JSON and JSON lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mldiag.artifacts import Artifact, Sample
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.patterns import lazily
from mldiag.readers import reader
from mldiag.readers._places import Path, places
from mldiag.readers._tables.columns import number
from mldiag.readers.jsonl import head_objects, json_object
from mldiag.vocabulary import axis, normalized

SIZE_LIMIT = 16 * 2**20
"""Larger files are data sets; what a run generates to be looked at stays far below."""

_PROMPTS = (
    "prompt",
    "input",
    "context",
    "prefix",
    "seed_text",
    "seed",
    "question",
    "start",
    "inicio",
    "entrada",
    "semente",
)
# Keys that only generated text has, and keys that training data has as well.
_GENERATED = (
    "generated", "generated_text", "generation", "generations", "continuation", "completions", "sample", "samples",
    "outputs", "predict", "gerado", "texto_gerado", "saida", "continuacao", "generated_texts", "sampled_text",
)  # fmt: skip
_SHARED = ("output", "completion", "response", "text", "texto", "result", "answer", "resposta", "responses", "texts")
_FINISHES = ("finish_reason", "stop_reason", "finished_reason", "finish")
_ENDED = {
    **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "stop_sequence", "end_of_text"), "stop"),
    **dict.fromkeys(("length", "max_tokens", "max_length", "max_new_tokens"), "length"),
}
_LISTS = ("samples", "generations", "outputs", "completions", "amostras", "results", "examples", "geracoes")
_SAMPLED_NAME = lazily(r"sampl|generat|amostra|complet|gera[cd]|continuation")
_DATA_NAME = lazily(
    r"(^|[^a-z])(train|training|dataset|data|corpus|sft|alpaca|instruct)([^a-z]|$)",
    words=("train", "data", "corpus", "sft", "alpaca", "instruct"),
)
_Item = tuple[Path, Mapping[str, Any] | str]


def _named(file: File) -> bool:
    return bool(_SAMPLED_NAME.search(file.name.lower())) and "config" not in file.name.lower()


def _is_samples(file: File) -> bool:
    if file.size > SIZE_LIMIT:
        return False
    objects, others = head_objects(file)
    if file.name.lower().endswith((".jsonl", ".ndjson")) or (len(objects) > 1 and not others):
        return bool(objects) and others <= len(objects) and all(_outputs(o, file) for o in objects)
    return bool(_items(file.json_so_far.document, file))


@reader("*.json", "*.jsonl", "*.ndjson", matches=_is_samples, priority=35, post=True)
def samples_json(file: File) -> Iterator[Artifact]:
    """Generated texts: prompts with their outputs in a list, below `samples` or the like, by prompt, or line by line.

    An output that begins with its prompt is kept without it. Several outputs of a prompt are several samples. Why a
    text ended is kept where the entry says it (`finish_reason`, `stop_reason`). Where the entries name steps or epochs,
    those of the last one are kept: earlier texts say nothing about the finished model.
    Training data looks alike: keys that data sets share (`completion`, `output`, `text`) count only with a prompt, and
    not in a file named as data; `text` with a label never does. Of a cut file the entries that are whole are read.
    """
    if file.name.lower().endswith((".jsonl", ".ndjson")) or len(head_objects(file)[0]) > 1:
        yield from _from_lines(file)
        return
    import json

    document, closed, cut = file.json_so_far
    spans = places(closed or file.text)
    for path, item in _latest(_items(document, file)):
        start, end = spans.get(path, (0, 0))
        for prompt, output in _pairs(item, file):
            finish = _finish(item)
            quoted = json.dumps(output[:20], ensure_ascii=False)[1:-1]
            at = file.text.find(quoted, start, end) if quoted else -1
            yield _sample(prompt, output, file, None, max(at, start), finish)
    if cut is not None:
        raise cut


def _from_lines(file: File) -> Iterator[Artifact]:
    lines = file.lenient_text.split("\n")
    items: list[_Item] = []
    bad: list[int] = []
    for index, line in enumerate(lines):
        if not line.strip():
            continue
        found = json_object(line)
        if found is not None:
            items.append(((index,), found))
        elif index < len(lines) - 1:
            bad.append(index + 1)
    for path, item in _latest(items):
        for prompt, output in _pairs(item, file):
            yield _sample(prompt, output, file, int(path[0]) + 1, 0, _finish(item))
    if bad:
        raise ReadError(
            f"{len(bad):,} of {len(bad) + len(items):,} lines are no JSON object", line=bad[0], partial=True
        )


def _sample(
    prompt: str | None, output: str, file: File, line: int | None, at: int, finish: str | None = None
) -> Sample:
    kept = output.removeprefix(prompt) if prompt and output != prompt else output
    return Sample(kept, file.at(line) if line else file.source(at), prompt, finish)


def _finish(item: Mapping[str, Any] | str) -> str | None:
    """Why the text of an entry ended, by one of the two words of `Sample.finish`."""
    if isinstance(item, str):
        return None
    said = next((v for k, v in item.items() if normalized(k) in _FINISHES and isinstance(v, str)), "")
    return _ENDED.get(said.lower())


def _items(document: object, file: File, path: Path = (), depth: int = 3) -> list[_Item]:
    """Every entry of a document that holds generated text, with its path."""
    if isinstance(document, list) and document:
        if all(isinstance(i, dict) for i in document):
            if all(_outputs(i, file) for i in document):
                return [((*path, n), i) for n, i in enumerate(document)]
            return _inside(document, file, path, depth)
        if _named(file) and all(isinstance(i, str) for i in document):
            return [((*path, n), i) for n, i in enumerate(document)]
    elif isinstance(document, dict) and document:
        if _outputs(document, file) and not any(_is_list_of_entries(document.get(k)) for k in _LISTS):
            return [(path, document)]
        for key, value in document.items():
            if depth and normalized(key) in _LISTS and isinstance(value, list | dict):
                found = _items(value, file, (*path, key), depth - 1)
                if found:
                    return found
        if _named(file) and all(isinstance(v, str) for v in document.values()):
            return [((*path, k), {"prompt": k, "generated": v}) for k, v in document.items()]
    return []


def _inside(document: list[Any], file: File, path: Path, depth: int) -> list[_Item]:
    """Entries of the last step of `[{"step": 100, "samples": […]}, …]`."""
    steps = [_counted(i) for i in document]
    last = max((s for s in steps if s is not None), default=None)
    found = []
    for n, item in enumerate(document):
        if depth and (last is None or steps[n] == last):
            found += _items(item, file, (*path, n), depth - 1)
    return found


def _is_list_of_entries(value: object) -> bool:
    return isinstance(value, list) and any(isinstance(v, dict) for v in value)


def _latest(items: list[_Item]) -> list[_Item]:
    counts = [_counted(item) for _, item in items]
    known = [c for c in counts if c is not None]
    if not known or len(known) < len(items):
        return items
    return [i for i, c in zip(items, counts, strict=True) if c == max(known)]


def _counted(item: object) -> float | None:
    if not isinstance(item, dict):
        return None
    return next((n for k, v in item.items() if axis(k) in ("step", "epoch") and (n := number(v)) is not None), None)


def _outputs(item: Mapping[str, Any], file: File) -> list[str]:
    """The generated texts of an entry; empty where it has none."""
    keys = {normalized(k): k for k in item}
    for name in _GENERATED:
        if name in keys and (texts := _texts(item[keys[name]])):
            return texts
    labelled = {"label", "labels", "instruction", "messages"} & set(keys)
    if labelled or _DATA_NAME.search(file.name.lower()):
        return []
    if _named(file) or any(p in keys for p in _PROMPTS):
        for name in _SHARED:
            if name in keys and (texts := _texts(item[keys[name]])):
                return texts
    return []


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        inner = list(value.values())
        return inner if inner and all(isinstance(v, str) for v in inner) else []
    if isinstance(value, list) and value and all(isinstance(v, str) for v in value):
        return list(value)
    return []


def _pairs(item: Mapping[str, Any] | str, file: File) -> Iterator[tuple[str | None, str]]:
    if isinstance(item, str):
        yield None, item
        return
    keys = {normalized(k): k for k in item}
    prompt = next((item[keys[p]] for p in _PROMPTS if p in keys and isinstance(item[keys[p]], str)), None)
    for output in _outputs(item, file):
        yield prompt, output
