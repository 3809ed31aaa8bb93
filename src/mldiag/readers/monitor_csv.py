"""Episode logs of Stable-Baselines' and Gym's Monitor."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from mldiag.artifacts import Artifact, Series, Source
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers import reader
from mldiag.readers._tables.columns import number

_NAMES = {"r": "episode_reward", "l": "episode_length"}
_MARK = b'"t_start"'


def _is_monitor(file: File) -> bool:
    first = file.head.partition(b"\n")[0]
    return first.startswith((b"#{", b"{")) and _MARK in first


@reader("*.csv", matches=_is_monitor, priority=50, post=True)
def monitor_csv(file: File) -> Iterator[Artifact]:
    """Episodes as Gym's and Stable-Baselines' `Monitor` logs them: reward `r`, length `l`, time `t`.

    The first line is a JSON object with `t_start`; a further such line begins another launch, as does a repeated
    header. Steps are environment steps, the sum of the lengths so far; times are seconds since the start. Further
    columns are series under their own name. Rows with another number of cells are left out and counted, except a last
    line that is still being written.
    """
    names: list[str] = []
    columns: list[array[float]] = []
    lines, steps = array("q"), array("d")
    wrong: list[int] = []
    done, line, whole = 0.0, 0, True
    for block in file.blocks():
        whole = block.data.endswith((b"\n", b"\r"))
        for text in block.data.decode(errors="replace").splitlines():
            line += 1
            if not text.strip() or text.startswith(("#", "{")):
                continue
            cells = text.strip().split(",")
            if not names or cells == names:
                names = names or cells
                columns = columns or [array("d") for _ in names]
                done = 0.0 if cells == names else done
                continue
            found = [number(c) for c in cells]
            if len(found) != len(names) or found[0] is None:
                wrong.append(line)
                continue
            for column, cell in zip(columns, found, strict=True):
                column.append(float("nan") if cell is None else cell)
            if "l" in names:
                done += columns[names.index("l")][-1]
            steps.append(done)
            lines.append(line)
    if not names or not lines:
        raise ReadError("no episode behind the header" if names else "no header `r,l,t`")
    times = columns[names.index("t")] if "t" in names else None
    for name, column in zip(names, columns, strict=True):
        if name != "t" and any(v == v for v in column):
            raw = _NAMES.get(name, name)
            place = Source(path=file.path, line=lines[0], key=name)
            yield Series("", raw, column, place, steps if "l" in names else None, None, times, (), lines)
    if wrong and not whole and wrong[-1] == line:
        wrong.pop()
    if wrong:
        raise ReadError(f"{len(wrong):,} rows have other than {len(names)} cells", line=wrong[0], partial=True)
