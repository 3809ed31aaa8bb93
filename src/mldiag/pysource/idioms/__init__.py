"""Ways to write a training step that train something else than was meant, found in a parsed file and never run.

To add one, write `idioms/<name>.py` with one function of that name, from a `Code` to the idioms it saw. Each says only
what the file itself shows: where a helper, a base class or a module that is not seen could make it right, nothing is
said. How much it matters is for the rules.
"""

from __future__ import annotations

import importlib

from mldiag.artifacts import Idiom
from mldiag.index import modules_in
from mldiag.pysource.module import Module

_LOOKED_AT = frozenset({
    "torch", "tensorflow", "keras", "tf_keras", "lightning", "pytorch_lightning", "transformers", "argparse",
    "numpy", "mmap", "unicodedata", "unidecode", "tokenizers", "datasets", "pandas", "sklearn", "csv", "json",
    "tiktoken", "sentencepiece", "xgboost", "lightgbm",
})  # fmt: skip


def idioms(module: Module) -> tuple[Idiom, ...]:
    """What the modules of this package find in a file, in the order of their names and of the source."""
    if not _LOOKED_AT.intersection(name.partition(".")[0] for name in module.imports):
        return ()
    from mldiag.pysource.idioms._code import Code

    code = Code(module)
    found: list[Idiom] = []
    for name in modules_in(__path__):
        part = importlib.import_module(f"{__name__}.{name}")
        found += getattr(part, name)(code)
    return tuple(found)
