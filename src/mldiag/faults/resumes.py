"""A run that was resumed without part of its state. Each goes back to its last checkpoint, a twentieth of the run."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from msgspec.structs import replace

from mldiag.artifacts import Series, floats
from mldiag.errors import NotApplicable
from mldiag.facts.curves import Curve
from mldiag.faults import fault
from mldiag.faults.planting import ends, levels, objective, rates, read_at, shares, taken, with_series
from mldiag.run import Run
from mldiag.stats import noise

WHERE = 0.6
"""Share of the run at which it was interrupted."""
BACK = 1 / 20
"""Share of the run that is done again, from the last checkpoint on."""
NOISES = 10.0
"""Fall of the loss in standard deviations of its noise, from which on one value shows where on it the run is."""
SETTLED = 0.3
"""Share of the run after which a loss that began anew is where it would have been."""


@fault(
    caught_by=("resume-discontinuity", "schedule-mismatch"), size=1.0, unit="share of the schedule that begins again",
    sizes=(0.25, 0.5, 1.0),
)  # fmt: skip
def resume_resets_rate(run: Run, rng: Random, size: float) -> Run:
    """The learning-rate schedule begins again at the resume while the steps go on."""
    lr = rates(run, least=20)
    if "restart" in (run.settings.get("lr_schedule", str) or ""):
        raise NotApplicable("a schedule with restarts begins again by design")
    begins, places = (1 - size) * WHERE, shares(run, lr)
    if lr.series.step_data is None:
        raise NotApplicable("no steps were logged")
    there, on = (read_at(places, lr.values, share) for share in (begins + 2 * BACK, WHERE + 2 * BACK))
    if max(there, on) < 2 * min(there, on):
        raise NotApplicable("the learning rate is about the same where the schedule begins again")
    return _resumed(run, WHERE, {"lr": lambda share, _: read_at(places, lr.values, begins + share - WHERE + BACK)})


@fault(
    caught_by=("resume-discontinuity", "loss-spikes", "divergence"), size=0.75, unit="share of the gain that is lost",
    sizes=(0.1, 0.25, 0.5, 0.75, 1.0),
)  # fmt: skip
def resume_loses_weights(run: Run, rng: Random, size: float) -> Run:
    """The train loss begins anew at the resume: weights or optimizer state were not restored."""
    train = objective(run, least=40)
    if train.axis("step") is None:
        raise NotApplicable("no steps were logged")
    lost = size * _gain(run, train)
    left = WHERE - BACK
    return _resumed(run, WHERE, {train.name: lambda share, v: v + lost * max(0.0, 1 - (share - left) / SETTLED)})


@fault(
    caught_by=("resume-discontinuity", "log-discontinuity"), size=1.0, unit="share of the counter that is lost",
    sizes=(1.0,), least="info",
)  # fmt: skip
def resume_resets_step(run: Run, rng: Random, size: float) -> Run:
    """The counters of steps and epochs begin again at the resume while the losses go on."""
    _gain(run, objective(run, least=10))
    changed = []
    for series in run.metrics:
        places = shares(run, _whole(series))
        begin = next((k for k, share in enumerate(places) if share > WHERE), len(series))
        if series.step_data is None or begin == 0:
            continue
        steps, epochs = list(series.step_data), series.epoch_data
        lost = size * WHERE * steps[-1] / places[-1]
        new = replace(series, step_data=floats(s - (lost if k >= begin else 0) for k, s in enumerate(steps)))
        if epochs is not None:
            gone = size * WHERE * epochs[-1] / places[-1]
            new = replace(new, epoch_data=floats(e - (gone if k >= begin else 0) for k, e in enumerate(epochs)))
        changed.append(new)
    if not changed:
        raise NotApplicable("no steps were logged")
    return with_series(run, *changed)


@fault(caught_by=("log-discontinuity",), size=1.0, unit="times", sizes=(1.0, 2.0, 4.0), least="info")
def steps_going_back(run: Run, rng: Random, size: float) -> Run:
    """The run was taken up again from a checkpoint, so that steps stand twice in the log."""
    if all(s.step_data is None for s in run.metrics):
        raise NotApplicable("no steps were logged")
    for k in range(round(size)):
        run = _resumed(run, (k + 1) / (size + 1), {})
    return run


Change = Callable[[float, float], float]
"""From the share of the run that is done and the value as it was to the value after the resume."""


def _gain(run: Run, train: Curve) -> float:
    """What had been learnt until the interruption, where that stands out from the noise of single values."""
    gain = ends(train)[0] - read_at(shares(run, train), levels(train.values), WHERE)
    if gain < NOISES * noise(train.values):
        raise NotApplicable("single losses waver by nearly as much as the loss had fallen")
    return gain


def _resumed(run: Run, where: float, changes: dict[str, Change]) -> Run:
    """The run, with what comes after the resume changed; the rows since the last checkpoint stand twice."""
    found = [s for s in run.metrics if s.step_data is not None and len(s) > 3]
    return with_series(run, *(_twice(run, series, where, changes.get(series.name)) for series in found))


def _twice(run: Run, series: Series, where: float, change: Change | None) -> Series:
    places = shares(run, _whole(series))
    end = next((k for k, s in enumerate(places) if s > where), len(places))
    begin = next((k for k, s in enumerate(places) if s > where - BACK), len(places))
    rows = [*range(end), *range(begin, len(places))]
    new = taken(series, rows)
    if change is None:
        return new
    return replace(new, data=floats(v if k < end else change(places[rows[k]], v) for k, v in enumerate(new.data)))


def _whole(series: Series) -> Curve:
    return Curve(series, range(len(series)), series.data)
