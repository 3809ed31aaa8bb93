"""Regression, densities, speech, recommendation, reinforcement learning, boosting, and awkward ways to log."""

from __future__ import annotations

import math
from random import Random

from msgspec.structs import replace

from mldiag.artifacts import Series, floats
from mldiag.faults.healthy import family
from mldiag.faults.healthy._trainer import (
    Trainer,
    absolute,
    bounded,
    constant,
    cosine,
    falling,
    finished,
    heavy_tailed,
    linear,
    relative,
)
from mldiag.run import Run


@family
def any_loss(rng: Random) -> Run:
    """A loss that decays to a floor at any height, with any noise, length and spacing, and its validation."""
    start = rng.choice([math.log(2), 1.1, 2.3, 4.2, 6.5, 10.8])
    floor = start * rng.uniform(0.02, 0.75)
    epochs, per_epoch = rng.randint(3, 60), rng.choice([1, 5, 20, 50])
    n = epochs * per_epoch
    time = rng.uniform(0.06, 0.4) * n
    exponential, heavy = rng.random() < 0.5, rng.random() < 0.3
    sigma, gap = rng.choice([0.01, 0.05, 0.15, 0.35]), rng.choice([0.85, 1.0, 1.05, 1.12, 1.2])
    log = Trainer(rng, n, 0, 1, per_epoch)

    def level(share: float) -> float:
        step = share * n - 1
        return floor + (start - floor) * (math.exp(-step / time) if exponential else 1 / (1 + 2 * step / time))

    noise = (
        heavy_tailed(rng, sigma) if heavy else lambda v: max(0.0, v * (1 + sigma * max(-2.5, min(rng.gauss(0, 1), 8))))
    )
    return finished(
        log.logged("train/loss", level, noise, digits=17),
        log.evaluated("val/loss", lambda s: level(s) * gap, relative(rng, 0.01), digits=17),
    )


@family
def regression_over_decades(rng: Random) -> Run:
    """A mean squared error that falls through four powers of ten."""
    epochs, per_epoch = rng.choice([100, 200]), 40
    log = Trainer(rng, epochs * per_epoch, epochs, per_epoch, per_epoch)
    decades = rng.uniform(3, 4.5)

    def loss(share: float) -> float:
        return 120 * 10 ** (-decades * (1 - math.exp(-3 * share)) / (1 - math.exp(-3)))

    return finished(
        log.logged("train/loss", loss, relative(rng, 0.04)),
        log.evaluated("val/loss", lambda s: loss(s) * rng.uniform(1.03, 1.12), relative(rng, 0.04)),
        log.evaluated("val/mae", lambda s: 0.8 * math.sqrt(loss(s)), relative(rng, 0.03)),
        log.logged("lr", lambda s: 1e-3 * 0.05**s),
        epochs=epochs, steps_per_epoch=per_epoch, lr=1e-3, lr_schedule="exponential", optimizer="adam", batch_size=64,
        train_windows=64 * per_epoch, loss="mse", seed=6,
    )  # fmt: skip


@family
def density_that_changes_sign(rng: Random) -> Run:
    """A negative log-likelihood that goes from above zero to below it."""
    epochs, per_epoch = rng.choice([40, 80]), 60
    log = Trainer(rng, epochs * per_epoch, epochs, per_epoch // 3, per_epoch)
    loss = falling(rng.uniform(2, 5), -rng.uniform(1, 4), rng.uniform(4, 8))
    return finished(
        log.logged("train/loss", loss, absolute(rng, 0.08)),
        log.evaluated("val/loss", lambda s: loss(s) + 0.06, absolute(rng, 0.03)),
        log.logged("lr", constant(0.02, 5e-4)),
        log.norms(5.0, 2.0),
        epochs=epochs, steps_per_epoch=per_epoch, lr=5e-4, optimizer="adam", batch_size=256, seed=17, loss="nll",
        clip_norm=50.0,
    )  # fmt: skip


@family
def noisy_small_batches(rng: Random) -> Run:
    """Batches of two: single losses waver by a third, evaluations do not."""
    epochs, per_epoch = rng.choice([4, 6]), 200
    steps = epochs * per_epoch
    log = Trainer(rng, steps, epochs, 2, per_epoch // 2)
    loss = falling(rng.uniform(1.0, 2.3), rng.uniform(0.25, 0.5), rng.uniform(3, 6))
    return finished(
        log.logged("train/loss", loss, lambda v: v * max(0.03, 1 + 0.35 * rng.gauss(0, 1))),
        log.evaluated("val/loss", lambda s: loss(s) * 1.04, relative(rng, 0.015)),
        log.evaluated("val/f1", lambda s: 0.85 * (1 - math.exp(-4 * s)), bounded(rng, 800)),
        log.logged("lr", linear(0.05, 1e-4)),
        log.norms(4.0, 3.0, sigma=0.6),
        epochs=epochs, total_steps=steps, steps_per_epoch=per_epoch, warmup_ratio=0.05, lr=1e-4, lr_schedule="linear",
        optimizer="adamw", batch_size=2, train_windows=2 * per_epoch, seed=13,
    )  # fmt: skip


@family
def heavy_tails(rng: Random) -> Run:
    """Now and then a batch whose loss is several times the usual: outliers in the data, not in the training."""
    steps = 2000
    log = Trainer(rng, steps, 5, 5, 200)
    loss = falling(rng.uniform(2, 6), rng.uniform(0.6, 1.2), rng.uniform(4, 8))
    return finished(
        log.logged("train/loss", loss, heavy_tailed(rng, rng.uniform(0.15, 0.3))),
        log.evaluated("val/loss", lambda s: loss(s) * 1.03, relative(rng, 0.02)),
        log.logged("lr", cosine(0.03, 1e-3)),
        epochs=5, total_steps=steps, steps_per_epoch=400, warmup_steps=60, lr=1e-3, lr_schedule="cosine",
        optimizer="adam", batch_size=32, train_windows=32 * 400, seed=31,
    )  # fmt: skip


@family
def three_evaluations(rng: Random) -> Run:
    """Validation is measured three times only."""
    steps = rng.choice([600, 1500])
    log = Trainer(rng, steps, 3, steps // 60, steps // 3)
    loss = falling(rng.uniform(2.2, 4.0), rng.uniform(1.0, 1.6), rng.uniform(3, 6))
    return finished(
        log.logged("train/loss", loss, relative(rng, rng.uniform(0.02, 0.06))),
        log.evaluated("val/loss", lambda s: loss(s) * rng.uniform(0.99, 1.05), relative(rng, 0.01)),
        log.logged("lr", cosine(0.05, 2e-4)),
        epochs=3, total_steps=steps, steps_per_epoch=steps // 3, warmup_ratio=0.05, lr=2e-4, lr_schedule="cosine",
        optimizer="adamw", seed=23,
    )  # fmt: skip


@family
def few_epochs(rng: Random) -> Run:
    """A history of three to eight epochs, one value each."""
    epochs = rng.randint(3, 8)
    history = Trainer(rng, epochs, epochs, 1, 1)
    loss = falling(rng.uniform(0.9, 1.6), rng.uniform(0.2, 0.4), rng.uniform(3, 5))

    def by_epoch(series: Series) -> Series:
        return replace(series, step_data=None)

    found = (
        history.logged("train/loss", loss, relative(rng, 0.02), digits=4),
        history.evaluated("val/loss", lambda s: loss(s) * rng.uniform(1.0, 1.08), relative(rng, 0.02), digits=4),
        history.logged("train/accuracy", lambda s: 1 - loss(s) / 2.2, bounded(rng, 20000), digits=4),
        history.evaluated("val/accuracy", lambda s: 0.985 - loss(s) / 2.2, bounded(rng, 3000), digits=4),
    )
    return finished(
        *map(by_epoch, found), epochs=epochs, batch_size=32, lr=1e-3, optimizer="adam", num_classes=10, seed=42
    )


@family
def table_with_empty_cells(rng: Random) -> Run:
    """A table of every step in which the columns of the evaluation are empty between evaluations."""
    epochs, per_epoch = rng.choice([6, 12]), 50
    log = Trainer(rng, epochs * per_epoch, epochs, 2, per_epoch)
    loss = falling(math.log(20), rng.uniform(0.4, 0.8), rng.uniform(4, 8))
    measured = set(log.evaluations)

    def sparse(series: Series) -> Series:
        empty = tuple(k for k, step in enumerate(log.rows) if step not in measured)
        by_step = dict(zip(series.step_data or (), series.data, strict=True))
        wide = log.written(log.rows, series.name, [by_step.get(step, math.nan) for step in log.rows])
        return replace(wide, nulls=empty)

    return finished(
        log.logged("train/loss", loss, relative(rng, 0.05)),
        sparse(log.evaluated("val/loss", lambda s: loss(s) * 1.05, relative(rng, 0.015))),
        sparse(log.evaluated("val/accuracy", lambda s: 0.87 - 0.8 * loss(s) / math.log(20), bounded(rng, 5000))),
        log.logged("lr", cosine(0.02, 1e-3)),
        epochs=epochs, steps_per_epoch=per_epoch, lr=1e-3, lr_schedule="cosine", optimizer="adam", num_classes=20,
        seed=2,
    )  # fmt: skip


@family
def speech(rng: Random) -> Run:
    """CTC: a loss in the hundreds at first, a word error rate that falls."""
    epochs, per_epoch = rng.choice([20, 30]), 120
    log = Trainer(rng, epochs * per_epoch, epochs, 20, per_epoch)
    loss = falling(rng.uniform(250, 700), rng.uniform(12, 25), rng.uniform(8, 14))
    return finished(
        log.logged("train/loss", loss, relative(rng, rng.uniform(0.06, 0.12))),
        log.evaluated("val/loss", lambda s: loss(s) * 1.06, relative(rng, 0.02)),
        log.evaluated("val/wer", lambda s: 0.09 + 0.91 * math.exp(-6 * s), relative(rng, 0.02)),
        log.logged("lr", cosine(0.08, 5e-4)),
        log.norms(80.0, 12.0, sigma=0.4),
        *log.runtime(speed=900.0, memory=22.0),
        epochs=epochs, steps_per_epoch=per_epoch, lr=5e-4, lr_schedule="cosine", warmup_ratio=0.08, optimizer="adamw",
        batch_size=32, train_windows=32 * per_epoch, seed=19,
    )  # fmt: skip


@family
def recommender(rng: Random) -> Run:
    """Pairwise ranking: a loss from ln 2 down, and ranking scores that are small numbers at their best."""
    epochs, per_epoch = rng.choice([50, 100]), 80
    log = Trainer(rng, epochs * per_epoch, epochs, per_epoch, per_epoch)
    loss = falling(math.log(2), rng.uniform(0.18, 0.3), rng.uniform(4, 8))
    top = rng.uniform(0.06, 0.2)
    return finished(
        log.logged("train/loss", loss, relative(rng, 0.006)),
        log.evaluated("val/loss", lambda s: loss(s) * 1.05, relative(rng, 0.008)),
        log.evaluated("val/ndcg@10", lambda s: 0.004 + top * (1 - math.exp(-5 * s)), relative(rng, 0.015)),
        log.evaluated("val/recall@20", lambda s: 0.01 + 2 * top * (1 - math.exp(-5 * s)), relative(rng, 0.015)),
        epochs=epochs, steps_per_epoch=per_epoch, lr=1e-3, optimizer="adam", batch_size=2048,
        train_windows=2048 * per_epoch, seed=2020,
    )  # fmt: skip


@family
def reinforcement(rng: Random) -> Run:
    """Returns rise with noise; the losses of policy and value follow them and measure no progress."""
    updates = rng.choice([200, 400])
    log = Trainer(rng, updates * 2048, 0, 2048, 2048 * 20)
    top, half = rng.uniform(150, 3000), rng.uniform(0.35, 0.45)

    def reward(share: float) -> float:
        return top / (1 + math.exp(-10 * (share - half)))

    return finished(
        log.logged("train/reward", reward, lambda v: v + rng.gauss(0, 0.08 * top)),
        log.logged("train/episode_length", lambda s: 100 + 0.3 * reward(s), relative(rng, 0.15)),
        log.logged("train/loss/value", lambda s: 10 + 0.02 * reward(s), heavy_tailed(rng, 0.3)),
        log.logged("train/loss/policy", lambda s: -0.02 + 0.01 * s, absolute(rng, 0.01)),
        log.logged("lr", lambda s: 3e-4 * (1 - s) + 1e-12),
        total_steps=updates * 2048, lr=3e-4, lr_schedule="linear", optimizer="adam", seed=1,
    )  # fmt: skip


@family
def boosting(rng: Random) -> Run:
    """Gradient boosting: a loss without noise that flattens round by round, on both sides."""
    rounds = rng.choice([200, 500, 1000])
    log = Trainer(rng, rounds, 0, rounds // 200, rounds // 200)
    start, floor = math.log(2), rng.uniform(0.25, 0.4)
    loss = falling(start, floor, rng.uniform(5, 8))
    return finished(
        log.logged("train/loss", loss),
        log.evaluated("val/loss", lambda s: loss(s) + 0.03 * (1 - math.exp(-4 * s)), relative(rng, 0.0005)),
        log.evaluated("val/auc", lambda s: 0.91 - 0.4 * (loss(s) - floor) / (start - floor), relative(rng, 0.0005)),
        total_steps=rounds, lr=0.05, seed=42, iterations=rounds,
    )  # fmt: skip


@family
def stopped_early(rng: Random) -> Run:
    """Early stopping ended it: the best validation lies as many evaluations back as its patience."""
    patience, best = 5, rng.randint(15, 30)
    epochs, per_epoch = best + patience, 64
    log = Trainer(rng, epochs * per_epoch, epochs, per_epoch, per_epoch)
    loss = falling(rng.uniform(0.6, 2.0), rng.uniform(0.2, 0.3), rng.uniform(3, 5))
    turn = best / epochs

    def held_out(share: float) -> float:
        level = loss(min(share, turn)) * 1.05
        return level * (1 + 0.1 * max(0.0, share - turn)) + (1e-6 if share > turn else 0.0)

    val = log.evaluated("val/loss", held_out, relative(rng, 0.004))
    low = min(val.data)
    data = [v if k + 1 < best else low * 0.999 if k + 1 == best else max(v, low) for k, v in enumerate(val.data)]
    return finished(
        log.logged("train/loss", loss, relative(rng, 0.01)),
        replace(val, data=floats(data)),
        epochs=100, steps_per_epoch=per_epoch, patience=patience, monitor="val_loss", lr=1e-3, optimizer="adam",
        batch_size=64, train_windows=64 * per_epoch, seed=0,
    )  # fmt: skip
