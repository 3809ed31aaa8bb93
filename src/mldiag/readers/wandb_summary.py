"""What W&B keeps of a run's last values."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.artifacts import Artifact
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers import reader
from mldiag.readers._tables.columns import Table, flat

_OWN = frozenset({"_step", "_runtime", "_timestamp", "_wandb"})


@reader("wandb-summary.json", priority=40, post=True)
def wandb_summary(file: File) -> Iterator[Artifact]:
    """`wandb-summary.json` of Weights & Biases: the last value of every key, as series of one point.

    Nested keys join with `/`; media (`_type`) and text are passed over. The step and time are those of the run's last
    row, which is at or behind the row that a value was logged in. Where a history is read too, it stands for its keys.
    """
    document = file.json
    if not isinstance(document, dict):
        raise ReadError(f"expected an object of last values, found {type(document).__name__}")
    table = Table(file)
    # Wall times before the time since the start, whatever order the file has them in.
    own = {key: document[key] for key in ("_timestamp", "_runtime", "_step") if key in document}
    table.add({**own, **flat({k: v for k, v in document.items() if k not in _OWN})})
    for series in table.series():
        if series.raw_name not in _OWN:
            yield series
