"""The binary file that W&B writes during a run."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.artifacts import Artifact, Role, SettingValue, Source
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers import reader
from mldiag.readers._configs.settings import Value, flattened

MAGIC = b":W&B\xe1\xbe"
"""`:W&B` and 0xBEE1; the byte behind them is the version of the file format, 0 in every release so far."""


@reader("*.wandb", matches=lambda file: MAGIC.startswith(file.head[: len(MAGIC)]), priority=40, post=True)
def wandb_run(file: File) -> Iterator[Artifact]:
    """`run-<id>.wandb` of Weights & Biases, online and offline runs alike, read without the wandb package.

    One series per key of the history; parts of nested keys join with `/`, media (`_type`) and text are passed over.
    The x axis that `wandb.define_metric` declares, else a step that the trainer logs (`trainer/global_step`), goes
    before W&B's `_step`, which counts calls of `wandb.log`; wall times are `_timestamp`, seconds since 1970. The
    configuration as the run last had it is a record, and so is `exit_code`, absent where the run was killed. Without
    history, the numbers of the summary are series of one point. System statistics are passed over, and so is console
    output, but for the failures that it tells.

    Every checksum is checked: behind a damaged place reading goes on with the next valid record, and what was lost is
    counted. A last record that is cut is left out in silence.
    """
    from mldiag.readers._protobuf import Malformed
    from mldiag.readers._stores import wandb_records as wandb
    from mldiag.readers._stores.leveldb_log import Log
    from mldiag.readers._stores.wandb_console import Console

    if file.size <= len(MAGIC):
        raise ReadError("the file ends within its header" if file.size else "the file is empty")
    history = wandb.History(file)
    config: dict[str, object] = {}
    summary: dict[str, object] = {}
    exit_code: int | None = None
    printed = Console(file.path)
    records = malformed = 0
    with file.open() as stream:
        log = Log(stream, len(MAGIC) + 1)
        for data in log:
            records += 1
            try:
                kind, body = wandb.record(data)
                if kind == wandb.HISTORY:
                    history.add(body)
                    printed.pass_row()
                elif kind in (wandb.OUTPUT, wandb.OUTPUT_RAW):
                    printed.add(kind, body)
                elif kind == wandb.METRIC:
                    history.declare(body)
                elif kind == wandb.SUMMARY and not len(history):
                    wandb.updates(body, summary)
                elif kind == wandb.CONFIG:
                    wandb.updates(body, config)
                elif kind == wandb.RUN:
                    wandb.run_config(body, config)
                elif kind == wandb.EXIT:
                    exit_code = wandb.exit_code(body)
            except Malformed:
                malformed += 1
    if not len(history) and summary:
        history.add_summary(summary)
    yield from history.series()
    yield history.extent
    for path, value in flattened(config):
        yield _record(file, ".".join(path), value)
    yield from printed.finish()
    if exit_code is not None:
        yield _record(file, "exit_code", exit_code)
    if not records:
        version = file.head[len(MAGIC)]
        known = f" (version {version} of the file format; 0 is known)" if version else ""
        raise ReadError(f"no whole record with a valid checksum{known}")
    if log.damaged:
        raise ReadError(
            f"damaged in {log.damaged:,} place{'s'[: log.damaged > 1]}, the first at byte {log.first:,}: "
            f"{log.lost:,} of {file.size:,} bytes were passed over",
            partial=True,
        )
    if malformed:
        raise ReadError(f"{malformed:,} of {records:,} records are not what W&B writes", partial=malformed < records)


def _record(file: File, name: str, value: Value) -> SettingValue:
    return SettingValue(name, value, Role.LOG, Source(file.path, key=name), record=True)
