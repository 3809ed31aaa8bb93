"""RUN003: the steps waited for their data."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import Curve, Curves, Evidence, Finding, Fix, NotApplicable, Severity, rule, stats

_WAITS = (
    # What waits, what the whole step is called beside it, and whether the step is known to hold the wait.
    ("data_time", ("time", "iter_time", "step_time", "iteration_time"), True),
    ("train/data_time", ("train/time", "train/iter_time", "train/step_time", "step_time", "time"), True),
    ("last_data_time", ("last_time",), True),
    ("rank_data_time", ("time",), True),
    ("reader_cost", ("batch_cost", "train/avg_batch_cost"), True),
    ("train/avg_reader_cost", ("train/avg_batch_cost", "batch_cost"), True),
    ("train/time_metrics_data_loading", ("train/time_metrics_end_to_end",), True),
    ("data_time", ("batch_time", "train/batch_time"), False),
    ("train/data", ("time", "train/time", "batch_time", "iter_time"), False),
    ("train/dataloader_time", ("step_time", "iter_time", "time", "train/step_time"), False),
    ("train/data_loading_time", ("step_time", "iter_time", "time", "train/step_time"), False),
    ("train/data_load_time", ("step_time", "iter_time", "time", "train/step_time"), False),
    ("train/data_wait", ("step_time", "iter_time", "time", "train/step_time"), False),
    ("train/data_wait_time", ("step_time", "iter_time", "time", "train/step_time"), False),
    ("train/load_time", ("step_time", "iter_time", "train/compute_time"), False),
    ("train/wait_time", ("step_time", "iter_time", "train/step_time"), False),
    ("train/time_data", ("train/time_step", "time", "train/time_iter", "train/time_batch"), False),
)
_IDLE = ("train/gpu_idle", "train/device_idle", "gpu_idle", "device_idle", "train/gpu_idle_ratio", "system/gpu_idle")


_MOST = 20_000
"""Points that are looked at."""


@rule("RUN003", severity="warning")
def input_bound(
    curves: Curves, *, min_wait: float = 0.2, min_idle: float = 0.2, min_points: int = 10
) -> Iterator[Finding]:
    """A good part of each step was spent waiting for data.

    ## What it checks
    The median over all logged steps of time waiting for data / time of the step. Where the log does not say whether
    the time of a step holds the wait, the wait is divided by the sum of both, which is the least that it can be. Where
    only the mean is above the limit, the wait comes in bursts (a loader that starts again, few workers that finish at
    once); the logged steps may be just those, so that is an information. A logged idle share of the device counts the
    same way.

    ## Why it matters
    The device does nothing in that time, and a faster device would change nothing.

    ## Inputs
    Times of one unit at the same steps: `data_time` and `time` (detectron2, OpenMMLab, DETR), `Data` and `Time`
    (PyTorch's examples), `reader_cost` and `batch_cost` (Paddle), `time_metrics/data_loading` (TorchTitan) and the
    like; `gpu_idle` as a fraction or in percent.

    ## Options
    - `min_wait` (0.2): time waiting for data / time of a step.
    - `min_idle` (0.2): share of time that the device was idle.
    - `min_points` (10): logged steps.

    ## Fix
    Shown: more loader workers, prefetching, decoding or tokenizing ahead of time, data on a local disk.

    ## When to ignore
    The run was a short trial on a machine that is not the one for training.

    ## Source
    Measured on 15 labelled runs that log both times: 13 wait for 0.1 to 10 % of a step, two for 24 % (or 32 %) and
    88 %. Of the 13, two wait in bursts: 23 and 56 % of the logged times.
    """
    judged = 0
    for wait, totals, inside in _WAITS:
        waited, whole = curves.get(wait), curves.get(*totals)
        if waited is None or whole is None:
            continue
        pairs = _pairs(waited, whole)
        if len(pairs) < min_points:
            continue
        judged += 1
        # Where a wait is longer than its step, the step does not hold it.
        inside = inside and sum(w > t for w, t in pairs) <= 0.05 * len(pairs)
        middle = stats.median([w / (t if inside else w + t) for w, t in pairs])
        mean = sum(w for w, _ in pairs) / sum(t if inside else w + t for w, t in pairs)
        if max(middle, mean) < min_wait:
            return
        often = middle >= min_wait
        share = middle if often else mean
        spoken = (
            f"{100 * share:.0f} % of the time of a step was spent waiting for data"
            if often
            else f"waiting for data took {100 * share:.0f} % of all logged times, in bursts ({100 * middle:.0f} % of "
            "the usual step)"
        )
        yield Finding(
            f"{spoken} ({waited.series.raw_name} against {whole.series.raw_name}, {len(pairs):,} logged steps"
            + (")" if inside else ", the wait counted beside the step)"),
            at=waited.source,
            severity=Severity.WARNING if often else Severity.INFO,
            evidence=(
                Evidence("wait / step, median", middle, min_wait, waited.source),
                Evidence("wait / step, of the sums", mean, min_wait, waited.source),
                Evidence(f"{waited.series.raw_name}, median", stats.median(waited.values), None, waited.source),
                Evidence(f"{whole.series.raw_name}, median", stats.median(whole.values), None, whole.source),
                Evidence("logged steps", len(pairs), min_points),
            ),
            fix=Fix.show("more loader workers and prefetching, decode or tokenize ahead of time, data on a local disk"),
        )
        return
    idle = curves.get(*_IDLE)
    if idle is not None and len(idle) >= min_points:
        judged += 1
        unit = 100.0 if idle.series.unit == "percent" or max(idle.values) > 1 else 1.0
        share = stats.median(idle.values) / unit
        if share >= min_idle:
            yield Finding(
                f"the device was idle for {100 * share:.0f} % of the time ({idle.series.raw_name}, median of "
                f"{len(idle):,} values)",
                at=idle.source,
                evidence=(
                    Evidence("idle share of the device, median", share, min_idle, idle.source),
                    Evidence("logged values", len(idle), min_points),
                ),
                fix=Fix.show("find out what it waits for: data, another process, or launches of small kernels"),
            )
    if not judged:
        raise NotApplicable(f"no time waiting for data beside the time of a step at {min_points} steps or more")


def _pairs(waited: Curve, whole: Curve) -> list[tuple[float, float]]:
    """Wait and step at each common point, or at as many of them, evenly spread, as tell as much."""
    mine, others = waited.common(whole)
    every = range(0, len(mine), max(1, len(mine) // _MOST))
    pairs = [(waited.values[mine[k]], whole.values[others[k]]) for k in every]
    return [(w, t) for w, t in pairs if w >= 0 and t > 0]
