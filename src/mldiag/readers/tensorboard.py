"""Event files of TensorBoard."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mldiag.artifacts import Artifact, Role, Series, SettingValue, Source
from mldiag.errors import ReadError, os_reason
from mldiag.files import File
from mldiag.readers import reader
from mldiag.vocabulary import axis, split_of

if TYPE_CHECKING:
    from mldiag.readers._events.event import Log, Points
    from mldiag.readers._events.tfrecord import Damage

SMALL = 2**20
"""Bytes up to which a file is read without numpy: its import takes longer than 20,000 events take in Python."""
SMALL_WITH_NUMPY = 2**16
"""The same where numpy has been imported already: what its calls cost of a piece of any size."""
_RAY = "ray/tune/"
"""What Ray Tune's `TBXLoggerCallback` puts before the names of all that a trial reports."""
MOST_EPOCHS = 100_000
"""Points of a tag `epoch` that are looked up one by one, which costs ten megabytes."""


@reader("*tfevents*", priority=50, post=True)
def tensorboard(file: File) -> Iterator[Artifact]:
    """Event files of TensorBoard, as TensorFlow, Keras, PyTorch, Lightning, Hugging Face and CatBoost write them.

    One series per tag with the steps and wall times of its events: `simple_value`, and tensors of one element of the
    `scalars` plugin in any numeric type, packed or as `tensor_content`. Where a tag names no split, the folder does:
    Keras' `train/` and `validation/`, CatBoost's `learn/` and `test/`, PyTorch's `loss_train/` for `add_scalars`.
    What Keras writes as the step of its tags `epoch_…` is the epoch; a tag `epoch` (Lightning, Hugging Face) gives the
    epochs of the tags whose steps it has, and is no series then. `hp_metric` of -1 is Lightning's placeholder.
    NaN is kept, and so are points that a restart wrote again. Hyperparameters of the `hparams` plugin, and texts of
    step 0 that are one JSON object or a table of names and values, are settings that the run recorded. Images, audio,
    histograms, graphs and other texts are passed over.

    The CRC-32C of every record is checked. A damaged record is left out; reading goes on at the next good one, and what
    was lost is counted. A last record that is still being written is left out in silence; a file without events, or an
    empty one, is in order.
    """
    log, damage = _read(file)
    folder = (file.root / file.path).absolute().parent.name
    kept = [(tag, points) for tag, points in log.kept() if not _is_placeholder(tag, points)]
    counter = next((tag for tag, _ in kept if axis(tag.removeprefix(_RAY)) == "epoch"), None)
    epoch_of = _epochs_by_step(log.points[counter]) if counter else {}
    used = False
    for tag, points in sorted(kept, key=lambda item: item[0] == counter):
        if tag == counter and used:
            continue
        name = _named(tag, folder, file.name)
        steps, epochs = (None, points.steps) if _counts_epochs(tag, folder, file.name) else (points.steps, None)
        if epoch_of and tag != counter and steps is not None and all(map(epoch_of.__contains__, steps)):
            epochs, used = array("d", map(epoch_of.__getitem__, steps)), True
        yield Series("", name, points.values, Source(file.path, key=tag), steps, epochs, points.times)
    if log.hparams or log.texts:
        yield from _settings(file, log)
    if damage.places or log.unreadable:
        raise ReadError(_reason(file, log, damage), partial=bool(log.points or damage.bytes < file.size))


def _read(file: File) -> tuple[Log, Damage]:
    from mldiag.readers._events.event import Log
    from mldiag.readers._events.tfrecord import Damage

    log, damage = Log(), Damage()
    file.head  # noqa: B018 (refuses the pointers of Git LFS)
    if file.size > (SMALL_WITH_NUMPY if "numpy" in sys.modules else SMALL):
        from mldiag.readers._events.columns import read_columns

        with file.open() as stream:
            try:
                read_columns(stream, file.size, log, damage)
            except OSError as error:
                raise ReadError(f"cannot be read: {os_reason(error)}") from error
    else:
        from mldiag.readers._events.rows import read_rows

        read_rows(file.data, log, damage)
    return log, damage


def _reason(file: File, log: Log, damage: Damage) -> str:
    if damage.bytes == file.size:
        return "not a file of TensorBoard events: no record with a good CRC was found"
    said = []
    if damage.places:
        places = "place" if damage.places == 1 else "places"
        said.append(
            f"CRCs do not fit at {damage.places:,} {places}, the first at byte {damage.first:,}; "
            f"{damage.bytes:,} of {file.size:,} bytes were left out"
        )
    if log.unreadable:
        said.append(f"{log.unreadable:,} records with a good CRC are no events")
    return "; ".join(said)


def _named(tag: str, folder: str, file_name: str) -> str:
    """The name of a tag's series, with the split that the folder says where the tag says none."""
    tag = tag.removeprefix(_RAY)
    # `add_scalars("loss", {"train": ...})` of PyTorch writes the tag `loss` into the folder `loss_train`.
    main = f"{tag.replace('/', '_')}_"
    if folder.startswith(main) and folder != main:
        key = folder[len(main) :]
        return f"{key}/{tag}" if split_of(key) else f"{tag}/{key}"
    split = _split_of_folder(folder, file_name)
    return tag if split is None or split_of(tag) else f"{split}/{tag}"


def _counts_epochs(tag: str, folder: str, file_name: str) -> bool:
    # `_log_epoch_metrics` of keras.callbacks.TensorBoard; `.v2` is what the writers of TensorFlow 2 end names with.
    return tag.startswith("epoch_") and folder in ("train", "validation") and file_name.endswith(".v2")


def _is_placeholder(tag: str, points: Points) -> bool:
    # `TensorBoardLogger(default_hp_metric=True)` of Lightning
    return tag == "hp_metric" and all(v == -1 for v in points.values)


def _epochs_by_step(points: Points) -> dict[float, float]:
    """The epoch at each step; empty where a step has two, as after a restart from an older checkpoint."""
    if len(points.values) > MOST_EPOCHS:
        return {}
    found = dict(zip(points.steps, points.values, strict=True))
    unambiguous = all(found[step] == epoch for step, epoch in zip(points.steps, points.values, strict=True))
    return found if unambiguous else {}


def _split_of_folder(folder: str, file_name: str) -> str | None:
    # CatBoost's `test` is the evaluation set that stops the training; its files have no time in their name.
    if file_name == "events.out.tfevents" and folder.startswith("test"):
        return "val"
    # One word, or the `eval_<name>` of TensorFlow's estimators: people give runs names such as `test_run`.
    if folder.isalpha() and split_of(folder):
        return folder
    return "eval" if folder.startswith("eval_") else None


def _settings(file: File, log: Log) -> Iterator[SettingValue]:
    from mldiag.readers._events.settings import hyperparameters, text_settings

    for key, value in (*hyperparameters(log.hparams), *text_settings(log.texts)):
        yield SettingValue(key, value, Role.LOG, Source(file.path, key=key), record=True)
