"""Command-line arguments in a file, and dumps of what a program was given."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.artifacts import Artifact
from mldiag.files import File
from mldiag.readers import reader


def _is_arguments(file: File) -> bool:
    from mldiag.readers._configs.arguments import style

    return style(file) is not None


@reader(
    "*args*.txt", "*.args", "opt*.txt", "*_opt*.txt", "*options*.txt", "*hparams*.txt", "*hyperparam*.txt",
    "*config*.txt", "*param*.txt", "*arguments*.txt", "*settings*.txt", "*flags*.txt", "*flagfile*",
    matches=_is_arguments, priority=32,
)  # fmt: skip
def argfile(file: File) -> Iterator[Artifact]:
    """Files of arguments, and dumps of the arguments that a program was given, each value with its place.

    Files for argparse's `@file` and absl's `--flagfile`, with one or more arguments a line (`--lr=0.1`, `--lr 0.1`, or
    the value on the next line), are configurations. Records of the run are lines of `key: value` or `key = value`
    (pix2pix and its kin: `lr: 0.1 [default: 0.2]`), `Namespace(lr=0.1, …)`, and a JSON object in a text file.

    Values are read as numbers, truth values and flat lists where they are such; secrets are left out. What is written
    over several lines is left out.
    """
    from mldiag.readers._configs.arguments import settings

    yield from settings(file)
