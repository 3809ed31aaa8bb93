"""RUN005: the steps of a log go back or repeat."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import Disorder, Evidence, Finding, Fix, LogOrder, NotApplicable, rule


@rule("RUN005", severity="info")
def log_discontinuity(order: LogOrder) -> Iterator[Finding]:
    """One file holds several launches, or was written by several processes at a time.

    ## What it checks
    The steps (without steps: the epochs) of the longest series of each file. A step that goes back begins another
    launch; where more than a twentieth of them go back, and not to the start, the file was written out of order, as by
    two ranks of a distributed run. Steps that were logged before are counted, and how many of them with another value.
    Steps that begin again in each epoch, and steps that all have the same number of values, are in order.

    ## Why it matters
    What is drawn from such a file is no curve, and tools that take the rows as they stand see jumps, spikes and early
    endings that never were. The rules here judge the last launch, and put in order what was written out of order.

    ## Inputs
    Steps and epochs of any series.

    ## Fix
    Shown: a file for each launch, and rank 0 alone to write it.

    ## When to ignore
    The run was stopped and resumed on purpose, with the log appended to.

    ## Source
    A twentieth: in 262 measured logs launches stay below 0.01 of the steps, two writers are at 0.28 and 0.36.
    """
    if not order.judged:
        raise NotApplicable("no series has steps or epochs")
    told: set[int | str] = set()
    for found in order.items:
        seen = found.launches if found.launches > 1 else found.series.source.path
        if seen not in told:  # a text log beside event files says it again
            told.add(seen)
            yield _launches(found) if found.launches > 1 else _disorder(found)


def _where(found: Disorder) -> str:
    path = found.series.source.path
    folder = path.rpartition("/")[0]
    if "tfevents" in path:
        return f"the event files {'in ' + folder if folder else 'of the run'}"
    return path


def _launches(found: Disorder) -> Finding:
    at, more = found.back[0], len(found.back) - 1
    axis, path = found.axis, _where(found)
    again = "" if not more else ", and once more" if more == 1 else f", and {more:,} more times"
    return Finding(
        f"the {found.unit} in {path} went back from {axis[at - 1]:,g} to {axis[at]:,g}{again}, as of "
        f"{found.launches:,} launches",
        at=found.series.at(at),
        evidence=(
            Evidence("launches", found.launches, 1, found.series.source),
            Evidence("written in", path, None, found.series.source),
            Evidence(f"{found.unit} before the first return", axis[at - 1], None, found.series.at(at - 1), found.unit),
            Evidence(f"{found.unit} after it", axis[at], None, found.series.at(at), found.unit),
            Evidence("times it went back", len(found.back), 0),
            Evidence("logged values", found.values),
        ),
        fix=Fix.show("write a log for each launch, or go on from the last step when a run is resumed"),
    )


def _disorder(found: Disorder) -> Finding:
    parts = []
    if found.back:
        parts.append(f"went back {len(found.back):,} times")
    if found.repeated:
        parts.append(f"repeated {found.repeated:,} times, {found.differing:,} with another value")
    what = "out of order" if found.back else "with repeated steps"
    at = found.back[0] if found.back else 0
    return Finding(
        f"{_where(found)} was written {what}: the {found.unit} {' and '.join(parts)} in {found.values:,} values",
        at=found.series.at(at),
        evidence=(
            Evidence("times it went back", len(found.back), 0, found.series.at(at)),
            Evidence("written in", _where(found), None, found.series.source),
            Evidence("values of a step that was logged before", found.repeated, 0, found.series.source),
            Evidence("of these, values that differ", found.differing, None, found.series.source),
            Evidence("logged values", found.values),
        ),
        fix=Fix.show("let one process write the log (rank 0), or give each its own file"),
    )
