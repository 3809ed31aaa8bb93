"""What the families are written with: a trainer that logs, curves that fall, rates that follow a schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from msgspec import Struct

from mldiag.artifacts import Metrics, Role, Scalar, Series, Settings, SettingValue, Source, floats
from mldiag.run import Run

LOG = "log.jsonl"
CONFIG = "config.yaml"

Level = Callable[[float], float]
"""A quantity without its noise, by the share of the run that is done, 0 to 1."""

Noise = Callable[[float], float]
"""Adds noise to a value."""


class Trainer(Struct):
    """Writes down series at the steps at which a trainer would.

    Attributes:
        steps: optimizer steps of the run; `epochs`: passes over the data, 0 where it does not count them.
        every: steps between two rows of the log; `eval_every`: between two evaluations.
    """

    rng: Random
    steps: int
    epochs: float
    every: int
    eval_every: int

    @property
    def rows(self) -> list[int]:
        """The steps of the log, the last one among them."""
        return _places(self.steps, self.every)

    @property
    def evaluations(self) -> list[int]:
        return _places(self.steps, self.eval_every)

    def logged(self, name: str, level: Level, noise: Noise | None = None, *, digits: int = 6) -> Series:
        """A series with a value in each row of the log."""
        return self.at(self.rows, name, level, noise, digits=digits)

    def evaluated(self, name: str, level: Level, noise: Noise | None = None, *, digits: int = 6) -> Series:
        """A series with a value at each evaluation."""
        return self.at(self.evaluations, name, level, noise, digits=digits)

    def at(
        self, places: Sequence[int], name: str, level: Level, noise: Noise | None = None, *, digits: int = 6
    ) -> Series:
        """A series with a value at each of some steps, written with so many significant digits."""
        values = [level(step / self.steps) for step in places]
        if noise is not None:
            values = [noise(v) for v in values]
        return self.written(places, name, [float(f"{v:.{digits}g}") for v in values])

    def written(self, places: Sequence[int], name: str, values: Sequence[float]) -> Series:
        """A series with these values at some steps."""
        epochs = floats(step * self.epochs / self.steps for step in places) if self.epochs else None
        return Series(name, name, floats(values), Source(LOG, key=name), floats(places), epochs)

    def runtime(self, *, speed: float, memory: float) -> list[Series]:
        """Throughput, step time and memory of a job that runs evenly: a slow first step, now and then a slower one."""
        draw = self.rng
        times = [(1 + abs(draw.gauss(0, 0.03))) * (1.6 if draw.random() < 0.01 else 1.0) for _ in self.rows]
        times[0] *= draw.uniform(1, 4)
        return [
            self.written(self.rows, "tokens_per_s", [round(speed / t, 1) for t in times]),
            self.written(self.rows, "step_time", [round(0.35 * t, 4) for t in times]),
            self.written(self.rows, "data_time", [round(0.01 * t * draw.uniform(0.5, 1.5), 5) for t in times]),
            self.written(
                self.rows, "memory", [round(memory * (0.97 if k == 0 else 1.0), 2) for k in range(len(times))]
            ),
        ]

    def norms(self, early: float, late: float, *, sigma: float = 0.25) -> Series:
        """A gradient norm that goes from one level to another, log-normal about it."""
        return self.logged(
            "grad_norm",
            lambda s: early * (late / early) ** min(1.0, 3 * s),
            lambda v: v * math.exp(self.rng.gauss(0, sigma)),
        )


def relative(rng: Random, sigma: float) -> Noise:
    """Normal noise in proportion to the value, within four standard deviations."""
    return lambda value: value * (1 + sigma * max(-4.0, min(rng.gauss(0, 1), 4.0)))


def absolute(rng: Random, sigma: float) -> Noise:
    """Normal noise of one size."""
    return lambda value: value + rng.gauss(0, sigma)


def heavy_tailed(rng: Random, sigma: float) -> Noise:
    """Noise of Student's t with three degrees of freedom in proportion to the value; at most eight times its scale."""

    def noise(value: float) -> float:
        tail = math.sqrt(max(1e-3, rng.gammavariate(1.5, 1 / 1.5)))
        return max(0.0, value * (1 + sigma * max(-2.5, min(rng.gauss(0, 1) / tail, 8.0))))

    return noise


def bounded(rng: Random, examples: int, top: float = 1.0) -> Noise:
    """Noise of a share that is measured on so many examples."""

    def noise(value: float) -> float:
        p = min(max(value / top, 0.0), 1.0)
        return min(max(p + rng.gauss(0, math.sqrt(p * (1 - p) / examples)), 0.0), 1.0) * top

    return noise


def falling(start: float, end: float, pace: float, power: float = 1.0) -> Level:
    """From a start to nearly an end: a power law where `power` is not 1, else exponential, `pace` times as fast."""

    def level(share: float) -> float:
        rest = math.exp(-pace * share) if power == 1.0 else (1 + pace * share) ** -power
        return end + (start - end) * rest

    return level


def cosine(warmup: float, peak: float, floor: float = 0.0) -> Level:
    """Linear warm-up over a share of the run, half a cosine down to a floor (Loshchilov and Hutter 2017)."""
    return _after_warmup(warmup, peak, lambda u: floor + (peak - floor) * (1 + math.cos(math.pi * u)) / 2)


def linear(warmup: float, peak: float) -> Level:
    """Linear warm-up and a straight line to zero."""
    return _after_warmup(warmup, peak, lambda u: peak * (1 - u))


def constant(warmup: float, peak: float) -> Level:
    """Linear warm-up, then level."""
    return _after_warmup(warmup, peak, lambda u: peak)


def polynomial(peak: float, power: float) -> Level:
    """(1 - share) to a power, without warm-up."""
    return lambda share: peak * max(0.0, 1 - share) ** power


def stepped(peak: float, at: Sequence[float], factor: float = 0.1) -> Level:
    """A tenth less at each of some shares of the run."""
    return lambda share: peak * factor ** sum(share > a for a in at)


def inverse_root(warmup: float, peak: float) -> Level:
    """Linear warm-up, then in proportion to 1 / √step (Vaswani et al. 2017)."""
    return lambda share: peak * (share / warmup if share < warmup else math.sqrt(warmup / share))


def _after_warmup(warmup: float, peak: float, down: Level) -> Level:
    return lambda share: peak * share / warmup if share < warmup else down((share - warmup) / (1 - warmup))


def finished(*series: Series, **settings: Scalar) -> Run:
    """The run that was logged, with the settings of its configuration."""
    found = tuple(
        SettingValue(name, value, Role.FILE, Source(CONFIG, line, key=name))
        for line, (name, value) in enumerate(settings.items(), 1)
    )
    return Run(
        Path(),
        "(simulated)",
        name="simulated",
        metrics=Metrics(series),
        settings=Settings(found),
        files={LOG: "jsonl", CONFIG: "yaml_config"},
    )


def _places(steps: int, every: int) -> list[int]:
    return [*range(every, steps, every), steps]
