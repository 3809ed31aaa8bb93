"""Configurations in JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mldiag.artifacts import Artifact, Role, SettingValue
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers import reader
from mldiag.readers._places import places
from mldiag.readers._settings import flattened, is_record, is_table
from mldiag.vocabulary import Vocabulary

SIZE_LIMIT = 2**20
"""Larger documents are data, not configurations; the largest of 60 real ones measured has 8 kB."""
KNOWN_ENOUGH = 3
"""A document of any name is a configuration when the vocabulary knows this many of its keys."""

_NAMED = re.compile(
    r".*(config|hparams|hyper_?param|args|params|setting|options|threshold|decision).*|opt|hps|hyp|defaults",
    re.IGNORECASE,
)
# Other tools' files, descriptions of how to generate or tokenize, results.
_FOREIGN = re.compile(
    r"(tokenizer|generation|preprocessor|processor|image|feature_extractor|quantiz|special_tokens|added_tokens|ts|js|babel|"
    r"eslint|package|composer|chat_template|vocab|merges).*|.*(result|summary|metadata|lock|index|trainer_state).*",
    re.IGNORECASE,
)


def _is_config(file: File) -> bool:
    if file.size > SIZE_LIMIT or _FOREIGN.fullmatch(file.name.split(".")[0]):
        return False
    document = file.json
    if not isinstance(document, dict) or not document or is_table(document):
        return False
    if _NAMED.fullmatch(file.name.rsplit(".", 1)[0]):
        return True
    words = Vocabulary()
    # Lists are left out: a history's `loss`, `lr` and `epochs` are names of settings too.
    known = {words.setting(".".join(p)) for p, v in flattened(document) if not isinstance(v, tuple)}
    return len(known - {None}) >= KNOWN_ENOUGH


@reader("*.json", matches=_is_config)
def json_config(file: File) -> Iterator[Artifact]:
    """Configurations in JSON (`config.json`, `hparams.json`, `training_args.json`, …), each value with its exact place.

    Nested keys join with dots; short lists of scalars are tuples; maps from tokens or numbers to ids or names are no
    settings. What the run wrote itself (`hparams.json`, `args.json`, a model description that Hugging Face saved) is a
    record: editing it changes nothing.
    """
    document = file.json
    if not isinstance(document, dict):
        raise ReadError(f"expected an object of settings, found {type(document).__name__}")
    spans = places(file.text)
    record = is_record(file) or "transformers_version" in document
    for path, value in flattened(document):
        name = ".".join(path)
        span = spans.get(path) or spans.get((*path, "value"))
        place = file.source(*span, key=name) if span else file.at(key=name)
        yield SettingValue(name, value, Role.FILE, place, record=record)
