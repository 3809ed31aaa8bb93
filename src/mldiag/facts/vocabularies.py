"""Which vocabulary the data were made with, which one the model uses, and whether the two give the same ids."""

from __future__ import annotations

import posixpath

from msgspec import Struct

from mldiag.artifacts import Settings
from mldiag.checkpoints import Checkpoint
from mldiag.errors import NotApplicable
from mldiag.facts import fact
from mldiag.files import File
from mldiag.patterns import lazily
from mldiag.run import Run
from mldiag.tokens import TokenFiles, Tokenizer, Tokenizers

_OTHERS = lazily(
    r"(?i)(^|[^a-z])(src|tgt|source|target|label|labels|tag|tags|pos|char|chars|word|words|phoneme|speaker|teacher|student|"
    r"encoder|decoder|class|classes|lang|old|backup|en|de|fr|pt|es|zh|ru)([^a-z]|$)"
)
"""Parts of a path that say that a vocabulary is one of several by design."""


class Mismatch(Struct, frozen=True):
    """Two vocabularies of one size that give different ids.

    Attributes:
        data: the one beside the token file; `model`: the one beside the model.
        tokens: tokens of both together; `differing`: those that have not the same id in both.
        example: a token with another id in each, and these ids; the token alone where one of them does not have it.
    """

    data: Tokenizer
    model: Tokenizer
    tokens: int
    differing: int
    example: tuple[str, int | None, int | None]


class Vocabularies(Struct, frozen=True):
    """The pairs of vocabularies that were compared."""

    compared: int
    mismatches: tuple[Mismatch, ...]


@fact
def vocabularies(run: Run, tokenizers: Tokenizers, files: TokenFiles, settings: Settings | None) -> Vocabularies:
    """Compares the vocabulary in the folder of the token files with the one beside the model, token by token.

    Sizes that differ are another matter. A vocabulary whose path says that it is one of several (`src`, `labels`) is
    left out.
    """
    from mldiag.readers._tokens.contents import ids_of

    folders = {posixpath.dirname(f.source.path) for f in files}
    beside_model = {posixpath.dirname(c.source.path) for c in run.artifacts.get(Checkpoint, ())}
    beside_model |= {posixpath.dirname(v.source.path) for v in (settings.all("vocab_size") if settings else ())}
    plain = [t for t in tokenizers if not _OTHERS.search(t.source.path)]
    of_data = [t for t in plain if posixpath.dirname(t.source.path) in folders]
    of_model = [t for t in plain if posixpath.dirname(t.source.path) in beside_model - folders]
    compared, found = 0, []
    for data in of_data:
        for model in of_model:
            if data.size != model.size:
                continue
            ours, theirs = (ids_of(File(run.root, t.source.path)) for t in (data, model))
            if not ours or not theirs:
                continue
            compared += 1
            every = ours.keys() | theirs.keys()
            differing = [t for t in every if ours.get(t) != theirs.get(t)]
            if differing:
                # The same token under two ids shows it better than one that the other lacks.
                token = min(differing, key=lambda t: (t not in ours or t not in theirs, ours.get(t, 0), t))
                found.append(
                    Mismatch(data, model, len(every), len(differing), (token, ours.get(token), theirs.get(token)))
                )
    if not compared:
        raise NotApplicable("no two vocabularies of one size, of the data and of the model")
    return Vocabularies(compared, tuple(found))
