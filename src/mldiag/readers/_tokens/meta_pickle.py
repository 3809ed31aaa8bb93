"""nanoGPT's `meta.pkl`: the vocabulary of a data set of characters, pickled beside its tokens."""

from __future__ import annotations

from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers._weights.pickle_opcodes import Machine, Malformed, Pairs

SIZE_LIMIT = 16 * 2**20


def vocabulary_size(file: File) -> int | None:
    """How many tokens it says there are; None where it does not."""
    try:
        found = mapping(file)
    except ReadError:
        return None
    size = found.get("vocab_size")
    if type(size) is int and 0 < size < 2**32:
        return size
    tables = [t for t in (found.get("itos"), found.get("stoi")) if isinstance(t, Pairs)]
    return max((len(t.pairs) for t in tables), default=None)


def mapping(file: File) -> Pairs:
    """The mapping that the file is.

    Raises:
        ReadError: it is something else.
    """
    if file.size > SIZE_LIMIT:
        raise ReadError(f"a pickle of {file.size:,} bytes, more than the {SIZE_LIMIT:,} that are read")
    with file.open() as stream:
        data = stream.read(SIZE_LIMIT + 1)
    try:
        found = Machine(data).run()
    except Malformed as error:
        raise ReadError(str(error)) from error
    if not isinstance(found, Pairs):
        raise ReadError("no pickled dictionary with a vocabulary (`stoi`, `itos`, `vocab_size`)")
    return found
