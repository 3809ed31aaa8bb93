"""Checkpoints of Flax."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.artifacts import Artifact
from mldiag.files import File
from mldiag.readers import reader


def _is_msgpack(file: File) -> bool:
    """A map whose first key is text: what Flax writes of a tree of parameters."""
    head = file.head
    if not head:
        return False
    behind = {0xDE: 3, 0xDF: 5}.get(head[0], 1 if 0x80 < head[0] <= 0x8F else 0)
    key = head[behind : behind + 1]
    return bool(behind and key) and (0xA0 <= key[0] <= 0xBF or key[0] in (0xD9, 0xDA, 0xDB))


@reader("*.msgpack", "checkpoint_[0-9]*", "*.flax", matches=_is_msgpack, priority=40, post=True)
def flax_msgpack(file: File) -> Iterator[Artifact]:
    """Checkpoints of Flax in MessagePack (`flax_model.msgpack`, `checkpoint_0`): names, shapes and types of the arrays.

    Keys of the nested maps join with `/` (`params/Dense_0/kernel`); scalars beside the arrays (`step`) are metadata.
    The values are passed over, not read. Arrays that Flax cut into chunks because of their size are put together
    again by name. A file that ends too early is named; the arrays before are kept.
    """
    from mldiag.readers._weights.flax import read

    yield from read(file)
