"""Configurations in JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from mldiag.artifacts import Artifact, Role, SettingValue, Site, Source
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.patterns import lazily
from mldiag.readers import reader
from mldiag.readers._configs.literals import literal
from mldiag.readers._configs.settings import Value, flattened, is_record, is_table
from mldiag.readers._places import places
from mldiag.vocabulary import Vocabulary

SIZE_LIMIT = 2**20
"""Larger documents are data, not configurations; the largest of 60 real ones measured has 8 kB."""
SPELLED_LIMIT = 200
"""Longer texts of values are those of objects."""
KNOWN_ENOUGH = 3
"""A document of any name is a configuration when the vocabulary knows this many of its keys."""

_NAMED = lazily(
    r".*(config|hparams|hyper_?param|args|params|setting|options|threshold|decision).*|opt|hps|hyp|defaults",
    re.IGNORECASE,
)
# Other tools' files, descriptions of how to generate or tokenize, results.
_FOREIGN = lazily(
    r"(tokenizer|preprocessor|processor|image|feature_extractor|quantiz|special_tokens|added_tokens|ts|js|babel|"
    r"eslint|package|composer|chat_template|vocab(?!.*config)|merges|plans|dataset_fingerprint).*|"
    r".*(result|summary|metadata|lock|index|trainer_state).*",
    re.IGNORECASE,
)


_SAVED_BY_LIBRARY = frozenset({"transformers_version", "peft_type", "_diffusers_version"})
_DEEPSPEED = frozenset({"zero_optimization", "train_micro_batch_size_per_gpu", "zero_allow_untested_optimizer"})
_KEY = lazily(r'(\s*)"(?:[^"\\]|\\.)*"\s*:\s*')
_CLASS = lazily(r"([A-Za-z_]\w*) ?\(")


def _is_config(file: File) -> bool:
    if file.size > SIZE_LIMIT or _FOREIGN.fullmatch(file.name.split(".")[0]):
        return False
    document, _, cut = file.json_so_far
    found = _holds_settings(file, document)
    if cut is not None and not found:
        _ = file.json  # says that it is cut: what it would have been nobody knows
    return found


def _holds_settings(file: File, document: object) -> bool:
    if not isinstance(document, dict) or not document or (is_table(document) and not _is_spelled(file, document)):
        return False
    if _NAMED.fullmatch(file.name.rsplit(".", 1)[0]) or _DEEPSPEED & document.keys():
        return True
    words = Vocabulary()
    # Lists are left out: a history's `loss`, `lr` and `epochs` are names of settings too.
    known = {words.setting(".".join(p)) for p, v in flattened(document) if not isinstance(v, tuple)}
    return len(known - {None}) >= KNOWN_ENOUGH


@reader("*.json", matches=_is_config)
def json_config(file: File) -> Iterator[Artifact]:
    """Configurations in JSON (`config.json`, `hparams.json`, `training_args.json`, …), each value with its exact place.

    Nested keys join with dots; short lists of scalars are tuples; maps from tokens or numbers to ids or names are no
    settings, but those of a classifier that Hugging Face saved are counted as its `num_classes`. What the run wrote
    itself (`hparams.json`, `args.json`, a model or adapter description that Hugging Face saved) is a record: editing it
    changes nothing. nnU-Net's `debug.json` holds Python's text of each value, which is
    read as what it spells. In a DeepSpeed configuration "auto" is no value, since the trainer fills it in, and
    `train_batch_size` is that of all devices. What `generation_config.json` says is about generating, not training, and
    is kept below `generation`. Secrets are left out. Of a cut file the settings before the cut are read.
    """
    document, closed, cut = file.json_so_far
    if not isinstance(document, dict):
        raise ReadError(f"expected an object of settings, found {type(document).__name__}")
    spans = places(closed or file.text)
    record = is_record(file) or bool(_SAVED_BY_LIBRARY & document.keys())
    deepspeed = bool(_DEEPSPEED & document.keys())
    spelled = _is_spelled(file, document)
    line_end = "\r\n" if "\r\n" in file.lenient_text else "\n"
    above = ("generation",) if file.name.lower() == "generation_config.json" else ()
    for path, value in flattened(document):
        if deepspeed and value == "auto":
            continue
        name = ".".join((*above, *path))
        span = spans.get(path)
        place = file.source(*span, key=name) if span else file.at(key=name)
        # Not of a value that is wrapped in an object, is only what its text spells, or stands in a file that is cut.
        exact = cut is None and not spelled and place.text is not None and place.text[0] != "{"
        site = _site(place, line_end) if exact else None
        if spelled and isinstance(value, str):
            value = _meant(value)
            if value is None:
                continue
        if deepspeed and path == ("train_batch_size",):
            name = "global_batch_size"
        yield SettingValue(name, value, Role.FILE, place, "json" if exact else None, (), record, site)
    classes = _classes(document)
    if classes and record:
        span = spans.get(("id2label",))
        yield SettingValue(
            "num_classes",
            classes,
            Role.FILE,
            file.source(span[0], span[0] + 1, key="id2label") if span else file.at(key="id2label"),
            record=True,
        )
    if cut is not None:
        raise cut


def _site(place: Source, line_end: str) -> Site | None:
    """Behind a value: on a line of its own where its key begins one, else on the same line."""
    line, column = place.excerpt or "", (place.column or 1) - 1
    gap = "" if line[column - 1 : column] == ":" else " "
    own = _KEY.fullmatch(line, 0, column)
    between = f"{line_end}{own[1]}" if own else gap
    return None if place.end is None else Site(place.end, f',{between}"{{key}}":{gap}{{value}}')


def _classes(document: Mapping[str, object]) -> int:
    """The classes of a classifier that Hugging Face saved, which writes their names alone; 0 where it is none.

    A regression has one label, and several labels at once are no choice among them.
    """
    labels, built = document.get("id2label"), document.get("architectures")
    if not isinstance(labels, dict) or not isinstance(built, list) or "num_labels" in document:
        return 0
    classifier = any("Classification" in str(name) for name in built)
    alone = document.get("problem_type") in (None, "single_label_classification")
    return len(labels) if classifier and alone else 0


def _is_spelled(file: File, document: Mapping[str, object]) -> bool:
    """nnU-Net's `debug.json`: every value as the text that Python's `repr` gives."""
    return file.name.lower() == "debug.json" and all(isinstance(v, str) for v in document.values())


def _meant(text: str) -> Value | None:
    """What Python's text of a value spells: of an object's its class, None for what is no short value."""
    if "\n" in text:
        name = _CLASS.match(text)
        return name[1] if name else None
    found = literal(text)
    return None if found is None or (found == text and len(text) > SPELLED_LIMIT) else found
