"""Where in a table of positions or tokens the rows stop being trained, by what their values look like."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from mldiag.checkpoints import Checkpoint, Tensor
from mldiag.errors import NotApplicable, ReadError
from mldiag.facts import fact
from mldiag.facts.saved_models import SavedModels
from mldiag.facts.tensor_statistics import TensorStatistics
from mldiag.shapes import POSITION_TABLES, TOKEN_TABLES, table_name

if TYPE_CHECKING:
    from mldiag.stats.rows import Untrained

MIN_ROWS, MIN_WIDTH = 32, 8
"""Of smaller tables the tail is too short for a test."""
MOST_VALUES = 2**28
"""Values of a table that is looked at a second time: a vocabulary of 256,000 rows of 1,024."""


class RowTable(Struct, frozen=True):
    """A table of which the last rows look as they were initialised, and the rows before do not.

    Attributes:
        kind: `position` or `token`.
        untrained: where they begin, and by what they differ.
    """

    checkpoint: Checkpoint
    tensor: Tensor
    kind: str
    untrained: Untrained


class RowTables(Struct, frozen=True, dict=True):
    """The tables of the last checkpoint; each is looked at when it is asked for."""

    checkpoint: Checkpoint
    tables: tuple[tuple[Tensor, str], ...]
    statistics: TensorStatistics

    def of(self, kind: str) -> list[RowTable]:
        """The tables of a kind with a tail that was not trained."""
        return [
            RowTable(self.checkpoint, tensor, kind, tail)
            for tensor, which in self.tables
            if which == kind and (tail := self._tail(tensor)) is not None
        ]

    def _tail(self, tensor: Tensor) -> Untrained | None:
        from mldiag.stats.rows import untrained_tail
        from mldiag.stats.tensors import numbers

        known: dict[str, Untrained | None] = self.__dict__.setdefault("_known", {})
        if tensor.name not in known:
            rows, width = tensor.shape[-2:]
            values = self.statistics.values(self.checkpoint)
            at_once = max(1, 2**16 // width)
            try:
                blocks = (numbers(b, tensor.dtype).reshape(-1, width) for b in values.blocks(tensor, at_once * width))
                known[tensor.name] = untrained_tail(blocks, rows, width)
            except (ReadError, ValueError):
                known[tensor.name] = None
        return known[tensor.name]


@fact
def row_tables(saved: SavedModels, statistics: TensorStatistics) -> RowTables:
    """Tables by their names, of the last checkpoint; not those of an adapter, which trains none."""
    model = saved.items[-1]
    if model.adapter:
        raise NotApplicable("an adapter's tables are those of the model that it stands on")
    found = []
    for tensor in model.checkpoint.tensors:
        name = table_name(tensor.name)
        kind = "position" if name in POSITION_TABLES else "token" if name in TOKEN_TABLES else ""
        if kind and _fits(tensor):
            found.append((tensor, kind))
    if not found:
        raise NotApplicable("no table of positions or tokens in the checkpoint")
    return RowTables(model.checkpoint, tuple(found), statistics)


def _fits(tensor: Tensor) -> bool:
    shape = tensor.shape[1:] if len(tensor.shape) == 3 and tensor.shape[0] == 1 else tensor.shape
    if len(shape) != 2 or tensor.strides is not None or not tensor.dtype.startswith(("float", "bfloat")):
        return False
    rows, width = shape
    return bool(rows >= MIN_ROWS and width >= MIN_WIDTH and rows * width <= MOST_VALUES)
